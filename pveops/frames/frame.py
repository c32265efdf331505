"""DataFrames with documented columns. Times are UTC, absent values are ``<NA>``, completeness stands in ``.attrs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from pveops.base.clock import iso
from pveops.frames import accessor as _accessor  # noqa: F401 - every table gets `.pve`

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pveops.frames.columns import Table
    from pveops.model.resources import Answer, Columns
    from pveops.model.series import Series


def to_frame(table: Table, answer: Answer[Any]) -> pd.DataFrame:
    """A table's rows as a DataFrame.

    ``.attrs``: ``source`` (who answered what), ``read_at`` (UTC, ISO), ``complete`` (bool), ``gaps`` (list of ``what``, ``why``,
    ``needs``), ``units`` (column to meaning), ``table``.
    """
    return finish(frame_of(table, table.rows(answer.rows)), table, answer)


def finish(frame: pd.DataFrame, table: Table, answer: Answer[Any] | Columns) -> pd.DataFrame:
    """The frame with source, time, completeness and units in its ``.attrs``."""
    frame.attrs.update(
        table=table.name,
        source=answer.source,
        read_at=iso(answer.read_at),
        complete=not answer.partial,
        gaps=[{"what": gap.what, "why": gap.why, "needs": gap.needs} for gap in answer.gaps],
        units={column.name: column.doc for column in table.columns},
    )
    return frame


def frame_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a DataFrame with the table's dtypes; right also for no rows at all."""
    columns = {}
    for column in table.columns:
        values = [row[column.name] for row in rows]
        if column.dtype.startswith("datetime64"):
            columns[column.name] = pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True)).astype("datetime64[ns, UTC]")
        else:
            columns[column.name] = pd.Series(values, dtype=column.dtype)
    return pd.DataFrame(columns)


def series_frame(series: Series) -> pd.DataFrame:
    """Measurements with a UTC time index; a missing value is NaN, never 0."""
    frame = pd.DataFrame(
        {
            name: pd.array(values, dtype="Float64").to_numpy(dtype="float64", na_value=float("nan"))
            for name, values in series.columns.items()
        },
        index=pd.DatetimeIndex(pd.to_datetime(list(series.times), utc=True), name="time"),
    )
    frame.attrs.update(table="series", subject=series.subject, source=series.source, step_s=series.step_s, complete=True, gaps=[])
    return frame
