"""Making, copying and destroying guests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pveops.sim.errors import failed
from pveops.sim.props import read_props, size_text, write_props
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.config import NET, resize, stored_value
from pveops.sim.state.guest import LXC_DISK, QEMU_DISK, UNUSED_DISK, Guest, Kind, Value, read_disk
from pveops.sim.state.storage import FILE_TYPES
from pveops.sim.state.volumes import allocate, find_volume, free, owner_of, usable_storage
from pveops.sim.tasks import disks
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.power import refuse_lock, set_lock
from pveops.sim.tasks.task import Task

_QUICK_S = 0.3
_UNPACK_S = 4.0
_MACHINE = "10.1.2"
_LXC_DEFAULTS: dict[str, Value] = {"arch": "amd64", "memory": 512, "ostype": "debian", "swap": 512}


class Register(Protocol):
    """Where guests come into being and pass away."""

    def add_guest(self, guest: Guest) -> None:
        """A guest is new."""
        ...

    def remove_guest(self, guest: Guest) -> None:
        """A guest is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """A new guest: where, with which options, and what to do then. ``rootfs`` is the storage or ``storage:size`` of a container."""

    kind: Kind
    node: str
    vmid: int
    options: dict[str, Value]
    pool: str = ""
    start: bool = False
    rootfs: str = "local"
    template: str = ""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """A copy of a guest. ``full`` copies disks, otherwise they are linked to the template."""

    source: Guest
    vmid: int
    node: str
    name: str = ""
    description: str | None = None
    storage: str = ""
    form: str = ""
    pool: str = ""
    full: bool = True
    snapshot: str = ""
    lock: str = "clone"


def join_pool(cluster: Cluster, pool: str, vmid: int) -> None:
    """A guest becomes member of a pool; nothing happens for the empty name."""
    if pool and pool in cluster.pools:
        cluster.pools[pool].vmids.add(vmid)
        cluster.pools_changed()


def undo(cluster: Cluster, guest: Guest, register: Register) -> None:
    """A guest that could not be made is taken away with the disks that it has already."""
    for storage in cluster.storages.values():
        volumes = storage.place(guest.node)
        for volid in [volid for volid, volume in volumes.items() if volume.vmid == guest.vmid and owner_of(volid) == guest.vmid]:
            del volumes[volid]
    register.remove_guest(guest)


def _path(cluster: Cluster, volid: str) -> str:
    storage = cluster.storages[volid.partition(":")[0]]
    name = volid.partition(":")[2]
    return f"{storage.root_path()}/images/{name}" if storage.kind in FILE_TYPES else f"{storage.name}/{name}"


def _boot_order(guest: Guest) -> str:
    disks = [disk.key for disk in guest.disks() if not disk.cdrom and disk.key[:3] not in ("efi", "tpm")]
    order = [*disks[:1], *guest.keys(NET)[:1]]
    return f"order={';'.join(order)}" if order else " "


def _fill_qemu(cluster: Cluster, guest: Guest, options: dict[str, Value], task: Task, *, is_root: bool) -> None:
    for key, value in options.items():
        guest.config[key] = stored_value(cluster, guest, key, value, is_root=is_root)
        if QEMU_DISK.fullmatch(key) and str(guest.config[key]) != str(value):
            disk = read_disk(key, str(guest.config[key]))
            if disk.volid.partition(":")[2] and owner_of(disk.volid) == guest.vmid:
                form = disk.volid.rsplit(".", 1)[-1] if "." in disk.volid else "raw"
                task.say(f"Formatting '{_path(cluster, disk.volid)}', fmt={form} size={disk.size} preallocation=off")
                task.say(f"{key}: successfully created disk '{guest.config[key]}'")
    stamp = (cluster.seed, guest.vmid, int(cluster.now_s))
    guest.config.setdefault("boot", _boot_order(guest))
    guest.config["meta"] = f"creation-qemu={_MACHINE},ctime={int(cluster.now_s)}"
    guest.config.setdefault("smbios1", f"uuid={noise.uuid_text(*stamp, 'smbios')}")
    guest.config.setdefault("vmgenid", noise.uuid_text(*stamp, "vmgenid"))


def create_qemu(cluster: Cluster, plan: Plan, register: Register, start: Callable[[], None], *, is_root: bool) -> Work:
    """A new virtual machine."""

    def work(task: Task) -> Body:
        if plan.vmid in cluster.guests:
            raise failed(f"unable to create VM {plan.vmid} - VM {plan.vmid} already exists on node '{cluster.guests[plan.vmid].node}'")
        guest = Guest(plan.vmid, "qemu", plan.node, {"lock": "create"}, created_s=cluster.now_s)
        guest.placements = [(cluster.now_s, plan.node)]
        register.add_guest(guest)
        try:
            yield _QUICK_S
            _fill_qemu(cluster, guest, plan.options, task, is_root=is_root)
        except BaseException:
            undo(cluster, guest, register)
            raise
        set_lock(cluster, guest, "")
        join_pool(cluster, plan.pool, plan.vmid)
        if plan.start:
            task.say("Execute autostart")
            start()

    return work


