"""Options and logs of the firewall."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import bad_parameter
from pveops.sim.methods.firewall_scope import CT, DATACENTER, NODE, VM, VNET, check_digest, each, rows_digest, scope_of
from pveops.sim.methods.table import Call, Rows, Table
from pveops.sim.props import split_list

api = Table()

_BASES = (DATACENTER, NODE, VM, CT, VNET)
_NO_OPTIONS = frozenset({"node", "vmid", "vnet", "delete", "digest"})


@api.reads(*each("GET", _BASES, "/options"))
def options(call: Call) -> dict[str, Any]:
    """The options that are set."""
    found = scope_of(call).options
    return {**found, "digest": rows_digest([found])}


@api.behaves(*each("PUT", _BASES, "/options"))
def update(call: Call) -> None:
    """Change options."""
    found = scope_of(call, change=True).options
    check_digest(call, [found])
    gone = split_list(call.p.get("delete", ""))
    for name in gone:
        if name in _NO_OPTIONS or not call.knows(name):
            raise bad_parameter("delete", f"no such option '{name}'")
    for name in gone:
        found.pop(name, None)
    found |= {name: value for name, value in call.p.items() if name not in _NO_OPTIONS}


@api.reads(*each("GET", (NODE, VM, CT), "/log"))
def log(call: Call) -> Rows:
    """The log. Rules log nothing here: no packets pass."""
    return Rows([{"n": 1, "t": "no content"}], 1)
