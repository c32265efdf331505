"""Who gets less than it wants: neighbours of a noisy guest, guests that are paused or whose storage takes no writes.

Nothing ticks: whenever something has changed, the guests that are held from then on are worked out anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.ills import Noise
from pveops.sim.state.storage import Storage

HAMMERED_WAITS = 0.4
"""For which part of the time those wait that have disks on a storage which somebody keeps busy."""

_STUCK_WAITS = 1.0
_DISKS = ("images", "rootdir")


class Hold(NamedTuple):
    """What is left to a guest of what it wants, for which part of the time it waits for disks, and what others take from it; fractions."""

    kept: float = 1.0
    waits: float = 0.0
    lost: float = 0.0


FREE = Hold()


def users_of(cluster: Cluster, storage: Storage, node: str) -> set[int]:
    """The guests with images on a storage, as a node sees it."""
    return {volume.vmid for volume in storage.place(node).values() if volume.content in _DISKS and volume.vmid in cluster.guests}


def disks_on(guest: Guest, storage: str) -> bool:
    """Whether a guest writes to a storage."""
    return any(disk.storage == storage and not disk.cdrom for disk in guest.disks())


def loudest(noises: Iterable[Noise], moment_s: float) -> float:
    """The greatest part that guests of a node lose to a noisy one at that moment."""
    return max((noise.lost_fraction for noise in noises if noise.at(moment_s)), default=0.0)


def hammered_s(noises: Iterable[Noise], since_s: float, until_s: float) -> float:
    """For how many seconds between two moments somebody kept the disks of a node busy."""
    spans = sorted((max(one.since_s, since_s), min(one.until_s, until_s)) for one in noises if one.local)
    total, done_s = 0.0, since_s
    for begin_s, end_s in spans:
        total += max(end_s - max(begin_s, done_s), 0.0)
        done_s = max(done_s, end_s)
    return total


class Crowd:
    """Holds guests back.

    Args:
        cluster: where they are.
        hold: told who is held from now on, by the columns of their curves, and nobody else.
    """

    def __init__(self, cluster: Cluster, hold: Callable[[Mapping[int, Hold]], None]) -> None:
        self._cluster = cluster
        self._hold = hold
        self._generation = -1
        self._held: dict[int, Hold] = {}
        cluster.watchers.append(self.look)

    def of(self, guest: Guest) -> Hold:
        """How a guest is held right now."""
        return self._held.get(guest.vmid, FREE) if guest.running else FREE

    def look(self) -> None:
        """See whether something has changed; called after whatever happens."""
        cluster = self._cluster
        if self._generation == cluster.generation:
            return
        self._generation = cluster.generation
        held = self._stalled() | self._paused()
        for noise in cluster.ills.noises:
            if math.isinf(noise.until_s):
                self._crowded(noise, held)
        if held != self._held:
            self._held = held
            self._hold({cluster.guests[vmid].index: hold for vmid, hold in held.items()})

    def _stalled(self) -> dict[int, Hold]:
        cluster = self._cluster
        stalls, guests = cluster.ills.stalls, cluster.guests
        for vmid in [vmid for vmid in stalls if vmid not in guests or cluster.ills.stall_of(guests[vmid]) is None]:
            del stalls[vmid]
        return {vmid: Hold(0.0, _STUCK_WAITS if stall.kind == "stuck" else 0.0) for vmid, stall in stalls.items()}

    def _paused(self) -> dict[int, Hold]:
        return {guest.vmid: Hold(0.0) for guest in self._cluster.guests.values() if guest.paused and guest.running}

    def _crowded(self, noise: Noise, held: dict[int, Hold]) -> None:
        """The neighbours of a noisy guest, and all that use a storage which it keeps busy."""
        cluster = self._cluster
        storages = [cluster.storages[name] for name in noise.storages if name in cluster.storages]
        waiting = set().union(*(users_of(cluster, storage, noise.node) for storage in storages)) if storages else set()
        near = {guest.vmid for guest in cluster.guests_on(noise.node)}
        for vmid in sorted((near | waiting) - {noise.vmid}):
            before = held.get(vmid, FREE)
            if not cluster.guests[vmid].running or not before.kept:
                continue
            kept = before.kept * (1.0 - noise.lost_fraction) if vmid in near else before.kept
            held[vmid] = Hold(kept, max(before.waits, HAMMERED_WAITS if vmid in waiting else 0.0), 1.0 - kept)
