"""May this approval be spent on this proposal? Everything it is bound to is compared here, in one place."""

from __future__ import annotations

from datetime import datetime, timedelta

from pveops.base.errors import Denied, Expired, Forged, Stale, Used
from pveops.guard.principals import Principal
from pveops.model.claims import CLAIM_TTL_S, check_signature
from pveops.model.proposal import Approval, Proposal, ProposalStatus

_CLOCK_SLACK_S = 30
"""A claim from the future by more than this is refused: somebody's clock is wrong, or was set."""

_GONE = {
    ProposalStatus.APPROVED: "was approved already",
    ProposalStatus.DENIED: "was denied",
    ProposalStatus.WITHDRAWN: "was withdrawn",
    ProposalStatus.EXPIRED: "has expired",
    ProposalStatus.REFUSED: "was refused",
}


def check_open(proposal: Proposal, *, now: datetime) -> None:
    """Return if somebody may still decide.

    Raises:
        Used: it is decided.
        Expired: its time is over.
    """
    details = {"proposal": proposal.id}
    if proposal.status is ProposalStatus.EXPIRED or (proposal.status.open and now >= proposal.expires):
        raise Expired(f"{proposal.id} has expired. Nothing ran.", hint="Check again and propose anew.", details=details)
    if not proposal.status.open:
        by = f" by {proposal.decided_by}" if proposal.decided_by else ""
        raise Used(f"{proposal.id} {_GONE[proposal.status]}{by}.", hint="Propose the same again if it is still wanted.", details=details)


def check_approval(approval: Approval, proposal: Proposal, caller: Principal, *, policy_hash: str, now: datetime) -> None:
    """Return if this approval, sent by this caller, is good for this proposal as it stands.

    Raises:
        Denied: the caller cannot approve at all.
        Forged: signature, digest, state, audience or one-time id do not fit.
        Stale: the policy has changed since it was put forward.
        Expired: too late.
        Used: decided already.
    """
    claim = approval.claim
    details = {"proposal": proposal.id}
    if caller.kind != "person" or not caller.public_key:
        raise Denied(
            f"{caller.name} is {_a(caller.kind)} and cannot approve.",
            hint="Ask a person to look at the proposal.",
            details={"rule": "only-people-decide"} | details,
        )
    if claim.approver != caller.name:
        raise Forged(
            f"The approval of {proposal.id} is {claim.approver}'s, and {caller.name} sent it.", hint="Approve it yourself.", details=details
        )
    check_signature(approval, caller.public_key)
    check_open(proposal, now=now)
    proposal.intact()
    bound = {
        "proposal": (claim.proposal_id, proposal.id),
        "plan": (claim.plan_digest, proposal.digest),
        "state": (claim.state_fingerprint, proposal.fingerprint),
        "executor": (claim.audience, proposal.audience),
        "one-time id": (claim.approval_id, proposal.approval_id),
    }
    for what, (claimed, real) in bound.items():
        if claimed != real:
            raise Forged(
                f"The approval is for another {what} than that of {proposal.id}.", hint="Look at the proposal again.", details=details
            )
    if claim.policy_hash != proposal.policy_hash or policy_hash != proposal.policy_hash:
        raise Stale(f"The policy has changed since {proposal.id} was put forward.", hint="Check again and propose anew.", details=details)
    if claim.issued > now + timedelta(seconds=_CLOCK_SLACK_S):
        raise Forged(f"The approval of {proposal.id} comes from the future.", hint="Set the clock of this machine.", details=details)
    if now >= claim.expires or now > claim.issued + timedelta(seconds=CLAIM_TTL_S):
        raise Expired(f"The approval of {proposal.id} was signed too long ago.", hint="Approve it again.", details=details)


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
