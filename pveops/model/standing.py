"""A standing rule: a person's approval given beforehand, for a narrow scope, with a budget and an end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from pveops.model.codec import STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRule:
    """What its owner signs.

    Attributes:
        id: ``s-`` and digits.
        owner: the person whose approval it is.
        audience: the executor that may act on it.
        cluster: the one cluster it is about.
        principals: who may use it (never a person's own card: it is for what runs by itself).
        tools: tools whose plans it approves.
        subjects: ``guest/101`` and so on; empty means any that carries ``tag``.
        tag: guests that carry it; empty means that ``subjects`` names them.
        per_hour, per_day: most steps.
        expires: the last moment it is good for.
        why: for the record.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    id: str
    owner: str
    audience: str
    cluster: str
    principals: tuple[str, ...]
    tools: tuple[str, ...]
    subjects: tuple[str, ...] = ()
    tag: str = ""
    per_hour: int = 1
    per_day: int = 5
    issued: datetime
    expires: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRule:
    """A standing rule with its Ed25519 signature (hexadecimal) by the owner's key."""

    __pydantic_config__: ClassVar[Any] = STRICT

    rule: StandingRule
    signature: str
