"""What a cluster held and when: versions of things over time, the tasks that changed them, the looks that saw them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from pveops.base.clock import from_epoch_s
from pveops.model.resources import Gap

Kind = Literal["guest", "node", "storage", "config", "snapshots", "addresses", "backups", "disks"]
"""The first three come with one list of the whole cluster, the others are details: read thing by thing."""
Detail = Literal["config", "snapshots", "addresses", "backups", "disks"]
DETAILS: tuple[Detail, ...] = get_args(Detail)
OF_GUESTS: frozenset[Kind] = frozenset({"guest", "config", "snapshots", "addresses"})
"""Kinds whose key is the id of a guest. The key of ``node`` and ``disks`` is a node, of ``storage`` ``node/storage``, of ``backups`` the storage,
with its node in front where it is not shared."""

STILL_MS = 1 << 62
"""The end of a version that still holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A thing as it was just read. ``digest`` tells this state from others; ``body`` is JSON."""

    kind: Kind
    key: str
    digest: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A state of a thing and the span in which it held. Times are Unix milliseconds (UTC).

    It was first seen at ``from_ms``; the look before that was at ``after_ms``, so the change happened between the two (0: it was there
    when the inventory began). ``to_ms`` is the look that saw it changed or gone, ``STILL_MS`` where it still holds.
    """

    cluster: str
    kind: Kind
    key: str
    digest: str
    body: Any
    after_ms: int
    from_ms: int
    to_ms: int = STILL_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A task of Proxmox VE, as it is kept: ``guest`` is 0 where it is about none, ``ended_ms`` 0 while it runs.

    Start and end are by the node's clock, which may be off; ``seen_ms`` and ``closed_ms`` are the looks that first saw it and its end.
    """

    upid: str
    node: str
    type: str
    guest: int
    user: str
    started_ms: int
    ended_ms: int = 0
    status: str = ""
    seen_ms: int = 0
    closed_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Looks in a row that found the same gaps: the first, the last (Unix milliseconds), how many, with how many requests."""

    cluster: str
    first_ms: int
    last_ms: int
    looks: int
    requests: int
    changes: int
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field that became another, seen at ``at_ms``. ``by`` and ``upid`` tell the task that did it, where the task log knows one."""

    cluster: str
    at_ms: int
    after_ms: int
    kind: Kind
    key: str
    change: Literal["added", "changed", "gone"]
    field: str = ""
    before: str | None = None
    after: str | None = None
    name: str | None = None
    node: str | None = None
    by: str | None = None
    task: str | None = None
    upid: str | None = None

    @property
    def vmid(self) -> int | None:
        """The guest that it is about, if any."""
        return int(self.key) if self.kind in OF_GUESTS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one look did about one kind: things known, read, found changed (or new, or gone), left for later."""

    what: str
    known: int = 0
    read: int = 0
    changed: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One look at a cluster. Times in Unix milliseconds and seconds; ``per_node``: requests by the node that they name."""

    cluster: str
    at_ms: int
    duration_s: float
    requests: int
    source: str
    counts: Sequence[Counted]
    gaps: tuple[Gap, ...] = ()
    per_node: Mapping[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0
    """Processor time of this process meanwhile."""

    @property
    def at(self) -> datetime:
        """When it began."""
        return from_epoch_s(self.at_ms / 1000)
