"""Logging in: a password or a signature for a short token. Refusals are slow to guess and say nothing about which part was wrong."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from pveops.base.clock import Clock, from_iso, iso
from pveops.base.errors import Denied
from pveops.base.secret import Secret
from pveops.guard.budget import Memory
from pveops.guard.passwords import hash_password, is_password
from pveops.guard.principals import Principal, Principals, new_token, token_hash
from pveops.model.claims import is_login

SESSION_S = 8 * 3600
"""How long a token from a login is good."""
SKEW_S = 60
"""How far the clock of who signs a login may be off."""
_TRIES, _TRIES_S = 5, 60.0
_NOBODY = hash_password(Secret("nobody has this password"))
"""Compared with where there is nothing to compare with, so that a guess takes as long either way."""


@dataclass(frozen=True, slots=True)
class Session:
    """A token and its end."""

    token: Secret
    until: datetime


class Sessions:
    """Who is behind a token: a lasting one of the register, or one from a login. Kept in the store as hashes."""

    def __init__(self, *, memory: Memory, principals: Principals, clock: Clock, audience: str) -> None:
        self._memory = memory
        self._principals = principals
        self._clock = clock
        self._audience = audience
        self._failed: dict[str, list[float]] = {}

    def login(self, name: str, *, password: Secret | None = None, signature: str = "", at_s: int = 0) -> Session:
        """A short token for who knows the password, or signed name, executor and time with their key.

        Raises:
            Denied: neither fits, or it was tried too often.
        """
        now_s = self._clock.monotonic_s()
        failed = self._failed[name] = [at for at in self._failed.get(name, []) if at > now_s - _TRIES_S]
        if len(failed) >= _TRIES:
            raise Denied(
                f"{name} could not log in {len(failed)} times within a minute.", hint="Wait a minute.", details={"rule": "login-too-often"}
            )
        who = self._principals.get(name)
        if who is None or not (self._signed(who, signature, at_s) if signature else self._knows(who, password)):
            if who is None:
                is_password(_NOBODY, password or Secret(""))
            failed.append(now_s)
            raise Denied("Name and password (or key) do not fit.", hint="Try again, or ask an operator.", details={"rule": "login"})
        return self._open(who)

    def by_token(self, token: Secret) -> Principal:
        """The principal whose token this is.

        Raises:
            Denied: nobody's, or its time is over.
        """
        note = self._memory.note("session", token_hash(token))
        if note is None:
            return self._principals.by_token(token)
        who = self._principals.get(str(note.get("principal", "")))
        if who is None or self._clock.now() >= from_iso(str(note["until"])):
            raise Denied("This login is over.", hint="Run `pveops login` again.", details={"rule": "session-over"})
        return who

    def is_session(self, token: Secret) -> bool:
        """Whether a token is one of a login; a lasting one of the register is not."""
        return self._memory.note("session", token_hash(token)) is not None

    def logout(self, token: Secret) -> None:
        """End a session before its time."""
        self._memory.keep("session", token_hash(token), None)

    def count(self, name: str) -> int:
        """How many logins of a principal are open."""
        return sum(note.get("principal") == name for note in self._memory.notes("session").values())

    def end_all(self, name: str) -> None:
        """End every session of a principal: after a new password, or when it is removed."""
        for key, note in self._memory.notes("session").items():
            if note.get("principal") == name:
                self._memory.keep("session", key, None)

    def _open(self, who: Principal) -> Session:
        for key, note in self._memory.notes("session").items():
            if self._clock.now() >= from_iso(str(note["until"])):
                self._memory.keep("session", key, None)
        token, until = new_token(), self._clock.now() + timedelta(seconds=SESSION_S)
        self._memory.keep("session", token_hash(token), {"principal": who.name, "until": iso(until)})
        return Session(token, until)

    def _signed(self, who: Principal, signature: str, at_s: int) -> bool:
        now_s = int(self._clock.now().timestamp())
        if not who.public_key or abs(now_s - at_s) > SKEW_S or not is_login(who.name, self._audience, at_s, signature, who.public_key):
            return False
        once = hashlib.sha256(signature.lower().encode()).hexdigest()
        for key, note in self._memory.notes("login").items():
            if int(note.get("at_s", 0)) < now_s - 2 * SKEW_S:
                self._memory.keep("login", key, None)
        if self._memory.note("login", once) is not None:
            return False
        self._memory.keep("login", once, {"at_s": at_s})
        return True

    @staticmethod
    def _knows(who: Principal, password: Secret | None) -> bool:
        return is_password(who.password or _NOBODY, password or Secret("")) and bool(who.password)
