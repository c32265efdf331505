"""A run: a proposal being carried out, as its journal tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from pveops.model.codec import STRICT
from pveops.model.proposal import Proposal


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

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (StepPhase.DONE, StepPhase.WARNED, StepPhase.FAILED, StepPhase.UNKNOWN, StepPhase.SKIPPED)

    @property
    def good(self) -> bool:
        """Whether its effect is there."""
        return self in (StepPhase.DONE, StepPhase.WARNED)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """One step of a run."""

    __pydantic_config__: ClassVar[Any] = STRICT

    key: str
    phase: StepPhase = StepPhase.PENDING
    reason: str = ""
    upid: str = ""
    adopted: bool = False
    """Its task was found in the task list, because no answer came."""
    started: datetime | None = None
    ended: datetime | None = None
    intent_node_s: int | None = None
    """The node's own clock at the intent, Unix time in seconds."""
    exit_text: str = ""
    log_tail: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()
    """Where an answer was looked for, in words."""
    retry_look: bool = False
    """Whether the executor looks again by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as read from its journal."""

    __pydantic_config__: ClassVar[Any] = STRICT

    id: str
    proposal_id: str
    status: RunStatus
    steps: tuple[StepState, ...]
    reason: str = ""
    approved_by: str = ""
    started: datetime | None = None
    ended: datetime | None = None
    stop_asked_by: str = ""

    @property
    def current(self) -> StepState | None:
        """The first step that is not settled well: the one being worked on, or the one that stopped the run."""
        return next((step for step in self.steps if not step.phase.good), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class May:
    """What the asking principal may do with a proposal; an empty text means yes, else it says why not."""

    __pydantic_config__: ClassVar[Any] = STRICT

    approve: str = ""
    deny: str = ""
    withdraw: str = ""
    stop: str = ""
    resolve: str = ""
    undo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalView:
    """A proposal with its run, its audit sequence numbers and what the asker may do."""

    __pydantic_config__: ClassVar[Any] = STRICT

    proposal: Proposal
    run: Run | None = None
    audit: tuple[int, ...] = ()
    """First and last audit record of it."""
    may: May = May()
    live_log: tuple[str, ...] = ()
    """The last lines of the running task's log."""
    progress_fraction: float | None = None
    server_time: datetime
