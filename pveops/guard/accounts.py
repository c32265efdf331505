"""Who there is, changed by operators through the executor; and standing rules. Every change and every refusal is in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

from pveops.base.clock import Clock
from pveops.base.errors import Denied, GuardError, InputError, UnknownName
from pveops.base.ids import is_id
from pveops.base.secret import Secret
from pveops.guard.audit import Ledger
from pveops.guard.budget import Memory
from pveops.guard.glass import Broken, Glass
from pveops.guard.passwords import hash_password
from pveops.guard.policy import Action, Policy, Target
from pveops.guard.principals import KINDS, ROLES, Principal, Principals, Role, new_token, save_principals, token_hash
from pveops.guard.sessions import Session, Sessions
from pveops.guard.standing import misfit
from pveops.model.claims import check_rule
from pveops.model.codec import decode, encode
from pveops.model.messages import UserRequest
from pveops.model.proposal import Proposal
from pveops.model.standing import SignedRule

LONGEST_RULE_DAYS = 90


class Accounts:
    """Users, groups, logins, standing rules and the glass, as the executor's routes use them."""

    def __init__(
        self, *, path: Path, principals: Principals, sessions: Sessions, glass: Glass, memory: Memory, policy: Policy, ledger: Ledger, clock: Clock,
        audience: str,
    ) -> None:  # fmt: skip
        self._path = path
        self._principals = principals
        self._sessions = sessions
        self._glass = glass
        self._memory = memory
        self._policy = policy
        self._ledger = ledger
        self._clock = clock
        self._audience = audience

    # -- logging in -----------------------------------------------------------------------------------------------------

    def login(self, name: str, *, password: Secret | None, signature: str, at_s: int) -> Session:
        """A short token.

        Raises:
            Denied: it does not fit, or was tried too often.
        """
        try:
            session = self._sessions.login(name, password=password, signature=signature, at_s=at_s)
        except GuardError as err:
            self._ledger.append("login.refused", actor=name[:40], data={"reason": err.message, "rule": err.details.get("rule", "")})
            raise
        self._ledger.append("login", actor=name, data={"with": "key" if signature else "password", "until": session.until.isoformat()})
        return session

    def logout(self, who: Principal, token: Secret) -> bool:
        """End a login before its time; returns whether the token was one (a lasting one stays good).

        Raises:
            AuditError: the ledger cannot be written; the login goes on.
        """
        if not self._sessions.is_session(token):
            return False
        self._ledger.append("logout", actor=who.name)
        self._sessions.logout(token)
        return True

    # -- users and groups -----------------------------------------------------------------------------------------------

    def add(self, who: Principal, asked: UserRequest) -> Secret | None:
        """Make a principal, or change one that exists; returns a lasting token where one was asked for.

        Raises:
            Denied: policy says no.
            InputError: unknown kind or role, a person without a key, an alias of nobody.
        """
        self._may(who, "manage", asked.name)
        if asked.kind not in KINDS or not set(asked.roles) <= set(ROLES):
            raise InputError(f"Kinds are {', '.join(KINDS)}; roles are {', '.join(ROLES)}.")
        others = [one for one in self._principals.all() if one.name != asked.name]
        old = self._principals.get(asked.name)
        if asked.alias_of and not any(one.name == asked.alias_of and one.kind == "person" and not one.alias_of for one in others):
            raise InputError(f"There is no person called {asked.alias_of}.", hint="`pveops user ls` shows them.")
        self._same_key(asked, others)
        token = new_token() if asked.token else None
        made = Principal(
            name=asked.name, kind=asked.kind, roles=cast("tuple[Role, ...]", asked.roles), token_sha256=token_hash(token) if token else old.token_sha256 if old else "",
            public_key=asked.public_key or (old.public_key if old else ""), groups=asked.groups, alias_of=asked.alias_of,
            password=hash_password(Secret(asked.password)) if asked.password else old.password if old else "", uids=asked.uids,
        )  # fmt: skip
        data = {
            "kind": made.kind,
            "roles": list(made.roles),
            "groups": list(made.groups),
            "alias_of": made.alias_of,
            "public_key": made.public_key,
        }
        self._ledger.append("user.changed" if old else "user.added", actor=who.name, data={"name": made.name, **data})
        save_principals(self._path, [*others, made])
        if old:
            self._end_logins(who, made.name, "it was changed")
        return token

    @staticmethod
    def _same_key(asked: UserRequest, others: Sequence[Principal]) -> None:
        """Two principals with one key are one person, and have to say so."""
        for one in others:
            if asked.public_key and one.public_key == asked.public_key and one.person != (asked.alias_of or asked.name):
                raise InputError(
                    f"{asked.name} has the key of {one.name}.", hint=f"Make it another name of theirs: --alias-of {one.person}."
                )

    def remove(self, who: Principal, name: str) -> None:
        """Remove a principal; what it has approved and what did not run yet does not run.

        Raises:
            Denied: policy says no, or it is the last operator.
            UnknownName: there is none.
        """
        self._may(who, "manage", name)
        known = list(self._principals.all())
        if name not in [one.name for one in known]:
            raise UnknownName(f"There is no principal called {name}.", hint="`pveops user ls` shows them.")
        left = [one for one in known if name not in (one.name, one.alias_of)]
        if not any(one.kind == "person" and "operator" in one.roles for one in left):
            raise Denied(f"{name} is the last operator.", hint="Add another one first.", details={"rule": "last-operator"})
        self._ledger.append("user.removed", actor=who.name, data={"name": name})
        save_principals(self._path, left)
        for one in known:
            if one not in left:
                self._end_logins(who, one.name, "it was removed")

    def group(self, who: Principal, name: str, group: str, *, member: bool) -> None:
        """Put a principal into a group, or take it out.

        Raises:
            Denied: policy says no.
            UnknownName: there is no such principal.
        """
        self._may(who, "manage", name)
        one = self._principals.get(name)
        if one is None:
            raise UnknownName(f"There is no principal called {name}.", hint="`pveops user ls` shows them.")
        groups = tuple(sorted({*one.groups, group} if member else set(one.groups) - {group}))
        self._ledger.append("user.changed", actor=who.name, data={"name": name, "groups": list(groups)})
        save_principals(self._path, [other if other.name != name else replace(other, groups=groups) for other in self._principals.all()])

    def people(self) -> list[Principal]:
        """Everybody."""
        return sorted(self._principals.all(), key=lambda one: (one.kind != "person", one.name))

    # -- the glass ------------------------------------------------------------------------------------------------------

    def set_glass(self, who: Principal, passphrase: Secret) -> None:
        """Keep a new passphrase for breaking the glass."""
        self._may(who, "break_glass", "glass")
        self._ledger.append("glass.passphrase", actor=who.name)
        self._glass.set_passphrase(passphrase)

    def break_glass(self, who: Principal, passphrase: Secret, why: str, seconds: int) -> Broken:
        """Break it, loudly."""
        self._may(who, "break_glass", "glass")
        try:
            broken = self._glass.break_it(who.person, passphrase, why, seconds)
        except GuardError as err:
            self._ledger.append("glass.refused", actor=who.name, data={"reason": err.message, "why": why})
            raise
        try:
            self._ledger.append("glass.broken", actor=who.name, data={"why": why, "until": broken.until.isoformat(), "person": who.person})
        except Exception:
            self._glass.mend(who.person)  # no record, no broken glass
            raise
        return broken

    def mend_glass(self, who: Principal) -> None:
        """Make it whole again before its time."""
        self._ledger.append("glass.mended", actor=who.name)
        self._glass.mend(who.person)

    # -- standing rules -------------------------------------------------------------------------------------------------

    def add_rule(self, who: Principal, signed: SignedRule) -> None:
        """Keep a standing rule that its owner signed.

        Raises:
            Denied: policy says no, or it is somebody else's.
            Forged: the signature does not fit.
            InputError: its scope is empty, it is for people, or it is good for too long.
        """
        rule, now = signed.rule, self._clock.now()
        self._may(who, "standing", rule.id)
        if rule.owner != who.name or who.kind != "person" or not who.public_key:
            raise Denied("A standing rule is made by its owner, who is a person with a key.", details={"rule": "standing-rule"})
        check_rule(signed, who.public_key)
        if not is_id(rule.id, "s") or self._memory.note("rule", rule.id) is not None:
            raise InputError(f"{rule.id} is no new id of a standing rule.")
        if rule.audience != self._audience or not rule.tools or not (rule.subjects or rule.tag) or not rule.why.strip():
            raise InputError("A standing rule names this executor, its tools, its guests (or a tag) and a reason.")
        for name in rule.principals:
            user = self._principals.get(name)
            if user is None or user.kind in ("person", "agent"):
                raise InputError(f"{name} cannot use a standing rule: it is for runbooks, services, clients and the autopilot.")
        if (
            not rule.principals
            or not now < rule.expires <= now + timedelta(days=LONGEST_RULE_DAYS)
            or not 0 < rule.per_hour <= rule.per_day
        ):
            raise InputError(f"A standing rule is for somebody, ends within {LONGEST_RULE_DAYS} days, and has a budget per hour and day.")
        self._ledger.append("rule.added", actor=who.name, data=encode(signed))
        self._memory.keep("rule", rule.id, encode(signed))

    def revoke_rule(self, who: Principal, rule_id: str) -> None:
        """Drop a standing rule. Its owner may, and whoever may make rules."""
        kept = self.rules().get(rule_id)
        if kept is None:
            raise UnknownName(f"There is no standing rule {rule_id}.", hint="`pveops rule ls` shows them.")
        if kept.rule.owner != who.name:
            self._may(who, "standing", rule_id)
        self._ledger.append("rule.revoked", actor=who.name, data={"rule": rule_id})
        self._memory.keep("rule", rule_id, None)

    def rules(self) -> dict[str, SignedRule]:
        """All standing rules by id."""
        return {name: decode(SignedRule, body) for name, body in self._memory.notes("rule").items()}

    def fitting(self, proposal: Proposal, targets: Sequence[Target]) -> list[SignedRule]:
        """Standing rules that are about a proposal."""
        now = self._clock.now()
        return [one for one in self.rules().values() if not misfit(one, proposal, targets, audience=self._audience, now=now)]

    def owner(self, signed: SignedRule) -> Principal | None:
        """The person behind a standing rule, if still known."""
        return self._principals.get(signed.rule.owner)

    def _end_logins(self, who: Principal, name: str, why: str) -> None:
        """End the logins of a principal. They are over even where that cannot be written down: the change itself is."""
        count = self._sessions.count(name)
        self._sessions.end_all(name)
        if count:
            self._ledger.append("logout", actor=who.name, data={"what": f"{count} of {name}", "why": why})

    def _may(self, who: Principal, action: Action, what: str) -> None:
        verdict = self._policy.simple(action, who, "all")
        if verdict.decision == "deny":
            self._ledger.append(
                "access.refused", actor=who.name, data={"what": f"{action} {what}", "rule": verdict.rule, "reason": verdict.text}
            )
            raise Denied(verdict.text, details={"rule": verdict.rule})
