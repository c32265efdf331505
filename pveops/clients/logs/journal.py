"""Log lines out of a cluster: journals of nodes, the log of the cluster, logs of tasks, as Proxmox VE tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pveops.clients.cluster.wire import Wire
from pveops.clients.logs.made import made, taken_apart
from pveops.model.logs import LogLine
from pveops.model.refs import check_node
from pveops.model.tasks import Task

_SEVERITY = {"TASK ERROR": 3, "ERROR:": 3, "TASK WARNINGS": 4, "WARNING:": 4, "WARN:": 4}


def node_lines(wire: Wire, node: str, since_s: int, until_s: int) -> list[LogLine]:
    """The journal of a node between two times (Unix seconds), oldest first. Secrets are taken out.

    Raises:
        Forbidden: the token has no Sys.Syslog on the node.
        TransportError, ApiError: the node does not answer.
    """
    path = f"/nodes/{check_node(node)}"
    clock = wire.get(f"{path}/time").data
    ahead_s = int(clock["localtime"]) - int(clock["time"])
    rows = wire.get(f"{path}/journal", {"since": since_s, "until": until_s}).data
    return list(lines_of((str(row) for row in rows), node, ahead_s=ahead_s, until_s=until_s))


def lines_of(rows: Iterable[str], node: str, *, ahead_s: int, until_s: int) -> Iterator[LogLine]:
    """Lines of a journal as text. They hold no year and the node's own time: ``ahead_s`` before UTC's, none after ``until_s`` (Unix seconds)."""
    seen: Counter[str] = Counter()
    for row in rows:
        parts = taken_apart(row, ahead_s=ahead_s, until_s=until_s)
        if parts.time_ms is None or not parts.unit:
            continue  # the first and the last are cursors
        seen[row] += 1
        yield made(
            time_ms=parts.time_ms, host=parts.host, unit=parts.unit, message=parts.message, source="journal", mark=f"{node} {seen[row]}"
        )


def cluster_lines(wire: Wire, limit: int = 500) -> list[LogLine]:
    """The newest lines of the cluster's own log. Secrets are taken out.

    Raises:
        TransportError, ApiError: the cluster does not answer.
    """
    return [cluster_line(row) for row in wire.get("/cluster/log", {"max": limit}).data]


def cluster_line(row: Mapping[str, Any]) -> LogLine:
    """A row of ``/cluster/log``."""
    return made(
        time_ms=int(row.get("time", 0)) * 1000,
        host=str(row.get("node", "")),
        unit=str(row.get("tag", "")),
        message=f"<{row.get('user', '')}> {row.get('msg', '')}",
        severity=min(7, max(0, int(row.get("pri", 6)))),
        source="cluster",
        mark=str(row.get("id") or row.get("uid") or ""),
    )


def task_lines(task: Task, texts: Iterable[str]) -> Iterator[LogLine]:
    """The log of a task. Its lines hold no times: they stand a millisecond apart from its start on, and the one that tells its end at its end."""
    start_ms, vmid = task.upid.starttime_s * 1000, int(task.id) if task.id.isdigit() else None
    for number, text in enumerate(texts):
        ended = task.ended is not None and text.startswith("TASK ")
        yield made(
            time_ms=round(task.ended.timestamp() * 1000) if ended and task.ended else start_ms + number,
            host=task.node,
            unit=task.type,
            message=text,
            severity=next((number for sign, number in _SEVERITY.items() if text.startswith(sign)), 6),
            vmid=vmid,
            source="task",
            mark=f"{task.upid.text} {number}",
            task=task.upid.text,
        )
