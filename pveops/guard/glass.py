"""Break-glass: a passphrase and a reason let one person approve what is RED, or in a freeze, for a short while. Never what is BLACK. Loud by design."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pveops.base.clock import Clock, from_iso, iso
from pveops.base.errors import Denied, InputError
from pveops.base.secret import Secret
from pveops.guard.budget import Memory
from pveops.guard.passwords import hash_password, is_password

LONGEST_S = 3600
USUAL_S = 900
_KIND = "glass"
_PASSPHRASE = "passphrase"  # noqa: S105 - the name of a note


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A glass that is broken now."""

    person: str
    why: str
    until: datetime


class Glass:
    """Kept in the store, so that a restart neither mends nor lengthens it. What cannot be read counts as whole."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock

    def set_passphrase(self, passphrase: Secret) -> None:
        """Keep a new passphrase, as an argon2id hash.

        Raises:
            InputError: it is too short.
        """
        self._memory.keep(_KIND, _PASSPHRASE, {"hash": hash_password(passphrase)})

    def break_it(self, person: str, passphrase: Secret, why: str, seconds: int = USUAL_S) -> Broken:
        """Break it for a person.

        Raises:
            InputError: no reason, or too long a time.
            Denied: no passphrase was ever set, or this is not it.
        """
        if not why.strip():
            raise InputError("Breaking the glass wants a reason.", hint="Add --why; it is written down and shown to everybody.")
        if not 60 <= seconds <= LONGEST_S:
            raise InputError(f"The glass is broken for 1 to {LONGEST_S // 60} minutes.")
        kept = self._memory.note(_KIND, _PASSPHRASE)
        if kept is None:
            raise Denied(
                "No passphrase for breaking the glass was ever set.",
                hint="An operator sets one with `pveops login glass --set`.",
                details={"rule": "break-glass"},
            )
        if not is_password(str(kept.get("hash", "")), passphrase):
            raise Denied("This is not the passphrase.", details={"rule": "break-glass"})
        until = self._clock.now() + timedelta(seconds=seconds)
        self._memory.keep(_KIND, f"by {person}", {"why": why, "until": iso(until)})
        return Broken(person=person, why=why, until=until)

    def mend(self, person: str) -> None:
        """Make it whole again before its time."""
        self._memory.keep(_KIND, f"by {person}", None)

    def broken(self, person: str) -> bool:
        """Whether this person has broken it, and the time is not over."""
        return any(one.person == person for one in self.all())

    def all(self) -> tuple[Broken, ...]:
        """Everybody for whom it is broken now."""
        now, found = self._clock.now(), []
        for name, body in self._memory.notes(_KIND).items():
            try:
                until = from_iso(str(body["until"]))
            except (KeyError, ValueError):
                continue
            if now < until <= now + timedelta(seconds=LONGEST_S):
                found.append(Broken(person=name.removeprefix("by "), why=str(body.get("why", "")), until=until))
        return tuple(found)
