"""Where a step and a run stand: the words of both."""

from __future__ import annotations

from enum import StrEnum


class StepPhase(StrEnum):
    """Where a step stands. A step is ``done`` only after its effect was read back."""

    PENDING = "pending"
    CHECKING = "checking"
    INTENDED = "intended"
    """The intent is on disk; the request may or may not have been sent."""
    RECONCILING = "reconciling"
    """No answer came; looking for its task."""
    FOLLOWING = "following"
    """Proxmox VE took it; its task runs."""
    READING = "reading"
    """The task ended; reading the effect back."""
    DONE = "done"
    WARNED = "warned"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"

    good: bool
    """Its effect is there."""
    settled: bool
    """Nothing more happens by itself."""
    working: bool
    """It is under way."""

    def __init__(self, word: str) -> None:
        # told once per member and not asked anew: a run with a thousand steps looks at each of them at every event
        self.good = word in ("done", "warned")
        self.settled = self.good or word in ("failed", "unknown", "skipped")
        self.working = not self.settled and word != "pending"


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    DONE = "done"
    WARNED = "warned"
    FAILED = "failed"
    STOPPED = "stopped"
    """A person stopped it after a step; what ran is done, the rest was not started."""
    UNKNOWN = "unknown"
    """A person must decide."""
    CLOSED = "closed"
    """A person closed it with a step whose outcome is not known."""

    @property
    def ended(self) -> bool:
        """Whether it holds its guests no longer."""
        return self not in (RunStatus.RUNNING, RunStatus.UNKNOWN)
