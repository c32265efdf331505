"""What people did before the cluster was started: tasks of the last two weeks, most of them fine, some not. Nobody touches templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pveops.sim.physics import paces
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.tasks.engine import Engine
from pveops.sim.tasks.task import Task, jiffies

_DAY_S = 86400.0
_DAYS = 14
_MOST_PER_DAY = 3
_LOG_TASKS = 20
_PEOPLE = ("root@pam", "admin@pve", "operator@pve", "admin@pve!sim")


class _Habit(NamedTuple):
    """Something people do: task types for virtual machine and container, how it ends, how long it takes at most in seconds, its log."""

    qemu: str
    lxc: str
    status: str
    longest_s: float
    lines: tuple[str, ...]


_HABITS = (
    _Habit("vncproxy", "vncproxy", "OK", 900, ("starting vnc proxy",)),
    _Habit("vncproxy", "vncproxy", "OK", 240, ("starting vnc proxy",)),
    _Habit("qmsnapshot", "vzsnapshot", "OK", 4, ("snapshotting 'drive-scsi0'",)),
    _Habit("qmdelsnapshot", "vzdelsnapshot", "OK", 6, ()),
    _Habit("qmconfig", "vncproxy", "OK", 1, ("update VM: -description maintained",)),
    _Habit("qmstart", "vzstart", "VM {vmid} already running", 1, ()),
    _Habit("qmsnapshot", "vzsnapshot", "VM is locked (backup)", 1, ()),
    _Habit(
        "qmigrate",
        "vzmigrate",
        "migration aborted",
        3,
        ("ERROR: migration aborted (duration 00:00:02): storage 'local-lvm' is not available",),
    ),
    _Habit(
        "vzdump",
        "vzdump",
        "job errors",
        40,
        ("INFO: starting new backup job: vzdump {vmid}", "ERROR: Backup of VM {vmid} failed - got timeout"),
    ),
    _Habit("vzdump", "vzdump", "OK", 60, ("INFO: starting new backup job: vzdump {vmid}", "INFO: Backup job finished successfully")),
    _Habit("qmshutdown", "vzshutdown", "VM quit/powerdown failed - got timeout", 180, ()),
    _Habit("qmmove", "move_volume", "unexpected status", 70, ("create full clone of drive scsi0",)),
)


def _task(cluster: Cluster, guest: Guest, habit: _Habit, node: str, start_s: float) -> Task:
    seed, vmid = cluster.seed, guest.vmid
    who = _PEOPLE[noise.whole(0, len(_PEOPLE) - 1, seed, "who", node, start_s)]
    pid = noise.whole(2000, 4_000_000, seed, "habit-pid", node, start_s)
    end_s = start_s + noise.between(0.3, habit.longest_s, seed, "habit-end", node, start_s)
    status = habit.status.format(vmid=vmid).replace("VM ", "CT " if guest.kind == "lxc" else "VM ")
    kind = habit.qemu if guest.kind == "qemu" else habit.lxc
    task = Task(node, pid, jiffies(cluster.nodes[node].boot_s, start_s), start_s, kind, str(vmid), who, end_s, status)
    task.lines = [line.format(vmid=vmid) for line in habit.lines]
    if status != "unexpected status":
        task.lines.append("TASK OK" if status == "OK" else f"TASK ERROR: {status}")
    return task


def _of_day(cluster: Cluster, node: str, guests: list[Guest], day: int) -> Iterator[Task]:
    seed = cluster.seed
    for number in range(noise.whole(0, _MOST_PER_DAY, seed, "habits", node, day)):
        start_s = float(int(day * _DAY_S + noise.between(6.5, 20.0, seed, "habit-at", node, day, number) * 3600))
        if start_s > cluster.now_s - 120:
            continue
        guest = guests[noise.whole(0, len(guests) - 1, seed, "habit-guest", node, day, number)]
        if guest.template:
            continue
        habit = _HABITS[noise.whole(0, len(_HABITS) - 1, seed, "habit", node, day, number)]
        yield _task(cluster, guest, habit, node, start_s)


def _starts(cluster: Cluster, node: str, guests: list[Guest]) -> Iterator[Task]:
    """The starts of guests that were started lately."""
    for guest in guests:
        start_s = guest.since_s - paces.start_seconds(cluster, guest)
        if guest.running and start_s > cluster.now_s - _DAYS * _DAY_S:
            kind = "qmstart" if guest.kind == "qemu" else "vzstart"
            pid = noise.whole(2000, 4_000_000, cluster.seed, "start-pid", guest.vmid)
            task = Task(
                node, pid, jiffies(cluster.nodes[node].boot_s, start_s), start_s, kind, str(guest.vmid), "admin@pve", guest.since_s, "OK"
            )
            task.lines = ["TASK OK"]
            yield task


def add_history(cluster: Cluster, engine: Engine, scheduled: list[Task]) -> None:
    """Give the engine the tasks of the past, and the cluster log its last lines about them and about scheduled work."""
    by_node: dict[str, list[Guest]] = {name: [] for name in cluster.nodes}
    for guest in cluster.guests.values():
        by_node[guest.node].append(guest)
    today = int(cluster.now_s // _DAY_S)
    done: list[Task] = []
    for node, guests in by_node.items():
        if not guests:
            continue
        found = [task for day in range(today - _DAYS, today + 1) for task in _of_day(cluster, node, guests, day)]
        done += [*found, *_starts(cluster, node, guests)]
    done = [task for task in done if task.end_s is not None and task.end_s < cluster.now_s]
    done.sort(key=lambda task: task.start_s)
    for task in done:
        engine.add(task)
    lines = []
    for task in sorted([*done, *scheduled], key=lambda task: task.start_s)[-_LOG_TASKS:]:
        lines.append((task.start_s, task, f"starting task {task.upid}"))
        if task.end_s is not None:
            lines.append((task.end_s, task, f"end task {task.upid} {task.status}"))
    for moment_s, task, text in sorted(lines, key=lambda line: line[0]):
        cluster.note(task.node, task.user, text, at_s=moment_s)
