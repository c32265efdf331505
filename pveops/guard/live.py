"""What a running task says at this moment: for the eye, not for the record."""

from __future__ import annotations

import re
import threading
from collections import deque
from typing import Any

from pveops.base.units import parse_bytes

_TAIL = 6
_OF = re.compile(r"(?P<done>\d+(?:\.\d+)?\s*[KMGT]?i?B) of (?P<all>\d+(?:\.\d+)?\s*[KMGT]?i?B)")
_PERCENT = re.compile(r"\b(?P<pct>\d{1,3}(?:\.\d+)?)\s?%")


class LiveLog:
    """Last log lines and progress by run and step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, str], deque[str]] = {}
        self._progress: dict[tuple[str, str], float] = {}

    def add(self, run_id: str, step: str, lines: tuple[str, ...]) -> None:
        """Keep the last lines and read a progress off them."""
        with self._lock:
            tail = self._lines.setdefault((run_id, step), deque(maxlen=_TAIL))
            for line in lines:
                tail.append(line)
                done = progress_of(line)
                if done is not None:
                    self._progress[run_id, step] = done

    def tail(self, run_id: str, step: str) -> tuple[str, ...]:
        """The last lines."""
        with self._lock:
            return tuple(self._lines.get((run_id, step), ()))

    def progress(self, run_id: str, step: str) -> float | None:
        """The last progress that was said, as a fraction; none where nothing was."""
        with self._lock:
            return self._progress.get((run_id, step))

    def clear(self, run_id: str, step: str = "") -> None:
        """Forget the lines of a step, or of all steps of a run."""
        with self._lock:
            kept: dict[tuple[str, str], Any]
            for kept in (self._lines, self._progress):
                for key in [key for key in kept if key[0] == run_id and step in ("", key[1])]:
                    kept.pop(key, None)


def progress_of(line: str) -> float | None:
    """The fraction that a log line names (``9.8 GiB of 16.0 GiB``, ``61 %``), if it names one."""
    match = _OF.search(line)
    if match:
        total = parse_bytes(match["all"])
        return min(1.0, parse_bytes(match["done"]) / total) if total else None
    match = _PERCENT.search(line)
    if match and float(match["pct"]) <= 100:
        return float(match["pct"]) / 100
    return None
