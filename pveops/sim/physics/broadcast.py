"""What the nodes told each other at the last broadcast: momentary values of all guests and nodes, as old as the raster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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


class Broadcast:
    """One broadcast.

    Args:
        cluster: the state; guests that changed since the broadcast are shown as they were.
        load: the curves.
    """

    def __init__(self, cluster: Cluster, load: Curves) -> None:
        self.moment_s = float(cluster.raster_s)
        self.samples: dict[int, Sample] = {}
        self.nodes: dict[str, NodeSample] = {}
        casts = cluster.casts
        running = [guest for guest in cluster.guests.values() if guest.running and guest.vmid not in casts]
        since = [guest.since_s for guest in running]
        for vmid, cast in casts.items():
            if cast.known and cast.running and vmid in cluster.guests:
                running.append(cluster.guests[vmid])
                since.append(cast.since_s)
        samples = load.samples(running, self.moment_s, since)
        self.samples.update(zip((guest.vmid for guest in running), samples, strict=True))
        self._sum_up(cluster, running)

    def _sum_up(self, cluster: Cluster, running: Sequence[Guest]) -> None:
        busy = dict.fromkeys(cluster.nodes, 0.0)
        memory = dict.fromkeys(cluster.nodes, 0.0)
        samples = self.samples
        for guest in running:
            sample = samples[guest.vmid]
            busy[guest.node] += sample.cpu * (guest.cpus or cluster.nodes[guest.node].cpus)
            memory[guest.node] += sample.memhost if guest.kind == "qemu" else sample.mem
        for name, node in cluster.nodes.items():
            self.nodes[name] = node_sample(node.cpus, node.memory, busy[name], memory[name])
