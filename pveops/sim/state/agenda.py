"""What will happen: a list of moments and what to do then. It is looked at when somebody asks, never by a clock that ticks."""

from __future__ import annotations

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class Agenda:
    """Actions in order of their moment; actions of one moment in the order in which they were added."""

    __slots__ = ("_entries", "_order")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Action]] = []
        self._order = 0

    def add(self, moment_s: float, action: Action) -> None:
        """Plan an action for a moment, seconds since the epoch."""
        self._order += 1
        heapq.heappush(self._entries, (moment_s, self._order, action))

    def due(self, until_s: float) -> tuple[float, Action] | None:
        """Take the next action that is due at ``until_s``, with its moment."""
        if not self._entries or self._entries[0][0] > until_s:
            return None
        moment_s, _, action = heapq.heappop(self._entries)
        return moment_s, action

    def __len__(self) -> int:
        return len(self._entries)
