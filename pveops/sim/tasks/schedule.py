"""Scheduled work: backup jobs and the daily package list update. Past, present and coming runs follow from jobs, guests, seed and time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pveops.sim.calendar import events_between, next_event
from pveops.sim.physics import transfer
from pveops.sim.props import split_list
from pveops.sim.state import noise
from pveops.sim.state.cluster import BackupJob, Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.storage import Storage, Volume
from pveops.sim.tasks.retention import kept
from pveops.sim.tasks.task import Task, jiffies

HISTORY_DAYS = 14
_DAY_S = 86400.0
_LOOK_BACK_DAYS = 40
_RUNS_KEPT = 90
_FAILURES_PER_NIGHT = 3.0
_MOST_LIKELY_FAILURE = 1 / 90
_WARNING = 1 / 18
_FAILURES = (
    "job failed with err -5 - Input/output error",
    "backup write data failed: command error: write_data upload error: pipelined request failed: connection reset",
    "VM 0 qmp command 'backup' failed - got timeout",
    "backup connect failed: command error: http upgrade request timed out",
)


@dataclass(slots=True)
class Run:
    """One run of a backup job on one node: its guests in order, with the moment each begins and ends (seconds since the epoch)."""

    job: str
    options: dict[str, Any]
    node: str
    start_s: float
    vmids: list[int] = field(default_factory=list)
    begins: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    warned: bool = False
    warnings: int = 1
    bare: str = ""
    """What the task ended with before it came to any guest."""
    cut_s: float | None = None
    """When its node lost power in the middle of it."""
    task: Task | None = None

    @property
    def end_s(self) -> float:
        """When the last guest is done."""
        if self.cut_s is not None:
            return self.cut_s
        return self.ends[-1] + 1.0 if self.ends else self.start_s + 1.0

    def span(self, vmid: int) -> tuple[float, float] | None:
        """When a guest is backed up in this run."""
        index = bisect_right(self.vmids, vmid) - 1
        return (self.begins[index], self.ends[index]) if index >= 0 and self.vmids[index] == vmid else None

    def current(self, moment_s: float) -> int:
        """The guest that is being backed up; 0 for none."""
        index = bisect_right(self.begins, moment_s) - 1
        return self.vmids[index] if index >= 0 and moment_s < self.ends[index] else 0

    @property
    def status(self) -> str:
        """How the task ends."""
        if self.cut_s is not None:
            return "unexpected status"
        return self.bare or ("job errors" if self.failures else f"WARNINGS: {self.warnings}" if self.warned else "OK")

    def cut(self, moment_s: float) -> None:
        """The node loses power: what is not done by then never is."""
        done = bisect_right(self.ends, moment_s)
        self.cut_s = moment_s
        self.failures = {vmid: text for vmid, text in self.failures.items() if vmid in self.vmids[:done]}
        del self.vmids[done:], self.begins[done:], self.ends[done:]


def used_share(cluster: Cluster, guest: Guest) -> float:
    """How full the disks of a guest are, as a fraction."""
    return noise.between(0.26, 0.66, cluster.seed, "used", guest.vmid)


def used_bytes(cluster: Cluster, guest: Guest) -> int:
    """What the disks of a guest really hold."""
    return int(guest.image_bytes * used_share(cluster, guest))


def _vmids(text: object) -> set[int]:
    return {int(vmid) for vmid in split_list(str(text or "")) if vmid.isdigit()}


def _selected(cluster: Cluster, options: dict[str, Any], at_s: float) -> list[Guest]:
    """The guests of a job at a moment, in the order of their ids."""
    gone = [guest for guest, gone_s in cluster.former.values() if gone_s > at_s and guest.vmid not in cluster.guests]
    if options.get("all"):
        excluded = _vmids(options.get("exclude"))
        chosen = [guest for guest in (*cluster.guests.values(), *gone) if guest.vmid not in excluded]
    else:
        members = _vmids(options.get("vmid"))
        pool = cluster.pools.get(str(options.get("pool", "")))
        members |= pool.vmids if pool else set()
        chosen = [cluster.guests[vmid] for vmid in members if vmid in cluster.guests]
        chosen += [guest for guest in gone if guest.vmid in members]
    return sorted(chosen, key=lambda guest: guest.vmid)


def backup_volid(storage: Storage, guest: Guest, moment_s: float) -> str:
    """The volume id of a backup that began at that moment."""
    moment = datetime.fromtimestamp(int(moment_s), UTC)
    if storage.kind == "pbs":
        return f"{storage.name}:backup/{'vm' if guest.kind == 'qemu' else 'ct'}/{guest.vmid}/{moment:%Y-%m-%dT%H:%M:%SZ}"
    suffix = "vma.zst" if guest.kind == "qemu" else "tar.zst"
    return f"{storage.name}:backup/vzdump-{guest.kind}-{guest.vmid}-{moment:%Y_%m_%d-%H_%M_%S}.{suffix}"


def backup_volume(cluster: Cluster, storage: Storage, guest: Guest, moment_s: float, notes: str) -> Volume:
    """The volume that a backup leaves behind."""
    used = used_bytes(cluster, guest)
    if storage.kind == "pbs":
        size, form = max(guest.image_bytes, 1024**2), f"pbs-{'vm' if guest.kind == 'qemu' else 'ct'}"
    else:
        size, form = transfer.backup_size(used, cluster.seed, guest.vmid), "vma.zst" if guest.kind == "qemu" else "tar.zst"
    volume = Volume(
        backup_volid(storage, guest, moment_s), "backup", size, form, int(moment_s), guest.vmid, subtype=guest.kind, notes=notes
    )
    volume.verified = storage.kind == "pbs" and cluster.now_s - moment_s > _DAY_S
    volume.used_fraction = 0.02 if storage.kind == "pbs" else 1.0
    return volume


class Schedule:
    """What runs by itself."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._runs: dict[tuple[str, float], dict[str, Run]] = {}
        self._window: tuple[float, float, list[Run]] = (0.0, -1.0, [])
        self._tasks: dict[str, tuple[float, float, list[Task]]] = {}
        self._apt: dict[tuple[str, int], Task] = {}
        self._shares: dict[int, float] = {}

    def jobs_changed(self) -> None:
        """Call after backup jobs change: what was worked out about now and later does not hold any more."""
        self._window = (0.0, -1.0, [])
        self._tasks.clear()
        now_s = self._cluster.now_s
        self._runs = {key: runs for key, runs in self._runs.items() if key[1] < now_s}

    def reconsider(self) -> None:
        """Call when something goes wrong, or does not any more: runs that are under way go on otherwise."""
        now_s = self._cluster.now_s
        self.jobs_changed()
        self._runs = {key: runs for key, runs in self._runs.items() if all(run.end_s < now_s for run in runs.values())}

    def _occurrences(self, job: BackupJob, after_s: float, until_s: float) -> Iterator[float]:
        """When a job ran, or will run."""
        versions = [*job.versions]
        for index, version in enumerate(versions):
            end_s = versions[index + 1].since_s if index + 1 < len(versions) else until_s
            options = version.options
            if options and options.get("enabled", 1):
                yield from events_between(str(options["schedule"]), max(after_s, version.since_s), min(until_s, end_s))

    def runs(self, job: BackupJob, start_s: float) -> dict[str, Run]:
        """The run of a job at one moment, by node."""
        key = (job.name, start_s)
        found = self._runs.get(key)
        if found is None:
            found = self._runs[key] = self._work_out(job, start_s)
            if len(self._runs) > _RUNS_KEPT:
                del self._runs[next(iter(self._runs))]
        return found

    def _work_out(self, job: BackupJob, start_s: float) -> dict[str, Run]:
        cluster = self._cluster
        options = job.at(start_s) or {}
        storage = cluster.storages.get(str(options.get("storage", "local")))
        incremental = storage is not None and storage.kind == "pbs"
        likely = min(_MOST_LIKELY_FAILURE, _FAILURES_PER_NIGHT / max(len(cluster.guests), 1))
        found: dict[str, Run] = {}
        for guest in _selected(cluster, options, start_s):
            if guest.created_s > start_s:
                continue
            node = guest.node_at(start_s)
            if (options.get("node") and options["node"] != node) or any(down.at(start_s) for down in cluster.nodes[node].downs):
                continue
            run = found.get(node)
            if run is None:
                run = found[node] = self._begin(job.name, options, node, start_s)
            if not run.bare:
                self._append(run, guest, likely, incremental=incremental)
        for run in found.values():
            for down in cluster.nodes[run.node].downs:
                if run.start_s <= down.since_s < run.end_s:
                    run.cut(down.since_s)
        return found

    def _begin(self, job: str, options: dict[str, Any], node: str, start_s: float) -> Run:
        run = Run(job, options, node, start_s)
        run.warned = noise.unit(self._cluster.seed, "warned", node, int(start_s)) < _WARNING
        run.bare = self._cluster.ills.bare_error(str(options.get("storage", "local")), node, start_s)
        return run

    def _append(self, run: Run, guest: Guest, likely: float, *, incremental: bool) -> None:
        seed = self._cluster.seed
        chance = noise.unit(seed, "backup", guest.vmid, int(run.start_s))
        begin_s = run.ends[-1] + 0.5 if run.ends else run.start_s + 1.0
        seconds = transfer.backup_seconds(self._used(guest), incremental=incremental)
        bad = self._cluster.ills.bad_backup(guest.vmid, str(run.options.get("storage", "local")), run.node, begin_s)
        if bad is not None and bad.warnings:
            run.warned, run.warnings = True, bad.warnings
        elif bad is not None:
            run.failures[guest.vmid] = bad.text
            seconds *= 0.4
        elif chance < likely and guest.image_bytes:
            run.failures[guest.vmid] = _FAILURES[int(chance / likely * len(_FAILURES))].replace("VM 0 ", f"VM {guest.vmid} ")
            seconds *= 0.4
        run.vmids.append(guest.vmid)
        run.begins.append(begin_s)
        run.ends.append(begin_s + seconds)

    def _used(self, guest: Guest) -> int:
        """As ``used_bytes``, with the chance in it looked up only once per guest."""
        share = self._shares.get(guest.vmid)
        if share is None:
            share = self._shares[guest.vmid] = used_share(self._cluster, guest)
        return int(guest.image_bytes * share)

    def _active(self) -> list[Run]:
        """The runs that are under way; worked out again only when one begins or ends."""
        now_s = self._cluster.now_s
        if not self._window[0] <= now_s < self._window[1]:
            runs = [
                run
                for job in self._cluster.backup_jobs.values()
                for start_s in self._occurrences(job, now_s - _DAY_S, now_s)
                for run in self.runs(job, start_s).values()
                if run.end_s > now_s
            ]
            borders = [run.end_s for run in runs] + [self._next_start(now_s)]
            self._window = (now_s, min(borders), runs)
        return self._window[2]

    def _next_start(self, now_s: float) -> float:
        found = [
            next_event(str(job.options["schedule"]), now_s)
            for job in self._cluster.backup_jobs.values()
            if job.options and job.options.get("enabled", 1)
        ]
        return min(found, default=now_s + _DAY_S)

    def lock_of(self, guest: Guest) -> str:
        """``backup`` while a scheduled backup holds the guest."""
        now_s = self._cluster.now_s
        return "backup" if any(run.node == guest.node and run.current(now_s) == guest.vmid for run in self._active()) else ""

    def held(self) -> set[int]:
        """The guests that scheduled backups hold right now."""
        now_s = self._cluster.now_s
        return {run.current(now_s) for run in self._active()} - {0}

    def epoch(self) -> int:
        """Changes at least once a second while a run is under way; 0 while none is."""
        return int(self._cluster.now_s) if self._active() else 0

    def tasks_on(self, node: str) -> list[Task]:
        """The scheduled tasks of a node, of the last weeks and of now; kept until one begins or ends."""
        now_s = self._cluster.now_s
        begin_s, end_s, tasks = self._tasks.get(node, (0.0, -1.0, []))
        if begin_s <= now_s < end_s:
            return tasks
        found = self.tasks_since(node, now_s - HISTORY_DAYS * _DAY_S)
        running = [task for task in found if task.end_s is None]
        # a task that runs ends somewhere before the next whole window; looking again each second is cheap enough then
        border_s = now_s + 1.0 if running else min(self._next_start(now_s), now_s + 600.0)
        self._tasks[node] = (now_s, border_s, found)
        return found

    def tasks_since(self, node: str, first_s: float) -> list[Task]:
        """The scheduled tasks of a node that began after that moment (seconds since the epoch)."""
        now_s = self._cluster.now_s
        found = [self.task_of(run) for run in self.runs_since(node, first_s)]
        return [*found, *self._apt_tasks(node, first_s, now_s)]

    def runs_since(self, node: str, first_s: float) -> list[Run]:
        """The backups of a node that began after that moment (seconds since the epoch)."""
        return [
            run
            for job in self._cluster.backup_jobs.values()
            for start_s in self._occurrences(job, first_s, self._cluster.now_s)
            if (run := self.runs(job, start_s).get(node)) is not None
        ]

    def task_of(self, run: Run) -> Task:
        """The task of a backup, ended or not."""
        cluster = self._cluster
        if run.task is None:
            node = cluster.nodes[run.node]
            pid = noise.whole(2000, 4_000_000, cluster.seed, "pid", run.job, run.node, int(run.start_s))
            about = str(run.vmids[0]) if len(run.vmids) == 1 and not run.options.get("all") else ""
            run.task = Task(run.node, pid, jiffies(node.boot_s, run.start_s), run.start_s, "vzdump", about, "root@pam")
            run.task.write_log = lambda: list(backup_log(cluster, run))
        if run.task.end_s is None and run.end_s <= cluster.now_s:
            run.task.end_s, run.task.status = run.end_s, run.status
        return run.task

    def _apt_tasks(self, node: str, first_s: float, now_s: float) -> Iterator[Task]:
        seed, boot_s = self._cluster.seed, self._cluster.nodes[node].boot_s
        for day in range(int(first_s // _DAY_S), int(now_s // _DAY_S) + 1):
            start_s = day * _DAY_S + noise.between(3.0, 5.9, seed, "apt", node, day) * 3600
            end_s = start_s + noise.between(4, 11, seed, "apt-end", node, day)
            if start_s < first_s or end_s > now_s or any(down.at(start_s) for down in self._cluster.nodes[node].downs):
                continue
            task = self._apt.get((node, day))
            if task is None:
                failed = noise.unit(seed, "apt-fails", node, day) < 0.02
                status = "command 'apt-get update' failed: exit code 100" if failed else "OK"
                pid = noise.whole(2000, 4_000_000, seed, "apt-pid", node, day)
                last = f"TASK ERROR: {status}" if failed else "TASK OK"
                task = Task(node, pid, jiffies(boot_s, start_s), start_s, "aptupdate", "", "root@pam", end_s, status)
                task.lines = [
                    "starting apt-get update",
                    "Hit:1 http://deb.debian.org/debian trixie InRelease",
                    "Reading package lists...",
                    last,
                ]
                self._apt[node, day] = task
            yield task
        for old in [key for key in self._apt if key[0] == node and key[1] < int(first_s // _DAY_S)]:
            del self._apt[old]

    def volumes(self, storage: Storage, node: str, guests: Iterable[Guest]) -> list[Volume]:
        """The backups of some guests that scheduled runs left on a storage, as a node sees them."""
        cluster, now_s = self._cluster, self._cluster.now_s
        found: list[Volume] = []
        wanted = list(guests)
        for job in cluster.backup_jobs.values():
            options = next((version.options for version in reversed(job.versions) if version.options), None)
            if options is None or str(options.get("storage", "local")) != storage.name:
                continue
            nights = [(start_s, self.runs(job, start_s)) for start_s in self._occurrences(job, now_s - _LOOK_BACK_DAYS * _DAY_S, now_s)]
            only_node = None if storage.shared else node
            for guest in wanted:
                begins = (_good(start_s, runs, guest, now_s, only_node) for start_s, runs in nights)
                times = kept([begin_s for begin_s in begins if begin_s is not None], str(options.get("prune-backups", "")))
                notes = _notes(options, guest)
                found += [backup_volume(cluster, storage, guest, begin_s, notes) for begin_s in sorted(times)]
        alive = [volume for volume in found if volume.volid not in cluster.former_volids]
        for volume in alive:
            marks = cluster.volume_marks.get(volume.volid, {})
            volume.notes = marks.get("notes", volume.notes)
            volume.protected = marks.get("protected", volume.protected)
        return alive


def _good(start_s: float, runs: dict[str, Run], guest: Guest, now_s: float, only_node: str | None) -> float | None:
    """When the backup of a guest in a run began, if it is done and went well."""
    run = runs.get(guest.node_at(start_s))
    span = run.span(guest.vmid) if run and only_node in (None, run.node) else None
    return span[0] if run and span and span[1] <= now_s and guest.vmid not in run.failures else None


def _notes(options: dict[str, Any], guest: Guest) -> str:
    return str(options.get("notes-template", "")).replace("{{guestname}}", guest.name).replace("{{vmid}}", str(guest.vmid))


def _hms(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def guest_backup_log(cluster: Cluster, guest: Guest, storage: Storage | None, begin_s: float, mode: str) -> list[str]:
    """The first lines of a log about one guest."""
    moment = datetime.fromtimestamp(begin_s, UTC)
    lines = [
        f"INFO: Starting Backup of VM {guest.vmid} ({guest.kind})",
        f"INFO: Backup started at {moment:%Y-%m-%d %H:%M:%S}",
        f"INFO: status = {'running' if guest.ran_at(begin_s) else 'stopped'}",
        f"INFO: {'VM' if guest.kind == 'qemu' else 'CT'} Name: {guest.name}",
    ]
    lines += [f"INFO: include disk '{disk.key}' '{disk.volid}'" for disk in guest.disks() if not disk.cdrom]
    lines.append(f"INFO: backup mode: {mode if guest.ran_at(begin_s) else 'stop'}")
    if storage is not None:
        volid = backup_volid(storage, guest, begin_s).partition(":")[2].removeprefix("backup/")
        kind = "Proxmox Backup Server archive" if storage.kind == "pbs" else "vzdump archive"
        lines.append(f"INFO: creating {kind} '{volid}'")
    return lines


def guest_done_log(guest: Guest, used: int, begin_s: float, end_s: float) -> list[str]:
    """The last lines of a log about one guest."""
    seconds = max(end_s - begin_s, 1.0)
    return [
        f"INFO: transferred {transfer.human(used)} in {seconds:.0f} seconds ({transfer.human(used / seconds)}/s)",
        f"INFO: Finished Backup of VM {guest.vmid} ({_hms(seconds)})",
        f"INFO: Backup finished at {datetime.fromtimestamp(end_s, UTC):%Y-%m-%d %H:%M:%S}",
    ]


def backup_log(cluster: Cluster, run: Run) -> Iterator[str]:
    """The log of a scheduled run, as far as it has come."""
    options = run.options
    storage = cluster.storages.get(str(options.get("storage", "local")))
    command = " ".join(f"--{key} {value}" for key, value in sorted(options.items()) if key not in ("schedule", "enabled", "comment"))
    yield f"INFO: starting new backup job: vzdump {command}"
    if run.bare:
        yield f"TASK ERROR: {run.bare}"
        return
    for vmid, begin_s, end_s in zip(run.vmids, run.begins, run.ends, strict=True):
        guest = cluster.past_guest(vmid)
        if guest is None or begin_s > cluster.now_s:
            continue
        yield from guest_backup_log(cluster, guest, storage, begin_s, str(options.get("mode", "snapshot")))
        if end_s > cluster.now_s:
            return
        if vmid in run.failures:
            yield f"ERROR: {run.failures[vmid]}"
            yield f"ERROR: Backup of VM {vmid} failed - {run.failures[vmid]}"
        else:
            yield from guest_done_log(guest, used_bytes(cluster, guest), begin_s, end_s)
    if run.end_s > cluster.now_s or run.cut_s is not None:
        return
    if run.warned:
        yield "WARN: prune older backups: could not remove one snapshot - it is in use"
    yield "INFO: Backup job finished with errors" if run.failures else "INFO: Backup job finished successfully"
    yield "TASK ERROR: job errors" if run.failures else f"TASK {run.status}"
