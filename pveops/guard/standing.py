"""What a run was opened with: people's votes or a standing rule. Verified when it is opened, and again before each step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pveops.base.errors import Denied, Forged
from pveops.guard.policy import Target
from pveops.guard.principals import Principal, Principals
from pveops.model.claims import check_rule, check_signature
from pveops.model.codec import decode, encode
from pveops.model.proposal import Approval, Proposal, Tier
from pveops.model.standing import SignedRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """The approvals of a run, or the rule that stands for them."""

    policy_hash: str
    approvals: tuple[Approval, ...] = ()
    rule: SignedRule | None = None
    glass: bool = False


def write_approved(proposal: Proposal, rule: SignedRule | None = None) -> dict[str, Any]:
    """As the journal keeps it."""
    return {
        "policy_hash": proposal.policy_hash,
        "approvals": [encode(vote.approval) for vote in proposal.votes],
        "rule": encode(rule) if rule else None,
        "glass": any(vote.glass for vote in proposal.votes),
    }


def read_approved(data: dict[str, Any]) -> Approved:
    """What ``write_approved`` wrote, or the single approval of an older journal.

    Raises:
        InputError: it is neither.
    """
    if "claim" in data:
        approval = decode(Approval, data)
        return Approved(policy_hash=approval.claim.policy_hash, approvals=(approval,))
    return decode(Approved, data)


def check_votes(by: Approved, proposal: Proposal, register: Principals, *, now: datetime) -> tuple[Principal, ...]:
    """The people who stand behind a run, if every signature is theirs and over exactly this plan.

    Raises:
        Denied: one of them is not known as a person any more, or the standing rule is over.
        Forged: a signature does not fit.
    """
    if by.rule is not None:
        owner = _person(by.rule.rule.owner, register, proposal)
        check_rule(by.rule, owner.public_key)
        if now >= by.rule.rule.expires:
            raise Denied(f"The standing rule {by.rule.rule.id} is over.", details={"rule": "standing-rule"})
        return (owner,)
    people = []
    for approval in by.approvals:
        approver = _person(approval.claim.approver, register, proposal)
        claim = approval.claim
        if (claim.plan_digest, claim.proposal_id, claim.policy_hash) != (proposal.digest, proposal.id, by.policy_hash):
            raise Forged(f"An approval of {proposal.id} is for something else.", details={"proposal": proposal.id})
        check_signature(approval, approver.public_key)
        people.append(approver)
    if not people:
        raise Denied(f"Nobody has approved {proposal.id}.", details={"rule": "nobody", "proposal": proposal.id})
    return tuple(people)


def _person(name: str, register: Principals, proposal: Proposal) -> Principal:
    found = register.get(name)
    if found is None or found.kind != "person" or not found.public_key:
        raise Denied(f"The approval of {proposal.id} is no longer good: {name} is not known as a person any more.")
    return found


def misfit(rule: SignedRule, proposal: Proposal, targets: Sequence[Target], *, audience: str, now: datetime) -> str:
    """Why a standing rule is not about a proposal; empty where it is."""
    said = rule.rule
    if proposal.requester not in said.principals:
        return f"it is not for {proposal.requester}"
    if (said.cluster, said.audience) != (proposal.plan.cluster, audience):
        return "it is for another cluster or executor"
    if not said.issued <= now < said.expires:
        return "it is over"
    if any(tool not in said.tools for tool in proposal.plan.tool.split("+")):
        return f"it is not for {proposal.plan.tool}"
    if proposal.tier is not Tier.YELLOW or proposal.needs > 1:
        return "it approves nothing destructive and nothing that takes several people"
    if proposal.tainted:
        return "a model drafted this, and a rule cannot look at what a model wrote"
    for target in targets:
        if target.subject not in said.subjects and not (said.tag and said.tag in target.tags):
            return f"{target.subject.replace('/', ' ')} is not in its scope"
    return ""
