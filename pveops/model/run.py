"""A run: a proposal being carried out, as its journal tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pveops.model.codec import STRICT
from pveops.model.phases import RunStatus, StepPhase
from pveops.model.proposal import Proposal

__all__ = ["May", "ProposalView", "Run", "RunStatus", "StepPhase", "StepState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """One step of a run."""

    __pydantic_config__: ClassVar[Any] = STRICT

    key: str
    phase: StepPhase = StepPhase.PENDING
    picked: bool = False
    """Its turn has come; it is being looked at."""
    reason: str = ""
    upid: str = ""
    adopted: bool = False
    """Its task was found in the task list, because no answer came."""
    started: datetime | None = None
    ended: datetime | None = None
    intent_node_s: int | None = None
    """The node's own clock at the intent, Unix time in seconds."""
    child_upid: str = ""
    """The task that carried out what an order to the HA manager asked for."""
    exit_text: str = ""
    log_tail: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()
    """Where an answer was looked for, in words."""
    read: tuple[str, ...] = ()
    """The new state as it was read back."""
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
    paused_by: str = ""
    wave: int = -1
    """The number of the last wave that has begun, from 0."""
    check: Literal["", "before", "after"] = ""
    """What is being looked at for the run as a whole: the state before the next wave, or at the end."""
    halted: str = ""
    """Why no further step begins."""
    verified: bool = False
    """What must hold at the end was read."""
    undo: tuple[StepState, ...] = ()
    """Inverse steps of what is taken back by itself, in order."""
    per_node: int = 0
    """Most steps under way on one node, by the limits in force when it was approved; 0 for no such limit."""
    per_storage: int = 0
    """The same of steps that name one storage."""

    @property
    def current(self) -> StepState | None:
        """The step that matters most: one whose outcome is not known, else one under way, else the first that is not settled well."""
        known = self.steps + self.undo
        for fits in (lambda step: step.phase is StepPhase.UNKNOWN, lambda step: step.phase.working, lambda step: step.picked):
            found = next((step for step in known if fits(step)), None)
            if found is not None:
                return found
        return next((step for step in known if not step.phase.good), None)

    @property
    def was_taken_back(self) -> bool:
        """Whether everything that was done and has an inverse was taken back."""
        return bool(self.undo) and all(step.phase.good for step in self.undo)


@dataclass(frozen=True, slots=True, kw_only=True)
class May:
    """What the asking principal may do with a proposal; an empty text means yes, else it says why not."""

    __pydantic_config__: ClassVar[Any] = STRICT

    approve: str = ""
    deny: str = ""
    withdraw: str = ""
    rehearse: str = ""
    stop: str = ""
    pause: str = ""
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
