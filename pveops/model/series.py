"""Measurements over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pveops.base.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Columns of equal length over one time axis; a missing value is ``None``, never 0.

    ``columns`` maps a name with its unit (``cpu_fraction``, ``mem_bytes``, ``netin_bytes_per_s``) to values.
    """

    subject: str
    source: str
    step_s: int
    times: tuple[datetime, ...]
    columns: dict[str, tuple[float | None, ...]] = field(default_factory=dict)


Timeframe = Literal["hour", "day", "week", "month", "year"]
_FRAMES_S: tuple[tuple[float, Timeframe], ...] = (
    (3600, "hour"),
    (86_400, "day"),
    (7 * 86_400, "week"),
    (31 * 86_400, "month"),
    (366 * 86_400, "year"),
)


def timeframe_of(window_s: float) -> Timeframe:
    """The narrowest view of Proxmox VE's RRD that holds so many seconds.

    Raises:
        InputError: it keeps none that old.
    """
    found = next((name for most_s, name in _FRAMES_S if 0 < window_s <= most_s), None)
    if found is None:
        raise InputError(f"Proxmox VE keeps one year of measurements, not {window_s:g} s.", hint="Ask for 1h, 24h, 7d, 30d or 365d.")
    return found
