"""How a value of a column reads: by the unit at the end of the column's name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pveops.base.clock import iso
from pveops.base.units import fmt_bytes, fmt_duration, fmt_pct

_HEADS = {"vmid": "Guest", "cpu_fraction": "CPU", "mem_fraction": "RAM", "disk_fraction": "Disk", "used_fraction": "Used", "maxmem_bytes": "Memory",
          "total_bytes": "Size", "exit_text": "Exit", "cpus": "CPUs", "mem_bytes": "Memory used", "maxdisk_bytes": "Disk size", "disk_bytes": "Disk used", "used_bytes": "Used", "memhost_bytes": "Memory on host", "hastate": "HA", "upid": "Task id", "volid": "Volume"}  # fmt: skip
_SUFFIXES = ("_bytes_per_s", "_bytes", "_fraction", "_pct", "_s")


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
        if column.endswith("_bytes_per_s"):
            return f"{fmt_bytes(value)}/s"
        if column.endswith("_bytes"):
            return fmt_bytes(value)
        if column.endswith("_fraction"):
            return fmt_pct(value)
        if column.endswith("_s"):
            return fmt_duration(value)
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
    return column.endswith(_SUFFIXES) or column in ("vmid", "cpus", "n")
