"""Moving disks of guests to other storages and other guests."""

from __future__ import annotations

from pveops.sim.errors import bad_parameter, bad_parameters, failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.state.guest import LXC_DISK, UNUSED_DISK, Guest, read_disk
from pveops.sim.tasks import disks
from pveops.sim.tasks.power import refuse_lock

api = Table()

_CHANGED = "checksum mismatch (file change by other user?)"


def _refuse_vague(call: Call) -> None:
    """Either a storage or another guest must be named, not both."""
    if "storage" in call.p and "target-vmid" in call.p:
        raise bad_parameters(dict.fromkeys(("storage", "target-vmid"), "either 'storage' or 'target-vmid' can be set, but not both"))
    if "storage" not in call.p and "target-vmid" not in call.p:
        text = "both 'storage' and 'target-vmid' missing, either needs to be set"
        raise bad_parameters(dict.fromkeys(("storage", "target-vmid"), text))


def _target(call: Call, noun: str) -> Guest:
    """The guest that gets a disk.

    Raises:
        RefusedError: 400 for the guest itself, 500 for one that is not there or cannot take it.
    """
    vmid = call.p["target-vmid"]
    if vmid == call.p["vmid"]:
        raise bad_parameter("target-vmid", f"must be different than source VMID to {'reassign disk' if noun == 'VM' else 'move volume'}")
    call.demand(f"/vms/{vmid}", "VM.Config.Disk")
    found = call.cluster.guests.get(vmid)
    if found is None or found.kind != call.kind:
        raise failed(f"could not find target {noun} {vmid}")
    if found.template or call.guest(call.kind).template:
        raise failed(f"Can't move disks from or to template {noun}s")
    if found.node != call.p["node"]:
        raise failed(f"Both {noun}s need to be on the same node ({call.p['node']}) but target is on {found.node}.")
    return found


def _refuse_same_place(call: Call, disk_storage: str, volid: str) -> None:
    form = volid.rsplit(".", 1)[1] if "." in volid.rsplit("/", 1)[-1] else "raw"
    if disk_storage == call.p["storage"] and call.p.get("format", form) == form:
        raise failed("you can't move to the same storage with same format")


@api.behaves("POST /nodes/{node}/qemu/{vmid}/move_disk")
def move_qemu(call: Call) -> str:
    """Move a disk of a virtual machine; what is wrong is said at once."""
    _refuse_vague(call)
    guest, key = call.guest("qemu"), call.p["disk"]
    if "target-vmid" in call.p:
        return _hand_over(call, guest, key, _target(call, "VM"), call.p.get("target-disk", key))
    call.demand(f"/storage/{call.p['storage']}", "Datastore.AllocateSpace")
    if call.p.get("digest", guest.digest) != guest.digest:
        raise failed(_CHANGED)
    refuse_lock(guest)
    if key not in guest.config:
        raise failed(f"disk '{key}' does not exist")
    disk = read_disk(key, str(guest.config[key]))
    if disk.cdrom:
        raise failed("you can't move a cdrom")
    call.cluster.storage(call.p["storage"])
    _refuse_same_place(call, disk.storage, disk.volid)
    move = disks.Move(key, call.p["storage"], call.p.get("format", ""), delete=bool(call.p.get("delete")))
    return call.fork("qmmove", guest.vmid, disks.to_storage(call.cluster, guest, move))


@api.behaves("POST /nodes/{node}/lxc/{vmid}/move_volume")
def move_lxc(call: Call) -> str:
    """Move a volume of a container, which must not run."""
    _refuse_vague(call)
    guest, key = call.guest("lxc"), call.p["volume"]
    if "target-vmid" in call.p:
        return _hand_over(call, guest, key, _target(call, "CT"), call.p.get("target-volume", key))
    call.demand(f"/storage/{call.p['storage']}", "Datastore.AllocateSpace")
    if call.p.get("digest", guest.digest) != guest.digest:
        raise failed("detected modified configuration - file changed by other user? Try again.")
    refuse_lock(guest)
    if guest.running:
        raise failed("cannot move volumes of a running container")
    if key not in guest.config or not (LXC_DISK.fullmatch(key) or UNUSED_DISK.fullmatch(key)):
        raise disks.no_mount_point()
    if read_disk(key, str(guest.config[key])).storage == call.p["storage"]:
        raise failed("you can't move to the same storage")
    move = disks.Move(key, call.p["storage"], delete=bool(call.p.get("delete")))
    return call.fork("move_volume", guest.vmid, disks.to_storage(call.cluster, guest, move))


def _hand_over(call: Call, guest: Guest, key: str, target: Guest, target_key: str) -> str:
    if call.p.get("digest", guest.digest) != guest.digest or call.p.get("target-digest", target.digest) != target.digest:
        raise failed(_CHANGED)
    refuse_lock(guest)
    if key not in guest.config:
        raise failed(f"disk '{key}' does not exist")
    if target_key in target.config:
        raise failed(f"Target disk key '{target_key}' is already in use for {target.noun} '{target.vmid}'")
    if guest.running and not UNUSED_DISK.fullmatch(key):
        raise failed(f"{guest.noun} {guest.vmid} is running - cannot reassign disk")
    kind = "qmmove" if guest.kind == "qemu" else "move_volume"
    about = f"{guest.vmid}"
    return call.fork(kind, about, disks.to_guest(call.cluster, guest, key, target, target_key))
