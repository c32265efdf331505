"""Carries a plan out on a stage, with the executor's own rules: the same machine, the same way to follow a task and to read back.

There is no approval, policy, ledger or switch here, because nothing here can reach a real cluster: the stage is the only thing it talks to.
Steps that go on at once have a thread each; time moves when all of them wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pveops.base.errors import ApiError, PveopsError
from pveops.guard.course import Course
from pveops.guard.events import EventKind, RunEvent
from pveops.guard.follow import Follower
from pveops.guard.live import LiveLog
from pveops.guard.machine import Command, decide, fresh
from pveops.model.facts import mismatches
from pveops.model.plan import Plan, Step
from pveops.model.run import Run, StepState
from pveops.twin.ports import Stage
from pveops.twin.together import SharedTime

_RUN = "rehearsal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to give up, in simulated seconds: on one task, and on a task that cannot be asked about."""

    task_s: float = 86_400.0
    lost_after_s: float = 120.0


def drive(plan: Plan, stage: Stage, *, request_s: float = 0.0, limits: Limits = Limits()) -> Run:
    """Carry the plan out to its end, or to the point where nobody could go on by themselves.

    Args:
        plan: what to do.
        stage: where.
        request_s: how long one request to the live cluster takes; the stage's own answers take no time.
        limits: when to give up.

    Raises:
        TransportError: the stage does not answer.
    """
    return _Driver(plan, stage, request_s, limits).drive()


class _Driver:
    """One run. ``_lock`` guards the run and the threads; nobody holds it while asking the stage."""

    def __init__(self, plan: Plan, stage: Stage, request_s: float, limits: Limits) -> None:
        self._plan = plan
        self._stage = stage
        self._request_s = request_s
        self._course = Course.of(plan)
        self._planned = {step.key: step for step in (*plan.steps, *plan.taken_back)}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._fault: PveopsError | None = None
        self._stopping = threading.Event()
        self._time = SharedTime(stage.clock)
        self._run = fresh(_RUN, _RUN, (step.key for step in plan.steps))
        self._follower = Follower(
            clock=self._time, live=LiveLog(), stopping=self._stopping, task_timeout_s=limits.task_s, lost_after_s=limits.lost_after_s
        )

    def drive(self) -> Run:
        self._begin(self._tell((RunEvent(kind="opened", at=self._now(), actor=_RUN),)))
        while True:
            with self._lock:
                thread = self._threads.pop() if self._threads else None
            if thread is None:
                break
            thread.join()
        if self._fault is not None:
            raise self._fault
        return self._run

    def _begin(self, commands: Iterable[Command]) -> None:
        """A thread for each command. Everybody is counted in before anybody begins, so that time does not run ahead."""
        chosen = [command for command in commands if command.kind not in ("settle", "look_later")]
        threads = [threading.Thread(target=self._carry, args=(command,), name="rehearsal", daemon=True) for command in chosen]
        self._time.join(len(threads))
        with self._lock:
            self._threads.extend(threads)
        for thread in threads:
            thread.start()

    def _carry(self, first: Command) -> None:
        """Carry out a command and what follows for the same step."""
        command: Command | None = first
        try:
            while command is not None and not self._stopping.is_set():
                asked = self._stage.asked
                events = self._do(command)
                if not events:
                    return
                self._time.sleep_s((self._stage.asked - asked) * self._request_s / self._time.members)
                found = self._tell(events)
                mine = next((other for other in found if other.step == first.step and other.kind not in ("settle", "look_later")), None)
                self._begin(other for other in found if other is not mine)
                command = mine
        except PveopsError as err:
            self._fault = err
            self._stopping.set()
        finally:
            self._time.leave()

    def _tell(self, events: tuple[RunEvent, ...]) -> tuple[Command, ...]:
        """Let events happen; of the step they are about only the last command counts."""
        found: list[Command] = []
        with self._lock:
            for event in events:
                self._run, commands = decide(self._run, replace(event, at=self._now()), self._course)
                found = [command for command in found if command.step != event.step]
                found += [command for command in commands if command not in found]
        return tuple(found)

    def _do(self, command: Command) -> tuple[RunEvent, ...]:
        """The events that came of it; none when we are stopping."""
        if command.kind in ("gate", "verify"):
            return self._hold(command.kind)
        step = self._planned[command.step]
        with self._lock:
            state = next(state for state in self._run.steps + self._run.undo if state.key == command.step)
        if command.kind == "check":
            return self._check(step)
        if command.kind == "send":
            return (self._send(step),)
        found = self._watch(command, step, state)
        return () if found is None else (found,)

    def _watch(self, command: Command, step: Step, state: StepState) -> RunEvent | None:
        cluster = self._stage.cluster
        if command.kind == "follow":
            return self._follower.follow(cluster, _RUN, state)
        if command.kind == "read_back":
            return self._follower.read_back(cluster, _RUN, step, state)
        return self._event("not_found", step.key, text="the simulated copy gave no answer")

    def _check(self, step: Step) -> tuple[RunEvent, ...]:
        undone = next((other for other in self._plan.steps if other.undo is not None and other.undo.key == step.key), None)
        assumed = step.assumes if undone is None else tuple(fact for fact in undone.expects if fact.op != "restarted")
        facts = self._stage.cluster.reader.facts(dict.fromkeys((step.subject, *(fact.subject for fact in assumed), "cluster")))
        if facts.values.get("cluster.quorate") is not True:
            return (self._event("barred", step.key, text="The cluster has no quorum."),)
        misses = mismatches(assumed, facts)
        if misses:
            return (self._event("barred", step.key, text=f"The state would not be as planned: {'; '.join(miss.text for miss in misses)}."),)
        node_s = self._stage.cluster.reader.node_time_s(step.node) if step.node else 0
        return self._event("checked", step.key), replace(self._event("intended", step.key), node_s=node_s)

    def _send(self, step: Step) -> RunEvent:
        try:
            upid = self._stage.send(step.call)
        except ApiError as err:
            return self._event("refused", step.key, text=str(err.details.get("reason") or err.message))
        return replace(self._event("answered", step.key), upid=str(upid or ""))

    def _hold(self, what: str) -> tuple[RunEvent, ...]:
        """Whether what must hold for the run as a whole holds: at once before a wave, after a while at the end."""
        flow = self._course.flow
        within_s = 0 if what == "gate" else max((step.settle_s for step in self._plan.steps), default=0)
        found = self._follower.holds(self._stage.cluster, flow.before if what == "gate" else flow.after, within_s=within_s)
        if found is None:
            return ()
        if not found:
            return (self._event("gate_open" if what == "gate" else "verified"),)
        said = f"Before the next wave, {found}." if what == "gate" else f"All steps are done, but {found}."
        return (self._event("gate_shut" if what == "gate" else "not_verified", text=said),)

    def _now(self) -> datetime:
        return self._time.now()

    def _event(self, kind: EventKind, step: str = "", *, text: str = "") -> RunEvent:
        return RunEvent(kind=kind, at=self._now(), step=step, text=text)
