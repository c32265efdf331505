"""Faults of storages: full, nearly full, offline, hanging."""

from __future__ import annotations

import re
from itertools import count

from pveops.sim.faults import pick
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.faults.victims import StallsGuests, StorageAway
from pveops.sim.faults.weather import Effect, Rule
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.ills import BadBackup, StallKind
from pveops.sim.state.journal import WARNING
from pveops.sim.state.storage import FILE_TYPES, Storage, Volume
from pveops.sim.tasks import node_life

_LOST_VMID = 9999
"""The guest that does not exist any more: the first id from here on that nobody has or had."""

_GROWING = FILE_TYPES - {"cephfs"} | {"lvmthin", "zfspool", "zfs"}
"""Types of storages where images take room as they are written."""

_WAITING = frozenset({"rbd", "cephfs"})
"""Types that let who writes wait until there is room."""

_ROOM = 64 * 1024**2
"""Bytes. With less than that, writes fail."""

_WRONG_ADDRESS = "192.0.2.199"
_A_STORAGE = Parameter(name="storage", doc="Which storage.", pick=pick.storages, what="storage that answers")


def _forgotten(cluster: Cluster, storage: Storage, size: int, now_s: float) -> Volume:
    """Something big that nobody needs any more, of a kind that the storage holds."""
    vmid = next(vmid for vmid in count(_LOST_VMID) if cluster.past_guest(vmid) is None)
    if storage.kind == "pbs":
        return Volume(f"{storage.name}:backup/vm/{vmid}/2025-03-01T02:00:00Z", "backup", size, "pbs-vm", int(now_s), vmid, subtype="qemu")
    if "backup" in storage.content:
        volid = f"{storage.name}:backup/vzdump-qemu-{vmid}-2025_03_01-02_00_00.vma.zst"
        return Volume(volid, "backup", size, "vma.zst", int(now_s), vmid, subtype="qemu")
    if "iso" in storage.content:
        return Volume(f"{storage.name}:iso/old-archive.iso", "iso", size, "iso", int(now_s))
    return Volume(f"{storage.name}:vm-{vmid}-disk-0", "images", size, "raw", int(now_s), vmid)


class StorageFull(StallsGuests):
    """A storage is full: a forgotten volume takes what was left."""

    name = "storage-full"
    cause = "A backup or image of a guest that does not exist any more (9999, or the next free id) was never removed."
    sees = (
        "Use at the limit in every view; backups onto it and new images fail and say `No space left on device`; the volume is in its content. "
        "Guests with disks on it stop at their next write, within 40 s: CPU, network and disk at zero. Virtual machines have qmpstatus `io-error` "
        "(status stays `running`), containers go on read-only; on Ceph both wait. Configurations can be read as ever."
    )
    repair = (
        "Free space: DELETE /nodes/{node}/storage/{storage}/content/{volume} of the forgotten volume, or enough others. Then let virtual machines go "
        "on (POST …/status/resume) and restart containers; on Ceph they go on by themselves."
    )
    parameters = (
        _A_STORAGE,
        Parameter(
            name="node",
            doc="On which node; of a shared storage all nodes see the same.",
            pick=pick.nodes_of_storage,
            what="node that has it",
        ),
        Parameter(name="used_fraction", doc="How full it is then.", unit="fraction", default=1.0, low=0.5, high=1.0),
    )

    @property
    def component(self) -> str:
        alone = self.storage is not None and not self.storage.shared
        return f"storage/{self.values['node']}/{self.values['storage']}" if alone else super().component

    def _fraction(self) -> float:
        storage = self.storage
        return self.world.space.storage(storage, self.values["node"], self.cluster.now_s).fraction if storage else 0.0

    def begin(self) -> None:
        storage, node = self.cluster.storages[self.values["storage"]], self.values["node"]
        space = self.world.space.storage(storage, node, self.since_s)
        size = max(int(space.total * self.values["used_fraction"]) - space.used, 0) + 1
        self._volume = _forgotten(self.cluster, storage, size, self.since_s - 600 * 86400)
        storage.place(node)[self._volume.volid] = self._volume
        self.cluster.generation += 1
        if self.values["used_fraction"] >= 0.999:
            where = "" if storage.shared else node
            text = "write error - No space left on device" if storage.kind != "pbs" else _PBS_FULL
            self._spoil(BadBackup(since_s=self.since_s, storage=storage.name, node=where, text=text))

    def _where(self) -> list[str]:
        return super()._where() if self.storage is not None and self.storage.shared else [self.values["node"]]

    def _stall_of(self, guest: Guest) -> StallKind | None:
        storage = self.storage
        if storage is None or self.world.space.storage(storage, guest.node, self.cluster.now_s).avail > _ROOM:
            return None
        if storage.kind in _WAITING:
            return "stuck"
        return ("io-error" if guest.kind == "qemu" else "read-only") if storage.kind in _GROWING else None

    def healed(self) -> bool:
        storage = self.storage
        if storage is None or self._volume.volid not in storage.place(self.values["node"]):
            return True
        return self._fraction() < float(self.values["used_fraction"]) - 0.05

    def undo(self) -> None:
        storage = self.storage
        if storage is not None:
            storage.place(self.values["node"]).pop(self._volume.volid, None)
        self._release("io-error", "read-only")


