"""Log lines as DataFrames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pveops.model.logs import SEVERITIES

if TYPE_CHECKING:
    from pveops.model.logs import Counts, Found


def lines_frame(found: Found) -> pd.DataFrame:
    """``time host unit severity vmid message source``, newest first. ``.attrs``: ``source``, ``total``, ``complete``, ``gaps``."""
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
        }
    )
    more = found.total - len(lines)
    gaps = [{"what": f"{more} older lines", "why": "more were found than asked for", "needs": ""}] if more else []
    frame.attrs.update(table="logs", source=found.source, total=found.total, complete=not more, gaps=gaps)
    return frame


def counts_frame(counts: Counts) -> pd.DataFrame:
    """One row per step (its beginning, UTC), one column per value of the field, or ``lines``."""
    names = {key: SEVERITIES[int(key)] if counts.by == "severity" else key or "lines" for key in counts.counts}
    steps = len(next(iter(counts.counts.values()), ()))
    times = np.array(counts.start_ms + counts.step_ms * np.arange(steps), dtype="datetime64[ms]")
    frame = pd.DataFrame(
        {names[key]: np.array(row, dtype=np.int64) for key, row in counts.counts.items()},
        index=pd.DatetimeIndex(times, name="time").tz_localize("UTC"),
    )
    frame.attrs.update(table="log counts", source=counts.source, step_s=counts.step_ms / 1000, complete=True, gaps=[])
    return frame
