"""The buttons of the card. The consequence sits on the button; what cannot be pressed says why."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

from pveops.model.proposal import Tier
from pveops.model.run import ProposalView
from pveops.present.states import State

Offer = Literal["again", "undo", "record", "rehearse"]
Press = Literal[
    "approve", "deny", "withdraw", "dry_run", "stop", "pause", "resume", "look", "happened", "not_happened", "close", "undo", "again", "record", "propose",
    "rehearse",
]  # fmt: skip
"""What a button asks Python to do."""


def actions(view: ProposalView, state: State, *, viewer: str, can_sign: bool, offers: Collection[Offer]) -> dict[str, Any]:
    """``actions`` (buttons in order) and ``hint`` (the words beside them)."""
    buttons = _BUTTONS.get(state, _none)(view, viewer, can_sign, frozenset(offers))
    return {"actions": buttons, "hint": _hint(view, state, viewer, can_sign)}


def barred(view: ProposalView, viewer: str) -> str:
    """Why this viewer's approval would not do here; empty where it would.

    The executor's word counts; where it gives none, a RED plan is never approved on a card by the one who asked for it.
    """
    proposal = view.proposal
    if view.may.approve or proposal.tier is not Tier.RED or viewer != proposal.requester:
        return view.may.approve
    return f"Another person must approve this. Alone, do it in a terminal: pveops proposals approve {proposal.id}"


def draft_actions(*, can_propose: bool) -> dict[str, Any]:
    """The buttons of a draft."""
    buttons = [_button("propose", "Propose", "primary"), _button("dry_run", "Dry run")] if can_propose else []
    return {"actions": buttons, "hint": "Nothing runs until it is proposed and confirmed"}


def _button(press: Press, label: str, kind: str = "plain", *, icon: str = "", off: str = "") -> dict[str, str]:
    return {"type": press, "label": label, "kind": kind, "icon": icon, "off": off}


def _none(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    return []


def _waiting(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    proposal, buttons = view.proposal, []
    if can_sign:
        kind = "danger" if proposal.tier is Tier.RED else "primary"
        buttons.append(_button("approve", f"Confirm {proposal.plan.action}", kind, off=barred(view, viewer)))
        buttons.append(_button("deny", "Deny", off=view.may.deny))
    elif viewer == proposal.requester:
        buttons.append(_button("withdraw", "Withdraw", off=view.may.withdraw))
    buttons.append(_button("dry_run", "Dry run"))
    if "rehearse" in offers:
        buttons.append(_button("rehearse", "Rehearse again" if proposal.rehearsal else "Rehearse", off=view.may.rehearse))
    return buttons


def _running(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    run = view.run
    later = run is not None and not run.stop_asked_by and sum(not step.phase.good for step in run.steps) > 1
    if not later or not can_sign or run is None:
        return []
    wide = view.proposal.plan.flow is not None
    pause = _button("resume", "Go on", off=view.may.pause) if run.paused_by else _button("pause", "Pause", "quiet", off=view.may.pause)
    stop = _button("stop", "Start no further step" if wide else "Stop after this step", off=view.may.stop)
    return [pause, stop] if wide or run.paused_by else [stop]


def _ended(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    buttons = []
    done = {step.key for step in view.run.steps if step.phase.good} if view.run else set()
    inverses = [step for step in view.proposal.plan.steps if step.key in done]
    if "undo" in offers and inverses and all(step.undo is not None for step in inverses):
        buttons.append(_button("undo", "Propose undo", icon="undo", off=view.may.undo))
    return [*buttons, *_record(offers)]


def _failed(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    return [*_again("Check again and propose anew", offers), *_ended(view, viewer, can_sign, offers)]


def _unknown(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    if not can_sign:
        return _record(offers)
    off = view.may.resolve
    return [
        _button("look", "Look again", off=off),
        _button("happened", "It did happen", off=off),
        _button("not_happened", "It did not happen", off=off),
        _button("close", "Leave it unknown", "quiet", off=off),
    ]


def _over(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    return [*_again("Check again and propose anew", offers), *_record(offers)]


def _refused(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    anew = [] if view.proposal.decided_by == "policy" else _again("Check again and propose anew", offers)
    return [*anew, *_record(offers)]


def _used(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    return [*_again("Propose the same again", offers), *_record(offers)]


def _closed(view: ProposalView, viewer: str, can_sign: bool, offers: frozenset[Offer]) -> list[dict[str, str]]:
    return _record(offers)


def _again(label: str, offers: frozenset[Offer]) -> list[dict[str, str]]:
    return [_button("again", label)] if "again" in offers else []


def _record(offers: frozenset[Offer]) -> list[dict[str, str]]:
    return [_button("record", "Show record", "quiet")] if "record" in offers else []


_BUTTONS: Mapping[State, Callable[[ProposalView, str, bool, frozenset[Offer]], list[dict[str, str]]]] = {
    "waiting": _waiting,
    "running": _running,
    "done": _ended,
    "warned": _ended,
    "stopped": _ended,
    "failed": _failed,
    "undone": _over,
    "unknown": _unknown,
    "expired": _over,
    "denied": _over,
    "withdrawn": _over,
    "refused": _refused,
    "used": _used,
    "closed": _closed,
}


def _hint(view: ProposalView, state: State, viewer: str, can_sign: bool) -> str:
    if state == "running":
        return "Closing this page does not stop the run"
    if state != "waiting":
        return ""
    if can_sign and barred(view, viewer):
        return barred(view, viewer)
    if can_sign:
        return "Nothing runs until you confirm"
    return f"{viewer} cannot approve. A person can: pveops proposals approve {view.proposal.id}"
