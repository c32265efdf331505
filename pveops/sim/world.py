"""The world: one object that holds the cluster, its curves, its tasks, its past and its gate. There is no other state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pveops.sim.physics.crowd import Crowd, Hold
from pveops.sim.physics.space import SpaceBook
from pveops.sim.release import EIGHT, NINE, Release
from pveops.sim.seed.build import Secrets, build
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.identity import Principal
from pveops.sim.state.tickets import Gate
from pveops.sim.tasks.chronicle import Chronicle
from pveops.sim.tasks.engine import Engine, Work
from pveops.sim.tasks.fencing import Fencing
from pveops.sim.tasks.habits import add_history
from pveops.sim.tasks.keeping import Keeper
from pveops.sim.tasks.node_life import Room
from pveops.sim.tasks.schedule import Schedule
from pveops.sim.tasks.task import Task

if TYPE_CHECKING:
    from pveops.sim.certs import Desk
    from pveops.sim.physics.load import Load

REPOSITORY = "simulated"


class World:
    """Everything that exists while the process runs.

    Args:
        description: of the cluster.
        seed: chooses what the description leaves open.
        start_s: the simulated moment of the start, seconds since the epoch.
        secrets: makes passwords and token secrets from names.
        ticket_key: signs tickets.
        release: the version of Proxmox VE that is simulated.
    """

    def __init__(
        self,
        description: dict[str, Any],
        *,
        seed: int,
        start_s: float,
        secrets: Secrets,
        ticket_key: bytes,
        release: Release = NINE,
    ) -> None:
        self.release = release
        self.cluster: Cluster = build(description, seed=seed, start_s=start_s, secrets=secrets, old=release is EIGHT)
        self._start_s = start_s
        self.space = SpaceBook(self.cluster, start_s)
        self.cluster.free_bytes = lambda storage, node: self.space.storage(storage, node, self.cluster.now_s).avail
        self.engine = Engine(self.cluster)
        self.schedule = Schedule(self.cluster)
        self.chronicle = Chronicle(self.cluster, self.engine, self.schedule, start_s)
        self.room = Room(self.cluster, self.engine, self.schedule)
        self.fencing = Fencing(self.room)
        self.keeper = Keeper(self.room)
        self.crowd = Crowd(self.cluster, self._hold)
        if description.get("habits"):
            add_history(self.cluster, self.engine, self.schedule.tasks_since(self.cluster.local_node, start_s - 86400))
        self.gate = Gate(self.cluster.identities, ticket_key)
        self.stopped_services: dict[str, set[str]] = {}
        """Services that somebody stopped, by node."""
        self.certificates: dict[str, dict[str, Any]] = {}
        """What the API tells about the certificate of each node."""
        self.custom_certificate: dict[str, Any] | None = None
        """The same of one that somebody uploaded; it is shown instead."""
        self.desk: Desk | None = None
        """Shows certificates, while a server runs."""
        self.caches: dict[Any, Any] = {}
        """Answers kept for one broadcast, by what they belong to."""

    @cached_property
    def load(self) -> Load:
        """The load curves of all guests."""
        from pveops.sim.physics.load import Load  # noqa: PLC0415 - numpy takes long to import; the cluster is ready before it is needed

        curves = Load(self.cluster.seed, self._start_s)
        curves.add_all(list(self.cluster.guests.values()))
        return curves

    def _hold(self, held: Mapping[int, Hold]) -> None:
        """These guests are held back from now on, and nobody else."""
        self.load.overlay.hold(held, self.cluster.now_s)
        self.caches.clear()

    @property
    def old(self) -> bool:
        """Whether this is Proxmox VE 8."""
        return self.release is EIGHT

    def busy(self, guest: Guest) -> float:
        """CPU use of a guest right now, as a fraction."""
        return self.load.samples([guest], self.cluster.now_s, [guest.since_s])[0].cpu if guest.running else 0.0

    def advance(self, until_s: float) -> None:
        """Let everything happen that is planned until that moment."""
        self.cluster.advance(until_s)

    def fork(self, node: str, kind: str, about: str, who: Principal, work: Work) -> str:
        """Start a task; its id is what the API answers."""
        return self.engine.spawn(node, kind, about, who, work).upid

    def past_tasks(self, node: str) -> list[Task]:
        """Tasks of a node that nobody started by hand: scheduled work up to now."""
        return self.schedule.tasks_on(node)

    def lock_of(self, guest: Guest) -> str:
        """The lock that a scheduled backup holds on a guest right now; empty when there is none."""
        return self.schedule.lock_of(guest)

    def lock_epoch(self) -> int:
        """A number that changes when scheduled backups move on; 0 while none runs."""
        return self.schedule.epoch()

    def add_guest(self, guest: Guest) -> None:
        """A guest is new."""
        self.cluster.before_change(guest, known=False)
        guests = self.cluster.guests
        guests[guest.vmid] = guest
        for vmid in [vmid for vmid in guests if vmid > guest.vmid]:
            guests[vmid] = guests.pop(vmid)  # views list guests by id
        self.load.add(guest)

    def remove_guest(self, guest: Guest) -> None:
        """A guest is gone."""
        self.cluster.before_change(guest)
        self.cluster.former[guest.vmid] = (guest, self.cluster.now_s)
        del self.cluster.guests[guest.vmid]
        self.load.remove(guest)
