"""The Merkle tree of RFC 6962: one hash that stands for all records, and short proofs about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

_LEAF, _NODE = b"\x00", b"\x01"
EMPTY = sha256().digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(_LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(_NODE + left + right).digest()


class Tree:
    """A tree that grows: keeps only the roots of its perfect subtrees, largest first (one per bit of its size)."""

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Raises: ``ValueError`` if the number of peaks does not fit the size."""
        self.size = size
        self._peaks = list(peaks)
        if len(self._peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self._peaks)}")

    def add(self, data: bytes) -> None:
        """Add a leaf."""
        made, size, peaks = sha256(_LEAF + data).digest(), self.size, self._peaks
        while size & 1:
            made = sha256(_NODE + peaks.pop() + made).digest()
            size >>= 1
        peaks.append(made)
        self.size += 1

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """What is needed to go on later."""
        return tuple(self._peaks)

    @property
    def root(self) -> bytes:
        """The root hash."""
        if not self._peaks:
            return EMPTY
        made = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            made = node_hash(peak, made)
        return made


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0]
    half = _split(len(leaves))
    return node_hash(root_of(leaves[:half]), root_of(leaves[half:]))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of a leaf: the hashes beside its way up to the root, lowest first."""
    if len(leaves) <= 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*inclusion_proof(leaves[:half], index), root_of(leaves[half:])]
    return [*inclusion_proof(leaves[half:], index - half), root_of(leaves[:half])]


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that the tree of that size and root holds this leaf hash at that place (from 0)."""
    if not 0 <= index < size:
        return False
    made, at, last = leaf, index, size - 1
    for beside in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            made = node_hash(beside, made)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            made = node_hash(made, beside)
        at, last = at >> 1, last >> 1
    return last == 0 and made == root


def _split(size: int) -> int:
    """The largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1
