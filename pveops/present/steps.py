"""The rows of the card's list of steps: what, exactly which call, how long, how it stands."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pveops.base.units import NBSP, fmt_duration, fmt_pct
from pveops.model.plan import Flow, Plan, Step, Wave
from pveops.model.run import ProposalView, Run, RunStatus, StepPhase, StepState
from pveops.present.states import STEP_LOOKS, State
from pveops.present.words import count, emphasised, span, took

_TAIL = 4
_MOST_ROWS = 12
"""A plan of more steps is shown by its waves."""
_MOST_SHOWN = 6
_WITH_CALLS: frozenset[State] = frozenset({"draft", "waiting", "refused", "unknown"})
"""States in which people still decide: there the exact wire call is shown."""


def heading(plan: Plan) -> str:
    """``Steps``; of several ``3 steps, about 1 min 35 s``; of waves ``40 steps in 3 waves, 8 at once; stops when more than 5 % fail``."""
    if plan.flow is not None:
        return _pace(plan, plan.flow)
    known = [step.expected_s for step in plan.steps if step.expected_s is not None]
    if len(plan.steps) == 1 or len(known) < len(plan.steps):
        return "Steps" if len(plan.steps) > 1 else "Step"
    return f"{count(len(plan.steps), 'step')}, about {fmt_duration(sum(known))}; stops at the first that fails"


def _pace(plan: Plan, flow: Flow) -> str:
    said = f"{count(len(plan.steps), 'step')} in {count(len(flow.waves), 'wave')}, {flow.at_once} at once and {flow.per_node} on a node"
    limit = f"when more than {flow.may_fail_pct}{NBSP}% fail" if flow.may_fail_pct else "at the first that fails"
    more = [f"{said}; stops {limit}"]
    if flow.take_back:
        more.append("then takes back what was done")
    if flow.deadline_s:
        more.append(f"begins nothing later than {fmt_duration(flow.deadline_s)} after approval")
    return ", ".join(more)


def rows(view: ProposalView, state: State, now: datetime) -> list[dict[str, Any]]:
    """One row per step, in order; of a long plan one per wave, and those of its steps that somebody should see."""
    plan, run = view.proposal.plan, view.run
    if run is None:
        return planned(plan, state)
    if _long(plan):
        return [row for number, wave in enumerate(plan.waves, start=1) for row in _wave(view, run, wave, number, now)] + _undo_rows(
            view, run, now
        )
    return [_row(view, step, run.steps[index], index + 1, now) for index, step in enumerate(plan.steps)] + _undo_rows(view, run, now)


def planned(plan: Plan, state: State) -> list[dict[str, Any]]:
    """Rows of a plan that does not run."""
    with_call = state in _WITH_CALLS
    if not _long(plan):
        return [_before(step, number, with_call=with_call) for number, step in enumerate(plan.steps, start=1)]
    by_key = {step.key: step for step in plan.steps}
    found = []
    for number, wave in enumerate(plan.waves, start=1):
        first = by_key[wave.steps[0]]
        others = f" and {count(len(wave.steps) - 1, 'step')} more" if len(wave.steps) > 1 else ""
        row = {
            "n": number,
            "text": [span(f"{wave.name.capitalize()}: "), *emphasised(first.text, first.subject), span(others)],
            "note": "",
            "right": "",
        }
        found.append({**row, **(_call(first) if with_call else {})})
    return found


def _long(plan: Plan) -> bool:
    return plan.flow is not None and len(plan.steps) > _MOST_ROWS


def _wave(view: ProposalView, run: Run, wave: Wave, number: int, now: datetime) -> list[dict[str, Any]]:
    states = {step.key: step for step in run.steps}
    steps = {step.key: (index, step) for index, step in enumerate(view.proposal.plan.steps, start=1)}
    here = [states[key] for key in wave.steps]
    phase = _phase_of(here)
    word, tone, glyph = STEP_LOOKS[phase]
    good, failed = sum(step.phase.good for step in here), sum(step.phase is StepPhase.FAILED for step in here)
    right = f"{good} of {len(here)} done" + (f", {failed} failed" if failed else "")
    row: dict[str, Any] = {
        "n": number,
        "text": [span(wave.name.capitalize(), "b")],
        "word": word,
        "tone": tone,
        "glyph": glyph,
        "right": right,
        "log": [],
    }
    if any(step.phase.working for step in here) and run.status is RunStatus.RUNNING:
        row.update(current=True, progress=good / len(here))
    shown = [step for step in here if step.phase in (StepPhase.FAILED, StepPhase.UNKNOWN)]
    shown += [step for step in here if step.phase.working]
    return [row, *(_row(view, steps[step.key][1], step, steps[step.key][0], now) for step in shown[:_MOST_SHOWN])]


def _phase_of(steps: list[StepState]) -> StepPhase:
    """The phase that a wave is shown in."""
    phases = [step.phase for step in steps]
    for phase in (StepPhase.UNKNOWN, StepPhase.FAILED):
        if phase in phases and not any(other.working for other in phases):
            return phase
    working = next((phase for phase in phases if phase.working), None)
    if working is not None:
        return StepPhase.FOLLOWING
    if all(phase.good for phase in phases):
        return StepPhase.WARNED if StepPhase.WARNED in phases else StepPhase.DONE
    return StepPhase.SKIPPED if StepPhase.SKIPPED in phases else StepPhase.PENDING


def _undo_rows(view: ProposalView, run: Run, now: datetime) -> list[dict[str, Any]]:
    """What is taken back by itself."""
    planned_undo = {step.key: step for step in view.proposal.plan.taken_back}
    return [
        _row(view, planned_undo[state.key], state, number, now)
        for number, state in enumerate(run.undo[:_MOST_ROWS], start=len(run.steps) + 1)
    ]


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
