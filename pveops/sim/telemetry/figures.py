"""What the machines of nodes measure, at one moment for all nodes or at many moments for one: from the curves that the API answers from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pveops.sim.physics.broadcast import LOAD_PER_CPU, OVERHEAD, OWN_CPU, OWN_NET, node_sample
from pveops.sim.physics.crowd import hammered_s
from pveops.sim.physics.ledger import NAMES, Ledger
from pveops.sim.physics.load import Crew, Load, host_memory
from pveops.sim.physics.machine import LAG_S
from pveops.sim.physics.overlay import Floats
from pveops.sim.physics.pressure import iowait
from pveops.sim.physics.track import known_guests, running_at, runs_of
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node
from pveops.sim.world import World

_LOAD_LAGS_S = (30.0, 150.0, 450.0)
"""Load averages are CPU use of a little earlier, as the API shows them."""


class Figures(NamedTuple):
    """A node at some moments (seconds since the epoch): one value per moment.

    CPU use and ``warm`` (that of the last minutes) are fractions, ``mem`` is bytes. What follows ``boot_s`` counts since then: seconds of
    CPUs in use and of waiting for disks, seconds of CPUs that guests used, bytes.
    """

    times: Floats
    cpu: Floats
    mem: Floats
    load: tuple[Floats, Floats, Floats]
    warm: Floats
    boot_s: Floats
    busy_s: Floats
    iowait_s: Floats
    guests_s: Floats
    net_in: Floats
    net_out: Floats
    disk_read: Floats
    disk_write: Floats
    hammered_s: Floats
    """For how many seconds somebody kept its disks busy."""


class _Raw(NamedTuple):
    """What guests make of a node: busy CPUs now and a little earlier, memory, and counters by name; one value per moment."""

    busy: Floats
    earlier: tuple[Floats, ...]
    warm: tuple[Floats, ...]
    memory: Floats
    counters: dict[str, Floats]


def _figures(cluster: Cluster, node: Node, times: Floats, boot_s: Floats, raw: _Raw) -> Figures:
    noises = cluster.ills.noise_on(node.name)
    hammered = np.array([hammered_s(noises, since_s, until_s) for since_s, until_s in zip(boot_s.tolist(), times.tolist(), strict=True)])
    age_s = np.maximum(times - boot_s, 0.0)
    samples = [node_sample(node.cpus, node.memory, *pair) for pair in zip(raw.busy.tolist(), raw.memory.tolist(), strict=True)]
    first, second, third = (_cpu(node, busy) * node.cpus * LOAD_PER_CPU for busy in raw.earlier)
    guests_s = raw.counters["cpu"]
    busy_s = OWN_CPU * node.cpus * age_s + OVERHEAD * guests_s
    return Figures(
        times=times,
        cpu=np.array([sample.cpu for sample in samples]),
        mem=np.array([float(sample.mem) for sample in samples]),
        load=(first, second, third),
        warm=np.minimum(OWN_CPU + sum(raw.warm, np.zeros(times.shape)) / len(raw.warm) / max(node.cpus, 1), 1.0),
        boot_s=boot_s,
        busy_s=busy_s,
        iowait_s=node.cpus * age_s * iowait(busy_s / np.maximum(node.cpus * age_s, 1e-9), hammered / np.maximum(age_s, 1e-9)),
        guests_s=guests_s,
        net_in=raw.counters["net_in"] + OWN_NET * age_s,
        net_out=raw.counters["net_out"] + OWN_NET * age_s,
        disk_read=raw.counters["disk_read"],
        disk_write=raw.counters["disk_write"],
        hammered_s=hammered,
    )


def _cpu(node: Node, busy: Floats) -> Floats:
    return np.array([node_sample(node.cpus, node.memory, one, 0.0).cpu for one in busy.tolist()])


class Fleet:
    """The figures of all nodes at the moment of the cluster, from one pass over all guests."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._generation = -1
        self._crew: Crew | None = None
        self._ledger: Ledger | None = None

    def _prepare(self) -> tuple[Crew, Ledger]:
        """The guests that run and the counters; worked out again when something changed."""
        cluster, load = self._world.cluster, self._world.load
        if self._crew is None or self._ledger is None or self._generation != cluster.generation:
            places = {name: number for number, name in enumerate(cluster.nodes)}
            running = [guest for guest in cluster.guests.values() if guest.running]
            self._crew = load.crew(running, [guest.since_s for guest in running], places)
            self._ledger = Ledger(cluster, load)
            self._generation = cluster.generation
        return self._crew, self._ledger

    def now(self, only: str = "") -> dict[str, Figures]:
        """By node; ``only`` names one where the others are not needed. Nodes without power have figures too: nobody can ask them."""
        cluster, load = self._world.cluster, self._world.load
        crew, ledger = self._prepare()
        nodes = list(cluster.nodes.values())
        if only:
            place = next(number for number, node in enumerate(nodes) if node.name == only)
            chosen = crew.place == place
            crew = Crew(*(column[chosen] for column in crew))
        whole = [node.cpus for node in nodes]
        now_s = cluster.now_s
        sums = load.node_sums(crew, load.values(crew, now_s), whole)
        earlier = {lag_s: _busy(load, crew, now_s - lag_s, whole) for lag_s in (*_LOAD_LAGS_S, *LAG_S)}
        totals = ledger.at(now_s)
        times = np.array([now_s])
        found = {}
        for place, node in enumerate(nodes):
            if only not in ("", node.name):
                continue
            one = slice(place, place + 1)
            raw = _Raw(
                busy=np.array([sums[place][0]]),
                earlier=tuple(earlier[lag_s][one] for lag_s in _LOAD_LAGS_S),
                warm=tuple(earlier[lag_s][one] for lag_s in LAG_S),
                memory=np.array([sums[place][1]]),
                counters={name: column[one] for name, column in zip(NAMES, totals, strict=True)},
            )
            found[node.name] = _figures(cluster, node, times, np.array([node.boot_s]), raw)
        return found


