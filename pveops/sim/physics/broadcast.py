"""What the nodes told each other at the last broadcast: momentary values of all guests and nodes, as old as the raster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pveops.sim.physics.curves import STILL, Curves, Sample
from pveops.sim.state.cluster import Cast, Cluster
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
        running: list[Guest] = []
        since: list[float] = []
        for guest in cluster.guests.values():
            cast = cluster.casts.get(guest.vmid)
            if guest.running if cast is None else cast.running and cast.known:
                running.append(guest)
                since.append(guest.since_s if cast is None else cast.since_s)
        for guest, sample in zip(running, load.samples(running, self.moment_s, since), strict=True):
            self.samples[guest.vmid] = sample
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

    def sample(self, guest: Guest) -> Sample:
        """The values of a guest; zeros for one that does not run."""
        return self.samples.get(guest.vmid, STILL)


def shown_cast(cluster: Cluster, guest: Guest) -> Cast:
    """What the last broadcast said about a guest, beside its momentary values."""
    cast = cluster.casts.get(guest.vmid)
    if cast is not None:
        return cast
    return Cast(True, guest.name, guest.cpus, guest.maxmem, guest.maxdisk, guest.template, guest.running, guest.since_s)
