"""The cluster as data: nodes, guests, storages, pools, identities, options, and the simulated moment that all of it belongs to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pveops.sim.errors import failed
from pveops.sim.state.access import Access
from pveops.sim.state.agenda import Agenda
from pveops.sim.state.configs import Configs
from pveops.sim.state.console import Console
from pveops.sim.state.guest import Guest
from pveops.sim.state.identity import Identities
from pveops.sim.state.ills import Ills
from pveops.sim.state.inside import Inside
from pveops.sim.state.journal import INFO, Event, Journal
from pveops.sim.state.node import Cast, Node
from pveops.sim.state.storage import Storage

RASTER_S = 10
"""Seconds between two broadcasts of the nodes; views of the whole cluster are as old as the last one."""

_LOG_ROWS = 500


@dataclass(slots=True)
class Pool:
    """A resource pool. A pool named ``a/b`` lies in pool ``a``."""

    name: str
    comment: str = ""
    vmids: set[int] = field(default_factory=set)
    storages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class JobVersion:
    """The options of a backup job from one moment on; ``None`` when it is deleted then."""

    since_s: float
    options: dict[str, Any] | None


@dataclass(slots=True)
class BackupJob:
    """A backup job with its history: a run of the past follows from the options that were valid then."""

    name: str
    versions: list[JobVersion]

    def at(self, moment_s: float) -> dict[str, Any] | None:
        """The options at that moment; ``None`` before it was made and after it was deleted."""
        found = None
        for version in self.versions:
            if version.since_s <= moment_s:
                found = version.options
        return found

    @property
    def options(self) -> dict[str, Any] | None:
        """The options now."""
        return self.versions[-1].options


@dataclass(slots=True)
class HaResource:
    """A guest that high availability manages."""

    sid: str
    state: str = "started"
    options: dict[str, Any] = field(default_factory=dict)
    phase: str = ""
    """What the manager does with it while its node is lost: ``freeze``, ``fence``, ``recovery``, ``error``; empty otherwise."""


class LogRow(NamedTuple):
    """A line of the cluster log."""

    uid: int
    node: str
    time_s: int
    user: str
    tag: str
    pid: int
    message: str


class Cluster:
    """All state. ``now_s`` is the simulated moment (seconds since the epoch) up to which everything planned has happened."""

    def __init__(self, name: str, seed: int, now_s: float) -> None:
        self.name = name
        self.seed = seed
        self.now_s = now_s
        self.agenda = Agenda()
        self.identities = Identities.fresh()
        self.access = Access(self.identities, self.pool_of_path)
        self.nodes: dict[str, Node] = {}
        self.guests: dict[int, Guest] = {}
        self.former: dict[int, tuple[Guest, float]] = {}
        """Guests that are gone and when they went: their backups and past tasks stay."""
        self.storages: dict[str, Storage] = {}
        self.pools: dict[str, Pool] = {}
        self.backup_jobs: dict[str, BackupJob] = {}
        self.replication: dict[str, dict[str, Any]] = {}
        self.ha: dict[str, HaResource] = {}
        self.bare = False
        """Whether empty processes stand in for virtual machines: no agent answers, no device can be plugged, what waits for a start goes on waiting."""
        self.calendar_fault = ""
        """What the host says instead of reading a schedule; empty where it can."""
        self.inside: dict[int, Inside] = {}
        """What was done inside of guests, by id."""
        self.consoles: dict[int, Console] = {}
        """Consoles that wait or are open, by port."""
        self.ha_disarmed = ""
        """What happens to managed guests while high availability is switched off (``freeze``, ``ignore``); empty when it is not."""
        self.options: dict[str, Any] = {}
        self.configs = Configs()
        """Firewall, SDN and the other files of the cluster."""
        self.log: deque[LogRow] = deque(maxlen=_LOG_ROWS)
        self.journal = Journal()
        self.ills = Ills()
        self.free_bytes: Callable[[Storage, str], int] = lambda storage, _: storage.total
        """How much room there is on a storage as a node sees it."""
        self.watchers: list[Callable[[], None]] = []
        """Called after each thing that happens by plan, and before time goes on after other changes."""
        self._noticed = 0
        self.asked = ""
        """The node whose address the client used; empty when there is one address for all."""
        self.generation = 0
        """Grows with each change of what exists or where it is."""
        self.casts: dict[int, Cast] = {}
        """Guests that changed since the last broadcast, with what it said."""
        self.raster_s = _raster(now_s)
        self.former_volids: set[str] = set()
        """Volume ids of scheduled backups that somebody deleted."""
        self.volume_marks: dict[str, dict[str, Any]] = {}
        """Notes and protection that somebody gave to scheduled backups, by volume id."""
        self._pool_of_guest: dict[int, str] = {}
        self._pool_of_storage: dict[str, str] = {}
        self._log_uid = 0

    @property
    def local_node(self) -> str:
        """The node that a client talks to: the one it asked, or the first that can be reached."""
        if self.asked:
            return self.asked
        up = (name for name, node in self.nodes.items() if node.reachable and node.online)
        return next(up, next(iter(self.nodes)))

    @property
    def quorate(self) -> bool:
        """Whether more than half of the votes are there."""
        return sum(node.online for node in self.nodes.values()) * 2 > len(self.nodes)

    def advance(self, until_s: float) -> None:
        """Let everything happen that is planned until then, in order. Time never goes back."""
        if self._noticed != self.generation:
            self._notice()
        while (entry := self.agenda.due(until_s)) is not None:
            moment_s, action = entry
            self._turn(max(moment_s, self.now_s))
            action()
            self._notice()
        self._turn(max(until_s, self.now_s))

    def _notice(self) -> None:
        for watch in self.watchers:
            watch()
        self._noticed = self.generation

    def _turn(self, moment_s: float) -> None:
        self.now_s = moment_s
        raster_s = _raster(moment_s)
        if raster_s > self.raster_s:
            self.raster_s = raster_s
            self.casts.clear()

    def before_change(self, guest: Guest, *, known: bool = True) -> None:
        """Call before a guest changes in what nodes broadcast about it; ``known`` is false for one that is new."""
        self.generation += 1
        if guest.vmid not in self.casts:
            self.casts[guest.vmid] = Cast(
                known,
                guest.name,
                guest.cpus,
                guest.maxmem,
                guest.maxdisk,
                guest.template,
                guest.running,
                guest.since_s,
            )

    def guest(self, kind: str, node: str, vmid: int) -> Guest:
        """The guest of that kind on that node.

        Raises:
            RefusedError: 500, as the API says when the configuration file is not there.
        """
        found = self.guests.get(vmid)
        if found is None or found.kind != kind or found.node != node:
            folder = "qemu-server" if kind == "qemu" else "lxc"
            raise failed(f"Configuration file 'nodes/{node}/{folder}/{vmid}.conf' does not exist")
        return found

    def past_guest(self, vmid: int) -> Guest | None:
        """The guest of that id, even when it is gone."""
        found = self.guests.get(vmid)
        return found or (self.former[vmid][0] if vmid in self.former else None)

    def guests_on(self, node: str) -> Iterator[Guest]:
        """The guests of a node."""
        return (guest for guest in self.guests.values() if guest.node == node)

    def storage(self, name: str) -> Storage:
        """The storage of that name.

        Raises:
            RefusedError: 500, there is none.
        """
        found = self.storages.get(name)
        if found is None:
            raise failed(f"storage '{name}' does not exist")
        return found

    def pool_of(self, vmid: int) -> str | None:
        """The pool of a guest."""
        return self._pool_of_guest.get(vmid)

    def pool_of_path(self, path: str) -> str | None:
        """The pool of an ACL path of a guest or storage."""
        parts = path.split("/")
        if len(parts) != 3:
            return None
        if parts[1] == "vms" and parts[2].isdigit():
            return self._pool_of_guest.get(int(parts[2]))
        return self._pool_of_storage.get(parts[2]) if parts[1] == "storage" else None

    def pools_changed(self) -> None:
        """Call after pools or their members change."""
        self._pool_of_guest = {vmid: pool.name for pool in self.pools.values() for vmid in pool.vmids}
        self._pool_of_storage = {name: pool.name for pool in self.pools.values() for name in pool.storages}
        self.access.forget()
        self.generation += 1

    def note(self, node: str, user: str, message: str, *, tag: str = "pvedaemon", pid: int = 1100, at_s: float | None = None) -> None:
        """Add a line to the cluster log, of now unless a moment is given."""
        self._log_uid += 1
        moment_s = self.now_s if at_s is None else at_s
        self.log.append(LogRow(self._log_uid, node, int(moment_s), user, tag, pid, message))
        if at_s is None:
            self.emit(node, tag, f"<{user}> {message}", pid=pid)

    def emit(self, node: str, tag: str, message: str, *, pid: int = 0, severity: int = INFO) -> None:
        """Let a program of a node write a line into the journal; a process id that nobody gave is that of the daemon."""
        self.journal.add(Event(self.now_s, node, tag, pid or 700 + sum(tag.encode()) % 1300, severity, message))


def _raster(moment_s: float) -> int:
    return int(moment_s // RASTER_S) * RASTER_S
