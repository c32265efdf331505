"""An index over the audit ledger in SQLite. The ledger is the truth: an index that does not fit is thrown away and made anew."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
  seq INTEGER PRIMARY KEY, start INTEGER NOT NULL, length INTEGER NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, actor TEXT NOT NULL,
  proposal TEXT NOT NULL, correlation TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_proposal ON records (proposal, seq);
CREATE INDEX IF NOT EXISTS by_actor ON records (actor, seq);
CREATE INDEX IF NOT EXISTS by_kind ON records (kind, seq);
CREATE INDEX IF NOT EXISTS by_correlation ON records (correlation, seq);
CREATE INDEX IF NOT EXISTS by_at ON records (at, seq);
CREATE TABLE IF NOT EXISTS drafts (proposal TEXT PRIMARY KEY, model TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_model ON drafts (model);
CREATE TABLE IF NOT EXISTS upto (one INTEGER PRIMARY KEY CHECK (one = 1), bytes INTEGER NOT NULL, last BLOB NOT NULL, start INTEGER NOT NULL);
"""


class Lines(Protocol):
    """The ledger as this room sees it: finished lines."""

    def lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Lines from a byte on, each with its place."""
        ...

    def line(self, start: int, length: int) -> bytes:
        """The bytes at a place."""
        ...


class Asked(Protocol):
    """A question as this room sees it."""

    @property
    def kind(self) -> str:
        """A kind or a family of kinds."""
        ...

    @property
    def exact(self) -> dict[str, str]:
        """Columns that are compared whole."""
        ...

    @property
    def model(self) -> str:
        """Who drafted the proposal."""
        ...

    @property
    def since(self) -> str:
        """From this time on."""
        ...

    @property
    def until(self) -> str:
        """Before this time."""
        ...

    @property
    def limit(self) -> int:
        """The last so many; 0 for all."""
        ...

    def says(self, record: Mapping[str, Any]) -> bool:
        """Whether a record holds the text that is looked for."""
        ...


class LedgerIndex:
    """One index file. Every question first takes in what was appended since the last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, ledger: Lines, query: Asked) -> list[dict[str, Any]]:
        """Records that answer a query, in order."""
        where, values = _where(query)
        found: list[dict[str, Any]] = []
        with closing(self._open(ledger)) as base:
            rows = base.execute(f"SELECT start, length FROM records WHERE {where} ORDER BY seq DESC", values)  # noqa: S608 - fixed words, values bound
            for start, length in rows:
                record = _record(ledger.line(start, length))
                if record is not None and query.says(record):
                    found.append(record)
                    if len(found) == query.limit:
                        break
        return found[::-1]

    def span(self, ledger: Lines, proposal: str) -> tuple[int, ...]:
        """Numbers of the first and the last record of a proposal; empty where it has none."""
        with closing(self._open(ledger)) as base:
            first, last = base.execute("SELECT min(seq), max(seq) FROM records WHERE proposal = ?", (proposal,)).fetchone()
        return () if first is None else (first, last)

    def _open(self, ledger: Lines) -> sqlite3.Connection:
        try:
            return self._current(ledger)
        except sqlite3.DatabaseError:
            for name in ("", "-wal", "-shm"):  # damaged or of another version: nothing is lost with it
                self._path.with_name(self._path.name + name).unlink(missing_ok=True)
            return self._current(ledger)

    def _current(self, ledger: Lines) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        base = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            self._path.chmod(0o600)
            base.execute("PRAGMA journal_mode=WAL")
            base.execute("PRAGMA synchronous=OFF")  # it can be made anew
            if base.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                raise sqlite3.DatabaseError("another version")
            base.executescript(f"{_SCHEMA} PRAGMA user_version={_VERSION};")
            base.execute("BEGIN IMMEDIATE")
            self._take_in(base, ledger)
            base.execute("COMMIT")
        except BaseException:
            base.close()
            raise
        return base

    @staticmethod
    def _take_in(base: sqlite3.Connection, ledger: Lines) -> None:
        upto = 0
        known = base.execute("SELECT bytes, last, start FROM upto").fetchone()
        if known is not None:
            upto, last, start = known
            if not _same(ledger, last, start):
                base.execute("DELETE FROM records")
                base.execute("DELETE FROM drafts")
                upto = 0
        place: tuple[int, bytes] | None = None
        for start, raw in ledger.lines(upto):
            place = (start, raw)
            record = _record(raw)
            if record is None:
                continue
            texts = [str(record.get(name, "")) for name in ("at", "kind", "actor", "proposal", "correlation")]
            base.execute("INSERT OR IGNORE INTO records VALUES (?,?,?,?,?,?,?,?)", (record["seq"], start, len(raw), *texts))
            data = record.get("data")
            author = str(data.get("author", "")) if isinstance(data, dict) else ""
            if texts[3] and author.startswith("model:"):
                base.execute("INSERT OR IGNORE INTO drafts VALUES (?,?)", (texts[3], author.removeprefix("model:")))
        if place is not None:
            start, raw = place
            base.execute("INSERT OR REPLACE INTO upto VALUES (1,?,?,?)", (start + len(raw), raw[-200:], start + len(raw) - len(raw[-200:])))
        elif upto == 0:
            base.execute("DELETE FROM upto")


def _same(ledger: Lines, last: bytes, start: int) -> bool:
    try:
        return ledger.line(start, len(last)) == last
    except FileNotFoundError:
        return False


def _where(query: Asked) -> tuple[str, list[str]]:
    parts, values = ["1"], []
    for column, value in query.exact.items():
        if value:
            parts.append(f"{column} = ?")
            values.append(value)
    if query.kind:
        parts.append("(kind = ? OR kind GLOB ?)")
        values += [query.kind, f"{_literal(query.kind)}.*"]
    if query.model:
        parts.append("proposal IN (SELECT proposal FROM drafts WHERE model = ?)")
        values.append(query.model)
    for word, value in (("at >= ?", query.since), ("at < ?", query.until)):
        if value:
            parts.append(word)
            values.append(value)
    return " AND ".join(parts), values


def _literal(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)


def _record(raw: bytes) -> dict[str, Any] | None:
    """A record in one shape; both formats are read."""
    try:
        data = json.loads(raw)
        record = data["record"] if isinstance(data.get("record"), dict) else data
        if not isinstance(record["kind"], str):
            return None
        return {**record, "seq": int(data["seq"]), "prev": str(data["prev"]), "hash": str(data["hash"])}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
