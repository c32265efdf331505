"""Log lines: one shape, whatever they were collected from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "word", "number", "time"]
FIELDS: Mapping[str, Kind] = {
    "message": "text",
    "host": "word",
    "unit": "word",
    "source": "word",
    "task": "word",
    "severity": "number",
    "vmid": "number",
    "time": "time",
}
"""The fields that a query may name."""
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""By number, as syslog has them: 0 is the worst."""
_TOKEN = re.compile(r"\w+")
LONGEST_WORD = 200
"""Of a longer word only the beginning counts: stores refuse endless words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line.

    ``time_ms`` is Unix time in milliseconds, ``severity`` syslog's number (0 to 7), ``vmid`` the guest it is about, ``task`` the task (a UPID) that
    it is of or names.

    ``mark`` tells lines apart that agree in all else (a cursor, a line number): with it the same line collected twice has the same ``uid``.
    """

    time_ms: int
    host: str
    unit: str
    message: str
    severity: int = 6
    vmid: int | None = None
    source: str = ""
    mark: str = ""
    task: str = ""

    @property
    def uid(self) -> str:
        """What the line is known by in every store."""
        return key(self).hex()


def key(line: LogLine) -> bytes:
    """The ``uid`` of a line as it is kept: 12 bytes. ``task`` is not in it: it follows from the rest."""
    text = (
        f"{line.time_ms}\x1f{line.host}\x1f{line.unit}\x1f{line.message}\x1f{line.severity}\x1f{line.vmid}\x1f{line.source}\x1f{line.mark}"
    )
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def tokens(text: str) -> list[str]:
    """The words of a text as every store sees them: runs of letters, digits and ``_``, in lower case. ``10.0.1.5`` is four, ``vdev_state`` one."""
    return [word[:LONGEST_WORD] for word in _TOKEN.findall(text.lower())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Lines that were asked for, newest first; ``total`` tells how many there are beyond those."""

    lines: tuple[LogLine, ...]
    total: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many lines there were per ``step_ms`` from ``start_ms`` on, per value of a field (``""`` for all)."""

    start_ms: int
    step_ms: int
    counts: Mapping[str, tuple[int, ...]]
    by: str
    source: str
