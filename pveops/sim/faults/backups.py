"""Faults of backups: failed, half failed, refused by the server."""

from __future__ import annotations

from pveops.sim.faults import pick
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.faults.victims import GuestFault, SpoiledBackups, StorageAway
from pveops.sim.state.ills import BadBackup


class _UntilRestart(GuestFault, SpoiledBackups):
    """Backups of one guest go wrong until it gets a new process."""

    def healed(self) -> bool:
        guest = self.guest
        return guest is None or not guest.running or guest.since_s > self.since_s

    def undo(self) -> None:
        """What blocked it goes away by itself."""


class BackupFailed(_UntilRestart):
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
        self._spoil(BadBackup(since_s=self.since_s, vmid=vmid, text=text))


class BackupWarnings(_UntilRestart):
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
        self._spoil(BadBackup(since_s=self.since_s, vmid=vmid, text=text, warnings=self.values["warnings"]))

    def healed(self) -> bool:
        guest = self.guest
        return super().healed() or (guest is not None and not guest.agent_enabled)

    def settle(self) -> None:
        super().settle()
        guest = self.guest
        if guest is not None:
            guest.agent_answers = True


class BackupServerRefuses(StorageAway):
    """The backup server does not let the cluster in any more."""

    name = "backup-server-refuses"
    cause = "The password of the cluster's token on the backup server was changed."
    sees = "The storage is inactive; each backup onto it ends with a bare error text of the server instead of `job errors`, and its log names no guest."
    repair = "Enter the new password: PUT /storage/{storage} with password."
    parameters = (Parameter(name="storage", doc="Which one.", pick=pick.backup_servers, what="storage on a Proxmox Backup Server"),)

    def begin(self) -> None:
        self._go_away(self.cluster.storages[self.values["storage"]], "401 Unauthorized")

    def healed(self) -> bool:
        return self.storage is None or self.storage.secret_s >= self.since_s

    def undo(self) -> None:
        """The server takes the old password again."""


KINDS: tuple[type[Fault], ...] = (BackupFailed, BackupWarnings, BackupServerRefuses)
