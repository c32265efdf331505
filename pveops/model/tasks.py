"""Tasks of Proxmox VE: their ids and how they ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pveops.base.clock import from_epoch_s
from pveops.base.errors import InputError

_UPID = re.compile(
    r"^UPID:(?P<node>[A-Za-z0-9-]+):(?P<pid>[0-9A-F]{8}):(?P<pstart>[0-9A-F]{8,9}):(?P<start>[0-9A-F]{8}):"
    r"(?P<type>[^:\s/]+):(?P<id>[^:\s/]*):(?P<user>[^:\s/]+):$",
    re.IGNORECASE,
)

OutcomeKind = Literal["running", "done", "warnings", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Upid:
    """The id of a task, taken apart."""

    text: str
    node: str
    pid: int
    starttime_s: int
    type: str
    id: str
    user: str

    @classmethod
    def parse(cls, text: str) -> Upid:
        """Take a UPID apart.

        Raises:
            InputError: the text is no UPID (so it never becomes part of a path).
        """
        match = _UPID.match(text)
        if not match:
            raise InputError(
                f"{text[:80]!r} is no task id.", hint="Task ids start with UPID: and end with a colon; `pveops tasks ls` shows them."
            )
        return cls(
            text=text,
            node=match["node"],
            pid=int(match["pid"], 16),
            starttime_s=int(match["start"], 16),
            type=match["type"],
            id=match["id"],
            user=match["user"],
        )

    @property
    def started(self) -> datetime:
        """When it started, by the node's clock."""
        return from_epoch_s(self.starttime_s)

    @property
    def path(self) -> str:
        """The API path of the task."""
        return f"/nodes/{self.node}/tasks/{self.text}"

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended.

    ``kind``: ``running``, ``done``, ``warnings`` (it worked and warned), ``failed``, or ``unknown`` (Proxmox VE lost its worker, or we
    could not ask). ``text`` is Proxmox VE's own exit text.
    """

    kind: OutcomeKind
    text: str = ""

    @classmethod
    def of(cls, status: str | None, exitstatus: str | None) -> Outcome:
        """Read ``status`` and ``exitstatus`` of a task."""
        if status == "running" and exitstatus is None:
            return cls("running")
        text = exitstatus or ""
        if text == "OK":
            return cls("done", text)
        if text.startswith("WARNINGS: "):
            return cls("warnings", text)
        if text in ("", "unexpected status"):
            return cls("unknown", text or "the task ended without an exit text")
        return cls("failed", text)

    @property
    def ok(self) -> bool:
        """Whether the work was done (with or without warnings)."""
        return self.kind in ("done", "warnings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One row of a task list."""

    upid: Upid
    node: str
    type: str
    id: str
    user: str
    token: str | None
    started: datetime
    ended: datetime | None
    outcome: Outcome

    @property
    def duration_s(self) -> float | None:
        """How long it took in seconds; none while it runs."""
        return None if self.ended is None else (self.ended - self.started).total_seconds()
