"""How fast a cluster is asked: a lane per node that widens while answers come and narrows when they do not, and a budget per minute.

Pure bookkeeping: times are seconds of a monotonic clock that the caller gives.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

Trouble = Literal["dead", "busy", "silent"]
"""``dead``: the node was not reached; ``busy``: it or its proxy says that there is too much; ``silent``: no answer in time."""

WIDEST = 4
"""Requests under way at one node, at most."""
_FIRST_REST_S, _LONGEST_REST_S = 0.25, 4.0
_TRIES = 3


@dataclass(slots=True)
class Lane:
    """Requests to one node (or one storage of it), in order. Begins with one at a time: who hangs holds one place, not all of them.

    Args:
        name: for people: ``pve1``, ``pbs-01 on pve1``.
        began_s: when it began.
        patience_s: how long it may go without a single answer, once requests fail.
    """

    name: str
    began_s: float
    patience_s: float = 15.0
    queue: deque[Any] = field(default_factory=deque)
    busy: int = 0
    width: float = 1.0
    rest_until_s: float = 0.0
    over: str = ""
    """Why nothing more is asked; empty while it goes on."""
    _failed: int = 0
    _good_s: float = 0.0

    def free(self, now_s: float) -> bool:
        """Whether the next request may leave."""
        return bool(self.queue) and not self.over and self.busy < int(self.width) and now_s >= self.rest_until_s

    def good(self, now_s: float) -> None:
        """An answer came."""
        self._failed, self._good_s = 0, now_s
        self.width = min(WIDEST, self.width + (1.0 if self.rest_until_s == 0 else 0.2))

    def bad(self, trouble: Trouble, why: str, now_s: float) -> None:
        """None came."""
        self._failed += 1
        self.width = max(1.0, self.width / 2)
        self.rest_until_s = now_s + min(_FIRST_REST_S * 2 ** (self._failed - 1), _LONGEST_REST_S)
        quiet_s = now_s - max(self._good_s, self.began_s)
        if self._failed >= 2 and (trouble == "dead" or quiet_s >= self.patience_s):
            self.over = why

    def again(self, tries: int) -> bool:
        """Whether a request that failed so often is worth another try."""
        return not self.over and tries < _TRIES


@dataclass(slots=True)
class Cap:
    """Requests under way in all: halved when the address that we talk to is overloaded, back by one per twenty answers."""

    most: int
    now: float = 0.0

    def __post_init__(self) -> None:
        self.now = float(self.most)

    def good(self) -> None:
        """An answer came."""
        self.now = min(self.most, self.now + 0.05)

    def overloaded(self) -> None:
        """It said that there is too much."""
        self.now = max(2.0, self.now / 2)


class Budget:
    """Requests per minute and node. In any minute at most that many: a sixth may leave at once, the rest come back steadily.

    Args:
        per_min: how many.
    """

    def __init__(self, per_min: int) -> None:
        self.per_min = per_min
        self._burst = max(1.0, per_min / 6)
        self._per_s = max(per_min - self._burst, 0.0) / 60
        self._left: dict[str, tuple[float, float]] = {}

    def left(self, node: str, now_s: float) -> int:
        """How many requests may leave for a node now."""
        amount, at_s = self._left.get(node, (self._burst, now_s))
        return int(min(self._burst, amount + (now_s - at_s) * self._per_s))

    def spend(self, node: str, requests: int, now_s: float) -> None:
        """So many left."""
        amount, at_s = self._left.get(node, (self._burst, now_s))
        self._left[node] = (min(self._burst, amount + (now_s - at_s) * self._per_s) - requests, now_s)
