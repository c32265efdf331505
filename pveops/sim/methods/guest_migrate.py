"""Moving guests: what stands in the way, and doing it."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics.live import live_guest
from pveops.sim.state.guest import Guest
from pveops.sim.state.volumes import find_volume
from pveops.sim.tasks import ha, migrate
from pveops.sim.tasks.power import refuse_lock

api = Table()


def _disk_row(call: Call, guest: Guest, key: str, volid: str, *, cdrom: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "volid": volid,
        "drivename": key,
        "cdrom": int(cdrom),
        "is_attached": int(not key.startswith("unused")),
        "is_cloudinit": int("cloudinit" in volid),
        "is_tpmstate": int(key.startswith("tpmstate")),
        "is_unused": int(key.startswith("unused")),
        "is_vmstate": 0,
        "replicate": 1,
        "shared": 0,
    }
    volume = find_volume(call.cluster, volid, guest.node)
    if volume is not None and not cdrom:
        row["size"] = volume.size
    inside = {name: 1 for name, found in guest.snapshots.items() if volid in str(found.config.get(key, ""))}
    return row | ({"referenced_in_snapshot": inside} if inside else {})


def _sort_nodes(call: Call, guest: Guest) -> tuple[list[str], dict[str, dict[str, list[str]]]]:
    allowed: list[str] = []
    refused: dict[str, dict[str, list[str]]] = {}
    for name in call.cluster.nodes:
        if name == guest.node:
            continue
        missing = migrate.missing_storages(call.cluster, guest, name)
        if missing:
            refused[name] = {"unavailable_storages": missing}
        else:
            allowed.append(name)
    return allowed, refused


@api.reads("GET /nodes/{node}/qemu/{vmid}/migrate")
def qemu_preconditions(call: Call) -> dict[str, Any]:
    """Where a virtual machine could go, and what of it is bound to its node."""
    guest = call.guest("qemu")
    refuse_lock(guest)
    allowed, refused = _sort_nodes(call, guest)
    return {
        "running": int(guest.running),
        "allowed_nodes": allowed,
        "not_allowed_nodes": refused,
        "local_disks": [
            _disk_row(call, guest, disk.key, disk.volid, cdrom=disk.cdrom) for disk in migrate.local_disks(call.cluster, guest)
        ],
        "local_resources": migrate.local_resources(guest),
        "mapped-resources": [],
        "mapped-resource-info": {},
        "has-dbus-vmstate": 1,
    }


@api.reads("GET /nodes/{node}/lxc/{vmid}/migrate")
def lxc_preconditions(call: Call) -> dict[str, Any]:
    """Where a container could go."""
    guest = call.guest("lxc")
    allowed, refused = _sort_nodes(call, guest)
    return {
        "running": int(guest.running),
        "allowed-nodes": allowed,
        "not-allowed-nodes": {name: {"blocking-ha-resources": [], **found} for name, found in refused.items()},
    }


def _target(call: Call) -> str:
    target: str = call.p["target"]
    if target == call.p["node"]:
        raise bad_parameter("target", "target is local node.")
    if target not in call.cluster.nodes:
        raise failed(f"no such cluster node '{target}'")
    return target


@api.behaves("POST /nodes/{node}/qemu/{vmid}/migrate")
def migrate_qemu(call: Call) -> str:
    """Move a virtual machine."""
    target, vmid, load, cluster = _target(call), call.p["vmid"], call.world.load, call.cluster
    guest = call.guest("qemu")

    def busy(one: Guest) -> float:
        return live_guest(load, one, cluster.now_s).cpu

    if guest.running and not call.p.get("online"):
        raise failed("can't migrate running VM without --online")
    if ha.manages(cluster, "qemu", vmid):
        return call.fork("hamigrate", vmid, ha.request_migration(call.world.engine, cluster, "qemu", vmid, target, busy))
    online, with_disks = bool(call.p.get("online")), bool(call.p.get("with-local-disks"))
    return call.fork("qmigrate", vmid, migrate.qemu(cluster, call.p["node"], vmid, target, busy, online=online, with_disks=with_disks))


@api.behaves("POST /nodes/{node}/lxc/{vmid}/migrate")
def migrate_lxc(call: Call) -> str:
    """Move a container; a running one must be allowed to restart."""
    target, vmid, load, cluster = _target(call), call.p["vmid"], call.world.load, call.cluster
    call.guest("lxc")
    if ha.manages(cluster, "lxc", vmid):
        work = ha.request_migration(call.world.engine, cluster, "lxc", vmid, target, lambda one: live_guest(load, one, cluster.now_s).cpu)
        return call.fork("hamigrate", vmid, work)
    return call.fork("vzmigrate", vmid, migrate.lxc(cluster, call.p["node"], vmid, target, restart=bool(call.p.get("restart"))))
