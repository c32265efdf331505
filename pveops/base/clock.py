"""Time, injected: every part that waits or stamps takes a ``Clock``, so tests need no sleep."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall clock, monotonic clock and sleep."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back; only differences mean something."""
        ...

    def sleep_s(self, seconds: float) -> None:
        """Wait."""
        ...

    def wait_s(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event, at most so long; returns whether it is set."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The time as an aware UTC datetime."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Seconds on the machine's monotonic clock."""
        return time.monotonic()

    def sleep_s(self, seconds: float) -> None:
        """Wait that many seconds."""
        time.sleep(seconds)

    def wait_s(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event, at most so long; returns whether it is set."""
        return event.wait(seconds)


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: ``2026-11-21T14:32:07.120Z``.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time without a zone cannot be written down")
    here = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{here.isoformat(timespec='milliseconds')[:-6]}Z"


def from_iso(text: str) -> datetime:
    """The aware UTC datetime that ``iso`` wrote.

    Raises:
        ValueError: no such time, or no zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def from_epoch_s(seconds: float) -> datetime:
    """The aware UTC datetime of a Unix time in seconds."""
    return datetime.fromtimestamp(seconds, UTC)
