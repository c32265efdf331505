"""What faults of the same victim share: of one guest, of one storage, and of backups."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial

from pveops.sim.faults.spec import Fault, Stage, Values
from pveops.sim.physics.crowd import disks_on, users_of
from pveops.sim.state import noise
from pveops.sim.state.guest import Guest
from pveops.sim.state.ills import BadBackup, Stall, StallKind
from pveops.sim.state.journal import ERROR
from pveops.sim.state.storage import Storage


class GuestFault(Fault):
    """Something is wrong with one guest (parameter ``vmid``)."""

    @property
    def guest(self) -> Guest | None:
        """The guest, while it is there."""
        return self.cluster.guests.get(self.values["vmid"])

    @property
    def component(self) -> str:
        """The guest, also when it is gone."""
        found = self.cluster.past_guest(self.values["vmid"])
        return found.ident if found else f"guest/{self.values['vmid']}"


class SpoiledBackups(Fault):
    """Backups go wrong as long as it lasts."""

    _bad: BadBackup | None = None

    def _spoil(self, bad: BadBackup) -> None:
        """From now on backups go wrong like that."""
        self._bad = bad
        self.cluster.ills.backups.append(bad)
        self.world.schedule.reconsider()

    def settle(self) -> None:
        """Backups go well again."""
        if self._bad is not None:
            self._bad.until_s = min(self._bad.until_s, self.cluster.now_s)
            self.world.schedule.reconsider()


class StorageFault(SpoiledBackups):
    """Something is wrong with one storage (parameter ``storage``)."""

    @property
    def storage(self) -> Storage | None:
        """The storage, while it is there."""
        return self.cluster.storages.get(self.values["storage"])

    @property
    def component(self) -> str:
        """The storage, also when it is gone."""
        return f"storage/{self.values['storage']}"


class StallsGuests(StorageFault):
    """Guests with disks on a storage come to a stop, each at its next write."""

    _generation = -1

    def __init__(self, stage: Stage, values: Values) -> None:
        super().__init__(stage, values)
        self._due: set[int] = set()

    @abstractmethod
    def _stall_of(self, guest: Guest) -> StallKind | None:
        """What becomes of a guest that writes there now; nothing when its write goes well."""

    def _where(self) -> list[str]:
        """The nodes on which it is so."""
        return [name for name in self.cluster.nodes if self.storage is not None and self.storage.on_node(name)]

    def watch(self) -> None:
        """Whoever runs there and writes comes to a stop soon."""
        if self._generation == self.cluster.generation or self.storage is None:
            return
        self._generation = self.cluster.generation
        places = self._where()[:1] if self.storage.shared else self._where()
        users = {vmid for node in places for vmid in users_of(self.cluster, self.storage, node)}
        waits: dict[int, list[int]] = {}
        for vmid in sorted(users - self._due):
            guest = self.cluster.guests[vmid]
            if self._fits(guest):
                waits.setdefault(noise.whole(*_NEXT_WRITE_S, self.cluster.seed, "write", vmid, guest.since_s), []).append(vmid)
        for wait_s, vmids in waits.items():
            self._due.update(vmids)
            self.cluster.agenda.add(self.cluster.now_s + wait_s, partial(self._write, vmids))

    def _fits(self, guest: Guest) -> bool:
        ills = self.cluster.ills
        if not guest.running or ills.stall_of(guest) or self._stall_of(guest) is None:
            return False
        return guest.node in self._where() and disks_on(guest, self.values["storage"])

    def _write(self, vmids: list[int]) -> None:
        """The next write of some guests."""
        self._due.difference_update(vmids)
        for vmid in vmids:
            guest = self.cluster.guests.get(vmid)
            kind = self._stall_of(guest) if guest is not None and not self.over and self._fits(guest) else None
            if guest is None or kind is None:
                continue
            self.cluster.ills.stalls[vmid] = Stall(kind, guest.booted_s)
            self.cluster.generation += 1
            text = _SAID.get(kind)
            if text:
                self.cluster.emit(guest.node, "kernel" if kind == "read-only" else "QEMU", text.format(vmid=vmid), severity=ERROR)

    def _release(self, *kinds: StallKind) -> None:
        """Guests that came to a stop go on."""
        stalls = self.cluster.ills.stalls
        for vmid in [vmid for vmid, stall in stalls.items() if stall.kind in kinds]:
            guest = self.cluster.guests.get(vmid)
            if guest is None or disks_on(guest, self.values["storage"]):
                del stalls[vmid]
        self.cluster.generation += 1

    def settle(self) -> None:
        """Who waited for an answer gets it."""
        super().settle()
        self._release("stuck")


_NEXT_WRITE_S = (2, 40)
"""Whole seconds: thousands of guests come to a stop in a few dozen steps."""

_SAID: dict[StallKind, str] = {
    "io-error": "block I/O error of VM {vmid}: No space left on device, the virtual machine was stopped",
    "read-only": "EXT4-fs error of the root file system of CT {vmid}: remounting filesystem read-only",
}


class StorageAway(StorageFault):
    """A storage does not let anybody in."""

    def _go_away(self, storage: Storage, why: str) -> None:
        """The storage does not let anybody in, and each node that has it says why."""
        storage.down = True
        text = f"could not activate storage '{storage.name}': {storage.name}: error fetching datastores - {why}"
        self._spoil(BadBackup(since_s=self.since_s, storage=storage.name, bare=text))
        self.cluster.generation += 1
        for node in self.cluster.nodes.values():
            if node.powered and storage.on_node(node.name):
                self.cluster.emit(node.name, "pvestatd", text, severity=ERROR)

    def settle(self) -> None:
        """It lets everybody in again."""
        super().settle()
        if self.storage is not None:
            self.storage.down = False
        self.cluster.generation += 1
