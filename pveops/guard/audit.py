"""The audit ledger: append-only JSON lines, each holding the hash of the one before. Synced before an append returns. No audit, no action.

Several processes may append (the executor, and ``pveops kill on`` when no executor runs): the file itself is the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pveops.base.canon import canonical, digest
from pveops.base.clock import Clock, iso
from pveops.base.errors import AuditError
from pveops.base.files import fsync_dir
from pveops.base.redact import redact_value

GENESIS = "0" * 64
_TAIL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What ``verify`` found: the number of good records and, where the chain breaks, the first bad one."""

    records: int
    head: str
    bad_seq: int | None = None
    bad_line: int | None = None
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether the whole chain holds."""
        return self.bad_line is None


class Ledger:
    """Appends and reads records.

    A record is ``{seq, at, kind, actor, correlation, proposal, data, prev, hash}``; ``hash`` is the SHA-256 of the canonical JSON of the
    rest, ``prev`` the hash of the record before.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._spans: dict[str, tuple[int, int]] = {}
        self._spans_upto = 0
        """Bytes of the file that ``_spans`` covers."""
        self._seen = (0, 0, GENESIS)
        """Size of the file in bytes, number and hash of its last record, as of our last look."""

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def append(self, kind: str, *, actor: str, correlation: str = "", proposal: str = "", data: dict[str, Any] | None = None) -> int:
        """Write one record and sync it to disk; returns its number.

        Raises:
            AuditError: it could not be written whole; whoever wanted to act must not.
        """
        with self._lock:
            try:
                return self._append(kind, actor, correlation, proposal, redact_value(data or {}))
            except OSError as err:
                raise AuditError(
                    f"The audit ledger {self._path} cannot be written: {err.strerror}.",
                    hint="Nothing runs without it. Check the disk space and the file's owner.",
                ) from err

    def records(self, *, proposal: str = "", limit: int = 0) -> list[dict[str, Any]]:
        """Records in order; with ``limit`` only the last so many."""
        found = [record for _, _, record in self._lines() if record is not None and (not proposal or record.get("proposal") == proposal)]
        return found[-limit:] if limit else found

    def span(self, proposal: str) -> tuple[int, ...]:
        """Numbers of the first and the last record of a proposal; empty where it has none."""
        with self._lock:
            try:
                with self._path.open("rb") as lines:
                    lines.seek(self._spans_upto)
                    for raw in lines:
                        if not raw.endswith(b"\n"):
                            break
                        self._spans_upto += len(raw)
                        record = json.loads(raw)
                        name, seq = str(record.get("proposal", "")), int(record["seq"])
                        if name:
                            self._spans[name] = (self._spans.get(name, (seq, seq))[0], seq)
            except (FileNotFoundError, ValueError, KeyError):
                pass  # `verify` tells about a damaged ledger; a card can live without the numbers
            return self._spans.get(proposal, ())

    def verify(self) -> Finding:
        """Walk the whole chain."""
        seq, prev = 0, GENESIS
        for number, raw, record in self._lines():
            why = _misfit(raw, record, seq + 1, prev)
            if why or record is None:
                bad = record.get("seq") if record else None
                return Finding(seq, prev, bad if isinstance(bad, int) else seq + 1, number, why or "it is no JSON object")
            seq, prev = seq + 1, str(record["hash"])
        return Finding(seq, prev)

    def _append(self, kind: str, actor: str, correlation: str, proposal: str, data: dict[str, Any]) -> int:
        new = not self._path.exists()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            if size != self._seen[0]:
                self._seen = (size, *self._last(handle, size))
            _, seq, prev = self._seen
            record = {
                "seq": seq + 1,
                "at": iso(self._clock.now()),
                "kind": kind,
                "actor": actor,
                "correlation": correlation,
                "proposal": proposal,
            }
            record |= {"data": data, "prev": prev}
            record["hash"] = digest(record)
            line = canonical(record) + b"\n"
            written = os.write(handle, line)
            if written != len(line):
                os.ftruncate(handle, size)
                raise OSError(28, "the record did not fit")
            os.fsync(handle)
            self._seen = (size + len(line), seq + 1, str(record["hash"]))
        finally:
            os.close(handle)
        if new:
            fsync_dir(self._path.parent)
        return seq + 1

    def _last(self, handle: int, size: int) -> tuple[int, str]:
        """Number and hash of the last record. A last line without its end was never acknowledged: it is set aside, not built upon."""
        if size == 0:
            return 0, GENESIS
        start = max(0, size - _TAIL_BYTES)
        tail = os.pread(handle, size - start, start)
        whole, _, torn = tail.rpartition(b"\n")
        if torn:
            aside = self._path.with_name(f"{self._path.name}.torn-{size}")
            aside.write_bytes(torn)
            os.ftruncate(handle, size - len(torn))
        last = whole.rpartition(b"\n")[2]
        if not last:
            return 0, GENESIS
        try:
            record = json.loads(last)
            return int(record["seq"]), str(record["hash"])
        except (ValueError, KeyError, TypeError) as err:
            raise AuditError(
                f"The last record of {self._path} cannot be read.",
                hint="Run `pveops audit verify`; nothing runs until the ledger is whole again.",
            ) from err

    def _lines(self) -> Iterator[tuple[int, bytes, dict[str, Any] | None]]:
        try:
            with self._path.open("rb") as lines:
                for number, raw in enumerate(lines, start=1):
                    try:
                        record = json.loads(raw)
                    except ValueError:
                        record = None
                    yield number, raw, record if isinstance(record, dict) else None
        except FileNotFoundError:
            return


def _misfit(raw: bytes, record: dict[str, Any] | None, seq: int, prev: str) -> str:
    """What is wrong with a record at this place; empty where nothing is."""
    if record is None:
        return "it is no JSON object" if raw.endswith(b"\n") else "its line was never finished"
    if record.get("seq") != seq:
        return f"its number is {record.get('seq')} where {seq} belongs"
    if record.get("prev") != prev:
        return "it does not hold the hash of the record before it"
    body = {key: value for key, value in record.items() if key != "hash"}
    try:
        if digest(body) != record.get("hash"):
            return "its content does not fit its hash"
        if canonical(record) + b"\n" != raw:
            return "it is not written in canonical form"
    except TypeError as err:
        return str(err)
    return ""
