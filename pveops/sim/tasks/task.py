"""A task as the API knows it: its id (UPID), its log and how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pveops.sim.errors import PARAMETERS_REFUSED, RefusedError, bad_parameter

_UPID = re.compile(
    r"UPID:([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?):([0-9A-F]{8}):([0-9A-F]{8,9}):([0-9A-F]{8}):([^:\s]+):([^:\s]*):([^:\s]+):"
)
_JIFFIES = 100


@dataclass(slots=True)
class Task:
    """One task. Times are seconds since the epoch; ``end_s`` is ``None`` while it runs; ``status`` is how it ended."""

    node: str
    pid: int
    pstart: int
    start_s: float
    kind: str
    about: str
    user: str
    end_s: float | None = None
    status: str = ""
    lines: list[str] = field(default_factory=list)
    write_log: Callable[[], list[str]] | None = None
    """For tasks of the past: writes the log when somebody reads it."""
    warnings: int = 0

    @property
    def upid(self) -> str:
        """The unique task id, with its final colon."""
        return f"UPID:{self.node}:{self.pid:08X}:{self.pstart:08X}:{int(self.start_s):08X}:{self.kind}:{self.about}:{self.user}:"

    @property
    def running(self) -> bool:
        """Not ended yet."""
        return self.end_s is None

    @property
    def verdict(self) -> str:
        """``ok``, ``warning``, ``error`` or ``unknown``, as the status filter of the API sees it."""
        if self.status == "OK":
            return "ok"
        if self.status.startswith("WARNINGS: "):
            return "warning"
        return "unknown" if self.running or self.status == "unexpected status" else "error"

    def say(self, line: str) -> None:
        """Add a line to the log."""
        self.lines.append(line)

    def warn(self, line: str) -> None:
        """Add a warning: the task will end with ``WARNINGS: n``."""
        self.warnings += 1
        self.lines.append(f"WARN: {line}")

    def log(self) -> list[str]:
        """All lines so far."""
        return self.write_log() if self.write_log else self.lines

    def identity(self) -> dict[str, Any]:
        """The parts of its id as the API shows them, user and token apart."""
        user, _, token = self.user.partition("!")
        row: dict[str, Any] = {
            "upid": self.upid,
            "node": self.node,
            "pid": self.pid,
            "pstart": self.pstart,
            "starttime": int(self.start_s),
            "type": self.kind,
            "id": self.about,
            "user": user,
        }
        if token:
            row["tokenid"] = token
        return row


def jiffies(boot_s: float, at_s: float) -> int:
    """The start time of a process as the kernel counts it, from the boot of its node."""
    return max(int((at_s - boot_s) * _JIFFIES), 1)


def check_upid(text: str) -> str:
    """The text, if it is a task id; 400 otherwise."""
    if not _UPID.fullmatch(text):
        raise bad_parameter("upid", "unable to parse worker upid")
    return text


def owner_of(upid: str) -> str:
    """The user or token that a task id names."""
    match = _UPID.fullmatch(upid)
    return match[8] if match else ""


class UnknownTaskError(RefusedError):
    """400 for a task id that nobody gave out."""

    def __init__(self) -> None:
        super().__init__(400, PARAMETERS_REFUSED, errors={"upid": "no such task"})
