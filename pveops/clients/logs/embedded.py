"""Log lines in one SQLite file: for one machine and a few million lines, with nothing to install."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pveops.base.errors import ConfigError, InputError, TransportError
from pveops.clients.logs.language import Both, Either, Has, Is, Pattern, Phrase, Query, Within, Without
from pveops.model.logs import LONGEST_WORD, Counts, Found, LogLine, key, tokens

_LINES = """
CREATE TABLE IF NOT EXISTS {}(
  id INTEGER PRIMARY KEY, uid BLOB NOT NULL, time_ms INTEGER NOT NULL, host TEXT NOT NULL, unit TEXT NOT NULL, severity INTEGER NOT NULL,
  vmid INTEGER, source TEXT NOT NULL, mark TEXT NOT NULL, message TEXT NOT NULL,
  task TEXT NOT NULL)
"""
_SCHEMA = (
    _LINES.format("lines"),
    # a uid stands for all of its line, so one that is known has the same time and severity: this index says so, counts by time and severity,
    # and grows at its end, where an index of uids alone would be written all over with each batch
    "CREATE UNIQUE INDEX IF NOT EXISTS lines_by_time_and_uid ON lines(time_ms, severity, uid)",
    "CREATE TABLE IF NOT EXISTS hours(hour INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(tokens, content='', columnsize=0, tokenize=\"ascii tokenchars '_'\")",
    "CREATE VIRTUAL TABLE IF NOT EXISTS known USING fts5vocab(words, 'row')",
)
_UPGRADES: Mapping[int, tuple[str, ...]] = {
    1: (
        _LINES.format("lines_2"),
        "INSERT INTO lines_2 SELECT id, uid, time_ms, host, unit, severity, vmid, source, mark, message, '' FROM lines",
        "DROP TABLE lines",
        "ALTER TABLE lines_2 RENAME TO lines",
    ),
    2: ("ALTER TABLE lines ADD COLUMN task TEXT NOT NULL DEFAULT ''",),
}
"""What makes a file of an earlier version one of this."""
_VERSION = 3
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "cache_size=-32000",  # KiB: the inner pages of the indices of some millions of lines
    "wal_autocheckpoint=8000",  # pages: a page that is written by many batches goes into the file once
)
_COLUMNS = "time_ms, host, unit, severity, vmid, source, mark, message, task"
_HOUR_MS = 3_600_000
_ENDLESS = re.compile(rf"\w{{{LONGEST_WORD + 1}}}")
_PATTERNS = 2000
"""A pattern may stand for so many words."""
_BY_WORDS = "id IN (SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?)"
_BY = {"severity": "severity", "host": "host", "unit": "unit", "source": "source"}

Values = list[str | int]


class EmbeddedLogs:
    """A store of log lines in a file. Safe to share between threads; one process writes, others may read.

    Raises:
        ConfigError: the file cannot be opened, or is of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            if self._version() != _VERSION:
                self._prepare()
        except sqlite3.Error as err:
            raise ConfigError(f"Cannot open the log store {path}: {err}.", hint="Check its folder, owner and free space.") from err

    @property
    def source(self) -> str:
        """Who answers, for people."""
        return f"embedded log store {self._path}"

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _version(self) -> int:
        version: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        return version

    def _prepare(self) -> None:
        """A new file, or one of an earlier version, becomes one of this version; all or nothing."""
        with self._whole():
            version = self._version()  # again: another process may have been faster
            if version > _VERSION:
                raise ConfigError(f"{self._path} was written by a newer version of pveops.", hint="Upgrade pveops, or name another file.")
            for statement in (*_UPGRADES.get(version, ()), *_SCHEMA):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version={_VERSION}")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def add(self, lines: Sequence[LogLine]) -> int:
        """Keep lines, all or none; returns how many were not known yet. What is kept survives the end of this process.

        Raises:
            TransportError: the file cannot be written.
        """
        with self._lock:
            try:
                with self._whole():
                    return self._insert(lines)
            except sqlite3.Error as err:
                raise TransportError(f"The log store {self._path} takes no lines: {err}.", hint="Check free space and its owner.") from err

    def _insert(self, lines: Sequence[LogLine]) -> int:
        before: int = self._db.execute("SELECT ifnull(max(id), 0) FROM lines").fetchone()[0]
        rows = (
            (number, uid, line.time_ms, line.host, line.unit, line.severity, line.vmid, line.source, line.mark, line.message, line.task)
            for (number, line), uid in zip(enumerate(lines, before + 1), map(key, lines), strict=True)
        )
        new = self._db.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows).rowcount
        fresh: Iterable[int] = range(before + 1, before + 1 + len(lines))
        if new < len(lines):
            fresh = [row[0] for row in self._db.execute("SELECT id FROM lines WHERE id > ?", (before,))]
        words = ((number, _text(lines[number - before - 1].message)) for number in fresh)
        self._db.executemany("INSERT INTO words(rowid, tokens) VALUES (?, ?)", words)
        # lines come nearly in the order of their times, so the ids of an hour lie close: words of an hour are found without those of a year
        self._db.execute(
            "INSERT INTO hours SELECT time_ms / ?, min(id), max(id) FROM lines WHERE id > ? GROUP BY 1 "
            "ON CONFLICT(hour) DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high)",
            (_HOUR_MS, before),
        )
        return max(0, new)

    def search(self, query: Query, start_ms: int, end_ms: int, limit: int = 500) -> Found:
        """Lines of a span (from ``start_ms``, before ``end_ms``) that are asked for, newest first.

        Raises:
            InputError: a pattern stands for too many words.
        """
        with self._lock:
            where, values = self._where(query, start_ms, end_ms)
            order = f"SELECT {_COLUMNS} FROM lines WHERE {where} ORDER BY time_ms DESC, uid LIMIT ?"  # noqa: S608 - our own words; values are bound
            rows = self._db.execute(order, (*values, limit)).fetchall()
            total = len(rows)
            if total == limit:
                count = f"SELECT count(*) FROM lines WHERE {where}"  # noqa: S608 - as above
                total = self._db.execute(count, values).fetchone()[0]
        return Found(lines=tuple(map(_line, rows)), total=total, source=self.source)

    def count(self, query: Query, start_ms: int, end_ms: int, step_ms: int, by: str = "") -> Counts:
        """How many lines were asked for per step, in all or by ``severity``, ``host``, ``unit`` or ``source``. Raises as ``search``."""
        column = _BY[by] if by else "''"
        steps = max(0, -(-(end_ms - start_ms) // step_ms))
        with self._lock:
            where, values = self._where(query, start_ms, end_ms)
            order = f"SELECT {column}, (time_ms - ?) / ?, count(*) FROM lines WHERE {where} GROUP BY 1, 2"  # noqa: S608 - our own words; values are bound
            rows = self._db.execute(order, (start_ms, step_ms, *values)).fetchall()
        counts: dict[str, list[int]] = {} if by else {"": [0] * steps}
        for value, step, number in rows:
            counts.setdefault(str(value), [0] * steps)[step] = number
        return Counts(
            start_ms=start_ms, step_ms=step_ms, counts={value: tuple(counts[value]) for value in sorted(counts)}, by=by, source=self.source
        )

    def forget(self, before_ms: int) -> int:
        """Remove lines older than a time; returns how many."""
        with self._lock, self._whole():
            old = self._db.execute("SELECT id, message FROM lines WHERE time_ms < ?", (before_ms,)).fetchall()
            words = ((number, _text(message)) for number, message in old)
            self._db.executemany("INSERT INTO words(words, rowid, tokens) VALUES ('delete', ?, ?)", words)
            self._db.execute("DELETE FROM lines WHERE time_ms < ?", (before_ms,))
        return len(old)

    def _where(self, query: Query, start_ms: int, end_ms: int) -> tuple[str, Values]:
        found = self._db.execute(
            "SELECT min(low), max(high) FROM hours WHERE hour BETWEEN ? AND ?", (start_ms // _HOUR_MS, end_ms // _HOUR_MS)
        ).fetchone()
        text, values = self._sql(query, (found[0] or 0, found[1] or 0))
        return f"time_ms >= ? AND time_ms < ? AND {text}", [start_ms, end_ms, *values]

    def _sql(self, query: Query, ids: tuple[int, int]) -> tuple[str, Values]:
        words = self._words(query)
        if words is not None:
            return (_BY_WORDS, [words, *ids]) if words else ("0", [])
        match query:
            case Both(parts):
                return self._all(parts, ids)
            case Either(parts):
                return _joined(" OR ", [self._sql(part, ids) for part in parts])
            case Without(part):
                text, values = self._sql(part, ids)
                return f"NOT ({text})", values
            case Has(field):
                return f"ifnull({_column(field)} <> '', 0)", []
            case Is(field, value, glob):
                return (f"{_column(field)} GLOB ?", [_sqlite_glob(str(value))]) if glob else (f"ifnull({_column(field)} = ?, 0)", [value])
            case Within():
                return _bounds(query)
            case _:
                return "1", []

    def _all(self, parts: Iterable[Query], ids: tuple[int, int]) -> tuple[str, Values]:
        """Words that must all be there are looked up at once."""
        texts: list[str] = []
        others: list[tuple[str, Values]] = []
        for part in parts:
            words = self._words(part)
            if words is None:
                others.append(self._sql(part, ids))
            else:
                texts.append(words)
        if any(not words for words in texts):
            return "0", []
        if texts:
            joined = " AND ".join(f"({words})" for words in texts)
            others.insert(0, (_BY_WORDS, [joined, *ids]))
        return _joined(" AND ", others)

    def _words(self, query: Query) -> str | None:
        """What is asked of words alone, in the terms of FTS5; empty where no known word fits; none where it is about more."""
        match query:
            case Phrase(words):
                return f'"{" ".join(words)}"'
            case Pattern(glob):
                return self._pattern(glob)
            case Both(parts) | Either(parts):
                found = [self._words(part) for part in parts]
                if any(words is None for words in found):
                    return None
                if isinstance(query, Both):
                    return " AND ".join(f"({words})" for words in found) if all(found) else ""
                return " OR ".join(f"({words})" for words in found if words)
            case _:
                return None

    def _pattern(self, glob: str) -> str:
        if re.fullmatch(r"\w+\*", glob):
            return f'"{glob[:-1]}"*'
        rows = self._db.execute("SELECT term FROM known WHERE term GLOB ? LIMIT ?", (_sqlite_glob(glob), _PATTERNS + 1)).fetchall()
        if len(rows) > _PATTERNS:
            raise InputError(f"The pattern {glob} stands for more than {_PATTERNS} words.", hint="Give it more letters.")
        return " OR ".join(f'"{term}"' for (term,) in rows)


def _text(message: str) -> str:
    """A text of which SQLite cuts the words of a message. Of plain ASCII it cuts the same ones as we do, and faster."""
    return message if message.isascii() and (len(message) <= LONGEST_WORD or not _ENDLESS.search(message)) else " ".join(tokens(message))


def _column(field: str) -> str:
    return "time_ms" if field == "time" else field


def _joined(word: str, parts: Sequence[tuple[str, Values]]) -> tuple[str, Values]:
    return "(" + word.join(text for text, _ in parts) + ")", [value for _, values in parts for value in values]


def _bounds(query: Within) -> tuple[str, Values]:
    parts: list[str] = [f"{_column(query.field)} IS NOT NULL"]
    values: Values = []
    if query.low is not None:
        parts.append(f"{_column(query.field)} {'>=' if query.with_low else '>'} ?")
        values.append(query.low)
    if query.high is not None:
        parts.append(f"{_column(query.field)} {'<=' if query.with_high else '<'} ?")
        values.append(query.high)
    return f"ifnull({' AND '.join(parts)}, 0)", values


def _sqlite_glob(glob: str) -> str:
    """A pattern of ours in SQLite's terms, where ``[`` has a meaning and a backslash has none."""
    parts = re.findall(r"\\.|.", glob, re.DOTALL)
    return "".join(part if part in "*?" else f"[{part[-1]}]" if part[-1] in "*?[" else part[-1] for part in parts)


def _line(row: tuple[int, str, str, int, int | None, str, str, str, str]) -> LogLine:
    time_ms, host, unit, severity, vmid, source, mark, message, task = row
    return LogLine(
        time_ms=time_ms, host=host, unit=unit, severity=severity, vmid=vmid, source=source, mark=mark, message=message, task=task
    )
