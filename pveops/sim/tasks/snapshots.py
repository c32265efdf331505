"""Taking, removing and going back to snapshots."""

from __future__ import annotations

from pveops.sim.errors import failed
from pveops.sim.physics import paces, transfer
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest, Kind, Snapshot
from pveops.sim.state.storage import FILE_TYPES
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.power import power_off, power_on, refuse_lock, set_lock
from pveops.sim.tasks.task import Task

_NOT_IN_SNAPSHOT = frozenset({"lock", "digest", "snaptime", "parent"})


def can_snapshot(cluster: Cluster, guest: Guest) -> bool:
    """Whether all disks lie where snapshots work: thin or copy-on-write storages, or qcow2 images in files."""
    for disk in guest.disks():
        if disk.cdrom or disk.volid == "none":
            continue
        storage = cluster.storages.get(disk.storage)
        in_qcow2 = storage is not None and storage.kind in FILE_TYPES and disk.volid.endswith(".qcow2")
        if storage is None or not (storage.can_snapshot or in_qcow2):
            return False
    return True


def find_snapshot(guest: Guest, name: str) -> Snapshot:
    """The snapshot of that name; ``current`` is none."""
    found = guest.snapshots.get(name)
    if found is None:
        raise failed(f"snapshot '{name}' does not exist")
    return found


def take(cluster: Cluster, kind: Kind, node: str, vmid: int, name: str, description: str, *, with_memory: bool) -> Work:
    """Take a snapshot."""

    def work(task: Task) -> Body:
        guest = cluster.guest(kind, node, vmid)
        if guest.template:
            raise failed(f"you can't take a snapshot if it's a {'template' if kind == 'qemu' else 'template CT'}")
        refuse_lock(guest)
        if name in guest.snapshots:
            raise failed(f"snapshot name '{name}' already used")
        if not can_snapshot(cluster, guest):
            raise failed("snapshot feature is not available")
        config = {key: value for key, value in guest.config.items() if key not in _NOT_IN_SNAPSHOT}
        saved = with_memory and guest.running and kind == "qemu"
        set_lock(cluster, guest, "snapshot")
        try:
            yield from _copy_state(cluster, guest, task, saved=saved)
        finally:
            set_lock(cluster, guest, "")
        guest.snapshots[name] = Snapshot(name, int(cluster.now_s), config, description, guest.parent, saved)
        guest.parent = name
        guest.touch()

    return work


def _copy_state(cluster: Cluster, guest: Guest, task: Task, *, saved: bool) -> Body:
    memory = int(guest.maxmem * 0.6) if saved else 0
    if saved:
        task.say("saving VM state and RAM")
        yield transfer.snapshot_seconds(0, memory)
        task.say(f"completed saving the VM state in {transfer.snapshot_seconds(0, memory):.0f}s, saved {transfer.human(memory)}")
    elif guest.running and guest.kind == "qemu" and not guest.agent_enabled:
        task.say("skipping guest filesystem freeze - disabled in VM options")
    disks = [disk for disk in guest.disks() if not disk.cdrom and disk.volid != "none"]
    for disk in disks:
        drive = f"drive-{disk.key}" if guest.kind == "qemu" else disk.key
        task.say(f"snapshotting '{drive}' ({disk.volid})")
        if guest.running and disk.volid.endswith(".qcow2"):
            task.say("internal qemu snapshot")
        yield transfer.snapshot_seconds(1, 0)


def remove(cluster: Cluster, kind: Kind, node: str, vmid: int, name: str) -> Work:
    """Remove a snapshot; those that were taken after it now follow its parent."""

    def work(task: Task) -> Body:
        guest = cluster.guest(kind, node, vmid)
        refuse_lock(guest, but="snapshot-delete")
        gone = find_snapshot(guest, name)
        set_lock(cluster, guest, "snapshot-delete")
        try:
            yield transfer.snapshot_seconds(len(guest.disks()), 0)
        finally:
            set_lock(cluster, guest, "")
        del guest.snapshots[name]
        for other in guest.snapshots.values():
            if other.parent == name:
                other.parent = gone.parent
        if guest.parent == name:
            guest.parent = gone.parent
        guest.touch()

    return work


def roll_back(cluster: Cluster, kind: Kind, node: str, vmid: int, name: str, *, start: bool) -> Work:
    """Go back to a snapshot: a running guest is stopped, and runs again only if its memory was saved or it is asked for."""

    def work(task: Task) -> Body:
        guest = cluster.guest(kind, node, vmid)
        found = find_snapshot(guest, name)
        if guest.template:
            raise failed("you can't rollback if vm is a template")
        refuse_lock(guest)
        set_lock(cluster, guest, "rollback")
        try:
            if guest.running:
                power_off(cluster, guest)
            yield transfer.snapshot_seconds(len(guest.disks()), 0)
        finally:
            set_lock(cluster, guest, "")
        cluster.before_change(guest)
        guest.config = dict(found.config)
        guest.pending.clear()
        guest.parent = name
        guest.touch()
        if start or found.vmstate:
            yield paces.start_seconds(cluster, guest)
            power_on(cluster, guest)

    return work
