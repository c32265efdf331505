"""Round-robin data: averages and peaks of the load curves over the spans and steps of Proxmox VE 9."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from pveops.sim.physics import crowd, pressure
from pveops.sim.physics.broadcast import LOAD_PER_CPU, OWN_NET, node_sample, swap_share
from pveops.sim.physics.load import Load, host_memory
from pveops.sim.physics.overlay import Floats
from pveops.sim.physics.space import SpaceBook
from pveops.sim.physics.track import Bools, Run, Steps, known_guests, running_at, runs_of, told, told_of
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.node import Node
from pveops.sim.state.storage import Storage

_KNOWN_SHARE = 0.5
"""A guest that ran for less of a step has no data for it."""

Rows = list[dict[str, Any]]


class Span(NamedTuple):
    """Seconds between two rows, and how many rows there are."""

    step_s: int
    rows: int


SPANS = {
    "hour": Span(60, 60),
    "day": Span(60, 1440),
    "week": Span(1800, 336),
    "month": Span(1800, 1440),
    "year": Span(21_600, 1440),
    "decade": Span(604_800, 570),
}

OLD_SPANS = {
    "hour": Span(60, 70),
    "day": Span(1800, 70),
    "week": Span(10_800, 70),
    "month": Span(43_200, 70),
    "year": Span(604_800, 70),
}
"""Those of Proxmox VE 8."""


def _times(span: Span, now_s: float) -> Floats:
    """The moments of the rows, aligned to the step; each stands for the step that ends there."""
    last = int(now_s // span.step_s) * span.step_s
    return last - span.step_s * np.arange(span.rows - 1, -1, -1, dtype=np.float64)


def _rows(times: Floats, known: Bools, columns: dict[str, tuple[Floats, Bools | None]]) -> Rows:
    """Rows with a key for each value that is known at that time."""
    found: Rows = [{"time": int(moment)} for moment in times]
    for name, (values, mask) in columns.items():
        shown = known if mask is None else known & mask
        for row, value, present in zip(found, values.tolist(), shown.tolist(), strict=True):
            if present:
                row[name] = value
    return found


def _rates(load: Load, guest: Guest, runs: Sequence[Run], steps: Steps, *, peak: bool) -> tuple[Floats, Floats]:
    """The shape of the load over each step (its exact average while the guest ran, or a peak), and for how much of the step it ran."""
    share = steps.covered_s(runs) / steps.step_s
    if peak:
        return steps.peak(load, guest), share
    return steps.area(load, guest, runs) / np.maximum(share * steps.step_s, 1e-9), share


def guest_rows(load: Load, guest: Guest, node: Node, span: Span, now_s: float, *, peak: bool, nodes: Iterable[Node] = ()) -> Rows:
    """The data of a guest. One that did not run shows only its limits and its disk; ``nodes`` are those that may have told nothing."""
    times = _times(span, now_s)
    index = np.full(times.shape, guest.index, np.int64)
    runs = runs_of(guest)
    shape, share = _rates(load, guest, runs, Steps(times, float(span.step_s)), peak=peak)
    ran = share > _KNOWN_SHARE
    _, since = running_at(runs, times)

    def rate(name: str) -> Floats:
        return shape * load.parameter(name, index)

    memory = load.memory_bytes(index, times, since, float(guest.maxmem))
    cpu = np.minimum(rate("cpu"), 1.0)
    disk = guest.maxdisk * load.disk_fraction(index, times) if guest.kind == "lxc" else np.zeros(times.shape)
    still = np.full(times.shape, 1.0)
    columns: dict[str, tuple[Floats, Bools | None]] = {
        "maxcpu": (still * (guest.cpus or node.cpus), None),
        "maxmem": (still * guest.maxmem, None),
        "maxdisk": (still * guest.maxdisk, None),
        "disk": (disk, None),
        "cpu": (cpu, ran),
        "mem": (memory, ran),
        "memhost": (host_memory(memory, float(guest.maxmem)), ran),
        "netin": (rate("net_in"), ran),
        "netout": (rate("net_out"), ran),
        "diskread": (rate("disk_read"), ran),
        "diskwrite": (rate("disk_write"), ran),
        **{name: (values, ran) for name, values in pressure.of_guest(cpu, *load.overlay.holds(index, times)).items()},
    }
    return _rows(times, (times > guest.created_s) & told_of(nodes, runs, times), columns)


def carried(cluster: Cluster, load: Load, node: Node, steps: Steps, *, peak: bool) -> dict[str, Floats]:
    """What the guests of a node add up to in each step: busy CPUs, memory, network in and out."""
    times = steps.ends
    total = {name: np.zeros(times.shape) for name in ("busy", "memory", "net_in", "net_out")}
    for guest in known_guests(cluster):
        runs = [run for run in runs_of(guest) if run.node == node.name]
        if not runs:
            continue
        index = np.full(times.shape, guest.index, np.int64)
        shape, share = _rates(load, guest, runs, steps, peak=peak)
        ran, since = running_at(runs, times)
        memory = load.memory_bytes(index, times, since, float(guest.maxmem)) * ran
        total["busy"] += np.minimum(shape * load.parameter("cpu", index), 1.0) * share * (guest.cpus or node.cpus)
        total["memory"] += host_memory(memory, float(guest.maxmem)) * ran if guest.kind == "qemu" else memory
        total["net_in"] += shape * share * load.parameter("net_in", index)
        total["net_out"] += shape * share * load.parameter("net_out", index)
    return total


def node_rows(cluster: Cluster, load: Load, space: SpaceBook, node: Node, span: Span, now_s: float, *, peak: bool) -> Rows:
    """The data of a node: the sum of its guests, and what it needs itself."""
    times = _times(span, now_s)
    sums = carried(cluster, load, node, Steps(times, float(span.step_s)), peak=peak)
    pairs = zip(sums["busy"].tolist(), sums["memory"].tolist(), strict=True)
    samples = [node_sample(node.cpus, node.memory, busy, memory) for busy, memory in pairs]
    cpu = np.array([sample.cpu for sample in samples])
    used = np.array([float(sample.mem) for sample in samples])
    still = np.full(times.shape, 1.0)
    noises = cluster.ills.noise_on(node.name)
    hammered = np.array([crowd.hammered_s(noises, moment - span.step_s, moment) / span.step_s for moment in times.tolist()])
    lost = np.array([crowd.loudest(noises, moment) for moment in times.tolist()])
    root = space.root(node, now_s)
    grown = np.array([float(space.root(node, moment).used) for moment in times.tolist()])
    columns: dict[str, tuple[Floats, Bools | None]] = {
        "maxcpu": (still * node.cpus, None),
        "cpu": (cpu, None),
        "iowait": (pressure.iowait(cpu, hammered), None),
        "loadavg": (cpu * node.cpus * LOAD_PER_CPU, None),
        "memtotal": (still * node.memory, None),
        "memused": (used, None),
        "memavailable": (node.memory - used, None),
        "arcsize": (still * 0.0, None),
        "swaptotal": (still * node.swap, None),
        "swapused": (still * node.swap * swap_share(cluster.seed, node), None),
        "roottotal": (still * root.total, None),
        "rootused": (grown, None),
        "netin": (sums["net_in"] + OWN_NET, None),
        "netout": (sums["net_out"] + OWN_NET, None),
        **{name: (values, None) for name, values in pressure.of_node(cpu, lost, hammered).items()},
    }
    return _rows(times, (times > node.installed_s) & told(node.gaps, times), columns)


def storage_rows(space: SpaceBook, storage: Storage, node: Node, span: Span, now_s: float) -> Rows:
    """Size and used part of a storage."""
    times = _times(span, now_s)
    found = [space.storage(storage, node.name, moment) for moment in times.tolist()]
    columns: dict[str, tuple[Floats, Bools | None]] = {
        "total": (np.array([float(one.total) for one in found]), None),
        "used": (np.array([float(one.used) for one in found]), None),
    }
    return _rows(times, (times > node.installed_s) & told(node.gaps, times), columns)
