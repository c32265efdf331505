"""Simulated time: runs ``speed`` times as fast as the wall clock and can be moved forward."""

from __future__ import annotations

import time
from collections.abc import Callable


class SimClock:
    """Simulated seconds since the epoch.

    Args:
        start_s: the simulated time at the start, seconds since the epoch.
        speed: simulated seconds per real second.
        monotonic: a real clock in seconds that never goes back.
    """

    def __init__(self, start_s: float, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._origin_s = monotonic()
        self._start_s = start_s
        self.speed = speed

    def now_s(self) -> float:
        """The simulated time, seconds since the epoch."""
        return self._start_s + (self._monotonic() - self._origin_s) * self.speed

    def advance_s(self, seconds: float) -> None:
        """Jump forward.

        Raises:
            ValueError: a negative number; simulated time never goes back.
        """
        if seconds < 0:
            raise ValueError("simulated time never goes back")
        self._start_s += seconds
