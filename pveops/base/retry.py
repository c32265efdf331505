"""Trying again, only where it is harmless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from pveops.base.clock import Clock
from pveops.base.errors import PveopsError

T = TypeVar("T")


def backoff_s(*, first_s: float, factor: float = 2.0, most_s: float = 30.0) -> Iterator[float]:
    """Waiting times in seconds: ``first_s``, then ``factor`` times the last, at most ``most_s``."""
    wait_s = first_s
    while True:
        yield wait_s
        wait_s = min(wait_s * factor, most_s)


def retry(action: Callable[[], T], *, tries: int, clock: Clock, first_wait_s: float = 0.2) -> T:
    """Run a read again when it failed for a passing reason (``temporary`` errors only).

    Never wrap a write in this: an answer that got lost is no proof that nothing happened.

    Raises:
        PveopsError: the last error once ``tries`` are used up, or the first that is not temporary.
    """
    waits = backoff_s(first_s=first_wait_s)
    for left in range(tries - 1, -1, -1):
        try:
            return action()
        except PveopsError as err:
            if not err.temporary or left == 0:
                raise
            clock.sleep_s(next(waits))
    raise ValueError("retry needs at least one try")
