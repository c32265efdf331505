"""Replication jobs: views. The generated cluster has no ZFS and so no jobs; a described one may."""

from __future__ import annotations

from typing import Any

from pveops.sim.calendar import next_event
from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.state.digest import sha1_of

api = Table()


def _row(call: Call, job: dict[str, Any]) -> dict[str, Any]:
    guest, number = (int(part) for part in str(job["id"]).split("-"))
    return {"type": "local", **job, "guest": guest, "jobnum": number}


def _may_see(call: Call, job: dict[str, Any]) -> bool:
    return call.may(f"/vms/{str(job['id']).split('-')[0]}", "VM.Audit")


@api.reads("GET /cluster/replication")
def jobs(call: Call) -> list[dict[str, Any]]:
    """The jobs that the caller may see."""
    return [_row(call, job) for job in call.cluster.replication.values() if _may_see(call, job)]


def _find(call: Call) -> dict[str, Any]:
    call.demand(f"/vms/{str(call.p['id']).split('-')[0]}", "VM.Audit")
    job = call.cluster.replication.get(call.p["id"])
    if job is None:
        raise failed(f"no such replication job '{call.p['id']}'")
    return job


@api.reads("GET /cluster/replication/{id}")
def job(call: Call) -> dict[str, Any]:
    """One job."""
    return _row(call, _find(call)) | {"digest": sha1_of(sorted(call.cluster.replication))}


def _status(call: Call, job: dict[str, Any]) -> dict[str, Any]:
    row = _row(call, job)
    guest = call.cluster.guests.get(row["guest"])
    return row | {
        "source": guest.node if guest else call.p["node"],
        "vmtype": guest.kind if guest else "qemu",
        "fail_count": 0,
        "last_sync": int(job.get("last_sync", 0)),
        "last_try": int(job.get("last_sync", 0)),
        "next_sync": int(next_event(str(job.get("schedule", "*/15")), call.now_s)),
    }


@api.reads("GET /nodes/{node}/replication")
def node_jobs(call: Call) -> list[dict[str, Any]]:
    """The jobs of guests of the node."""
    rows = [_status(call, job) for job in call.cluster.replication.values() if _may_see(call, job)]
    return [row for row in rows if row["source"] == call.p["node"] and call.p.get("guest", row["guest"]) == row["guest"]]


@api.reads("GET /nodes/{node}/replication/{id}/status")
def node_job(call: Call) -> dict[str, Any]:
    """The state of one job."""
    return _status(call, _find(call))
