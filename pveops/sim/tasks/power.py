"""Starting, stopping and pausing guests."""

from __future__ import annotations

import math

from pveops.sim.errors import failed
from pveops.sim.physics import paces, transfer
from pveops.sim.physics.quorum import NO_QUORUM
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.config import apply_pending
from pveops.sim.state.guest import Guest, Kind
from pveops.sim.state.volumes import usable_storage
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.task import Task

_KILL_S = 0.6
_PAUSE_S = 0.2
_WAIT_STEP_S = 1.0
_STORAGE_S = 60.0
"""How long a start waits for a storage that does not answer."""


def refuse_lock(guest: Guest, *, skip: bool = False, but: str = "") -> None:
    """500 when another operation holds the guest; ``but`` is a lock that does not count."""
    if guest.lock and guest.lock != but and not skip:
        raise failed(f"{guest.noun} is locked ({guest.lock})")


def set_lock(cluster: Cluster, guest: Guest, lock: str) -> None:
    """Put a lock on a guest, or take it off with an empty text."""
    cluster.generation += 1
    if lock:
        guest.config["lock"] = lock
    else:
        guest.config.pop("lock", None)
    guest.touch()


def _existing(cluster: Cluster, kind: Kind, node: str, vmid: int) -> Guest:
    """The guest, or the words that stop and shutdown find for one that is not there."""
    guest = cluster.guests.get(vmid)
    if guest is None or guest.kind != kind or guest.node != node:
        raise failed(f"unable to find configuration file for VM {vmid} on node '{node}'")
    return guest


def power_on(cluster: Cluster, guest: Guest) -> None:
    """The guest runs from now on, unless it does already."""
    if guest.running:
        return
    apply_pending(cluster, guest)
    cluster.before_change(guest)
    guest.start(cluster.now_s, cluster.nodes[guest.node].take_pid())


def power_off(cluster: Cluster, guest: Guest) -> None:
    """The guest does not run any more."""
    cluster.before_change(guest)
    guest.stop(cluster.now_s)
    apply_pending(cluster, guest)


def start(cluster: Cluster, kind: Kind, node: str, vmid: int, *, skip_lock: bool = False) -> Work:
    """Start a guest."""

    def work(task: Task) -> Body:
        guest = cluster.guest(kind, node, vmid)
        if guest.template:
            raise failed(f"you can't start a {'vm' if kind == 'qemu' else 'CT'} if it's a template")
        if not cluster.quorate:
            raise failed(NO_QUORUM)
        refuse_lock(guest, skip=skip_lock, but="suspended")
        if guest.running:
            raise failed(f"{guest.noun} {vmid} already running")
        if guest.lock == "suspended":
            task.say("resuming suspended VM")
            set_lock(cluster, guest, "")
        yield from _open_disks(cluster, guest)
        yield paces.start_seconds(cluster, guest)
        power_on(cluster, guest)

    return work


def _open_disks(cluster: Cluster, guest: Guest) -> Body:
    """Get at all disks; one that does not answer is not waited for without end.

    Raises:
        RefusedError: a storage does not answer, or is switched off.
    """
    for name in dict.fromkeys(disk.storage for disk in guest.disks() if disk.storage in cluster.storages):
        if usable_storage(cluster, name, guest.node).hangs:
            yield _STORAGE_S
            raise failed(f"activating storage '{name}' failed - got timeout")


def stop(cluster: Cluster, kind: Kind, node: str, vmid: int, *, skip_lock: bool = False) -> Work:
    """Cut the power. A guest that does not run is fine."""

    def work(task: Task) -> Body:
        guest = _existing(cluster, kind, node, vmid)
        if not guest.running:
            return
        refuse_lock(guest, skip=skip_lock)
        yield _KILL_S
        if guest.running:
            power_off(cluster, guest)

    return work


