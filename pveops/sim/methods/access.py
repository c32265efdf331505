"""Logging in, permissions, users, groups, realms."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import RefusedError, bad_parameter, failed
from pveops.sim.methods.table import Call, Table, drop_empty
from pveops.sim.props import split_list
from pveops.sim.state.access import normalize
from pveops.sim.state.identity import Group, Principal, Token, User, hash_password, password_fits

api = Table()

_AREAS = {"vms": "/vms", "nodes": "/nodes", "storage": "/storage", "access": "/access", "dc": "/", "sdn": "/sdn", "mapping": "/mapping"}
_AREA_PREFIXES = {
    "access": ("User.", "Group.", "Permissions."),
    "dc": ("Sys.Audit", "Sys.Modify", "SDN."),
    "mapping": ("Mapping.",),
    "nodes": ("Sys.",),
    "sdn": ("SDN.",),
    "storage": ("Datastore.",),
    "vms": ("VM.",),
}


def _capabilities(call: Call, who: Principal) -> dict[str, dict[str, int]]:
    """What the web interface would show buttons for: privileges that the user has somewhere in an area."""
    found: dict[str, dict[str, int]] = {area: {} for area in _AREAS}
    access = call.cluster.access
    paths = ["/", *_AREAS.values(), *call.cluster.identities.acl]
    for path in dict.fromkeys(paths):
        names = access.privileges(who, path)
        for area, root in _AREAS.items():
            if path in ("/", root) or (root != "/" and path.startswith(f"{root}/")):
                wanted = [name for name in names if name.startswith(_AREA_PREFIXES[area])]
                extra = [name for name in names if name == "Permissions.Modify"]
                found[area].update(dict.fromkeys([*wanted, *extra] if area != "dc" else wanted, 1))
    return found


@api.reads("GET /access/ticket")
def ticket_page(call: Call) -> None:
    """Answers nothing; a place for login pages."""


@api.behaves("POST /access/ticket")
def create_ticket(call: Call) -> dict[str, Any]:
    """Log in with a password, or renew with a ticket as password."""
    name = str(call.p["username"])
    if "realm" in call.p:
        name = f"{name}@{call.p['realm']}"
    userid = _authenticate(call, name, str(call.p["password"]))
    if "path" in call.p and not call.cluster.access.may(Principal(userid), str(call.p["path"]), *split_list(str(call.p["privs"]))):
        raise RefusedError(401, "authentication failure")
    ticket, csrf = call.world.gate.issue(userid)
    call.cluster.note(call.cluster.local_node, "root@pam", f"successful auth for user '{userid}'")
    answer = {"username": userid, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": _capabilities(call, Principal(userid))}
    if len(call.cluster.nodes) > 1:
        answer["clustername"] = call.cluster.name
    return answer


def _authenticate(call: Call, name: str, password: str) -> str:
    user = call.cluster.identities.users.get(name)
    renewed = call.world.gate.ticket_user(password) if password.startswith("PVE:") else None
    if user is not None and user.usable(call.world.gate.wall_s()) and (renewed == name or password_fits(user.password, password)):
        return name
    call.cluster.note(call.cluster.local_node, "root@pam", f"authentication failure; user={name} msg=invalid credentials")
    raise RefusedError(401, "authentication failure")


@api.behaves("PUT /access/password")
def change_password(call: Call) -> None:
    """Change a password; whoever is not root proves to be there with the own one."""
    ids = call.cluster.identities
    me, user = ids.users.get(call.who.userid), ids.users.get(call.p["userid"])
    if not call.who.is_root:
        if "confirmation-password" not in call.p:
            raise bad_parameter("confirmation-password", "password is required to modify user")
        if me is None or not password_fits(me.password, call.p["confirmation-password"]):
            raise failed("invalid credentials")
    if user is None:
        raise failed(f"no such user ('{call.p['userid']}')")
    user.password = hash_password(call.p["password"])


def _principal(name: str) -> Principal:
    userid, _, token = name.partition("!")
    return Principal(userid, token)


@api.reads("GET /access/permissions")
def permissions(call: Call) -> dict[str, dict[str, int]]:
    """Effective privileges by path: of one path, or of every path where something is granted."""
    who = call.who
    if "userid" in call.p and call.p["userid"] != call.who.name:
        call.demand("/access", "Sys.Audit")
        who = _principal(call.p["userid"])
    cluster, access = call.cluster, call.cluster.access
    if "path" in call.p:
        path = call.p["path"]
        return {path: dict(access.privileges(who, normalize(path))) if path.startswith("/") else {}}
    paths = {"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms", *cluster.identities.acl}
    for pool in cluster.pools.values():
        paths.update(f"/vms/{vmid}" for vmid in pool.vmids)
        paths.update(f"/storage/{name}" for name in pool.storages)
    paths |= {path[:end] for path in cluster.identities.acl for end in range(1, len(path)) if path[end] == "/"}
    found = {path: dict(access.privileges(who, path)) for path in sorted(paths)}
    return {path: names for path, names in found.items() if names}


def _user_row(user: User) -> dict[str, Any]:
    row = {
        "userid": user.userid,
        "comment": user.comment,
        "email": user.email,
        "firstname": user.first_name,
        "lastname": user.last_name,
        "keys": user.keys,
    }
    shown = {"enable": int(user.enable), "expire": user.expire_s, **drop_empty(row)}
    return shown | ({"email": ""} if user.email == "" and user.had_email else {})


def token_row(token: Token) -> dict[str, Any]:
    """A token as lists show it: never its secret."""
    return {"expire": token.expire_s, "privsep": int(token.privsep), **drop_empty({"comment": token.comment})}


def _may_see_user(call: Call, userid: str) -> bool:
    if userid == call.who.userid or call.may_any("/access/groups", "User.Modify", "Sys.Audit"):
        return True
    return any(call.may_any(f"/access/groups/{name}", "User.Modify", "Sys.Audit") for name in call.cluster.identities.groups_of(userid))


@api.reads("GET /access/users")
def users(call: Call) -> list[dict[str, Any]]:
    """The users that the caller may see; a token sees not even its owner without privileges."""
    ids = call.cluster.identities
    found = []
    for user in sorted(ids.users.values(), key=lambda one: one.userid):
        if call.who.token and user.userid == call.who.userid and not call.may_any("/access/groups", "User.Modify", "Sys.Audit"):
            continue
        if not _may_see_user(call, user.userid) or ("enabled" in call.p and bool(call.p["enabled"]) != user.enable):
            continue
        row = {**_user_row(user), "realm-type": str(ids.realms.get(user.realm, {}).get("type", ""))}
        if call.p.get("full"):
            row["groups"] = ",".join(sorted(ids.groups_of(user.userid)))
            row["tokens"] = [{"tokenid": token.name, **token_row(token)} for token in user.tokens.values()] or None
        found.append(row)
    return found


def find_user(call: Call) -> User:
    """The user that the path names."""
    found = call.cluster.identities.users.get(call.p["userid"])
    if found is None:
        raise failed(f"no such user ('{call.p['userid']}')")
    return found


@api.reads("GET /access/users/{userid}")
def user_config(call: Call) -> dict[str, Any]:
    """One user with groups and tokens."""
    user = find_user(call)
    row = _user_row(user)
    del row["userid"]
    tokens = {token.name: token_row(token) for token in user.tokens.values()}
    return {**row, "groups": sorted(call.cluster.identities.groups_of(user.userid)), "tokens": tokens or None}


def _fill_user(call: Call, user: User) -> None:
    names = {
        "comment": "comment",
        "email": "email",
        "firstname": "first_name",
        "lastname": "last_name",
        "keys": "keys",
        "expire": "expire_s",
    }
    for name, field in names.items():
        if name in call.p:
            setattr(user, field, call.p[name])
            user.had_email = user.had_email or name == "email"
    if "enable" in call.p:
        user.enable = bool(call.p["enable"])


def _check_groups(call: Call, action: str) -> list[str]:
    wanted = split_list(str(call.p.get("groups", "")))
    for name in wanted:
        if name not in call.cluster.identities.groups:
            raise failed(f"{action} user failed: no such group '{name}'")
    return wanted


@api.behaves("POST /access/users")
def create_user(call: Call) -> None:
    """A new user; realms are not checked, as on Proxmox VE."""
    ids, name = call.cluster.identities, call.p["userid"]
    if name in ids.users:
        raise failed(f"create user failed: user '{name}' already exists")
    groups = _check_groups(call, "create")
    user = User(name, hash_password(call.p["password"]) if "password" in call.p else "")
    _fill_user(call, user)
    ids.users[name] = user
    for group in groups:
        ids.groups[group].members.add(name)
    ids.changed()


@api.behaves("PUT /access/users/{userid}")
def update_user(call: Call) -> None:
    """Change a user; ``groups`` replaces the groups unless ``append`` is set."""
    user, ids = find_user(call), call.cluster.identities
    groups = _check_groups(call, "update") if "groups" in call.p else None
    _fill_user(call, user)
    if groups is not None:
        for group in ids.groups.values():
            if group.groupid in groups:
                group.members.add(user.userid)
            elif not call.p.get("append"):
                group.members.discard(user.userid)
    ids.changed()


@api.behaves("DELETE /access/users/{userid}")
def delete_user(call: Call) -> None:
    """Remove a user, the tokens and every entry about them; root stays, without a word."""
    user, ids = find_user(call), call.cluster.identities
    for token in list(user.tokens):
        ids.forget("token", f"{user.userid}!{token}")
    ids.forget("user", user.userid)
    for group in ids.groups.values():
        group.members.discard(user.userid)
    if user.userid != "root@pam":
        del ids.users[user.userid]
    ids.changed()


def _may_see_group(call: Call, name: str) -> bool:
    return call.may_any("/access/groups", "User.Modify", "Sys.Audit", "Group.Allocate") or call.may_any(
        f"/access/groups/{name}", "User.Modify", "Sys.Audit", "Group.Allocate"
    )


@api.reads("GET /access/groups")
def groups(call: Call) -> list[dict[str, Any]]:
    """The groups that the caller may see."""
    return [
        {"groupid": group.groupid, "users": ",".join(sorted(group.members)), **drop_empty({"comment": group.comment})}
        for group in call.cluster.identities.groups.values()
        if _may_see_group(call, group.groupid)
    ]


@api.behaves("POST /access/groups")
def create_group(call: Call) -> None:
    """A new group."""
    ids, name = call.cluster.identities, call.p["groupid"]
    if name in ids.groups:
        raise failed(f"create group failed: group '{name}' already exists")
    ids.groups[name] = Group(name, call.p.get("comment", ""))
    ids.changed()


@api.reads("GET /access/groups/{groupid}")
def group_config(call: Call) -> dict[str, Any]:
    """One group with its members."""
    group = call.cluster.identities.groups.get(call.p["groupid"])
    if group is None:
        raise failed(f"group '{call.p['groupid']}' does not exist")
    return {"members": sorted(group.members), **drop_empty({"comment": group.comment})}


@api.behaves("PUT /access/groups/{groupid}")
def update_group(call: Call) -> None:
    """Change the comment."""
    group = call.cluster.identities.groups.get(call.p["groupid"])
    if group is None:
        raise failed(f"update group failed: group '{call.p['groupid']}' does not exist")
    group.comment = call.p.get("comment", group.comment)


@api.behaves("DELETE /access/groups/{groupid}")
def delete_group(call: Call) -> None:
    """Remove a group and every entry about it."""
    ids, name = call.cluster.identities, call.p["groupid"]
    if name not in ids.groups:
        raise failed(f"delete group failed: group '{name}' does not exist")
    del ids.groups[name]
    ids.forget("group", name)
    ids.changed()
