"""Backing up guests on demand, and removing volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pveops.sim.errors import RefusedError, failed
from pveops.sim.physics import paces, transfer
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.storage import Storage
from pveops.sim.state.volumes import free, usable_storage
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.power import power_off, power_on, refuse_lock, set_lock
from pveops.sim.tasks.schedule import backup_volume, guest_backup_log, guest_done_log, used_bytes
from pveops.sim.tasks.task import Task

_STEP_S = 3.0
_REMOVE_S = 0.4


@dataclass(frozen=True, slots=True)
class BackupWish:
    """What a backup request asks for. ``mode`` is snapshot, suspend or stop."""

    vmids: Sequence[int]
    storage: str
    mode: str = "snapshot"
    notes: str = ""
    protected: bool = False
    command: str = ""


def _read_disks(cluster: Cluster, guest: Guest, storage: Storage, task: Task) -> Body:
    used = used_bytes(cluster, guest)
    bad = cluster.ills.bad_backup(guest.vmid, storage.name, guest.node, cluster.now_s)
    if bad is not None and not bad.warnings:
        yield _STEP_S
        task.say(f"ERROR: {bad.text}")
        raise failed(bad.text)
    if cluster.free_bytes(storage, guest.node) < transfer.backup_size(used, cluster.seed, guest.vmid) and storage.kind != "pbs":
        yield _STEP_S
        raise failed("vma_queue_write: write error - Broken pipe (No space left on device)")
    for number in range(bad.warnings if bad is not None else 0):
        task.warn(f"{bad.text if bad else ''} ({number + 1})")
    seconds = transfer.backup_seconds(used, incremental=storage.kind == "pbs")
    done_s = 0.0
    while done_s < seconds:
        step_s = min(_STEP_S, seconds - done_s)
        yield step_s
        done_s += step_s
        while storage.hangs:
            yield _STEP_S
        share = done_s / seconds
        task.say(f"INFO: {share * 100:3.0f}% ({transfer.human(used * share)} of {transfer.human(used)}) in {done_s:.0f}s")


def _one(cluster: Cluster, node: str, vmid: int, wish: BackupWish, storage: Storage, task: Task) -> Body:
    guest = cluster.guests.get(vmid)
    if guest is None or guest.node != node:
        raise failed(f"unable to find VM '{vmid}'")
    refuse_lock(guest)
    begin_s = cluster.now_s
    stopped = wish.mode == "stop" and guest.running
    for line in guest_backup_log(cluster, guest, storage, begin_s, wish.mode):
        task.say(line)
    set_lock(cluster, guest, "backup")
    try:
        if stopped:
            task.say("INFO: stopping guest")
            yield paces.shutdown_seconds(cluster, guest)
            power_off(cluster, guest)
        yield from _read_disks(cluster, guest, storage, task)
    finally:
        set_lock(cluster, guest, "")
        if stopped:
            power_on(cluster, guest)
    notes = wish.notes.replace("{{guestname}}", guest.name).replace("{{vmid}}", str(vmid)).replace("{{node}}", node)
    volume = backup_volume(cluster, storage, guest, begin_s, notes)
    volume.protected = wish.protected
    storage.place(node)[volume.volid] = volume
    cluster.generation += 1
    for line in guest_done_log(guest, used_bytes(cluster, guest), begin_s, cluster.now_s):
        task.say(line)


def vzdump(cluster: Cluster, node: str, wish: BackupWish) -> Work:
    """Back up guests one after the other; one that fails does not stop the others."""

    def work(task: Task) -> Body:
        task.say(f"INFO: starting new backup job: vzdump {wish.command}")
        bare = cluster.ills.bare_error(wish.storage, node, cluster.now_s)
        if bare:
            yield _REMOVE_S
            raise failed(bare)
        try:
            storage = usable_storage(cluster, wish.storage, node)
        except RefusedError as err:
            raise failed(f"could not get storage information for '{wish.storage}': {err.message}") from err
        if "backup" not in storage.content:
            raise failed(f"storage '{wish.storage}' does not support backups")
        yield 0.3
        broken = 0
        for vmid in wish.vmids:
            try:
                yield from _one(cluster, node, vmid, wish, storage, task)
            except RefusedError as err:
                broken += 1
                task.say(f"ERROR: Backup of VM {vmid} failed - {err.reason}")
        task.say("INFO: Backup job finished with errors" if broken else "INFO: Backup job finished successfully")
        if broken:
            raise failed("job errors")

    return work


def remove_volume(cluster: Cluster, node: str, volid: str, *, path: str) -> Work:
    """Remove a volume; that it is not there is only worth a line."""

    def work(task: Task) -> Body:
        storage, _, name = volid.partition(":")
        marks = cluster.volume_marks.get(volid, {})
        volume = cluster.storage(storage).place(node).get(volid)
        if marks.get("protected", volume.protected if volume else False):
            raise failed(f"cannot remove protected volume '{name}' on '{storage}'")
        yield _REMOVE_S
        known = free(cluster, volid, node)
        if ":backup/" in volid:
            cluster.former_volids.add(volid)
        elif not known:
            task.say(f"disk image '{path}' does not exist")
        task.say(f"Removed volume '{volid}'")

    return work
