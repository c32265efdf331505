"""From "it was sent" to "it is so": find the task, follow it, read the effect back."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from pveops.base.clock import Clock
from pveops.base.errors import PveopsError
from pveops.base.retry import backoff_s
from pveops.base.units import fmt_duration
from pveops.guard.events import EventKind, RunEvent
from pveops.guard.live import LiveLog
from pveops.guard.ports import Cluster
from pveops.model.facts import mismatches
from pveops.model.plan import Fact, Step
from pveops.model.run import StepState
from pveops.model.tasks import Task, Upid

_NODE_SLACK_S = 1
"""Task start times are whole seconds."""
_LOG_EVERY_S = 1.0
"""The log of a running task is for the eye."""
_ORDERS = ("hamigrate", "harelocate", "hastart", "hastop")
"""Tasks that only file an order with the HA manager and end at once."""


class Follower:
    """Reads only. Each method returns the event that happened, or None when we are shutting down."""

    def __init__(self, *, clock: Clock, live: LiveLog, stopping: threading.Event, task_timeout_s: float, lost_after_s: float) -> None:
        self._clock = clock
        self._live = live
        self._stopping = stopping
        self._task_timeout_s = task_timeout_s
        self._lost_after_s = lost_after_s

    def reconcile(self, cluster: Cluster, step: Step, state: StepState) -> RunEvent | None:
        """No answer is known: wait until none can come, then adopt the one task that fits, or say that nobody knows."""
        node = step.node
        if not self._wait_out(state, cluster.writer.timeout_s):
            return None
        if not step.task_types:
            return self._reconcile_synchronous(cluster, step, state)
        looked = (f"task list of {node}, {step.task_types[0]} of {step.subject.partition('/')[2]} by {cluster.writer.token_id}",)
        try:
            rows = cluster.reader.node_tasks(node, since_s=(state.intent_node_s or 0) - _NODE_SLACK_S)
        except PveopsError as err:
            text = f"{node} took the request, or not: it never answered, and its task list cannot be read. We did not send it again."
            return self._event("not_found", state.key, text=text, lines=(*looked, err.message), retry=True)
        fits = [row for row in rows if _fits(row, step, state, cluster.writer.token_id)]
        if len(fits) == 1:
            return replace(
                self._event("adopted", state.key, text="no answer came; exactly one task fits", lines=looked), upid=str(fits[0].upid)
            )
        if fits:
            text = f"{len(fits)} tasks on {node} could be ours, so none is taken for it. We did not send it again."
            return self._event("not_found", state.key, text=text, lines=(*looked, *(str(row.upid) for row in fits[:5])))
        text = f"{node} never answered and lists no task for it. We did not send it again."
        return self._event("not_found", state.key, text=text, lines=looked)

    def follow(self, cluster: Cluster, run_id: str, state: StepState) -> RunEvent | None:
        """Follow the task until it ends, or until it can no longer be asked about."""
        upid = Upid.parse(state.upid)
        started = heard = self._clock.monotonic_s()
        waits = backoff_s(first_s=0.1, factor=1.2, most_s=2.0)  # a fifth late at most, however short the task
        seen, read = 0, started - _LOG_EVERY_S
        while not self._stopping.is_set():
            try:
                outcome = cluster.reader.task_outcome(upid)
                heard = self._clock.monotonic_s()
                lines: tuple[str, ...] = ()
                if outcome.kind != "running" or heard - read >= _LOG_EVERY_S:
                    lines, read = cluster.reader.task_log(upid, start=seen)[0], heard
            except PveopsError as err:
                if not err.temporary or self._clock.monotonic_s() - heard > self._lost_after_s:
                    text = f"{upid.node} no longer tells about the task: {err.message}"
                    return self._event("task_lost", state.key, text=text, lines=(f"task {upid}",), retry=err.temporary)
            else:
                seen += len(lines)
                self._live.add(run_id, state.key, lines)
                if outcome.kind != "running":
                    ended = self._event("task_ended", state.key, text=outcome.text, lines=self._live.tail(run_id, state.key))
                    return replace(
                        ended, upid=state.upid, ok=outcome.ok, warned=outcome.kind == "warnings", unsure=outcome.kind == "unknown"
                    )
            if self._clock.monotonic_s() - started > self._task_timeout_s:
                text = f"the task still runs after {fmt_duration(self._task_timeout_s)}; it is not interrupted"
                return self._event("task_lost", state.key, text=text, lines=(f"task {upid}",), retry=True)
            self._clock.wait_s(self._stopping, next(waits))
        return None

    def read_back(self, cluster: Cluster, run_id: str, step: Step, state: StepState) -> RunEvent | None:
        """Read what the step was to bring about, until it is so or the time for it is over.

        A request about a guest under HA only files an order: the task that carries it out is looked for and followed, however long it
        takes. Its end counts, not that of the order.
        """
        order = bool(state.upid) and Upid.parse(state.upid).type in _ORDERS
        if order and not state.child_upid:
            found = self._find_child(cluster, step, state)
            if found is not None:
                return found
        child = self._follow_child(cluster, run_id, state) if order and state.child_upid else None
        if self._stopping.is_set():
            return None
        if child is not None and child.kind != "task_ended":
            return replace(child, kind="unreadable")
        if child is not None and not child.ok and Upid.parse(state.upid).type != "hastart":  # a start that failed is tried again by HA
            return self._event("not_observed", state.key, text=f"the order was taken, but its task failed: {child.text}", lines=child.lines)
        read = self._read_until(cluster, step, state)
        return read if read is None or child is None else replace(read, warned=child.warned, lines=read.lines or child.lines)

    def holds(self, cluster: Cluster, facts: tuple[Fact, ...], *, within_s: float) -> str | None:
        """Empty where these facts hold within so many seconds, else what was found instead; None when we are shutting down."""
        said, _, _ = self._until(cluster, facts, within_s=within_s, intent_node_s=None)
        return said

    def _read_until(self, cluster: Cluster, step: Step, state: StepState) -> RunEvent | None:
        said, trouble, seen = self._until(cluster, step.expects, within_s=step.settle_s, intent_node_s=state.intent_node_s)
        if said is None:
            return None
        if not said:
            return self._event("observed", state.key, lines=seen)
        if trouble:
            subjects = tuple(dict.fromkeys(fact.subject for fact in step.expects))
            text = f"the task ended well, but its effect could not be read back: {said}"
            return self._event("unreadable", state.key, text=text, lines=subjects, retry=True)
        return self._event("not_observed", state.key, text=f"the task ended well, but {fmt_duration(step.settle_s)} later {said}")

    def _until(
        self, cluster: Cluster, facts: tuple[Fact, ...], *, within_s: float, intent_node_s: int | None
    ) -> tuple[str | None, bool, tuple[str, ...]]:  # fmt: skip
        """What does not hold in the end (None when we are shutting down), whether that is for want of an answer, and what was read."""
        deadline = self._clock.monotonic_s() + within_s
        waits = backoff_s(first_s=0.1, factor=1.6, most_s=3.0)
        subjects = tuple(dict.fromkeys(fact.subject for fact in facts))
        while not self._stopping.is_set():
            seen: tuple[str, ...] = ()
            try:
                found = cluster.reader.facts(subjects) if subjects else None
                misses = mismatches(facts, found, intent_node_s=intent_node_s) if found is not None else ()
                trouble = "; ".join(miss.text for miss in misses if miss.unknown)
                seen = tuple(f"{fact.key} is {found.values[fact.key]}" for fact in facts if found is not None and fact.key in found.values)
            except PveopsError as err:
                misses, trouble = (), err.message
            if not misses and not trouble:
                return "", False, seen
            if self._clock.monotonic_s() >= deadline:
                return trouble or "; ".join(miss.text for miss in misses), bool(trouble), seen
            self._clock.wait_s(self._stopping, next(waits))
        return None, False, ()

    def _find_child(self, cluster: Cluster, step: Step, state: StepState) -> RunEvent | None:
        """The task that carries an order out, once it is there; None where the state shows that none is needed, or in vain."""
        deadline = self._clock.monotonic_s() + step.settle_s
        waits = backoff_s(first_s=0.2, factor=1.6, most_s=3.0)
        while not self._stopping.is_set():
            try:
                rows = [
                    row
                    for node in step.nodes
                    for row in cluster.reader.node_tasks(node, since_s=(state.intent_node_s or 0) - _NODE_SLACK_S)
                ]
                fits = [
                    row
                    for row in rows
                    if row.type in step.task_types and row.type not in _ORDERS and row.id == step.subject.partition("/")[2]
                ]
                if fits:
                    first = min(fits, key=lambda row: row.upid.starttime_s)
                    return replace(self._event("child_found", state.key, text="the order is carried out"), upid=str(first.upid))
                if not mismatches(step.expects, cluster.reader.facts(_subjects(step)), intent_node_s=state.intent_node_s):
                    return None
            except PveopsError:
                pass  # a node that is silent for a while is asked again; the reading that follows says what is wrong
            if self._clock.monotonic_s() >= deadline:
                return None
            self._clock.wait_s(self._stopping, next(waits))
        return None

    def _follow_child(self, cluster: Cluster, run_id: str, state: StepState) -> RunEvent | None:
        return self.follow(cluster, run_id, replace(state, upid=state.child_upid))

    def _wait_out(self, state: StepState, timeout_s: float) -> bool:
        """Wait until the request can no longer be answered; False when we are shutting down."""
        now = self._clock.now()
        left_s = ((state.started or now) + timedelta(seconds=timeout_s) - now).total_seconds()
        return left_s <= 0 or not self._clock.wait_s(self._stopping, min(left_s, timeout_s))

    def _reconcile_synchronous(self, cluster: Cluster, step: Step, state: StepState) -> RunEvent:
        """A call without a task: its effect is the only witness."""
        try:
            misses = mismatches(step.expects, cluster.reader.facts(_subjects(step)), intent_node_s=state.intent_node_s)
        except PveopsError as err:
            text = "no answer came, and the state cannot be read. We did not send it again."
            return self._event("not_found", state.key, text=text, lines=(err.message,), retry=True)
        if step.expects and not misses:
            return self._event("adopted", state.key, text="no answer came; the expected state is there")
        text = "no answer came, and the expected state is not there. We did not send it again."
        return self._event("not_found", state.key, text=text, lines=tuple(miss.text for miss in misses))

    def _event(self, kind: EventKind, step: str, *, text: str = "", lines: tuple[str, ...] = (), retry: bool = False) -> RunEvent:
        return RunEvent(kind=kind, at=self._clock.now(), step=step, text=text, lines=lines, retry=retry)


def _fits(row: Task, step: Step, state: StepState, token_id: str) -> bool:
    """Whether a task can only be this step's: our token, the type, the guest, and not before the intent by the node's own clock."""
    ours = f"{row.user}!{row.token}" == token_id if row.token else row.user == token_id
    return (
        ours
        and row.type in step.task_types
        and row.id == step.subject.partition("/")[2]
        and row.upid.starttime_s >= (state.intent_node_s or 0) - _NODE_SLACK_S
    )


def _subjects(step: Step) -> tuple[str, ...]:
    return tuple(dict.fromkeys(fact.subject for fact in step.expects))
