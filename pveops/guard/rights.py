"""What a principal may do with a proposal, told before it is tried. A forecast without a look at the cluster: the decision itself is made anew."""

from __future__ import annotations

from pveops.guard.policy import Action, Circumstances, Policy, Target
from pveops.guard.principals import Principal
from pveops.model.proposal import Proposal
from pveops.model.run import May


def may(policy: Policy, who: Principal, proposal: Proposal, *, channel: str, one_person: bool, own_guests: tuple[int, ...] = ()) -> May:
    """An empty text where it may, else why not."""
    cluster, mine = proposal.plan.cluster, who.name == proposal.requester

    def simple(verb: Action) -> str:
        verdict = policy.simple(verb, who, cluster, by_requester=mine)
        return verdict.text if verdict.decision == "deny" else ""

    return May(
        approve=_approve(policy, who, proposal, channel=channel, one_person=one_person, own_guests=own_guests),
        deny=simple("deny"),
        withdraw=simple("withdraw"),
        rehearse=simple("rehearse"),
        stop=simple("stop"),
        pause=simple("stop"),
        resolve=simple("resolve"),
    )


def _approve(policy: Policy, who: Principal, proposal: Proposal, *, channel: str, one_person: bool, own_guests: tuple[int, ...]) -> str:
    if who.kind != "person" or not who.public_key:
        return "Only a person with a key approves."
    own = {f"guest/{vmid}" for vmid in own_guests}
    targets = [Target(subject=subject, kind="unknown", own=subject in own) for subject in proposal.plan.subjects]
    verdict = policy.plan(
        "approve",
        who,
        targets,
        proposal.plan.cluster,
        Circumstances(
            tool=proposal.plan.tool,
            tier=proposal.tier,
            targets=proposal.targets,
            author=proposal.author,
            by_requester=who.name == proposal.requester,
            channel=channel,
            one_person=one_person,
            simulated=proposal.simulated,
        ),
    )
    return verdict.text if verdict.decision == "deny" else ""
