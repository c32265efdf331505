"""Several reads side by side, never many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pveops.base.errors import PveopsError

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item


def each_of(items: Sequence[I], read: Callable[[I], T], at_once: int) -> list[T | PveopsError]:
    """What ``read`` gives for each item, in order; where it raises an error of ours, that error stands in its place."""
    if not items:
        return []
    with ThreadPoolExecutor(max_workers=min(at_once, len(items))) as pool:
        return list(pool.map(lambda item: _attempt(read, item), items))


def _attempt(read: Callable[[I], T], item: I) -> T | PveopsError:
    try:
        return read(item)
    except PveopsError as err:
        return err
