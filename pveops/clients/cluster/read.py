"""Reading a cluster. Lists come with their gaps: what the token may not see, and what did not answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pveops.base.clock import Clock, SystemClock, from_epoch_s
from pveops.base.errors import ApiError, Forbidden, InputError, PveopsError
from pveops.base.together import each_of
from pveops.clients.cluster import bulk, parse
from pveops.clients.cluster.privileges import Privileges
from pveops.clients.cluster.wire import Params, Reply, Wire
from pveops.model.refs import GuestRef, NodeRef, StorageRef, check_node, check_storage
from pveops.model.resources import Answer, Backup, ClusterStatus, Columns, Gap, Guest, Node, Snapshot, Storage
from pveops.model.series import Series, Timeframe
from pveops.model.tasks import Outcome, Task, Upid
from pveops.model.values import flag, fraction
from pveops.observe.cost import SPENT

T = TypeVar("T")
_AT_ONCE = 8
"""Requests under way at once for one answer."""
_OLDER_TASKS = Gap(what="older tasks", why="the cluster's list keeps only about the last 25 of each node; ask with node= or guest= for all")
_RRD_UNITS = {
    "cpu": "cpu_fraction", "maxcpu": "cpus", "iowait": "iowait_fraction", "loadavg": "loadavg", "mem": "mem_bytes", "maxmem": "maxmem_bytes",
    "memhost": "memhost_bytes", "memtotal": "memtotal_bytes", "memused": "memused_bytes", "disk": "disk_bytes", "maxdisk": "maxdisk_bytes",
    "roottotal": "roottotal_bytes", "rootused": "rootused_bytes", "swaptotal": "swaptotal_bytes", "swapused": "swapused_bytes",
    "total": "total_bytes", "used": "used_bytes", "netin": "netin_bytes_per_s", "netout": "netout_bytes_per_s",
    "diskread": "diskread_bytes_per_s", "diskwrite": "diskwrite_bytes_per_s",
}  # fmt: skip


def _silent(guests: Sequence[Guest], offline: Collection[str] = ()) -> tuple[Gap, ...]:
    """Nodes whose guests are not known any more, or are shown as they were when the node was last heard of."""
    return _lost({guest.node for guest in guests if guest.status == "unknown" or guest.node in offline}, offline)


def _lost(names: Collection[str], offline: Collection[str] = ()) -> tuple[Gap, ...]:
    old, silent = "the node is offline; what is shown is old", "the cluster has not heard of them for minutes"
    return tuple(Gap(what=f"state of the guests on {name}", why=old if name in offline else silent) for name in sorted(names))


class Reader:
    """Reads one cluster.

    Every method raises ``TransportError`` when no endpoint answers and ``ApiError`` when the cluster says no; what is missing from a
    list is named in its ``gaps``.
    """

    def __init__(self, wire: Wire, *, clock: Clock | None = None) -> None:
        self._wire = wire
        self._clock = clock or SystemClock()
        self._privileges: Privileges | None = None
        self._simulated: bool | None = None

    @property
    def wire(self) -> Wire:
        """The connection."""
        return self._wire

    def get(self, path: str, params: Params | None = None) -> Any:
        """The data of any read of the API, as Proxmox VE wrote it."""
        return self._wire.get(path, params).data

    def version(self) -> str:
        """The version text of the node that answers."""
        reply = self._wire.get("/version")
        self._simulated = reply.simulated
        return str(reply.data.get("version", "not known"))

    def simulated(self) -> bool:
        """Whether the simulated cluster answers."""
        if self._simulated is None:
            self.version()
        return bool(self._simulated)

    def privileges(self, *, again: bool = False) -> Privileges:
        """What the token may do; asked once."""
        SPENT.cache("privileges", hit=self._privileges is not None and not again)
        if self._privileges is None or again:
            data = self._wire.get("/access/permissions").data
            self._privileges = Privileges(data if isinstance(data, dict) else {})
        return self._privileges

    def cluster_status(self) -> ClusterStatus:
        """Name, quorum and members."""
        rows = self._wire.get("/cluster/status").data
        cluster = next((row for row in rows if row.get("type") == "cluster"), None)
        return ClusterStatus(
            name=cluster.get("name") if cluster else None,
            quorate=flag(cluster.get("quorate")) if cluster else True,
            nodes=tuple(sorted((str(row.get("name")), flag(row.get("online"))) for row in rows if row.get("type") == "node")),
            raw=tuple(rows),
        )

    def nodes(self) -> Answer[Node]:
        """All nodes, by name."""
        rows, source, at = self._resources("node")
        gaps = (
            ()
            if self.may("Sys.Audit", "/nodes")
            else (Gap(what="load of the nodes", why="the token may not see it", needs="Sys.Audit on /nodes"),)
        )
        return Answer(
            rows=tuple(sorted((parse.node(row) for row in rows), key=lambda node: node.name)), gaps=gaps, read_at=at, source=source
        )

    def guests(self) -> Answer[Guest]:
        """All guests that the token may see, by id; the state of those on a node that is offline is a gap."""
        return self.resources()[1]

    def guest_columns(self) -> Columns:
        """All guests that the token may see, as raw columns: what tables of thousands of guests are made from."""
        reply = self._wire.get("/cluster/resources", {"type": "vm"}, decode=bulk.guest_columns)
        self._simulated = reply.simulated
        offline, hosts = self._offline(), reply.data["node"]
        silent = {node for node, state in zip(hosts, reply.data["status"], strict=True) if state == "unknown"}
        return Columns(
            columns=reply.data,
            gaps=(*self._guest_gaps(), *_lost(silent | offline.intersection(hosts), offline)),
            read_at=self._clock.now(),
            source=f"{reply.endpoint} /cluster/resources",
        )

    def storages(self) -> Answer[Storage]:
        """All storages, one row per node; those of a node that is offline are a gap."""
        nodes, _, found = self.resources()
        gaps = () if self.may("Datastore.Audit", "/storage") else (self._gap("some storages", "Datastore.Audit on /storage"),)
        away = sorted({node.name for node in nodes.rows if node.status == "offline"} & {row.node for row in found.rows})
        dead = (Gap(what=f"state of the storages on {name}", why="the node is offline; what is shown is old") for name in away)
        return replace(found, gaps=(*gaps, *dead))

    def resources(self) -> tuple[Answer[Node], Answer[Guest], Answer[Storage]]:
        """Nodes, guests and storages of one answer, so that they fit together."""
        rows, source, at = self._resources(None)
        by: dict[str, list[Any]] = {"node": [], "guest": [], "storage": []}
        for row in rows:
            kind = "guest" if row.get("type") in ("qemu", "lxc", "openvz") else row.get("type")
            if kind in by:
                by[kind].append(row)
        nodes = tuple(sorted(map(parse.node, by["node"]), key=lambda node: node.name))
        guests = tuple(sorted(map(parse.guest, by["guest"]), key=lambda guest: guest.vmid))
        offline = {node.name for node in nodes if node.status == "offline"}
        return (
            Answer(rows=nodes, read_at=at, source=source),
            Answer(rows=guests, gaps=(*self._guest_gaps(), *_silent(guests, offline)), read_at=at, source=source),
            Answer(
                rows=tuple(sorted(map(parse.storage, by["storage"]), key=lambda item: (item.name, item.node))), read_at=at, source=source
            ),
        )

    def tasks(
        self, *, node: str | None = None, vmid: int | None = None, since: datetime | None = None, errors: bool = False, limit: int = 200
    ) -> Answer[Task]:
        """Tasks, newest first: recent ones of all nodes, or with ``node`` (or any filter) from the nodes' own archives."""
        if node is None and vmid is None and since is None and not errors:
            recent = self.recent_tasks(limit=limit)
            lost = (Gap(what=f"tasks of {name}", why="the node is offline; what is shown is old") for name in sorted(self._offline()))
            return replace(recent, gaps=(_OLDER_TASKS, *lost, *recent.gaps))
        away: list[str] = []
        if node:
            names = [check_node(node)]
        else:
            rows_of_nodes = self.nodes().rows
            away = [row.name for row in rows_of_nodes if row.status == "offline"]
            names = [row.name for row in rows_of_nodes if row.status != "offline"]
        archived = self.tasks_of(names, vmid=vmid, since=since, errors=errors, limit=limit)
        return replace(
            archived, gaps=(*archived.gaps, *(Gap(what=f"tasks of {name}", why="the node is offline") for name in away), *self._task_gaps())
        )

    def recent_tasks(self, *, limit: int = 200) -> Answer[Task]:
        """The list that the cluster keeps, newest first: the last tasks of each node, however long ago they ended."""
        reply = self._wire.get("/cluster/tasks")
        found = [task for row in reply.data if (task := parse.task(row))]
        found.sort(key=lambda task: task.started, reverse=True)
        return Answer(
            rows=tuple(found[:limit]), gaps=self._task_gaps(), read_at=self._clock.now(), source=f"{reply.endpoint} /cluster/tasks"
        )

    def tasks_of(
        self, names: Sequence[str], *, vmid: int | None = None, since: datetime | None = None, errors: bool = False, limit: int = 200
    ) -> Answer[Task]:
        """Tasks of these nodes, newest first, from the nodes' own archives; a node that does not answer is a gap."""
        params: dict[str, str | int] = {"limit": limit, "source": "all"}
        if vmid is not None:
            params["vmid"] = vmid
        if since is not None:
            params["since"] = int(since.timestamp())
        if errors:
            params["errors"] = 1
        answers = self._each(names, lambda name: self._wire.get(f"/nodes/{name}/tasks", params), "tasks of")
        rows = [task for reply in answers.rows for row in reply.data if (task := parse.task(row))]
        rows.sort(key=lambda task: task.started, reverse=True)
        return Answer(
            rows=tuple(rows[:limit]),
            gaps=answers.gaps,
            read_at=self._clock.now(),
            source=f"/nodes/{{{', '.join(names)}}}/tasks",
        )

    def task_outcome(self, upid: Upid) -> Outcome:
        """How a task stands."""
        data = self._wire.get(f"{upid.path}/status").data
        return Outcome.of(data.get("status"), data.get("exitstatus"))

    def task_log(self, upid: Upid, *, start: int = 0, limit: int = 500) -> tuple[tuple[str, ...], int]:
        """Lines of a task's log from ``start`` on, and how many there are in all."""
        reply = self._wire.get(f"{upid.path}/log", {"start": start, "limit": limit})
        lines = tuple(str(row.get("t") or "") for row in reply.data)
        if lines == ("no content",):
            lines = ()
        return lines, reply.total if reply.total is not None else start + len(lines)

    def node_time_s(self, node: str) -> int:
        """The node's own clock, Unix time in seconds."""
        return int(self._wire.get(f"/nodes/{check_node(node)}/time").data["time"])

    def node_status(self, node: str) -> dict[str, Any]:
        """Everything a node says about itself (``/nodes/{node}/status``)."""
        return dict(self._wire.get(f"{NodeRef(node).path}/status").data)

    def guest_config(self, ref: GuestRef) -> dict[str, Any]:
        """The configuration with pending values applied; ``digest`` names this version of it."""
        return dict(self._wire.get(f"{ref.path}/config").data)

    def guest_status(self, ref: GuestRef) -> dict[str, Any]:
        """The live status (``status/current``), not delayed by the broadcast."""
        return dict(self._wire.get(f"{ref.path}/status/current").data)

    def snapshots(self, ref: GuestRef) -> tuple[Snapshot, ...]:
        """The guest's snapshots, oldest first."""
        rows = self._wire.get(f"{ref.path}/snapshot").data
        found = [snap for row in rows if (snap := parse.snapshot(row))]
        return tuple(sorted(found, key=lambda snap: (snap.created is None, snap.created, snap.name)))

    def can_snapshot(self, ref: GuestRef) -> bool:
        """Whether the guest's storages can take a snapshot."""
        return flag(self._wire.get(f"{ref.path}/feature", {"feature": "snapshot"}).data.get("hasFeature"))

    def migrate_preconditions(self, ref: GuestRef, target: str) -> dict[str, Any]:
        """What Proxmox VE says about moving the guest to ``target``; empty for containers of versions that do not answer it."""
        params = {"target": check_node(target)}
        return dict(self._wire.get(f"{ref.path}/migrate", params).data or {})

    def series(self, subject: GuestRef | NodeRef | StorageRef, timeframe: Timeframe = "hour", *, highest: bool = False) -> Series:
        """Measurements that Proxmox VE keeps itself (RRD): averages per step, or the highest; missing values are ``None``."""
        reply = self._wire.get(f"{subject.path}/rrddata", {"timeframe": timeframe, "cf": "MAX" if highest else "AVERAGE"})
        rows = [row for row in reply.data if "time" in row]
        names = sorted({key for row in rows for key in row if key != "time"})
        times = tuple(from_epoch_s(int(row["time"])) for row in rows)
        step = int((times[1] - times[0]).total_seconds()) if len(times) > 1 else 60
        columns = {_RRD_UNITS.get(name, name): tuple(fraction(row.get(name)) for row in rows) for name in names}
        return Series(subject=subject.subject, source=f"PVE RRD {reply.endpoint} {subject.path}", step_s=step, times=times, columns=columns)

    def backups(self, *, storage: str | None = None) -> Answer[Backup]:
        """Backup archives of all storages that keep some; a shared storage is read once."""
        if storage is not None:
            check_storage(storage)
        nodes, _, storages = self.resources()
        online = {node.name for node in nodes.rows if node.status != "offline"}
        gaps: list[Gap] = []
        chosen: dict[tuple[str, str], Storage] = {}
        for row in storages.rows:
            if "backup" not in row.content or (storage and row.name != storage):
                continue
            if row.node not in online or row.status != "available":
                if not row.shared or not any(
                    other.name == row.name and other.status == "available" and other.node in online for other in storages.rows
                ):
                    gaps.append(Gap(what=f"backups in {row.name} on {row.node}", why="the storage is not available there"))
                continue
            chosen.setdefault((row.name, "" if row.shared else row.node), row)
        if storage and not any(row.name == storage for row in storages.rows):
            known = ", ".join(sorted({row.name for row in storages.rows})) or "none"
            raise InputError(f"There is no storage called {storage}.", hint=f"Known: {known}.")
        answers = self._each(
            list(chosen.values()),
            lambda row: [parse.backup(item, row.name) for item in self._wire.get(f"{row.ref.path}/content", {"content": "backup"}).data],
            "backups in",
        )
        gaps.extend(answers.gaps)
        gaps.extend(
            self._gap(f"backups in {row.name}", f"Datastore.AllocateSpace on /storage/{row.name} and VM.Backup on the guests")
            for row in chosen.values()
            if not (self.may("Datastore.AllocateSpace", f"/storage/{row.name}") or self.may("Datastore.Allocate", f"/storage/{row.name}"))
        )
        rows = [item for rows in answers.rows for item in rows]
        rows.sort(key=lambda item: (item.created is not None, item.created), reverse=True)
        return Answer(
            rows=tuple(rows),
            gaps=tuple(gaps),
            read_at=self._clock.now(),
            source=f"content of {', '.join(sorted({key[0] for key in chosen})) or 'no storage'}",
        )

    def _resources(self, kind: str | None) -> tuple[list[dict[str, Any]], str, datetime]:
        reply: Reply = self._wire.get("/cluster/resources", {"type": kind} if kind else None)
        self._simulated = reply.simulated
        return reply.data, f"{reply.endpoint} /cluster/resources", self._clock.now()

    def _offline(self) -> set[str]:
        return {str(row.get("node")) for row in self._resources("node")[0] if row.get("status") == "offline"}

    def _guest_gaps(self) -> tuple[Gap, ...]:
        return () if self.may("VM.Audit", "/vms") else (self._gap("some guests", "VM.Audit on /vms"),)

    def _task_gaps(self) -> tuple[Gap, ...]:
        return () if self.may("Sys.Audit", "/nodes") else (self._gap("tasks of others", "Sys.Audit on /nodes"),)

    def may(self, privilege: str, path: str) -> bool:
        """Whether the token has a privilege on a path; yes where the server cannot tell."""
        try:
            return self.privileges().has(privilege, path)
        except ApiError:
            return True  # a server that cannot tell is not called partial for it

    @staticmethod
    def _gap(what: str, needs: str) -> Gap:
        return Gap(what=what, why="the token may not see all of them", needs=needs)

    def _each(self, items: Sequence[Any], read: Callable[[Any], T], what: str) -> Answer[T]:
        """Read each item, several at once; one that fails becomes a gap. If all fail, the first error is raised."""
        if not items:
            return Answer(rows=(), read_at=self._clock.now(), source="")
        results = each_of(items, read, _AT_ONCE)
        failed = [(item, got) for item, got in zip(items, results, strict=True) if isinstance(got, PveopsError)]
        if len(failed) == len(items):
            raise failed[0][1]
        gaps = tuple(
            Gap(what=f"{what} {getattr(item, 'ref', item)}", why=err.message, needs=err.hint if isinstance(err, Forbidden) else "")
            for item, err in failed
        )
        return Answer(
            rows=tuple(got for got in results if not isinstance(got, PveopsError)), gaps=gaps, read_at=self._clock.now(), source=""
        )
