"""Names that firewall rules refer to: aliases, sets of addresses, groups of rules, macros."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.firewall_words import MACROS
from pveops.sim.methods.firewall_scope import (
    CT,
    DATACENTER,
    VM,
    check_digest,
    datacenter,
    each,
    kind_of,
    rows_digest,
    scope_of,
    with_digest,
)
from pveops.sim.methods.table import Call, Table, drop_empty
from pveops.sim.state.firewall import AddressSet, Alias, Firewall, RuleGroup, clean_cidr, network_of

api = Table()

_BASES = (DATACENTER, VM, CT)
_ALIAS = re.compile(r"(dc/|guest/)?([A-Za-z][A-Za-z0-9\-_]+)")
_Named = TypeVar("_Named", AddressSet, RuleGroup)


def _alias_row(alias: Alias) -> dict[str, Any]:
    return drop_empty({"name": alias.name, "cidr": clean_cidr(alias.cidr), "ipversion": alias.version, "comment": alias.comment})


def _alias_rows(scope: Firewall) -> list[dict[str, Any]]:
    return [_alias_row(scope.aliases[name]) for name in sorted(scope.aliases)]


def _find_alias(call: Call, scope: Firewall) -> str:
    name: str = call.p["name"].lower()
    if name not in scope.aliases:
        raise bad_parameter("name", "no such alias")
    return name


@api.reads(*each("GET", _BASES, "/aliases"))
def aliases(call: Call) -> list[dict[str, Any]]:
    """All aliases."""
    return with_digest(_alias_rows(scope_of(call)))


@api.reads(*each("GET", _BASES, "/aliases/{name}"))
def alias(call: Call) -> dict[str, Any]:
    """One alias."""
    scope = scope_of(call)
    return _alias_row(scope.aliases[_find_alias(call, scope)])


@api.behaves(*each("POST", _BASES, "/aliases"))
def create_alias(call: Call) -> None:
    """A new alias; names differ by more than case."""
    scope, name = scope_of(call), call.p["name"]
    if name.lower() in scope.aliases:
        raise bad_parameter("name", f"alias '{name}' already exists")
    scope.aliases[name.lower()] = Alias(name, call.p["cidr"], call.p.get("comment", ""))


@api.behaves(*each("PUT", _BASES, "/aliases/{name}"))
def update_alias(call: Call) -> None:
    """Replace what an alias stands for, and give it another name."""
    scope = scope_of(call)
    check_digest(call, _alias_rows(scope))
    old = _find_alias(call, scope)
    fresh = call.p.get("rename", call.p["name"])
    if fresh.lower() != old and fresh.lower() in scope.aliases:
        raise bad_parameter("name", f"alias '{fresh}' already exists")
    del scope.aliases[old]
    scope.aliases[fresh.lower()] = Alias(fresh, call.p["cidr"], call.p.get("comment", ""))


@api.behaves(*each("DELETE", _BASES, "/aliases/{name}"))
def delete_alias(call: Call) -> None:
    """Remove an alias; that there is none is fine."""
    scope = scope_of(call)
    check_digest(call, _alias_rows(scope))
    scope.aliases.pop(call.p["name"].lower(), None)


def _set_rows(scope: Firewall) -> list[dict[str, Any]]:
    return [drop_empty({"name": name, "comment": scope.sets[name].comment}) for name in sorted(scope.sets)]


@api.reads(*each("GET", _BASES, "/ipset"))
def sets(call: Call) -> list[dict[str, Any]]:
    """All sets of addresses."""
    return with_digest(_set_rows(scope_of(call)))


def _put_name(
    call: Call, named: dict[str, _Named], word: str, noun: str, rows: list[dict[str, Any]], make: Callable[[str, str], _Named]
) -> None:
    """Something new under the name that parameter ``word`` holds, or (``rename``) another name or comment for one of those that are there."""
    name, old = call.p[word], call.p.get("rename")
    if not old:
        if name in named:
            raise bad_parameter(word, f"{noun} '{name}' already exists")
        named[name] = make(name, call.p.get("comment", ""))
        return
    check_digest(call, rows)
    if old not in named:
        raise bad_parameter(word, f"{noun} '{old}' does not exist")
    if name in named and name != old:
        raise bad_parameter(word, f"{noun} '{name}' does already exist")
    moved = named.pop(old)
    moved.name, moved.comment = name, call.p.get("comment", moved.comment)
    named[name] = moved


@api.behaves(*each("POST", _BASES, "/ipset"))
def create_set(call: Call) -> None:
    """A new set, or (``rename``) another name or comment for one."""
    scope = scope_of(call)
    _put_name(call, scope.sets, "name", "IPSet", _set_rows(scope), AddressSet)


def _find_set(call: Call) -> AddressSet:
    found = scope_of(call).sets.get(call.p["name"])
    if found is None:
        raise failed(f"no such IPSet '{call.p['name']}'")
    return found


def _entry_rows(found: AddressSet) -> list[dict[str, Any]]:
    return [{"cidr": cidr, **found.entries[cidr]} for cidr in sorted(found.entries)]


@api.reads(*each("GET", _BASES, "/ipset/{name}"))
def entries(call: Call) -> list[dict[str, Any]]:
    """The addresses of a set."""
    return with_digest(_entry_rows(_find_set(call)))


@api.behaves(*each("DELETE", _BASES, "/ipset/{name}"))
def delete_set(call: Call) -> None:
    """Remove a set; one with addresses only with ``force``."""
    found = _find_set(call)
    if found.entries and not call.p.get("force"):
        raise failed(f"IPSet '{found.name}' is not empty")
    del scope_of(call).sets[found.name]


def _check_alias(call: Call, scope: str, name: str) -> None:
    own, shared = scope_of(call).aliases, datacenter(call).aliases
    if not (scope != "dc/" and name.lower() in own) and not (scope != "guest/" and name.lower() in shared):
        raise failed(f"no such alias '{name}'")


@api.behaves(*each("POST", _BASES, "/ipset/{name}"))
def add_entry(call: Call) -> None:
    """Put an address, a network or an alias into a set."""
    found, cidr = _find_set(call), str(call.p["cidr"])
    match = _ALIAS.fullmatch(cidr)
    if match:
        _check_alias(call, match[1] or "", match[2])
    else:
        cidr = network_of(cidr)
    if cidr in found.entries:
        raise bad_parameter("cidr", f"address '{cidr}' already exists")
    if re.search(r"/0+$", cidr):
        raise bad_parameter("cidr", "a zero prefix is not allowed in ipset entries")
    options = {"nomatch": 1} if call.p.get("nomatch") else {}
    found.entries[cidr] = options | drop_empty({"comment": call.p.get("comment")})


def _entry(call: Call, found: AddressSet) -> str:
    cidr = str(call.p["cidr"])
    if cidr not in found.entries:
        raise bad_parameter("cidr", "no such IP/Network")
    return cidr


@api.reads(*each("GET", _BASES, "/ipset/{name}/{cidr}"))
def entry(call: Call) -> dict[str, Any]:
    """One address of a set."""
    found = _find_set(call)
    cidr = _entry(call, found)
    return {"cidr": cidr, **found.entries[cidr], "digest": rows_digest(_entry_rows(found))}


@api.behaves(*each("PUT", _BASES, "/ipset/{name}/{cidr}"))
def update_entry(call: Call) -> None:
    """Replace comment and exception mark of an address."""
    found = _find_set(call)
    check_digest(call, _entry_rows(found))
    options = {"nomatch": 1} if call.p.get("nomatch") else {}
    found.entries[_entry(call, found)] = options | drop_empty({"comment": call.p.get("comment")})


@api.behaves(*each("DELETE", _BASES, "/ipset/{name}/{cidr}"))
def delete_entry(call: Call) -> None:
    """Take an address out of a set; that it is not in it is fine."""
    found = _find_set(call)
    check_digest(call, _entry_rows(found))
    found.entries.pop(str(call.p["cidr"]), None)


def _group_rows(scope: Firewall) -> list[dict[str, Any]]:
    return [drop_empty({"group": name, "comment": scope.groups[name].comment}) for name in sorted(scope.groups)]


@api.reads(f"GET {DATACENTER}/groups")
def groups(call: Call) -> list[dict[str, Any]]:
    """All groups of rules."""
    return with_digest(_group_rows(datacenter(call)))


@api.behaves(f"POST {DATACENTER}/groups")
def create_group(call: Call) -> None:
    """A new group, or (``rename``) another name or comment for one; rules that refer to it follow."""
    scope, name, old = datacenter(call), call.p["group"], call.p.get("rename")
    _put_name(call, scope.groups, "group", "Security group", _group_rows(scope), RuleGroup)
    for other in call.cluster.configs.firewalls.values():
        for rule in other.rules:
            if old and rule["type"] == "group" and rule["action"] == old:
                rule["action"] = name


@api.behaves(f"DELETE {DATACENTER}/groups/{{group}}")
def delete_group(call: Call) -> None:
    """Remove an empty group."""
    scope, name = datacenter(call), call.p["group"]
    if name not in scope.groups:
        raise failed(f"no such security group '{name}'")
    if scope.groups[name].rules:
        raise failed(f"Security group '{name}' is not empty")
    del scope.groups[name]


def _refs(scope: Firewall, name: str, wanted: str | None) -> list[dict[str, Any]]:
    found = []
    if wanted in (None, "ipset"):
        found += [
            {"type": "ipset", "name": one.name, "ref": f"+{one.name}", "scope": name, "comment": one.comment} for one in scope.sets.values()
        ]
    if wanted in (None, "alias"):
        found += [
            {"type": "alias", "name": short, "ref": short, "scope": name, "comment": one.comment}
            for short, one in sorted(scope.aliases.items())
        ]
    return [drop_empty(row) for row in found]


@api.reads(*each("GET", _BASES, "/refs"))
def refs(call: Call) -> list[dict[str, Any]]:
    """What rules of the scope can refer to."""
    wanted = call.p.get("type")
    found = _refs(datacenter(call), "dc", wanted)
    return found if kind_of(call) == "cluster" else found + _refs(scope_of(call), "guest", wanted)


@api.reads(f"GET {DATACENTER}/macros")
def macros(call: Call) -> list[dict[str, Any]]:
    """All macros, with what they are for."""
    return [{"macro": one.name, "descr": one.about} for one in MACROS.values()]
