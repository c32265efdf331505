"""One clock for several threads that wait: it jumps to the next moment that one of them waits for, once all of them wait."""

from __future__ import annotations

import threading
from datetime import datetime

from pveops.base.clock import Clock
from pveops.base.errors import PveopsError


class SharedTime:
    """A clock that moves another one forward.

    Args:
        clock: what is moved: its ``sleep_s`` jumps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moved = threading.Condition()
        self._members = 0
        self._wakes: list[float] = []
        self._fault: PveopsError | None = None

    @property
    def members(self) -> int:
        """How many threads share it, at least one."""
        return max(self._members, 1)

    def join(self, count: int = 1) -> None:
        """Count threads in, before they begin."""
        with self._moved:
            self._members += count

    def leave(self) -> None:
        """A thread has ended; the others no longer wait for it."""
        with self._moved:
            self._members -= 1
            self._jump()

    def now(self) -> datetime:
        """The time."""
        return self._clock.now()

    def monotonic_s(self) -> float:
        """Seconds on the clock that is moved."""
        return self._clock.monotonic_s()

    def sleep_s(self, seconds: float) -> None:
        """Wait until so many seconds have passed for everybody.

        Raises:
            TransportError: the clock cannot be moved any more.
        """
        if seconds <= 0:
            return
        with self._moved:
            until_s = self._clock.monotonic_s() + seconds
            self._wakes.append(until_s)
            self._jump()
            while self._fault is None and self._clock.monotonic_s() < until_s - 1e-9:
                self._moved.wait()
            if until_s in self._wakes:
                self._wakes.remove(until_s)
            if self._fault is not None:
                raise self._fault

    def wait_s(self, event: threading.Event, seconds: float) -> bool:
        """Wait so long, unless the event is set."""
        if not event.is_set():
            self.sleep_s(seconds)
        return event.is_set()

    def _jump(self) -> None:
        """Move on when nobody works. Holds the lock."""
        asleep = [wake for wake in self._wakes if wake > self._clock.monotonic_s() + 1e-9]
        if self._fault is not None or not asleep or len(self._wakes) < self._members or len(asleep) < len(self._wakes):
            return
        try:
            self._clock.sleep_s(min(asleep) - self._clock.monotonic_s())
        except PveopsError as err:
            self._fault = err  # told to everybody who waits
        finally:
            self._moved.notify_all()
