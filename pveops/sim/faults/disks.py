"""Faults of disks, and one that only looks like some."""

from __future__ import annotations

from pveops.sim.faults import pick
from pveops.sim.faults.nodes import A_NODE
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.physics import hardware
from pveops.sim.state.ills import Wear
from pveops.sim.state.journal import WARNING
from pveops.sim.state.node import Node
from pveops.sim.state.storage import Storage, Volume

_LOOK_S = 1800.0
"""The disk daemon looks at the counters this often."""

_GIB = 1024**3
_NAME = "[A-Za-z][A-Za-z0-9._-]*"


class FailingDisk(Fault):
    """A disk loses sectors: it moves data to spare ones, until there are none."""

    name = "failing-disk"
    cause = "The disk is at the end of its life."
    sees = (
        "/nodes/{node}/disks/smart: attributes 5, 187 and 197 grow; the journal (smartd) tells each change; at 1000 reallocated sectors "
        "health turns to FAILED in /nodes/{node}/disks/list."
    )
    repair = "Somebody replaces the disk; the new one has another serial number and fresh counters."
    by = "hand"
    parameters = (
        A_NODE,
        Parameter(name="disk", doc="Which disk.", pick=pick.disks, what="SATA disk of the node that is well"),
        Parameter(name="per_hour", doc="How fast it loses sectors.", unit="sectors per hour", default=40.0, low=0.1, high=1e6),
    )

    @property
    def node(self) -> Node:
        """Where it is."""
        return self.cluster.nodes[self.values["node"]]

    @property
    def component(self) -> str:
        return f"disk/{self.node.name}{self.values['disk']}"

    def _disk(self) -> hardware.Disk:
        return next(disk for disk in hardware.disks(self.cluster.seed, self.node) if disk.path == self.values["disk"])

    def begin(self) -> None:
        self._wear = Wear(since_s=self.since_s, path=self.values["disk"], per_hour=self.values["per_hour"])
        self.node.wears.append(self._wear)
        self._told = hardware.counters(self.cluster.seed, self.node, self._disk(), self.since_s).reallocated
        self.cluster.agenda.add(self.since_s + _LOOK_S, self._watch)

    def _watch(self) -> None:
        if not self._wear.at(self.cluster.now_s):
            return
        found = hardware.counters(self.cluster.seed, self.node, self._disk(), self.cluster.now_s)
        if found.reallocated > self._told and self.node.powered:
            path = self.values["disk"]
            text = f"Device: {path} [SAT], SMART Usage Attribute: 5 Reallocated_Sector_Ct changed from {self._told} to {found.reallocated}"
            self.cluster.emit(self.node.name, "smartd", text, severity=WARNING)
            pending = f"Device: {path} [SAT], {found.pending} Currently unreadable (pending) sectors"
            self.cluster.emit(self.node.name, "smartd", pending, severity=WARNING)
            self._told = found.reallocated
        self.cluster.agenda.add(self.cluster.now_s + _LOOK_S, self._watch)

    def healed(self) -> bool:
        return self.node.disk_births.get(self.values["disk"], 0.0) > self.since_s

    def undo(self) -> None:
        self.node.disk_births[self.values["disk"]] = self.cluster.now_s

    def settle(self) -> None:
        self._wear.until_s = min(self._wear.until_s, self.cluster.now_s)


class ZvolDevices(Fault):
    """A ZFS pool with volumes, each of which the kernel lists like a disk. Nothing is wrong: a trap for whoever counts disks."""

    name = "zvol-devices"
    cause = "ZFS volumes appear as /dev/zd0, /dev/zd16 …; they have no model, serial number or SMART."
    sees = "/nodes/{node}/disks/list has zd* rows with health UNKNOWN; asked for SMART they answer 500. Nothing fails."
    repair = "Nothing needs repair; the rows go when the storage is removed: DELETE /storage/{storage}."
    parameters = (
        A_NODE,
        Parameter(name="storage", doc="The name of the ZFS storage that comes into being.", default="tank", form=_NAME),
        Parameter(name="volumes", doc="How many volumes.", unit="volumes", default=3, low=1, high=64),
    )

    @property
    def component(self) -> str:
        return f"storage/{self.values['storage']}"

    def begin(self) -> None:
        name, node = self.values["storage"], self.values["node"]
        options = {"pool": name, "content": "images,rootdir", "nodes": node, "sparse": 1}
        storage = self.cluster.storages.setdefault(name, Storage(name, "zfspool", options, 1800 * _GIB, 40 * _GIB))
        for number in range(self.values["volumes"]):
            volid = f"{name}:vm-{9000 + number}-disk-0"
            storage.place(node)[volid] = Volume(volid, "images", 32 * _GIB, "raw", int(self.since_s), 9000 + number, 0.3)
        self.cluster.generation += 1

    def healed(self) -> bool:
        return self.values["storage"] not in self.cluster.storages

    def undo(self) -> None:
        self.cluster.storages.pop(self.values["storage"], None)
        self.cluster.generation += 1


KINDS: tuple[type[Fault], ...] = (FailingDisk, ZvolDevices)
