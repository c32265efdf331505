"""What policy sees of what a plan touches, from facts that were read."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pveops.guard.policy import Target
from pveops.guard.table import rule_of
from pveops.guard.tiers import rate_call
from pveops.model.facts import Facts
from pveops.model.plan import FieldValue, Step
from pveops.model.proposal import Tier

CRITICAL_TAG = "pveops-critical"


def targets_of(
    subjects: Iterable[str], facts: Facts, own_guests: Iterable[int], *, steps: Iterable[Step] = (), maintenance: Collection[str] = ()
) -> list[Target]:
    """One target per subject. A subject that could not be read is marked as our own, so that policy lets nothing happen to it.

    Args:
        subjects: what to show.
        facts: what was read.
        own_guests: guests that pveops runs on.
        steps: what a plan does; each target gets the calls that concern it.
        maintenance: nodes that people work on.
    """
    own = {f"guest/{vmid}" for vmid in own_guests}
    calls = _calls(steps)
    found = []
    for subject in dict.fromkeys(subjects):
        unreadable = bool(facts.why_unknown(subject, "")) or subject in facts.missing

        def value(name: str, subject: str = subject) -> FieldValue:
            return facts.values.get(f"{subject}.{name}")

        kind, _, name = subject.partition("/")
        raw = value("tags")
        tags = raw if isinstance(raw, tuple) else ()
        node = str(value("node") or "") if kind == "guest" else name.partition("/")[0]
        does, tier = calls.get(subject, ((), Tier.YELLOW))
        found.append(
            Target(
                subject=subject,
                kind=str(value("kind") or "unknown") if kind == "guest" else kind,
                name=str(value("name") or "") if kind == "guest" else name.rpartition("/")[2],
                node=node,
                pool=str(value("pool") or ""),
                tags=tags,
                protection=value("protection") is True,
                template=value("template") is True,
                own=subject in own or unreadable,
                criticality="high" if CRITICAL_TAG in tags else "normal",
                maintenance=node in maintenance,
                calls=does,
                call_tier=tier.value,
            )
        )
    return found


def _calls(steps: Iterable[Step]) -> dict[str, tuple[tuple[str, ...], Tier]]:
    """By subject: the calls that concern it, as the table names them, and their highest tier."""
    found: dict[str, tuple[tuple[str, ...], Tier]] = {}
    for step in steps:
        rule, tier = rule_of(step.call), rate_call(step.call).tier
        names, highest = found.get(step.subject, ((), Tier.YELLOW))
        name = rule.name if rule else step.call.text
        found[step.subject] = (tuple(dict.fromkeys((*names, name))), max(highest, tier, key=lambda one: one.rank))
    return found
