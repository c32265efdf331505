"""Faults of backups: failed, half failed, refused by the server."""

from __future__ import annotations

from pveops.sim.faults import pick
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.state.guest import Guest
from pveops.sim.state.ills import BadBackup
from pveops.sim.state.journal import ERROR


class _OfGuest(Fault):
    """Backups of one guest go wrong until it gets a new process."""

    @property
    def guest(self) -> Guest | None:
        return self.cluster.guests.get(self.values["vmid"])

    @property
    def component(self) -> str:
        found = self.cluster.past_guest(self.values["vmid"])
        return found.ident if found else f"guest/{self.values['vmid']}"

    def _bring(self, bad: BadBackup) -> None:
        self._bad = bad
        self.cluster.ills.backups.append(bad)
        self.world.schedule.reconsider()

    def healed(self) -> bool:
        guest = self.guest
        return guest is None or not guest.running or guest.since_s > self.since_s

    def undo(self) -> None:
        """What blocked it goes away by itself."""

    def settle(self) -> None:
        self._bad.until_s = min(self._bad.until_s, self.cluster.now_s)
        self.world.schedule.reconsider()


class BackupFailed(_OfGuest):
    """Every backup of one guest fails; those of other guests go on."""

    name = "backup-failed"
    cause = "The process of the guest still holds what an earlier backup left behind."
    sees = "The task ends with `job errors`; its log says `ERROR: Backup of VM … failed - …`; no new backup of the guest appears."
    repair = "Give the guest a new process: POST …/status/reboot (or stop and start)."
    parameters = (Parameter(name="vmid", doc="Which guest.", pick=pick.running, what="running guest"),)

    def begin(self) -> None:
        vmid, guest = self.values["vmid"], self.cluster.guests[self.values["vmid"]]
        held = f"VM {vmid} qmp command 'backup' failed - there is already a backup job running"
        text = held if guest.kind == "qemu" else f"command 'lxc-freeze -n {vmid}' failed: exit code 1"
        self._bring(BadBackup(since_s=self.since_s, vmid=vmid, text=text))


class BackupWarnings(_OfGuest):
    """Backups of one guest are made, but with warnings."""

    name = "backup-warnings"
    cause = "The agent in the guest crashed, so its file systems are not frozen for the backup."
    sees = "The task ends with `WARNINGS: n`, its log has `WARN:` lines, and there is a backup. The agent does not answer a ping."
    repair = "Restart the guest (POST …/status/reboot), or switch the agent off in its configuration."
    parameters = (
        Parameter(name="vmid", doc="Which virtual machine.", pick=pick.with_agent, what="running virtual machine whose agent answers"),
        Parameter(name="warnings", doc="How many in each backup.", unit="warnings", default=1, low=1, high=50),
    )

    def begin(self) -> None:
        vmid = self.values["vmid"]
        self.cluster.guests[vmid].agent_answers = False
        text = f"VM {vmid} qmp command 'guest-fsfreeze-freeze' failed - got timeout"
        self._bring(BadBackup(since_s=self.since_s, vmid=vmid, text=text, warnings=self.values["warnings"]))

    def healed(self) -> bool:
        guest = self.guest
        return super().healed() or (guest is not None and not guest.agent_enabled)

    def settle(self) -> None:
        super().settle()
        guest = self.guest
        if guest is not None:
            guest.agent_answers = True


class BackupServerRefuses(Fault):
    """The backup server does not let the cluster in any more."""

    name = "backup-server-refuses"
    cause = "The password of the cluster's token on the backup server was changed."
    sees = "The storage is inactive; each backup onto it ends with a bare error text of the server instead of `job errors`, and its log names no guest."
    repair = "Enter the new password: PUT /storage/{storage} with password."
    parameters = (Parameter(name="storage", doc="Which one.", pick=pick.backup_servers, what="storage on a Proxmox Backup Server"),)

    @property
    def component(self) -> str:
        return f"storage/{self.values['storage']}"

    def begin(self) -> None:
        name = self.values["storage"]
        storage = self.cluster.storages[name]
        storage.down = True
        text = f"could not activate storage '{name}': {name}: error fetching datastores - 401 Unauthorized"
        self._bad = BadBackup(since_s=self.since_s, storage=name, bare=text)
        self.cluster.ills.backups.append(self._bad)
        self.cluster.generation += 1
        self.world.schedule.reconsider()
        for node in self.cluster.nodes.values():
            if node.powered and storage.on_node(node.name):
                self.cluster.emit(node.name, "pvestatd", f"{name}: error fetching datastores - 401 Unauthorized", severity=ERROR)

    def healed(self) -> bool:
        storage = self.cluster.storages.get(self.values["storage"])
        return storage is None or storage.secret_s >= self.since_s

    def undo(self) -> None:
        """The server takes the old password again."""

    def settle(self) -> None:
        storage = self.cluster.storages.get(self.values["storage"])
        if storage is not None:
            storage.down = False
        self._bad.until_s = min(self._bad.until_s, self.cluster.now_s)
        self.cluster.generation += 1
        self.world.schedule.reconsider()


KINDS: tuple[type[Fault], ...] = (BackupFailed, BackupWarnings, BackupServerRefuses)
