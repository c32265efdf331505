"""Bringing virtual networks into force, and what nodes say about those that are."""

from __future__ import annotations

import uuid
from typing import Any

from pveops.sim.errors import bad_parameter, died, failed
from pveops.sim.methods.sdn_kinds import locked, missing_text
from pveops.sim.methods.sdn_objects import pending_rows
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics.hardware import interfaces
from pveops.sim.props import read_props, split_list
from pveops.sim.state.config import NET
from pveops.sim.state.configs import STAGED
from pveops.sim.state.identity import ROOT, Principal
from pveops.sim.state.sections import Row
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_RELOAD_S = 2.4
LOCAL_ZONE = "localnetwork"


def _has_changes(call: Call) -> bool:
    sdn = call.cluster.configs.sdn
    return any("state" in row for kind in STAGED for row in pending_rows(sdn, kind).values())


@api.behaves("POST /cluster/sdn/lock")
def lock(call: Call) -> str:
    """Keep everybody else from changing virtual networks; the answer is the token that lets the caller change them."""
    with locked(call, "could not acquire lock for SDN config"):
        if not call.p.get("allow-pending") and _has_changes(call):
            raise died("configuration has pending changes", "API2/Network/SDN.pm", 149)
        call.cluster.configs.sdn.lock_token = str(uuid.uuid4())
    return call.cluster.configs.sdn.lock_token


@api.behaves("DELETE /cluster/sdn/lock")
def unlock(call: Call) -> None:
    """Give the lock back, or (``force``) take it away."""
    if not call.p.get("force"):
        with locked(call, "could not release lock"):
            pass
    call.cluster.configs.sdn.lock_token = ""


def _release(call: Call) -> None:
    if call.p.get("lock-token") and call.p.get("release-lock", 1):
        call.cluster.configs.sdn.lock_token = ""


@api.behaves("POST /cluster/sdn/rollback")
def roll_back(call: Call) -> None:
    """Drop all changes that were not applied."""
    with locked(call, "could not rollback SDN configuration"):
        call.cluster.configs.sdn.roll_back()
        _release(call)


@api.behaves("PUT /cluster/sdn")
def apply(call: Call) -> str:
    """Bring all changes into force: every node reloads its network in a task of its own."""
    with locked(call, "could not commit SDN config"):
        call.cluster.configs.sdn.apply()
        call.cluster.generation += 1
        _release(call)
    world, cluster = call.world, call.cluster

    def reload(task: Task) -> Body:
        yield _RELOAD_S

    def work(task: Task) -> Body:
        for name, node in cluster.nodes.items():
            task.say(f"{name}: reloading network config")
            if node.online:
                world.fork(name, "srvreload", "networking", Principal(ROOT), reload)
            yield 0.6

    return world.fork(cluster.local_node, "reloadnetworkall", "", call.who, work)


@api.reads("GET /cluster/sdn/dry-run")
def dry_run(call: Call) -> dict[str, str]:
    """What would change in the files of a node."""
    sdn = call.cluster.configs.sdn
    lines = []
    for name, row in pending_rows(sdn, "vnets").items():
        if "state" in row:
            lines += [f"{'-' if row['state'] == 'deleted' else '+'}auto {name}", f"+iface {name}"]
    text = "\n".join(["--- /etc/network/interfaces.d/sdn", "+++ /etc/network/interfaces.d/sdn.new", *lines]) + "\n" if lines else ""
    return {"frr-diff": "", "interfaces-diff": text}


def _on_node(call: Call, row: Row) -> bool:
    return not row.get("nodes") or call.p["node"] in split_list(str(row["nodes"]))


@api.reads("GET /nodes/{node}/sdn/zones")
def zones(call: Call) -> list[dict[str, str]]:
    """The zones in force on the node."""
    running = call.cluster.configs.sdn.running("zones")
    return [{"zone": name, "status": "available"} for name, row in sorted(running.items()) if _on_node(call, row)]


def _running_zone(call: Call) -> Row:
    found = call.cluster.configs.sdn.running("zones").get(call.p["zone"])
    if found is None:
        raise bad_parameter("zone", "zone does not exist")
    return found


@api.reads("GET /nodes/{node}/sdn/zones/{zone}/content")
def content(call: Call) -> list[dict[str, Any]]:
    """The virtual networks of a zone on the node."""
    sdn = call.cluster.configs.sdn
    zone = sdn.running("zones").get(call.p["zone"])
    if zone is None or not _on_node(call, zone):
        return []
    return [
        {"vnet": name, "status": "available", "statusmsg": None}
        for name, row in sdn.running("vnets").items()
        if row["zone"] == call.p["zone"]
    ]


@api.reads("GET /nodes/{node}/sdn/zones/{zone}/bridges")
def bridges(call: Call) -> list[dict[str, Any]]:
    """The bridges of a zone on the node, with what is plugged into them."""
    name = call.p["zone"]
    if name == LOCAL_ZONE:
        found = [key for key, facts in interfaces(call.node).items() if facts["type"] == "bridge"]
    else:
        _running_zone(call)
        found = [vnet for vnet, row in call.cluster.configs.sdn.running("vnets").items() if row["zone"] == name]
    return [
        {"name": bridge, "vlan_filtering": 0, "ports": _ports(call, bridge)}
        for bridge in found
        if call.may_any(f"/sdn/zones/{name}/{bridge}", "SDN.Audit", "SDN.Allocate")
    ]


def _ports(call: Call, bridge: str) -> list[dict[str, Any]]:
    found = []
    for guest in call.cluster.guests_on(call.p["node"]):
        for key in guest.keys(NET) if guest.running else ():
            if read_props(str(guest.config[key]), "model").get("bridge") == bridge:
                number = key.removeprefix("net")
                prefix = "tap" if guest.kind == "qemu" else "veth"
                found.append({"name": f"{prefix}{guest.vmid}i{number}", "vmid": str(guest.vmid), "index": key})
    return found


@api.reads("GET /nodes/{node}/sdn/zones/{zone}/ip-vrf")
def routes(call: Call) -> list[dict[str, Any]]:
    """Routes of an EVPN zone; nothing is routed in a simulation."""
    if _running_zone(call)["type"] != "evpn":
        raise bad_parameter("zone", "zone is not an EVPN zone")
    return []


def _demand_vnet(call: Call) -> str:
    name = call.p["vnet"]
    row = call.cluster.configs.sdn.config["vnets"].get(name)
    if row is None:
        raise failed(missing_text("vnets", name))
    call.demand_any(f"/sdn/zones/{row['zone']}/{name}", "SDN.Audit")
    return str(name)


@api.reads("GET /nodes/{node}/sdn/vnets/{vnet}")
def vnet_index(call: Call) -> list[dict[str, str]]:
    """What can be asked about a virtual network."""
    _demand_vnet(call)
    return [{"subdir": "mac-vrf"}]


@api.reads("GET /nodes/{node}/sdn/vnets/{vnet}/mac-vrf")
def neighbours(call: Call) -> list[dict[str, Any]]:
    """Neighbours in a virtual network of an EVPN zone."""
    sdn = call.cluster.configs.sdn
    running = sdn.running("vnets").get(_demand_vnet(call))
    if running is None:
        raise bad_parameter("vnet", "vnet does not exist")
    if sdn.running("zones").get(str(running["zone"]), {}).get("type") != "evpn":
        raise bad_parameter("zone", f"zone {running['zone']} is not an EVPN zone.")
    return []
