"""The inventory's tables. What changes in them from release to release stands in ``inventory_schema/versions``, as steps of Alembic."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

HEAD = "0001"
"""The newest step: what the tables below are."""

METADATA = MetaData()
_ID = BigInteger().with_variant(Integer, "sqlite")

CLUSTERS = Table(
    "inventory_clusters",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(80), nullable=False, unique=True),
    Column("generation", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)
"""Clusters by name; ``generation`` grows with each write, so that whoever remembers what is in the store knows when to read it again;
``last_ms`` is the time of that write."""

VERSIONS = Table(
    "inventory_versions",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("cluster", Integer, ForeignKey("inventory_clusters.id"), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("key", String(255), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("after_ms", BigInteger, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Index("inventory_versions_now", "cluster", "kind", "to_ms"),
    Index("inventory_versions_of", "cluster", "key", "kind"),
    Index("inventory_versions_new", "cluster", "from_ms"),
)
"""States of things with the span in which they held; Unix milliseconds."""

TASKS = Table(
    "inventory_tasks",
    METADATA,
    Column("cluster", Integer, ForeignKey("inventory_clusters.id"), primary_key=True),
    Column("upid", String(255), primary_key=True),
    Column("node", String(63), nullable=False),
    Column("type", String(40), nullable=False),
    Column("guest", BigInteger, nullable=False),
    Column("user", String(200), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger, nullable=False),
    Index("inventory_tasks_when", "cluster", "seen_ms"),
)
"""Tasks. ``started_ms`` and ``ended_ms`` are by the node's clock; ``seen_ms`` and ``closed_ms`` are the looks that first saw it and its end."""

LOOKS = Table(
    "inventory_looks",
    METADATA,
    Column("id", _ID, primary_key=True),
    Column("cluster", Integer, ForeignKey("inventory_clusters.id"), nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("looks", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("gaps", Text, nullable=False),
    Index("inventory_looks_when", "cluster", "last_ms"),
)
"""Looks in a row with the same gaps share a line: a look every ten seconds that finds nothing new writes next to nothing."""

DUE = Table(
    "inventory_due",
    METADATA,
    Column("cluster", Integer, ForeignKey("inventory_clusters.id"), primary_key=True),
    Column("kind", String(12), primary_key=True),
    Column("key", String(255), primary_key=True),
)
"""Details that should have been read and were not: the next look reads them first."""
