"""Carries out what the machine commands: the only place that lets a call leave."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pveops.base.clock import Clock
from pveops.base.errors import ApiError, AuditError, Denied, GuardError, NoAnswer, PveopsError, Stale, Unreachable
from pveops.guard.audit import Ledger
from pveops.guard.crashpoints import crash_point
from pveops.guard.events import EventKind, RunEvent
from pveops.guard.follow import Follower
from pveops.guard.gate import Gate
from pveops.guard.grants import Mint
from pveops.guard.live import LiveLog
from pveops.guard.machine import Command, decide, fresh, replay, resume
from pveops.guard.options import Options
from pveops.guard.ports import Cluster, Dispatcher, Journal
from pveops.model.plan import Step
from pveops.model.proposal import Proposal
from pveops.model.run import Run, RunStatus, StepState
from pveops.observe.context import correlated

_LOG = logging.getLogger("pveops.executor")
_NODE = re.compile(r"^/nodes/(?P<node>[A-Za-z0-9-]+)(?:/|$)")
_IN_LEDGER: frozenset[EventKind] = frozenset(
    {"barred", "answered", "refused", "no_answer", "adopted", "not_found", "task_ended", "task_lost", "observed", "not_observed", "unreadable",
     "stop_asked", "happened", "not_happened", "closed"}
)  # fmt: skip


@dataclass(slots=True)
class Work:
    """A run in our hands."""

    run: Run
    proposal: Proposal
    cluster: Cluster
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while an event is added: a person's word and the runner's may come at once."""

    def step(self, key: str) -> tuple[Step, StepState]:
        """A step as planned and as it stands."""
        planned = next(step for step in self.proposal.plan.steps if step.key == key)
        return planned, next(state for state in self.run.steps if state.key == key)


