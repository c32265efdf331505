"""The rows of the card's list of steps: what, exactly which call, how long, how it stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pveops.base.units import fmt_duration, fmt_pct
from pveops.model.plan import Plan, Step
from pveops.model.run import ProposalView, RunStatus, StepPhase, StepState
from pveops.present.states import STEP_LOOKS, State
from pveops.present.words import count, emphasised, took

_TAIL = 4
_WITH_CALLS: frozenset[State] = frozenset({"draft", "waiting", "refused", "unknown"})
"""States in which people still decide: there the exact wire call is shown."""


def heading(plan: Plan) -> str:
    """``Steps``; of several ``3 steps, about 1 min 35 s``."""
    known = [step.expected_s for step in plan.steps if step.expected_s is not None]
    if len(plan.steps) == 1 or len(known) < len(plan.steps):
        return "Steps" if len(plan.steps) > 1 else "Step"
    return f"{count(len(plan.steps), 'step')}, about {fmt_duration(sum(known))}; stops at the first that fails"


def rows(view: ProposalView, state: State, now: datetime) -> list[dict[str, Any]]:
    """One row per step, in order."""
    plan, run = view.proposal.plan, view.run
    if run is None:
        return planned(plan, state)
    return [_row(view, step, run.steps[index], index + 1, now) for index, step in enumerate(plan.steps)]


def planned(plan: Plan, state: State) -> list[dict[str, Any]]:
    """Rows of a plan that does not run."""
    return [_before(step, number, with_call=state in _WITH_CALLS) for number, step in enumerate(plan.steps, start=1)]


def _before(step: Step, number: int, *, with_call: bool) -> dict[str, Any]:
    right = "" if step.expected_s is None else f"about {fmt_duration(step.expected_s)}"
    return {**_what(step, number), "right": right, **(_call(step) if with_call else {})}


def _what(step: Step, number: int) -> dict[str, Any]:
    return {"n": number, "text": emphasised(step.text, step.subject), "note": step.note}


def _call(step: Step) -> dict[str, str]:
    params = "  ".join(("", " ".join(f"{key}={value}" for key, value in step.call.params))) if step.call.params else ""
    return {"verb": step.call.method, "call": f"{step.call.path}{params}"}


def _row(view: ProposalView, step: Step, state: StepState, number: int, now: datetime) -> dict[str, Any]:
    word, tone, glyph = STEP_LOOKS[state.phase]
    row: dict[str, Any] = {"n": number, "text": emphasised(step.text, step.subject), "word": word, "tone": tone, "glyph": glyph}
    running = view.run is not None and view.run.status is RunStatus.RUNNING
    working = running and not state.phase.settled and state.phase is not StepPhase.PENDING
    if working:
        row.update(current=True, right=_progress_text(view, state, now, word))
        if state.phase is StepPhase.FOLLOWING and view.progress_fraction is not None:
            row["progress"] = max(0.0, min(1.0, view.progress_fraction))
        row["log"] = list(view.live_log[-_TAIL:])
    else:
        row["right"] = _settled_text(state, word)
        row["log"] = _why(state)
    if state.phase is StepPhase.UNKNOWN:
        row.update(_call(step))
    if state.adopted:
        row["note"] = "no answer came; its task was found in the task list"
    return row


def _progress_text(view: ProposalView, state: StepState, now: datetime, word: str) -> str:
    if state.phase is StepPhase.FOLLOWING and view.progress_fraction is not None:
        return fmt_pct(view.progress_fraction)
    if state.phase is StepPhase.FOLLOWING and state.started is not None:
        return fmt_duration(max(0, round((now - state.started).total_seconds())))
    return word


def _settled_text(state: StepState, word: str) -> str:
    time_taken = took(state.started, state.ended)
    if state.phase is StepPhase.DONE:
        return time_taken or word
    if state.phase is StepPhase.WARNED:
        number = state.exit_text.partition(":")[2].strip()
        return count(int(number), "warning") if number.isdigit() else word
    return word


def _why(state: StepState) -> list[str]:
    """What the log said, where it explains something."""
    if state.phase is StepPhase.WARNED:
        return [line for line in state.log_tail if "warn" in line.lower()][-_TAIL:] or list(state.log_tail[-2:])
    if state.phase is StepPhase.FAILED:
        return list(state.log_tail[-_TAIL:]) or ([state.exit_text] if state.exit_text else [])
    return []
