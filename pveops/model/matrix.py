"""Measurements of many series, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np  # noqa: TC004 - only type checkers ask what the arrays hold; numpy is loaded when there are some
    import numpy.typing as npt  # noqa: TC004

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Series on one time axis: ``times_ms`` (n), ``samples`` (series x n). Where there is no sample the value is NaN, never 0."""

    source: str
    expression: str
    step_ms: int
    times_ms: npt.NDArray[np.int64]
    labels: tuple[Labels, ...]
    samples: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSeries:
    """One series with the times at which it was measured: ``times_ms`` and ``samples`` of equal length, oldest first."""

    labels: Labels
    times_ms: npt.NDArray[np.int64]
    samples: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Series as they were scraped, each at its own times; a marker of staleness is no sample."""

    source: str
    expression: str
    series: tuple[RawSeries, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """The value of many series at one time (Unix milliseconds)."""

    source: str
    expression: str
    at_ms: int
    labels: tuple[Labels, ...]
    samples: npt.NDArray[np.float64]
    warnings: tuple[str, ...] = ()
