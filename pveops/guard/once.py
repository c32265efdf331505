"""Answers about frozen objects that are worth keeping: the digest and the tier of a plan of a thousand steps are asked before each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Once(Generic[T, R]):
    """Computes an answer once per object. The object is kept with it, so another one can never be taken for it.

    Args:
        compute: the answer; it must depend on nothing but the object, and the object must be frozen.
        keep: so many objects.
    """

    def __init__(self, compute: Callable[[T], R], *, keep: int = 16) -> None:
        self._compute = compute
        self._keep = keep
        self._lock = threading.Lock()
        self._known: dict[int, tuple[T, R]] = {}

    def __call__(self, thing: T) -> R:
        """The answer for this very object."""
        with self._lock:
            found = self._known.get(id(thing))
        if found is not None and found[0] is thing:
            return found[1]
        answer = self._compute(thing)
        with self._lock:
            self._known[id(thing)] = (thing, answer)
            while len(self._known) > self._keep:
                del self._known[next(iter(self._known))]
        return answer
