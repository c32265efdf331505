"""Where a measurement leaves what is usual for it: robust (medians), so that what is unusual does not become the measure of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TIMES = 6.0
"""So many robust standard deviations from what is usual."""
_POINTS = 3
_LASTS = pd.Timedelta("6min")
"""Fewer points, or a shorter time, is a spike that every machine has."""
_DAYS = 3
"""So many days tell what is usual at an hour of the day."""
_APART = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time in which a measurement was unusual. ``worst`` is the value furthest from ``usual``; both are NaN where nothing was measured."""

    start: pd.Timestamp
    end: pd.Timestamp
    worst: float
    usual: float


def unusual(values: pd.Series[Any], *, floor: float, week: pd.Series[Any] | None = None) -> list[Span]:
    """Spans of a measurement that are far from usual, in order.

    Args:
        values: by time; at least some hours more than what is of interest.
        floor: differences below this never matter, in the unit of the values.
        week: the same measurement over several days, coarser: tells what is usual at each hour.
    """
    own = values.to_numpy(dtype="float64", na_value=np.nan)
    if np.isfinite(own).sum() < 2 * _POINTS:
        return []
    usual = _usual(values, week)
    apart = own - usual
    spread = 1.4826 * float(np.nanmedian(np.abs(apart - np.nanmedian(apart))))
    far = np.abs(apart) > max(floor, _TIMES * spread)
    near = np.abs(apart) <= max(floor / 3, 2 * spread)
    index = pd.DatetimeIndex(values.index)
    lasting = [(first, last) for first, last in _runs(far) if index[last] - index[first] >= _LASTS]
    return [_span(index, own, usual, apart, _onset(near, first), last) for first, last in lasting]


def missing(values: pd.Series[Any]) -> list[Span]:
    """Spans in which nothing was measured."""
    own = values.to_numpy(dtype="float64", na_value=np.nan)
    index = pd.DatetimeIndex(values.index)
    return [Span(start=index[first], end=index[last], worst=np.nan, usual=np.nan) for first, last in _runs(np.isnan(own), apart=1)]


def _usual(values: pd.Series[Any], week: pd.Series[Any] | None) -> Floats:
    own = values.to_numpy(dtype="float64", na_value=np.nan)
    flat = np.full(len(own), float(np.nanmedian(own)))
    if week is None or not len(week):
        return flat
    known = week.dropna()
    hours = pd.DatetimeIndex(known.index).hour
    by_hour = known.groupby(hours)
    counts, medians = pd.Series(pd.DatetimeIndex(known.index).date, index=known.index).groupby(hours).nunique(), by_hour.median()
    medians = medians[counts >= _DAYS]
    at = pd.DatetimeIndex(values.index).hour
    seasonal = medians.reindex(at).to_numpy(dtype="float64")
    return np.where(np.isfinite(seasonal), seasonal, flat)


def _runs(far: NDArray[np.bool_], apart: int = _APART) -> list[tuple[int, int]]:
    """First and last place of each run of true; runs that lie close are one, short ones none."""
    places = np.flatnonzero(far)
    if not len(places):
        return []
    parts = np.split(places, np.flatnonzero(np.diff(places) > apart) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts if len(part) >= max(_POINTS, (part[-1] - part[0] + 1) / 2)]


def _onset(near: NDArray[np.bool_], first: int) -> int:
    """Where it set out from what is usual: what creeps is seen late, and began earlier."""
    before = np.flatnonzero(near[:first])
    return int(before[-1]) + 1 if len(before) else first


def _span(index: pd.DatetimeIndex, own: Floats, usual: Floats, apart: Floats, first: int, last: int) -> Span:
    worst = first + int(np.nanargmax(np.abs(apart[first : last + 1])))
    return Span(start=index[first], end=index[last], worst=float(own[worst]), usual=float(usual[worst]))
