"""The life of a run as a pure function: ``decide(state, event) -> (state, commands)``. No clock, no I/O.

::

    pending ─check→ checking ─intend→ intended ─send→ following ─follow→ reading ─read back→ done | warned
                       │                 │  │no answer    │task failed      │not so → failed
                     barred           refused└→ reconciling ─one task→ following
                       ↓                 ↓          └ none or several → unknown ─ a person, or a later look
                     failed            failed

A command is only ever given for an event that is on disk. After a restart ``resume`` gives the commands: it never sends again what was
intended before, it looks for its task instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pveops.guard.events import RunEvent
from pveops.model.run import Run, RunStatus, StepPhase, StepState

CommandKind = Literal["check", "intend", "send", "reconcile", "follow", "read_back", "look_later", "settle"]


@dataclass(frozen=True, slots=True)
class Command:
    """What to do next, for which step."""

    kind: CommandKind
    step: str = ""


_WORK: dict[StepPhase, CommandKind] = {
    StepPhase.PENDING: "check",
    StepPhase.CHECKING: "intend",
    StepPhase.INTENDED: "send",
    StepPhase.RECONCILING: "reconcile",
    StepPhase.FOLLOWING: "follow",
    StepPhase.READING: "read_back",
}
_AFTER_RESTART: dict[StepPhase, CommandKind] = {StepPhase.CHECKING: "check", StepPhase.INTENDED: "reconcile"}


def fresh(run_id: str, proposal_id: str, keys: Iterable[str]) -> Run:
    """A run before its first event."""
    return Run(id=run_id, proposal_id=proposal_id, status=RunStatus.RUNNING, steps=tuple(StepState(key=key) for key in keys))


def decide(run: Run, event: RunEvent) -> tuple[Run, tuple[Command, ...]]:
    """The run after an event, and what to do about it.

    Raises:
        ValueError: the event cannot happen to this run.
    """
    after = _evolve(run, event)
    return after, _commands(after)


def replay(run: Run, events: Iterable[RunEvent]) -> Run:
    """The run after all these events."""
    for event in events:
        run = _evolve(run, event)
    return run


def resume(run: Run) -> tuple[Command, ...]:
    """What to do for a run that was found on disk: like ``decide``, but nothing that may have been sent is sent again."""
    current = run.current
    if run.status is RunStatus.RUNNING and current is not None and current.phase in _AFTER_RESTART:
        return (Command(_AFTER_RESTART[current.phase], current.key),)
    return _commands(run)


def _commands(run: Run) -> tuple[Command, ...]:
    current = run.current
    if run.status is RunStatus.UNKNOWN:
        return (Command("look_later", current.key),) if current is not None and current.retry_look else ()
    if run.status.ended or current is None:
        return (Command("settle"),)
    return (Command(_WORK[current.phase], current.key),)


def _evolve(run: Run, event: RunEvent) -> Run:
    if event.kind == "opened":
        return replace(run, approved_by=event.actor, started=event.at)
    if run.status.ended:
        raise ValueError(f"{event.kind} cannot happen to a run that is {run.status}")
    if event.kind == "stop_asked":
        return _settle(replace(run, stop_asked_by=event.actor), event)
    step = _step(run, event.step)
    moved = _STEP_RULES[event.kind](step, event)
    run = replace(run, steps=tuple(moved if other.key == moved.key else other for other in run.steps))
    if event.kind == "closed":
        return _end(run, RunStatus.CLOSED, event, f"closed by {event.actor}")
    return _settle(run, event)


def _settle(run: Run, event: RunEvent) -> Run:
    """The status that the steps add up to."""
    current = run.current
    if current is None:
        status = RunStatus.WARNED if any(step.phase is StepPhase.WARNED for step in run.steps) else RunStatus.DONE
        return _end(run, status, event, run.reason)
    if current.phase is StepPhase.FAILED:
        return _end(run, RunStatus.FAILED, event, current.reason)
    if current.phase is StepPhase.UNKNOWN:
        return replace(run, status=RunStatus.UNKNOWN, reason=current.reason)
    if run.stop_asked_by and current.phase is StepPhase.PENDING:
        return _end(run, RunStatus.STOPPED, event, f"stopped by {run.stop_asked_by}")
    return replace(run, status=RunStatus.RUNNING)


def _end(run: Run, status: RunStatus, event: RunEvent, reason: str) -> Run:
    steps = tuple(replace(step, phase=StepPhase.SKIPPED) if step.phase is StepPhase.PENDING else step for step in run.steps)
    return replace(run, status=status, steps=steps, reason=reason, ended=event.at)


def _step(run: Run, key: str) -> StepState:
    found = next((step for step in run.steps if step.key == key), None)
    if found is None:
        raise ValueError(f"the run has no step {key!r}")
    current = run.current
    if current is None or current.key != key:
        raise ValueError(f"step {key} is not the one being worked on")
    return found


def _from(*phases: StepPhase) -> frozenset[StepPhase]:
    return frozenset(phases)


def _expect(step: StepState, event: RunEvent, allowed: frozenset[StepPhase]) -> None:
    if step.phase not in allowed:
        raise ValueError(f"{event.kind} cannot happen to a step that is {step.phase}")


def _checked(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.PENDING, StepPhase.CHECKING))
    return replace(step, phase=StepPhase.CHECKING)


def _barred(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.PENDING, StepPhase.CHECKING))
    return replace(step, phase=StepPhase.FAILED, reason=event.text, ended=event.at)


def _intended(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.CHECKING))
    return replace(step, phase=StepPhase.INTENDED, started=event.at, intent_node_s=event.node_s)


def _answered(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.INTENDED))
    return replace(step, phase=StepPhase.FOLLOWING if event.upid else StepPhase.READING, upid=event.upid)


def _refused(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.INTENDED))
    return replace(step, phase=StepPhase.FAILED, reason=event.text, ended=event.at)


def _no_answer(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.INTENDED))
    return replace(step, phase=StepPhase.RECONCILING, reason=event.text)


def _adopted(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.RECONCILING, StepPhase.INTENDED))
    phase = StepPhase.FOLLOWING if event.upid else StepPhase.READING
    return replace(step, phase=phase, upid=event.upid, adopted=True, reason="", looked=event.lines, retry_look=False)


def _not_found(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.RECONCILING, StepPhase.INTENDED))
    return replace(step, phase=StepPhase.UNKNOWN, reason=event.text, looked=event.lines, retry_look=event.retry)


def _task_ended(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.FOLLOWING))
    step = replace(step, exit_text=event.text, log_tail=event.lines, retry_look=False)
    if event.unsure:
        return replace(step, phase=StepPhase.UNKNOWN, reason=f"its task ended without saying how ({event.text})")
    if not event.ok:
        return replace(step, phase=StepPhase.FAILED, reason=event.text, ended=event.at)
    return replace(step, phase=StepPhase.READING)


def _task_lost(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.FOLLOWING))
    return replace(step, phase=StepPhase.UNKNOWN, reason=event.text, looked=event.lines, retry_look=event.retry)


def _observed(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.READING))
    warned = step.exit_text.startswith("WARNINGS")
    return replace(step, phase=StepPhase.WARNED if warned else StepPhase.DONE, reason=event.text, ended=event.at, retry_look=False)


def _not_observed(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.READING))
    return replace(step, phase=StepPhase.FAILED, reason=event.text, ended=event.at)


def _unreadable(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.READING))
    return replace(step, phase=StepPhase.UNKNOWN, reason=event.text, looked=event.lines, retry_look=event.retry)


def _look(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.UNKNOWN))
    if not step.upid:
        return replace(step, phase=StepPhase.RECONCILING)
    return replace(step, phase=StepPhase.READING if step.exit_text else StepPhase.FOLLOWING)


def _happened(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.UNKNOWN))
    return replace(step, phase=StepPhase.DONE, reason=f"{event.actor} says that it happened", ended=event.at, retry_look=False)


def _not_happened(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.UNKNOWN))
    return replace(step, phase=StepPhase.FAILED, reason=f"{event.actor} says that it did not happen", ended=event.at, retry_look=False)


def _closed(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.UNKNOWN))
    return replace(step, ended=event.at, retry_look=False)


_STEP_RULES = {
    "checked": _checked,
    "barred": _barred,
    "intended": _intended,
    "answered": _answered,
    "refused": _refused,
    "no_answer": _no_answer,
    "adopted": _adopted,
    "not_found": _not_found,
    "task_ended": _task_ended,
    "task_lost": _task_lost,
    "observed": _observed,
    "not_observed": _not_observed,
    "unreadable": _unreadable,
    "look": _look,
    "happened": _happened,
    "not_happened": _not_happened,
    "closed": _closed,
}
