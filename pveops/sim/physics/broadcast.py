"""What the nodes told each other at the last broadcast: momentary values of all guests and nodes, as old as the raster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from pveops.sim.physics.curves import Curves, Sample
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest

_GIB = 1024**3
_OWN_CPU = 0.011
_OWN_MEMORY = 1.7 * _GIB
_OVERHEAD = 1.04


class NodeSample(NamedTuple):
    """Momentary values of a node: CPU as a fraction of all its CPUs, memory bytes."""

    cpu: float
    mem: int


def node_sample(cpus: int, memory: int, busy_cpus: float, guest_memory: float) -> NodeSample:
    """What the load of its guests makes of a node."""
    cpu = min(_OWN_CPU + busy_cpus * _OVERHEAD / max(cpus, 1), 0.995)
    return NodeSample(cpu, int(min(_OWN_MEMORY + 0.012 * memory + guest_memory, memory * 0.985)))


@dataclass(frozen=True, slots=True)
class OnAir:
    """The guests that ran at a broadcast, and their curves; ``generation`` of the cluster, -1 when guests are shown as they were."""

    generation: int
    guests: list[Guest]
    vmids: list[int]
    crew: Any

    @classmethod
    def of(cls, cluster: Cluster, load: Curves) -> OnAir:
        """Who runs according to the last broadcast."""
        casts = cluster.casts
        running = [guest for guest in cluster.guests.values() if guest.running and guest.vmid not in casts]
        since = [guest.since_s for guest in running]
        for vmid, cast in casts.items():
            if cast.known and cast.running and vmid in cluster.guests:
                running.append(cluster.guests[vmid])
                since.append(cast.since_s)
        generation = -1 if casts else cluster.generation
        return cls(generation, running, [guest.vmid for guest in running], load.crew(running, since))


class Broadcast:
    """One broadcast.

    Args:
        cluster: the state; guests that changed since the broadcast are shown as they were.
        load: the curves.
        before: the last one; when nothing changed since then, the same guests run, and only time is another.
    """

    def __init__(self, cluster: Cluster, load: Curves, before: Broadcast | None = None) -> None:
        self.moment_s = float(cluster.raster_s)
        self.nodes: dict[str, NodeSample] = {}
        again = before is not None and not cluster.casts and before.on_air.generation == cluster.generation
        self.on_air: OnAir = before.on_air if before is not None and again else OnAir.of(cluster, load)
        samples = load.crew_samples(self.on_air.crew, self.moment_s)
        self.samples: dict[int, Sample] = dict(zip(self.on_air.vmids, samples, strict=True))
        self._sum_up(cluster, samples)

    def _sum_up(self, cluster: Cluster, samples: list[Sample]) -> None:
        busy = dict.fromkeys(cluster.nodes, 0.0)
        memory = dict.fromkeys(cluster.nodes, 0.0)
        for guest, sample in zip(self.on_air.guests, samples, strict=True):
            here = guest.node
            busy[here] += sample.cpu * (guest.cpus or cluster.nodes[here].cpus)
            memory[here] += sample.memhost if guest.kind == "qemu" else sample.mem
        for name, node in cluster.nodes.items():
            self.nodes[name] = node_sample(node.cpus, node.memory, busy[name], memory[name])
