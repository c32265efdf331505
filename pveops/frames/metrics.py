"""Measurements as DataFrames: wide for charts, long for counting. Times are UTC; where nothing was measured stands NaN, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pveops.frames import accessor as _accessor  # noqa: F401 - every table gets `.pve`

if TYPE_CHECKING:
    from pveops.model.matrix import Labels, Matrix, Raw, Vector

_OWN = frozenset({"time", "value"})


def matrix_frame(matrix: Matrix) -> pd.DataFrame:
    """One row per time, one column per series, named by the labels that tell the series apart.

    ``.attrs``: ``labels`` (all labels per column), ``source``, ``expression``, ``step_s``, ``complete``, ``gaps``.
    """
    names = series_names(matrix.labels, matrix.expression)
    frame = pd.DataFrame(matrix.samples.T, index=_index(matrix.times_ms), columns=pd.Index(names, dtype="object"), copy=False)
    frame.attrs.update(labels=dict(zip(names, map(dict, matrix.labels), strict=True)), step_s=matrix.step_ms / 1000)
    return _finish(frame, matrix)


def raw_frame(raw: Raw) -> pd.DataFrame:
    """One row per sample: ``time``, a column per label (categorical), ``value``. A label called ``time`` or ``value`` is ``label_time``, ``label_value``."""
    counts = [len(one.times_ms) for one in raw.series]
    which = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    columns: dict[str, Any] = {"time": _index(_joined([one.times_ms for one in raw.series], np.int64))}
    for label in sorted({name for one in raw.series for name in one.labels}):
        words = [one.labels.get(label) for one in raw.series]
        known = sorted({word for word in words if word is not None})
        place = {word: number for number, word in enumerate(known)}
        codes = np.array([-1 if word is None else place[word] for word in words], dtype=np.int32)[which]
        columns[f"label_{label}" if label in _OWN else label] = pd.Categorical.from_codes(codes, categories=pd.Index(known, dtype="object"))
    columns["value"] = _joined([one.samples for one in raw.series], np.float64)
    return _finish(pd.DataFrame(columns), raw)


def vector_frame(vector: Vector) -> pd.DataFrame:
    """One row per series: a column per label and ``value``. ``.attrs['at']`` is the time of it."""
    columns: dict[str, Any] = {}
    for label in sorted({name for labels in vector.labels for name in labels}):
        words = [labels.get(label) for labels in vector.labels]
        columns[f"label_{label}" if label in _OWN else label] = pd.array(words, dtype="string")
    frame = pd.DataFrame({**columns, "value": vector.samples})
    frame.attrs["at"] = pd.Timestamp(vector.at_ms, unit="ms", tz="UTC").isoformat()
    return _finish(frame, vector)


def series_names(labels: Sequence[Labels], expression: str) -> list[str]:
    """A short name per series that no other has: the values of the labels that differ, else the expression."""
    keys = sorted({name for one in labels for name in one})
    telling = [key for key in keys if len({one.get(key) for one in labels}) > 1]
    names = [" ".join(one[key] for key in telling if one.get(key)) or one.get("__name__") or expression for one in labels]
    if len(set(names)) == len(names):
        return names
    return [
        f"{name}{{{','.join(f'{key}={one[key]!r}' for key in telling if key in one)}}}" for name, one in zip(names, labels, strict=True)
    ]


def _joined(parts: Sequence[Any], dtype: Any) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)


def _index(times_ms: Any) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(times_ms.astype("datetime64[ms]"), name="time").tz_localize("UTC")


def _finish(frame: pd.DataFrame, found: Matrix | Raw | Vector) -> pd.DataFrame:
    frame.attrs.update(
        table="measurements",
        source=found.source,
        expression=found.expression,
        complete=not found.warnings,
        gaps=[{"what": "the answer", "why": warning, "needs": ""} for warning in found.warnings],
    )
    return frame
