"""Snapshots of guests."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.tasks import snapshots
from pveops.sim.tasks.snapshots import can_snapshot, find_snapshot

api = Table()

_RESERVED = ("current", "pending")


@api.reads("GET /nodes/{node}/qemu/{vmid}/snapshot", "GET /nodes/{node}/lxc/{vmid}/snapshot")
def listing(call: Call) -> list[dict[str, Any]]:
    """All snapshots, and always a last row for what is now."""
    guest = call.guest(call.kind)
    rows = []
    for found in guest.snapshots.values():
        row: dict[str, Any] = {"name": found.name, "description": found.description, "snaptime": found.time_s}
        if call.kind == "qemu":
            row["vmstate"] = int(found.vmstate)
        if found.parent:
            row["parent"] = found.parent
        rows.append(row)
    last: dict[str, Any] = {"name": "current", "description": "You are here!", "digest": guest.digest, "running": int(guest.running)}
    if guest.parent:
        last["parent"] = guest.parent
    return [*rows, last]


@api.behaves("POST /nodes/{node}/qemu/{vmid}/snapshot", "POST /nodes/{node}/lxc/{vmid}/snapshot")
def take(call: Call) -> str:
    """Take a snapshot."""
    name, vmid = call.p["snapname"], call.p["vmid"]
    if name.lower() in _RESERVED:
        raise failed(f"unable to use snapshot name '{name.lower()}' (reserved name)")
    if call.kind == "qemu":
        call.guest("qemu")
    text = call.p.get("description", "")
    work = snapshots.take(call.cluster, call.kind, call.p["node"], vmid, name, text, with_memory=bool(call.p.get("vmstate")))
    call.cluster.note(call.p["node"], call.who.name, f"snapshot {'VM' if call.kind == 'qemu' else 'container'} {vmid}: {name}")
    return call.fork("qmsnapshot" if call.kind == "qemu" else "vzsnapshot", vmid, work)


@api.reads("GET /nodes/{node}/qemu/{vmid}/snapshot/{snapname}", "GET /nodes/{node}/lxc/{vmid}/snapshot/{snapname}")
def commands(call: Call) -> list[dict[str, str]]:
    """What can be done with a snapshot; it need not be there."""
    return [{"cmd": "rollback"}, {"cmd": "config"}]


@api.reads("GET /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", "GET /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config")
def config(call: Call) -> dict[str, Any]:
    """The configuration of the moment of the snapshot."""
    found = find_snapshot(call.guest(call.kind), call.p["snapname"])
    row: dict[str, Any] = {**found.config, "snaptime": found.time_s}
    if found.description:
        row["description"] = found.description
    if found.parent:
        row["parent"] = found.parent
    return row


@api.behaves("PUT /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/config", "PUT /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/config")
def describe(call: Call) -> None:
    """Change the description."""
    guest = call.guest(call.kind)
    found = find_snapshot(guest, call.p["snapname"])
    found.description = call.p.get("description", found.description)
    guest.touch()


@api.behaves("DELETE /nodes/{node}/qemu/{vmid}/snapshot/{snapname}", "DELETE /nodes/{node}/lxc/{vmid}/snapshot/{snapname}")
def remove(call: Call) -> str:
    """Remove a snapshot; that there is none of that name is a matter of the task."""
    vmid = call.p["vmid"]
    work = snapshots.remove(call.cluster, call.kind, call.p["node"], vmid, call.p["snapname"])
    return call.fork("qmdelsnapshot" if call.kind == "qemu" else "vzdelsnapshot", vmid, work)


@api.behaves("POST /nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback", "POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback")
def roll_back(call: Call) -> str:
    """Go back to a snapshot."""
    vmid = call.p["vmid"]
    work = snapshots.roll_back(call.cluster, call.kind, call.p["node"], vmid, call.p["snapname"], start=bool(call.p.get("start")))
    return call.fork("qmrollback" if call.kind == "qemu" else "vzrollback", vmid, work)


@api.reads("GET /nodes/{node}/qemu/{vmid}/feature", "GET /nodes/{node}/lxc/{vmid}/feature")
def feature(call: Call) -> dict[str, Any]:
    """Whether a guest can be snapshotted, cloned (as a linked clone) or copied, and where."""
    node, vmid = call.p["node"], call.p["vmid"]
    guest = call.cluster.guests.get(vmid)
    if call.kind == "qemu" and (guest is None or guest.kind != "qemu" or guest.node != node):
        raise failed(f"unable to find configuration file for VM {vmid} on node '{node}'")
    guest = call.guest(call.kind)
    if "snapname" in call.p:
        find_snapshot(guest, call.p["snapname"])
    wanted = call.p["feature"]
    has = bool(guest.template) if wanted == "clone" else True if wanted == "copy" else can_snapshot(call.cluster, guest)
    names = dict.fromkeys(disk.storage for disk in guest.disks() if disk.storage)
    shared = all(call.cluster.storages[name].shared for name in names if name in call.cluster.storages)
    answer: dict[str, Any] = {"hasFeature": int(has)}
    if call.kind == "qemu":
        answer["nodes"] = [name for name in call.cluster.nodes if name == node or shared]
    return answer
