"""Read tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from pveops.base.errors import InputError
from pveops.base.units import fmt_bytes, fmt_pct, parse_duration_s
from pveops.frames.columns import BACKUPS, GUESTS, NODES, SNAPSHOTS, STORAGE, TASKS
from pveops.frames.filter import kinds_of, parse_filter
from pveops.model.resources import Gap
from pveops.model.tasks import Upid
from pveops.tools.ports import Ports
from pveops.tools.registry import Args, NoArgs, Tool, ToolResult, result_of
from pveops.tools.resolve import find_guest, find_node

GuestName = Annotated[str, Field(description="Id or name of the guest: 101 or web-1")]


class GuestArgs(Args):
    """One guest."""

    guest: GuestName


class GuestListArgs(Args):
    """Which guests."""

    node: Annotated[str, Field(description="Only guests on this node")] = ""
    status: Annotated[
        Literal["", "running", "stopped", "paused", "suspended", "unknown"], Field(description="Only guests in this state")
    ] = ""
    tag: Annotated[str, Field(description="Only guests with this tag")] = ""
    filter: Annotated[str, Field(description="Terms that all must hold, as docs/filter.md says: status:stopped tag:prod mem>8G -web-*")] = (
        ""
    )


class MetricsArgs(Args):
    """Which measurements."""

    guest: GuestName
    timeframe: Annotated[Literal["hour", "day", "week", "month", "year"], Field(description="How far back")] = "hour"


class TaskListArgs(Args):
    """Which tasks."""

    node: Annotated[str, Field(description="Only tasks of this node")] = ""
    guest: Annotated[str, Field(description="Only tasks of this guest, by id or name")] = ""
    since: Annotated[str, Field(description="Only tasks younger than this: 1h, 7d")] = ""
    failed: Annotated[bool, Field(description="Only tasks that ended with an error")] = False
    limit: Annotated[int, Field(ge=1, le=2000, description="At most so many")] = 100


class TaskLogArgs(Args):
    """Which task."""

    upid: Annotated[str, Field(description="Task id, as task.list shows it")]
    lines: Annotated[int, Field(ge=1, le=5000, description="At most so many lines, the last ones")] = 200


class BackupListArgs(Args):
    """Which backups."""

    guest: Annotated[str, Field(description="Only backups of this guest, by id or name")] = ""
    storage: Annotated[str, Field(description="Only backups in this storage")] = ""


class FullestArgs(Args):
    """Full of what."""

    by: Annotated[Literal["memory", "cpu", "disk"], Field(description="What to compare")] = "memory"


def cluster_status(args: NoArgs, ports: Ports) -> ToolResult:
    """Is it quorate, who is a member, how much is in use."""
    status = ports.reader.cluster_status()
    nodes, guests, _ = ports.reader.resources()
    online = [node for node in nodes.rows if node.status == "online"]
    away = {node.name for node in nodes.rows if node.status == "offline"}
    running = sum(guest.status == "running" and guest.node not in away for guest in guests.rows)
    used = sum(node.mem_bytes or 0 for node in online)
    total = sum(node.maxmem_bytes or 0 for node in online)
    row = {
        "cluster": status.name, "quorate": status.quorate, "nodes": len(nodes.rows), "nodes_online": len(online), "guests": len(guests.rows),
        "guests_running": running, "mem_bytes": used, "maxmem_bytes": total, "version": ports.reader.version(), "simulated": ports.reader.simulated(),
    }  # fmt: skip
    name = f"Cluster {status.name}" if status.name else "One node, no cluster"
    quorum = "has quorum" if status.quorate else "has NO quorum: nothing can be changed"
    text = f"{name} {quorum}. {len(online)} of {len(nodes.rows)} nodes online, {running} of {len(guests.rows)} guests running, memory {fmt_pct(used / total if total else None)}."
    return result_of(guests, [row], text=text, none="", searched="/cluster/status and /cluster/resources")


def node_list(args: NoArgs, ports: Ports) -> ToolResult:
    """Every node with its load."""
    answer = ports.reader.nodes()
    offline = [node.name for node in answer.rows if node.status != "online"]
    text = f"{len(answer.rows)} nodes" + (f", not online: {', '.join(offline)}." if offline else ", all online.")
    return result_of(answer, NODES.rows(answer.rows), text=text, none="The cluster lists no node.", order=NODES.order)


def node_fullest(args: FullestArgs, ports: Ports) -> ToolResult:
    """Nodes by what they have in use, fullest first."""
    answer = ports.reader.nodes()
    column = {"memory": "mem_fraction", "cpu": "cpu_fraction", "disk": "disk_fraction"}[args.by]
    rows = sorted(NODES.rows(answer.rows), key=lambda row: (row[column] is not None, row[column]), reverse=True)
    known = [row for row in rows if row[column] is not None]
    if not known:
        quiet = all(row["status"] != "online" for row in rows)
        why = "no node has told it for minutes" if quiet else "no node tells it to this token"
        gap = Gap(what=f"{args.by} of the nodes", why=why, needs="" if quiet else "Sys.Audit on /nodes")
        return ToolResult(
            status="partial",
            text=f"The {args.by} of the nodes is not known: {why}.",
            gaps=(gap,),
            searched=answer.source,
            read_at=answer.read_at,
            order=NODES.order,
        )
    text = f"{known[0]['node']} is fullest by {args.by}: {fmt_pct(known[0][column])}"
    text += f"; emptiest is {known[-1]['node']} with {fmt_pct(known[-1][column])}." if len(known) > 1 else "."
    silent = [str(row["node"]) for row in rows if row[column] is None]
    if silent:
        text += f" Not known for {', '.join(silent)}."
    return result_of(answer, rows, text=text, none="", order=NODES.order)


def guest_list(args: GuestListArgs, ports: Ports) -> ToolResult:
    """Guests, filtered."""
    answer = ports.reader.guests()
    if args.node and all(guest.node != args.node for guest in answer.rows):
        find_node(args.node, ports.reader.nodes())  # a node without guests is no mistake, a wrong name is
    rows = [
        guest
        for guest in answer.rows
        if (not args.node or guest.node == args.node)
        and (not args.status or guest.status == args.status)
        and (not args.tag or args.tag in guest.tags)
    ]
    table = GUESTS.rows(rows)
    if args.filter:
        sieve = parse_filter(
            args.filter, kinds_of((column.name, column.dtype) for column in GUESTS.columns), table="guests", now=ports.clock.now()
        )
        places, open_ones = sieve.sift(table)
        table = [table[place] for place in places]
        answer = replace(answer, gaps=(*answer.gaps, *open_ones))
    parts = (
        args.status,
        "guests",
        f"on {args.node}" if args.node else "",
        f"with tag {args.tag}" if args.tag else "",
        f"that fit {args.filter}" if args.filter else "",
    )
    wanted = " ".join(part for part in parts if part)
    return result_of(
        answer,
        table,
        text=f"{len(table)} {wanted}.",
        none=f"None of {len(answer.rows)} guests match: {wanted}." if answer.rows else "No guests.",
        order=GUESTS.order,
    )


def guest_show(args: GuestArgs, ports: Ports) -> ToolResult:
    """One guest as it is at this moment."""
    answer = ports.reader.guests()
    guest = find_guest(args.guest, answer)
    live = ports.reader.guest_status(guest.ref)
    row = {
        **GUESTS.rows([guest])[0],
        "status": live.get("qmpstatus") or live.get("status"),
        "uptime_s": live.get("uptime"),
        "agent": bool(live.get("agent")),
    }
    memory = f", memory {fmt_bytes(live.get('mem'))} of {fmt_bytes(live.get('maxmem'))}" if live.get("mem") else ""
    text = f"{guest.label} is {row['status']} on {guest.node}{memory}."
    return ToolResult(
        status="ok",
        text=text,
        rows=(row,),
        searched=f"{guest.ref.path}/status/current",
        read_at=ports.clock.now(),
        order=(*GUESTS.order, "agent"),
    )


def guest_config(args: GuestArgs, ports: Ports) -> ToolResult:
    """Its configuration, pending values applied."""
    guest = find_guest(args.guest, ports.reader.guests())
    config = ports.reader.guest_config(guest.ref)
    rows = [{"key": key, "value": value} for key, value in sorted(config.items())]
    text = f"{guest.label} has {len(rows)} settings; this version is {str(config.get('digest', 'not named'))[:8]}."
    return ToolResult(
        status="ok", text=text, rows=tuple(rows), searched=f"{guest.ref.path}/config", read_at=ports.clock.now(), order=("key", "value")
    )


def guest_snapshots(args: GuestArgs, ports: Ports) -> ToolResult:
    """Its snapshots, oldest first."""
    guest = find_guest(args.guest, ports.reader.guests())
    snapshots = ports.reader.snapshots(guest.ref)
    text = f"{guest.label} has {len(snapshots)} snapshots." if snapshots else f"{guest.label} has no snapshot."
    return ToolResult(
        status="ok" if snapshots else "no_data", text=text, rows=tuple(SNAPSHOTS.rows(snapshots)), searched=f"{guest.ref.path}/snapshot",
        read_at=ports.clock.now(), order=SNAPSHOTS.order,
    )  # fmt: skip


def guest_metrics(args: MetricsArgs, ports: Ports) -> ToolResult:
    """CPU, memory, disk and network over time, from Proxmox VE's own RRD."""
    guest = find_guest(args.guest, ports.reader.guests())
    series = ports.reader.series(guest.ref, args.timeframe)
    rows: list[dict[str, Any]] = [
        {"time": moment, **{name: values[index] for name, values in series.columns.items()}} for index, moment in enumerate(series.times)
    ]
    seen = [value for value in series.columns.get("cpu_fraction", ()) if value is not None]
    text = f"{len(rows)} points of {guest.label}, one per {series.step_s} s"
    text += f"; CPU {fmt_pct(sum(seen) / len(seen))} on average, {fmt_pct(max(seen))} at most." if seen else "; no CPU value among them."
    return ToolResult(
        status="ok" if rows else "no_data", text=text if rows else f"{guest.label} has no measurements yet.", rows=tuple(rows), searched=series.source,
        read_at=ports.clock.now(), order=("time", *series.columns),
    )  # fmt: skip


