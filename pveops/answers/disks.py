"""Physical disks: what SMART counts, and whether it grows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pveops.answers.look import Look, online
from pveops.base.errors import PveopsError
from pveops.frames.columns import Column, Table
from pveops.model.resources import Answer, Gap
from pveops.model.values import whole

Disk = tuple[str, str]
"""Node and path of the device."""
_DAY_S = 86_400.0
_ATTRIBUTES = {5: "reallocated", 187: "uncorrectable", 197: "pending", 198: "uncorrectable", 9: "hours"}
_NVME = {"uncorrectable": r"Media and Data Integrity Errors:\s*([\d,]+)", "hours": r"Power On Hours:\s*([\d,]+)", "reallocated": r"Elements in grown defect list:\s*([\d,]+)"}  # fmt: skip
_CHANGED = re.compile(
    r"smartd\[\d+\]: Device: (/dev/\S+).*?Attribute: (\d+) \S+ changed from (\d+)(?: \[Raw (\d+)\S*\])? to (\d+)(?: \[Raw (\d+)\S*\])?"
)
_COUNTED = re.compile(r"smartd\[\d+\]: Device: (/dev/\S+).*?(\d+) (Currently unreadable \(pending\)|Offline uncorrectable) sectors")
_METRICS = {"smartmon_reallocated_sector_ct_raw_value": "reallocated", "smartmon_reported_uncorrect_raw_value": "uncorrectable",
            "smartmon_current_pending_sector_raw_value": "pending"}  # fmt: skip
_WORN = 0.1
Verdict = Literal["failed", "getting worse", "damaged", "worn", "ok", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How much a counter grew, over how many days, and who says so."""

    counter: str
    by: int
    days: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskHealth:
    """One disk. Counters are raw; ``wear_left_fraction`` is 1 for a new one."""

    node: str
    path: str
    verdict: Verdict
    health: str | None
    model: str | None
    serial: str | None
    type: str | None
    size_bytes: int | None
    wear_left_fraction: float | None
    reallocated: int | None
    pending: int | None
    uncorrectable: int | None
    hours: int | None
    growth: tuple[Growth, ...]


def _most(row: DiskHealth) -> Growth | None:
    return max(row.growth, key=lambda one: one.by, default=None)


DISK_HEALTH_TREND = Table(
    "disk_health_trend",
    "path",
    (
        Column("node", "string", "node it is in", lambda row: row.node),
        Column("path", "string", "device", lambda row: row.path),
        Column("verdict", "string", "failed (SMART says so); getting worse (a counter of bad sectors grows); damaged (some, not growing); worn (less than 10 % left); ok; unknown",
               lambda row: row.verdict),
        Column("health", "string", "what SMART says of itself", lambda row: row.health),
        Column("reallocated", "Int64", "sectors moved to spare ones", lambda row: row.reallocated),
        Column("pending", "Int64", "sectors that cannot be read now", lambda row: row.pending),
        Column("uncorrectable", "Int64", "errors that could not be corrected", lambda row: row.uncorrectable),
        Column("grew_by", "Int64", "growth of the counter that grew most", lambda row: one.by if (one := _most(row)) else None),
        Column("grew_per_day", "Float64", "that per day", lambda row: round(one.by / one.days, 1) if (one := _most(row)) and one.days else None),
        Column("grew", "string", "all that grew, over which time, and who says so", lambda row: "; ".join(f"{one.counter} {one.by:+d} in {one.days:.1f} d ({one.source})" for one in row.growth) or None),
        Column("wear_left_fraction", "Float64", "life that is left, where the disk tells", lambda row: row.wear_left_fraction),
        Column("hours", "Int64", "hours under power", lambda row: row.hours),
        Column("model", "string", "model", lambda row: row.model),
        Column("serial", "string", "serial number", lambda row: row.serial),
        Column("type", "string", "nvme, ssd, hdd", lambda row: row.type),
        Column("size_bytes", "Int64", "size, bytes", lambda row: row.size_bytes),
    ),
)  # fmt: skip


def counters_of(smart: Mapping[str, Any]) -> dict[str, int]:
    """Raw counters that matter, by our names, of an ATA table or of the text of NVMe and SAS disks."""
    found: dict[str, int] = {}
    for row in smart.get("attributes") or ():
        name, raw = _ATTRIBUTES.get(whole(row.get("id")) or 0), whole(str(row.get("raw", "")).split(" ")[0])
        if name and raw is not None:
            found[name] = max(raw, found.get(name, 0))
    for name, pattern in _NVME.items():
        if match := re.search(pattern, str(smart.get("text") or "")):
            found[name] = int(match[1].replace(",", ""))
    return found


def told_by_journal(lines: Iterable[str]) -> dict[str, dict[str, tuple[int, int]]]:
    """First and last raw value of each counter that smartd told of, by device. Normalised values, which fall as a disk ages, are no counts."""
    found: dict[str, dict[str, tuple[int, int]]] = {}

    def note(device: str, counter: str | None, before: int, after: int) -> None:
        if counter is not None and counter != "hours":
            seen = found.setdefault(device, {})
            seen[counter] = (seen[counter][0] if counter in seen else before, after)

    for line in lines:
        if match := _CHANGED.search(line):
            device, number, before, raw_before, after, raw_after = match.groups()
            if raw_before is not None and raw_after is not None:
                note(device, _ATTRIBUTES.get(int(number)), int(raw_before), int(raw_after))
            elif int(after) > int(before):
                note(device, _ATTRIBUTES.get(int(number)), int(before), int(after))
        elif match := _COUNTED.search(line):
            note(match[1], "pending" if match[3].startswith("Currently") else "uncorrectable", int(match[2]), int(match[2]))
    return found


