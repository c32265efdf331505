"""Making, copying, resizing and destroying guests: what is refused at once, and what is left to the task."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import RefusedError, failed, forbidden
from pveops.sim.methods.guest_config import refuse_root_values
from pveops.sim.methods.storage import backup_archive
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import read_props, size_bytes, split_list
from pveops.sim.state import config
from pveops.sim.state.guest import LXC_DISK, QEMU_DISK, Guest, Value, read_disk
from pveops.sim.state.identity import Principal
from pveops.sim.state.volumes import usable_storage
from pveops.sim.tasks import disks, lifecycle, power, restore
from pveops.sim.tasks.lifecycle import CopyPlan, Plan
from pveops.sim.tasks.migrate import local_disks
from pveops.sim.tasks.power import refuse_lock
from pveops.sim.tasks.snapshots import find_snapshot

api = Table()

_NOT_CONFIG = frozenset(
    [
        "node",
        "vmid",
        "archive",
        "bwlimit",
        "force",
        "ha-managed",
        "ignore-unpack-errors",
        "import-working-storage",
        "live-restore",
        "ostemplate",
        "password",
        "pool",
        "restore",
        "ssh-public-keys",
        "start",
        "storage",
        "unique",
    ]
)


def _refuse_taken(call: Call, vmid: int, words: str) -> None:
    """500 when a guest with that id exists; ``words`` come before what exists where."""
    other = call.cluster.guests.get(vmid)
    if other is not None:
        raise failed(f"{words}{other.noun} {vmid} already exists on node '{other.node}'")


def _may_allocate(call: Call, vmid: int) -> None:
    """403 unless the caller may make guests, with this id or in the pool."""
    pool = call.p.get("pool")
    if call.may(f"/vms/{vmid}", "VM.Allocate") or (pool and call.may(f"/pool/{pool}", "VM.Allocate")):
        return
    raise forbidden()


def _check_pool(call: Call) -> None:
    if call.p.get("pool") and call.p["pool"] not in call.cluster.pools:
        raise forbidden(f"pool '{call.p['pool']}' does not exist")


def _options(call: Call) -> dict[str, Value]:
    return {key: value for key, value in call.p.items() if key not in _NOT_CONFIG}


def _starter(call: Call, vmid: int) -> Any:
    node, who = call.p["node"], call.who

    def start() -> None:
        prefix = "qm" if call.kind == "qemu" else "vz"
        call.world.fork(
            node, f"{prefix}start", str(vmid), Principal(who.userid, who.token), power.start(call.cluster, call.kind, node, vmid)
        )

    return start


def _restore(call: Call, volid: str, options: dict[str, Value]) -> str:
    """A guest from a backup; with ``force`` in place of the one that has the id, which must not run."""
    vmid, node, force = call.p["vmid"], call.p["node"], bool(call.p.get("force"))
    old = call.cluster.guests.get(vmid)
    if not force:
        _refuse_taken(call, vmid, f"unable to restore {'VM' if call.kind == 'qemu' else 'CT'} {vmid} - ")
    elif old is not None:
        if old.kind != call.kind or old.node != node:
            raise failed(f"unable to restore {old.noun} {vmid} - {old.noun} {vmid} already exists on node '{old.node}'")
        call.demand(f"/vms/{vmid}", "VM.Backup")
        if old.running:
            raise failed(f"unable to restore {old.noun} {vmid} - {'vm' if old.kind == 'qemu' else 'ct'} is running")
        if old.config.get("protection"):
            raise failed(f"unable to restore {old.noun} {vmid} - protection mode enabled")
    archive = backup_archive(call, volid)
    wanted = str(call.p.get("storage", ""))
    if wanted:
        usable_storage(call.cluster, wanted, node)
        call.demand(f"/storage/{wanted}", "Datastore.AllocateSpace")
    wish = restore.Wish(
        call.kind,
        node,
        vmid,
        {key: value for key, value in options.items() if key != "rootfs"},
        storage=wanted,
        pool=str(call.p.get("pool", "")),
        unique=bool(call.p.get("unique")),
        force=force,
        start=bool(call.p.get("start")),
    )
    work = restore.restore(call.cluster, archive, wish, call.world, _starter(call, vmid))
    return call.fork("qmrestore" if call.kind == "qemu" else "vzrestore", vmid, work)


@api.behaves("POST /nodes/{node}/qemu")
def create_qemu(call: Call) -> str:
    """A new virtual machine. That an ISO is not there is a matter of the task, that a storage is not there is not."""
    vmid, options = call.p["vmid"], _options(call)
    _may_allocate(call, vmid)
    _check_pool(call)
    refuse_root_values(call, options, [])
    archive = call.p.get("archive")
    if archive:
        return _restore(call, str(archive), options)
    _refuse_taken(call, vmid, f"unable to create VM {vmid} - ")
    for key, value in options.items():
        if QEMU_DISK.fullmatch(key):
            storage = read_disk(key, str(value)).storage
            if storage:
                usable_storage(call.cluster, storage, call.p["node"])
                call.demand(f"/storage/{storage}", "Datastore.AllocateSpace")
    plan = Plan("qemu", call.p["node"], vmid, options, pool=call.p.get("pool", ""), start=bool(call.p.get("start")))
    work = lifecycle.create_qemu(call.cluster, plan, call.world, _starter(call, vmid), is_root=call.who.is_root)
    return call.fork("qmcreate", vmid, work)


@api.behaves("POST /nodes/{node}/lxc")
def create_lxc(call: Call) -> str:
    """A new container."""
    vmid, options = call.p["vmid"], _options(call)
    _may_allocate(call, vmid)
    _check_pool(call)
    if call.p.get("restore"):
        return _restore(call, str(call.p["ostemplate"]), options)
    _refuse_taken(call, vmid, "")
    rootfs = read_props(str(options.pop("rootfs", call.p.get("storage", "local"))), "volume")["volume"]
    plan = Plan(
        "lxc",
        call.p["node"],
        vmid,
        options,
        pool=call.p.get("pool", ""),
        start=bool(call.p.get("start")),
        rootfs=rootfs,
        template=call.p["ostemplate"],
    )
    storage = rootfs.partition(":")[0]
    usable_storage(call.cluster, storage, call.p["node"])
    call.demand(f"/storage/{storage}", "Datastore.AllocateSpace")
    work = lifecycle.create_lxc(call.cluster, plan, call.world, _starter(call, vmid), is_root=call.who.is_root)
    return call.fork("vzcreate", vmid, work)


@api.behaves("DELETE /nodes/{node}/qemu/{vmid}", "DELETE /nodes/{node}/lxc/{vmid}")
def destroy(call: Call) -> str:
    """Remove a guest. A locked virtual machine is a matter of the task, a locked container is not."""
    guest, vmid = call.guest(call.kind), call.p["vmid"]
    noun = guest.noun
    if guest.config.get("protection"):
        raise failed(f"can't remove {noun} {vmid} - protection mode enabled")
    if guest.sid in call.cluster.ha and not call.p.get("purge"):
        raise failed(f"unable to remove {noun} {vmid} - used in HA resources and purge parameter not set.")
    if guest.kind == "lxc":
        refuse_lock(guest)
    if guest.running:
        if guest.kind == "lxc" and not call.p.get("force"):
            raise failed(f"unable to destroy CT {vmid} - container is running")
        if guest.kind == "qemu":
            raise failed(f"VM {vmid} is running - destroy failed")
        power.power_off(call.cluster, guest)
    work = lifecycle.destroy(call.cluster, call.kind, call.p["node"], vmid, call.world, purge=bool(call.p.get("purge")))
    return call.fork("qmdestroy" if call.kind == "qemu" else "vzdestroy", vmid, work)


def _source(call: Call) -> Guest:
    guest = call.cluster.guests.get(call.p["vmid"])
    if call.kind == "qemu" and (guest is None or guest.kind != "qemu" or guest.node != call.p["node"]):
        raise failed(f"unable to find configuration file for VM {call.p['vmid']} on node '{call.p['node']}'")
    return call.guest(call.kind)


def _refuse_taken_copy(call: Call) -> None:
    """The id of another virtual machine is refused at once; that of a container only fails in the task of a virtual machine."""
    other = call.cluster.guests.get(call.p["newid"])
    if other is None:
        return
    if call.kind == "lxc":
        _refuse_taken(call, call.p["newid"], "")
    if other.kind == "qemu":
        raise failed(f"unable to create VM {call.p['newid']}: config file already exists")


def _copy_storage(call: Call, guest: Guest, *, full: bool) -> str:
    """The storage for the copy, if one was asked for."""
    wanted: str = call.p.get("storage", "")
    if wanted and not full:
        raise failed("parameter 'storage' not allowed for linked clones")
    if wanted:
        usable_storage(call.cluster, wanted, call.p["node"])
    for disk in guest.disks():
        storage = wanted or disk.storage
        if storage in call.cluster.storages and not disk.cdrom:
            call.demand(f"/storage/{storage}", "Datastore.AllocateSpace")
    return wanted


@api.behaves("POST /nodes/{node}/qemu/{vmid}/clone", "POST /nodes/{node}/lxc/{vmid}/clone")
def clone(call: Call) -> str:
    """A copy: linked when the source is a template, unless a full one is asked for."""
    guest = _source(call)
    _check_pool(call)
    refuse_lock(guest)
    target: str = call.p.get("target", call.p["node"])
    if target not in call.cluster.nodes:
        raise failed(f"no such cluster node '{target}'")
    if target != guest.node and local_disks(call.cluster, guest):
        raise failed(f"can't clone to node '{target}' ({guest.noun} uses local storage)")
    full = bool(call.p.get("full", not guest.template))
    storage = _copy_storage(call, guest, full=full)
    if "snapname" in call.p:
        find_snapshot(guest, call.p["snapname"])
    _refuse_taken_copy(call)
    if not full and not guest.template:
        raise failed("Linked clone feature is not supported for this guest: it is no template")
    plan = CopyPlan(
        guest,
        call.p["newid"],
        target,
        name=call.p.get("name", call.p.get("hostname", "")),
        description=call.p.get("description"),
        storage=storage,
        form=call.p.get("format", ""),
        pool=call.p.get("pool", ""),
        full=full,
        snapshot=call.p.get("snapname", ""),
        lock="clone" if guest.kind == "qemu" else "create",
    )
    return call.fork("qmclone" if call.kind == "qemu" else "vzclone", guest.vmid, lifecycle.clone(call.cluster, plan, call.world))


def _refuse_template(call: Call) -> Guest:
    guest = call.guest(call.kind)
    refuse_lock(guest)
    if guest.template:
        raise failed("you can't convert a template to a template")
    if guest.snapshots:
        raise failed(f"unable to create template, because {guest.noun} contains snapshots")
    if guest.running:
        raise failed(f"you can't convert a {guest.noun} to template if {guest.noun} is running")
    return guest


@api.behaves("POST /nodes/{node}/qemu/{vmid}/template")
def template_qemu(call: Call) -> str:
    """Turn a virtual machine into a template, in a task."""
    return call.fork("qmtemplate", call.p["vmid"], lifecycle.to_template(call.cluster, _refuse_template(call)))


@api.behaves("POST /nodes/{node}/lxc/{vmid}/template")
def template_lxc(call: Call) -> None:
    """Turn a container into a template, at once."""
    lifecycle.make_template(call.cluster, _refuse_template(call))


@api.behaves("PUT /nodes/{node}/qemu/{vmid}/resize")
def resize_qemu(call: Call) -> str:
    """Grow a disk; everything that can be wrong is a matter of the task."""
    size, digest = str(call.p["size"]), call.p.get("digest", "")
    work = lifecycle.grow(call.cluster, "qemu", call.p["node"], call.p["vmid"], call.p["disk"], size, digest)
    return call.fork("resize", call.p["vmid"], work)


@api.behaves("PUT /nodes/{node}/lxc/{vmid}/resize")
def resize_lxc(call: Call) -> str:
    """Grow a volume of a container; most of what can be wrong is said at once."""
    guest, key, size = call.guest("lxc"), call.p["disk"], str(call.p["size"])
    refuse_lock(guest)
    if not LXC_DISK.fullmatch(key) or key not in guest.config:
        raise disks.no_mount_point()
    if not size.startswith("+") and size_bytes(size) < read_disk(key, str(guest.config[key])).size:
        raise failed("unable to shrink disk size")
    return call.fork(
        "resize", guest.vmid, lifecycle.grow(call.cluster, "lxc", call.p["node"], guest.vmid, key, size, call.p.get("digest", ""))
    )


@api.behaves("PUT /nodes/{node}/qemu/{vmid}/unlink")
def unlink(call: Call) -> None:
    """Take disks out of the configuration; with ``force`` their volumes go too."""
    guest = call.guest("qemu")
    refuse_lock(guest)
    keys = split_list(call.p["idlist"])
    for key in keys:
        if not QEMU_DISK.fullmatch(key) and not key.startswith("unused"):
            raise RefusedError(400, "Parameter verification failed.", errors={"delete": f"unknown option '{key}'"})
    config.update(call.cluster, guest, {}, keys, force=bool(call.p.get("force")))
