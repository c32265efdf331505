"""Second factors of users, logins by OpenID and console tickets: what they answer to somebody who has none."""

from __future__ import annotations

import secrets
from typing import Any

from pveops.sim.errors import RefusedError, bad_parameter, failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.state.identity import User, password_fits

api = Table()

_KINDS = {"totp": "totp", "recovery": "recovery", "yubico": "yubico", "webauthn": "webauthn", "u2f": "u2f"}
_RECOVERY_KEYS = 10


def _user(call: Call) -> User:
    found = call.cluster.identities.users.get(call.p["userid"])
    if found is None:
        raise failed(f"no such user ('{call.p['userid']}')")
    return found


def _check_password(call: Call) -> None:
    """Who changes second factors proves to be there, except root."""
    if call.who.is_root:
        return
    me = call.cluster.identities.users.get(call.who.userid)
    if "password" not in call.p:
        raise bad_parameter("password", "password is required to modify TFA data")
    if me is None or not password_fits(me.password, call.p["password"]):
        raise RefusedError(401, "authentication failure")


@api.reads("GET /access/tfa")
def users_with_factors(call: Call) -> list[dict[str, Any]]:
    """Everybody with a second factor that the caller may see."""
    everything = call.may_any("/access/groups", "User.Modify", "Sys.Audit")
    return [
        {"userid": user.userid, "entries": list(user.factors.values())}
        for user in call.cluster.identities.users.values()
        if user.factors and (everything or user.userid == call.who.userid)
    ]


@api.reads("GET /access/tfa/{userid}")
def factors(call: Call) -> list[dict[str, Any]]:
    """The second factors of a user."""
    found = call.cluster.identities.users.get(call.p["userid"])
    return list(found.factors.values()) if found else []


def _factor(call: Call) -> dict[str, Any]:
    found = _user(call).factors.get(call.p["id"])
    if found is None:
        raise bad_parameter("id", f"no such entry '{call.p['id']}'")
    return found


@api.reads("GET /access/tfa/{userid}/{id}")
def factor(call: Call) -> dict[str, Any]:
    """One second factor."""
    return _factor(call)


@api.behaves("POST /access/tfa/{userid}")
def add_factor(call: Call) -> dict[str, Any]:
    """A new second factor; for recovery keys the answer is the only place where they stand."""
    _check_password(call)
    user, kind = _user(call), _KINDS[call.p["type"]]
    name = "recovery" if kind == "recovery" else f"{kind}-{len(user.factors) + 1}"
    if name in user.factors:
        raise bad_parameter("type", "recovery keys already exist")
    user.factors[name] = {
        "id": name,
        "type": kind,
        "description": call.p.get("description", ""),
        "created": int(call.now_s),
        "enable": 1,
    }
    answer: dict[str, Any] = {"id": name}
    return answer | ({"recovery": [secrets.token_hex(8) for _ in range(_RECOVERY_KEYS)]} if kind == "recovery" else {})


@api.behaves("PUT /access/tfa/{userid}/{id}")
def change_factor(call: Call) -> None:
    """Describe a second factor, switch it on or off."""
    _check_password(call)
    _factor(call).update({key: call.p[key] for key in ("description", "enable") if key in call.p})


@api.behaves("DELETE /access/tfa/{userid}/{id}")
def delete_factor(call: Call) -> None:
    """Take a second factor away."""
    _check_password(call)
    del _user(call).factors[_factor(call)["id"]]


@api.reads("GET /access/users/{userid}/tfa")
def kinds_of_factors(call: Call) -> dict[str, Any]:
    """Which kinds of second factors a user has."""
    user = _user(call)
    realm = call.cluster.identities.realms.get(user.realm, {})
    answer: dict[str, Any] = {"realm": "yubico" if "yubico" in str(realm.get("tfa", "")) else None}
    if call.p.get("multiple"):
        answer["types"] = sorted({str(one["type"]) for one in user.factors.values()})
    return {key: value for key, value in answer.items() if value is not None}


@api.behaves("PUT /access/users/{userid}/unlock-tfa")
def unlock(call: Call) -> int:
    """Let a user try the second factor again; nobody was locked out."""
    _user(call)
    return 0


@api.behaves("POST /access/openid/auth-url")
def openid_url(call: Call) -> str:
    """The address where a login by OpenID would begin."""
    row = call.cluster.identities.realms.get(call.p["realm"])
    if row is None:
        raise RefusedError(401, f"authentication domain '{call.p['realm']}' does not exist")
    if row["type"] != "openid":
        raise RefusedError(401, f"wrong realm type ({row['type']} != openid)")
    return f"{row['issuer-url']}/auth?client_id={row['client-id']}&redirect_uri={call.p['redirect-url']}&response_type=code"


@api.behaves("POST /access/openid/login")
def openid_login(call: Call) -> None:
    """Finish a login by OpenID; no issuer has sent anybody here."""
    raise RefusedError(401, "openid authentication failure")


@api.behaves("POST /access/vncticket")
def check_console_ticket(call: Call) -> None:
    """Whether a console ticket is good for a path and privileges; console servers ask."""
    if not call.world.gate.console_fits(call.p["vncticket"], call.p["authid"], call.p["path"]):
        raise RefusedError(401, "authentication failure")