def judge(
    disks: Mapping[Disk, Mapping[str, Any]], smart: Mapping[Disk, Mapping[str, Any]], growth: Mapping[Disk, Iterable[Growth]]
) -> list[DiskHealth]:
    """Every disk, the worst first."""
    rows = []
    for (node, path), row in disks.items():
        values = counters_of(smart.get((node, path), {}))
        wear = row.get("wearout")
        left = float(str(wear)) / 100 if str(wear).isdigit() else None
        grew = tuple(one for one in growth.get((node, path), ()) if one.by > 0)
        health = str(smart.get((node, path), {}).get("health") or row.get("health") or "UNKNOWN")
        rows.append(DiskHealth(
            node=node, path=path, verdict=_verdict(health, values, left, grew), health=health, model=row.get("model"), serial=row.get("serial"),
            type=row.get("type"), size_bytes=whole(row.get("size")), wear_left_fraction=left, reallocated=values.get("reallocated"),
            pending=values.get("pending"), uncorrectable=values.get("uncorrectable"), hours=values.get("hours"), growth=grew,
        ))  # fmt: skip
    order: list[Verdict] = ["failed", "getting worse", "damaged", "worn", "unknown", "ok"]
    return sorted(rows, key=lambda row: (order.index(row.verdict), row.node, row.path))


def _verdict(health: str, values: Mapping[str, int], left: float | None, grew: tuple[Growth, ...]) -> Verdict:
    if health.upper() not in ("PASSED", "OK", "UNKNOWN"):
        return "failed"
    if grew:
        return "getting worse"
    if any(values.get(name) for name in ("reallocated", "pending", "uncorrectable")):
        return "damaged"
    if left is not None and left < _WORN:
        return "worn"
    return "unknown" if health.upper() == "UNKNOWN" or not values else "ok"


def disk_health_trend(look: Look, *, window_s: float) -> Answer[DiskHealth]:
    """SMART of every disk, and what grew: by a Prometheus with smartmon metrics where one is set, else by what smartd wrote to the journal.

    Two requests per node and one per disk.
    """
    nodes, _, _ = look.lists()
    names = online(nodes, look, "disks")
    listed = look.each(
        names, lambda name: look.cluster.get(f"/nodes/{name}/disks/list"), lambda name: f"disks of {name}", "/nodes/{node}/disks/list"
    )
    disks = {
        (name, str(row["devpath"])): row for name, rows in listed.items() for row in rows if not str(row["devpath"]).startswith("/dev/zd")
    }
    smart = look.each(
        disks, lambda disk: look.cluster.get(f"/nodes/{disk[0]}/disks/smart", {"disk": disk[1]}), lambda disk: f"SMART of {disk[1]} on {disk[0]}",
        "/nodes/{node}/disks/smart",
    )  # fmt: skip
    growth = _by_server(look, disks, window_s)
    if growth is None:
        growth = _by_journal(look, names, window_s)
    return look.answer(judge(disks, smart, growth))


def _by_server(look: Look, disks: Iterable[Disk], window_s: float) -> dict[Disk, list[Growth]] | None:
    """Growth by a Prometheus; none where none is set, does not answer or knows no disk."""
    if look.metrics is None:
        return None
    end_ms = round(look.now.timestamp() * 1000)
    try:
        found = look.metrics.range(
            f'{{__name__=~"{"|".join(_METRICS)}"}}', end_ms - round(window_s * 1000), end_ms, max(60_000, round(window_s / 480) * 1000)
        )
    except PveopsError as err:
        look.failed("counters of the Prometheus (the journal is read instead)", err)
        return None
    look.count(look.metrics.source)
    grown: dict[Disk, list[Growth]] = {}
    known = set(disks)
    for labels, samples in zip(found.labels, found.samples, strict=True):
        places = np.flatnonzero(np.isfinite(samples))
        node = next((name for name, _ in known if any(value.partition(":")[0].partition(".")[0] == name for value in labels.values())), "")
        if len(places) > 1 and (node, labels.get("disk", "")) in known:
            days = float(found.times_ms[places[-1]] - found.times_ms[places[0]]) / 1000 / _DAY_S
            by = int(samples[places[-1]] - samples[places[0]])
            counter = _METRICS[labels["__name__"]]
            grown.setdefault((node, labels["disk"]), []).append(Growth(counter=counter, by=by, days=days, source="Prometheus"))
    return grown or None


def _by_journal(look: Look, names: Iterable[str], window_s: float) -> dict[Disk, list[Growth]]:
    """Growth by the lines of smartd."""
    since_s = round(look.now.timestamp() - window_s)
    nodes = [name for name in names if look.needs(f"journal of {name}, where smartd writes", "Sys.Syslog", f"/nodes/{name}")]
    lines = look.each(
        nodes, lambda name: look.cluster.get(f"/nodes/{name}/journal", {"since": since_s, "until": round(look.now.timestamp())}),
        lambda name: f"journal of {name}, where smartd writes", "/nodes/{node}/journal",
    )  # fmt: skip
    grown: dict[Disk, list[Growth]] = {}
    for name, told in lines.items():
        if not told:
            look.add(Gap(what=f"journal of {name}, where smartd writes", why="it holds nothing of that time"))
        for device, counters in told_by_journal(str(line) for line in told).items():
            days = window_s / _DAY_S
            grown[name, device] = [
                Growth(counter=one, by=last - first, days=days, source="journal") for one, (first, last) in counters.items()
            ]
    return grown
