"""One fresh look at the guests of a plan: what its steps will assume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pveops.base.errors import InputError, UnknownName
from pveops.model.facts import Facts
from pveops.model.plan import Fact, FieldValue
from pveops.model.resources import Guest
from pveops.tools.ports import Ports


@dataclass(frozen=True, slots=True)
class Look:
    """A guest with its facts."""

    guest: Guest
    facts: Facts

    def value(self, name: str) -> FieldValue:
        """A field of the guest."""
        return self.facts.values.get(f"{self.guest.ref.subject}.{name}")

    @property
    def status(self) -> str:
        """Its live status."""
        return str(self.value("status"))

    @property
    def snapshots(self) -> tuple[str, ...]:
        """Names of its snapshots."""
        found = self.value("snapshots")
        return found if isinstance(found, tuple) else ()

    @property
    def ha(self) -> bool:
        """Whether HA manages it: then a request only files an order that HA carries out later."""
        return self.value("hastate") is not None

    def assume(self, *names: str) -> tuple[Fact, ...]:
        """Facts that say: these fields are as they are now."""
        subject = self.guest.ref.subject
        return tuple(Fact(subject=subject, field=name, value=self.value(name)) for name in names)


def look_at(guests: Sequence[Guest], ports: Ports) -> list[Look]:
    """Read the facts of all guests.

    Raises:
        UnknownName: a guest is gone.
        InputError: one of them cannot be read.
    """
    facts = ports.reader.facts([guest.ref.subject for guest in guests])
    for guest in guests:
        if guest.ref.subject in facts.missing:
            raise UnknownName(f"{guest.label} is gone.", hint="Somebody removed it a moment ago; `pveops guests ls` shows what is there.")
        why = facts.why_unknown(guest.ref.subject, "")
        if why:
            raise InputError(
                f"{guest.label} cannot be read, so nothing can be planned for it: {why}.", hint="Try again, or look at its node."
            )
    return [Look(guest, facts) for guest in guests]
