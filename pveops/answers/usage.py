"""Guests that have more than they need, less than they need, or nothing to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pveops.answers.look import Look, online
from pveops.answers.trend import Floats
from pveops.frames.columns import Column, Table
from pveops.model.resources import Answer, Guest
from pveops.model.series import Series, timeframe_of

_DAY_S = 86_400.0
_STEP_BYTES = 512 << 20
_LEAST_DAYS = 6.0
Fit = Literal["too large", "too small", "fits", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """One running guest: what it had at most, and what that would take. CPU is a share of its own cores."""

    guest: Guest
    cpu: Fit
    mem: Fit
    cpu_high_fraction: float | None
    mem_high_bytes: int | None
    cpus_advised: int | None
    mem_advised_bytes: int | None
    seen_days: float


def _saved(row: Fitting) -> int | None:
    has = row.guest.maxmem_bytes
    return None if has is None or row.mem_advised_bytes is None else has - row.mem_advised_bytes


RIGHTSIZE = Table(
    "rightsize",
    "vmid",
    (
        Column("vmid", "Int64", "guest", lambda row: row.guest.vmid),
        Column("name", "string", "its name", lambda row: row.guest.name),
        Column("node", "string", "node it is on", lambda row: row.guest.node),
        Column("cpu", "string", "too large, too small, fits, or unknown (less than six days seen)", lambda row: row.cpu),
        Column("mem", "string", "the same of its memory", lambda row: row.mem),
        Column("cpus", "Int64", "cores it has", lambda row: row.guest.cpus),
        Column("cpu_high_fraction", "Float64", "CPU that it stayed below 99 % of the time, by the highest value of each step", lambda row: row.cpu_high_fraction),
        Column("cpus_advised", "Int64", "cores that this takes, with a third to spare", lambda row: row.cpus_advised),
        Column("maxmem_bytes", "Int64", "memory it has, bytes", lambda row: row.guest.maxmem_bytes),
        Column("mem_high_bytes", "Int64", "memory it had in use at most, bytes; a VM without balloon driver looks fuller than it is", lambda row: row.mem_high_bytes),
        Column("mem_advised_bytes", "Int64", "memory that this takes, with a quarter to spare, bytes", lambda row: row.mem_advised_bytes),
        Column("mem_saved_bytes", "Int64", "what it has beyond that, bytes; negative when it needs more", _saved),
        Column("seen_days", "Float64", "days of measurements that this rests on", lambda row: row.seen_days),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """One guest that runs and does nothing. Rates are bytes per second."""

    guest: Guest
    cpu_high_fraction: float
    net_bytes_per_s: float
    disk_bytes_per_s: float
    seen_days: float


IDLE_GUESTS = Table(
    "idle_guests",
    "vmid",
    (
        Column("vmid", "Int64", "guest", lambda row: row.guest.vmid),
        Column("name", "string", "its name", lambda row: row.guest.name),
        Column("node", "string", "node it is on", lambda row: row.guest.node),
        Column("cpu_high_fraction", "Float64", "CPU that it stayed below 95 % of the time", lambda row: row.cpu_high_fraction),
        Column("net_bytes_per_s", "Float64", "received and sent, in the middle, bytes per second", lambda row: row.net_bytes_per_s),
        Column("disk_bytes_per_s", "Float64", "read and written, in the middle, bytes per second", lambda row: row.disk_bytes_per_s),
        Column("maxmem_bytes", "Int64", "memory it holds, bytes", lambda row: row.guest.maxmem_bytes),
        Column("cpus", "Int64", "cores it holds", lambda row: row.guest.cpus),
        Column("uptime_s", "Int64", "seconds since its start", lambda row: row.guest.uptime_s),
        Column("seen_days", "Float64", "days of measurements that this rests on", lambda row: row.seen_days),
        Column("tags", "string", "tags, parted by ;", lambda row: ";".join(row.guest.tags) or None),
    ),
)  # fmt: skip


def fitting(guest: Guest, series: Series) -> Fitting:
    """What a guest needs, by the highest values of each step over weeks."""
    cpu, mem, days = _values(series, "cpu_fraction"), _values(series, "mem_bytes"), seen_days(series)
    enough = days >= _LEAST_DAYS
    cpu_high = float(np.quantile(cpu, 0.99)) if len(cpu) else None
    mem_high = int(mem.max()) if len(mem) else None
    cpus = max(1, math.ceil((guest.cpus or 1) * cpu_high * 4 / 3)) if cpu_high is not None and enough else None
    advised = -(-int(mem_high * 1.25) // _STEP_BYTES) * _STEP_BYTES if mem_high is not None and enough else None
    return Fitting(
        guest=guest, cpu=_fit(guest.cpus, cpus, cpu_high), mem=_fit(guest.maxmem_bytes, advised, mem_high / guest.maxmem_bytes if mem_high and guest.maxmem_bytes else None),
        cpu_high_fraction=cpu_high, mem_high_bytes=mem_high, cpus_advised=cpus, mem_advised_bytes=advised, seen_days=round(days, 1),
    )  # fmt: skip


def _fit(has: int | None, advised: int | None, high: float | None) -> Fit:
    if not has or advised is None or high is None:
        return "unknown"
    return "too small" if high >= 0.94 else "too large" if advised <= has * 0.75 else "fits"


def idle(guest: Guest, series: Series, *, cpu_fraction: float, bytes_per_s: float) -> Idle | None:
    """The guest, if it stayed below both limits; a guest that was measured for less than six days is not called idle."""
    cpu, days = _values(series, "cpu_fraction"), seen_days(series)
    if not len(cpu) or days < _LEAST_DAYS:
        return None
    high = float(np.quantile(cpu, 0.95))
    net = sum(_middle(series, name) for name in ("netin_bytes_per_s", "netout_bytes_per_s"))
    disk = sum(_middle(series, name) for name in ("diskread_bytes_per_s", "diskwrite_bytes_per_s"))
    if high >= cpu_fraction or net >= bytes_per_s:
        return None
    return Idle(
        guest=guest, cpu_high_fraction=high, net_bytes_per_s=round(net, 1), disk_bytes_per_s=round(disk, 1), seen_days=round(days, 1)
    )


def seen_days(series: Series) -> float:
    """Days of a series in which CPU was measured."""
    return sum(value is not None for value in series.columns.get("cpu_fraction", ())) * series.step_s / _DAY_S


def _values(series: Series, name: str) -> Floats:
    return np.array([value for value in series.columns.get(name, ()) if value is not None], dtype=np.float64)


def _middle(series: Series, name: str) -> float:
    found = _values(series, name)
    return float(np.median(found)) if len(found) else 0.0


def rightsize(look: Look, *, window_s: float) -> Answer[Fitting]:
    """What running guests need, from the highest values of the last weeks in Proxmox VE's RRD; one request per running guest."""
    rows = [fitting(guest, series) for guest, series in _measured(look, window_s, highest=True)]
    size = {"too small": 0, "too large": 1, "fits": 2, "unknown": 3}
    return look.answer(sorted(rows, key=lambda row: (size[row.mem], size[row.cpu], -abs(_saved(row) or 0), row.guest.vmid)))


