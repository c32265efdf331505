"""Every question of the form "may this be done": put together from the switch, the tiers, the policy and the live state. It decides and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pveops.base.errors import Denied, Stale
from pveops.guard.killswitch import KillSwitch
from pveops.guard.once import Once
from pveops.guard.options import Options
from pveops.guard.policy import Circumstances, Policy
from pveops.guard.ports import Cluster
from pveops.guard.principals import Principal, Principals
from pveops.guard.targets import targets_of
from pveops.guard.tiers import Rating, rate_plan
from pveops.model.claims import check_signature
from pveops.model.codec import decode
from pveops.model.facts import Facts, mismatches
from pveops.model.plan import Plan, Step
from pveops.model.proposal import Approval, Proposal, Verdict

_READ_S = 0.5
"""A step right after its approval uses what was read for that approval, if that was half a second ago at most."""


class Gate:
    """Asked when something is put forward, when it is approved, before each step, and right before a request leaves."""

    def __init__(self, *, kill: KillSwitch, policy: Policy, principals: Principals, options: Options) -> None:
        self._kill = kill
        self._policy = policy
        self._principals = principals
        self._options = options
        self._rated: Once[Plan, Rating] = Once(
            lambda plan: rate_plan(plan, bulk_targets=options.bulk_targets, own_guests=options.own_guests)
        )
        self._digest: Once[Plan, str] = Once(lambda plan: plan.digest)

    def rate(self, plan: Plan) -> Rating:
        """The tier of a plan, and why."""
        return self._rated(plan)

    def propose(self, who: Principal, plan: Plan, facts: Facts, *, author: str, channel: str, simulated: bool) -> tuple[Rating, Verdict]:
        """What tier and policy say to a plan that is put forward."""
        rating = self.rate(plan)
        how = self._how(plan, rating, author=author, by_requester=True, channel=channel, simulated=simulated)
        verdict = self._policy.plan("propose", who, targets_of(plan.subjects, facts, self._options.own_guests), plan.cluster, how)
        if verdict.decision == "deny" and verdict.rule == "black-is-never-done":
            verdict = replace(verdict, text=f"{verdict.text} Why: {rating.why}.")
        return rating, verdict

    def approve(self, who: Principal, proposal: Proposal, facts: Facts, *, channel: str) -> None:
        """Return if this person may approve this proposal now, on this state.

        Raises:
            Denied: policy says no.
            Stale: the state is no longer the one that the plan assumes.
        """
        verdict = self._ask("approve", who, proposal, facts, proposal.plan.subjects, channel=channel)
        if verdict.decision == "deny":
            raise Denied(f"{verdict.text} Nothing ran.", details={"rule": verdict.rule, "proposal": proposal.id})
        misses = mismatches(proposal.plan.assumed, facts)
        if misses:
            said = "; ".join(miss.text for miss in misses)
            raise Stale(
                f"The cluster has changed since {proposal.id} was put forward: {said}. Nothing ran.",
                hint="Check again and propose anew.",
                details={"proposal": proposal.id, "changed": [miss.fact.key for miss in misses]},
            )

    def step(self, proposal: Proposal, approved: dict[str, Any], cluster: Cluster, step: Step) -> None:
        """Return if this step may be sent now: switch off, plan whole, approval true, policy the same and content, state as assumed.

        Args:
            proposal: the proposal of the run.
            approved: what the run was opened with, as the journal keeps it.
            cluster: where it goes.
            step: the step; only what it touches is read.

        Raises:
            GuardError: it may not; the message says why.
            TransportError: the cluster cannot be looked at.
        """
        self.sending(proposal.plan.cluster)
        if self._digest(proposal.plan) != proposal.digest:
            proposal.intact()
        approval = decode(Approval, approved)
        approver = self._principals.get(approval.claim.approver)
        if approver is None or not approver.public_key or approval.claim.plan_digest != proposal.digest:
            raise Denied(f"The approval of {proposal.id} is no longer good: {approval.claim.approver} is not known as a person any more.")
        check_signature(approval, approver.public_key)
        if self._policy.hash != approval.claim.policy_hash:
            raise Stale(f"The policy has changed since {proposal.id} was approved.", hint="Propose it anew.")
        subjects = dict.fromkeys((step.subject, *(fact.subject for fact in step.assumes), "cluster"))
        facts = cluster.reader.facts(tuple(subjects), at_most_old_s=_READ_S)
        verdict = self._ask("execute", approver, proposal, facts, (step.subject,), channel="executor")
        if verdict.decision == "deny":
            raise Denied(verdict.text, details={"rule": verdict.rule})
        if facts.values.get("cluster.quorate") is not True:
            raise Stale("The cluster has no quorum, or none could be read.")
        misses = mismatches(step.assumes, facts)
        if misses:
            raise Stale(
                f"The state is not the one that was approved: {'; '.join(miss.text for miss in misses)}.",
                hint="Check again and propose anew.",
            )

    def sending(self, cluster: str) -> None:
        """The last look before a request leaves.

        Raises:
            Halted: the kill switch is on.
        """
        self._kill.check()

    def _ask(
        self, action: Literal["approve", "execute"], who: Principal, proposal: Proposal, facts: Facts, subjects: tuple[str, ...], *, channel: str
    ) -> Verdict:  # fmt: skip
        plan = proposal.plan
        how = self._how(
            plan,
            self.rate(plan),
            author=proposal.author,
            by_requester=who.name == proposal.requester,
            channel=channel,
            simulated=proposal.simulated,
        )
        return self._policy.plan(action, who, targets_of(subjects, facts, self._options.own_guests), plan.cluster, how)

    def _how(self, plan: Plan, rating: Rating, *, author: str, by_requester: bool, channel: str, simulated: bool) -> Circumstances:
        return Circumstances(
            tool=plan.tool, tier=rating.tier.value, targets=len(plan.subjects), author=author, by_requester=by_requester, channel=channel,
            one_person=self._options.one_person, simulated=simulated,
        )  # fmt: skip