def _busy(load: Load, crew: Crew, moment_s: float, whole_cpus: list[int]) -> Floats:
    """Busy CPUs per node at a moment, of the guests that run now."""
    moments = np.full(crew.columns.shape, moment_s)
    use = np.minimum(load.shape(crew.columns, moments) * load.parameter("cpu", crew.columns), 1.0)
    cpus = np.where(crew.cpus > 0, crew.cpus, np.asarray(whole_cpus)[crew.place])
    total: Floats = np.bincount(crew.place, use * cpus, len(whole_cpus)).astype(np.float64)
    return total


def through_time(cluster: Cluster, load: Load, node: Node, times: Floats) -> Figures:
    """The figures of a node at many moments, ascending. Before its last start it ran from the day on which it was installed."""
    grid = np.concatenate([times, [max(node.boot_s, node.installed_s)]])
    zero = np.zeros(times.shape)
    busy, memory = zero.copy(), zero.copy()
    earlier = [zero.copy() for _ in _LOAD_LAGS_S]
    warm = [zero.copy() for _ in LAG_S]
    totals = {name: np.zeros(grid.shape) for name in NAMES}
    for guest in known_guests(cluster):
        runs = [run for run in runs_of(guest) if run.node == node.name]
        if not runs:
            continue
        index = np.full(times.shape, guest.index, np.int64)
        column = np.full(grid.shape, guest.index, np.int64)
        ran, since = running_at(runs, times)
        cpus = guest.cpus or node.cpus
        weight = load.parameter("cpu", index)
        for total, lag_s in ((busy, 0.0), *zip(earlier, _LOAD_LAGS_S, strict=True), *zip(warm, LAG_S, strict=True)):
            np.add(total, np.minimum(load.shape(index, times - lag_s) * weight, 1.0) * cpus * ran, out=total)
        used = load.memory_bytes(index, times, since, float(guest.maxmem)) * ran
        memory += host_memory(used, float(guest.maxmem)) * ran if guest.kind == "qemu" else used
        area = np.zeros(grid.shape)
        for run in runs:
            begin_s = max(run.begin_s, node.installed_s)
            until_s = np.clip(grid, begin_s, max(run.end_s, begin_s))
            area += load.integral(column, until_s) - load.integral(column[:1], np.array([begin_s]))
        for name in NAMES:
            totals[name] += area * load.parameter(name, column) * (cpus if name == "cpu" else 1.0)
    booted = times >= node.boot_s
    counters = {name: np.where(booted, total[:-1] - total[-1], total[:-1]) for name, total in totals.items()}
    boot_s = np.where(booted, node.boot_s, node.installed_s)
    return _figures(cluster, node, times, boot_s, _Raw(busy, tuple(earlier), tuple(warm), memory, counters))
