"""Which state of the card a proposal is in, and how that state is called and looks. Shape and word first, then colour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from pveops.model.proposal import ProposalStatus, Tier
from pveops.model.run import ProposalView, RunStatus, StepPhase

State = Literal[
    "draft", "waiting", "refused", "running", "done", "warned", "failed", "undone", "unknown", "expired", "used", "denied", "withdrawn",
    "stopped", "closed",
]  # fmt: skip
Mode = Literal["fresh", "rerun"]
"""``rerun``: a cell was run that only shows a proposal whose story is over."""

STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is called and looks: ``tone`` names a status colour, ``accent``, or ``t2`` for a quiet grey, ``glyph`` a shape."""

    word: str
    tone: str
    glyph: str


LOOKS: dict[State, Look] = {
    "draft": Look("Draft", "t2", "pending"),
    "waiting": Look("Waiting for approval", "accent", "wait"),
    "refused": Look("Refused", "error", "error"),
    "running": Look("Running", "info", "run"),
    "done": Look("Done", "ok", "done"),
    "warned": Look("Done with warnings", "warn", "warn"),
    "failed": Look("Failed", "error", "error"),
    "undone": Look("Failed and undone", "error", "error"),
    "unknown": Look("Unknown, a person must decide", "unknown", "unknown"),
    "expired": Look("Expired", "stale", "stale"),
    "used": Look("Already used", "t2", "none"),
    "denied": Look("Denied", "t2", "none"),
    "withdrawn": Look("Withdrawn", "t2", "none"),
    "stopped": Look("Stopped", "t2", "none"),
    "closed": Look("Closed, outcome unknown", "unknown", "unknown"),
}
LOUD: frozenset[State] = frozenset({"failed", "unknown"})
"""Told at once, not politely."""

_OF_STATUS: dict[ProposalStatus, State] = {
    ProposalStatus.WAITING: "waiting",
    ProposalStatus.DENIED: "denied",
    ProposalStatus.WITHDRAWN: "withdrawn",
    ProposalStatus.EXPIRED: "expired",
    ProposalStatus.REFUSED: "refused",
}
_OF_RUN: dict[RunStatus, State] = {
    RunStatus.RUNNING: "running",
    RunStatus.DONE: "done",
    RunStatus.WARNED: "warned",
    RunStatus.FAILED: "failed",
    RunStatus.STOPPED: "stopped",
    RunStatus.UNKNOWN: "unknown",
    RunStatus.CLOSED: "closed",
}
_REFUSED_BY = {
    "policy": "Refused by policy",
    "preview": "Refused, it would not work now",
    "state check": "Refused, the state has changed",
    "digest check": "Refused, the plan was altered",
}
_RISK = {
    Tier.GREEN: ("reads only", 1),
    Tier.YELLOW: ("reversible", 2),
    Tier.RED: ("destructive", 3),
    Tier.BLACK: ("never", 4),
}

StepLook = tuple[str, str, str]
STEP_LOOKS: dict[StepPhase, StepLook] = {
    StepPhase.PENDING: ("waiting", "t3", "pending"),
    StepPhase.CHECKING: ("checking", "info", "run"),
    StepPhase.INTENDED: ("sending", "info", "run"),
    StepPhase.RECONCILING: ("no answer, looking for its task", "unknown", "run"),
    StepPhase.FOLLOWING: ("running", "info", "run"),
    StepPhase.READING: ("reading back", "info", "run"),
    StepPhase.DONE: ("done", "ok", "done"),
    StepPhase.WARNED: ("done with warnings", "warn", "warn"),
    StepPhase.FAILED: ("failed", "error", "error"),
    StepPhase.UNKNOWN: ("unknown", "unknown", "unknown"),
    StepPhase.SKIPPED: ("not started", "t3", "none"),
}
"""Word, tone and glyph of every phase."""


def state_of(view: ProposalView, *, mode: Mode, now: datetime, undone: bool = False) -> State:
    """The state of a proposal's card.

    Args:
        view: the proposal with its run.
        mode: whether a cell merely showed it again.
        now: the executor's time as far as we know it.
        undone: whether another proposal has taken back what this one did.
    """
    proposal = view.proposal
    if proposal.status is ProposalStatus.WAITING and now >= proposal.expires:
        return "expired"
    if proposal.status is not ProposalStatus.APPROVED:
        return _OF_STATUS[proposal.status]
    state = _OF_RUN[view.run.status] if view.run else "running"
    if state == "failed" and (undone or (view.run is not None and view.run.was_taken_back)):
        return "undone"
    if mode == "rerun" and view.run is not None and view.run.status.ended:
        return "used"
    return state


def called(view: ProposalView, state: State, *, viewer: str, can_sign: bool) -> str:
    """The word in the head of the card."""
    proposal = view.proposal
    if state == "waiting" and can_sign and viewer != proposal.requester and not view.may.approve:
        return "Waiting for you"
    if state == "waiting" and proposal.votes:
        return f"Waiting for approval, {proposal.needs - proposal.missing} of {proposal.needs}"
    if state == "refused":
        return _REFUSED_BY.get(proposal.decided_by, LOOKS["refused"].word)
    if state == "running" and view.run is not None:
        number, of = current_step(view)
        if view.run.paused_by:
            return f"Paused by {view.run.paused_by}"
        if view.run.undo:
            return "Taking back what was done"
        if view.proposal.plan.flow is not None and len(view.proposal.plan.waves) > 1 and view.run.wave >= 0 and not view.run.stop_asked_by:
            return f"Running, {view.proposal.plan.waves[view.run.wave].name}, {number - 1} of {of} done"
        if view.run.stop_asked_by and of > 1:
            return f"Stopping after step {number}"
        return f"Running, step {number} of {of}" if of > 1 else "Running"
    return LOOKS[state].word


def current_step(view: ProposalView) -> tuple[int, int]:
    """The number of the step being worked on, and how many there are."""
    of = len(view.proposal.plan.steps)
    if view.run is None:
        return 1, of
    good = sum(step.phase.good for step in view.run.steps)
    return min(good + 1, of), of


def risk(tier: Tier, *, many: bool = False) -> dict[str, object]:
    """The risk chip: word, meaning, and how many of its four steps are filled. ``many``: only the number of guests makes it RED."""
    means, steps = _RISK[tier]
    return {"tier": tier.value, "word": tier.value.upper(), "means": "many guests" if many else means, "steps": steps}
