"""Signs how the ledger stands, again and again, and hands every checkpoint to places that the executor cannot change."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pveops.base.clock import Clock, iso
from pveops.base.errors import AuditError
from pveops.base.files import fsync_dir
from pveops.base.secret import Secret
from pveops.guard.audit.anchors import Anchor
from pveops.guard.audit.check import verify
from pveops.guard.audit.checkpoint import Checkpoint, check_checkpoint, parse_checkpoint, sign_checkpoint
from pveops.guard.audit.ledger import Ledger
from pveops.guard.audit.lines import GENESIS, Misfit, check_line
from pveops.guard.audit.merkle import Tree
from pveops.model.claims import public_of

_LOG = logging.getLogger("pveops.audit")
_HINT = "Run `pveops audit verify`, and see docs/audit.md on damaged ledgers. Nothing is written to the cluster until then."


@dataclass(slots=True)
class _Place:
    """How far we have walked: the tree over all records, the hash of the last, and the byte behind it."""

    tree: Tree
    head: str = GENESIS
    start: int = 0
    """Where the last line begins."""
    upto: int = 0


class Notary:
    """Keeps the book of checkpoints of one ledger.

    Args:
        book: where checkpoints are kept beside the ledger.
        key: the executor's private key (Ed25519).
        anchors: where they go as well.
        every_s: at most this many seconds pass between a new record and a checkpoint over it.
        every_records: at most this many records.
    """

    def __init__(
        self, *, ledger: Ledger, book: Path, key: Secret, executor: str, anchors: Sequence[Anchor], clock: Clock, every_s: float, every_records: int
    ) -> None:  # fmt: skip
        self._ledger = ledger
        self._book = book
        self._key = key
        self._executor = executor
        self._anchors = anchors
        self._clock = clock
        self._every_s = every_s
        self._every_records = every_records
        self._place = _Place(Tree())
        self._signed = 0
        """Size of the last checkpoint."""
        self._since_s: float | None = None
        """When the first record after it was seen, on the monotonic clock."""
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    @property
    def public_key(self) -> str:
        """The key that checkpoints are checked with."""
        return public_of(self._key)

    def open(self) -> None:
        """Go on where the last checkpoint stands, and compare with what anchors hold.

        Raises:
            AuditError: the ledger is not the one that was signed: something was taken away or written anew.
        """
        with self._lock:
            self._resume()
            self._walk()
            kept = [one for anchor in self._anchors for one in anchor.kept() if one.key == self.public_key]
            newest = max(kept, key=lambda one: one.size, default=None)
            if newest is not None and newest.size > self._place.tree.size:
                raise AuditError(
                    f"The ledger holds {self._place.tree.size} records, and an anchored checkpoint of {newest.at} has seen {newest.size}.",
                    hint=_HINT,
                )

    def check(self) -> None:
        """Walk the whole ledger and compare it with every checkpoint, of the book and of anchors; bar the ledger if anything is wrong.

        Raises:
            AuditError: it is damaged.
        """
        kept = [one for anchor in self._anchors for one in anchor.kept() if one.key == self.public_key]
        found = verify(self._ledger.path, [*(one for one, _ in read_book(self._book)), *kept])
        if not found.ok:
            why = f"record {found.bad_seq}: {found.why}."
            self._ledger.bar(why)
            raise AuditError(f"The audit ledger is damaged at {why}", hint=_HINT)

    def tick(self) -> Checkpoint | None:
        """Look for new records and sign if it is time; returns the checkpoint made.

        Raises:
            AuditError: the ledger is not what it was, or the book cannot be written.
        """
        with self._lock:
            self._walk()
            fresh = self._place.tree.size - self._signed
            if not fresh:
                return None
            now_s = self._clock.monotonic_s()
            if self._since_s is None:
                self._since_s = now_s
            if fresh < self._every_records and now_s - self._since_s < self._every_s:
                return None
            return self._sign()

    def sign(self) -> Checkpoint | None:
        """Sign now if there is anything new.

        Raises:
            AuditError: as ``tick``.
        """
        with self._lock:
            self._walk()
            return self._sign() if self._place.tree.size > self._signed else None

    def _resume(self) -> None:
        book = read_book(self._book)
        if not book:
            return
        last, rest = book[-1]
        check_checkpoint(last, self.public_key)
        try:
            tree = Tree(last.size, [bytes.fromhex(peak) for peak in rest["peaks"]])
            upto, start = int(rest["upto"]), int(rest["start"])
            end = self._ledger.line(start, upto - start)
        except (KeyError, TypeError, ValueError, OSError) as err:
            raise AuditError(f"The ledger does not reach the checkpoint of {last.at} over {last.size} records.", hint=_HINT) from err
        if tree.root.hex() != last.root or last.head.encode() not in end or not end.endswith(b',"seq":%d}\n' % last.size):
            raise AuditError(f"The ledger is not the one that the checkpoint of {last.at} over {last.size} records has seen.", hint=_HINT)
        self._place, self._signed = _Place(tree, last.head, start, upto), last.size

    def _walk(self) -> None:
        place = self._place
        prev = place.head.encode()
        for start, raw in self._ledger.lines(place.upto):
            try:
                prev = check_line(raw, seq=place.tree.size + 1, prev=prev)
            except Misfit as err:
                why = f"record {place.tree.size + 1}: {err}."
                self._ledger.bar(why)
                raise AuditError(f"The audit ledger is damaged at {why}", hint=_HINT) from err
            place.tree.add(bytes.fromhex(prev.decode()))
            place.head, place.start, place.upto = prev.decode(), start, start + len(raw)

    def _sign(self) -> Checkpoint:
        tree, place = self._place.tree, self._place
        made = sign_checkpoint(
            self._key, executor=self._executor, at=iso(self._clock.now()), size=tree.size, root=tree.root, head=place.head
        )
        rest = {"peaks": [peak.hex() for peak in tree.peaks], "start": place.start, "upto": place.upto}
        _append(self._book, json.dumps({"checkpoint": json.loads(made.text), **rest}, separators=(",", ":")))
        self._signed, self._since_s = tree.size, None
        for anchor in self._anchors:
            self._hand_over(anchor, made)
        return made

    def _hand_over(self, anchor: Anchor, made: Checkpoint) -> None:
        try:
            anchor.put(made)
        except AuditError as err:
            _LOG.warning("a checkpoint did not reach its anchor", extra={"anchor": anchor.name, "error": err.message})
            if anchor.name not in self._failing:  # once, not with every checkpoint
                self._failing.add(anchor.name)
                self._ledger.append("anchor.failed", actor="executor", data={"what": anchor.name, "reason": err.message})
            return
        if anchor.name in self._failing:
            self._failing.discard(anchor.name)
            self._ledger.append("anchor.works", actor="executor", data={"what": anchor.name})


def read_book(book: Path) -> list[tuple[Checkpoint, dict[str, Any]]]:
    """Checkpoints of a book with what is needed to go on from them. Lines that hold none are left out."""
    found = []
    try:
        lines = book.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            data = json.loads(line)
            found.append((parse_checkpoint(data.pop("checkpoint")), data))
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
    return found


def _append(book: Path, line: str) -> None:
    try:
        new = not book.exists()
        handle = os.open(book, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            fsync_dir(book.parent)
    except OSError as err:
        raise AuditError(
            f"The book of checkpoints {book} cannot be written: {err.strerror}.", hint="Check the disk and the file's owner."
        ) from err
