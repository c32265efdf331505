"""Where a firewall request points: the datacenter, a node, a guest, a group of rules, or a virtual network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from pveops.sim.errors import failed, modified
from pveops.sim.methods.table import Call
from pveops.sim.state.firewall import Firewall

DATACENTER = "/cluster/firewall"
NODE = "/nodes/{node}/firewall"
VM = "/nodes/{node}/qemu/{vmid}/firewall"
CT = "/nodes/{node}/lxc/{vmid}/firewall"
VNET = "/cluster/sdn/vnets/{vnet}/firewall"
GROUP = "/cluster/firewall/groups/{group}"
GUESTS = (VM, CT)

_AUDIT = ("SDN.Audit", "SDN.Allocate")
_NO_VNET = "invalid vnet specified at /usr/share/perl5/PVE/API2/Firewall/Helpers.pm line 54."


def each(verb: str, bases: Iterable[str], rest: str) -> list[str]:
    """A method on several bases, as tables name them."""
    return [f"{verb} {base}{rest}" for base in bases]


def kind_of(call: Call) -> str:
    """The kind of scope, as error texts name it."""
    for base, name in ((VNET, "vnet"), (GROUP, "group"), (VM, "vm"), (CT, "ct"), (NODE, "host")):
        if call.path.startswith(base):
            return name
    return "cluster"


def scope_of(call: Call, *, change: bool = False) -> Firewall:
    """The configuration that a request is about. One of a virtual network asks for rights on its zone, once it is known to be in force."""
    kind, known = kind_of(call), call.cluster.configs.firewalls
    if kind == "vnet":
        _demand_vnet(call, change=change)
        return known.setdefault(f"vnet/{call.p['vnet']}", Firewall())
    if kind in ("vm", "ct"):
        return known.setdefault(f"vm/{call.p['vmid']}", Firewall())
    if kind == "host":
        return known.setdefault(f"node/{call.p['node']}", Firewall())
    return datacenter(call)


def datacenter(call: Call) -> Firewall:
    """What all scopes can refer to."""
    return call.cluster.configs.firewalls.setdefault("cluster", Firewall())


def _demand_vnet(call: Call, *, change: bool) -> None:
    vnet = call.cluster.configs.sdn.running("vnets").get(call.p["vnet"])
    if vnet is None:
        raise failed(_NO_VNET)
    path = f"/sdn/zones/{vnet['zone']}/{call.p['vnet']}"
    call.demand_any(path, *(("SDN.Allocate",) if change else _AUDIT))


def _lines(row: Mapping[str, Any]) -> str:
    return "".join(f"{key}:{row[key]}\n" for key in sorted(row) if row[key] is not None and not isinstance(row[key], (dict, list)))


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """The digest of a list: it changes with each value in it."""
    return hashlib.sha1("".join(map(_lines, rows)).encode(), usedforsecurity=False).hexdigest()


def check_digest(call: Call, rows: Iterable[Mapping[str, Any]]) -> None:
    """500 when the request was made for another state of a list."""
    if "digest" in call.p and call.p["digest"] != rows_digest(rows):
        raise modified()


def with_digest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows, each with the digest of all of them."""
    digest = rows_digest(rows)
    return [row | {"digest": digest} for row in rows]
