"""Moving guests between nodes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pveops.sim.errors import failed
from pveops.sim.physics import paces, transfer
from pveops.sim.physics.hardware import bandwidth
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Disk, Guest
from pveops.sim.state.storage import Volume
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.power import power_off, power_on, refuse_lock, set_lock
from pveops.sim.tasks.task import Task

_HANDSHAKE_S = 0.9
_START_TARGET_S = 1.4
_SWITCH_S = 1.1
_OFFLINE_S = 1.2

Busy = Callable[[Guest], float]
"""CPU use of a guest right now, as a fraction."""


class _Teller:
    """Writes log lines with the moment in front, as migrations do."""

    def __init__(self, cluster: Cluster, task: Task) -> None:
        self._cluster = cluster
        self._task = task
        self._began_s = cluster.now_s

    def say(self, text: str) -> None:
        moment = datetime.fromtimestamp(self._cluster.now_s, UTC)
        self._task.say(f"{moment:%Y-%m-%d %H:%M:%S} {text}")

    @property
    def duration(self) -> str:
        seconds = int(self._cluster.now_s - self._began_s)
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def local_disks(cluster: Cluster, guest: Guest) -> list[Disk]:
    """Disks that the target node does not see."""
    found = []
    for disk in guest.disks(with_unused=True):
        storage = cluster.storages.get(disk.storage)
        if storage is not None and not storage.shared:
            found.append(disk)
    return found


def local_resources(guest: Guest) -> list[str]:
    """Devices of the host that bind the guest to it."""
    found = []
    for key, value in guest.config.items():
        text = str(value)
        passed_usb = key.startswith("usb") and "host=" in text
        passed_pci = key.startswith("hostpci") and "mapping=" not in text
        if passed_usb or passed_pci or (key.startswith("serial") and text.startswith("/dev/")) or key.startswith("parallel"):
            found.append(key)
    return found


def missing_storages(cluster: Cluster, guest: Guest, target: str) -> list[str]:
    """Storages of the guest's disks that the target does not have."""
    names = dict.fromkeys(disk.storage for disk in guest.disks() if disk.storage)
    return [name for name in names if name in cluster.storages and not cluster.storages[name].on_node(target)]


def _move_volumes(cluster: Cluster, guest: Guest, source: str, target: str) -> None:
    for disk in local_disks(cluster, guest):
        storage = cluster.storages[disk.storage]
        volume: Volume | None = storage.place(source).pop(disk.volid, None)
        if volume is not None:
            storage.place(target)[disk.volid] = volume
    cluster.generation += 1


def _arrive(cluster: Cluster, guest: Guest, target: str) -> None:
    source = guest.node
    cluster.before_change(guest)
    _move_volumes(cluster, guest, source, target)
    guest.place(target, cluster.now_s, cluster.nodes[target].take_pid())
    guest.touch()


def _bandwidth(cluster: Cluster, source: str, target: str) -> float:
    return min(bandwidth(cluster.nodes[name], cluster.now_s) for name in (source, target))


def _copy_disks(cluster: Cluster, guest: Guest, target: str, teller: _Teller) -> Body:
    for disk in local_disks(cluster, guest):
        size = disk.size or 0
        teller.say(f"copying local disk image '{disk.volid}'")
        seconds = transfer.copy_seconds(size, _bandwidth(cluster, guest.node, target))
        done = 0.0
        while done < seconds:
            step = min(2.0, seconds - done)
            yield step
            done += step
            share = done / seconds
            teller.say(f"drive-{disk.key}: transferred {transfer.human(size * share)} of {transfer.human(size)} ({share * 100:.2f}%)")


def _send_memory(cluster: Cluster, guest: Guest, target: str, busy: float, teller: _Teller) -> Body:
    plan = paces.live_migration(cluster, guest, int(guest.maxmem * 0.62), busy, _bandwidth(cluster, guest.node, target))
    teller.say("starting online/live migration")
    teller.say(f"migration downtime limit: {transfer.DOWNTIME_LIMIT_S * 1000:.0f} ms")
    for one in plan.rounds:
        yield 1.0
        sent, total = transfer.human(one.sent), transfer.human(max(plan.state_bytes, one.sent))
        teller.say(f"migration active, transferred {sent} of {total} VM-state, {transfer.human(one.rate)}/s")
    yield _SWITCH_S
    speed = plan.state_bytes / max(plan.seconds, 1.0)
    teller.say(f"average migration speed: {transfer.human(speed)}/s - downtime {plan.downtime_ms} ms")
    teller.say("migration status: completed")


