"""Replication jobs. Data really travels only on ZFS; a job of a guest on other storage fails and says so."""

from __future__ import annotations

from typing import Any

from pveops.sim.calendar import next_event
from pveops.sim.errors import failed, modified
from pveops.sim.methods.table import Call, Rows, Table
from pveops.sim.physics import replication
from pveops.sim.props import split_list
from pveops.sim.state.digest import sha1_of

api = Table()

_OPTIONS = ("comment", "disable", "rate", "remove_job", "schedule", "source", "target", "type")
_REQUIRED = ("target", "type")
_SCHEDULER_S = 10.0
"""Until the scheduler comes by."""


def _row(call: Call, job: dict[str, Any]) -> dict[str, Any]:
    guest, number = (int(part) for part in str(job["id"]).split("-"))
    shown = {key: job[key] for key in ("id", *_OPTIONS) if job.get(key) not in (None, "")}
    return {"type": "local", **shown, "guest": guest, "jobnum": number}


def _may_see(call: Call, job: dict[str, Any]) -> bool:
    return call.may(f"/vms/{str(job['id']).split('-')[0]}", "VM.Audit")


def _digest(call: Call) -> str:
    return sha1_of([sorted(job.items(), key=str) for job in call.cluster.replication.values()])


@api.reads("GET /cluster/replication")
def jobs(call: Call) -> list[dict[str, Any]]:
    """The jobs that the caller may see."""
    return [_row(call, job) for job in call.cluster.replication.values() if _may_see(call, job)]


def _find(call: Call, text: str = "no such replication job") -> dict[str, Any]:
    job = call.cluster.replication.get(call.p["id"])
    if job is None:
        raise failed(f"{text} '{call.p['id']}'")
    return job


def _demand_audit(call: Call) -> None:
    call.demand(f"/vms/{str(call.p['id']).split('-')[0]}", "VM.Audit")


@api.reads("GET /cluster/replication/{id}")
def job(call: Call) -> dict[str, Any]:
    """One job."""
    _demand_audit(call)
    return _row(call, _find(call)) | {"digest": _digest(call)}


def _demand_replicate(call: Call) -> None:
    if call.world.old:
        call.demand("/storage", "Datastore.Allocate")
        return
    call.demand(f"/vms/{str(call.p['id']).split('-')[0]}", "VM.Replicate")


@api.behaves("POST /cluster/replication")
def create(call: Call) -> None:
    """A new job; its target must be another node."""
    _demand_replicate(call)
    vmid, _, _ = str(call.p["id"]).partition("-")
    guest = call.cluster.guests.get(int(vmid))
    if guest is None:
        raise failed(f"Guest '{vmid}' does not exist.")
    target = str(call.p["target"])
    if target not in call.cluster.nodes or (len(call.cluster.nodes) == 1 and target == guest.node):
        raise failed(f"Target '{target}' does not exist.")
    if target == guest.node:
        raise failed("Source and target node must differ.")
    if call.p["id"] in call.cluster.replication:
        raise failed(f"create replication job failed: replication job '{call.p['id']}' already defined")
    given = {key: call.p[key] for key in _OPTIONS if key in call.p}
    call.cluster.replication[call.p["id"]] = {"id": call.p["id"], "source": guest.node, **given}


@api.behaves("PUT /cluster/replication/{id}")
def update(call: Call) -> None:
    """Change a job."""
    _demand_replicate(call)
    job = _find(call, "no such job")
    if "digest" in call.p and call.p["digest"] != _digest(call):
        raise modified()
    for name in split_list(call.p.get("delete", "")):
        if name not in _OPTIONS:
            raise failed(f"no such option '{name}'")
        if name in _REQUIRED:
            raise failed(f"unable to delete required option '{name}'")
        job.pop(name, None)
    job.update({key: call.p[key] for key in _OPTIONS if key in call.p})
    _remember_source(call, job)


def _remember_source(call: Call, job: dict[str, Any]) -> None:
    """A job that is written again names the node its guest is on."""
    guest = call.cluster.guests.get(int(str(job["id"]).split("-")[0]))
    if guest is not None:
        job["source"] = guest.node


