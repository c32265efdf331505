"""What policy sees of the guests of a plan, from facts that were read."""

from __future__ import annotations

from collections.abc import Iterable

from pveops.guard.policy import Target
from pveops.model.facts import Facts
from pveops.model.plan import FieldValue


def targets_of(subjects: Iterable[str], facts: Facts, own_guests: Iterable[int]) -> list[Target]:
    """One target per subject. A subject that could not be read is marked as our own, so that policy lets nothing happen to it."""
    own = {f"guest/{vmid}" for vmid in own_guests}
    found = []
    for subject in subjects:
        unreadable = bool(facts.why_unknown(subject, "")) or subject in facts.missing

        def value(name: str, subject: str = subject) -> FieldValue:
            return facts.values.get(f"{subject}.{name}")

        tags = value("tags")
        found.append(
            Target(
                subject=subject,
                kind=str(value("kind") or "unknown"),
                name=str(value("name") or ""),
                node=str(value("node") or ""),
                pool=str(value("pool") or ""),
                tags=tags if isinstance(tags, tuple) else (),
                protection=value("protection") is True,
                template=value("template") is True,
                own=subject in own or unreadable,
            )
        )
    return found