_PBS_FULL = (
    "backup write data failed: command error: write_data upload error: pipelined request failed: No space left on device (os error 28)"
)


class ThinPoolNearFull(StorageFull):
    """A thin pool is nearly full: its disks promise more than it has."""

    name = "thin-pool-near-full"
    cause = "The image of a guest that does not exist any more (9999, or the next free id) was never removed."
    sees = "Use of the pool on that node above the given fraction in every view; nothing fails yet. The image is in the content of the storage."
    repair = "Free space: DELETE /nodes/{node}/storage/{storage}/content/{volume} of the forgotten volume, or enough others."
    parameters = (
        Parameter(name="storage", doc="Which thin pool.", pick=pick.thin_pools, what="thin pool"),
        Parameter(name="node", doc="On which node.", pick=pick.nodes_of_storage, what="node that has it"),
        Parameter(name="used_fraction", doc="How full it is then.", unit="fraction", default=0.97, low=0.5, high=0.998),
    )


class StorageOffline(StorageAway, StallsGuests):
    """A storage on the network does not answer any more."""

    name = "storage-offline"
    cause = "Somebody entered a wrong address of its server (192.0.2.199), or (`how=server`) the server lost its power."
    sees = (
        "/nodes/{node}/storage: active 0 and no sizes; /cluster/resources: status unknown; its content: 500 `storage '…' is not online`; backups "
        "onto it end with a bare error text instead of `job errors`; guests with disks on it do not start (`storage '…' is not online`). With a wrong "
        "address those that run keep the connection that they have; without the server they stand still, with CPU, network and disk at zero."
    )
    repair = "Address: enter the right one: PUT /storage/{storage} with server (or monhost) as it was. Server: somebody switches it on."
    parameters = (
        Parameter(
            name="storage", doc="Which storage.", pick=pick.remote_storages, what="storage on a server with an address in its configuration"
        ),
        Parameter(name="how", doc="What is wrong.", default="address", choices=("address", "server")),
    )

    def begin(self) -> None:
        name = self.values["storage"]
        storage = self.cluster.storages[name]
        self._key = pick.address_key(self.world, name)
        self._right = storage.options[self._key]
        if self.values["how"] == "address":
            storage.options[self._key] = _WRONG_ADDRESS
        self._go_away(storage, f"500 Can't connect to {storage.options[self._key]}:8007 (No route to host)")

    def _stall_of(self, guest: Guest) -> StallKind | None:
        return "stuck" if self.values["how"] == "server" else None

    def healed(self) -> bool:
        if self.storage is None:
            return True
        return bool(self.values["how"] == "address" and self.storage.options.get(self._key) == self._right)

    def undo(self) -> None:
        if self.storage is not None:
            self.storage.options[self._key] = self._right


class StorageHanging(StallsGuests):
    """A storage takes requests and never answers; whoever asks it waits."""

    name = "storage-hanging"
    cause = "The server of the storage hangs; its connections stay open."
    sees = (
        "Requests about storages of a node wait and end with 596 `Connection timed out`; the status daemons of its nodes are stuck, so after 5 min "
        "nodes and guests are unknown in /cluster/resources; running backups onto it stand still. Guests with disks on it stand still from their "
        "next write on (within 40 s): CPU, network and disk at zero, a shutdown gets no answer, a start waits and fails with `got timeout`."
    )
    repair = "Take the storage out of use: PUT /storage/{storage} with disable=1; then nothing asks it any more."
    parameters = (
        _A_STORAGE,
        Parameter(name="wait_s", doc="How long a request waits.", unit="real s", default=30.0, low=0, high=600),
    )

    def _stall_of(self, guest: Guest) -> StallKind | None:
        return "stuck"

    def begin(self) -> None:
        storage = self.cluster.storages[self.values["storage"]]
        storage.hangs = True
        pattern = re.compile(rf"/nodes/[^/]+/storage(/{re.escape(storage.name)}(/.*)?)?")
        effect = Effect(self.values["wait_s"], 596, "Connection timed out", done=False)
        self._rule = Rule(effect=effect, concerns=lambda _, path: bool(pattern.fullmatch(path)), label=self.name)
        self.weather.rules.append(self._rule)
        self._spoil(BadBackup(since_s=self.since_s, storage=storage.name, text="got timeout"))
        self._silent = [node for node in self.cluster.nodes.values() if storage.on_node(node.name) and node.online]
        for node in self._silent:
            node_life.stop_telling(self.cluster, node)
            self.cluster.emit(node.name, "pvestatd", f"{storage.name}: got timeout", severity=WARNING)

    def healed(self) -> bool:
        return self.storage is None or not self.storage.enabled

    def undo(self) -> None:
        """The server answers again."""

    def settle(self) -> None:
        super().settle()
        if self.storage is not None:
            self.storage.hangs = False
        self.weather.rules.remove(self._rule)
        for node in self._silent:
            node_life.tell_again(self.cluster, node)


KINDS: tuple[type[Fault], ...] = (StorageFull, ThinPoolNearFull, StorageOffline, StorageHanging)
