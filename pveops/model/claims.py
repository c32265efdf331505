"""Signing what is approved: Ed25519 over the canonical JSON of a claim."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pveops.base.canon import canonical
from pveops.base.errors import Forged
from pveops.base.secret import Secret
from pveops.model.codec import encode
from pveops.model.proposal import Approval, Claim, Proposal
from pveops.model.standing import SignedRule, StandingRule

CLAIM_TTL_S = 120
"""An approval must reach the executor within this many seconds after it was signed."""

_RULE = b"pveops standing rule\0"
"""Goes in front of what is signed, so that a signature means one kind of thing only."""


def new_key() -> tuple[Secret, str]:
    """A fresh key pair: private key and public key, hexadecimal."""
    private = Ed25519PrivateKey.generate()
    return Secret(private.private_bytes_raw().hex()), private.public_key().public_bytes_raw().hex()


def public_of(private: Secret) -> str:
    """The public key (hexadecimal) of a private one."""
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private.reveal())).public_key().public_bytes_raw().hex()


def claim_for(proposal: Proposal, *, approver: str, now: datetime) -> Claim:
    """What an approver of this proposal signs. It is over with the proposal, or after two minutes."""
    return Claim(
        approval_id=proposal.approval_id,
        proposal_id=proposal.id,
        plan_digest=proposal.digest,
        state_fingerprint=proposal.fingerprint,
        policy_hash=proposal.policy_hash,
        audience=proposal.audience,
        approver=approver,
        issued=now,
        expires=min(proposal.expires, now + timedelta(seconds=CLAIM_TTL_S)),
    )


def sign(claim: Claim, private: Secret) -> Approval:
    """The claim with its signature."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private.reveal()))
    return Approval(claim=claim, signature=key.sign(canonical(encode(claim))).hex())


def check_signature(approval: Approval, public_key: str) -> None:
    """Return if the signature is the key's over exactly this claim.

    Raises:
        Forged: it is not.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            bytes.fromhex(approval.signature), canonical(encode(approval.claim))
        )
    except (InvalidSignature, ValueError) as err:
        raise Forged(
            f"The approval of {approval.claim.proposal_id} does not carry the signature of {approval.claim.approver}.",
            hint="Nothing ran. Approve it yourself, with your own key.",
            details={"proposal": approval.claim.proposal_id},
        ) from err


def sign_rule(rule: StandingRule, private: Secret) -> SignedRule:
    """The standing rule with its signature."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private.reveal()))
    return SignedRule(rule=rule, signature=key.sign(_RULE + canonical(encode(rule))).hex())


def check_rule(signed: SignedRule, public_key: str) -> None:
    """Return if the signature is the key's over exactly this rule.

    Raises:
        Forged: it is not.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            bytes.fromhex(signed.signature), _RULE + canonical(encode(signed.rule))
        )
    except (InvalidSignature, ValueError) as err:
        raise Forged(
            f"The standing rule {signed.rule.id} does not carry the signature of {signed.rule.owner}.", hint="Nothing ran."
        ) from err


def sign_login(principal: str, audience: str, at_s: int, private: Secret) -> str:
    """The signature (hexadecimal) that logs a person in: name, executor, and the time in Unix seconds."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private.reveal()))
    return key.sign(_login(principal, audience, at_s)).hex()


def is_login(principal: str, audience: str, at_s: int, signature: str, public_key: str) -> bool:
    """Whether this is the key's signature for such a login."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), _login(principal, audience, at_s))
    except (InvalidSignature, ValueError):
        return False
    return True


def _login(principal: str, audience: str, at_s: int) -> bytes:
    return b"pveops login\0" + canonical([principal, audience, at_s])
