"""Routes about who there is: logins, users, groups, standing rules, the glass, and why somebody may not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pveops.base.errors import Denied, InputError
from pveops.base.secret import Secret
from pveops.guard.principals import Principal
from pveops.model.codec import decode, encode
from pveops.model.messages import GlassRequest, GlassView, GroupRequest, LoginReply, LoginRequest, NameRequest, UserRequest, UserView
from pveops.model.standing import SignedRule

if TYPE_CHECKING:
    from pveops.app.executor import Parts
    from pveops.surfaces.daemon.call import Call


def login(parts: Parts, body: Any) -> dict[str, Any]:
    """A short token for a password or a signature. The caller has no token yet."""
    asked = decode(LoginRequest, body)
    password = Secret(asked.password) if asked.password else None
    session = parts.accounts.login(asked.principal, password=password, signature=asked.signature, at_s=asked.at_s)
    return encode(LoginReply(token=session.token.reveal(), until=session.until))


def logout(call: Call) -> dict[str, Any]:
    """End the login that the call was made with."""
    return {"ended": call.parts.accounts.logout(call.who, call.token)}


def users(call: Call) -> list[dict[str, Any]]:
    """Everybody, without secrets."""
    return [encode(_view(one)) for one in call.parts.accounts.people()]


def _view(one: Principal) -> UserView:
    return UserView(
        name=one.name, kind=one.kind, roles=one.roles, groups=one.groups, alias_of=one.alias_of, has_key=bool(one.public_key),
        has_password=bool(one.password), has_token=bool(one.token_sha256),
    )  # fmt: skip


def add_user(call: Call) -> dict[str, Any]:
    """Make or change a principal."""
    token = call.parts.accounts.add(call.who, decode(UserRequest, call.body))
    return {"token": token.reveal() if token else ""}


def remove_user(call: Call) -> dict[str, Any]:
    """Remove a principal."""
    call.parts.accounts.remove(call.who, decode(NameRequest, call.body).name)
    return {}


def group(call: Call) -> dict[str, Any]:
    """Membership of a group."""
    asked = decode(GroupRequest, call.body)
    call.parts.accounts.group(call.who, asked.name, asked.group, member=asked.member)
    return {}


def rules(call: Call) -> list[dict[str, Any]]:
    """Standing rules."""
    return [encode(one) for one in call.parts.accounts.rules().values()]


def add_rule(call: Call) -> dict[str, Any]:
    """Keep a standing rule."""
    call.parts.accounts.add_rule(call.who, decode(SignedRule, call.body))
    return {}


def revoke_rule(call: Call) -> dict[str, Any]:
    """Drop a standing rule."""
    call.parts.accounts.revoke_rule(call.who, decode(NameRequest, call.body).name)
    return {}


def glass_state(call: Call) -> list[dict[str, Any]]:
    """For whom the glass is broken."""
    return [encode(GlassView(person=one.person, why=one.why, until=one.until)) for one in call.parts.glass.all()]


def glass(call: Call) -> list[dict[str, Any]]:
    """Break it, mend it, or set its passphrase. A model's kernel has no terminal, and breaking it wants one."""
    asked, accounts = decode(GlassRequest, call.body), call.parts.accounts
    if asked.what != "mend" and not call.peer.has_terminal:
        raise Denied("The glass is broken in a terminal only.", hint="Run `pveops login glass` in one.", details={"rule": "break-glass"})
    if asked.what == "set":
        accounts.set_glass(call.who, Secret(asked.passphrase))
    elif asked.what == "break":
        broken = accounts.break_glass(call.who, Secret(asked.passphrase), asked.why, asked.seconds)
        text = f"{broken.person} has broken the glass until {broken.until:%H:%M} UTC: {asked.why}"
        call.parts.journal.announce("glass.broken", actor=call.who.name, text=text)
    else:
        accounts.mend_glass(call.who)
        call.parts.journal.announce("glass.mended", actor=call.who.name)
    return glass_state(call)


def explain(call: Call) -> dict[str, Any]:
    """Why somebody may not (or that they may), in one sentence."""
    name = call.request.query_params.get("as", "") or call.who.name
    action = call.request.query_params.get("action", "approve")
    who = call.parts.principals.get(name)
    if who is None or (name != call.who.name and "operator" not in call.who.roles):
        raise InputError(f"There is no principal called {name}, or it is not for you to ask about.", hint="`pveops user ls` shows them.")
    channel = call.channel(call.request.query_params.get("channel", "cli"))
    return encode(call.parts.executor.explain(who, call.id, action, channel=channel))
