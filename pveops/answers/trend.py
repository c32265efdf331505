"""How fast something grows: a slope that outliers and daily waves do not move (Theil and Sen), with an interval, and jumps told from growth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Course = Literal["growing", "perhaps growing", "not growing", "jumped", "unknown"]

_BINS = 48
_FEWEST = 10
_RESAMPLES = 400
_BLOCK = 6
_STEADY = 0.3
"""Kendall's tau below which a positive slope is only a perhaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Growth per second with its interval (nine times of ten), of ``points`` values over ``span_s`` seconds."""

    course: Course
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    points: int = 0
    span_s: float = 0.0
    jump: float | None = None
    jump_at_s: float | None = None


def trend_of(times_s: Floats, values: Floats) -> Trend:
    """The course of a series (Unix seconds, ascending; NaN is no value).

    A sudden change of level is ``jumped``: what follows it is looked at alone. Fewer than ten values, or bins with values, are ``unknown``.
    """
    known = np.isfinite(values) & np.isfinite(times_s)
    times, levels = _binned(times_s[known], values[known])
    points, span_s = int(known.sum()), float(times_s[known][-1] - times_s[known][0]) if known.any() else 0.0
    if len(times) < _FEWEST:
        return Trend(course="unknown", points=points, span_s=span_s)
    step = _step(times, levels)
    after = slice(step, None) if step else slice(None)
    jump = float(np.median(levels[step:]) - np.median(levels[:step])) if step else None
    at_s = float(times[step]) if step else None
    if step and len(times) - step < _FEWEST:
        return Trend(course="jumped", points=points, span_s=span_s, jump=jump, jump_at_s=at_s)
    slope, low, high = _interval(times[after], levels[after])
    steady = _tau(levels[after]) >= _STEADY
    course: Course = "not growing" if slope <= 0 or high <= 0 else "growing" if low > 0 and steady else "perhaps growing"
    if step and course != "growing":
        course = "jumped"
    return Trend(course=course, slope=slope, low=low, high=high, points=points, span_s=span_s, jump=jump, jump_at_s=at_s)


def _binned(times: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Medians of equal stretches of time: waves and spikes go, the course stays."""
    if len(times) <= _BINS:
        return times, values
    place = np.minimum(((times - times[0]) / (times[-1] - times[0]) * _BINS).astype(int), _BINS - 1)
    kept = np.unique(place)
    middle = [(float(np.median(times[place == one])), float(np.median(values[place == one]))) for one in kept]
    return np.array([time for time, _ in middle]), np.array([value for _, value in middle])


def theil_sen(times: Floats, values: Floats) -> float:
    """The median of the slopes between all pairs."""
    first, second = np.triu_indices(len(times), 1)
    return float(np.median((values[second] - values[first]) / (times[second] - times[first])))


def _tau(values: Floats) -> float:
    first, second = np.triu_indices(len(values), 1)
    return float(np.sign(values[second] - values[first]).mean())


def _interval(times: Floats, values: Floats) -> tuple[float, float, float]:
    """Slope with the 5 % and 95 % quantiles of slopes over resampled residuals, in blocks, because neighbours are alike."""
    slope = theil_sen(times, values)
    rest = values - slope * times
    rest = rest - np.median(rest)
    random = np.random.default_rng(20_261)  # the same question has the same answer
    count, block = len(times), min(_BLOCK, len(times) // 2)
    starts = random.integers(0, count - block + 1, size=(_RESAMPLES, -(-count // block)))
    drawn = (starts[:, :, None] + np.arange(block)).reshape(_RESAMPLES, -1)[:, :count]
    first, second = np.triu_indices(count, 1)
    noise = rest[drawn]
    slopes = slope + np.median((noise[:, second] - noise[:, first]) / (times[second] - times[first]), axis=1)
    low, high = np.quantile(slopes, (0.05, 0.95))
    return slope, float(low), float(high)


def _step(times: Floats, values: Floats) -> int:
    """Where the level changes at once: the split into two levels that explains the values at least twice as well as a line; 0 for none."""
    slope = theil_sen(times, values)
    rest = values - slope * times
    line = float(np.abs(rest - np.median(rest)).sum())
    costs = [float(np.abs(part - np.median(part)).sum()) for k in range(1, len(values)) for part in (values[:k], values[k:])]
    both = np.array(costs).reshape(-1, 2).sum(axis=1)
    best = int(both.argmin())
    return best + 1 if line > 0 and both[best] < line / 2 else 0