def _place(row: Mapping[str, Any], *, always: bool = False) -> str:
    """A storage, with its node where each node has its own."""
    return f"{row['storage']} on {row['node']}" if always or not row["shared"] else str(row["storage"])


def storage_list(args: NoArgs, ports: Ports) -> ToolResult:
    """Every storage as each node sees it."""
    answer = ports.reader.storages()
    rows = STORAGE.rows(answer.rows)
    full = sorted({f"{_place(row)} {fmt_pct(row['used_fraction'])}" for row in rows if (row["used_fraction"] or 0) >= 0.8})
    names = {row["storage"] for row in rows}
    lost = sorted(_place(row, always=True) for row in rows if row["status"] != "available")
    text = f"{len(names)} storages"
    text += f"; nearly full: {', '.join(full)}" if full else ", none of those that answer nearly full" if lost else ", none nearly full"
    text += f"; not available: {', '.join(lost)}." if lost else "."
    return result_of(answer, rows, text=text, none="The token sees no storage.", order=STORAGE.order)


def backup_list(args: BackupListArgs, ports: Ports) -> ToolResult:
    """Backup archives, newest first."""
    vmid = find_guest(args.guest, ports.reader.guests()).vmid if args.guest else None
    answer = ports.reader.backups(storage=args.storage or None)
    rows = [backup for backup in answer.rows if vmid is None or backup.vmid == vmid]
    of = f" of {vmid}" if vmid else ""
    size = sum(backup.size_bytes or 0 for backup in rows)
    return result_of(
        answer,
        BACKUPS.rows(rows),
        text=f"{len(rows)} backups{of}, {fmt_bytes(size)}.",
        none=f"No backup{of} was found.",
        order=BACKUPS.order,
    )


