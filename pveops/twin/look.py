"""A read-only look at a cluster: everything a seed is made of. Several requests at once, never many; what cannot be read is a gap."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from pveops.base.clock import Clock
from pveops.base.errors import ApiError, Forbidden
from pveops.model.refs import GuestRef, check_node, check_storage
from pveops.model.tasks import Upid
from pveops.twin.ports import Live

Row = dict[str, Any]

_AT_ONCE = 8
_TASKS_PER_NODE = 500
_TASKS_PER_GUEST = 50
_LOGS = 12
"""Logs of migrations that are read to learn what the network carries."""
_MIGRATIONS = ("qmigrate",)
_CLUSTER_VIEWS = {
    "/cluster/options": "options of the datacenter",
    "/storage": "definitions of storages",
    "/pools": "pools",
    "/cluster/ha/resources": "guests that high availability manages",
    "/cluster/replication": "replication jobs",
    "/cluster/backup": "backup jobs",
}


@dataclass(slots=True)
class Details:
    """What one guest says about itself."""

    config: Row
    pending: list[Row]
    status: Row
    snapshots: list[Row]


@dataclass(slots=True)
class Seen:
    """What was seen, as the API told it."""

    taken_s: float = 0.0
    """The cluster's own time, seconds since the epoch."""
    status: list[Row] = field(default_factory=list)
    resources: list[Row] = field(default_factory=list)
    views: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Row] = field(default_factory=dict)
    guests: dict[int, Details] = field(default_factory=dict)
    volumes: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    """By storage and node."""
    tasks: list[Row] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)
    """Lines by task."""
    gaps: list[str] = field(default_factory=list)
    reads: int = 0
    latency_s: float = 0.0
    """What one request takes, in the middle."""

    def rows(self, *kinds: str) -> list[Row]:
        """Rows of the view of the cluster."""
        return [row for row in self.resources if row.get("type") in kinds]


def look(live: Live, clock: Clock, *, vmids: Iterable[int] | None = None) -> Seen:
    """Look at the cluster. With ``vmids`` only these guests are asked for details; the others are known by their row.

    Raises:
        TransportError: no endpoint answers.
        ApiError: the view of the cluster cannot be read.
    """
    return _Looker(live, clock).look(None if vmids is None else frozenset(vmids))


class _Looker:
    """One look."""

    def __init__(self, live: Live, clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._lock = threading.Lock()
        self._took_s: list[float] = []
        self.seen = Seen()

    def look(self, vmids: frozenset[int] | None) -> Seen:
        seen = self.seen
        seen.resources = self._get("/cluster/resources")
        seen.status = self._try("members of the cluster", "/cluster/status") or []
        nodes = [check_node(str(row["node"])) for row in seen.rows("node") if row.get("status") == "online"]
        guests = [row for row in seen.rows("qemu", "lxc") if row.get("node") in nodes]
        details = [row for row in guests if vmids is None or row["vmid"] in vmids]
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            jobs = [pool.submit(self._view, path, what) for path, what in _CLUSTER_VIEWS.items()]
            jobs += [pool.submit(self._node, name, number == 0) for number, name in enumerate(nodes)]
            jobs += [pool.submit(self._guest, row) for row in details]
            if vmids is None:
                jobs += [pool.submit(self._volumes, row) for row in self._places(nodes)]
            else:
                jobs += [pool.submit(self._past, name, row["vmid"]) for name in nodes for row in details]
            for job in jobs:
                job.result()
            list(pool.map(self._log, self._migrations(vmids)))
        seen.tasks = list({row["upid"]: row for row in seen.tasks}.values())
        seen.latency_s = median(self._took_s)
        return seen

    def _get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        began_s = self._clock.monotonic_s()
        data = self._live.get(path, params)
        with self._lock:
            self._took_s.append(self._clock.monotonic_s() - began_s)
            self.seen.reads += 1
        return data

    def _try(self, what: str, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """Data, or none with a gap that says why."""
        try:
            return self._get(path, params)
        except ApiError as err:
            needs = f" (needs {err.hint})" if isinstance(err, Forbidden) and err.hint else ""
            with self._lock:
                self.seen.gaps.append(f"{what}: {err.message}{needs}")
            return None

    def _view(self, path: str, what: str) -> None:
        data = self._try(what, path)
        if data is not None:
            self.seen.views[path] = data

    def _node(self, name: str, first: bool) -> None:
        found = self._try(f"hardware of {name}", f"/nodes/{name}/status")
        if found is not None:
            self.seen.nodes[name] = found
        if first:
            told = self._try(f"clock of {name}", f"/nodes/{name}/time")
            self.seen.taken_s = float(told["time"]) if told else self._clock.now().timestamp()
        self._tasks(name, {"limit": _TASKS_PER_NODE})

    def _tasks(self, node: str, params: Mapping[str, str | int]) -> None:
        rows = self._try(f"past tasks of {node}", f"/nodes/{node}/tasks", params)
        with self._lock:
            self.seen.tasks.extend(rows or ())

    def _past(self, node: str, vmid: int) -> None:
        """Older tasks of a guest: those of the whole node may be too many to reach back to them."""
        self._tasks(node, {"limit": _TASKS_PER_GUEST, "vmid": vmid})

    def _guest(self, row: Row) -> None:
        ref = GuestRef(int(row["vmid"]), row["type"], str(row["node"]))
        what = f"guest {ref.vmid}"
        config = self._try(f"configuration of {what}", f"{ref.path}/config", {"current": 1})
        status = self._try(f"status of {what}", f"{ref.path}/status/current")
        if config is None or status is None:
            return
        pending = self._try(f"pending changes of {what}", f"{ref.path}/pending") or []
        snapshots = self._try(f"snapshots of {what}", f"{ref.path}/snapshot") or []
        self.seen.guests[ref.vmid] = Details(config, pending, status, snapshots)

    def _places(self, nodes: Sequence[str]) -> list[Row]:
        """Each storage once where it is shared, else once per node."""
        chosen: dict[tuple[str, str], Row] = {}
        for row in self.seen.rows("storage"):
            if row.get("node") in nodes and row.get("status") == "available":
                chosen.setdefault((row["storage"], "" if row.get("shared") else row["node"]), row)
        return list(chosen.values())

    def _volumes(self, row: Row) -> None:
        """What lies on a storage, backups aside: there may be thousands, and no plan moves them."""
        node, name = check_node(str(row["node"])), check_storage(str(row["storage"]))
        for kind in str(row.get("content", "")).split(","):
            if kind in ("images", "rootdir", "iso", "vztmpl"):
                found = self._try(f"{kind} in {name} on {node}", f"/nodes/{node}/storage/{name}/content", {"content": kind})
                with self._lock:
                    self.seen.volumes.setdefault((name, node), []).extend(found or ())

    def _migrations(self, vmids: frozenset[int] | None) -> list[Row]:
        """The newest migrations that went well, those of the wanted guests first."""
        wanted = {str(vmid) for vmid in vmids or ()}
        rows = {row["upid"]: row for row in self.seen.tasks if row.get("type") in _MIGRATIONS and row.get("status") == "OK"}
        order = sorted(rows.values(), key=lambda row: (str(row.get("id")) in wanted, int(row.get("starttime", 0))), reverse=True)
        return order[:_LOGS]

    def _log(self, row: Row) -> None:
        upid = Upid.parse(str(row["upid"]))
        rows = self._try(f"log of a past migration of {upid.id}", f"{upid.path}/log", {"limit": 500})
        if rows:
            self.seen.logs[upid.text] = [str(line.get("t") or "") for line in rows]
