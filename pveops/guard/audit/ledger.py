"""Appending and reading. Synced before an append returns; whoever cannot append must not act.

Several processes may append (the executor, and ``pveops kill on`` when no executor runs): the file itself is the lock. Appends of several
threads share one sync.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pveops.base.clock import Clock, iso
from pveops.base.errors import AuditError
from pveops.base.files import fsync_dir
from pveops.base.redact import may_hold_secrets, redact_value
from pveops.guard.audit.check import Finding, stable_size, verify
from pveops.guard.audit.lines import GENESIS, Misfit, check_line, parse_line, write_line, write_record
from pveops.guard.audit.query import Index, Query

_TAIL_BYTES = 1 << 16
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be written down."""

    kind: str
    actor: str
    correlation: str = ""
    proposal: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Ticket:
    """Records of one caller on their way to the disk."""

    records: list[bytes]
    first: int = 0
    fault: AuditError | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the file as we last saw it: bytes, number and hash of the last record, and which file it was."""

    size: int
    seq: int
    prev: str
    file: tuple[int, int]


class Ledger:
    """One ledger file.

    Args:
        path: the file; made at the first append, mode 0600.
        index: finds records without reading everything; without one every question reads the whole file.
    """

    def __init__(self, path: Path, clock: Clock, index: Index | None = None) -> None:
        self._path = path
        self._file = str(path)
        self._clock = clock
        self._index = index
        self._queue: list[_Ticket] = []
        self._queueing = threading.Lock()
        self._writing = threading.Lock()
        self._end: _End | None = None
        self._barred = ""
        self.stamp: Callable[[], dict[str, Any]] = dict
        """What every record says besides its own data: the policy in force."""

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def bar(self, why: str) -> None:
        """Accept nothing more from this process: the ledger was found to be damaged."""
        self._barred = why

    def append(self, kind: str, *, actor: str, correlation: str = "", proposal: str = "", data: dict[str, Any] | None = None) -> int:
        """Write one record and sync it to disk; returns its number.

        Raises:
            AuditError: it could not be written whole; whoever wanted to act must not.
        """
        return self.append_all([Entry(kind=kind, actor=actor, correlation=correlation, proposal=proposal, data=data or {})])

    def append_all(self, entries: Sequence[Entry]) -> int:
        """Write several records under one sync: all of them or none. Returns the number of the first.

        Raises:
            AuditError: they could not be written whole.
        """
        ticket = _Ticket([self._encode(entry) for entry in entries])
        with self._queueing:
            self._queue.append(ticket)
        with self._writing:
            if not ticket.done:
                with self._queueing:
                    together, self._queue = self._queue, []
                self._commit(together)
        if ticket.fault is not None:
            raise ticket.fault
        return ticket.first

    def records(self, *, proposal: str = "", limit: int = 0) -> list[dict[str, Any]]:
        """Records in order; with ``limit`` only the last so many."""
        return self.find(Query(proposal=proposal, limit=limit))

    def find(self, query: Query) -> list[dict[str, Any]]:
        """Records that answer a query, in order. Lines that are no records are left out; ``verify`` names them."""
        if self._index is not None:
            return self._index.find(self, query)
        return query.last(record for record in self.read() if query.fits(record))

    def span(self, proposal: str) -> tuple[int, ...]:
        """Numbers of the first and the last record of a proposal; empty where it has none."""
        if self._index is not None:
            return self._index.span(self, proposal)
        found = [int(record["seq"]) for record in self.read() if record.get("proposal") == proposal]
        return (found[0], found[-1]) if found else ()

    def verify(self) -> Finding:
        """Walk the whole chain."""
        return verify(self._path)

    def read(self) -> Iterator[dict[str, Any]]:
        """All records that can be read, in order."""
        for _, raw in self.lines(0):
            try:
                yield parse_line(raw)
            except Misfit:
                continue

    def lines(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Finished lines from a byte of the file on, each with its place; only what can no longer be taken back."""
        upto = stable_size(self._path)
        if upto <= start:
            return
        with self._path.open("rb") as file:
            file.seek(start)
            at = start
            for raw in file:
                if at + len(raw) > upto or not raw.endswith(b"\n"):
                    return
                yield at, raw
                at += len(raw)

    def line(self, start: int, length: int) -> bytes:
        """The bytes at a place."""
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    # -- writing --------------------------------------------------------------------------------------------------------

    def _encode(self, entry: Entry) -> bytes:
        about: dict[str, Any] = {"at": iso(self._clock.now()), "kind": entry.kind, "actor": entry.actor, "correlation": entry.correlation}
        data = {**self.stamp(), **entry.data}
        about |= {"proposal": entry.proposal, "data": data}
        with contextlib.suppress(TypeError):  # mappings that are no dictionaries: they become some below
            made = write_record(about)
            if not may_hold_secrets(made.decode()):
                return made
        try:
            return write_record(about | {"data": redact_value(data)})
        except TypeError as err:
            raise AuditError(f"A record of kind {entry.kind} cannot be written down: {err}.", hint="This is a fault of pveops.") from err

    def _commit(self, tickets: Iterable[_Ticket]) -> None:
        fault: AuditError | None = None
        together = list(tickets)
        try:
            first = self._write([record for ticket in together for record in ticket.records])
        except OSError as err:
            fault = AuditError(
                f"The audit ledger {self._path} cannot be written: {err.strerror}.",
                hint="Nothing runs without it. Check the disk space and the file's owner.",
            )
            fault.__cause__ = err
        except AuditError as err:
            fault = err
        for ticket in together:
            if fault is None:
                ticket.first = first
                first += len(ticket.records)
            else:
                ticket.fault = AuditError(fault.message, hint=fault.hint)
                ticket.fault.__cause__ = fault.__cause__
            ticket.done = True

    def _write(self, records: list[bytes]) -> int:
        if self._barred:
            raise AuditError(f"The audit ledger is not to be trusted: {self._barred}", hint=_HINT)
        handle, new = self._open()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            end = self._look(handle)
            first, seq, prev = end.seq + 1, end.seq, end.prev
            made = []
            for record in records:
                seq += 1
                line, prev = write_line(record, seq=seq, prev=prev)
                made.append(line)
            data = b"".join(made)
            self._put(handle, data, end.size)
            self._end = _End(end.size + len(data), seq, prev, end.file)
        finally:
            os.close(handle)
        if new:
            fsync_dir(self._path.parent)
        return first

    def _open(self) -> tuple[int, bool]:
        """The file, and whether it was made just now. Opened anew each time: it may have been taken away, replaced or made read-only."""
        with contextlib.suppress(FileNotFoundError):
            return os.open(self._file, _FLAGS), False
        if self._end is not None:
            raise AuditError(f"The audit ledger {self._path} is gone.", hint=_HINT)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self._file, _FLAGS | os.O_CREAT, 0o600), True

    @staticmethod
    def _put(handle: int, data: bytes, size: int) -> None:
        """Write and sync all, or take it back."""
        try:
            if os.write(handle, data) != len(data):
                raise OSError(28, "No space left on device")
            os.fsync(handle)
        except OSError:
            with contextlib.suppress(OSError):  # what stays behind is looked at before anything is built upon it
                os.ftruncate(handle, size)
            raise

    def _look(self, handle: int) -> _End:
        """The end of the file. What others have added since our last look must go on where we left off."""
        status = os.fstat(handle)
        file, size, known = (status.st_dev, status.st_ino), status.st_size, self._end
        if known is not None and (known.file != file or size < known.size):
            what = "was replaced" if known.file != file else f"lost its last {known.size - size} bytes"
            raise AuditError(f"The audit ledger {self._path} {what} while it was in use.", hint=_HINT)
        if known is not None and known.size == size:
            return known
        if known is None:
            known = self._last(handle, size, file)
        return self._follow(handle, known, size)

    def _follow(self, handle: int, known: _End, size: int) -> _End:
        """Walk what stands behind a known end. A last line without its end was never acknowledged: it is set aside, not built upon."""
        fresh = os.pread(handle, size - known.size, known.size)
        whole, _, torn = fresh.rpartition(b"\n")
        if torn:
            aside = self._path.with_name(f"{self._path.name}.torn-{size}")
            aside.write_bytes(torn)
            os.ftruncate(handle, size - len(torn))
        seq, prev = known.seq, known.prev.encode()
        try:
            for line in whole.split(b"\n") if whole else ():
                prev = check_line(line + b"\n", seq=seq + 1, prev=prev)
                seq += 1
        except Misfit as err:
            raise AuditError(f"Record {seq + 1} of {self._path} was not written by pveops: {err}.", hint=_HINT) from err
        return _End(size - len(torn), seq, prev.decode(), known.file)

    def _last(self, handle: int, size: int, file: tuple[int, int]) -> _End:
        """The end as the last finished line tells it, checked by that line's own hash."""
        reach = _TAIL_BYTES
        while True:
            start = max(0, size - reach)
            tail = os.pread(handle, size - start, start)
            whole, _, torn = tail.rpartition(b"\n")
            _, cut, last = whole.rpartition(b"\n")
            if cut or start == 0:
                break
            reach *= 4
        if not last:
            return _End(0, 0, GENESIS, file)
        try:
            record = parse_line(last + b"\n")
            check_line(last + b"\n", seq=record["seq"], prev=record["prev"].encode())
        except Misfit as err:
            raise AuditError(f"The last record of {self._path} cannot be built upon: {err}.", hint=_HINT) from err
        return _End(size - len(torn), int(record["seq"]), str(record["hash"]), file)


_HINT = "Nothing runs until it is whole again: run `pveops audit verify`, then see docs/audit.md on damaged ledgers."
