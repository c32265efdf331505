"""What tools need from the outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pveops.answers.ports import MetricsServer
from pveops.base.clock import Clock
from pveops.model.facts import Facts
from pveops.model.refs import GuestRef, NodeRef, StorageRef
from pveops.model.resources import Answer, Backup, ClusterStatus, Guest, Node, Snapshot, Storage
from pveops.model.series import Series
from pveops.model.tasks import Outcome, Task, Upid


class Reader(Protocol):
    """Reads one cluster. Every method may raise ``TransportError`` or ``ApiError``."""

    def version(self) -> str:
        """The version text."""
        ...

    def simulated(self) -> bool:
        """Whether the simulated cluster answers."""
        ...

    def cluster_status(self) -> ClusterStatus:
        """Quorum and members."""
        ...

    def nodes(self) -> Answer[Node]:
        """All nodes."""
        ...

    def guests(self) -> Answer[Guest]:
        """All guests."""
        ...

    def storages(self) -> Answer[Storage]:
        """All storages."""
        ...

    def resources(self) -> tuple[Answer[Node], Answer[Guest], Answer[Storage]]:
        """All three of one answer."""
        ...

    def tasks(
        self, *, node: str | None = None, vmid: int | None = None, since: datetime | None = None, errors: bool = False, limit: int = 200
    ) -> Answer[Task]:
        """Tasks, newest first."""
        ...

    def task_outcome(self, upid: Upid) -> Outcome:
        """How a task stands."""
        ...

    def task_log(self, upid: Upid, *, start: int = 0, limit: int = 500) -> tuple[tuple[str, ...], int]:
        """Lines of its log."""
        ...

    def guest_config(self, ref: GuestRef) -> dict[str, Any]:
        """Configuration."""
        ...

    def guest_status(self, ref: GuestRef) -> dict[str, Any]:
        """Live status."""
        ...

    def snapshots(self, ref: GuestRef) -> tuple[Snapshot, ...]:
        """Snapshots, oldest first."""
        ...

    def backups(self, *, storage: str | None = None) -> Answer[Backup]:
        """Backup archives."""
        ...

    def series(self, subject: GuestRef | NodeRef | StorageRef, timeframe: Any = "hour", *, highest: bool = False) -> Series:
        """Measurements."""
        ...

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The data of any read of the API."""
        ...

    def may(self, privilege: str, path: str) -> bool:
        """Whether the token has a privilege on a path."""
        ...

    def node_status(self, node: str) -> dict[str, Any]:
        """Everything a node says about itself."""
        ...

    def facts(self, subjects: Iterable[str]) -> Facts:
        """Named facts, fresh."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """What a tool gets: a cluster to read, its name, a clock, and a server of measurements where one is set."""

    cluster: str
    reader: Reader
    clock: Clock
    metrics: MetricsServer | None = None
