"""Reads what the page shows. One look serves all who watch; slow things are read less often. Blocks: call it from a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from pveops.app.ops import Ops
from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import PveopsError
from pveops.clients.executor import ExecutorClient
from pveops.model.messages import ExecutorInfo
from pveops.model.refs import NodeRef
from pveops.model.resources import Answer, Backup, ClusterStatus, Guest, Node, Storage
from pveops.model.tasks import Task

T = TypeVar("T")
REFRESH_S = 10.0
_MINUTE_S = 60.0
_BACKUPS_S = 300.0
_FAILED_SINCE = timedelta(hours=24)
_AT_ONCE = 4
_TASKS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at the cluster and its executor. What could not be read is the error that says why."""

    at: datetime
    cluster: str
    simulated: bool
    nodes: Answer[Node]
    guests: Answer[Guest]
    storages: Answer[Storage]
    status: ClusterStatus | PveopsError
    tasks: Answer[Task] | PveopsError
    failed: Answer[Task] | PveopsError
    backups: Answer[Backup] | PveopsError
    cpu_hour: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """CPU in use by node, as fractions, oldest first."""
    executor: ExecutorInfo | PveopsError


@dataclass(slots=True)
class _Slow:
    """Something that is read again only after a while."""

    every_s: float
    read_s: float | None = None
    value: object = None


class Watcher:
    """Looks, again and again."""

    def __init__(self, ops: Ops, *, clock: Clock | None = None) -> None:
        self.ops = ops
        self._clock = clock or SystemClock()
        self._failed, self._backups, self._series = _Slow(_MINUTE_S), _Slow(_BACKUPS_S), _Slow(_MINUTE_S)

    def client(self) -> ExecutorClient:
        """The executor, if one answers; none is started from here.

        Raises:
            ExecutorUnavailable: nobody answers.
            ConfigError: we have no credential.
        """
        return self.ops.executors.client(start=False)

    def look(self) -> Seen:
        """Everything that the page shows, as it is now.

        Raises:
            TransportError, ApiError: the cluster cannot be read at all.
        """
        reader = self.ops.reader
        nodes, guests, storages = reader.resources()
        online = [node.name for node in nodes.rows if node.status == "online"]
        now = self._clock.now()
        return Seen(
            at=now,
            cluster=self.ops.name,
            simulated=reader.simulated(),
            nodes=nodes,
            guests=guests,
            storages=storages,
            status=attempt(reader.cluster_status),
            tasks=attempt(lambda: reader.recent_tasks(limit=_TASKS)),
            failed=self._every(self._failed, lambda: reader.tasks(since=now - _FAILED_SINCE, errors=True, limit=100)),
            backups=self._every(self._backups, reader.backups),
            cpu_hour=self._cpu(online),
            executor=attempt(lambda: self.client().info()),
        )

    def _cpu(self, online: list[str]) -> Mapping[str, tuple[float | None, ...]]:
        def read() -> dict[str, tuple[float | None, ...]]:
            with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
                answers = pool.map(lambda name: attempt(lambda: self.ops.reader.series(NodeRef(name), "hour")), online)
                return {
                    name: answer.columns.get("cpu_fraction", ())
                    for name, answer in zip(online, answers, strict=True)
                    if not isinstance(answer, PveopsError)
                }

        found = self._every(self._series, read)
        return {} if isinstance(found, PveopsError) else found

    def _every(self, slow: _Slow, read: Callable[[], T]) -> T | PveopsError:
        now_s = self._clock.monotonic_s()
        if slow.read_s is None or now_s - slow.read_s >= slow.every_s or isinstance(slow.value, PveopsError):
            slow.value, slow.read_s = attempt(read), now_s
        return slow.value  # type: ignore[return-value] # holds what `read` gave


def attempt(read: Callable[[], T]) -> T | PveopsError:
    """What was read, or why it could not be."""
    try:
        return read()
    except PveopsError as err:
        return err
