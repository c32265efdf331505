"""Load curves of guests: smooth functions of time with integrals in closed form.

Each guest has a shape ``s(t)`` around 1: a daily and a weekly wave, two short waves, and one burst somewhere in each block of a few hours.
CPU, network and disk rates are the shape times a mean, so counters since the start are differences of its integral ``S(t)``, and an RRD
average over any span is exact. The same numbers come out whoever asks, in which order, and at whatever speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pveops.sim.physics.curves import DAY_S, PROFILE_ROWS, Sample
from pveops.sim.physics.overlay import FULLEST, Floats, Indexes, Overlay
from pveops.sim.state import noise
from pveops.sim.state.guest import Guest

Bools = npt.NDArray[np.bool_]

_WEEK_S = 7 * DAY_S
_TURN = 2 * np.pi
_MIB = 1024**2
_MOST_GONE = 500
"""Curves of guests that are gone; the oldest ones are given up."""

_AFTERNOON = _TURN * 0.62
"""Where the day has its peak, as a fraction of a turn: early afternoon."""


_ROWS = (
    "day",
    "day_phase",
    "week",
    "week_phase",
    "wave1",
    "period1",
    "phase1",
    "wave2",
    "period2",
    "phase2",
    "block",
    "burst_s",
    "burst",
    "key",
    "cpu",
    "memory",
    "memory_wave",
    "net_in",
    "net_out",
    "disk_read",
    "disk_write",
    "disk",
    "disk_growth",
)
_ROW = {name: index for index, name in enumerate(_ROWS)}


def _parameters(seed: int, guests: Sequence[Guest]) -> Floats:
    """The curves of some guests, one column each; a column follows from seed and id, whatever else exists."""
    chance = b"".join(noise.digest(seed, "load", guest.vmid) for guest in guests)
    raw = np.frombuffer(chance, dtype=">u2").astype(np.float64).reshape(len(guests), -1).T / 65536.0
    profiles = np.array([PROFILE_ROWS.get(guest.profile, PROFILE_ROWS["web"]) for guest in guests]).T
    mean, height, memory, net_in, net_out, disk_read, disk_write = profiles
    level = np.array([guest.level for guest in guests])
    burst = height * (0.7 + 0.6 * raw[1])
    net = (0.4 + 1.2 * raw[2]) * level
    columns = {
        "day": 0.34 * (0.4 + 0.6 * raw[3]),
        "day_phase": -_AFTERNOON + 0.9 * (raw[4] - 0.5),
        "week": 0.12 * raw[5],
        "week_phase": _TURN * raw[6],
        "wave1": 0.15,
        "period1": 2200 + 3200 * raw[7],
        "phase1": _TURN * raw[8],
        "wave2": 0.11,
        "period2": 240 + 420 * raw[9],
        "phase2": _TURN * raw[10],
        "block": 7200 + 10800 * raw[11],
        "burst_s": 420 + 900 * raw[12],
        "burst": burst,
        "key": np.array([float(guest.vmid % 1_000_003) for guest in guests]),
        "cpu": np.minimum(mean * (0.55 + 0.9 * raw[0]) * level, 0.93 / (1.72 + burst)),
        "memory": np.minimum(memory * (0.75 + 0.5 * raw[13]), 0.9),
        "memory_wave": 0.04 + 0.05 * raw[14],
        "net_in": net_in * net,
        "net_out": net_out * net,
        "disk_read": disk_read * net,
        "disk_write": disk_write * net,
        "disk": 0.18 + 0.5 * raw[15],
        "disk_growth": 0.0012 * raw[16],
    }
    return _as_seen(np.stack([np.broadcast_to(columns[name], level.shape) for name in _ROWS]), guests)


def _as_seen(table: Floats, guests: Sequence[Guest]) -> Floats:
    """Guests whose load was seen somewhere keep it: no waves, no bursts."""
    for number, guest in enumerate(guests):
        if guest.observed is None:
            continue
        for name in ("day", "week", "wave1", "wave2", "burst", "memory_wave"):
            table[_ROW[name], number] = 0.0
        table[_ROW["cpu"], number], table[_ROW["memory"], number] = guest.observed
    return table


def _hash01(block: Floats, key: Floats) -> Floats:
    """A number in [0, 1) per block and guest, always the same."""
    with np.errstate(over="ignore"):
        mixed = block.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key.astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53


def host_memory(used: Floats, maxmem: Floats | float) -> Floats:
    """What a virtual machine takes from its host: a little more than it uses itself."""
    value: Floats = np.minimum(used * 1.03 + 190 * _MIB, maxmem * 1.02 + 190 * _MIB)
    return value


class Crew(NamedTuple):
    """Running guests as columns: which curve, since when (seconds since the epoch), the integral of the shape then, sizes in bytes."""

    columns: Indexes
    began_s: Floats
    begun: Floats
    booted_s: Floats
    maxmem: Floats
    maxdisk: Floats
    cpus: Indexes
    hosted: Bools
    place: Indexes
    """Which node, in the order of the cluster."""


class Values(NamedTuple):
    """Momentary values of a crew, one array per field of a sample."""

    cpu: Floats
    mem: Indexes
    memhost: Indexes
    disk: Indexes
    netin: Indexes
    netout: Indexes
    diskread: Indexes
    diskwrite: Indexes
    uptime: Indexes


class Load:
    """The curves of all guests, one column per guest.

    Args:
        seed: of the cluster.
        anchor_s: the moment (seconds since the epoch) that disk growth counts from.
    """

    def __init__(self, seed: int, anchor_s: float) -> None:
        self._seed = seed
        self.anchor_s = anchor_s
        self.overlay = Overlay()
        self._table: Floats = np.zeros((len(_ROWS), 64))
        self._free: list[int] = []
        self._gone: deque[Guest] = deque()
        self._retired: list[tuple[str, float, Floats]] = []
        self._count = 0

    def add(self, guest: Guest) -> None:
        """Give a guest its curve."""
        self.add_all([guest])

    def add_all(self, guests: Sequence[Guest]) -> None:
        """Give guests their curves."""
        for guest in guests:
            if self._free:
                guest.index = self._free.pop()
            else:
                guest.index, self._count = self._count, self._count + 1
        while self._count > self._table.shape[1]:
            self._table = np.concatenate([self._table, np.zeros_like(self._table)], axis=1)
        if guests:
            self._table[:, [guest.index for guest in guests]] = _parameters(self._seed, guests)

    def remove(self, guest: Guest) -> None:
        """A guest is gone. Its curve is kept for a while: what it used is part of the past of its nodes."""
        self._gone.append(guest)
        if len(self._gone) > _MOST_GONE:
            oldest = self._gone.popleft()
            self._retire(oldest)
            self.overlay.forget(oldest.index)
            self._free.append(oldest.index)
            oldest.index = -1

    def _retire(self, guest: Guest) -> None:
        """Keep only what a guest used in all."""
        column = np.full(1, guest.index, np.int64)
        for begin_s, end_s in guest.past_runs:
            node = guest.node_at(begin_s)
            area = float((self.integral(column, np.array([end_s])) - self.integral(column, np.array([begin_s])))[0])
            used = np.array(
                [float(self.parameter(name, column)[0]) * area for name in ("cpu", "net_in", "net_out", "disk_read", "disk_write")]
            )
            used[0] *= guest.cpus
            self._retired.append((node, begin_s, used))

    def retired(self, node: str, boot_s: float) -> Floats:
        """What guests whose curves are not known any more used on a node since its start: seconds of CPUs, then bytes."""
        total = np.zeros(5)
        for name, begin_s, used in self._retired:
            if name == node and begin_s >= boot_s:
                total += used
        return total

    def parameter(self, name: str, index: Indexes) -> Floats:
        """One parameter of the curves of some guests."""
        value: Floats = self._table[_ROW[name]][index]
        return value

    def mean_cpu(self, guest: Guest) -> float:
        """What the shape of a guest is multiplied with for its CPU use, as a fraction."""
        return float(self._table[_ROW["cpu"]][guest.index])

    def _bump(self, row: Floats, moment_s: Floats) -> tuple[Floats, Floats]:
        """Number of the block, and how far its burst has come: 0 before, 1 after."""
        length, duration = row[_ROW["block"]], row[_ROW["burst_s"]]
        block = np.floor(moment_s / length)
        begin = block * length + _hash01(block, np.broadcast_to(row[_ROW["key"]], block.shape)) * (length - duration)
        return block, np.clip((moment_s - begin) / duration, 0.0, 1.0)

    def shape(self, index: Indexes, moment_s: Floats) -> Floats:
        """``s(t)``; index and moment are broadcast against each other."""
        row = self._table[:, index]
        day, day_phase, week, week_phase, wave1, period1, phase1, wave2, period2, phase2 = row[:10]
        _, done = self._bump(row, moment_s)
        value: Floats = (
            1.0
            + day * np.sin(_TURN * moment_s / DAY_S + day_phase)
            + week * np.sin(_TURN * moment_s / _WEEK_S + week_phase)
            + wave1 * np.sin(_TURN * moment_s / period1 + phase1)
            + wave2 * np.sin(_TURN * moment_s / period2 + phase2)
            + row[_ROW["burst"]] * 0.5 * (1.0 - np.cos(_TURN * done))
        )
        return self.overlay.bend_shape(index, moment_s, value) if self.overlay.changes else value

    def integral(self, index: Indexes, moment_s: Floats) -> Floats:
        """``S(t)``, an integral of ``s``; only differences mean something."""
        value = self._own_integral(index, moment_s)
        return self.overlay.bend_integral(index, moment_s, value, self._own_integral) if self.overlay.changes else value

    def _own_integral(self, index: Indexes, moment_s: Floats) -> Floats:
        """The integral of the shape without what bends it."""
        row = self._table[:, index]
        day, day_phase, week, week_phase, wave1, period1, phase1, wave2, period2, phase2 = row[:10]
        block, done = self._bump(row, moment_s)
        area = row[_ROW["burst"]] * row[_ROW["burst_s"]]
        waves = (
            day * DAY_S * np.cos(_TURN * moment_s / DAY_S + day_phase)
            + week * _WEEK_S * np.cos(_TURN * moment_s / _WEEK_S + week_phase)
            + wave1 * period1 * np.cos(_TURN * moment_s / period1 + phase1)
            + wave2 * period2 * np.cos(_TURN * moment_s / period2 + phase2)
        )
        value: Floats = moment_s - waves / _TURN + area * (0.5 * block + 0.5 * done - np.sin(_TURN * done) / (2 * _TURN))
        return value

    def memory_fraction(self, index: Indexes, moment_s: Floats, since_s: Floats) -> Floats:
        """Used memory as a fraction of what the guest has; fills up within minutes after the start."""
        row = self._table[:, index]
        wave = np.sin(_TURN * moment_s / DAY_S + row[_ROW["day_phase"]] - 0.6) + 0.4 * np.sin(_TURN * moment_s / row[_ROW["period1"]])
        full = row[_ROW["memory"]] + row[_ROW["memory_wave"]] * wave
        age_s = np.maximum(moment_s - since_s, 0.0)
        value: Floats = np.clip(full * (1.0 - 0.85 * np.exp(-age_s / 240.0)), 0.01, 0.985)
        return value

    def disk_fraction(self, index: Indexes, moment_s: Floats) -> Floats:
        """Used part of the root file system."""
        row = self._table[:, index]
        value: Floats = np.clip(row[_ROW["disk"]] + row[_ROW["disk_growth"]] * (moment_s - self.anchor_s) / DAY_S, 0.02, 0.985)
        return value

    def crew(self, guests: Sequence[Guest], since_s: Sequence[float], places: Mapping[str, int] | None = None) -> Crew:
        """What the curves need of running guests, each started at its ``since_s``; good until one of them changes."""
        where = places or {}
        index = np.fromiter((guest.index for guest in guests), np.int64, len(guests))
        return Crew(
            columns=index,
            began_s=np.asarray(since_s, np.float64),
            begun=self.integral(index, np.asarray(since_s, np.float64)),
            booted_s=np.fromiter((guest.booted_s for guest in guests), np.float64, len(guests)),
            maxmem=np.fromiter((guest.maxmem for guest in guests), np.float64, len(guests)),
            maxdisk=np.fromiter((guest.maxdisk if guest.kind == "lxc" else 0 for guest in guests), np.float64, len(guests)),
            cpus=np.fromiter((guest.cpus for guest in guests), np.int64, len(guests)),
            hosted=np.fromiter((guest.kind == "qemu" for guest in guests), np.bool_, len(guests)),
            place=np.fromiter((where.get(guest.node, 0) for guest in guests), np.int64, len(guests)),
        )

    def memory_bytes(self, index: Indexes, moment_s: Floats, since_s: Floats, maxmem: Floats | float) -> Floats:
        """Used memory of guests of that size, with what they leak."""
        used: Floats = maxmem * self.memory_fraction(index, moment_s, since_s)
        leaked = self.overlay.leaked(index, moment_s) if self.overlay.leaks else None
        if leaked is not None:
            used = np.minimum(used + leaked, maxmem * FULLEST)
        return used

    def values(self, crew: Crew, moment_s: float | Floats) -> Values:
        """Momentary values, in the order of the guests; ``moment_s`` is one moment, or one per guest."""
        index, now = crew.columns, np.broadcast_to(np.asarray(moment_s, np.float64), crew.columns.shape)
        done = np.maximum(self.integral(index, now) - crew.begun, 0.0)
        mem = self.memory_bytes(index, now, crew.booted_s, crew.maxmem)
        return Values(
            np.minimum(self.shape(index, now) * self.parameter("cpu", index), 1.0),
            mem.astype(np.int64),
            host_memory(mem, crew.maxmem).astype(np.int64),
            (crew.maxdisk * self.disk_fraction(index, now)).astype(np.int64),
            (done * self.parameter("net_in", index)).astype(np.int64),
            (done * self.parameter("net_out", index)).astype(np.int64),
            (done * self.parameter("disk_read", index)).astype(np.int64),
            (done * self.parameter("disk_write", index)).astype(np.int64),
            np.maximum(now - crew.began_s, 0.0).astype(np.int64),
        )

    def node_sums(self, crew: Crew, values: Values, whole_cpus: Sequence[int]) -> list[tuple[float, float]]:
        """What running guests add up to on each node: busy CPUs, and memory in bytes; ``whole_cpus`` are the CPUs of the nodes."""
        cpus = np.where(crew.cpus > 0, crew.cpus, np.asarray(whole_cpus)[crew.place])
        busy = np.bincount(crew.place, values.cpu * cpus, len(whole_cpus))
        memory = np.bincount(crew.place, np.where(crew.hosted, values.memhost, values.mem), len(whole_cpus))
        return list(zip(busy.tolist(), memory.tolist(), strict=True))

    def samples(self, guests: Sequence[Guest], moment_s: float, since_s: Sequence[float]) -> list[Sample]:
        """Momentary values of running guests, each started at its ``since_s``."""
        if not guests:
            return []
        columns = [column.tolist() for column in self.values(self.crew(guests, since_s), moment_s)]
        return list(map(Sample._make, zip(*columns, strict=True)))