def create_lxc(cluster: Cluster, plan: Plan, register: Register, start: Callable[[], None], *, is_root: bool) -> Work:
    """A new container from a template archive."""

    def work(task: Task) -> Body:
        storage, _, size = plan.rootfs.partition(":")
        target = usable_storage(cluster, storage, plan.node)
        if find_volume(cluster, plan.template, plan.node) is None:
            raise failed(f"volume '{plan.template}' does not exist")
        guest = Guest(plan.vmid, "lxc", plan.node, {"lock": "create", **_LXC_DEFAULTS}, created_s=cluster.now_s)
        guest.placements = [(cluster.now_s, plan.node)]
        register.add_guest(guest)
        try:
            gib = float(size) if size.replace(".", "").isdigit() else 4.0
            volume = allocate(cluster, plan.node, target, plan.vmid, int(gib * 1024**3), content="rootdir")
            task.say(f"Creating filesystem on '{volume.volid}'")
            yield _UNPACK_S
            task.say(f"extracting archive '{plan.template}'")
            guest.config["rootfs"] = f"{volume.volid},size={size_text(volume.size)}"
            guest.config["hostname"] = str(plan.options.get("hostname", f"CT{plan.vmid}"))
            for key, value in plan.options.items():
                guest.config[key] = stored_value(cluster, guest, key, value, is_root=is_root)
        except BaseException:
            undo(cluster, guest, register)
            raise
        set_lock(cluster, guest, "")
        join_pool(cluster, plan.pool, plan.vmid)
        if plan.start:
            start()

    return work


def _linked_volid(volid: str, vmid: int, number: int) -> str:
    storage, _, name = volid.partition(":")
    if "/" in name:
        return f"{storage}:{name}/{vmid}/vm-{vmid}-disk-{number}.{name.rsplit('.', 1)[1]}"
    return f"{storage}:{name}/vm-{vmid}-disk-{number}"


def _copy_disk(cluster: Cluster, plan: CopyPlan, guest: Guest, key: str, task: Task) -> Body:
    """One disk of the copy, with its value in the new configuration."""
    default = "file" if guest.kind == "qemu" else "volume"
    props = read_props(str(guest.config[key]), default)
    volid = props[default]
    source = find_volume(cluster, volid, plan.source.node)
    if source is None:
        return
    storage = usable_storage(cluster, plan.storage or volid.partition(":")[0], plan.node)
    if not plan.full:
        number = sum(1 for other in guest.config.values() if f"/vm-{guest.vmid}-disk-" in str(other))
        linked = _linked_volid(volid, guest.vmid, number)
        task.say(f"create linked clone of drive {key} ({volid})")
        storage.place(plan.node)[linked] = type(source)(
            linked, source.content, source.size, source.form, int(cluster.now_s), guest.vmid, 0.02, volid
        )
        props[default] = linked
        yield _QUICK_S
    else:
        task.say(f"create full clone of drive {key} ({volid})")
        form = plan.form or source.form
        made = allocate(cluster, plan.node, storage, guest.vmid, source.size, form=form, content=source.content)
        props[default] = made.volid
        yield from disks.copy(cluster, plan.node, source, made, task)
    guest.config[key] = write_props(props | {"size": size_text(source.size)}, default)


def _fresh_identity(cluster: Cluster, guest: Guest) -> None:
    """What must not be the same in two guests."""
    stamp = (cluster.seed, guest.vmid, int(cluster.now_s))
    for key in guest.keys(NET):
        if guest.kind == "lxc":
            guest.config[key] = write_props(read_props(str(guest.config[key])) | {"hwaddr": noise.mac_text(*stamp, key)})
        else:
            model, _, rest = str(guest.config[key]).partition(",")
            guest.config[key] = f"{model.partition('=')[0]}={noise.mac_text(*stamp, key)}" + (f",{rest}" if rest else "")
    if guest.kind == "qemu":
        guest.config["vmgenid"] = noise.uuid_text(*stamp, "vmgenid")
        guest.config["smbios1"] = f"uuid={noise.uuid_text(*stamp, 'smbios')}"


