"""What answers need from the outside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from pveops.model.matrix import Matrix
from pveops.model.refs import GuestRef, NodeRef, StorageRef
from pveops.model.resources import Answer, Backup, ClusterStatus, Guest, Node, Storage
from pveops.model.series import Series
from pveops.model.tasks import Task, Upid


class Cluster(Protocol):
    """Reads one cluster. Every method may raise ``TransportError`` or ``ApiError``."""

    def resources(self) -> tuple[Answer[Node], Answer[Guest], Answer[Storage]]:
        """Nodes, guests and storages of one answer."""
        ...

    def cluster_status(self) -> ClusterStatus:
        """Quorum and members."""
        ...

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The data of any read of the API."""
        ...

    def may(self, privilege: str, path: str) -> bool:
        """Whether the token has a privilege on a path."""
        ...

    def tasks(
        self, *, node: str | None = None, vmid: int | None = None, since: datetime | None = None, errors: bool = False, limit: int = 200
    ) -> Answer[Task]:
        """Tasks, newest first."""
        ...

    def task_log(self, upid: Upid, *, start: int = 0, limit: int = 500) -> tuple[tuple[str, ...], int]:
        """Lines of its log."""
        ...

    def backups(self, *, storage: str | None = None) -> Answer[Backup]:
        """Backup archives."""
        ...

    def series(self, subject: GuestRef | NodeRef | StorageRef, timeframe: Any = "hour", *, highest: bool = False) -> Series:
        """Measurements."""
        ...


class MetricsServer(Protocol):
    """A Prometheus, where one is set. Every method may raise ``TransportError``."""

    @property
    def source(self) -> str:
        """Who answers, for people."""
        ...

    def range(self, expression: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        """An expression over a span."""
        ...
