"""``frame.pve``: what every table of pveops can do. Loaded with the first table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pveops.frames.drawing import draw
from pveops.frames.filter import kinds_of, parse_filter


@pd.api.extensions.register_dataframe_accessor("pve")
class Pve:
    """``ops.guests().pve.filter("status:stopped tag:prod mem>8G")``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def filter(self, text: str) -> pd.DataFrame:
        """The rows that fit: ``field:value``, ``field>8G``, ``tag:prod``, names with ``*``; ``-`` or ``not`` turns a term round.

        A number that is not known fits neither a term nor its opposite; ``.attrs['gaps']`` then says how many rows that concerns.

        Raises:
            UnknownName: there is no such field.
            InputError: a term cannot be read.
        """
        frame = self._frame
        kinds = kinds_of((str(name), str(dtype)) for name, dtype in frame.dtypes.items())
        sieve = parse_filter(text, kinds, table=str(frame.attrs.get("table", "")))
        wanted = [name for name in frame.columns if str(name) in {term.column for term in sieve.terms}]
        values: dict[str, list[Any]] = {
            str(name): [None if absent else value for value, absent in zip(frame[name].tolist(), frame[name].isna().tolist(), strict=True)]
            for name in wanted
        }
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)] if values else [{}] * len(frame)
        places, gaps = sieve.sift(rows)
        found = frame.iloc[places]
        found.attrs = {**frame.attrs, "filter": text}
        if gaps:
            told = [{"what": gap.what, "why": gap.why, "needs": gap.needs} for gap in gaps]
            found.attrs.update(complete=False, gaps=[*frame.attrs.get("gaps", []), *told])
        return found

    def plot(self, y: str | Sequence[str] | None = None, **options: Any) -> Any:
        """A HoloViews plot: lines over time where the rows are times, else bars of the figure that says most (or of the column ``y``).

        Options: ``kind`` (line, points, bar), ``title``, ``scheme`` (light, dark), ``way``, ``width``, ``height`` in pixels. More than 100,000
        points become a picture (datashader).

        Raises:
            ConfigError: the extra is not installed.
            InputError: there is nothing that can be drawn so.
        """
        return draw(self._frame, y=y, **options)
