"""Realms: where users come from. Directories are not asked: a simulation talks to nobody."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import bad_parameter, failed, inside
from pveops.sim.methods.table import Call, Table, drop_empty
from pveops.sim.props import read_props, split_list
from pveops.sim.state.sections import Options, Row, Sections
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_LDAP = (
    "server2 port secure sslversion default comment tfa verify capath cert certkey bind_dn password filter sync_attributes user_classes "
    "group_dn group_name_attr group_filter group_classes sync-defaults-options mode case-sensitive"
)
_OPTIONS = {
    "ldap": Options("server1 base_dn user_attr", _LDAP),
    "ad": Options("server1 domain", f"{_LDAP} base_dn user_attr"),
    "openid": Options(
        "issuer-url client-id",
        "client-key autocreate username-claim groups-claim groups-autocreate groups-overwrite prompt scopes acr-values audiences default "
        "comment query-userinfo",
        "username-claim",
    ),
    "pve": Options("", "default comment tfa"),
    "pam": Options("", "default comment tfa"),
}
_BUILT_IN = ("pam", "pve")
_DIRECTORIES = ("ldap", "ad")


def _sections(call: Call) -> Sections:
    """The realms as the file that they are."""
    found = Sections()
    found.rows = call.cluster.identities.realms
    return found


@api.reads("GET /access/domains")
def realms(call: Call) -> list[dict[str, Any]]:
    """The realms, for login forms; needs no login."""
    found = []
    for name, row in sorted(call.cluster.identities.realms.items()):
        tfa = read_props(str(row.get("tfa", ""))).get("type")
        shown = {"comment": row.get("comment"), "default": 1 if row.get("default") else None, "tfa": tfa}
        found.append({"realm": name, "type": row["type"], **drop_empty(shown)})
    return found


@api.reads("GET /access/domains/{realm}")
def realm(call: Call) -> dict[str, Any]:
    """The configuration of a realm."""
    name = call.p["realm"]
    found = call.cluster.identities.realms.get(name)
    if found is None:
        raise failed(f"domain '{name}' does not exist")
    return {**found, "digest": _sections(call).digest}


def _given(call: Call) -> Row:
    left_out = ("realm", "type", "digest", "delete", "password", "check-connection")
    return {key: value for key, value in call.p.items() if key not in left_out}


def _only_default(call: Call, given: Row) -> None:
    if given.get("default"):
        for row in call.cluster.identities.realms.values():
            row.pop("default", None)


@api.behaves("POST /access/domains")
def create(call: Call) -> None:
    """A new realm."""
    name, kind, given = call.p["realm"], call.p["type"], _given(call)
    known = call.cluster.identities.realms
    with inside("add auth server failed"):
        if name in known:
            raise failed(f"domain '{name}' already exists")
        if name in _BUILT_IN:
            raise failed(f"unable to use reserved name '{name}'")
        if kind in _BUILT_IN:
            raise failed(f"unable to create builtin type '{kind}'")
        _refuse_check(call, kind)
        _OPTIONS[kind].check(given, create=True)
        _only_default(call, given)
        known[name] = {"type": kind, **given}


def _refuse_check(call: Call, kind: str) -> None:
    if "check-connection" in call.p and kind not in _DIRECTORIES:
        raise failed("'check-connection' parameter can only be set for realms of type 'ldap' or 'ad'")


@api.behaves("PUT /access/domains/{realm}")
def update(call: Call) -> None:
    """Change a realm."""
    name, given = call.p["realm"], _given(call)
    known = call.cluster.identities.realms
    with inside("update auth server failed"):
        _sections(call).check_digest(call.p.get("digest"))
        row = known.get(name)
        if row is None:
            raise failed(f"domain '{name}' does not exist")
        _refuse_check(call, str(row["type"]))
        gone = split_list(call.p.get("delete", ""))
        if not gone and not given and "password" not in call.p:
            raise failed("no options specified")
        _OPTIONS[str(row["type"])].check(given, create=False)
        _only_default(call, given)
        known[name] = {key: value for key, value in row.items() if key not in gone} | given


@api.behaves("DELETE /access/domains/{realm}")
def delete(call: Call) -> None:
    """Remove a realm; those that are built in come back at once."""
    name, known = call.p["realm"], call.cluster.identities.realms
    if name not in known:
        raise failed(f"delete auth server failed: authentication domain '{name}' does not exist")
    if name not in _BUILT_IN:
        del known[name]


@api.behaves("POST /access/domains/{realm}/sync")
def sync(call: Call) -> str:
    """Fetch users and groups from a directory; nobody answers, so the task fails as it would with a directory that is down."""
    name = call.p["realm"]
    row = call.cluster.identities.realms.get(name)
    if row is None:
        raise bad_parameter("realm", "Realm does not exist.")
    if row["type"] not in _DIRECTORIES:
        raise failed(f"Cannot sync realm type '{row['type']}'! Only LDAP/AD realms can be synced.")
    defaults = read_props(str(row.get("sync-defaults-options", "")))
    if "scope" not in call.p and "scope" not in defaults:
        raise bad_parameter("scope", "Not passed as parameter and not defined in realm default sync options.")
    dry = bool(call.p.get("dry-run"))

    def work(task: Task) -> Body:
        task.say(f"{'(dry test run) ' if dry else ''}starting sync for realm {name}")
        yield 2.0
        raise failed(f"{row['server1']}: Connection refused")

    kind = "auth-realm-sync-test" if dry else "auth-realm-sync"
    return call.world.fork(call.cluster.local_node, kind, name, call.who, work)
