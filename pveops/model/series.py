"""Measurements over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


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
