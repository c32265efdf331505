"""One command of a run, carried out: the only place that lets a call leave."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from pveops.base.clock import Clock
from pveops.base.errors import ApiError, GuardError, NoAnswer, PveopsError, Stale, Unreachable
from pveops.guard.audit import Ledger
from pveops.guard.crashpoints import crash_point
from pveops.guard.events import EventKind, RunEvent
from pveops.guard.follow import Follower
from pveops.guard.gate import Gate
from pveops.guard.grants import Mint
from pveops.guard.machine import Command
from pveops.guard.options import Options
from pveops.guard.ports import Journal
from pveops.guard.work import Work
from pveops.model.plan import Fact, Step
from pveops.model.run import StepState

_LOG = logging.getLogger("pveops.executor")
_CLOCK_S = 2.0
"""The check before read the node's clock a moment ago; the search for a lost answer allows for a second of slack, and this only moves it back."""


class Carrier:
    """Gives the events that came of a command; None when we are shutting down. Writes no journal."""

    def __init__(
        self, *, journal: Journal, ledger: Ledger, gate: Gate, mint: Mint, follower: Follower, options: Options, clock: Clock, worker: str, alone: bool,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._ledger = ledger
        self._gate = gate
        self._mint = mint
        self._follower = follower
        self._options = options
        self._clock = clock
        self._worker = worker
        self._alone = alone

    def do(self, command: Command, work: Work) -> tuple[RunEvent, ...] | None:
        """Carry out one command."""
        if command.kind in ("gate", "verify"):
            event = self._hold(work, command.kind)
            return None if event is None else (event,)
        step, state = work.step(command.step)
        if command.kind == "check":
            return self._check_and_intend(work, step, state)
        doers: dict[str, Callable[[], RunEvent | None]] = {
            "send": lambda: self._send(work, step, state),
            "reconcile": lambda: self._follower.reconcile(work.cluster, step, state),
            "follow": lambda: self._follower.follow(work.cluster, work.run.id, state),
            "read_back": lambda: self._follower.read_back(work.cluster, work.run.id, step, state),
        }
        found = doers[command.kind]()
        return None if found is None else (found,)

    def _check_and_intend(self, work: Work, step: Step, state: StepState) -> tuple[RunEvent, ...] | None:
        """Both events are written in one go: a step that was checked and not intended is checked anew after a restart."""
        try:
            inverse = next((other for other in work.proposal.plan.steps if other.undo is not None and other.undo.key == step.key), None)
            if inverse is not None:
                step = replace(step, assumes=tuple(fact for fact in inverse.expects if fact.op != "restarted"))
            self._gate.step(work.proposal, self._journal.approval(work.run.id), work.cluster, step)
            checked = self._event("checked", state.key)
            node_s = work.cluster.reader.node_time_s(step.node, at_most_old_s=_CLOCK_S)
            if not self._alone and not self._journal.holds(work.run.id, self._worker):
                return None
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
            return (self._event("barred", state.key, text=f"{err.message} Nothing was sent."),)
        crash_point("after_intent_record")
        return checked, replace(self._event("intended", state.key), node_s=node_s)

    def _send(self, work: Work, step: Step, state: StepState) -> RunEvent:
        crash_point("before_send")
        try:
            self._gate.sending(work.proposal.plan.cluster)
            waited_s = self._clock.monotonic_s() - work.intended_s.pop(state.key, self._clock.monotonic_s())
            if waited_s > self._options.hesitate_s:
                raise Stale(f"This process stood still for {waited_s:.0f} s between intent and request.")
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

    def _hold(self, work: Work, what: str) -> RunEvent | None:
        """Whether what must hold for the run as a whole holds: at once before a wave, after a while at the end."""
        flow = work.course.flow
        facts: tuple[Fact, ...] = flow.before if what == "gate" else flow.after
        longest_s = 0 if what == "gate" else max((step.settle_s for step in work.proposal.plan.steps), default=0)
        found = self._follower.holds(work.cluster, facts, within_s=longest_s)
        if found is None:
            return None
        good, bad = ("gate_open", "gate_shut") if what == "gate" else ("verified", "not_verified")
        if not found:
            return self._event(good)  # type: ignore[arg-type]
        said = f"Before the next wave, {found}. No further step was sent." if what == "gate" else f"All steps are done, but {found}"
        return self._event(bad, text=said)  # type: ignore[arg-type]

    def _event(self, kind: EventKind, step: str = "", *, text: str = "") -> RunEvent:
        return RunEvent(kind=kind, at=self._clock.now(), step=step, text=text)
