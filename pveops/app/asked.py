"""What people give to ``ops.metrics`` and ``ops.logs``: times, spans, durations; and the extras that those need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pveops.base.clock import Clock
from pveops.base.errors import ConfigError, InputError
from pveops.base.moments import Moment, parse_moment
from pveops.base.units import parse_duration_s


def moment_of(given: Moment, clock: Clock) -> datetime:
    """The time that is meant.

    Raises:
        InputError: it is no time, or has no zone.
    """
    try:
        return parse_moment(given, clock.now())
    except ValueError as err:
        raise InputError(f"{err}.") from err


def span_ms(start: Moment, end: Moment, clock: Clock) -> tuple[int, int]:
    """Both ends in Unix milliseconds.

    Raises:
        InputError: one is no time, or the span is empty.
    """
    first, last = (round(moment_of(given, clock).timestamp() * 1000) for given in (start, end))
    if first >= last:
        raise InputError(f"The span from {start} to {end} is empty.")
    return first, last


def seconds_of(duration: str | float) -> float:
    """Seconds.

    Raises:
        InputError: it is no duration.
    """
    try:
        return parse_duration_s(duration)
    except ValueError as err:
        raise InputError(f"{err}.") from err


def fitting_step_ms(span: int, steps_s: tuple[int, ...], points: int) -> int:
    """The narrowest of the steps with which a span (milliseconds) has at most about so many points."""
    wanted_s = span / 1000 / points
    return 1000 * next((step_s for step_s in steps_s if step_s >= wanted_s), steps_s[-1])


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around imports of an extra.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        yield
    except ImportError as err:
        raise ConfigError(f"{err.name} is not installed.", hint=f"Run `pip install 'pveops[{name}]'`.") from err
