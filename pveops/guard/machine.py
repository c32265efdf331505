"""The life of a run as a pure function: ``decide(state, event) -> (state, commands)``. No clock, no I/O.

One step::

    pending ─check→ checking ─intend→ intended ─send→ following ─follow→ reading ─read back→ done | warned
                       │                 │  │no answer    │task failed      │not so → failed
                     barred           refused└→ reconciling ─one task→ following
                       ↓                 ↓          └ none or several → unknown ─ a person, or a later look
                     failed            failed

The run::

    wave 1 ─all settled→ gate ─open→ wave 2 … ─all good→ verify ─so→ done | warned
                          │shut: failed            too many failed → take back, where the plan says so → failed

A command is only ever given for an event that is on disk. After a restart ``resume`` gives the commands: it never sends again what was
intended before, it looks for its task instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from pveops.guard.course import Course
from pveops.guard.events import RunEvent
from pveops.model.run import Run, RunStatus, StepPhase, StepState

CommandKind = Literal["check", "intend", "send", "reconcile", "follow", "read_back", "look_later", "gate", "verify", "settle"]


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
_OF_THE_RUN = ("opened", "stop_asked", "pause_asked", "resumed", "deadline", "gate_open", "gate_shut", "verified", "not_verified")


def fresh(run_id: str, proposal_id: str, keys: Iterable[str]) -> Run:
    """A run before its first event."""
    return Run(id=run_id, proposal_id=proposal_id, status=RunStatus.RUNNING, steps=tuple(StepState(key=key) for key in keys))


def decide(run: Run, event: RunEvent, course: Course | None = None) -> tuple[Run, tuple[Command, ...]]:
    """The run after an event, and what to do about it that was not to be done before. Without a course, steps run one after the other.

    Raises:
        ValueError: the event cannot happen to this run.
    """
    course = course or Course.plain(tuple(step.key for step in run.steps))
    before = _commands(run)
    after = _evolve(run, event, course)
    mine = event.step
    return after, tuple(command for command in _commands(after) if (mine and command.step == mine) or command not in before)


def replay(run: Run, events: Iterable[RunEvent], course: Course | None = None) -> Run:
    """The run after all these events."""
    course = course or Course.plain(tuple(step.key for step in run.steps))
    for event in events:
        run = _evolve(run, event, course)
    return run


def resume(run: Run) -> tuple[Command, ...]:
    """What to do for a run that was found on disk: like ``decide``, but nothing that may have been sent is sent again."""
    phases = {step.key: step.phase for step in run.steps + run.undo}
    found = []
    for command in _commands(run):
        again = _AFTER_RESTART.get(phases.get(command.step, StepPhase.DONE))
        found.append(Command(again, command.step) if again is not None and command.kind != "look_later" else command)
    return tuple(found)


def _commands(run: Run) -> tuple[Command, ...]:
    """Everything that is to be done now."""
    if run.status.ended:
        return (Command("settle"),)
    if run.status is RunStatus.UNKNOWN:
        return tuple(
            Command("look_later", step.key) for step in run.steps + run.undo if step.phase is StepPhase.UNKNOWN and step.retry_look
        )
    if run.check:
        return (Command("gate" if run.check == "before" else "verify"),)
    return tuple(Command(_WORK[step.phase], step.key) for step in run.steps + run.undo if step.picked or step.phase.working)


def _evolve(run: Run, event: RunEvent, course: Course) -> Run:
    if event.kind == "opened":
        begun = replace(run, approved_by=event.actor, started=event.at, per_node=event.per_node, per_storage=event.per_storage)
        return _settle(begun, event, course)
    if run.status.ended:
        raise ValueError(f"{event.kind} cannot happen to a run that is {run.status}")
    if event.kind in _OF_THE_RUN:
        return _settle(_whole(run, event), event, course)
    step = _step(run, event.step)
    moved = _STEP_RULES[event.kind](step, event)
    run = replace(
        run,
        steps=tuple(moved if other.key == moved.key else other for other in run.steps),
        undo=tuple(moved if other.key == moved.key else other for other in run.undo),
    )
    if event.kind == "closed":
        if any(other.phase.working for other in run.steps + run.undo):
            raise ValueError("other steps are still under way")
        return _end(run, RunStatus.CLOSED, event, f"closed by {event.actor}")
    return _settle(run, event, course)


def _whole(run: Run, event: RunEvent) -> Run:
    """What happens to the run as a whole."""
    if event.kind == "stop_asked":
        return replace(run, stop_asked_by=event.actor)
    if event.kind == "pause_asked":
        return replace(run, paused_by=event.actor)
    if event.kind == "resumed":
        return replace(run, paused_by="")
    if event.kind == "deadline":
        return replace(run, halted=run.halted or event.text)
    if run.check != ("before" if event.kind in ("gate_open", "gate_shut") else "after"):
        raise ValueError(f"{event.kind} cannot happen now")
    if event.kind == "gate_open":
        return replace(run, check="", wave=run.wave + 1)
    if event.kind == "verified":
        return replace(run, check="", verified=True)
    return replace(run, check="", halted=event.text)


def _settle(run: Run, event: RunEvent, course: Course) -> Run:
    """The status that the steps add up to, and which of them begin now."""
    if run.undo:
        return _settle_undo(run, event)
    run = course.left_out(replace(run, status=RunStatus.RUNNING))
    limit_s = course.flow.deadline_s
    if limit_s and not run.halted and run.started is not None and event.at >= run.started + timedelta(seconds=limit_s):
        run = replace(run, halted=f"no step begins later than {limit_s} s after the approval")
    why = run.halted or course.too_many(run)
    if why or run.stop_asked_by or run.paused_by:
        run = replace(run, check="" if run.check == "before" else run.check, steps=tuple(_unpicked(step) for step in run.steps))
    elif not run.check:
        run = _go_on(run, course)
    if run.check or any(step.picked or step.phase.working for step in run.steps):
        return run
    return _quiet(run, event, course, why)


def _go_on(run: Run, course: Course) -> Run:
    """Open the next wave where its turn has come, and pick steps."""
    while course.next_wave(run):
        if course.flow.before:
            return replace(run, check="before")
        run = course.pick(replace(run, wave=run.wave + 1))
        if any(step.picked for step in run.steps):
            return run
    return course.pick(run)


def _quiet(run: Run, event: RunEvent, course: Course, why: str) -> Run:
    """Nothing is under way: has it ended, and how? ``why``: the reason why no further step begins, where there is one."""
    unknown = next((step for step in run.steps if step.phase is StepPhase.UNKNOWN), None)
    failed = [step for step in run.steps if step.phase is StepPhase.FAILED]
    left = any(step.phase is StepPhase.PENDING for step in run.steps)
    if unknown is not None:
        return replace(run, status=RunStatus.UNKNOWN, reason=unknown.reason)
    if why and course.flow.take_back:
        inverse = [course.inverse[step.key] for step in reversed(run.steps) if step.phase.good and step.key in course.inverse]
        if inverse:
            return _settle_undo(replace(run, halted=why, undo=tuple(StepState(key=key) for key in inverse)), event)
    if failed:
        some = why or (
            failed[0].reason if len(run.steps) == 1 else f"{len(failed)} of {len(run.steps)} steps failed, the first: {failed[0].reason}"
        )
        return _end(run, RunStatus.FAILED, event, some)
    if left and run.stop_asked_by:
        return _end(run, RunStatus.STOPPED, event, f"stopped by {run.stop_asked_by}")
    if why:
        return _end(run, RunStatus.FAILED, event, why)
    if left:
        return run  # paused
    if course.flow.after and not run.verified:
        return replace(run, check="after")
    warned = any(step.phase is StepPhase.WARNED for step in run.steps)
    return _end(run, RunStatus.WARNED if warned else RunStatus.DONE, event, run.reason)


def _settle_undo(run: Run, event: RunEvent) -> Run:
    """Taking back goes one by one, last first, and ends at the first that does not work."""
    run = replace(run, status=RunStatus.RUNNING)
    current = next((step for step in run.undo if not step.phase.good), None)
    good = sum(step.phase.good for step in run.undo)
    said = f"{run.halted.rstrip('.')}. {good} of {len(run.undo)} steps were taken back"
    if current is None:
        return _end(run, RunStatus.FAILED, event, said)
    if current.phase is StepPhase.UNKNOWN:
        return replace(run, status=RunStatus.UNKNOWN, reason=current.reason)
    if current.phase is StepPhase.FAILED or (run.stop_asked_by and not current.phase.working):
        why = current.reason if current.phase is StepPhase.FAILED else f"stopped by {run.stop_asked_by}"
        return _end(run, RunStatus.FAILED, event, f"{said}, then: {why}")
    picked = current.phase is StepPhase.PENDING and not run.paused_by
    return replace(run, undo=tuple(replace(step, picked=picked) if step.key == current.key else step for step in run.undo))


def _unpicked(step: StepState) -> StepState:
    return replace(step, picked=False) if step.picked else step


def _end(run: Run, status: RunStatus, event: RunEvent, reason: str) -> Run:
    def left(steps: tuple[StepState, ...]) -> tuple[StepState, ...]:
        return tuple(
            replace(step, phase=StepPhase.SKIPPED, picked=False) if step.phase is StepPhase.PENDING else _unpicked(step) for step in steps
        )

    return replace(run, status=status, steps=left(run.steps), undo=left(run.undo), reason=reason, ended=event.at, check="", paused_by="")


def _step(run: Run, key: str) -> StepState:
    found = next((step for step in run.steps + run.undo if step.key == key), None)
    if found is None:
        raise ValueError(f"the run has no step {key!r}")
    if found.phase is StepPhase.PENDING and not found.picked:
        raise ValueError(f"step {key} is not the one being worked on")
    return found


def _from(*phases: StepPhase) -> frozenset[StepPhase]:
    return frozenset(phases)


def _expect(step: StepState, event: RunEvent, allowed: frozenset[StepPhase]) -> None:
    if step.phase not in allowed:
        raise ValueError(f"{event.kind} cannot happen to a step that is {step.phase}")


def _checked(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.PENDING, StepPhase.CHECKING))
    return replace(step, phase=StepPhase.CHECKING, picked=False)


def _barred(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.PENDING, StepPhase.CHECKING))
    return replace(step, phase=StepPhase.FAILED, picked=False, reason=event.text, ended=event.at)


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


def _child_found(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.READING))
    return replace(step, child_upid=event.upid)


def _observed(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.READING))
    phase = StepPhase.WARNED if event.warned or step.exit_text.startswith("WARNINGS") else StepPhase.DONE
    return replace(step, phase=phase, reason=event.text, ended=event.at, read=event.lines, retry_look=False)


def _not_observed(step: StepState, event: RunEvent) -> StepState:
    _expect(step, event, _from(StepPhase.READING))
    return replace(step, phase=StepPhase.FAILED, reason=event.text, ended=event.at, log_tail=event.lines or step.log_tail)


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
    "child_found": _child_found,
    "observed": _observed,
    "not_observed": _not_observed,
    "unreadable": _unreadable,
    "look": _look,
    "happened": _happened,
    "not_happened": _not_happened,
    "closed": _closed,
}
