"""What the nodes wrote down because something happened: a bounded list of events. What they write all the time follows from seed and time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

_KEPT = 20_000

ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6
"""Severities as syslog counts them."""


class Event(NamedTuple):
    """One line: when (seconds since the epoch), where, which program, what."""

    time_s: float
    node: str
    tag: str
    pid: int
    severity: int
    message: str


class Journal:
    """Events in the order in which they happened; the oldest go when there are too many."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, event: Event) -> None:
        """Something happened."""
        self._events.append(event)
        self._count += 1

    @property
    def count(self) -> int:
        """How many events there have been in all; ``after`` takes it to go on from here."""
        return self._count

    def after(self, count: int) -> list[Event]:
        """The events after the first ``count`` ones, as far as they are still there."""
        fresh = self._count - count
        if fresh <= 0:
            return []
        return list(self._events)[-fresh:]

    def between(self, since_s: float, until_s: float, node: str) -> Iterator[Event]:
        """The events of a node in (since, until]."""
        return (event for event in self._events if event.node == node and since_s < event.time_s <= until_s)
