"""Momentary values without the delay of broadcasts: what a node says about itself and its own guests when it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pveops.sim.physics import crowd, pressure
from pveops.sim.physics.broadcast import LOAD_PER_CPU, node_sample, swap_share
from pveops.sim.physics.curves import STILL, Curves, Sample
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.node import Node


class LiveNode(NamedTuple):
    """CPU, I/O wait and swap as fractions, memory in bytes, load averages over 1, 5 and 15 minutes."""

    cpu: float
    iowait: float
    mem: int
    swap: float
    loadavg: tuple[float, float, float]


def live_guests(load: Curves, guests: Sequence[Guest], moment_s: float) -> list[Sample]:
    """The values of some guests; zeros for those that do not run."""
    running = [guest for guest in guests if guest.running]
    samples = iter(load.samples(running, moment_s, [guest.since_s for guest in running]))
    return [next(samples) if guest.running else STILL for guest in guests]


def live_guest(load: Curves, guest: Guest, moment_s: float) -> Sample:
    """The values of one guest."""
    return live_guests(load, [guest], moment_s)[0]


def _cpu_and_memory(cluster: Cluster, load: Curves, node: Node, moment_s: float) -> tuple[float, int]:
    guests = [guest for guest in cluster.guests_on(node.name) if guest.running]
    samples = live_guests(load, guests, moment_s)
    busy = sum(sample.cpu * (guest.cpus or node.cpus) for guest, sample in zip(guests, samples, strict=True))
    memory = sum(sample.memhost if guest.kind == "qemu" else sample.mem for guest, sample in zip(guests, samples, strict=True))
    return node_sample(node.cpus, node.memory, busy, memory)


def live_node(cluster: Cluster, load: Curves, node: Node, moment_s: float) -> LiveNode:
    """The values of a node; load averages are CPU use of a little earlier, as load averages are."""
    cpu, mem = _cpu_and_memory(cluster, load, node, moment_s)
    before = [_cpu_and_memory(cluster, load, node, moment_s - back_s)[0] for back_s in (30.0, 150.0, 450.0)]
    first, second, third = (value * node.cpus * LOAD_PER_CPU for value in before)
    hammered = crowd.hammered_s(cluster.ills.noise_on(node.name), moment_s - 1.0, moment_s)
    return LiveNode(cpu, pressure.iowait(cpu, hammered), mem, swap_share(cluster.seed, node), (first, second, third))