def clone(cluster: Cluster, plan: CopyPlan, register: Register) -> Work:
    """A copy of a guest: full, or linked to a template."""

    def work(task: Task) -> Body:
        source, noun = plan.source, plan.source.noun
        folder = "qemu-server" if source.kind == "qemu" else "lxc"
        task.say(f"creating a clone of {noun} {source.vmid} with ID {plan.vmid}")
        if plan.vmid in cluster.guests:
            raise failed(f"close (rename) atomic file '/etc/pve/nodes/{plan.node}/{folder}/{plan.vmid}.conf' failed: File exists")
        base = source.snapshots[plan.snapshot].config if plan.snapshot else source.with_pending()
        config = {key: value for key, value in base.items() if key not in ("template", "lock", "parent") and not UNUSED_DISK.fullmatch(key)}
        guest = Guest(plan.vmid, source.kind, plan.node, config, created_s=cluster.now_s)
        guest.placements, guest.profile, guest.level = [(cluster.now_s, plan.node)], source.profile, source.level
        register.add_guest(guest)
        set_lock(cluster, guest, plan.lock)
        try:
            for key in guest.keys(QEMU_DISK if guest.kind == "qemu" else LXC_DISK):
                if not read_disk(key, str(guest.config[key])).cdrom:
                    yield from _copy_disk(cluster, plan, guest, key, task)
            name_key = "name" if guest.kind == "qemu" else "hostname"
            guest.config[name_key] = plan.name or f"Copy-of-{noun}-{source.name}"
            if plan.description is not None:
                guest.config["description"] = plan.description
            _fresh_identity(cluster, guest)
        except BaseException:
            undo(cluster, guest, register)
            raise
        set_lock(cluster, guest, "")
        join_pool(cluster, plan.pool, plan.vmid)

    return work


def _linked_to(cluster: Cluster, guest: Guest) -> str:
    """A volume of the guest that others are linked to; empty when there is none."""
    own = {disk.volid for disk in guest.disks()}
    for storage in cluster.storages.values():
        for volumes in storage.volumes.values():
            for volume in volumes.values():
                if volume.parent in own:
                    return volume.parent
    return ""


def destroy(cluster: Cluster, kind: Kind, node: str, vmid: int, register: Register, *, purge: bool) -> Work:
    """Remove a guest with its disks, its place in a pool and its ACL entries; its backups stay."""

    def work(task: Task) -> Body:
        guest = cluster.guest(kind, node, vmid)
        refuse_lock(guest)
        if guest.running:
            raise failed(f"{guest.noun} {vmid} is running - destroy failed")
        linked = _linked_to(cluster, guest)
        if linked:
            raise failed(f"base volume '{linked}' is still in use by linked cloned")
        yield _QUICK_S
        for disk in guest.disks(with_unused=True):
            if owner_of(disk.volid) == vmid:
                free(cluster, disk.volid, node)
        register.remove_guest(guest)
        for pool in cluster.pools.values():
            pool.vmids.discard(vmid)
        cluster.pools_changed()
        cluster.identities.acl.pop(f"/vms/{vmid}", None)
        cluster.identities.changed()
        if purge:
            cluster.ha.pop(guest.sid, None)
            for name in [name for name in cluster.replication if name.startswith(f"{vmid}-")]:
                del cluster.replication[name]

    return work


def make_template(cluster: Cluster, guest: Guest) -> None:
    """Turn a guest into a template: its disks become base images."""
    cluster.before_change(guest)
    pattern = QEMU_DISK if guest.kind == "qemu" else LXC_DISK
    default = "file" if guest.kind == "qemu" else "volume"
    for key in guest.keys(pattern):
        props = read_props(str(guest.config[key]), default)
        old = props[default]
        volume = find_volume(cluster, old, guest.node)
        fresh = old.replace(f"vm-{guest.vmid}-disk", f"base-{guest.vmid}-disk")
        if volume is not None and fresh != old:
            volumes = cluster.storages[old.partition(":")[0]].place(guest.node)
            volumes[fresh] = volumes.pop(old)
            volume.volid, props[default] = fresh, fresh
            guest.config[key] = write_props(props, default)
    guest.config["template"] = 1
    guest.touch()


def to_template(cluster: Cluster, guest: Guest) -> Work:
    """The body of a conversion to a template."""

    def work(task: Task) -> Body:
        yield _QUICK_S
        make_template(cluster, guest)

    return work


def grow(cluster: Cluster, kind: Kind, node: str, vmid: int, key: str, size: str, digest: str) -> Work:
    """Grow a disk."""

    def work(task: Task) -> Body:
        guest = cluster.guest(kind, node, vmid)
        if digest and digest != guest.digest:
            raise failed("checksum mismatch (file change by other user?)")
        refuse_lock(guest)
        yield _QUICK_S
        before = guest.digest
        resize(cluster, guest, key, size)
        if guest.digest != before or kind == "qemu":
            task.say("Image resized.")

    return work
