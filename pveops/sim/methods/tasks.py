"""Tasks: lists, status, logs, stopping."""

from __future__ import annotations

import re
from collections.abc import Iterable
from heapq import nlargest
from typing import Any

from pveops.sim.methods.table import Call, Plain, Rows, Table
from pveops.sim.props import split_list
from pveops.sim.tasks.task import Task, UnknownTaskError, check_upid, owner_of

api = Table()

_DEFAULT_ROWS = 50
_CLUSTER_ROWS_PER_NODE = 25
_GUEST = re.compile(r"(\d+)(@.*)?")


def _mine(call: Call, owner: str) -> bool:
    """A user sees own tasks and those of own tokens, a token only its own."""
    if call.who.token:
        return owner == call.who.name
    return owner == call.who.userid or owner.startswith(f"{call.who.userid}!")


def _all_tasks(call: Call, node: str) -> list[Task]:
    """The tasks of a node, newest first, those of the past included."""
    tasks = [*call.world.engine.on(node), *call.world.past_tasks(node)]
    tasks.sort(key=lambda task: task.start_s, reverse=True)
    return tasks


def _list_row(task: Task) -> dict[str, Any]:
    row = task.identity()
    if task.end_s is None:
        row.pop("tokenid", None)
        return row | {"user": task.user, "status": "RUNNING", "saved": "0"}
    return row | {"endtime": int(task.end_s), "status": task.status}


def _wanted(call: Call, task: Task) -> bool:
    p = call.p
    guest = _GUEST.fullmatch(task.about)
    verdicts = split_list(p.get("statusfilter", ""))
    checks = (
        "vmid" not in p or (guest is not None and int(guest[1]) == p["vmid"]),
        "typefilter" not in p or task.kind == p["typefilter"],
        "userfilter" not in p or p["userfilter"] in task.user,
        "since" not in p or task.start_s >= p["since"],
        "until" not in p or task.start_s <= p["until"],
        not p.get("errors") or task.verdict in ("error", "unknown"),
        not verdicts or task.verdict in verdicts,
    )
    return all(checks)


def _of_source(tasks: Iterable[Task], source: str) -> list[Task]:
    """Running tasks come first in a list of all."""
    running = [task for task in tasks if task.running] if source != "archive" else []
    ended = [task for task in tasks if not task.running] if source != "active" else []
    return running + ended


@api.reads("GET /nodes/{node}/tasks")
def tasks(call: Call) -> Rows:
    """The tasks of a node that the caller may see, newest first."""
    node = call.p["node"]
    everything = call.may(f"/nodes/{node}", "Sys.Audit")
    found = [
        task
        for task in _of_source(_all_tasks(call, node), call.p.get("source", "archive"))
        if (everything or _mine(call, task.user)) and _wanted(call, task)
    ]
    start, limit = call.p.get("start", 0), call.p.get("limit", _DEFAULT_ROWS)
    return Rows([_list_row(task) for task in found[start : start + limit]], len(found))


@api.reads("GET /cluster/tasks")
def cluster_tasks(call: Call) -> list[dict[str, Any]]:
    """The last tasks of all nodes: running ones first, then newest first."""
    everything = call.may("/", "Sys.Audit")
    recent: list[Task] = []
    for node in call.cluster.nodes:
        own = [*call.world.engine.on(node), *call.world.past_tasks(node)]
        recent += nlargest(_CLUSTER_ROWS_PER_NODE, own, key=lambda task: task.start_s)
    recent.sort(key=lambda task: (task.running, task.start_s), reverse=True)
    rows = []
    for task in recent:
        if not everything and not _mine(call, task.user):
            continue
        row = task.identity()
        del row["pstart"]
        if task.end_s is None:
            row["saved"] = "0"
        else:
            del row["pid"]
            row |= {"saved": "1", "endtime": int(task.end_s), "status": task.status}
        rows.append(row)
    return rows


def _find(call: Call, privilege: str) -> Task:
    """The task of the path, if the caller may see (or stop) it."""
    upid = check_upid(call.p["upid"])
    node = call.p["node"]
    if not _mine(call, owner_of(upid)):
        call.demand(f"/nodes/{node}", privilege)
    found = call.world.engine.find(node, upid) or next((task for task in call.world.past_tasks(node) if task.upid == upid), None)
    if found is None:
        raise UnknownTaskError
    return found


@api.reads("GET /nodes/{node}/tasks/{upid}")
def task_index(call: Call) -> list[dict[str, str]]:
    """What can be asked about a task; it need not be there."""
    return [{"name": "log"}, {"name": "status"}]


@api.reads("GET /nodes/{node}/tasks/{upid}/status")
def status(call: Call) -> dict[str, Any]:
    """Whether a task runs and, when it does not, how it ended."""
    task = _find(call, "Sys.Audit")
    row = task.identity()
    if task.running:
        return row | {"status": "running"}
    return row | {"status": "stopped", "exitstatus": task.status}


@api.reads("GET /nodes/{node}/tasks/{upid}/log")
def log(call: Call) -> Rows | Plain:
    """The lines of a task log; a limit of 0 gives all of them."""
    try:
        lines = _find(call, "Sys.Audit").log() or ["no content"]
    except UnknownTaskError:
        lines = ["unable to open file - No such file or directory"]
    if call.p.get("download"):
        return Plain("\n".join(lines) + "\n")
    start, limit = call.p.get("start", 0), call.p.get("limit", _DEFAULT_ROWS)
    shown = lines[start : start + limit] if limit else lines[start:]
    return Rows([{"n": start + number, "t": line} for number, line in enumerate(shown, 1)], len(lines))


@api.behaves("DELETE /nodes/{node}/tasks/{upid}")
def stop(call: Call) -> None:
    """Stop a task. One that has ended stays as it is."""
    call.world.engine.stop(_find(call, "Sys.Modify"))
