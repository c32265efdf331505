"""Backup jobs, backups on demand, and who is not backed up."""

from __future__ import annotations

import re
import secrets
from typing import Any

from pveops.sim.calendar import next_event
from pveops.sim.errors import RefusedError, bad_parameter, failed, forbidden
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import read_props, split_list
from pveops.sim.state.cluster import BackupJob, JobVersion
from pveops.sim.state.guest import Guest
from pveops.sim.tasks.backup import BackupWish, vzdump

api = Table()

_ROOT_OPTIONS = ("dumpdir", "tmpdir", "script", "bwlimit-root")
_START_TIME = re.compile(r"(\d{1,2}):(\d{2})")


def _refuse_root_options(call: Call) -> None:
    for name in _ROOT_OPTIONS:
        if name in call.p and not call.who.is_root:
            raise bad_parameter(name, "Only root may set this option.")


def _conflict(options: dict[str, Any]) -> tuple[str, str] | None:
    """The option that does not fit, and why."""
    given = [name for name in ("vmid", "all", "pool") if options.get(name)]
    if not given:
        return "vmid", "property is missing"
    if len(given) > 1:
        return given[1], f"option conflicts with option '{given[0]}'"
    return None


def _row(call: Call, job: BackupJob) -> dict[str, Any]:
    """A job as the API shows it: some property strings as objects."""
    row: dict[str, Any] = {"id": job.name, "type": "vzdump", **(job.options or {})}
    return row | {key: read_props(str(row[key]), "enabled") for key in ("prune-backups", "fleecing", "performance") if key in row}


def _next_run(call: Call, job: BackupJob) -> int:
    return int(next_event(str((job.options or {}).get("schedule", "daily")), call.now_s))


@api.reads("GET /cluster/backup")
def jobs(call: Call) -> list[dict[str, Any]]:
    """All backup jobs."""
    live = [job for job in call.cluster.backup_jobs.values() if job.options is not None]
    return [_row(call, job) | {"next-run": _next_run(call, job)} for job in live]


def _find(call: Call) -> BackupJob | None:
    job = call.cluster.backup_jobs.get(call.p["id"])
    return job if job and job.options is not None else None


@api.reads("GET /cluster/backup/{id}")
def job(call: Call) -> dict[str, Any]:
    """One backup job."""
    found = _find(call)
    if found is None:
        raise bad_parameter("id", f"No such job '{call.p['id']}'")
    return _row(call, found)


def _schedule(call: Call) -> str:
    """The schedule of a new job: given as such, or as days and time of the older form."""
    if "schedule" in call.p and "starttime" in call.p:
        raise bad_parameter("starttime", "'starttime' and 'schedule' cannot both be set")
    if "schedule" in call.p:
        return str(call.p["schedule"])
    if "starttime" not in call.p:
        raise bad_parameter("schedule", "neither 'starttime' nor 'schedule' were set")
    match = _START_TIME.fullmatch(str(call.p["starttime"]))
    clock = f"{int(match[1]) % 24:02d}:{match[2]}" if match else "00:00"
    days = str(call.p.get("dow", ""))
    return f"{days} {clock}".strip()


def _nested(name: str, text: str) -> RefusedError:
    """A parameter error inside an update: a 500 whose details are only in the message."""
    return RefusedError(500, f"400 Parameter verification failed.\n{name}: {text}")


def _check_pool(call: Call) -> None:
    if call.p.get("pool") and call.p["pool"] not in call.cluster.pools:
        raise forbidden(f"pool '{call.p['pool']}' does not exist")


@api.behaves("POST /cluster/backup")
def create_job(call: Call) -> None:
    """A new job. Storages, guests and nodes that do not exist are taken as they are."""
    _refuse_root_options(call)
    _check_pool(call)
    schedule = _schedule(call)
    options = {key: value for key, value in call.p.items() if key not in ("id", "starttime", "dow")}
    options = {"enabled": 1, **options, "schedule": schedule}
    conflict = _conflict(options)
    if conflict:
        raise _nested(*conflict)
    name = str(call.p.get("id") or f"backup-{secrets.token_hex(4)}-{secrets.token_hex(2)}")
    known = call.cluster.backup_jobs.get(name)
    if known is not None and known.options is not None:
        raise failed(f"Job '{name}' already exists")
    _add_version(call, name, options)


def _add_version(call: Call, name: str, options: dict[str, Any] | None) -> None:
    """Change a job from now on; runs of the past keep the options of their time."""
    job = call.cluster.backup_jobs.setdefault(name, BackupJob(name, []))
    job.versions.append(JobVersion(call.now_s, options))
    call.world.schedule.jobs_changed()


