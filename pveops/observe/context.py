"""The correlation id of what is being done right now, carried along by the running context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pveops.base.ids import new_id

_CURRENT: ContextVar[str] = ContextVar("pveops_correlation", default="")


def correlation() -> str:
    """The id of this piece of work; empty outside one."""
    return _CURRENT.get()


@contextmanager
def correlated(given: str = "") -> Iterator[str]:
    """Do a piece of work under one id: the given one, else the one that is already there, else a new one."""
    chosen = given or _CURRENT.get() or new_id("c")
    token = _CURRENT.set(chosen)
    try:
        yield chosen
    finally:
        _CURRENT.reset(token)
