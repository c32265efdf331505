"""What the nodes told each other at the last broadcast: momentary values of all guests and nodes, as old as the raster.

A node that tells nothing any more (it is dead, cut off, or its status daemon hangs) is shown for five minutes with its last words; then
nothing is known of it and of its guests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from pveops.sim.physics.curves import Curves, Sample
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.node import Cast, Node

STALE_S = 300.0
"""What is older than this does not count any more."""

_GIB = 1024**3
OWN_CPU = 0.011
_OWN_MEMORY = 1.7 * _GIB
OVERHEAD = 1.04
FULLEST_CPU = 0.995
LOAD_PER_CPU = 1.12
OWN_NET = 9_000.0
"""Bytes per second that a node sends and receives for itself."""


class NodeSample(NamedTuple):
    """Momentary values of a node: CPU as a fraction of all its CPUs, memory bytes."""

    cpu: float
    mem: int


def node_sample(cpus: int, memory: int, busy_cpus: float, guest_memory: float) -> NodeSample:
    """What the load of its guests makes of a node."""
    cpu = min(OWN_CPU + busy_cpus * OVERHEAD / max(cpus, 1), FULLEST_CPU)
    return NodeSample(cpu, int(min(_OWN_MEMORY + 0.012 * memory + guest_memory, memory * 0.985)))


def swap_share(seed: int, node: Node) -> float:
    """How much of its swap space a node uses."""
    return noise.between(0.0, 0.04, seed, "swap", node.name)


def stale(node: Node, moment_s: float) -> bool:
    """Whether too much time has passed since a node told anything."""
    return node.silent_since_s is not None and moment_s - node.silent_since_s > STALE_S


def fall_silent(cluster: Cluster, node: Node) -> None:
    """The node tells nothing from now on; what it said last is kept."""
    if node.silent_since_s is not None:
        return
    node.silent_since_s = float(cluster.raster_s)
    node.last_words = {guest.vmid: cluster.casts.get(guest.vmid) or _cast(guest) for guest in cluster.guests_on(node.name)}
    cluster.generation += 1


def speak_again(cluster: Cluster, node: Node) -> None:
    """The node tells about itself and its guests again, from the next broadcast on."""
    node.silent_since_s = None
    node.last_words = {}
    cluster.generation += 1


def _cast(guest: Guest) -> Cast:
    return Cast(True, guest.name, guest.cpus, guest.maxmem, guest.maxdisk, guest.template, guest.running, guest.since_s)


@dataclass(frozen=True, slots=True)
class OnAir:
    """The guests that ran at a broadcast, in the order of the cluster, and their curves.

    ``generation`` is that of the cluster, -1 when guests are shown as they were. ``moments`` says which guests are shown with values of an
    earlier broadcast; of the ``lost`` ones nothing is known.
    """

    generation: int
    guests: list[Guest]
    vmids: list[int]
    crew: Any
    moments: list[float] | None = None
    lost: frozenset[int] = frozenset()
    kept: dict[Any, bytes] = field(default_factory=dict)
    """Room for what printers made of these guests and can use again at the next broadcast."""
    position: dict[int, int] = field(default_factory=dict)
    """Where the values of a running guest stand."""
    groups: dict[object, list[int]] = field(default_factory=dict)
    """The same of groups of guests that were asked for."""

    def __post_init__(self) -> None:
        self.position.update(zip(self.vmids, range(len(self.vmids)), strict=True))

    @classmethod
    def of(cls, cluster: Cluster, load: Curves) -> OnAir:
        """Who runs according to the last broadcast."""
        casts = cluster.casts
        places = {name: number for number, name in enumerate(cluster.nodes)}
        silent = {name: node for name, node in cluster.nodes.items() if node.silent_since_s is not None}
        if not casts and not silent:
            running = [guest for guest in cluster.guests.values() if guest.running]
            crew = load.crew(running, [guest.since_s for guest in running], places)
            return cls(cluster.generation, running, [guest.vmid for guest in running], crew)
        gathered = _Gathered(float(cluster.raster_s), casts, silent)
        gathered.gather(cluster.guests.values())
        crew = load.crew(gathered.running, gathered.since, places)
        moments = gathered.moments if silent else None
        return cls(-1, gathered.running, [guest.vmid for guest in gathered.running], crew, moments, frozenset(gathered.lost))


@dataclass(slots=True)
class _Gathered:
    """Guests as the last broadcasts showed them."""

    raster_s: float
    casts: dict[int, Cast]
    silent: dict[str, Node]
    running: list[Guest] = field(default_factory=list)
    since: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)

    def gather(self, guests: Iterable[Guest]) -> None:
        """Look at each guest."""
        for guest in guests:
            node = self.silent.get(guest.node)
            if node is not None:
                self._silent(guest, node)
                continue
            cast = self.casts.get(guest.vmid)
            if cast is None:
                if guest.running:
                    self._add(guest, guest.since_s, self.raster_s)
            elif cast.known and cast.running:
                self._add(guest, cast.since_s, self.raster_s)

    def _silent(self, guest: Guest, node: Node) -> None:
        words = node.last_words.get(guest.vmid)
        if words is None or not words.known or stale(node, self.raster_s):
            self.lost.add(guest.vmid)
        elif words.running:
            self._add(guest, words.since_s, node.silent_since_s or self.raster_s)

    def _add(self, guest: Guest, since_s: float, moment_s: float) -> None:
        self.running.append(guest)
        self.since.append(since_s)
        self.moments.append(moment_s)


class Broadcast:
    """One broadcast.

    Args:
        cluster: the state; guests that changed since the broadcast are shown as they were.
        load: the curves.
        before: the last one; when nothing changed since then, the same guests run, and only time is another.
    """

    def __init__(self, cluster: Cluster, load: Curves, before: Broadcast | None = None) -> None:
        self.moment_s = float(cluster.raster_s)
        again = before is not None and before.on_air.generation == cluster.generation and not cluster.casts
        self.on_air: OnAir = before.on_air if before is not None and again else OnAir.of(cluster, load)
        self.values = load.values(self.on_air.crew, self.moment_s if self.on_air.moments is None else self.on_air.moments)
        sums = load.node_sums(self.on_air.crew, self.values, [node.cpus for node in cluster.nodes.values()])
        self.nodes = {
            name: node_sample(node.cpus, node.memory, busy, memory)
            for (name, node), (busy, memory) in zip(cluster.nodes.items(), sums, strict=True)
        }

    @property
    def position(self) -> dict[int, int]:
        """Where the values of a running guest stand."""
        return self.on_air.position

    @cached_property
    def samples(self) -> dict[int, Sample]:
        """The values of all running guests, by id."""
        columns = [column.tolist() for column in self.values]
        return dict(zip(self.on_air.vmids, map(Sample._make, zip(*columns, strict=True)), strict=True))

    def total(self, key: object, vmids: Iterable[int]) -> dict[str, float]:
        """What the running ones of some guests use together; nothing when none runs. ``key`` stands for the guests."""
        groups, position = self.on_air.groups, self.position
        if key not in groups:
            groups[key] = [position[vmid] for vmid in vmids if vmid in position]
        rows = groups[key]
        if not rows:
            return {}
        cpus, values, crew = self.on_air.crew.cpus[rows], self.values, self.on_air.crew
        count = int(cpus.sum())
        return {
            "cpu": float((values.cpu[rows] * cpus).sum()) / count if count else 0,
            "maxcpu": count,
            "mem": int(values.mem[rows].sum()),
            "maxmem": int(crew.maxmem[rows].sum()),
            "uptime": int(values.uptime[rows].max()),
        }

    def as_it_is(self, cluster: Cluster) -> bool:
        """Whether guests are shown exactly as they are now."""
        return self.on_air.generation == cluster.generation

    def shown(self, cluster: Cluster, guest: Guest) -> Cast | Guest | None:
        """A guest as this broadcast showed it; ``None`` when nothing is known of it."""
        if guest.vmid in self.on_air.lost:
            return None
        node = cluster.nodes.get(guest.node)
        words = node.last_words.get(guest.vmid) if node is not None and node.silent_since_s is not None else None
        words = words or cluster.casts.get(guest.vmid)
        if words is None:
            return guest
        return words if words.known else None
