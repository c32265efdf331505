"""From one version of the store's tables to the next. New tables are made from their definitions; what changes in old ones stands here.

A release that changes a table raises ``SCHEMA_VERSION`` and adds its step; a home of an earlier release is brought up to date at the first start, and the
file is kept beside as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, text

from pveops.store.backup import copy_sqlite, version_of
from pveops.store.tables import SCHEMA_VERSION

STEPS: Mapping[int, tuple[str, ...]] = {
    1: (),  # only new tables: workers, leases
}
"""Statements that lead from a version to the one after it."""


def keep_copy(path: Path) -> Path | None:
    """Copy a store of an earlier version to a file beside it; returns that file.

    Raises:
        sqlite3.Error: it cannot be copied.
    """
    found = version_of(path) if path.exists() else 0
    if not 0 < found < SCHEMA_VERSION:
        return None
    copy = path.with_name(f"{path.stem}.v{found}{path.suffix}")
    if not copy.exists():
        copy.touch(mode=0o600)
        copy_sqlite(path, copy)
    return copy


def upgrade(connection: Connection, found: int) -> None:
    """Carry out the steps from a version to ours, in the caller's transaction."""
    for version in range(found, SCHEMA_VERSION):
        for statement in STEPS[version]:
            connection.execute(text(statement))
    connection.execute(text("UPDATE meta SET value = :version WHERE key = 'schema_version'"), {"version": str(SCHEMA_VERSION)})
