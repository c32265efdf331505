"""Facts as they are: what a plan's assumptions and expectations are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pveops.base.canon import digest
from pveops.model.plan import Fact, FieldValue

GUEST_FIELDS = ("node", "kind", "name", "status", "lock", "template", "protection", "digest", "snapshots", "hastate", "tags", "pool")
"""Fields of ``guest/<vmid>`` that may stand in a fingerprint. ``booted_s`` (Unix time of the last start) serves ``restarted`` only."""

RESTART_SLACK_S = 2
"""The uptime of a guest is in whole seconds and read a moment after the node's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Values by key (``guest/101.status``). A key in ``unknown`` could not be read; the text says why. Any other absent key is absent."""

    values: Mapping[str, FieldValue] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    """Subjects that do not exist."""
    read_at: datetime

    def why_unknown(self, subject: str, name: str) -> str:
        """Why a field could not be read; empty where it was."""
        return self.unknown.get(f"{subject}.{name}") or self.unknown.get(subject, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A fact that does not hold. ``unknown`` means that nobody could tell."""

    fact: Fact
    found: FieldValue
    text: str
    unknown: bool = False


def _shown(value: FieldValue) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return str(value)


def compare(fact: Fact, facts: Facts, *, intent_node_s: int | None = None) -> Mismatch | None:
    """None if the fact holds, else what was found, in words."""
    if fact.subject in facts.missing:
        return Mismatch(fact=fact, found=None, text=f"{fact.subject} does not exist")
    why = facts.why_unknown(fact.subject, "booted_s" if fact.op == "restarted" else fact.field)
    if why:
        return Mismatch(fact=fact, found=None, text=f"{fact.key} could not be read: {why}", unknown=True)
    found = facts.values.get(fact.key)
    if fact.op == "is":
        if found == fact.value and isinstance(found, bool) == isinstance(fact.value, bool):
            return None
        return Mismatch(fact=fact, found=found, text=f"{fact.key} is {_shown(found)}, not {_shown(fact.value)}")
    if fact.op == "restarted":
        booted = facts.values.get(f"{fact.subject}.booted_s")
        if intent_node_s is None or not isinstance(booted, int):
            return Mismatch(
                fact=fact, found=booted, text=f"{fact.subject} runs no longer or its start time is not known", unknown=booted is not None
            )
        if booted >= intent_node_s - RESTART_SLACK_S:
            return None
        return Mismatch(fact=fact, found=booted, text=f"{fact.subject} was not restarted")
    inside = isinstance(found, tuple) and fact.value in found
    if inside == (fact.op == "has"):
        return None
    return Mismatch(
        fact=fact, found=found, text=f"{fact.key} {'does not hold' if fact.op == 'has' else 'still holds'} {_shown(fact.value)}"
    )


def mismatches(wanted: tuple[Fact, ...], facts: Facts, *, intent_node_s: int | None = None) -> tuple[Mismatch, ...]:
    """Every fact that does not hold, in order."""
    found = (compare(fact, facts, intent_node_s=intent_node_s) for fact in wanted)
    return tuple(miss for miss in found if miss is not None)


def fingerprint(assumed: tuple[Fact, ...]) -> str:
    """Digest of the assumed facts: what an approval is bound to."""
    return digest([[fact.key, fact.op, list(fact.value) if isinstance(fact.value, tuple) else fact.value] for fact in assumed])
