"""Zones, virtual networks, subnets and controllers: changes wait until somebody applies them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pveops.sim.errors import bad_parameter, died, failed
from pveops.sim.methods.sdn_kinds import (
    OPTIONS,
    WORDS,
    check_controller,
    check_subnet,
    check_vnet,
    check_zone,
    locked,
    missing_text,
    subnet_facts,
    subnets_of,
)
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import read_props, split_list
from pveops.sim.state.configs import Sdn
from pveops.sim.state.sections import Row

api = Table()

_ZONES = "/cluster/sdn/zones"
_VNETS = "/cluster/sdn/vnets"
_CONTROLLERS = "/cluster/sdn/controllers"
_SUBNETS = "/cluster/sdn/vnets/{vnet}/subnets"
_VIEWS = ("SDN.Audit", "SDN.Allocate")
_META = frozenset({"lock-token", "digest", "delete", "pending", "running", "zone", "vnet", "controller", "subnet"})


def _sdn(call: Call) -> Sdn:
    return call.cluster.configs.sdn


def pending_rows(sdn: Sdn, kind: str) -> dict[str, Row]:
    """Every object with what will change when it is applied: ``state`` is new, changed or deleted, ``pending`` what will be."""
    found: dict[str, Row] = {}
    running, config = sdn.running(kind), sdn.config[kind].rows
    for name in sorted({*running, *config}):
        now, later = running.get(name), config.get(name)
        row: Row = dict(now or {})
        changes: Row = {}
        for key, value in (later or {}).items():
            if key in ("type", "vnet"):
                row[key] = value
            elif (now or {}).get(key) != value:
                changes[key] = value
        if later is None:
            row["state"] = "deleted"
        elif now is None:
            row["state"] = "new"
        else:
            changes |= dict.fromkeys((key for key in now if key not in later), "deleted")
            row |= {"state": "changed"} if changes else {}
        found[name] = row | ({"pending": changes} if "state" in row else {})
    return found


def _view(call: Call, kind: str) -> tuple[dict[str, Row], str | None]:
    """The objects that a request is about, and the digest that they are shown with."""
    sdn = _sdn(call)
    if call.p.get("pending"):
        return pending_rows(sdn, kind), None
    if call.p.get("running"):
        return sdn.running(kind), None
    return sdn.config[kind].rows, sdn.config[kind].digest


def _row(kind: str, name: str, row: Row, digest: str | None) -> dict[str, Any]:
    found = {**row, WORDS[kind]: name, "digest": digest}
    if kind == "subnets":
        ranges = [read_props(text) for text in row.get("dhcp-range", ())]
        return {**found, **subnet_facts(name), "dhcp-range": ranges}
    return found


def _rows(call: Call, kind: str) -> list[dict[str, Any]]:
    view, digest = _view(call, kind)
    wanted = call.p.get("type")
    return [_row(kind, name, row, digest) for name, row in sorted(view.items()) if wanted in (None, row["type"])]


def _one(call: Call, kind: str, name: str) -> dict[str, Any]:
    view, digest = _view(call, kind)
    if name not in view:
        raise failed(missing_text(kind, name))
    return _row(kind, name, view[name], digest)


def _demand_vnet(call: Call, *names: str) -> Row:
    """The virtual network of the path as configured; 403 unless the caller has one of the rights on it."""
    name = call.p["vnet"]
    row = _sdn(call).config["vnets"].get(name)
    if row is None:
        raise failed(missing_text("vnets", name))
    call.demand_any(f"/sdn/zones/{row['zone']}/{name}", *names)
    return row


def _kind(call: Call) -> str:
    """What the path is about, of the two kinds that lie nowhere else."""
    return "zones" if call.path.startswith(_ZONES) else "controllers"


@api.reads(f"GET {_ZONES}", f"GET {_CONTROLLERS}")
def objects(call: Call) -> list[dict[str, Any]]:
    """The zones or controllers that the caller may see."""
    kind = _kind(call)
    return [row for row in _rows(call, kind) if call.may_any(f"/sdn/{kind}/{row[WORDS[kind]]}", *_VIEWS)]


@api.reads(f"GET {_ZONES}/{{zone}}", f"GET {_CONTROLLERS}/{{controller}}")
def one_object(call: Call) -> dict[str, Any]:
    """One zone or controller."""
    kind = _kind(call)
    return _one(call, kind, call.p[WORDS[kind]])


@api.reads(f"GET {_VNETS}")
def vnets(call: Call) -> list[dict[str, Any]]:
    """The virtual networks that the caller may see."""
    found = []
    for row in _rows(call, "vnets"):
        zone_name = row.get("zone") or row.get("pending", {}).get("zone")
        if call.may_any(f"/sdn/zones/{zone_name}/{row['vnet']}", *_VIEWS):
            found.append(row)
    return found


@api.reads(f"GET {_VNETS}/{{vnet}}")
def vnet(call: Call) -> dict[str, Any]:
    """One virtual network."""
    _demand_vnet(call, *_VIEWS)
    return _one(call, "vnets", call.p["vnet"])


@api.reads(f"GET {_SUBNETS}")
def subnets(call: Call) -> list[dict[str, Any]]:
    """The subnets of a virtual network."""
    _demand_vnet(call, *_VIEWS)
    return [row for row in _rows(call, "subnets") if row.get("vnet") == call.p["vnet"]]


@api.reads(f"GET {_SUBNETS}/{{subnet}}")
def subnet(call: Call) -> dict[str, Any]:
    """One subnet."""
    _demand_vnet(call, *_VIEWS)
    row = _one(call, "subnets", call.p["subnet"])
    if row.get("vnet") != call.p["vnet"]:
        raise bad_parameter("vnet", "wrong vnet")
    return row


def _given(call: Call, *keep: str) -> Row:
    return {key: value for key, value in call.p.items() if (key not in _META or key in keep) and key != "type"}


def _add(sdn: Sdn, call: Call, kind: str, name: str, given: Row) -> None:
    """Put a new object where it will be checked; the type decides which options it may have."""
    of_kind = call.p.get("type", WORDS[kind])
    options = OPTIONS[kind].get(of_kind)
    if options is None:
        raise failed(f"unknown section type '{of_kind}'")
    options.check(given, create=True)
    if name in sdn.config[kind]:
        raise failed(f"sdn {WORDS[kind]} object ID '{name}' already defined")
    sdn.config[kind].rows[name] = {"type": of_kind, **given}


@contextmanager
def _whole(call: Call, verb: str, kind: str, name: str) -> Iterator[Sdn]:
    """A change of one object: nothing of it stays when it is refused."""
    sdn = _sdn(call)
    rows = sdn.config[kind].rows
    before = rows.get(name)
    with locked(call, f"{verb} sdn {WORDS[kind]} object failed"):
        try:
            yield sdn
        except BaseException:
            if before is None:
                rows.pop(name, None)
            else:
                rows[name] = before
            raise


@api.behaves(f"POST {_ZONES}")
def create_zone(call: Call) -> None:
    """A new zone."""
    name, given = call.p["zone"], _given(call)
    OPTIONS["zones"][call.p["type"]].check(given, create=True)
    with _whole(call, "create", "zones", name) as sdn:
        _add(sdn, call, "zones", name, given)
        check_zone(call, sdn, name, given)


@api.behaves(f"POST {_CONTROLLERS}")
def create_controller(call: Call) -> None:
    """A new controller."""
    name, given = call.p["controller"], _given(call)
    OPTIONS["controllers"][call.p["type"]].check(given, create=True)
    with _whole(call, "create", "controllers", name) as sdn:
        _add(sdn, call, "controllers", name, given)
        check_controller(sdn, name)


@api.behaves(f"POST {_VNETS}")
def create_vnet(call: Call) -> None:
    """A new virtual network in a zone."""
    name = call.p["vnet"]
    with _whole(call, "create", "vnets", name) as sdn:
        _add(sdn, call, "vnets", name, _given(call, "zone"))
        check_vnet(sdn, name, line=326)


@api.behaves(f"POST {_SUBNETS}")
def create_subnet(call: Call) -> None:
    """A new subnet of a virtual network; its id begins with the zone."""
    row = _demand_vnet(call, "SDN.Allocate")
    name = f"{row['zone']}-{call.p['subnet'].replace('/', '-')}"
    with _whole(call, "create", "subnets", name) as sdn:
        _add(sdn, call, "subnets", name, _given(call, "vnet"))
        check_subnet(sdn, name)
        _register_gateway(sdn, name, None)


def _register_gateway(sdn: Sdn, name: str, old: str | None) -> None:
    """Keep the gateway of a subnet among the addresses that are taken."""
    facts, row = subnet_facts(name), sdn.config["subnets"].rows[name]
    zone_row = sdn.config["zones"].get(facts["zone"]) or {}
    if not zone_row.get("ipam"):
        return
    taken = sdn.addresses.setdefault((facts["zone"], facts["cidr"]), {})
    if old and old != row.get("gateway"):
        taken.pop(old, None)
    if row.get("gateway"):
        taken[row["gateway"]] = {"gateway": 1}


def _change(call: Call, kind: str, name: str, given: Row) -> Row:
    """Change an object; what it was before."""
    sections = _sdn(call).config[kind]
    sections.check_digest(call.p.get("digest"))
    row = sections.get(name)
    if row is None:
        raise failed(missing_text(kind, name))
    options = OPTIONS[kind][row["type"]]
    options.check(given, create=False)
    before = dict(row)
    changed = dict(row)
    options.delete(changed, given, split_list(call.p.get("delete", "")))
    sections.rows[name] = changed | given
    return before


@api.behaves(f"PUT {_ZONES}/{{zone}}")
def update_zone(call: Call) -> None:
    """Change a zone."""
    name, given = call.p["zone"], _given(call)
    with _whole(call, "update", "zones", name) as sdn:
        before = _change(call, "zones", name, given)
        changed_ipam = (sdn.config["zones"].rows[name].get("ipam") or "") != (before.get("ipam") or "")
        if changed_ipam and any(subnet_facts(one)["zone"] == name for one in sdn.config["subnets"].rows):
            raise bad_parameter("ipam", "can't change ipam if a subnet is already defined in this zone")
        check_zone(call, sdn, name, given)


@api.behaves(f"PUT {_CONTROLLERS}/{{controller}}")
def update_controller(call: Call) -> None:
    """Change a controller."""
    name = call.p["controller"]
    with _whole(call, "update", "controllers", name) as sdn:
        _change(call, "controllers", name, _given(call))
        check_controller(sdn, name)


@api.behaves(f"PUT {_VNETS}/{{vnet}}")
def update_vnet(call: Call) -> None:
    """Change a virtual network."""
    _demand_vnet(call, "SDN.Allocate")
    name = call.p["vnet"]
    with _whole(call, "update", "vnets", name) as sdn:
        before = _change(call, "vnets", name, _given(call, "zone"))
        if subnets_of(sdn, name) and sdn.config["vnets"].rows[name]["zone"] != before["zone"]:
            raise bad_parameter("zone", "can't change zone if subnets exist")
        check_vnet(sdn, name, line=402)


@api.behaves(f"PUT {_SUBNETS}/{{subnet}}")
def update_subnet(call: Call) -> None:
    """Change a subnet."""
    _demand_vnet(call, "SDN.Allocate")
    name = call.p["subnet"]
    with _whole(call, "update", "subnets", name) as sdn:
        before = _change(call, "subnets", name, _given(call, "vnet"))
        check_subnet(sdn, name)
        _register_gateway(sdn, name, before.get("gateway"))


@api.behaves(f"DELETE {_ZONES}/{{zone}}")
def delete_zone(call: Call) -> None:
    """Remove a zone without virtual networks."""
    name, sdn = call.p["zone"], _sdn(call)
    with locked(call, "delete sdn zone object failed"):
        if name not in sdn.config["zones"]:
            raise failed(missing_text("zones", name))
        used = next((one for one, row in sdn.config["vnets"].rows.items() if row["zone"] == name), None)
        if used:
            raise died(f"zone {name} is used by vnet {used}", "Network/SDN/Zones/Plugin.pm", 148)
        del sdn.config["zones"].rows[name]


@api.behaves(f"DELETE {_CONTROLLERS}/{{controller}}")
def delete_controller(call: Call) -> None:
    """Remove a controller that no zone needs."""
    name, sdn = call.p["controller"], _sdn(call)
    with locked(call, "delete sdn controller object failed"):
        if name not in sdn.config["controllers"]:
            raise failed(missing_text("controllers", name))
        used = next((one for one, row in sdn.config["zones"].rows.items() if row.get("controller") == name), None)
        if used:
            raise died(f"controller {name} is used by {used}", "Network/SDN/Controllers/EvpnPlugin.pm", 475)
        del sdn.config["controllers"].rows[name]


@api.behaves(f"DELETE {_VNETS}/{{vnet}}")
def delete_vnet(call: Call) -> None:
    """Remove a virtual network without subnets."""
    _demand_vnet(call, "SDN.Allocate")
    with locked(call, "delete sdn vnet object failed"):
        if subnets_of(_sdn(call), call.p["vnet"]):
            raise bad_parameter("vnet", "Can't delete vnet if subnets exists")
        del _sdn(call).config["vnets"].rows[call.p["vnet"]]


@api.behaves(f"DELETE {_SUBNETS}/{{subnet}}")
def delete_subnet(call: Call) -> None:
    """Remove a subnet whose addresses are all free."""
    _demand_vnet(call, "SDN.Allocate")
    name, sdn = call.p["subnet"], _sdn(call)
    facts = subnet_facts(name)
    with locked(call, "delete sdn subnet object failed"):
        taken = sdn.addresses.get((facts["zone"], facts["cidr"]), {})
        if any("gateway" not in one for one in taken.values()):
            raise failed(f"cannot delete subnet '{facts['cidr']}', not empty")
        sdn.config["subnets"].rows.pop(name, None)
        sdn.addresses.pop((facts["zone"], facts["cidr"]), None)
