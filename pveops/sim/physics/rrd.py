"""Round-robin data: averages and peaks of the load curves over the spans and steps of Proxmox VE 9."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pveops.sim.physics.broadcast import node_sample
from pveops.sim.physics.load import Load
from pveops.sim.physics.overlay import Floats
from pveops.sim.physics.space import SpaceBook
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.node import Node
from pveops.sim.state.storage import Storage

_MIB = 1024**2
_PEAK_SAMPLES = 5
_NODE_NET = 9_000.0

Bools = npt.NDArray[np.bool_]
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


def _running(guest: Guest, times: Floats) -> tuple[Bools, Floats]:
    """At which moments the guest ran, and since when."""
    ran = np.zeros(times.shape, np.bool_)
    since = np.zeros(times.shape)
    runs = [*guest.past_runs, *([(guest.since_s, np.inf)] if guest.running else [])]
    for begin_s, end_s in runs:
        inside = (times >= begin_s) & (times < end_s)
        ran |= inside
        since = np.where(inside, begin_s, since)
    return ran, since


def _shape(load: Load, guest: Guest, times: Floats, step_s: float, *, peak: bool) -> Floats:
    """The shape of the load over each step: its exact average, or the highest of a few moments."""
    index = np.full(times.shape, guest.index, np.int64)
    if not peak:
        return (load.integral(index, times) - load.integral(index, times - step_s)) / step_s
    moments = [load.shape(index, times - step_s * part / _PEAK_SAMPLES) for part in range(_PEAK_SAMPLES)]
    highest: Floats = np.max(np.stack(moments), axis=0)
    return highest


def guest_rows(load: Load, guest: Guest, node: Node, span: Span, now_s: float, *, peak: bool) -> Rows:
    """The data of a guest. A guest that did not run shows only its limits and its disk."""
    times = _times(span, now_s)
    index = np.full(times.shape, guest.index, np.int64)
    ran, since = _running(guest, times)
    shape = _shape(load, guest, times, span.step_s, peak=peak)

    def rate(name: str) -> Floats:
        return shape * load.parameter(name, index)

    memory = guest.maxmem * load.memory_fraction(index, times, since)
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
        "memhost": (np.minimum(memory * 1.03 + 190 * _MIB, guest.maxmem * 1.02 + 190 * _MIB), ran),
        "netin": (rate("net_in"), ran),
        "netout": (rate("net_out"), ran),
        "diskread": (rate("disk_read"), ran),
        "diskwrite": (rate("disk_write"), ran),
        "pressurecpusome": (np.maximum(cpu - 0.55, 0.0) * 40, ran),
        "pressurecpufull": (np.maximum(cpu - 0.55, 0.0) * 12, ran),
        "pressureiosome": (cpu * 1.6, ran),
        "pressureiofull": (cpu * 1.1, ran),
        "pressurememorysome": (still * 0.0, ran),
        "pressurememoryfull": (still * 0.0, ran),
    }
    return _rows(times, times > guest.created_s, columns)


def _on_node(guest: Guest, node: str, times: Floats) -> Bools:
    """At which moments the guest was on the node."""
    if len(guest.placements) == 1:
        return np.full(times.shape, guest.node == node)
    found = np.zeros(times.shape, np.bool_)
    for since_s, name in guest.placements:
        found = np.where(times >= since_s, name == node, found)
    return found


def _carried(cluster: Cluster, load: Load, node: Node, times: Floats, step_s: float, *, peak: bool) -> dict[str, Floats]:
    """What the guests of a node add up to: busy CPUs, memory, network in and out."""
    total = {name: np.zeros(times.shape) for name in ("busy", "memory", "net_in", "net_out")}
    for guest in cluster.guests.values():
        if all(name != node.name for _, name in guest.placements) and guest.node != node.name:
            continue
        ran, since = _running(guest, times)
        here = ran & _on_node(guest, node.name, times)
        if not here.any():
            continue
        index = np.full(times.shape, guest.index, np.int64)
        shape = _shape(load, guest, times, step_s, peak=peak) * here
        memory = guest.maxmem * load.memory_fraction(index, times, since) * here
        total["busy"] += np.minimum(shape * load.parameter("cpu", index), 1.0) * (guest.cpus or node.cpus)
        total["memory"] += memory * 1.03 + 190 * _MIB * here if guest.kind == "qemu" else memory
        total["net_in"] += shape * load.parameter("net_in", index)
        total["net_out"] += shape * load.parameter("net_out", index)
    return total


def node_rows(cluster: Cluster, load: Load, space: SpaceBook, node: Node, span: Span, now_s: float, *, peak: bool) -> Rows:
    """The data of a node: the sum of its guests, and what it needs itself."""
    times = _times(span, now_s)
    carried = _carried(cluster, load, node, times, span.step_s, peak=peak)
    pairs = zip(carried["busy"].tolist(), carried["memory"].tolist(), strict=True)
    samples = [node_sample(node.cpus, node.memory, busy, memory) for busy, memory in pairs]
    cpu = np.array([sample.cpu for sample in samples])
    used = np.array([float(sample.mem) for sample in samples])
    still = np.full(times.shape, 1.0)
    root = space.root(node, now_s)
    grown = np.array([float(space.root(node, moment).used) for moment in times.tolist()])
    columns: dict[str, tuple[Floats, Bools | None]] = {
        "maxcpu": (still * node.cpus, None),
        "cpu": (cpu, None),
        "iowait": (0.002 + 0.03 * cpu, None),
        "loadavg": (cpu * node.cpus * 1.12, None),
        "memtotal": (still * node.memory, None),
        "memused": (used, None),
        "memavailable": (node.memory - used, None),
        "arcsize": (still * 0.0, None),
        "swaptotal": (still * node.swap, None),
        "swapused": (still * node.swap * 0.01, None),
        "roottotal": (still * root.total, None),
        "rootused": (grown, None),
        "netin": (carried["net_in"] + _NODE_NET, None),
        "netout": (carried["net_out"] + _NODE_NET, None),
        "pressurecpusome": (np.maximum(cpu - 0.6, 0.0) * 30, None),
        "pressureiosome": (cpu * 0.9, None),
        "pressureiofull": (cpu * 0.6, None),
        "pressurememorysome": (still * 0.0, None),
        "pressurememoryfull": (still * 0.0, None),
    }
    return _rows(times, times > node.installed_s, columns)


def storage_rows(space: SpaceBook, storage: Storage, node: Node, span: Span, now_s: float) -> Rows:
    """Size and used part of a storage."""
    times = _times(span, now_s)
    found = [space.storage(storage, node.name, moment) for moment in times.tolist()]
    columns: dict[str, tuple[Floats, Bools | None]] = {
        "total": (np.array([float(one.total) for one in found]), None),
        "used": (np.array([float(one.used) for one in found]), None),
    }
    return _rows(times, times > node.installed_s, columns)
