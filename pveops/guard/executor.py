"""The executor's decisions: who may put forward, decide, stop, resolve; what is told to whom. Holds no socket and no token."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from pveops.base.clock import Clock
from pveops.base.errors import AuditError, Denied, Forged, GuardError, InputError, PveopsError, Stale, Used
from pveops.base.ids import is_id, new_id
from pveops.base.redact import redact
from pveops.guard.accounts import Accounts
from pveops.guard.approval import check_approval, check_open
from pveops.guard.audit import Ledger
from pveops.guard.audit.query import Query
from pveops.guard.budget import RATE_S, Budget
from pveops.guard.crashpoints import crash_point
from pveops.guard.events import EventKind, RunEvent
from pveops.guard.gate import SOMEBODY, Gate, Looked
from pveops.guard.glass import Glass
from pveops.guard.killswitch import KillSwitch
from pveops.guard.options import Options
from pveops.guard.policy import PlanAction, Policy
from pveops.guard.ports import Cluster, Dispatcher, Journal
from pveops.guard.preview import preview
from pveops.guard.principals import Principal
from pveops.guard.rehearsed import check_rehearsal
from pveops.guard.rights import may
from pveops.guard.runner import Runner
from pveops.guard.standing import write_approved
from pveops.model.claims import check_rule
from pveops.model.codec import encode
from pveops.model.facts import fingerprint
from pveops.model.messages import ApproveRequest, KillState, ProposeRequest, ResolveRequest, Said
from pveops.model.plan import Plan
from pveops.model.proposal import Preview, Proposal, ProposalStatus, Tier, Verdict, Vote
from pveops.model.rehearsal import Rehearsal
from pveops.model.run import ProposalView, StepPhase
from pveops.model.standing import SignedRule

_MANY_STEPS = 1000
_LAPSE_SLACK_S = 0.05
_SENT = (StepPhase.INTENDED, StepPhase.RECONCILING, StepPhase.FOLLOWING, StepPhase.READING)
_UNASKED = Verdict(decision="deny", rule="not-asked", text="Policy was not asked yet.")


class Executor:
    """Everything that changes goes through here.

    Every refusal is written to the ledger before it is raised; if the ledger cannot be written, nothing else happens either.
    """

    def __init__(
        self, *, identity: str, journal: Journal, ledger: Ledger, kill: KillSwitch, policy: Policy, gate: Gate, budget: Budget, glass: Glass, accounts: Accounts, runner: Runner, dispatcher: Dispatcher,
        clusters: Mapping[str, Cluster], options: Options, clock: Clock,
    ) -> None:  # fmt: skip
        self.identity = identity
        self._journal = journal
        self._ledger = ledger
        self._kill = kill
        self._policy = policy
        self._gate = gate
        self._budget = budget
        self._glass = glass
        self._accounts = accounts
        self._runner = runner
        self._dispatcher = dispatcher
        self._clusters = clusters
        self._options = options
        self._clock = clock
        self._deciding = threading.Lock()

    # -- putting forward ------------------------------------------------------------------------------------------------

    def propose(self, who: Principal, request: ProposeRequest, channel: str) -> Proposal:
        """Put a plan forward. One that policy forbids or that fails its preview is stored as refused, with the reason.

        Raises:
            InputError: the plan is not one that can be looked at.
            AuditError: the ledger cannot be written.
            TransportError: the cluster does not answer.
        """
        plan = request.plan
        cluster = self._cluster(plan)
        looked = self._gate.look(plan, cluster, (who.person,))
        seen = preview(plan, cluster.reader, clock=self._clock, by="executor")
        now = self._clock.now()
        proposal = Proposal(
            id=self._fresh("p"), plan=plan, digest=plan.digest, fingerprint=fingerprint(plan.assumed), policy_hash=self._policy.hash, audience=self.identity,
            approval_id=new_id("a"), tier=looked.rating.tier, targets=looked.reach, verdict=_UNASKED, preview=seen, requester=who.name,
            author=request.author, origin=replace(request.origin, place=redact(request.origin.place)), correlation=request.correlation if is_id(request.correlation, "c") else new_id("c"),
            created=now, expires=now + timedelta(seconds=self._options.approval_ttl_s), simulated=cluster.reader.simulated(), person=who.person,
            tainted=who.kind == "agent" or request.author.startswith("model"),
        )  # fmt: skip
        how = self._gate.how(proposal, looked.rating.tier, who=who, channel=channel, reach=looked.reach, recent=looked.recent)
        verdict, needs = self._gate.propose(who, plan, looked, how)
        proposal = replace(proposal, verdict=verdict, needs=needs)
        reason = self._why_not(verdict, seen, plan)
        if reason:
            proposal = replace(
                proposal,
                status=ProposalStatus.REFUSED,
                reason=reason,
                decided_by="policy" if verdict.decision == "deny" else "preview",
                decided_at=now,
            )
        data = {
            "plan": encode(plan),
            "digest": proposal.digest,
            "tier": proposal.tier.value,
            "author": proposal.author,
            "surface": proposal.origin.surface,
            "prompt_sha256": proposal.origin.prompt_sha256,
            "rule": verdict.rule,
            "reason": reason,
        }
        self._ledger.append(
            f"proposal.{'refused' if reason else 'made'}",
            actor=who.name,
            correlation=proposal.correlation,
            proposal=proposal.id,
            data=data | {"policy": proposal.policy_hash},
        )
        self._journal.add_proposal(proposal)
        self._journal.announce(f"proposal.{proposal.status.value}", proposal_id=proposal.id, actor=who.name, text=plan.summary)
        if not proposal.status.open:
            return proposal
        self._await(proposal)
        return self._by_rule(proposal, looked)

    def _by_rule(self, proposal: Proposal, looked: Looked) -> Proposal:
        """Let a standing rule approve what it is about; where it may not, a person is asked as ever."""
        for signed in self._accounts.fitting(proposal, looked.targets):
            owner = self._accounts.owner(signed)
            try:
                if owner is None:
                    raise Denied(f"{signed.rule.owner} is not known any more.", details={"rule": "standing-rule"})
                check_rule(signed, owner.public_key)
                self._gate.sending(proposal.plan.cluster)
                with self._deciding:
                    held = self._held(proposal.plan)
                    if held:
                        raise Stale(f"{held} Nothing ran.", details={"proposal": proposal.id})
                    if self._gate.approve(owner, proposal, looked, channel="standing", approvals=1) == 0:
                        self._spend(proposal, owner.person, looked, signed)
                        return self._open_run(owner, replace(proposal, standing=signed.rule.id), "standing", signed)
            except GuardError as err:
                self._refused(owner or SOMEBODY, proposal, err, "standing")
        return self.get(proposal.id)

    def preview(self, plan: Plan) -> Preview:
        """Look at the cluster for a plan, with the executor's token. Nothing is stored or written."""
        return preview(plan, self._cluster(plan).reader, clock=self._clock, by="executor")

    def attach(self, who: Principal, proposal_id: str, report: Rehearsal) -> Proposal:
        """Put the report of a rehearsal beside a waiting proposal, in the place of an older one. It is no part of what is approved.

        Raises:
            GuardError: this principal may not, the report is of another plan, or the proposal is decided.
            InputError: it is no report.
            AuditError: the ledger cannot be written; nothing was attached.
        """
        proposal = self.get(proposal_id)
        self._permit(who, "rehearse", proposal)
        now = self._clock.now()
        check_rehearsal(report, proposal, now=now)
        with self._deciding:
            proposal = self.get(proposal_id)
            check_open(proposal, now=now)
            data = {"plan": proposal.digest, "outcome": report.outcome.value, "text": report.text, "took_ms": round(report.took_s * 1000)}
            self._ledger.append("proposal.rehearsed", actor=who.name, correlation=proposal.correlation, proposal=proposal.id, data=data)
            saved = self._journal.save_proposal(replace(proposal, rehearsal=replace(report, by=who.name, at=now)))
        self._journal.announce("proposal.rehearsed", proposal_id=proposal.id, actor=who.name, text=report.text)
        return saved

    def _why_not(self, verdict: Verdict, seen: Preview, plan: Plan) -> str:
        if verdict.decision == "deny":
            return verdict.text
        if seen.failed:
            return "; ".join(check.text for check in seen.failed).capitalize() + "."
        return self._held(plan)

    def _held(self, plan: Plan) -> str:
        """Whether a run that is not settled holds one of the plan's targets."""
        mine = set(plan.subjects)
        for _, proposal_id in self._journal.open_runs():
            other = self._journal.proposal(proposal_id)
            both = sorted(mine.intersection(other.plan.subjects))
            if other.plan.cluster == plan.cluster and both:
                return f"{', '.join(both).replace('guest/', 'guest ')} is held by {proposal_id}, which is not settled yet."
        return ""

    # -- deciding -------------------------------------------------------------------------------------------------------

    def approve(self, who: Principal, proposal_id: str, request: ApproveRequest, channel: str) -> Proposal:
        """Spend an approval and let the run begin.

        Raises:
            GuardError: refused; the ledger says why, and nothing ran.
            AuditError: the ledger cannot be written; nothing ran.
        """
        proposal = self.get(proposal_id)
        try:
            self._gate.sending(proposal.plan.cluster)
            check_approval(request.approval, proposal, who, policy_hash=self._policy.hash, now=self._clock.now())
            looked = self._gate.look(proposal.plan, self._cluster(proposal.plan), (proposal.person, who.person))
            with self._deciding:
                fresh = self.get(proposal_id)
                check_open(fresh, now=self._clock.now())
                voted = self._vote(who, fresh, request, channel)
                fresh = self._raised(fresh, looked.rating.tier)
                left = self._gate.approve(who, fresh, looked, channel=channel, approvals=len({vote.person for vote in voted}))
                fresh = replace(fresh, votes=voted)
                if left:
                    return self._wait_for_more(who, fresh, left, channel)
                held = self._held(fresh.plan)
                if held:
                    raise Stale(f"{held} Nothing ran.", hint="Settle that one first.", details={"proposal": proposal_id})
                self._spend(fresh, who.person, looked)
                return self._open_run(who, fresh, channel)
        except PveopsError as err:
            self._refused(who, proposal, err, channel)
            raise

    def _vote(self, who: Principal, proposal: Proposal, request: ApproveRequest, channel: str) -> tuple[Vote, ...]:
        """The votes with this one. A person has one, under whatever name."""
        before = next((vote for vote in proposal.votes if vote.person == who.person), None)
        if before is not None:
            raise Used(
                f"{who.person} has approved {proposal.id} already, as {before.approver}; it waits for another person.",
                hint="Ask one more operator.",
                details={"proposal": proposal.id},
            )
        glass = self._glass.broken(who.person)
        vote = Vote(approver=who.name, person=who.person, at=self._clock.now(), channel=channel, approval=request.approval, glass=glass)
        return (*proposal.votes, vote)

    def _raised(self, proposal: Proposal, tier: Tier) -> Proposal:
        """What was YELLOW when it was put forward may be RED now; the other way round never."""
        return proposal if tier.rank <= proposal.tier.rank else self._journal.save_proposal(replace(proposal, tier=tier))

    def _wait_for_more(self, who: Principal, proposal: Proposal, left: int, channel: str) -> Proposal:
        """One approval of several: written down, and nothing runs yet."""
        claim = encode(proposal.votes[-1].approval)
        data = {"approval": claim, "channel": channel, "left": left, "digest": proposal.digest}
        self._ledger.append("proposal.vote", actor=who.name, correlation=proposal.correlation, proposal=proposal.id, data=data)
        people = len({vote.person for vote in proposal.votes})
        saved = self._journal.save_proposal(replace(proposal, needs=max(proposal.needs, people + left)))
        self._journal.announce("proposal.vote", proposal_id=proposal.id, actor=who.name, text=f"{left} more must approve")
        return saved

    def _spend(self, proposal: Proposal, approver: str, looked: Looked, rule: SignedRule | None = None) -> None:
        """Count a run against the limits, or refuse it."""
        said = rule.rule if rule else None
        self._budget.spend(
            proposal.plan, proposal_id=proposal.id, requester=proposal.person or proposal.requester, approver=approver, standing=said.id if said else "",
            targets=proposal.plan.subjects, limits=self._policy.limits, running=self._gate.running(proposal.plan.cluster),
            most_standing=(said.per_hour, said.per_day) if said else None,
        )  # fmt: skip

    def _open_run(self, who: Principal, proposal: Proposal, channel: str, rule: SignedRule | None = None) -> Proposal:
        run_id, now = self._fresh("r"), self._clock.now()
        self._clusters[proposal.plan.cluster].writer.prepare()  # the first request is about to leave: connect while it is written down
        approved = replace(proposal, status=ProposalStatus.APPROVED, decided_by=who.name, decided_at=now, run_id=run_id)
        approval = write_approved(proposal, rule)
        data = {"approval": approval, "channel": channel, "run": run_id, "digest": proposal.digest, "policy": proposal.policy_hash}
        self._ledger.append("proposal.approved", actor=who.name, correlation=proposal.correlation, proposal=proposal.id, data=data)
        most = self._policy.limits.concurrency
        first = RunEvent(kind="opened", at=now, actor=who.name, per_node=most.per_node, per_storage=most.per_storage)
        saved = self._journal.open_run(approved, run_id, approval, first, Said("proposal.approved", who.name, proposal.plan.summary))
        crash_point("wrote_opened")
        self._dispatcher.submit(run_id)
        self._remind(proposal, run_id, now)
        return saved

    def _refused(self, who: Principal, proposal: Proposal, err: PveopsError, channel: str) -> None:
        """Write the refusal down, and close what can never be approved any more."""
        err.correlation = err.correlation or proposal.correlation
        if not isinstance(err, AuditError):
            data = {"error": err.kind, "reason": err.message, "channel": channel, "rule": err.details.get("rule", "")}
            self._ledger.append("approval.refused", actor=who.name, correlation=proposal.correlation, proposal=proposal.id, data=data)
        self._journal.announce("approval.refused", proposal_id=proposal.id, actor=who.name, text=err.message)
        with self._deciding:
            current = self.get(proposal.id)
            if isinstance(err, Stale) and "changed" in err.details and current.status.open:
                closed = replace(
                    current, status=ProposalStatus.REFUSED, decided_by="state check", decided_at=self._clock.now(), reason=err.message
                )
                self._journal.save_proposal(closed)
            elif isinstance(err, Forged) and current.status.open and current.plan.digest != current.digest:
                self._journal.save_proposal(
                    replace(
                        current, status=ProposalStatus.REFUSED, decided_by="digest check", decided_at=self._clock.now(), reason=err.message
                    )
                )

    def deny(self, who: Principal, proposal_id: str, reason: str) -> Proposal:
        """Say no to a waiting proposal."""
        return self._close(who, proposal_id, "deny", ProposalStatus.DENIED, reason)

    def withdraw(self, who: Principal, proposal_id: str, reason: str) -> Proposal:
        """Take a waiting proposal back."""
        return self._close(who, proposal_id, "withdraw", ProposalStatus.WITHDRAWN, reason)

    def _close(self, who: Principal, proposal_id: str, verb: str, status: ProposalStatus, reason: str) -> Proposal:
        proposal, reason = self.get(proposal_id), redact(reason)
        self._permit(who, verb, proposal)
        with self._deciding:
            proposal = self.get(proposal_id)
            check_open(proposal, now=self._clock.now())
            data = {"reason": reason}
            self._ledger.append(
                f"proposal.{status.value}", actor=who.name, correlation=proposal.correlation, proposal=proposal.id, data=data
            )
            saved = self._journal.save_proposal(
                replace(proposal, status=status, decided_by=who.name, decided_at=self._clock.now(), reason=reason)
            )
        self._journal.announce(f"proposal.{status.value}", proposal_id=proposal.id, actor=who.name, text=reason)
        return saved

    # -- while it runs, and after ---------------------------------------------------------------------------------------

    def stop(self, who: Principal, proposal_id: str, reason: str) -> Proposal:
        """Start no further step of a run. The step under way is not interrupted."""
        return self._note(who, proposal_id, "stop", "stop_asked", reason)

    def pause(self, who: Principal, proposal_id: str, reason: str) -> Proposal:
        """Start no further step until somebody lets it go on. The run keeps its guests."""
        return self._note(who, proposal_id, "stop", "pause_asked", reason)

    def go_on(self, who: Principal, proposal_id: str, reason: str) -> Proposal:
        """Let a paused run go on."""
        return self._note(who, proposal_id, "stop", "resumed", reason)

    def resolve(self, who: Principal, proposal_id: str, request: ResolveRequest) -> Proposal:
        """A person's word on a step whose outcome is unknown."""
        kinds: dict[str, EventKind] = {"look": "look", "happened": "happened", "not_happened": "not_happened", "close": "closed"}
        return self._note(who, proposal_id, "resolve", kinds[request.what], request.reason)

    def _note(self, who: Principal, proposal_id: str, verb: str, kind: EventKind, reason: str) -> Proposal:
        proposal, reason = self.get(proposal_id), redact(reason)
        self._permit(who, verb, proposal)
        if not proposal.run_id or not self._journal.is_open(proposal.run_id):
            raise Used(f"{proposal_id} is not running.", hint="Look at its record.", details={"proposal": proposal_id})
        run = self._runner.load(proposal.run_id, proposal)
        step = run.current.key if run.current and kind not in ("stop_asked", "pause_asked", "resumed") else ""
        try:
            self._runner.note(proposal.run_id, RunEvent(kind=kind, at=self._clock.now(), step=step, actor=who.name, text=reason))
        except ValueError as err:
            raise Used(
                f"{proposal_id}: that cannot be said now ({err}).", hint="Look at it again.", details={"proposal": proposal_id}
            ) from err
        return self.get(proposal_id)

    def kill(self, who: Principal, *, on: bool, why: str, cluster: str = "") -> KillState:
        """Turn the kill switch, for all clusters or for one. Switching on is for anybody; lifting is for operators, and only with a working ledger.

        Returns:
            The state, with what is under way at the cluster and is not interrupted.
        """
        verdict = self._policy.simple("kill_on" if on else "kill_off", who, cluster or "all")
        data = {"on": on, "why": why, "cluster": cluster}
        if verdict.decision == "deny" and not (on and verdict.rule == "policy-unusable"):
            self._ledger.append("kill.refused", actor=who.name, data=data | {"rule": verdict.rule})
            raise Denied(verdict.text, details={"rule": verdict.rule})
        why = redact(why)
        if not why.strip():
            raise InputError("The kill switch wants a reason.", hint="Add --why.")
        if cluster and cluster not in self._clusters:
            raise InputError(
                f"This executor writes to no cluster called {cluster}.", hint=f"It knows: {', '.join(sorted(self._clusters))}."
            )
        if not on:
            self._ledger.append("kill.off", actor=who.name, data=data)
        state = self._kill.turn(on=on, why=why, by=who.name, cluster=cluster)
        if on:
            self._ledger.append("kill.on", actor=who.name, data=data)
        else:
            self._gate.clock_is_right()
        self._journal.announce(f"kill.{'on' if on else 'off'}", actor=who.name, text=f"{cluster}: {why}" if cluster else why)
        return replace(state, running=tuple(self._under_way(cluster)) if on else ())

    def _under_way(self, cluster: str) -> list[str]:
        """Steps whose request has left, in words: Proxmox VE works on them, and we only look on."""
        found = []
        for run_id, proposal_id in self._journal.open_runs():
            proposal = self._journal.proposal(proposal_id)
            run = self._runner.load(run_id, proposal)
            if cluster in ("", proposal.plan.cluster):
                sent = {state.key: state.upid for state in run.steps if state.phase in _SENT}
                found += [f"{proposal.id}: {step.text} {sent[step.key]}".rstrip() for step in proposal.plan.steps if step.key in sent]
        return found

    def expire(self) -> list[str]:
        """Close what nobody decided in time; returns the ids."""
        return [name for name in [proposal.id for proposal in self._journal.waiting()] if self.lapse(name)]

    def lapse(self, proposal_id: str) -> bool:
        """Close one proposal if its time is over and nobody has decided; returns whether it was."""
        with self._deciding:
            proposal = self.get(proposal_id)
            if not proposal.status.open or self._clock.now() < proposal.expires:
                return False
            self._ledger.append("proposal.expired", actor="executor", correlation=proposal.correlation, proposal=proposal.id)
            self._journal.save_proposal(replace(proposal, status=ProposalStatus.EXPIRED, decided_at=proposal.expires))
        self._journal.announce("proposal.expired", proposal_id=proposal_id, actor="executor")
        return True

    def advance(self, name: str) -> None:
        """What a dispatcher calls when something is due: a run goes on, or a proposal has waited long enough."""
        if not is_id(name, "p"):
            self._runner.advance(name)
            return
        if not self.lapse(name):
            proposal = self.get(name)
            if proposal.status.open:  # the clock was set back, or the dispatcher's is ahead
                self._await(proposal)

    def recover(self) -> list[str]:
        """After a start: let every run that was under way go on from its journal, and let what waits lapse in time; returns the runs."""
        self._budget.recall(self._journal.made_since(self._clock.now() - timedelta(seconds=RATE_S)))
        found = []
        for run_id, proposal_id in self._journal.open_runs():
            found.append(run_id)
            self._dispatcher.submit(run_id)
            proposal = self._journal.proposal(proposal_id)
            self._remind(proposal, run_id, proposal.decided_at or self._clock.now())
        for proposal in self._journal.waiting():
            self._await(proposal)
        return found

    def _await(self, proposal: Proposal) -> None:
        """A waiting proposal holds no thread: it is looked at once, when its time is over."""
        left_s = (proposal.expires - self._clock.now()).total_seconds()
        self._dispatcher.submit(proposal.id, after_s=max(left_s, 0.0) + _LAPSE_SLACK_S)

    def _remind(self, proposal: Proposal, run_id: str, began: datetime) -> None:
        """A paused run ends by itself when its deadline is over."""
        flow = proposal.plan.flow
        if flow is not None and flow.deadline_s:
            left_s = flow.deadline_s - (self._clock.now() - began).total_seconds()
            self._dispatcher.submit(run_id, after_s=max(left_s, 0.0) + _LAPSE_SLACK_S)

    # -- telling --------------------------------------------------------------------------------------------------------

    def _fresh(self, kind: Literal["p", "r"]) -> str:
        """An id that nothing has yet: ids that people read aloud are short, and thousands of them meet by chance."""
        while self._journal.knows(found := new_id(kind)):
            pass
        return found

    def get(self, proposal_id: str) -> Proposal:
        """One proposal as stored.

        Raises:
            UnknownName: there is none.
        """
        if not is_id(proposal_id, "p"):
            raise InputError(
                f"{proposal_id[:40]!r} is no id of a proposal.", hint="It looks like p-8c41d2; `pveops proposals ls` shows them."
            )
        return self._journal.proposal(proposal_id)

    def view(self, proposal: Proposal, who: Principal, *, channel: str = "card") -> ProposalView:
        """A proposal with its run, its place in the ledger, and what this principal may do with it where it looks."""
        run = self._runner.load(proposal.run_id, proposal) if proposal.run_id else None
        step = run.current.key if run is not None and run.current is not None else ""
        return ProposalView(
            proposal=proposal,
            run=run,
            audit=self._ledger.span(proposal.id),
            may=may(self._policy, self._gate, who, proposal, channel=channel),
            live_log=self._runner.live.tail(proposal.run_id, step),
            progress_fraction=self._runner.live.progress(proposal.run_id, step),
            server_time=self._clock.now(),
        )

    def views(self, who: Principal, *, only_open: bool, limit: int, channel: str = "card") -> list[ProposalView]:
        """Proposals, newest first."""
        return [self.view(proposal, who, channel=channel) for proposal in self._journal.proposals(only_open=only_open, limit=limit)]

    def explain(self, who: Principal, proposal_id: str, action: str, *, channel: str) -> Verdict:
        """What policy would say if this principal tried, in one sentence, on the state as it is now.

        Raises:
            InputError: there is no such action.
        """
        proposal = self.get(proposal_id)
        if action in ("propose", "approve", "execute"):
            looked = self._gate.look(proposal.plan, self._cluster(proposal.plan), (proposal.person, who.person))
            return self._gate.explain(cast("PlanAction", action), who, proposal, looked, channel=channel)
        if action not in ("deny", "withdraw", "stop", "resolve"):
            raise InputError(
                f"{action[:40]!r} is nothing that can be done with a proposal.",
                hint="propose, approve, execute, deny, withdraw, stop or resolve.",
            )
        return self._policy.simple(action, who, proposal.plan.cluster, by_requester=who.person == (proposal.person or proposal.requester))  # type: ignore[arg-type]

    def records(self, who: Principal, query: Query) -> list[dict[str, Any]]:
        """Audit records that answer a query."""
        verdict = self._policy.simple("read_audit", who, "all")
        if verdict.decision == "deny":
            raise Denied(verdict.text, details={"rule": verdict.rule})
        return self._ledger.find(query)

    def note_refusal(self, actor: str, what: str, err: GuardError) -> None:
        """Write down that somebody was turned away at the door."""
        self._ledger.append("access.refused", actor=actor, data={"what": what, "error": err.kind, "reason": err.message})

    # -- helpers --------------------------------------------------------------------------------------------------------

    def _permit(self, who: Principal, verb: str, proposal: Proposal) -> None:
        verdict = self._policy.simple(verb, who, proposal.plan.cluster, by_requester=who.person == (proposal.person or proposal.requester))  # type: ignore[arg-type]
        if verdict.decision == "deny":
            err = Denied(verdict.text, details={"rule": verdict.rule, "proposal": proposal.id})
            data = {"verb": verb, "rule": verdict.rule, "reason": verdict.text}
            self._ledger.append("decision.refused", actor=who.name, correlation=proposal.correlation, proposal=proposal.id, data=data)
            raise err

    def _cluster(self, plan: Plan) -> Cluster:
        if not plan.steps or len(plan.steps) > _MANY_STEPS:
            raise InputError(f"A plan has 1 to {_MANY_STEPS} steps, this one {len(plan.steps)}.")
        keys = [step.key for step in plan.steps]
        if len(set(keys)) != len(keys):
            raise InputError("Two steps of the plan have the same key.")
        fault = plan.flow.fault(tuple(keys)) if plan.flow is not None else ""
        if fault:
            raise InputError(f"The plan cannot be carried out like this: {fault}.")
        cluster = self._clusters.get(plan.cluster)
        if cluster is None:
            known = ", ".join(sorted(self._clusters)) or "none"
            raise InputError(f"This executor writes to no cluster called {plan.cluster}.", hint=f"It knows: {known}.")
        return cluster
