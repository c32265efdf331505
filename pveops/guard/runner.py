"""Advances runs: asks the machine, has its commands carried out, and writes down what came of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from pveops.base.clock import Clock
from pveops.base.errors import AuditError, PveopsError, Stale
from pveops.guard.audit import Ledger
from pveops.guard.carry import Carrier
from pveops.guard.course import Course
from pveops.guard.crashpoints import crash_point
from pveops.guard.events import EventKind, RunEvent
from pveops.guard.follow import Follower
from pveops.guard.gate import Gate
from pveops.guard.grants import Mint
from pveops.guard.live import LiveLog
from pveops.guard.machine import Command, decide, fresh, replay, resume
from pveops.guard.options import Options
from pveops.guard.ports import Cluster, Dispatcher, Journal, Peers
from pveops.guard.work import Crew, Work
from pveops.model.messages import Said
from pveops.model.plan import MOST_AT_ONCE
from pveops.model.proposal import Proposal
from pveops.model.run import Run, RunStatus
from pveops.observe.context import correlated

_LOG = logging.getLogger("pveops.executor")
_IN_LEDGER: frozenset[EventKind] = frozenset(
    {"barred", "answered", "refused", "no_answer", "adopted", "not_found", "child_found", "task_ended", "task_lost", "observed", "not_observed",
     "unreadable", "stop_asked", "pause_asked", "resumed", "deadline", "gate_shut", "verified", "not_verified", "happened", "not_happened", "closed"}
)  # fmt: skip
_KEPT_RUNS = 200
_TRIES = 8


class Runner:
    """Advances runs. Every event is on disk before a command that came of it is carried out."""

    def __init__(
        self, *, journal: Journal, ledger: Ledger, gate: Gate, clusters: Mapping[str, Cluster], mint: Mint, dispatcher: Dispatcher, options: Options, clock: Clock,
        peers: Peers,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._ledger = ledger
        self._clusters = clusters
        self._dispatcher = dispatcher
        self._options = options
        self._clock = clock
        self._peers = peers
        self._works: dict[str, Work] = {}
        self._again: set[str] = set()
        self._looks: dict[str, int] = {}
        self._read: dict[str, tuple[Run, int]] = {}
        """Runs as last read, with the number of their events: a look at a long run reads only what is new."""
        self._lock = threading.Lock()
        self._helpers: ThreadPoolExecutor | None = None
        self.stopping = threading.Event()
        self.live = LiveLog()
        follower = Follower(
            clock=clock, live=self.live, stopping=self.stopping, task_timeout_s=options.task_timeout_s, lost_after_s=options.lost_after_s
        )
        self._carrier = Carrier(
            journal=journal, ledger=ledger, gate=gate, mint=mint, follower=follower, options=options, clock=clock, worker=peers.worker, alone=peers.alone,
        )  # fmt: skip

    def load(self, run_id: str, proposal: Proposal) -> Run:
        """A run as its journal tells."""
        return self._load(run_id, proposal)[0]

    def _load(self, run_id: str, proposal: Proposal) -> tuple[Run, int]:
        with self._lock:
            run, seen = self._read.get(run_id) or (fresh(run_id, proposal.id, (step.key for step in proposal.plan.steps)), 0)
        later = self._journal.history(run_id, after=seen)
        if later:
            run, seen = replay(run, later, Course.of(proposal.plan)), seen + len(later)
            with self._lock:
                if self._read.get(run_id, (run, 0))[1] <= seen:
                    self._read.pop(run_id, None)
                    self._read[run_id] = (run, seen)
                while len(self._read) > _KEPT_RUNS:
                    del self._read[next(iter(self._read))]
        return run, seen

    def advance(self, run_id: str) -> None:
        """Carry a run as far as it goes: to its end, to a question for a person, or to our own shutdown."""
        with self._lock:
            if run_id in self._works:
                self._again.add(run_id)  # something was noted meanwhile: look once more when this round ends
                return
        if self.stopping.is_set() or not self._ours(run_id):
            return  # it has ended, or another worker carries it
        work = self._open(run_id)
        with self._lock:
            if self._works.setdefault(run_id, work) is not work:
                return
        try:
            with correlated(work.proposal.correlation):
                self._advance(work)
        finally:
            with self._lock:
                del self._works[run_id]
                again = run_id in self._again
                self._again.discard(run_id)
            if not self._peers.alone:
                self._journal.release(run_id, self._peers.worker)
            # another process may have noted something in the moment before the lease was given back
            again = again or (
                not self._peers.alone and work.run.status is not RunStatus.UNKNOWN and bool(self._journal.history(run_id, after=work.seen))
            )
            if again and not self.stopping.is_set():
                self._dispatcher.submit(run_id)

    def note(self, run_id: str, event: RunEvent) -> None:
        """Add what a person did to a run, then let it advance.

        Raises:
            ValueError: it cannot happen to this run now.
            AuditError: the ledger cannot be written; nothing was noted.
        """
        with self._lock:
            work = self._works.get(run_id)
        work = work or self._open(run_id)
        with work.lock:
            decide(work.run, event, work.course)
            self._audit(work, event)
            work.todo.extend(self._write(work, (event,), worker=""))
            work.moved.notify_all()
        self._dispatcher.submit(run_id)

    def _ours(self, run_id: str) -> bool:
        """Take a run, where others could; a process that is alone needs no lease."""
        if self._peers.alone:
            return self._journal.is_open(run_id)
        return self._journal.claim(run_id, self._peers.worker, dead=self._peers.dead())

    def close(self) -> None:
        """End the helping threads; nothing is under way any more."""
        if self._helpers is not None:
            self._helpers.shutdown(wait=True)

    def _open(self, run_id: str) -> Work:
        proposal_id = next((pid for rid, pid in self._journal.open_runs() if rid == run_id), None)
        if proposal_id is None:
            raise Stale(f"The run {run_id} has ended.", hint="Look at its record.")
        proposal = self._journal.proposal(proposal_id)
        run, seen = self._load(run_id, proposal)
        return Work(run, proposal, self._clusters[proposal.plan.cluster], seen)

    def _advance(self, work: Work) -> None:
        commands = resume(work.run)
        if not commands and self._too_late(work):
            text = f"no step begins later than {work.course.flow.deadline_s} s after the approval"
            commands = self._record(work, (self._event("deadline", text=text),))
        if work.run.status is RunStatus.UNKNOWN and commands:
            answering = [command.step for command in commands if self._answers_again(work, command.step)]
            if not answering:
                self._later(work)
                return
            for step in answering:
                self._record(work, (self._event("look", step),))
            commands = resume(work.run)
        Crew(work, lambda command: self._do(work, command), self._pool).carry(commands)

    def _do(self, work: Work, command: Command) -> Iterable[Command] | None:
        """Carry out a command; returns what is to be done next, or None to begin nothing more here."""
        if self.stopping.is_set() and command.kind != "send":
            return None
        if command.kind == "settle":
            self._settle(work)
            return None
        if command.kind == "look_later":
            self._later(work)
            return ()
        with correlated(work.proposal.correlation):
            events = self._carrier.do(command, work)
            return None if events is None else self._record(work, events)

    def _record(self, work: Work, events: tuple[RunEvent, ...]) -> tuple[Command, ...]:
        try:
            commands = self._write(work, events, worker="" if self._peers.alone else self._peers.worker)
        except ValueError:
            # a person's word came first, or another process wrote: what was begun is not gone on with here
            if events[-1].kind == "intended":
                self._audit(work, self._event("barred", events[-1].step, text="It was stopped in that moment. Nothing was sent."))
            with work.lock:
                return tuple(command for command in resume(work.run) if command.step not in work.busy)
        for event in events:
            try:
                self._audit(work, event)
            except AuditError as err:
                # the effect is in the journal; the next intent will find the ledger unusable and stop the run
                _LOG.critical("outcome is not in the ledger", extra={"run": work.run.id, "event": event.kind, "error": err.message})
        if events[-1].kind in ("observed", "not_observed"):
            self.live.clear(work.run.id, events[-1].step)
        return commands

    def _write(self, work: Work, events: tuple[RunEvent, ...], *, worker: str) -> tuple[Command, ...]:
        """Let events happen and write them to disk, after those of others that we did not know.

        Raises:
            ValueError: they cannot happen to the run as it is.
            Used: the run is another worker's now.
        """
        mine = events[0].step
        found: list[Command] = []
        with work.lock:
            for _ in range(_TRIES):
                run, commands = _all(work.run, events, work.course)
                said = tuple(Said(f"step.{event.kind}", event.actor or "executor", event.text) for event in events)
                missed = self._journal.record(work.run.id, work.proposal.id, events, seen=work.seen, worker=worker, said=said)
                if not missed:
                    crash_point(f"wrote_{events[-1].kind}")
                    work.run, work.seen = run, work.seen + len(events)
                    if events[-1].kind == "intended":
                        work.intended_s[mine] = self._clock.monotonic_s()
                    with self._lock:
                        self._read[work.run.id] = (run, work.seen)
                    return (*found, *commands)
                work.run, more = _all(work.run, tuple(missed), work.course)
                work.seen += len(missed)
                found += [command for command in more if command.step != mine]
        raise Stale(f"The journal of {work.run.id} grows faster than it can be read.", hint="Is another executor writing to it?")

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

    def _settle(self, work: Work) -> None:
        run = work.run
        try:
            data = {"run": run.id, "status": run.status.value, "reason": run.reason}
            self._ledger.append("run.ended", actor="executor", correlation=work.proposal.correlation, proposal=work.proposal.id, data=data)
        except AuditError as err:
            _LOG.critical("the end of a run is not in the ledger", extra={"run": run.id, "error": err.message})
        self._journal.close_run(run.id, work.proposal.id, Said("run.ended", "executor", run.status.value))
        self.live.clear(run.id)
        self._looks.pop(run.id, None)

    def _later(self, work: Work) -> None:
        looks = self._looks[work.run.id] = self._looks.get(work.run.id, 0) + 1
        self._dispatcher.submit(work.run.id, after_s=min(self._options.look_again_s * 2 ** min(looks - 1, 5), 600.0))

    def _answers_again(self, work: Work, key: str) -> bool:
        """Whether the node of a step can be asked again; asked first, so that looking in vain does not fill the journal."""
        step, _ = work.step(key)
        try:
            work.cluster.reader.node_time_s(step.node)
        except PveopsError:
            return False
        return True

    def _too_late(self, work: Work) -> bool:
        limit_s, started = work.course.flow.deadline_s, work.run.started
        return bool(limit_s and started and (self._clock.now() - started).total_seconds() >= limit_s)

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._helpers is None:
                self._helpers = ThreadPoolExecutor(max_workers=2 * MOST_AT_ONCE, thread_name_prefix="step")
            return self._helpers

    def _event(self, kind: EventKind, step: str = "", *, text: str = "") -> RunEvent:
        return RunEvent(kind=kind, at=self._clock.now(), step=step, text=text)


def _all(run: Run, events: tuple[RunEvent, ...], course: Course) -> tuple[Run, tuple[Command, ...]]:
    """Several events in a row; of the step they are about, only the last command counts."""
    found: list[Command] = []
    for event in events:
        run, commands = decide(run, event, course)
        found = [command for command in found if command.step != event.step]
        found += [command for command in commands if command not in found]
    return run, tuple(found)