def task_list(args: TaskListArgs, ports: Ports) -> ToolResult:
    """Tasks, newest first."""
    node = find_node(args.node, ports.reader.nodes()).name if args.node else None
    vmid = find_guest(args.guest, ports.reader.guests()).vmid if args.guest else None
    since = None
    if args.since:
        try:
            since = ports.clock.now() - timedelta(seconds=parse_duration_s(args.since))
        except ValueError as err:
            raise InputError(f"since: {err}.") from err
    answer = ports.reader.tasks(node=node, vmid=vmid, since=since, errors=args.failed, limit=args.limit)
    rows = [task for task in answer.rows if not args.failed or task.outcome.kind in ("failed", "unknown")]
    what = "failed tasks" if args.failed else "tasks"
    most = f", the newest: at most {args.limit} were asked for" if len(answer.rows) == args.limit else ""
    return result_of(
        answer, TASKS.rows(rows), text=f"{len(rows)} {what}{most}.", none=f"No {what} in what was searched.", order=TASKS.order
    )


def task_log(args: TaskLogArgs, ports: Ports) -> ToolResult:
    """What a task wrote."""
    upid = Upid.parse(args.upid)
    outcome = ports.reader.task_outcome(upid)
    _, total = ports.reader.task_log(upid, start=0, limit=1)
    lines, _ = ports.reader.task_log(upid, start=max(0, total - args.lines), limit=args.lines)
    rows = tuple({"n": total - len(lines) + index, "line": line} for index, line in enumerate(lines, start=1))
    return ToolResult(
        status="ok" if rows else "no_data", text=f"{upid.type} {upid.id} on {upid.node}: {outcome.kind} {outcome.text}".strip() + ".", rows=rows,
        searched=f"{upid.path}/log", read_at=ports.clock.now(), order=("n", "line"),
    )  # fmt: skip


def _read(name: str, title: str, args: type[Args], run: Any, *privileges: str) -> Tool:
    return Tool(name=name, kind="read", title=title, doc=str(run.__doc__), args=args, run=run, privileges=privileges)


READ_TOOLS = (
    _read("cluster.status", "State of the cluster", NoArgs, cluster_status, "Sys.Audit"),
    _read("node.list", "Nodes", NoArgs, node_list, "Sys.Audit"),
    _read("node.fullest", "Fullest node", FullestArgs, node_fullest, "Sys.Audit"),
    _read("guest.list", "Guests", GuestListArgs, guest_list, "VM.Audit"),
    _read("guest.show", "One guest", GuestArgs, guest_show, "VM.Audit"),
    _read("guest.config", "Configuration of a guest", GuestArgs, guest_config, "VM.Audit"),
    _read("guest.snapshots", "Snapshots of a guest", GuestArgs, guest_snapshots, "VM.Audit"),
    _read("guest.metrics", "Measurements of a guest", MetricsArgs, guest_metrics, "VM.Audit"),
    _read("storage.list", "Storage", NoArgs, storage_list, "Datastore.Audit"),
    _read("backup.list", "Backups", BackupListArgs, backup_list, "Datastore.AllocateSpace", "VM.Backup"),
    _read("task.list", "Tasks", TaskListArgs, task_list, "Sys.Audit"),
    _read("task.log", "Log of a task", TaskLogArgs, task_log, "Sys.Audit"),
)