class Runner:
    """Advances runs. Every event is on disk before the next command is carried out."""

    def __init__(
        self, *, journal: Journal, ledger: Ledger, gate: Gate, clusters: Mapping[str, Cluster], mint: Mint, dispatcher: Dispatcher, options: Options, clock: Clock,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._ledger = ledger
        self._gate = gate
        self._clusters = clusters
        self._mint = mint
        self._dispatcher = dispatcher
        self._options = options
        self._clock = clock
        self._works: dict[str, Work] = {}
        self._again: set[str] = set()
        self._looks: dict[str, int] = {}
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.live = LiveLog()
        self._follower = Follower(
            clock=clock, live=self.live, stopping=self.stopping, task_timeout_s=options.task_timeout_s, lost_after_s=options.lost_after_s
        )

    def load(self, run_id: str, proposal: Proposal) -> Run:
        """A run as its journal tells."""
        return replay(fresh(run_id, proposal.id, (step.key for step in proposal.plan.steps)), self._journal.history(run_id))

    def advance(self, run_id: str) -> None:
        """Carry a run as far as it goes: to its end, to a question for a person, or to our own shutdown."""
        with self._lock:
            if run_id in self._works:
                self._again.add(run_id)  # something was noted meanwhile: look once more when this round ends
                return
            if run_id not in [open_id for open_id, _ in self._journal.open_runs()]:
                return  # it has ended meanwhile
            work = self._works[run_id] = self._open(run_id)
        try:
            with correlated(work.proposal.correlation):
                self._advance(work)
        finally:
            with self._lock:
                del self._works[run_id]
                again = run_id in self._again
                self._again.discard(run_id)
            if again and not self.stopping.is_set():
                self._dispatcher.submit(run_id)

    def note(self, run_id: str, event: RunEvent) -> None:
        """Add what a person did to a run, then let it advance.

        Raises:
            ValueError: it cannot happen to this run now.
            AuditError: the ledger cannot be written; nothing was noted.
        """
        with self._lock:
            work = self._works.get(run_id) or self._open(run_id)
        with work.lock:
            after, _ = decide(work.run, event)
            self._audit(work, event)
            self._journal.append(run_id, event)
            work.run = after
        self._tell(work.proposal, event)
        self._dispatcher.submit(run_id)

    def _open(self, run_id: str) -> Work:
        proposal_id = next((pid for rid, pid in self._journal.open_runs() if rid == run_id), None)
        if proposal_id is None:
            raise Stale(f"The run {run_id} has ended.", hint="Look at its record.")
        proposal = self._journal.proposal(proposal_id)
        return Work(self.load(run_id, proposal), proposal, self._clusters[proposal.plan.cluster])

    def _advance(self, work: Work) -> None:
        commands = resume(work.run)
        if work.run.status is RunStatus.UNKNOWN and commands:
            if not self._answers_again(work, commands[0].step):
                self._later(work)
                return
            commands = self._record(work, self._event("look", commands[0].step))
        while commands and not self.stopping.is_set():
            command = commands[0]
            if command.kind == "settle":
                self._settle(work)
                return
            if command.kind == "look_later":
                self._later(work)
                return
            event = self._do(command, work)
            if event is None:
                return
            commands = self._record(work, event)

    def _do(self, command: Command, work: Work) -> RunEvent | None:
        step, state = work.step(command.step)
        doers: dict[str, Callable[[Work, Step, StepState], RunEvent | None]] = {
            "check": self._check,
            "intend": self._intend,
            "send": self._send,
            "reconcile": lambda work, step, state: self._follower.reconcile(work.cluster, step, state, self._node(step)),
            "follow": lambda work, _step, state: self._follower.follow(work.cluster, work.run.id, state),
            "read_back": lambda work, step, state: self._follower.read_back(work.cluster, step, state),
        }
        return doers[command.kind](work, step, state)

    def _check(self, work: Work, step: Step, state: StepState) -> RunEvent:
        try:
            self._gate.step(work.proposal, self._journal.approval(work.run.id), work.cluster, step)
        except PveopsError as err:
            return self._event("barred", state.key, text=f"{err.message} Nothing was sent.")
        return self._event("checked", state.key)

    def _intend(self, work: Work, step: Step, state: StepState) -> RunEvent:
        try:
            node_s = work.cluster.reader.node_time_s(self._node(step))
            data = {
                "step": state.key,
                "text": step.text,
                "call": step.call.text,
                "run": work.run.id,
                "plan": work.proposal.digest,
                "node_time_s": node_s,
            }
            self._ledger.append(
                "step.intended", actor=work.run.approved_by, correlation=work.proposal.correlation, proposal=work.proposal.id, data=data
            )
        except PveopsError as err:
            return self._event("barred", state.key, text=f"{err.message} Nothing was sent.")
        crash_point("after_intent_record")
        return replace(self._event("intended", state.key), node_s=node_s)

    def _send(self, work: Work, step: Step, state: StepState) -> RunEvent:
        crash_point("before_send")
        try:
            self._gate.sending(work.proposal.plan.cluster)
            sent = work.cluster.writer.send(step.call, self._mint.grant(work.run.id, state.key, step.call))
        except (GuardError, Unreachable) as err:
            return self._event("refused", state.key, text=f"{err.message} Nothing was sent.")
        except ApiError as err:
            return self._event("refused", state.key, text=str(err.details.get("reason") or err.message))
        except PveopsError as err:
            if not isinstance(err, NoAnswer):
                _LOG.warning("unreadable answer to a change", extra={"run": work.run.id, "error": err.message})
            return self._event("no_answer", state.key, text=err.message)
        crash_point("after_send")
        return replace(self._event("answered", state.key), upid=str(sent.upid or ""))

    def _record(self, work: Work, event: RunEvent) -> tuple[Command, ...]:
        with work.lock:
            try:
                work.run, commands = decide(work.run, event)
            except ValueError:
                return resume(work.run)  # a person's word came first: go on from there
            self._journal.append(work.run.id, event)
        try:
            self._audit(work, event)
        except AuditError as err:
            # the effect is in the journal; the next intent will find the ledger unusable and stop the run
            _LOG.critical("outcome is not in the ledger", extra={"run": work.run.id, "event": event.kind, "error": err.message})
        self._tell(work.proposal, event)
        if event.kind in ("observed", "not_observed", "checked"):
            self.live.clear(work.run.id)
        return commands

    def _audit(self, work: Work, event: RunEvent) -> None:
        if event.kind not in _IN_LEDGER:
            return
        data = {"run": work.run.id, "step": event.step, "text": event.text, "upid": event.upid}
        self._ledger.append(
            f"step.{event.kind}" if event.step else f"run.{event.kind}",
            actor=event.actor or "executor",
            correlation=work.proposal.correlation,
            proposal=work.proposal.id,
            data={key: value for key, value in data.items() if value},
        )

    def _tell(self, proposal: Proposal, event: RunEvent) -> None:
        self._journal.save_proposal(proposal)
        self._journal.announce(f"step.{event.kind}", proposal_id=proposal.id, actor=event.actor or "executor", text=event.text)

    def _settle(self, work: Work) -> None:
        run = work.run
        try:
            data = {"run": run.id, "status": run.status.value, "reason": run.reason}
            self._ledger.append("run.ended", actor="executor", correlation=work.proposal.correlation, proposal=work.proposal.id, data=data)
        except AuditError as err:
            _LOG.critical("the end of a run is not in the ledger", extra={"run": run.id, "error": err.message})
        self._journal.close_run(run.id)
        self._journal.save_proposal(work.proposal)
        self._journal.announce("run.ended", proposal_id=work.proposal.id, actor="executor", text=run.status.value)
        self.live.clear(run.id)

    def _later(self, work: Work) -> None:
        looks = self._looks[work.run.id] = self._looks.get(work.run.id, 0) + 1
        self._dispatcher.submit(work.run.id, after_s=min(self._options.look_again_s * 2 ** min(looks - 1, 5), 600.0))

    def _answers_again(self, work: Work, key: str) -> bool:
        """Whether the node of a step can be asked again; asked first, so that looking in vain does not fill the journal."""
        step, _ = work.step(key)
        try:
            work.cluster.reader.node_time_s(self._node(step))
        except PveopsError:
            return False
        return True

    @staticmethod
    def _node(step: Step) -> str:
        match = _NODE.match(step.call.path)
        if match is None:
            raise Denied(f"{step.call.path} names no node.")
        return match["node"]

    def _event(self, kind: EventKind, step: str = "", *, text: str = "") -> RunEvent:
        return RunEvent(kind=kind, at=self._clock.now(), step=step, text=text)
