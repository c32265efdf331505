"""API tokens, roles and access control lists: what ``pveum`` changes."""

from __future__ import annotations

import re
import uuid
from typing import Any

from pveops.sim.errors import RefusedError, bad_parameter, bad_parameters, failed
from pveops.sim.methods.access import find_user, token_row
from pveops.sim.methods.table import Call, Table
from pveops.sim.privileges import MODIFY_PRIVILEGES
from pveops.sim.props import split_list
from pveops.sim.state.access import ACL_PATHS, normalize
from pveops.sim.state.identity import Role, Token

api = Table()

_TOKEN_ID = re.compile(r"[A-Za-z][A-Za-z0-9.\-_]+")


@api.reads("GET /access/users/{userid}/token")
def tokens(call: Call) -> list[dict[str, Any]]:
    """The tokens of a user."""
    return [{"tokenid": token.name, **token_row(token)} for token in find_user(call).tokens.values()]


def _find_token(call: Call) -> Token:
    name = call.p["tokenid"]
    found = find_user(call).tokens.get(name)
    if found is None:
        raise failed(f"no such token '{name}' for user '{call.p['userid']}'")
    return found


@api.reads("GET /access/users/{userid}/token/{tokenid}")
def token(call: Call) -> dict[str, Any]:
    """One token, without its secret."""
    return token_row(_find_token(call))


@api.behaves("POST /access/users/{userid}/token/{tokenid}")
def create_token(call: Call) -> dict[str, Any]:
    """A new token. Its secret is in this answer and never again."""
    user, name = find_user(call), call.p["tokenid"]
    if name in user.tokens:
        raise bad_parameter("tokenid", "Token already exists.")
    if not _TOKEN_ID.fullmatch(name):
        raise bad_parameter("tokenid", "value does not match the regex pattern")
    fresh = Token(name, str(uuid.uuid4()), bool(call.p.get("privsep", 1)), call.p.get("expire", 0), call.p.get("comment", ""))
    user.tokens[name] = fresh
    call.cluster.identities.changed()
    info: dict[str, Any] = {"privsep": str(call.p["privsep"]) if "privsep" in call.p else 1}
    info.update({key: call.p[key] for key in ("comment", "expire") if key in call.p})
    return {"full-tokenid": f"{user.userid}!{name}", "value": fresh.secret, "info": info}


@api.behaves("PUT /access/users/{userid}/token/{tokenid}")
def update_token(call: Call) -> dict[str, Any]:
    """Change a token; ``regenerate`` gives it a new secret."""
    found = _find_token(call)
    found.comment = call.p.get("comment", found.comment)
    found.expire_s = call.p.get("expire", found.expire_s)
    found.privsep = bool(call.p.get("privsep", found.privsep))
    answer = token_row(found)
    if call.p.get("regenerate"):
        found.secret = str(uuid.uuid4())
        answer |= {"full-tokenid": f"{call.p['userid']}!{found.name}", "value": found.secret}
    call.cluster.identities.changed()
    return answer


@api.behaves("DELETE /access/users/{userid}/token/{tokenid}")
def delete_token(call: Call) -> None:
    """Remove a token and its ACL entries."""
    found = _find_token(call)
    call.cluster.identities.forget("token", f"{call.p['userid']}!{found.name}")
    del find_user(call).tokens[found.name]
    call.cluster.identities.changed()


@api.reads("GET /access/roles")
def roles(call: Call) -> list[dict[str, Any]]:
    """All roles; everybody may see them."""
    return [
        {"roleid": role.roleid, "privs": ",".join(sorted(role.privileges)), "special": int(role.built_in)}
        for role in call.cluster.identities.roles.values()
    ]


@api.reads("GET /access/roles/{roleid}")
def role(call: Call) -> dict[str, int]:
    """The privileges of a role."""
    found = call.cluster.identities.roles.get(call.p["roleid"])
    if found is None:
        raise failed(f"role '{call.p['roleid']}' does not exist")
    return dict.fromkeys(sorted(found.privileges), 1)


@api.behaves("POST /access/roles")
def create_role(call: Call) -> None:
    """A new role. Names that begin with PVE belong to Proxmox."""
    ids, name = call.cluster.identities, call.p["roleid"]
    if name in ids.roles:
        raise failed(f"create role failed: role '{name}' already exists")
    if name.upper().startswith("PVE"):
        raise bad_parameter("roleid", "cannot use role ID starting with the (case-insensitive) 'PVE' namespace")
    ids.roles[name] = Role(name, frozenset(split_list(call.p.get("privs", ""))))
    ids.changed()


