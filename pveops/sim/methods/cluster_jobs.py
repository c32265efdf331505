"""Jobs of the cluster beside backups: fetching users of realms, and when a schedule falls due."""

from __future__ import annotations

import time
from typing import Any

from pveops.sim.calendar import next_event
from pveops.sim.errors import bad_parameter, failed, inside
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.sections import Options, Row

api = Table()

_SYNC = Options("schedule scope realm", "enabled comment remove-vanished enable-new", "realm")
_ITERATIONS = 10


@api.reads("GET /cluster/jobs/schedule-analyze")
def analyze(call: Call) -> list[dict[str, Any]]:
    """The next times of a schedule."""
    moment_s, found = float(call.p.get("starttime", call.now_s)), []
    for _ in range(call.p.get("iterations", _ITERATIONS)):
        moment_s = next_event(call.p["schedule"], moment_s)
        found.append({"timestamp": int(moment_s), "utc": time.strftime("%a %b %e %H:%M:%S %Y", time.gmtime(moment_s))})
    return found


def _row(call: Call, name: str, row: Row) -> dict[str, Any]:
    return {**row, "id": name, "next-run": int(next_event(str(row["schedule"]), call.now_s))}


@api.reads("GET /cluster/jobs/realm-sync")
def jobs(call: Call) -> list[dict[str, Any]]:
    """All jobs."""
    return [_row(call, name, row) for name, row in call.cluster.configs.realm_sync.rows.items()]


@api.reads("GET /cluster/jobs/realm-sync/{id}")
def job(call: Call) -> dict[str, Any]:
    """One job."""
    row = call.cluster.configs.realm_sync.get(call.p["id"])
    if row is None:
        raise bad_parameter("id", f"No such job '{call.p['id']}'")
    return dict(row)


def _given(call: Call) -> Row:
    return {key: value for key, value in call.p.items() if key not in ("id", "delete")}


@api.behaves("POST /cluster/jobs/realm-sync/{id}")
def create(call: Call) -> None:
    """A new job."""
    sections, name, given = call.cluster.configs.realm_sync, call.p["id"], _given(call)
    with inside(""):
        if name in sections or name in call.cluster.backup_jobs:
            raise failed(f"Job '{name}' already exists")
        _SYNC.check(given, create=True)
        realm = call.cluster.identities.realms.get(given["realm"])
        if realm is None:
            raise bad_parameter("realm", f"No such realm '{given['realm']}'")
        if realm["type"] not in ("ldap", "ad"):
            raise bad_parameter("realm", "Only LDAP/AD realms can be synced.")
        sections.rows[name] = {"type": "realm-sync", "enabled": 1, **given}


@api.behaves("PUT /cluster/jobs/realm-sync/{id}")
def update(call: Call) -> None:
    """Change a job."""
    sections, name, given = call.cluster.configs.realm_sync, call.p["id"], _given(call)
    if not given:
        raise failed("no job options specified")
    with inside(""):
        _SYNC.check(given, create=False)
        row = sections.get(name)
        if row is None:
            raise failed("no such realm-sync job")
        changed = dict(row)
        _SYNC.delete(changed, given, split_list(call.p.get("delete", "")))
        sections.rows[name] = changed | given


@api.behaves("DELETE /cluster/jobs/realm-sync/{id}")
def delete(call: Call) -> None:
    """Remove a job."""
    with inside(""):
        if call.p["id"] not in call.cluster.configs.realm_sync:
            raise bad_parameter("id", f"No such job '{call.p['id']}'")
        del call.cluster.configs.realm_sync.rows[call.p["id"]]
