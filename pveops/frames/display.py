"""How a value of a column reads: by the unit at the end of the column's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pveops.base.clock import iso
from pveops.base.units import NBSP, fmt_bytes, fmt_duration, fmt_pct

_HEADS = {
    "vmid": "Guest", "cpu_fraction": "CPU", "mem_fraction": "RAM", "disk_fraction": "Disk", "used_fraction": "Used",
    "maxmem_bytes": "Memory", "total_bytes": "Size", "exit_text": "Exit", "cpus": "CPUs", "mem_bytes": "Memory used",
    "maxdisk_bytes": "Disk size", "disk_bytes": "Disk used", "used_bytes": "Used", "memhost_bytes": "Memory on host", "hastate": "HA",
    "upid": "Task id", "volid": "Volume", "vcpus": "Cores running", "age_s": "Age", "cpu_promised_fraction": "Cores per thread",
    "mem_promised_bytes": "Memory promised", "mem_promised_fraction": "RAM promised", "disk_promised_bytes": "Disks promised",
    "disk_promised_fraction": "Of its size", "by_ha": "By HA", "to_full_days": "Full in", "to_full_low_days": "At the soonest",
    "to_full_high_days": "At the latest", "growth_bytes_per_day": "Growth", "growth_low_bytes_per_day": "At least",
    "growth_high_bytes_per_day": "At most", "mem_high_bytes": "Memory at most", "mem_saved_bytes": "Saved",
    "cpu_high_fraction": "CPU at most", "wear_left_fraction": "Life left",
    "memused_bytes": "Memory used", "netin_bytes_per_s": "Received", "netout_bytes_per_s": "Sent", "diskread_bytes_per_s": "Read", "diskwrite_bytes_per_s": "Written",
}  # fmt: skip


def _days(days: float) -> str:
    return fmt_duration(days * 86_400) if abs(days) < 1 else f"{days:.0f}{NBSP}d"


_READ: Mapping[str, Callable[[float], str]] = {
    "_bytes_per_s": lambda rate: f"{fmt_bytes(rate)}/s", "_bytes_per_day": lambda rate: f"{fmt_bytes(rate)}/d", "_bytes": fmt_bytes,
    "_fraction": fmt_pct, "_s": fmt_duration, "_days": _days,
}  # fmt: skip
_SUFFIXES = ("_bytes_per_s", "_bytes_per_day", "_bytes", "_fraction", "_pct", "_s", "_days")
_FIGURES = frozenset({"vmid", "cpus", "n", "vcpus", "copies", "guests", "by_ha", "stuck", "reallocated", "pending", "uncorrectable", "hours", "grew_by",
                      "grew_per_day", "alike", "asked", "cpus_advised"})  # fmt: skip


def heading(column: str) -> str:
    """What stands above a column for people: ``maxmem_bytes`` is ``Memory``."""
    if column in _HEADS:
        return _HEADS[column]
    for suffix in _SUFFIXES:
        column = column.removesuffix(suffix)
    return column.replace("_", " ").capitalize()


def shown(column: str, value: Any, *, now: datetime | None = None) -> str:
    """A value as people read it; an absent one is an empty text (the table says what that means)."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return moment(value, now=now)
    if isinstance(value, (int, float)):
        return next((read(value) for suffix, read in _READ.items() if column.endswith(suffix)), str(value))
    return str(value)


def moment(when: datetime, *, now: datetime | None = None) -> str:
    """``14:32:07`` for today, else ``2026-11-20 14:32``; in UTC."""
    when = when.astimezone(UTC)
    today = (now or datetime.now(UTC)).date()
    return when.strftime("%H:%M:%S") if when.date() == today else when.strftime("%Y-%m-%d %H:%M")


def plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    return iso(value) if isinstance(value, datetime) else value


def numeric(column: str) -> bool:
    """Whether a column is aligned right."""
    return column.endswith(_SUFFIXES) or column in _FIGURES
