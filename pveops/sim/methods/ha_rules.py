"""Rules of high availability (Proxmox VE 9) and the groups that came before them (Proxmox VE 8)."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import RefusedError, failed, inside
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.ha_rules import NODES, RESOURCES, members, node_priorities
from pveops.sim.state.sections import Options, Row, Sections
from pveops.sim.tasks import ha

api = Table()

_OPTIONS = {
    NODES: Options("resources nodes", "strict disable comment"),
    RESOURCES: Options("resources affinity", "disable comment"),
}
_GROUP = Options("nodes", "comment nofailback restricted")
_GONE = "ha groups have been migrated to rules"


def _rules(call: Call) -> Sections:
    return call.cluster.configs.ha_rules


def _row(call: Call, name: str) -> dict[str, Any]:
    sections = _rules(call)
    row = sections.rows[name]
    faults = _faults(call, name)
    shown = {**row, "rule": name, "digest": sections.digest, "order": list(sections.rows).index(name) + 1}
    return shown | ({"errors": {"resources": faults}} if faults else {})


@api.reads("GET /cluster/ha/rules")
def rules(call: Call) -> list[dict[str, Any]]:
    """All rules, or those of one kind or about one resource."""
    kind, sid = call.p.get("type"), call.p.get("resource")
    return [
        _row(call, name) for name, row in _rules(call).rows.items() if kind in (None, row["type"]) and (sid is None or sid in members(row))
    ]


@api.reads("GET /cluster/ha/rules/{rule}")
def rule(call: Call) -> dict[str, Any]:
    """One rule."""
    if call.p["rule"] not in _rules(call):
        raise failed(f"no such ha rule '{call.p['rule']}'")
    return _row(call, call.p["rule"])


def _given(call: Call) -> Row:
    given = {key: value for key, value in call.p.items() if key not in ("rule", "type", "digest", "delete")}
    if "resources" in given:
        given["resources"] = ",".join(sorted(set(split_list(given["resources"]))))
    if not given.get("disable"):
        given.pop("disable", None)
    return given


def _check(call: Call, given: Row) -> None:
    """Resources must be managed, nodes must be there."""
    unmanaged = [sid for sid in split_list(given.get("resources", "")) if sid not in call.cluster.ha]
    if unmanaged:
        raise failed(f"cannot use unmanaged resource(s) {', '.join(unmanaged)}.")
    missing = [name for name in node_priorities(given) if name not in call.cluster.nodes]
    if missing:
        raise failed(f"cannot use non-existent node(s) {', '.join(sorted(missing))}.")


def _faults(call: Call, name: str) -> list[str]:
    """Why a rule cannot be followed as the others are."""
    rows = {one: row for one, row in _rules(call).rows.items() if not row.get("disable")}
    row = rows.get(name)
    if row is None:
        return []
    own, found = set(members(row)), []
    others = [other for one, other in rows.items() if one != name]
    if row["type"] == NODES:
        taken = [sid for sid in sorted(own) if any(other["type"] == NODES and sid in members(other) for other in others)]
        return [f"resource '{sid}' is already used in another node affinity rule" for sid in taken]
    if len(own) < 2:
        found.append("rule is ineffective as there are less than two resources")
    if row["affinity"] == "negative" and len(own) > len(call.cluster.nodes):
        found.append("rule defines more resources than available nodes")
    opposite = "positive" if row["affinity"] == "negative" else "negative"
    if any(other.get("affinity") == opposite and len(own & set(members(other))) > 1 for other in others):
        found.append(f"rule shares two or more resources with a {opposite} resource affinity rule")
    return found


def _store(call: Call, name: str, row: Row) -> None:
    """Put a rule among the others, if they can all be followed then; the manager moves what is in the wrong place."""
    sections = _rules(call)
    before = sections.get(name)
    sections.rows[name] = row
    faults = _faults(call, name)
    if faults:
        if before is None:
            del sections.rows[name]
        else:
            sections.rows[name] = before
        raise RefusedError(400, f"Rule '{name}' is invalid.", errors={"resources": ", ".join(faults)})
    ha.settle(call.world.engine, call.cluster, members(row), call.world.busy)


@api.behaves("POST /cluster/ha/rules")
def create(call: Call) -> None:
    """A new rule."""
    name, kind, given = call.p["rule"], call.p["type"], _given(call)
    _OPTIONS[kind].check(given, create=True)
    with inside("create ha rule failed"):
        if name in _rules(call):
            raise failed(f"HA rule '{name}' already defined")
        _check(call, given)
        _store(call, name, {"type": kind, **given})


@api.behaves("PUT /cluster/ha/rules/{rule}")
def update(call: Call) -> None:
    """Change a rule."""
    name, given = call.p["rule"], _given(call)
    with inside("update HA rules failed"):
        _rules(call).check_digest(call.p.get("digest"))
        row = _rules(call).get(name)
        if row is None:
            raise failed(f"HA rule '{name}' does not exist")
        _OPTIONS[row["type"]].check(given, create=False)
        _check(call, given)
        changed = dict(row)
        _OPTIONS[row["type"]].delete(changed, given, split_list(call.p.get("delete", "")))
        _store(call, name, changed | given)


@api.behaves("DELETE /cluster/ha/rules/{rule}")
def delete(call: Call) -> None:
    """Remove a rule; that there is none is fine."""
    _rules(call).rows.pop(call.p["rule"], None)


def _groups(call: Call, verb: str) -> Sections:
    """The groups, which only an old cluster has."""
    if not call.world.old:
        raise failed(f"cannot {verb}: {_GONE}")
    return call.cluster.configs.ha_groups


def _group_row(sections: Sections, name: str) -> dict[str, Any]:
    return {**sections.rows[name], "group": name, "type": "group", "digest": sections.digest}


@api.reads("GET /cluster/ha/groups")
def groups(call: Call) -> list[dict[str, Any]]:
    """All groups."""
    sections = _groups(call, "index groups")
    return [_group_row(sections, name) for name in sections.rows]


@api.reads("GET /cluster/ha/groups/{group}")
def group(call: Call) -> dict[str, Any]:
    """One group."""
    sections = _groups(call, "read group")
    if call.p["group"] not in sections:
        raise failed(f"no such ha group '{call.p['group']}'")
    return _group_row(sections, call.p["group"])


def _group_given(call: Call) -> Row:
    return {key: value for key, value in call.p.items() if key not in ("group", "type", "digest", "delete")}


@api.behaves("POST /cluster/ha/groups")
def create_group(call: Call) -> None:
    """A new group."""
    sections, name, given = _groups(call, "create group"), call.p["group"], _group_given(call)
    _GROUP.check(given, create=True)
    if name in sections:
        raise failed(f"create ha group failed: ha group ID '{name}' already defined")
    sections.rows[name] = given


@api.behaves("PUT /cluster/ha/groups/{group}")
def update_group(call: Call) -> None:
    """Change a group."""
    sections, name, given = _groups(call, "update group"), call.p["group"], _group_given(call)
    with inside("update ha group failed"):
        sections.check_digest(call.p.get("digest"))
        row = sections.get(name)
        if row is None:
            raise failed(f"no such ha group '{name}'")
        _GROUP.check(given, create=False)
        changed = row | given
        _GROUP.delete(changed, {}, split_list(call.p.get("delete", "")))
        sections.rows[name] = changed


@api.behaves("DELETE /cluster/ha/groups/{group}")
def delete_group(call: Call) -> None:
    """Remove a group that no resource is in."""
    sections, name = _groups(call, "delete group"), call.p["group"]
    for found in call.cluster.ha.values():
        if found.options.get("group") == name:
            raise failed(f"delete ha group failed: ha group is used by service '{found.sid}'")
    sections.rows.pop(name, None)
