"""What a cluster holds, as one answer showed it. An absent key is ``None``: not known, not zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pveops.model.refs import GuestKind, GuestRef, NodeRef, StorageRef

T = TypeVar("T")

NodeStatus = Literal["online", "offline", "unknown"]
GuestStatus = Literal["running", "stopped", "paused", "suspended", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node. CPU is a fraction of all its threads."""

    name: str
    status: NodeStatus
    cpu_fraction: float | None = None
    cpus: int | None = None
    mem_bytes: int | None = None
    maxmem_bytes: int | None = None
    disk_bytes: int | None = None
    maxdisk_bytes: int | None = None
    uptime_s: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> NodeRef:
        """Its checked name."""
        return NodeRef(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A virtual machine or container. CPU is a fraction of its own cores; counters count since its start."""

    vmid: int
    kind: GuestKind
    node: str
    name: str | None = None
    status: GuestStatus = "unknown"
    template: bool = False
    lock: str | None = None
    pool: str | None = None
    tags: tuple[str, ...] = ()
    hastate: str | None = None
    cpu_fraction: float | None = None
    cpus: int | None = None
    mem_bytes: int | None = None
    maxmem_bytes: int | None = None
    disk_bytes: int | None = None
    maxdisk_bytes: int | None = None
    uptime_s: int | None = None
    netin_bytes: int | None = None
    netout_bytes: int | None = None
    diskread_bytes: int | None = None
    diskwrite_bytes: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> GuestRef:
        """Its checked id, kind and node."""
        return GuestRef(self.vmid, self.kind, self.node)

    @property
    def label(self) -> str:
        """``231 web-12``, or ``231`` where the name is not known."""
        return f"{self.vmid} {self.name}" if self.name else str(self.vmid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A storage as one node sees it; a shared one appears once per node."""

    name: str
    node: str
    type: str | None = None
    status: Literal["available", "unknown"] = "unknown"
    shared: bool = False
    content: tuple[str, ...] = ()
    used_bytes: int | None = None
    total_bytes: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> StorageRef:
        """Its checked node and id."""
        return StorageRef(self.node, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup archive in a storage."""

    volid: str
    storage: str
    vmid: int | None
    kind: GuestKind | None
    created: datetime | None
    size_bytes: int | None
    format: str | None = None
    notes: str | None = None
    protected: bool = False
    verified: Literal["ok", "failed"] | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot of a guest (the row ``current`` of Proxmox VE is not one)."""

    name: str
    description: str = ""
    created: datetime | None = None
    with_memory: bool = False
    parent: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """Name, votes and members. A node that is in no cluster has name ``None`` and is always quorate."""

    name: str | None
    quorate: bool
    nodes: tuple[tuple[str, bool], ...]
    """(node, online) pairs."""
    raw: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A part of an answer that is missing, and why."""

    what: str
    why: str
    needs: str = ""
    """The privilege that would fill it, where that is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """Rows with their completeness.

    A ``partial`` answer names its gaps; it is never shown as "none".
    """

    rows: tuple[T, ...]
    gaps: tuple[Gap, ...] = ()
    read_at: datetime
    source: str

    @property
    def partial(self) -> bool:
        """Whether something is missing."""
        return bool(self.gaps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Rows turned into columns, by the names and with the values of Proxmox VE; an absent value is ``None``."""

    columns: Mapping[str, Sequence[Any]]
    gaps: tuple[Gap, ...] = ()
    read_at: datetime
    source: str

    @property
    def partial(self) -> bool:
        """Whether something is missing."""
        return bool(self.gaps)
