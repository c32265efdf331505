"""How full storages are: what lies on them, what else they hold, and growth with time."""

from __future__ import annotations

from typing import NamedTuple

from pveops.sim.physics.curves import DAY_S
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node
from pveops.sim.state.storage import Storage

_FULLEST = 0.995
_CREEP_PER_DAY = 0.0004
"""Growth of a storage that was declared full, as a fraction of its size."""

_ROOT_GROWTH = 18 * 1024**2
"""Bytes per day."""


class Space(NamedTuple):
    """Size and used part of a storage, bytes."""

    total: int
    used: int

    @property
    def avail(self) -> int:
        """What is left."""
        return max(self.total - self.used, 0)


class SpaceBook:
    """Sizes and used parts. Volume sums are kept until something changes: thousands of volumes are added up once.

    Args:
        cluster: what exists.
        anchor_s: the moment (seconds since the epoch) that growth counts from.
    """

    def __init__(self, cluster: Cluster, anchor_s: float) -> None:
        self._cluster = cluster
        self._anchor_s = anchor_s
        self._sums: dict[tuple[str, str], int] = {}
        self._generation = -1

    def _volumes(self, storage: Storage, node: str) -> int:
        if self._generation != self._cluster.generation:
            self._sums.clear()
            self._generation = self._cluster.generation
        key = (storage.name, "" if storage.shared else node)
        if key not in self._sums:
            self._sums[key] = int(sum(volume.size * volume.used_fraction for volume in storage.place(node).values()))
        return self._sums[key]

    def storage(self, storage: Storage, node: str, moment_s: float) -> Space:
        """A storage as a node sees it at that moment."""
        days = (moment_s - self._anchor_s) / DAY_S
        if node in storage.full and not storage.shared:
            used = storage.total * (storage.full[node] + _CREEP_PER_DAY * days)
        else:
            used = storage.used + storage.growth * days + self._volumes(storage, node)
        return Space(storage.total, int(min(max(used, 0), storage.total * _FULLEST)))

    def root(self, node: Node, moment_s: float) -> Space:
        """The root file system of a node."""
        used = node.root_used + _ROOT_GROWTH * (moment_s - self._anchor_s) / DAY_S
        return Space(node.root_total, int(min(max(used, 0), node.root_total * _FULLEST)))