def idle_guests(look: Look, *, window_s: float, cpu_fraction: float, bytes_per_s: float) -> Answer[Idle]:
    """Running guests that did nothing in the window, those with most memory first; one request per running guest."""
    rows = [
        row for guest, series in _measured(look, window_s, highest=False)
        if (row := idle(guest, series, cpu_fraction=cpu_fraction, bytes_per_s=bytes_per_s)) is not None
    ]  # fmt: skip
    return look.answer(sorted(rows, key=lambda row: (-(row.guest.maxmem_bytes or 0), row.guest.vmid)))


def _measured(look: Look, window_s: float, *, highest: bool) -> Iterable[tuple[Guest, Series]]:
    timeframe = timeframe_of(window_s)
    nodes, guests, _ = look.lists()
    names = set(online(nodes, look, "measurements of the guests"))
    runs: Mapping[int, Guest] = {guest.vmid: guest for guest in guests if guest.status == "running" and guest.node in names}
    found = look.each(
        runs, lambda vmid: look.cluster.series(runs[vmid].ref, timeframe, highest=highest), lambda vmid: f"measurements of {runs[vmid].label}",
        "/nodes/{node}/{kind}/{vmid}/rrddata",
    )  # fmt: skip
    return [(runs[vmid], series) for vmid, series in found.items()]
