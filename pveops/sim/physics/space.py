"""How full storages are: what lies on them, what guests write into their images, what else they hold, and growth with time."""

from __future__ import annotations

from typing import NamedTuple

from pveops.sim.physics.curves import DAY_S
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node
from pveops.sim.state.storage import Storage

_CREEP_PER_DAY = 0.0004
"""Growth of a storage that was declared full, as a fraction of its size."""

_IMAGE_GROWTH_PER_DAY = 0.0006
"""What guests write into blocks of their images that were never used, as a fraction of the size of the image."""

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

    @property
    def fraction(self) -> float:
        """How full it is."""
        return self.used / self.total if self.total else 0.0


class _Sum(NamedTuple):
    """What the volumes of a storage hold, and what images grow by in a day; bytes."""

    held: int
    per_day: float


class SpaceBook:
    """Sizes and used parts. Volume sums are kept until something changes: thousands of volumes are added up once.

    Args:
        cluster: what exists.
        anchor_s: the moment (seconds since the epoch) that growth counts from.
    """

    def __init__(self, cluster: Cluster, anchor_s: float) -> None:
        self._cluster = cluster
        self._anchor_s = anchor_s
        self._sums: dict[tuple[str, str], _Sum] = {}
        self._generation = -1
        self._base = {
            (storage.name, node): self._volumes(storage, node).held
            for storage in cluster.storages.values()
            for node in storage.full
            if not storage.shared
        }
        """What the volumes of storages that were declared full held then: what is added or removed since counts."""

    def _volumes(self, storage: Storage, node: str) -> _Sum:
        if self._generation != self._cluster.generation:
            self._sums.clear()
            self._generation = self._cluster.generation
        key = (storage.name, "" if storage.shared else node)
        if key not in self._sums:
            volumes = storage.place(node).values()
            held = int(sum(volume.size * volume.used_fraction for volume in volumes))
            images = sum(volume.size for volume in volumes if volume.content in ("images", "rootdir"))
            self._sums[key] = _Sum(held, images * _IMAGE_GROWTH_PER_DAY)
        return self._sums[key]

    def storage(self, storage: Storage, node: str, moment_s: float) -> Space:
        """A storage as a node sees it at that moment."""
        days = (moment_s - self._anchor_s) / DAY_S
        volumes = self._volumes(storage, node)
        total = storage.sizes.get(node, storage.total)
        if node in storage.full and not storage.shared:
            since = volumes.held - self._base.get((storage.name, node), 0)
            used = total * (storage.full[node] + _CREEP_PER_DAY * days) + since
        else:
            used = storage.used + (storage.growth + volumes.per_day) * days + volumes.held
        return Space(total, int(min(max(used, 0), total)))

    def root(self, node: Node, moment_s: float) -> Space:
        """The root file system of a node."""
        used = node.root_used + _ROOT_GROWTH * (moment_s - self._anchor_s) / DAY_S
        return Space(node.root_total, int(min(max(used, 0), node.root_total)))
