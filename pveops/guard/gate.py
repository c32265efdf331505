"""Every question of the form "may this be done": put together from the switch, the tiers, the policy, the limits and the live state. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pveops.base.clock import Clock
from pveops.base.errors import Denied, Stale
from pveops.guard.budget import Budget
from pveops.guard.killswitch import KillSwitch
from pveops.guard.once import Once
from pveops.guard.options import Options
from pveops.guard.policy import Circumstances, PlanAction, Policy, Target
from pveops.guard.ports import Cluster, Journal
from pveops.guard.principals import Principal, Principals
from pveops.guard.protect import extra_subjects, going_down, protect, reach
from pveops.guard.standing import Approved, check_votes, read_approved
from pveops.guard.targets import targets_of
from pveops.guard.tiers import Rating, rate_plan
from pveops.guard.watch import Watch
from pveops.model.facts import Facts, mismatches
from pveops.model.plan import Plan, Step
from pveops.model.proposal import Proposal, Tier, Verdict

SOMEBODY = Principal(name="somebody", kind="person", roles=("operator",), token_sha256="", public_key="")
"""An operator who did not ask: what approvals are counted for before anybody has given one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What one look at the cluster says about a plan: its tier and its targets, as policy sees them."""

    rating: Rating
    targets: tuple[Target, ...]
    reach: int
    recent: int
    facts: Facts


_READ_S = 0.5
"""A step right after its approval uses what was read for that approval, if that was half a second ago at most."""


class Gate:
    """Asked when something is put forward, when it is approved, before each step, and right before a request leaves.

    Args:
        journal: knows what is under way.
        glass: whether a person has broken the glass.
    """

    def __init__(
        self, *, kill: KillSwitch, policy: Policy, principals: Principals, options: Options, budget: Budget, clock: Clock,
        journal: Journal, glass: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._kill = kill
        self._policy = policy
        self._principals = principals
        self._options = options
        self._rated: Once[Plan, Rating] = Once(
            lambda plan: rate_plan(plan, bulk_targets=options.bulk_targets, own_guests=options.own_guests)
        )
        self._digest: Once[Plan, str] = Once(lambda plan: plan.digest)
        self._budget = budget
        self._clock = clock
        self._journal = journal
        self._watch = Watch(budget.memory, kill, clock)
        self._glass = glass

    def look(self, plan: Plan, cluster: Cluster, people: Iterable[str]) -> Looked:
        """Read what a plan touches, and rate it: by its calls, by how much it reaches, by how much these people reached lately.

        Raises:
            TransportError: the cluster does not answer.
        """
        options, limits = self._options, self._policy.limits
        facts = cluster.reader.facts((*plan.subjects, *extra_subjects(plan, options.own_guests)))
        wide = reach(plan, facts)
        bulk = min(options.bulk_targets, limits.blast.bulk_targets)
        rating = rate_plan(plan, bulk_targets=bulk, own_guests=options.own_guests, reach=wide)
        kept = protect(
            plan, facts, cluster.reader, own_guests=options.own_guests, own_nodes=options.own_nodes, falling=self._falling(plan)
        )  # fmt: skip
        if kept is not None and kept.tier.rank > rating.tier.rank:
            rating = kept
        recent = len(self._budget.recent(plan.cluster, people, limits).union(plan.subjects))
        if recent >= bulk and rating.tier.rank < Tier.RED.rank:
            rating = Rating(Tier.RED, f"{rating.why}, the latest of {recent} targets within {limits.blast.window_s} s")
        targets = targets_of(
            plan.subjects,
            facts,
            options.own_guests,
            steps=(*plan.steps, *plan.taken_back),
            maintenance=limits.under_maintenance(self._clock.now()),
        )
        return Looked(rating=rating, targets=tuple(targets), reach=wide, recent=recent, facts=facts)

    def propose(self, who: Principal, plan: Plan, seen: Looked, how: Circumstances) -> tuple[Verdict, int]:
        """What policy and limits say to a plan that is put forward, and how many people must approve it."""
        verdict = self._policy.plan("propose", who, seen.targets, plan.cluster, how)
        if verdict.decision == "deny" and verdict.rule == "black-is-never-done":
            verdict = replace(verdict, text=f"{verdict.text} Why: {seen.rating.why}.")
        if verdict.decision != "deny" and (too_many := self._budget.ask(who.name, self._policy.limits)):
            verdict = Verdict(decision="deny", rule="limit-proposals", text=too_many)
        if verdict.decision == "deny":
            return verdict, 1
        needs, said = self._policy.approvals(SOMEBODY, seen.targets, plan.cluster, replace(how, by_requester=False))
        return (replace(verdict, text=_needs(said, needs)) if said else verdict), needs

    def approve(self, who: Principal, proposal: Proposal, seen: Looked, *, channel: str, approvals: int) -> int:
        """How many more people must approve once this one has; 0 means that it may run.

        Args:
            who: the person who approves now.
            proposal: what.
            seen: a fresh look.
            channel: where it was given.
            approvals: how many different people will have approved it, this one included.

        Raises:
            Denied: policy says no.
            Stale: the state is no longer the one that the plan assumes.
        """
        plan = proposal.plan
        how = self.how(proposal, seen.rating.tier, who=who, channel=channel, reach=seen.reach, recent=seen.recent, approvals=approvals)
        verdict = self._policy.plan("approve", who, seen.targets, plan.cluster, how)
        if verdict.decision == "deny" and verdict.rule == "black-is-never-done":
            verdict = replace(verdict, text=f"{verdict.text} Why: {seen.rating.why}.")
        if verdict.decision != "deny":
            verdict = self._policy.plan("execute", who, seen.targets, plan.cluster, how)
        counts = "counts" in self._policy.rules.get(verdict.rule, {})
        if verdict.decision == "deny" and not counts:
            raise Denied(f"{verdict.text} Nothing ran.", details={"rule": verdict.rule, "proposal": proposal.id})
        self._same(proposal, seen.facts)
        if verdict.decision != "deny":
            return 0
        needs, _ = self._policy.approvals(who, seen.targets, plan.cluster, how)
        return max(1, needs - approvals)

    def step(self, proposal: Proposal, approved: dict[str, Any], cluster: Cluster, step: Step) -> None:
        """Return if this step may be sent now: switch off, plan whole, approvals true, policy the same and content, state as assumed.

        Args:
            proposal: the proposal of the run.
            approved: what the run was opened with, as the journal keeps it.
            cluster: where it goes.
            step: the step; only what it touches is read.

        Raises:
            GuardError: it may not; the message says why.
            TransportError: the cluster cannot be looked at.
        """
        plan = proposal.plan
        self.sending(plan.cluster)
        if self._digest(plan) != proposal.digest:
            proposal.intact()
        by = read_approved(approved)
        people = check_votes(by, proposal, self._principals, now=self._clock.now())
        if self._policy.hash != by.policy_hash:
            raise Stale(f"The policy has changed since {proposal.id} was approved.", hint="Propose it anew.")
        options = self._options
        alone = replace(plan, steps=(step,))
        subjects = (step.subject, *(fact.subject for fact in step.assumes), *extra_subjects(alone, options.own_guests))
        fresh = step.subject.startswith("node/")  # votes are counted on what is true now
        facts = cluster.reader.facts(tuple(dict.fromkeys(subjects)), at_most_old_s=0.0 if fresh else _READ_S)
        kept = protect(
            alone, facts, cluster.reader, own_guests=options.own_guests, own_nodes=options.own_nodes,
            falling=self._falling(alone, besides=proposal.id),
        )  # fmt: skip
        if kept is not None and kept.tier is Tier.BLACK:
            raise Denied(f"Nobody can approve this here: {kept.why}.", details={"rule": "black-is-never-done"})
        targets = targets_of(
            (step.subject,),
            facts,
            options.own_guests,
            steps=[one for one in (*plan.steps, *plan.taken_back) if one.subject == step.subject],
            maintenance=self._policy.limits.under_maintenance(self._clock.now()),
        )
        self._permitted(proposal, by, people, targets)
        if facts.values.get("cluster.quorate") is not True:
            raise Stale("The cluster has no quorum, or none could be read.")
        misses = mismatches(step.assumes, facts)
        if misses:
            raise Stale(
                f"The state is not the one that was approved: {'; '.join(miss.text for miss in misses)}.",
                hint="Check again and propose anew.",
            )

    def _permitted(self, proposal: Proposal, by: Approved, people: Sequence[Principal], targets: Sequence[Target]) -> None:
        """Policy is asked once more, for each of those who approved."""
        plan = proposal.plan
        tier = max(self._rated(plan).tier, proposal.tier, key=lambda one: one.rank)
        for approver in people:
            how = self.how(
                proposal, tier, who=approver, channel="executor", reach=proposal.targets, approvals=len({who.person for who in people})
            )
            how = replace(how, break_glass=by.glass)
            verdict = self._policy.plan("execute", approver, targets, plan.cluster, how)
            if verdict.decision == "deny":
                raise Denied(verdict.text, details={"rule": verdict.rule})

    def sending(self, cluster: str) -> None:
        """The last look before a request leaves.

        Raises:
            Halted: the kill switch is on, or the clock went back.
        """
        self._watch.check()
        self._kill.check(cluster)

    def clock_is_right(self) -> None:
        """An operator says that all is well: the time as it is now counts."""
        self._watch.rebase()

    def how(
        self, proposal: Proposal, tier: Tier, *, who: Principal, channel: str, reach: int, recent: int = 0, approvals: int = 1
    ) -> Circumstances:  # fmt: skip
        """The circumstances of a decision about a proposal."""
        now, limits = self._clock.now(), self._policy.limits
        return Circumstances(
            tool=proposal.plan.tool, tier=tier.value, targets=max(reach, len(proposal.plan.subjects)), recent_targets=recent, author=proposal.author,
            tainted=proposal.tainted, origin=proposal.origin.surface, by_requester=who.person == (proposal.person or proposal.requester),
            channel=channel, approvals=approvals, one_person=self._options.one_person, simulated=proposal.simulated, in_window=limits.in_window(now),
            frozen=limits.frozen(now) is not None, break_glass=self._glass(who.person), halted=self._kill.state(proposal.plan.cluster).on,
        )  # fmt: skip

    def running(self, cluster: str) -> list[Plan]:
        """Plans of a cluster that are under way."""
        return [plan for _, plan in self._under_way(cluster)]

    def _under_way(self, cluster: str) -> list[tuple[str, Plan]]:
        proposals = (self._journal.proposal(proposal_id) for _, proposal_id in self._journal.open_runs())
        return [(proposal.id, proposal.plan) for proposal in proposals if proposal.plan.cluster == cluster]

    def _falling(self, plan: Plan, besides: str = "") -> list[str]:
        """Nodes that other runs are taking down, where the plan takes one down too."""
        if not going_down(plan):
            return []
        return [node for proposal_id, other in self._under_way(plan.cluster) if proposal_id != besides for node in going_down(other)]

    def explain(self, action: PlanAction, who: Principal, proposal: Proposal, seen: Looked, *, channel: str) -> Verdict:
        """What policy says to an action, on what was just read."""
        approvals = len({*(vote.person for vote in proposal.votes), who.person})
        how = self.how(proposal, seen.rating.tier, who=who, channel=channel, reach=seen.reach, recent=seen.recent, approvals=approvals)
        verdict = self._policy.plan(action, who, seen.targets, proposal.plan.cluster, how)
        why = f" Why: {seen.rating.why}." if verdict.decision == "deny" and seen.rating.tier is not Tier.YELLOW else ""
        return replace(verdict, text=f"{verdict.text or f'{who.name} may.'}{why}")

    def forecast(self, action: PlanAction, who: Principal, proposal: Proposal, *, channel: str) -> Verdict:
        """What policy would say, without a look at the cluster: what a principal is told before it tries."""
        own = {f"guest/{vmid}" for vmid in self._options.own_guests}
        targets = [
            Target(subject=subject, kind="unknown", own=subject in own)
            for subject in proposal.plan.subjects
        ]  # fmt: skip
        approvals = len({*(vote.person for vote in proposal.votes), who.person})
        how = self.how(proposal, proposal.tier, who=who, channel=channel, reach=proposal.targets, approvals=approvals)
        return self._policy.plan(action, who, targets, proposal.plan.cluster, how)

    @staticmethod
    def _same(proposal: Proposal, facts: Facts) -> None:
        misses = mismatches(proposal.plan.assumed, facts)
        if misses:
            said = "; ".join(miss.text for miss in misses)
            raise Stale(
                f"The cluster has changed since {proposal.id} was put forward: {said}. Nothing ran.",
                hint="Check again and propose anew.",
                details={"proposal": proposal.id, "changed": [miss.fact.key for miss in misses]},
            )


def _needs(said: str, needs: int) -> str:
    return f"Needs {needs} approvals: {said[0].lower()}{said[1:]}"
