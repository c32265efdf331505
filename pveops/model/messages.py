"""What travels over the executor's socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from pveops.model.codec import STRICT
from pveops.model.plan import Plan
from pveops.model.proposal import Approval, Origin, PrincipalKind


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
    """Switch all writing off (or on again), or that to one cluster."""

    __pydantic_config__: ClassVar[Any] = STRICT

    on: bool
    why: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillState:
    """The kill switch: ``on`` means that nothing is written."""

    __pydantic_config__: ClassVar[Any] = STRICT

    on: bool
    why: str = ""
    by: str = ""
    since: datetime | None = None
    cluster: str = ""
    """The one cluster it is about; empty for all."""
    running: tuple[str, ...] = ()
    """What is under way at the cluster and is not interrupted, in words."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRequest:
    """Log in: with a password, or with a signature over name, executor and time (Unix seconds)."""

    __pydantic_config__: ClassVar[Any] = STRICT

    principal: str
    password: str = field(default="", repr=False)
    signature: str = ""
    at_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginReply:
    """A short token and its end."""

    __pydantic_config__: ClassVar[Any] = STRICT

    token: str = field(repr=False)
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRequest:
    """Make or change a principal. ``token``: whether it gets a lasting token."""

    __pydantic_config__: ClassVar[Any] = STRICT

    name: str
    kind: PrincipalKind = "person"
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    alias_of: str = ""
    public_key: str = ""
    password: str = field(default="", repr=False)
    uids: tuple[int, ...] = ()
    token: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView:
    """A principal without its secrets."""

    __pydantic_config__: ClassVar[Any] = STRICT

    name: str
    kind: PrincipalKind
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    alias_of: str
    has_key: bool
    has_password: bool
    has_token: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRequest:
    """Put a principal into a group, or take it out."""

    __pydantic_config__: ClassVar[Any] = STRICT

    name: str
    group: str
    member: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRequest:
    """Something by its name."""

    __pydantic_config__: ClassVar[Any] = STRICT

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassRequest:
    """Break the glass for so many seconds, mend it, or set its passphrase."""

    __pydantic_config__: ClassVar[Any] = STRICT

    what: Literal["break", "mend", "set"]
    passphrase: str = field(default="", repr=False)
    why: str = ""
    seconds: int = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassView:
    """For whom the glass is broken now."""

    __pydantic_config__: ClassVar[Any] = STRICT

    person: str
    why: str
    until: datetime
