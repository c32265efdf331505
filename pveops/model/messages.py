"""What travels over the executor's socket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pveops.model.codec import STRICT
from pveops.model.plan import Plan
from pveops.model.proposal import Approval, Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeRequest:
    """Put a plan forward."""

    __pydantic_config__: ClassVar[Any] = STRICT

    plan: Plan
    author: str
    origin: Origin
    correlation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveRequest:
    """Approve a proposal."""

    __pydantic_config__: ClassVar[Any] = STRICT

    approval: Approval
    channel: str
    """Where the person clicked or typed: ``card``, ``dashboard``, ``cli``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonRequest:
    """Deny, withdraw or stop, with a reason."""

    __pydantic_config__: ClassVar[Any] = STRICT

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveRequest:
    """Say what became of a step whose outcome is unknown.

    ``what``: ``look`` (look again), ``happened``, ``not_happened``, ``close`` (leave it unknown and end the run).
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    what: Literal["look", "happened", "not_happened", "close"]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillRequest:
    """Switch all writing off (or on again)."""

    __pydantic_config__: ClassVar[Any] = STRICT

    on: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KillState:
    """The kill switch: ``on`` means that nothing is written."""

    __pydantic_config__: ClassVar[Any] = STRICT

    on: bool
    why: str = ""
    by: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorInfo:
    """Who answers."""

    __pydantic_config__: ClassVar[Any] = STRICT

    executor: str
    version: str
    pid: int
    cluster: str
    cluster_version: str
    simulated: bool
    boundary: str
    """What separates the executor from its callers, in one sentence."""
    policy_hash: str
    policy_name: str
    principal: str
    principal_kind: str
    kill: KillState
    waiting: int
    running: int
    unknown: int
    started: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """A line for the feed about a proposal, as it is written down together with what it tells of."""

    kind: str
    actor: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, in order. ``seq`` never repeats."""

    __pydantic_config__: ClassVar[Any] = STRICT

    seq: int
    at: datetime
    kind: str
    proposal_id: str = ""
    actor: str = ""
    text: str = ""
