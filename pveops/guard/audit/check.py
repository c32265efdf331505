"""Proof that nothing was changed: the chain on its own finds what a careless hand does, checkpoints kept elsewhere find the rest."""

from __future__ import annotations

import fcntl
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pveops.guard.audit.checkpoint import Checkpoint
from pveops.guard.audit.lines import GENESIS, Misfit, check_line, is_first_format, parse_line
from pveops.guard.audit.merkle import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found.

    Attributes:
        records: how many records are good, from the first on.
        head: the hash of the last good one.
        root: the root of the Merkle tree over them.
        bad_seq, bad_line: the first bad record and its line, where there is one.
        why: what is wrong with it.
        checkpoints: how many checkpoints agree.
        covered: how many records the largest of them covers.
    """

    records: int
    head: str
    root: str = ""
    bad_seq: int | None = None
    bad_line: int | None = None
    why: str = ""
    checkpoints: int = 0
    covered: int = 0

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.why


def verify(path: Path, checkpoints: Iterable[Checkpoint] = (), copy: Path | None = None) -> Finding:
    """Walk the whole ledger and compare it with checkpoints (signatures checked before) and with a copy of it, line by line.

    Raises:
        OSError: a file is there and cannot be read.
    """
    wanted: dict[int, list[Checkpoint]] = defaultdict(list)
    for one in checkpoints:
        wanted[one.size].append(one)
    found = _walk(path, wanted)
    if found.ok and copy is not None:
        found = _against(path, copy, found)
    return found


def stable_size(path: Path) -> int:
    """Bytes of the file that no writer can take back any more; 0 where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def finished_lines(path: Path) -> Iterator[bytes]:
    """The lines that no writer can take back any more; the last may lack its end after a crash."""
    left = stable_size(path)
    if not left:
        return
    with path.open("rb") as file:
        for raw in file:
            left -= len(raw)
            if left < 0:
                return
            yield raw


def _walk(path: Path, wanted: dict[int, list[Checkpoint]]) -> Finding:
    tree, prev, agreed, covered, second = Tree(), GENESIS.encode(), 0, 0, False
    seq = 0
    for misfit in _contradicting(wanted.get(0, ()), tree, GENESIS):
        return Finding(records=0, head=GENESIS, bad_seq=1, bad_line=1, why=misfit)
    for raw in finished_lines(path):
        try:
            if second and is_first_format(raw):
                raise Misfit("it is written in the first format, after records of the second")
            fresh = check_line(raw, seq=seq + 1, prev=prev)
        except Misfit as err:
            return Finding(
                records=seq, head=prev.decode(), root=tree.root.hex(), bad_seq=_number(raw, seq + 1), bad_line=seq + 1, why=str(err),
                checkpoints=agreed, covered=covered,
            )  # fmt: skip
        second = second or not is_first_format(raw)
        seq, prev = seq + 1, fresh
        tree.add(bytes.fromhex(fresh.decode()))
        if seq in wanted:
            for misfit in _contradicting(wanted[seq], tree, prev.decode()):
                return Finding(
                    records=covered, head=prev.decode(), root=tree.root.hex(), bad_seq=covered + 1, bad_line=covered + 1,
                    why=f"{misfit} What was changed first lies between record {covered + 1} and record {seq}",
                    checkpoints=agreed, covered=covered,
                )  # fmt: skip
            agreed, covered = agreed + len(wanted[seq]), seq
    whole = Finding(records=seq, head=prev.decode(), root=tree.root.hex(), checkpoints=agreed, covered=covered)
    beyond = max((size for size in wanted if size > seq), default=0)
    if beyond:
        at = wanted[beyond][0].at
        why = f"records {seq + 1} to {beyond} are missing: a checkpoint of {at} has seen them"
        return replace(whole, bad_seq=seq + 1, bad_line=seq + 1, why=why)
    return whole


def _contradicting(checkpoints: Sequence[Checkpoint], tree: Tree, head: str) -> Iterator[str]:
    for one in checkpoints:
        if one.root != tree.root.hex() or one.head != head:
            yield f"the chain holds, but it is not the one that the checkpoint of {one.at} over {one.size} records has seen: it was written anew."


def _number(raw: bytes, place: int) -> int:
    try:
        return int(parse_line(raw)["seq"])
    except Misfit:
        return place


def _against(path: Path, copy: Path, found: Finding) -> Finding:
    """Compare with a copy: a common beginning is what both must have."""
    seq = 0
    ours, theirs = finished_lines(path), finished_lines(copy)
    for mine, other in zip(ours, theirs, strict=False):
        seq += 1
        if mine != other:
            return replace(found, records=seq - 1, bad_seq=seq, bad_line=seq, why=f"it is not the record that the copy {copy} holds")
    missing = sum(1 for _ in theirs)
    if missing:
        why = f"records {seq + 1} to {seq + missing} are missing: the copy {copy} holds them"
        return replace(found, bad_seq=seq + 1, bad_line=seq + 1, why=why)
    return found