@api.behaves("PUT /access/roles/{roleid}")
def update_role(call: Call) -> None:
    """Change the privileges; ``append`` adds to them."""
    ids, name = call.cluster.identities, call.p["roleid"]
    found = ids.roles.get(name)
    if found is None:
        raise failed(f"update role failed: role '{name}' does not exist")
    if found.built_in:
        raise failed(f"auto-generated role '{name}' cannot be modified")
    wanted = frozenset(split_list(call.p.get("privs", "")))
    found.privileges = found.privileges | wanted if call.p.get("append") else wanted
    ids.changed()


@api.behaves("DELETE /access/roles/{roleid}")
def delete_role(call: Call) -> None:
    """Remove a role; its ACL entries vanish with it."""
    ids, name = call.cluster.identities, call.p["roleid"]
    found = ids.roles.get(name)
    if found is None:
        raise failed(f"delete role failed: role '{name}' does not exist")
    if found.built_in:
        raise failed(f"auto-generated role '{name}' cannot be deleted")
    del ids.roles[name]
    ids.forget_role(name)
    ids.changed()


@api.reads("GET /access/acl")
def acl(call: Call) -> list[dict[str, Any]]:
    """The ACL entries that the caller may see: all with Sys.Audit on /access, else those of paths the caller may change."""
    everything = call.may("/access", "Sys.Audit")
    return [
        {"path": path, "type": kind, "ugid": holder, "roleid": name, "propagate": int(propagate)}
        for path, kind, holder, name, propagate in call.cluster.identities.entries()
        if everything or _may_modify(call, path)
    ]


def _may_modify(call: Call, path: str) -> bool:
    extra = MODIFY_PRIVILEGES.get(path.strip("/").split("/")[0])
    return call.may_any(path, "Permissions.Modify", *([extra] if extra else []))


def _holders(call: Call) -> list[tuple[str, str]]:
    """Kind and name of everybody an ACL change is about; 500 for unknown ones when something is to be granted."""
    ids = call.cluster.identities
    found = [("group", name) for name in split_list(call.p.get("groups", ""))]
    found += [("user", name) for name in split_list(call.p.get("users", ""))]
    found += [("token", name) for name in split_list(call.p.get("tokens", ""))]
    for kind, name in found:
        if kind == "group" and name not in ids.groups:
            raise failed(f"ACL update failed: group '{name}' does not exist")
        if kind == "user" and name not in ids.users:
            raise failed(f"ACL update failed: user '{name}' does not exist")
        if kind == "token" and ids.token(name) is None:
            userid, _, short = name.partition("!")
            raise failed(f"ACL update failed: no such token '{short}' for user '{userid}'")
    return found


@api.behaves("PUT /access/acl")
def update_acl(call: Call) -> None:
    """Grant or (with ``delete``) take away roles. Without Permissions.Modify one cannot give more than one has."""
    if not any(name in call.p for name in ("users", "groups", "tokens")):
        raise bad_parameters(dict.fromkeys(("groups", "tokens", "users"), "either 'users', 'groups' or 'tokens' is required."))
    path = normalize(call.p["path"])
    if not path or not ACL_PATHS.fullmatch(path):
        raise bad_parameter("path", f"invalid ACL path '{path or call.p['path']}'")
    ids = call.cluster.identities
    names = split_list(call.p["roles"])
    for name in names:
        if name not in ids.roles:
            raise failed(f"ACL update failed: role '{name}' does not exist")
        if not call.p.get("delete") and not call.may(path, "Permissions.Modify") and not call.may(path, *ids.roles[name].privileges):
            text = f"Cannot add role '{name}' - requires 'Permissions.Modify' or superset of privileges."
            raise RefusedError(500, f"ACL update failed: 400 Parameter verification failed.\nrole: {text}")
    for kind, holder in _holders(call):
        for name in names:
            if call.p.get("delete"):
                ids.revoke(path, kind, holder, name)
            else:
                ids.grant(path, kind, holder, name, propagate=bool(call.p.get("propagate", 1)))