@api.behaves("DELETE /cluster/replication/{id}")
def delete(call: Call) -> None:
    """Mark a job for removal, which its next run carries out; with ``force`` it is gone at once."""
    _demand_replicate(call)
    job = _find(call, "no such job")
    if call.p.get("force"):
        del call.cluster.replication[call.p["id"]]
        return
    job["remove_job"] = "local" if call.p.get("keep") else "full"
    _remember_source(call, job)
    call.cluster.agenda.add(call.now_s + _SCHEDULER_S, lambda: _remove(call, job))


def _remove(call: Call, job: dict[str, Any]) -> None:
    if call.cluster.replication.get(str(job["id"])) is job:
        del call.cluster.replication[str(job["id"])]


def _status(call: Call, job: dict[str, Any]) -> dict[str, Any]:
    row = _row(call, job)
    guest = call.cluster.guests.get(row["guest"])
    shown: dict[str, Any] = {
        "source": guest.node if guest else call.p["node"],
        "vmtype": guest.kind if guest else "qemu",
        "fail_count": int(job.get("fail_count", 0)),
        "last_sync": int(job.get("last_sync", 0)),
        "last_try": int(job.get("last_try", job.get("last_sync", 0))),
        "next_sync": int(next_event(str(job.get("schedule", "*/15")), call.now_s)),
    }
    by_plan = replication.state(call.cluster, job, call.now_s)
    if by_plan is not None:
        shown["last_sync"] = max(shown["last_sync"], int(by_plan.last_sync_s))
        shown["last_try"] = max(shown["last_try"], int(by_plan.last_try_s))
        shown |= {"duration": round(by_plan.duration_s, 3), "fail_count": by_plan.fail_count}
        shown |= {"error": by_plan.error} if by_plan.error else {}
    return row | shown


@api.reads("GET /nodes/{node}/replication")
def node_jobs(call: Call) -> list[dict[str, Any]]:
    """The jobs of guests of the node."""
    rows = [_status(call, job) for job in call.cluster.replication.values() if _may_see(call, job)]
    return [row for row in rows if row["source"] == call.p["node"] and call.p.get("guest", row["guest"]) == row["guest"]]


@api.reads("GET /nodes/{node}/replication/{id}/status")
def node_job(call: Call) -> dict[str, Any]:
    """The state of one job."""
    _demand_audit(call)
    return _status(call, _find(call))


@api.reads("GET /nodes/{node}/replication/{id}/log")
def log(call: Call) -> Rows:
    """What the last run of a job wrote."""
    vmid = str(call.p["id"]).split("-")[0]
    if not call.may(f"/vms/{vmid}", "VM.Audit"):
        call.demand(f"/nodes/{call.p['node']}", "Sys.Audit")
    lines = list(_find(call).get("log", ())) or ["unable to open file - No such file or directory"]
    start, limit = call.p.get("start", 0), call.p.get("limit", 50) or len(lines)
    rows = [{"n": number, "t": text} for number, text in enumerate(lines, 1)]
    return Rows(rows[start : start + limit], len(rows))


@api.behaves("POST /nodes/{node}/replication/{id}/schedule_now")
def schedule_now(call: Call) -> None:
    """Run a job as soon as the scheduler comes by."""
    _demand_replicate(call)
    job = _find(call)
    cluster = call.cluster
    cluster.agenda.add(cluster.now_s + _SCHEDULER_S, lambda: _run(call, job))


def _run(call: Call, job: dict[str, Any]) -> None:
    """One run: a sync where the storage can do it, else a failure that is told."""
    cluster = call.cluster
    guest = cluster.guests.get(int(str(job["id"]).split("-")[0]))
    if guest is None or cluster.replication.get(str(job["id"])) is not job:
        return
    stamp = f"{int(cluster.now_s)} {job['id']}"
    job["last_try"] = int(cluster.now_s)
    other = [disk for disk in guest.disks() if disk.storage in cluster.storages and cluster.storages[disk.storage].kind != "zfspool"]
    if other:
        text = f"missing replicate feature on volume '{other[0].volid}'"
        job |= {"fail_count": int(job.get("fail_count", 0)) + 1, "error": text}
        job["log"] = [f"{stamp}: start replication job", f"{stamp}: end replication job with error: {text}"]
        return
    job |= {"fail_count": 0, "last_sync": int(cluster.now_s)}
    job["log"] = [f"{stamp}: start replication job", f"{stamp}: end replication job"]
