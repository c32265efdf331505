"""The first form: clusters, versions of things, tasks, looks, what is due."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """From nothing."""
    op.create_table(
        "inventory_clusters",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "inventory_versions",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cluster", sa.Integer, sa.ForeignKey("inventory_clusters.id"), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("after_ms", sa.BigInteger, nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("to_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("inventory_versions_now", "inventory_versions", ["cluster", "kind", "to_ms"])
    op.create_index("inventory_versions_of", "inventory_versions", ["cluster", "key", "kind"])
    op.create_index("inventory_versions_new", "inventory_versions", ["cluster", "from_ms"])
    op.create_table(
        "inventory_tasks",
        sa.Column("cluster", sa.Integer, sa.ForeignKey("inventory_clusters.id"), primary_key=True),
        sa.Column("upid", sa.String(255), primary_key=True),
        sa.Column("node", sa.String(63), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("guest", sa.BigInteger, nullable=False),
        sa.Column("user", sa.String(200), nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("seen_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("inventory_tasks_when", "inventory_tasks", ["cluster", "seen_ms"])
    op.create_table(
        "inventory_looks",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("cluster", sa.Integer, sa.ForeignKey("inventory_clusters.id"), nullable=False),
        sa.Column("first_ms", sa.BigInteger, nullable=False),
        sa.Column("last_ms", sa.BigInteger, nullable=False),
        sa.Column("looks", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("changes", sa.BigInteger, nullable=False),
        sa.Column("gaps", sa.Text, nullable=False),
    )
    op.create_index("inventory_looks_when", "inventory_looks", ["cluster", "last_ms"])
    op.create_table(
        "inventory_due",
        sa.Column("cluster", sa.Integer, sa.ForeignKey("inventory_clusters.id"), primary_key=True),
        sa.Column("kind", sa.String(12), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
    )