def _shut_down(cluster: Cluster, guest: Guest, timeout_s: float, task: Task, *, force: bool) -> Body:
    """Let the guest end by itself, for as long as it takes or is given.

    Raises:
        RefusedError: it took too long and may not be forced.
    """
    deaf = cluster.ills.stall_of(guest) in ("io-error", "stuck")
    takes_s = math.inf if deaf else paces.shutdown_seconds(cluster, guest)
    began_s, since_s = cluster.now_s, guest.since_s
    while cluster.now_s - began_s < min(takes_s, timeout_s):
        yield min(_WAIT_STEP_S, max(min(takes_s, timeout_s) - (cluster.now_s - began_s), 0.01))
        if not guest.running or guest.since_s != since_s:
            return
    if takes_s > timeout_s:
        if not force:
            raise failed("VM quit/powerdown failed - got timeout" if guest.kind == "qemu" else "container did not stop")
        task.say("VM quit/powerdown failed - terminating now with SIGTERM" if guest.kind == "qemu" else "forcing container to stop")
        yield _KILL_S
    if guest.running:
        power_off(cluster, guest)


def shutdown(cluster: Cluster, kind: Kind, node: str, vmid: int, *, timeout_s: float, force: bool, skip_lock: bool = False) -> Work:
    """Ask the guest to shut down."""

    def work(task: Task) -> Body:
        guest = _existing(cluster, kind, node, vmid)
        if not guest.running:
            return
        refuse_lock(guest, skip=skip_lock)
        yield from _shut_down(cluster, guest, timeout_s, task, force=force)

    return work


def reboot(cluster: Cluster, kind: Kind, node: str, vmid: int, *, timeout_s: float) -> Work:
    """Shut down and start again; what waited for the next start becomes current."""

    def work(task: Task) -> Body:
        guest = _existing(cluster, kind, node, vmid)
        refuse_lock(guest)
        if not guest.running:
            raise failed(f"{guest.noun} {vmid} not running")
        yield from _shut_down(cluster, guest, timeout_s, task, force=False)
        yield paces.start_seconds(cluster, guest)
        power_on(cluster, guest)

    return work


def reset(cluster: Cluster, node: str, vmid: int) -> Work:
    """Press the reset button: the process stays, the system boots."""

    def work(task: Task) -> Body:
        guest = _existing(cluster, "qemu", node, vmid)
        yield _PAUSE_S
        guest.booted_s = cluster.now_s
        cluster.generation += 1

    return work


def pause(cluster: Cluster, kind: Kind, node: str, vmid: int) -> Work:
    """Stop the CPUs of a guest, keep its memory."""

    def work(task: Task) -> Body:
        guest = _existing(cluster, kind, node, vmid)
        refuse_lock(guest)
        yield _PAUSE_S
        guest.paused = True
        cluster.generation += 1

    return work


def hibernate(cluster: Cluster, node: str, vmid: int) -> Work:
    """Write the memory of a guest to disk and stop it."""

    def work(task: Task) -> Body:
        guest = _existing(cluster, "qemu", node, vmid)
        refuse_lock(guest)
        set_lock(cluster, guest, "suspending")
        task.say("State saved, quitting soon")
        try:
            yield transfer.snapshot_seconds(0, guest.maxmem // 2)
        except BaseException:
            set_lock(cluster, guest, "")
            raise
        power_off(cluster, guest)
        set_lock(cluster, guest, "suspended")

    return work


def resume(cluster: Cluster, kind: Kind, node: str, vmid: int) -> Work:
    """Let a paused guest go on, or wake one that was written to disk."""

    def work(task: Task) -> Body:
        guest = _existing(cluster, kind, node, vmid)
        yield _PAUSE_S
        if guest.lock == "suspended":
            set_lock(cluster, guest, "")
            yield paces.start_seconds(cluster, guest)
            power_on(cluster, guest)
        guest.paused = False
        if cluster.ills.stall_of(guest) == "io-error":
            del cluster.ills.stalls[vmid]
        cluster.generation += 1

    return work
