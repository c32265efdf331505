"""Copies and checks of SQLite files that may be in use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_MAGIC = b"SQLite format 3\x00"
_WAIT_S = 30.0


def is_sqlite(path: Path) -> bool:
    """Whether the file is a SQLite database, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def copy_sqlite(source: Path, target: Path) -> None:
    """A copy of one moment, whoever writes meanwhile.

    Raises:
        sqlite3.Error: the source cannot be read as a database.
    """
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=_WAIT_S)) as ours, closing(sqlite3.connect(target)) as theirs:
        ours.backup(theirs)
        theirs.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it


def damage_of(path: Path) -> str:
    """What is wrong with a database; empty where nothing is."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_WAIT_S)) as base:
            said = [str(row[0]) for row in base.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as err:
        return str(err)
    return "" if said == ["ok"] else "; ".join(said)


def version_of(path: Path) -> int:
    """The version of the store's tables; 0 where it cannot be told."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_WAIT_S)) as base:
            row = base.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
            return int(row[0]) if row else 0
    except (sqlite3.Error, ValueError):
        return 0
