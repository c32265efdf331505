"""What faults of the same victim share: of one guest, of one storage, and of backups."""

from __future__ import annotations

from pveops.sim.faults.spec import Fault
from pveops.sim.state.guest import Guest
from pveops.sim.state.ills import BadBackup
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
