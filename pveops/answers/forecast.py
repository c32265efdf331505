"""When storages are full, if they go on as they did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from pveops.answers.look import Look
from pveops.answers.room import Place, place_of
from pveops.answers.trend import Course, Floats, Trend, trend_of
from pveops.base.clock import from_epoch_s
from pveops.base.errors import PveopsError
from pveops.base.units import fmt_bytes
from pveops.frames.columns import Column, Table
from pveops.frames.display import moment
from pveops.model.resources import Answer, Gap, Storage
from pveops.model.series import Timeframe, timeframe_of

_DAY_S = 86_400.0
_FULL = 0.99
_NEAR = 0.9
_POINTS = 480
_NEVER_DAYS = 3650
"""A perhaps that would take longer than this is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a storage had in use over time (Unix seconds, bytes), and who says so."""

    times_s: Floats
    used: Floats
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """One storage. Growth is bytes per day; days are from now; the interval holds nine times of ten if nothing changes."""

    storage: Storage
    verdict: Course | Literal["full"]
    near_full: bool | None
    trend: Trend
    to_full_days: float | None = None
    low_days: float | None = None
    high_days: float | None = None
    full_at: datetime | None = None
    why: str | None = None
    source: str = ""


def _per_day(slope: float | None) -> float | None:
    return None if slope is None else round(slope * _DAY_S)


CAPACITY_FORECAST = Table(
    "capacity_forecast",
    "storage",
    (
        Column("storage", "string", "id of the storage", lambda row: row.storage.name),
        Column("node", "string", "node, where it is not shared", lambda row: None if row.storage.shared else row.storage.node),
        Column("verdict", "string", "full; growing; perhaps growing (the interval includes standing still); not growing; jumped (its level changed at once); unknown",
               lambda row: row.verdict),
        Column("near_full", "boolean", "whether more than 90 % are in use now", lambda row: row.near_full),
        Column("used_fraction", "Float64", "share in use now", lambda row: row.storage.used_bytes / row.storage.total_bytes if row.storage.total_bytes and row.storage.used_bytes is not None else None),
        Column("to_full_days", "Float64", "days until it is full; missing when it does not grow", lambda row: row.to_full_days),
        Column("to_full_low_days", "Float64", "days at the quick end of the interval", lambda row: row.low_days),
        Column("to_full_high_days", "Float64", "days at the slow end; missing when it may never be full", lambda row: row.high_days),
        Column("full_at", "datetime64[ns, UTC]", "that day", lambda row: row.full_at),
        Column("growth_bytes_per_day", "Float64", "growth, bytes per day", lambda row: _per_day(row.trend.slope)),
        Column("growth_low_bytes_per_day", "Float64", "low end of the interval", lambda row: _per_day(row.trend.low)),
        Column("growth_high_bytes_per_day", "Float64", "high end of the interval", lambda row: _per_day(row.trend.high)),
        Column("used_bytes", "Int64", "in use, bytes", lambda row: row.storage.used_bytes),
        Column("total_bytes", "Int64", "size, bytes", lambda row: row.storage.total_bytes),
        Column("seen_days", "Float64", "days of history that this rests on", lambda row: round(row.trend.span_s / _DAY_S, 1)),
        Column("why", "string", "what to know about it: a jump, too little history, nearly full", lambda row: row.why),
        Column("from", "string", "who measured it", lambda row: row.source or None),
    ),
)  # fmt: skip


def judge(storages: Iterable[Storage], histories: Mapping[Place, History], *, now: datetime) -> list[Forecast]:
    """When each storage is full, the first one in front; then those that are nearly full."""
    rows = [_one(storage, histories.get(place_of(storage)), now) for storage in storages]
    return sorted(rows, key=lambda row: (
        row.verdict != "full", row.to_full_days is None, row.to_full_days, not row.near_full, row.storage.name, row.storage.node,
    ))  # fmt: skip


def _one(storage: Storage, history: History | None, now: datetime) -> Forecast:
    total, used = storage.total_bytes, storage.used_bytes
    share = used / total if total and used is not None else None
    row = Forecast(
        storage=storage, verdict="unknown", near_full=None if share is None else share >= _NEAR, trend=Trend(course="unknown"),
        why="there is no history of it",
    )  # fmt: skip
    if history is not None:
        trend = trend_of(history.times_s, history.used)
        row = replace(row, verdict=trend.course, trend=trend, source=history.source, why=_why(trend, share))
    if share is not None and share >= _FULL:
        return replace(row, verdict="full", to_full_days=0.0, full_at=now, why="it is full now")
    slope, low, high = row.trend.slope, row.trend.low, row.trend.high
    if row.verdict not in ("growing", "perhaps growing") or not slope or total is None or used is None:
        return row
    days = (total - used) / slope / _DAY_S
    if row.verdict == "perhaps growing" and days > _NEVER_DAYS:
        return replace(row, verdict="not growing")
    return replace(
        row, to_full_days=round(days, 1), low_days=round((total - used) / high / _DAY_S, 1) if high else None,
        high_days=round((total - used) / low / _DAY_S, 1) if low and low > 0 else None, full_at=now + timedelta(days=days) if days < 36_500 else None,
    )  # fmt: skip


def _why(trend: Trend, share: float | None) -> str | None:
    if trend.course == "unknown":
        return f"too little history: {trend.points} values"
    said = []
    if trend.jump is not None and trend.jump_at_s is not None:
        said.append(f"{fmt_bytes(trend.jump, signed=True)} at once at {moment(from_epoch_s(int(trend.jump_at_s)))}")
    if share is not None and share >= _NEAR:
        said.append("nearly full already")
    return "; ".join(said) or None


def capacity_forecast(look: Look, *, window_s: float) -> Answer[Forecast]:
    """When each storage is full, from its use over the last ``window_s`` seconds: of a Prometheus where one is set, else of Proxmox VE's RRD.

    One request to the Prometheus, or one per storage to the cluster (per node where the storage is not shared).

    Raises:
        InputError: Proxmox VE keeps no measurements that old.
    """
    timeframe = timeframe_of(window_s)
    _, _, storages = look.lists()
    look.needs("some storages", "Datastore.Audit", "/storage")
    chosen: dict[Place, Storage] = {}
    for row in storages:
        if row.status != "available":
            look.add(Gap(what=f"storage {row.name} on {row.node}", why="it is not available there"))
        else:
            chosen.setdefault(place_of(row), row)
    found = _of_server(look, window_s)
    found.update(_of_rrd(look, {place: row for place, row in chosen.items() if place not in found}, timeframe, window_s))
    return look.answer(judge(chosen.values(), found, now=look.now))


def _of_server(look: Look, window_s: float) -> dict[Place, History]:
    """Histories by storage and node; a shared storage is listed under each of its nodes, and also under none."""
    if look.metrics is None:
        return {}
    end_ms = round(look.now.timestamp() * 1000)
    step_ms = max(60_000, round(window_s / _POINTS) * 1000)
    try:
        found = look.metrics.range('pve_disk_usage_bytes{id=~"storage/.+"}', end_ms - round(window_s * 1000), end_ms, step_ms)
    except PveopsError as err:
        look.failed("measurements of the Prometheus (Proxmox VE's own are taken instead)", err)
        return {}
    look.count(look.metrics.source)
    times = found.times_ms / 1000
    histories: dict[Place, History] = {}
    for labels, samples in zip(found.labels, found.samples, strict=True):
        node, _, name = labels.get("id", "").removeprefix("storage/").partition("/")
        if np.isfinite(samples).sum() > 1:
            history = History(times_s=times, used=samples, source=found.source)
            histories[name, node] = history
            histories.setdefault((name, ""), history)
    return histories


def _of_rrd(look: Look, wanted: Mapping[Place, Storage], timeframe: Timeframe, window_s: float) -> dict[Place, History]:
    def read(place: Place) -> History:
        series = look.cluster.series(wanted[place].ref, timeframe)
        times = np.array([time.timestamp() for time in series.times], dtype=np.float64)
        used = np.array(
            [np.nan if value is None else value for value in series.columns.get("used_bytes", [None] * len(times))], dtype=np.float64
        )
        young = times >= look.now.timestamp() - window_s - 1
        return History(times_s=times[young], used=used[young], source="PVE RRD")

    return look.each(
        wanted,
        read,
        lambda place: f"history of {place[0]}" + (f" on {place[1]}" if place[1] else ""),
        "/nodes/{node}/storage/{storage}/rrddata",
    )
