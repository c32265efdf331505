"""A proposal: a plan that somebody asks to be run, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pveops.base.errors import Forged
from pveops.model.codec import STRICT
from pveops.model.plan import Plan
from pveops.model.rehearsal import Rehearsal

Decision = Literal["allow", "confirm", "deny"]
CheckResult = Literal["ok", "warn", "fail", "unknown"]
PrincipalKind = Literal["person", "agent", "runbook", "service", "autopilot", "client"]


class Tier(StrEnum):
    """How much a call can hurt. Fixed per wire call, raised by the number of targets, never lowered, never chosen by a model."""

    GREEN = "green"
    """Reads only."""
    YELLOW = "yellow"
    """Reversible; one approval, also the requester's own."""
    RED = "red"
    """Destructive, or many guests; another person's approval."""
    BLACK = "black"
    """Never."""

    @property
    def rank(self) -> int:
        """0 to 3."""
        return list(Tier).index(self)


class ProposalStatus(StrEnum):
    """Where a proposal stands. ``approved`` means that its run tells the rest."""

    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    REFUSED = "refused"

    @property
    def open(self) -> bool:
        """Whether somebody may still decide."""
        return self is ProposalStatus.WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an intent came from: ``surface`` is ``lab``, ``chat``, ``cli``, ``dashboard``, ``runbook`` …; ``place`` a notebook or page.

    ``prompt_sha256``: of the sentence that a model was given, where one drafted the plan; the sentence itself is not kept.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    surface: str
    place: str = ""
    prompt_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at before anything is changed."""

    __pydantic_config__: ClassVar[Any] = STRICT

    name: str
    result: CheckResult
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a look at the live cluster says about a plan. Nothing was written."""

    __pydantic_config__: ClassVar[Any] = STRICT

    checks: tuple[Check, ...]
    read_at: datetime
    by: str
    """Whose token looked: ``reader`` or ``executor``."""

    @property
    def ok(self) -> bool:
        """Whether no check failed. An unknown is no failure, but it is shown."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result == "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What policy says to one request: the decision, the rule that made it, and a sentence for people."""

    __pydantic_config__: ClassVar[Any] = STRICT

    decision: Decision
    rule: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What an approver signs: exactly this plan, on exactly this state, under exactly this policy, here, once, until then."""

    __pydantic_config__: ClassVar[Any] = STRICT

    approval_id: str
    proposal_id: str
    plan_digest: str
    state_fingerprint: str
    policy_hash: str
    audience: str
    approver: str
    issued: datetime
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A claim with its Ed25519 signature (hexadecimal) by the approver's key."""

    __pydantic_config__: ClassVar[Any] = STRICT

    claim: Claim
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One person's approval of a proposal, as the executor took it.

    Attributes:
        person: who it is, whatever the principal is called: aliases of one person count once.
        channel: where it was given.
        glass: whether the glass was broken then.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    approver: str
    person: str
    at: datetime
    channel: str
    approval: Approval
    glass: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan put forward.

    Attributes:
        requester: the principal that asked (for a model's plan the person who chats).
        author: who drafted it: ``person``, ``model:<name>``, ``runbook:<name>``.
        digest: the plan's digest when it was put forward; a stored plan that no longer has it is refused.
        fingerprint: digest of the assumed facts.
        approval_id: the one-time id that an approval must carry.
        targets: how many guests, nodes or storages it touches.
        rehearsal: what the plan did on a simulated copy, where somebody tried; no part of the digest.
        person: who the requester is, whatever the principal is called.
        tainted: a model drafted it, or something else than a person put it forward.
        needs: how many different people must approve it, as policy said when it was put forward.
        votes: who has approved so far.
        standing: the standing rule that approved it.
        version: grows with every change of this record; long polls wait for it.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    id: str
    plan: Plan
    digest: str
    fingerprint: str
    policy_hash: str
    audience: str
    approval_id: str
    tier: Tier
    targets: int
    verdict: Verdict
    preview: Preview
    requester: str
    author: str
    origin: Origin
    correlation: str
    created: datetime
    expires: datetime
    simulated: bool
    status: ProposalStatus = ProposalStatus.WAITING
    decided_by: str = ""
    decided_at: datetime | None = None
    reason: str = ""
    run_id: str = ""
    rehearsal: Rehearsal | None = None
    person: str = ""
    tainted: bool = False
    needs: int = 1
    votes: tuple[Vote, ...] = ()
    standing: str = ""
    version: int = 1

    @property
    def missing(self) -> int:
        """How many more people must approve it."""
        return max(0, self.needs - len({vote.person for vote in self.votes}))

    def intact(self) -> Proposal:
        """This proposal, if its plan still has the digest it was put forward with.

        Raises:
            Forged: the stored plan was changed.
        """
        if self.plan.digest != self.digest:
            raise Forged(
                f"The plan of {self.id} is not the one that was proposed (its digest does not fit).",
                hint="Nothing ran. Draft it anew, and look into who changed the store.",
                details={"proposal": self.id},
            )
        return self
