"""Log lines out of a cluster: the journal of each node and the log of the cluster, as Proxmox VE tells them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pveops.base.redact import redact
from pveops.clients.cluster.wire import Wire
from pveops.model.logs import LogLine
from pveops.model.refs import check_node

_LINE = re.compile(
    r"^(?P<when>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?P<host>\S+) (?P<unit>[^\s:\[]+)(?:\[\d+\])?: ?(?P<message>.*)$", re.DOTALL
)
_VMID = re.compile(r"\b(?:VM|CT|vmid|guest) (?P<vmid>\d{3,9})\b|UPID:[^:]+(?::[0-9A-F]+){3}:\w+:(?P<task>\d{3,9}):")
_LONGEST = 16_000


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
        match = _LINE.match(row)
        if match is None:
            continue  # the first and the last are cursors
        seen[row] += 1
        message = redact(match["message"])[:_LONGEST]
        yield LogLine(
            time_ms=_time_ms(match["when"], ahead_s, until_s),
            host=match["host"],
            unit=match["unit"],
            message=message,
            vmid=about(message),
            source="journal",
            mark=f"{node} {seen[row]}",
        )


def cluster_lines(wire: Wire, limit: int = 500) -> list[LogLine]:
    """The newest lines of the cluster's own log. Secrets are taken out.

    Raises:
        TransportError, ApiError: the cluster does not answer.
    """
    return [cluster_line(row) for row in wire.get("/cluster/log", {"max": limit}).data]


def cluster_line(row: Mapping[str, Any]) -> LogLine:
    """A row of ``/cluster/log``."""
    message = redact(f"<{row.get('user', '')}> {row.get('msg', '')}")[:_LONGEST]
    return LogLine(
        time_ms=int(row.get("time", 0)) * 1000,
        host=str(row.get("node", "")),
        unit=str(row.get("tag", "")),
        message=message,
        severity=min(7, max(0, int(row.get("pri", 6)))),
        vmid=about(message),
        source="cluster",
        mark=str(row.get("id") or row.get("uid") or ""),
    )


def about(message: str) -> int | None:
    """The guest that a message is about, where it says so."""
    match = _VMID.search(message)
    return int(match["vmid"] or match["task"]) if match else None


def _time_ms(when: str, ahead_s: int, until_s: int) -> int:
    latest = datetime.fromtimestamp(until_s + ahead_s, UTC) + timedelta(days=1)
    for year in (latest.year, latest.year - 1):
        try:
            moment = datetime.strptime(f"{year} {when}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            continue  # 29 February of another year
        if moment <= latest:
            return int(moment.timestamp() - ahead_s) * 1000
    return until_s * 1000
