"""Log lines as DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pveops.model.logs import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pveops.clients.logs.patterns import Mined
    from pveops.model.logs import Counts, Found

_BURST_LINES, _BURST_TIMES = 10, 5
"""A burst: at least so many lines in a minute, and so many times what its usual minute has."""


def lines_frame(found: Found) -> pd.DataFrame:
    """``time host unit severity vmid message source task``, newest first. ``.attrs``: ``source``, ``total``, ``complete``, ``gaps``."""
    lines = found.lines
    frame = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(np.array([line.time_ms for line in lines], dtype="datetime64[ms]")).tz_localize("UTC"),
            "host": pd.array([line.host or None for line in lines], dtype="string"),
            "unit": pd.array([line.unit or None for line in lines], dtype="string"),
            "severity": pd.Categorical([SEVERITIES[line.severity] for line in lines], categories=SEVERITIES, ordered=True),
            "vmid": pd.array([line.vmid for line in lines], dtype="Int64"),
            "message": pd.array([line.message for line in lines], dtype="string"),
            "source": pd.array([line.source or None for line in lines], dtype="string"),
            "task": pd.array([line.task or None for line in lines], dtype="string"),
        }
    )
    more = found.total - len(lines)
    gaps = [{"what": f"{more} older lines", "why": "more were found than asked for", "needs": ""}] if more else []
    frame.attrs.update(table="logs", source=found.source, total=found.total, complete=not more, gaps=gaps)
    return frame


def counts_frame(counts: Counts, unread: Sequence[tuple[int, int]] = ()) -> pd.DataFrame:
    """One row per step (its beginning, UTC), one column per value of the field, or ``lines``; NaN for steps within ``unread`` (Unix milliseconds) without a line."""
    names = {key: SEVERITIES[int(key)] if counts.by == "severity" else key or "lines" for key in counts.counts}
    steps = len(next(iter(counts.counts.values()), ()))
    times = np.array(counts.start_ms + counts.step_ms * np.arange(steps), dtype="datetime64[ms]")
    frame = pd.DataFrame(
        {names[key]: np.array(row, dtype=np.int64) for key, row in counts.counts.items()},
        index=pd.DatetimeIndex(times, name="time").tz_localize("UTC"),
    )
    starts, silent = times.astype(np.int64), frame.sum(axis=1).to_numpy() == 0
    within = [(starts >= start) & (starts + counts.step_ms <= end) for start, end in unread]
    if within and (silent & np.any(within, axis=0)).any():
        frame = frame.astype(float)
        frame.loc[silent & np.any(within, axis=0)] = np.nan
    frame.attrs.update(table="log counts", source=counts.source, step_s=counts.step_ms / 1000, complete=True, gaps=[])
    return frame


def patterns_frame(found: Found, patterns: Sequence[Mined], *, compared: bool, limit: int) -> pd.DataFrame:
    """One row per pattern: new ones first, then trouble, then bursts, then the most lines. ``new`` is missing where nothing is known of the span before."""
    rows = sorted(
        patterns, key=lambda one: (one.before > 0 or not compared, not one.trouble, not bursts(one), -one.lines, one.first_ms, one.pattern)
    )
    shown, left = rows[:limit], rows[limit:]

    def times(values: list[int]) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(np.array(values, dtype="datetime64[ms]")).tz_localize("UTC")

    frame = pd.DataFrame(
        {
            "pattern": pd.array([one.pattern for one in shown], dtype="string"),
            "lines": np.array([one.lines for one in shown], dtype=np.int64),
            "before": np.array([one.before for one in shown], dtype=np.int64),
            "new": pd.array([one.before == 0 if compared else None for one in shown], dtype="boolean"),
            "burst": np.array([bursts(one) for one in shown], dtype=bool),
            "first": times([one.first_ms for one in shown]),
            "last": times([one.last_ms for one in shown]),
            "peak": times([one.peak[0] for one in shown]),
            "severity": pd.Categorical([SEVERITIES[one.severity] for one in shown], categories=SEVERITIES, ordered=True),
            "trouble": np.array([one.trouble for one in shown], dtype=bool),
            "unit": pd.array([one.unit or None for one in shown], dtype="string"),
            "hosts": pd.array([" ".join(sorted(one.hosts)) for one in shown], dtype="string"),
            "example": pd.array([one.example for one in shown], dtype="string"),
        }
    )
    more = found.total - len(found.lines)
    gaps = [{"what": f"{more} older lines", "why": f"the newest {len(found.lines)} were looked at", "needs": ""}] if more else []
    if left:
        gaps.append({"what": f"{len(left)} more patterns", "why": f"the first {limit} were asked for", "needs": ""})
    if not compared:
        gaps.append(
            {
                "what": "which patterns are new",
                "why": "the store has no lines of the span before, or not all of it was collected",
                "needs": "",
            }
        )
    frame.attrs.update(table="log patterns", source=found.source, total=len(rows), complete=not gaps, gaps=gaps)
    return frame


def bursts(one: Mined) -> bool:
    """Whether the lines of a pattern came in a burst: its busiest minute stands out from what it usually has."""
    most = one.peak[1]
    minutes = max(1, (one.last_ms - one.first_ms) // 60_000)
    usual = (one.lines - most) / minutes
    return most >= _BURST_LINES and most >= _BURST_TIMES * max(usual, 1.0)