def _refuse_blockers(cluster: Cluster, guest: Guest, target: str, teller: _Teller, *, online: bool, with_disks: bool) -> None:
    blockers = local_resources(guest) if online else []
    if blockers:
        teller.say(
            f"ERROR: migration aborted (duration {teller.duration}): can't migrate VM which uses local devices: {', '.join(blockers)}"
        )
        raise failed("migration aborted")
    missing = missing_storages(cluster, guest, target)
    if missing:
        teller.say(f"ERROR: migration aborted (duration {teller.duration}): storage '{missing[0]}' is not available on node '{target}'")
        raise failed("migration aborted")
    if online and not with_disks and local_disks(cluster, guest):
        for disk in local_disks(cluster, guest):
            teller.say(f"can't migrate local disk '{disk.volid}': can't live migrate attached local disks without with-local-disks option")
        teller.say("ERROR: Problem found while scanning volumes - can't migrate VM - check log")
        raise failed("Problem found while scanning volumes - can't migrate VM - check log")


def qemu(cluster: Cluster, node: str, vmid: int, target: str, busy: Busy, *, online: bool, with_disks: bool) -> Work:
    """Move a virtual machine; a running one stays running."""

    def work(task: Task) -> Body:
        teller = _Teller(cluster, task)
        guest = cluster.guest("qemu", node, vmid)
        refuse_lock(guest)
        running = guest.running
        if online and not running:
            teller.say("VM isn't running. Doing offline migration instead.")
        teller.say(f"starting migration of VM {vmid} to node '{target}' ({cluster.nodes[target].ip})")
        _refuse_blockers(cluster, guest, target, teller, online=running, with_disks=with_disks)
        set_lock(cluster, guest, "migrate")
        try:
            yield _HANDSHAKE_S
            _refuse_dead_target(cluster, target, teller)
            if running:
                teller.say(f"starting VM {vmid} on remote node '{target}'")
                yield _START_TARGET_S
            yield from _copy_disks(cluster, guest, target, teller)
            if running:
                yield from _send_memory(cluster, guest, target, busy(guest), teller)
            else:
                yield _OFFLINE_S
            _refuse_dead_target(cluster, target, teller)
            _arrive(cluster, guest, target)
        finally:
            set_lock(cluster, guest, "")
        teller.say(f"migration finished successfully (duration {teller.duration})")

    return work


def _refuse_dead_target(cluster: Cluster, target: str, teller: _Teller) -> None:
    if not cluster.nodes[target].online:
        teller.say(f"ERROR: migration aborted (duration {teller.duration}): Can't connect to destination address using public key")
        raise failed("migration aborted")


def lxc(cluster: Cluster, node: str, vmid: int, target: str, *, restart: bool) -> Work:
    """Move a container; a running one is stopped here and started there."""

    def work(task: Task) -> Body:
        teller = _Teller(cluster, task)
        guest = cluster.guest("lxc", node, vmid)
        refuse_lock(guest)
        running = guest.running
        if running and not restart:
            teller.say(f"ERROR: migration aborted (duration {teller.duration}): lxc live migration is currently not implemented")
            raise failed("migration aborted")
        missing = missing_storages(cluster, guest, target)
        if missing:
            teller.say(f"ERROR: migration aborted (duration {teller.duration}): storage '{missing[0]}' is not available on node '{target}'")
            raise failed("migration aborted")
        set_lock(cluster, guest, "migrate")
        try:
            if running:
                teller.say(f"shutdown CT {vmid}")
                yield paces.shutdown_seconds(cluster, guest)
                power_off(cluster, guest)
            teller.say(f"starting migration of CT {vmid} to node '{target}' ({cluster.nodes[target].ip})")
            yield _HANDSHAKE_S
            _refuse_dead_target(cluster, target, teller)
            yield from _copy_disks(cluster, guest, target, teller)
            teller.say("start final cleanup")
            yield _OFFLINE_S
            _arrive(cluster, guest, target)
        finally:
            set_lock(cluster, guest, "")
            if running and not guest.running and guest.node == node:
                power_on(cluster, guest)
        if running:
            teller.say("start container on target node")
            yield paces.start_seconds(cluster, guest)
            power_on(cluster, guest)
        teller.say(f"migration finished successfully (duration {teller.duration})")

    return work