@api.behaves("PUT /cluster/backup/{id}")
def update_job(call: Call) -> None:
    """Change a job."""
    _refuse_root_options(call)
    found = _find(call)
    changes = {key: value for key, value in call.p.items() if key not in ("id", "delete", "starttime", "dow")}
    deletes = split_list(call.p.get("delete", ""))
    if not changes and not deletes and "starttime" not in call.p:
        raise failed("no options specified")
    if found is None or found.options is None:
        raise failed("no such vzdump job")
    _check_pool(call)
    options = dict(found.options)
    for name in deletes:
        if not call.knows(name):
            raise _nested("delete", f"unknown option '{name}'")
        options.pop(name, None)
    if "starttime" in call.p:
        changes["schedule"] = _schedule(call)
    for name in ("vmid", "all", "pool"):
        if changes.get(name):
            for other in ("vmid", "all", "pool", "exclude"):
                options.pop(other, None)
    _add_version(call, found.name, options | changes)


@api.behaves("DELETE /cluster/backup/{id}")
def delete_job(call: Call) -> None:
    """Remove a job; the backups that it made stay."""
    found = _find(call)
    if found is None:
        raise _nested("id", f"No such job '{call.p['id']}'")
    _add_version(call, found.name, None)


def job_guests(call: Call, options: dict[str, Any]) -> list[Guest]:
    """The guests that a job would back up now."""
    if options.get("all"):
        excluded = set(split_list(str(options.get("exclude", ""))))
        return [guest for guest in call.cluster.guests.values() if str(guest.vmid) not in excluded]
    members = {int(vmid) for vmid in split_list(str(options.get("vmid", ""))) if vmid.isdigit()}
    pool = call.cluster.pools.get(str(options.get("pool", "")))
    members |= pool.vmids if pool else set()
    return [call.cluster.guests[vmid] for vmid in sorted(members) if vmid in call.cluster.guests]


@api.reads("GET /cluster/backup/{id}/included_volumes")
def included_volumes(call: Call) -> dict[str, Any]:
    """The disks that a job takes, and why."""
    found = _find(call)
    if found is None or found.options is None:
        raise bad_parameter("id", f"No such job '{call.p['id']}'")
    children = []
    for guest in job_guests(call, found.options):
        disks = []
        for disk in guest.disks():
            if disk.cdrom:
                continue
            included = disk.options.get("backup", "1" if guest.kind == "qemu" or disk.key == "rootfs" else "0") != "0"
            reason = "rootfs" if disk.key == "rootfs" else f"backup={'yes' if included else 'no'}"
            disks.append({"id": f"{guest.vmid}:{disk.key}", "name": disk.volid, "included": int(included), "leaf": 1, "reason": reason})
        children.append({"id": guest.vmid, "name": guest.name, "type": guest.kind, "leaf": 0, "children": disks})
    return {"children": children}


@api.reads("GET /cluster/backup-info/not-backed-up")
def not_backed_up(call: Call) -> list[dict[str, Any]]:
    """Guests that no job takes."""
    covered = {guest.vmid for job in call.cluster.backup_jobs.values() if job.options for guest in job_guests(call, job.options)}
    return [
        {"vmid": guest.vmid, "name": guest.name, "type": guest.kind}
        for guest in call.cluster.guests.values()
        if guest.vmid not in covered and call.may(f"/vms/{guest.vmid}", "VM.Audit")
    ]


@api.behaves("POST /nodes/{node}/vzdump")
def backup_now(call: Call) -> str:
    """Back up guests of a node now, all in one task."""
    _refuse_root_options(call)
    conflict = _conflict(call.p)
    if conflict:
        raise bad_parameter(*conflict)
    storage = str(call.p.get("storage", "local"))
    call.demand(f"/storage/{storage}", "Datastore.AllocateSpace")
    wanted = job_guests(call, call.p)
    named = [int(vmid) for vmid in split_list(str(call.p.get("vmid", "")))]
    vmids = named or [guest.vmid for guest in wanted if guest.node == call.p["node"]]
    for vmid in vmids:
        call.demand(f"/vms/{vmid}", "VM.Backup")
    command = " ".join(f"{vmid}" for vmid in named) + "".join(
        f" --{key} {value}" for key, value in sorted(call.p.items()) if key not in ("node", "vmid")
    )
    wish = BackupWish(
        vmids,
        storage,
        str(call.p.get("mode", "snapshot")),
        str(call.p.get("notes-template", "")),
        bool(call.p.get("protected")),
        command.strip(),
    )
    about = str(vmids[0]) if len(vmids) == 1 else ""
    return call.fork("vzdump", about, vzdump(call.cluster, call.p["node"], wish))


@api.reads("GET /nodes/{node}/vzdump/defaults")
def defaults(call: Call) -> dict[str, Any]:
    """What a backup does unless told otherwise."""
    storage = str(call.p.get("storage", "local"))
    call.demand_any(f"/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace")
    return {
        "all": 0,
        "bwlimit": 0,
        "compress": "0",
        "dumpdir": "/var/lib/vz/dump",
        "fleecing": {"enabled": 0},
        "ionice": 7,
        "lockwait": 180,
        "mailnotification": "always",
        "mode": "snapshot",
        "notification-mode": "auto",
        "performance": {"max-workers": 16, "pbs-entries-max": 1048576},
        "pigz": 0,
        "prune-backups": "keep-all=1",
        "quiet": 0,
        "remove": 1,
        "stdexcludes": 1,
        "stop": 0,
        "stopwait": 10,
        "storage": storage,
        "zstd": 1,
    }
