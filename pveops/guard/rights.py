"""What a principal may do with a proposal, told before it is tried. A forecast without a look at the cluster: the decision itself is made anew."""

from __future__ import annotations

from pveops.guard.gate import Gate
from pveops.guard.policy import Action, Policy
from pveops.guard.principals import Principal
from pveops.model.proposal import Proposal
from pveops.model.run import May


def may(policy: Policy, gate: Gate, who: Principal, proposal: Proposal, *, channel: str) -> May:
    """An empty text where it may, else why not."""
    cluster, mine = proposal.plan.cluster, who.person == (proposal.person or proposal.requester)

    def simple(verb: Action) -> str:
        verdict = policy.simple(verb, who, cluster, by_requester=mine)
        return verdict.text if verdict.decision == "deny" else ""

    return May(
        approve=_approve(gate, who, proposal, channel=channel),
        deny=simple("deny"),
        withdraw=simple("withdraw"),
        rehearse=simple("rehearse"),
        stop=simple("stop"),
        pause=simple("stop"),
        resolve=simple("resolve"),
    )


def _approve(gate: Gate, who: Principal, proposal: Proposal, *, channel: str) -> str:
    if not proposal.status.open:
        return "It is decided."
    if who.kind != "person" or not who.public_key:
        return "Only a person with a key approves."
    if any(vote.person == who.person for vote in proposal.votes):
        return "You have approved it; it waits for another person."
    verdict = gate.forecast("approve", who, proposal, channel=channel)
    return verdict.text if verdict.decision == "deny" else ""
