"""Firewall rules of every scope, by position. A new rule always becomes the first."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.firewall_scope import (
    CT,
    DATACENTER,
    GROUP,
    NODE,
    VM,
    VNET,
    check_digest,
    datacenter,
    each,
    kind_of,
    scope_of,
    with_digest,
)
from pveops.sim.methods.firewall_verify import shown, verify
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.firewall import Firewall, Rule

api = Table()

_BASES = (*(f"{base}/rules" for base in (DATACENTER, NODE, VM, CT, VNET)), GROUP)
_FIELDS = ("type", "action", "macro", "iface", "source", "dest", "proto", "enable", "log", "sport", "dport", "comment", "icmp-type")


def _rules(call: Call, *, change: bool = False) -> tuple[Firewall, list[Rule]]:
    """The scope whose own names rules may use, and the rules; a group has no names of its own."""
    scope = scope_of(call, change=change)
    if kind_of(call) != "group":
        return scope, scope.rules
    group = scope.groups.get(call.p["group"])
    if group is None:
        raise failed(f"no such security group '{call.p['group']}'")
    return Firewall(), group.rules


def _rows(call: Call, scope: Firewall, rules: list[Rule]) -> list[dict[str, Any]]:
    shared, kind = datacenter(call), kind_of(call)
    return [shown(rule, shared, scope, kind) for rule in rules]


def _copy(rule: Rule, given: dict[str, Any]) -> Rule:
    """The rule with what a request sets; an empty text or a dash takes a property away."""
    for name in _FIELDS:
        if name in given:
            if given[name] in ("", "-"):
                rule.pop(name, None)
            else:
                rule[name] = given[name]
    return rule


@api.reads(*each("GET", _BASES, ""))
def rules(call: Call) -> list[dict[str, Any]]:
    """All rules, in order."""
    scope, found = _rules(call)
    return with_digest([{"pos": number, **row} for number, row in enumerate(_rows(call, scope, found))])


def _position(call: Call, found: list[Rule]) -> int:
    position = int(call.p["pos"])
    if position >= len(found):
        raise failed(f"no rule at position {position}")
    return position


@api.reads(*each("GET", _BASES, "/{pos}"))
def rule(call: Call) -> dict[str, Any]:
    """One rule. Its position is a text here."""
    scope, found = _rules(call)
    position = _position(call, found)
    return with_digest(_rows(call, scope, found))[position] | {"pos": str(position)}


@api.behaves(*each("POST", _BASES, ""))
def create(call: Call) -> None:
    """A new first rule, switched off unless told otherwise. A position is not looked at."""
    scope, found = _rules(call, change=True)
    fresh = _copy({}, call.p)
    verify(fresh, datacenter(call), scope, kind_of(call))
    found.insert(0, {"enable": 0, **fresh})


def _check(call: Call, scope: Firewall, found: list[Rule]) -> None:
    check_digest(call, _rows(call, scope, found))


@api.behaves(*each("PUT", _BASES, "/{pos}"))
def update(call: Call) -> None:
    """Change a rule, or (``moveto``) only its position."""
    scope, found = _rules(call, change=True)
    _check(call, scope, found)
    position = _position(call, found)
    target = call.p.get("moveto")
    if target is not None and target != position:
        moved = found[position]
        rest = [one for index, one in enumerate(found) if index != position]
        before = target - 1 if target > position else target
        found[:] = [*rest[:before], moved, *rest[before:]] if target < len(found) else [*rest, moved]
        return
    changed = _copy(dict(found[position]), call.p)
    for name in split_list(call.p.get("delete", "")):
        if name not in _FIELDS:
            raise bad_parameter("delete", f"no such property ('{name}')")
        if name in ("type", "action"):
            raise bad_parameter("delete", f"unable to delete required property '{name}'")
        changed.pop(name, None)
    verify(changed, datacenter(call), scope, kind_of(call))
    found[position] = changed


@api.behaves(*each("DELETE", _BASES, "/{pos}"))
def delete(call: Call) -> None:
    """Remove a rule; those below move up."""
    scope, found = _rules(call, change=True)
    _check(call, scope, found)
    del found[_position(call, found)]
