"""Faults of guests: locks, memory, load, templates in the wrong place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import TYPE_CHECKING, Any

from pveops.base.errors import InputError
from pveops.sim.faults import pick
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.faults.victims import GuestFault
from pveops.sim.state.guest import Guest
from pveops.sim.state.ha_rules import NODES, rules_of
from pveops.sim.state.ills import Noise
from pveops.sim.state.journal import ERROR, INFO
from pveops.sim.state.volumes import find_volume
from pveops.sim.tasks import migrate, power
from pveops.sim.world import World

if TYPE_CHECKING:
    from pveops.sim.physics.overlay import Bend

_MIB = 1024**2
_QEMU_LOCKS = ("backup", "clone", "migrate", "rollback", "snapshot", "snapshot-delete")
_BUSY = 0.94
_MOST_LOST = 0.8
"""What neighbours lose at most, as a fraction of what a noisy guest takes."""


class StuckLock(GuestFault):
    """A guest is locked by an operation that is long over."""

    name = "stuck-lock"
    cause = "The process that held the lock was killed and did not give it back."
    sees = "`lock` in every view of the guest; changes are refused with 500 `VM is locked (…)`, starts and snapshots fail so in their task; no task runs."
    repair = "root@pam takes it off: PUT …/config with delete=lock and skiplock=1. A left-over backup lock also goes with POST /nodes/{node}/startall."
    parameters = (
        Parameter(name="vmid", doc="Which guest.", pick=pick.guests, what="guest that nothing holds"),
        Parameter(name="lock", doc="Which lock.", default="backup", choices=_QEMU_LOCKS),
    )

    def begin(self) -> None:
        guest = self.cluster.guests[self.values["vmid"]]
        lock = self.values["lock"]
        power.set_lock(self.cluster, guest, lock if guest.kind == "qemu" or lock != "clone" else "disk")

    def healed(self) -> bool:
        guest = self.guest
        return guest is None or not guest.lock

    def undo(self) -> None:
        guest = self.guest
        if guest is not None:
            power.set_lock(self.cluster, guest, "")


class GuestCrashed(GuestFault):
    """A guest is gone from one moment to the next: its process was killed."""

    name = "guest-crashed"
    cause = "The kernel of the node ran out of memory and killed the process of the guest."
    sees = (
        "The guest is stopped, and no task says why; the journal of its node does (`Out of memory: Killed process …`). High availability starts "
        "a guest that it manages again after about 10 s, in a task of root@pam; others stay as they are."
    )
    repair = "Start the guest: POST …/status/start."
    parameters = (Parameter(name="vmid", doc="Which guest.", pick=pick.running, what="running guest"),)

    def begin(self) -> None:
        guest = self.cluster.guests[self.values["vmid"]]
        program = "kvm" if guest.kind == "qemu" else "systemd"
        text = f"Out of memory: Killed process {guest.pid} ({program}) total-vm:{guest.maxmem // 1024 * 2}kB, anon-rss:{guest.maxmem // 1024}kB"
        self.cluster.emit(guest.node, "kernel", text, severity=ERROR)
        self.cluster.emit(guest.node, "qmeventd" if guest.kind == "qemu" else "lxc", f"Finished cleanup for {guest.vmid}", severity=INFO)
        power.power_off(self.cluster, guest)

    def healed(self) -> bool:
        guest = self.guest
        return guest is None or guest.running

    def undo(self) -> None:
        guest = self.guest
        if guest is not None:
            power.power_on(self.cluster, guest)


class MemoryLeak(GuestFault):
    """A guest takes more and more memory and gives nothing back."""

    name = "memory-leak"
    cause = "A program in the guest leaks."
    sees = "`mem` of the guest grows in a straight line in every view and in RRD, up to 98.5 % of what it has."
    repair = "Restart the guest: POST …/status/reboot (or stop and start)."
    parameters = (
        Parameter(name="vmid", doc="Which guest.", pick=pick.running, what="running guest"),
        Parameter(name="mib_per_hour", doc="How fast.", unit="MiB per hour", default=512.0, low=1, high=1e6),
    )

    def begin(self) -> None:
        guest = self.cluster.guests[self.values["vmid"]]
        from pveops.sim.physics.overlay import Leak  # noqa: PLC0415 - it brings numpy, which the start of a cluster does not wait for

        speed = self.values["mib_per_hour"] * _MIB / 3600
        self._leak = Leak(since_s=self.since_s, index=guest.index, bytes_per_s=speed)
        self.world.load.overlay.leaks.append(self._leak)
        self.world.caches.clear()

    def healed(self) -> bool:
        guest = self.guest
        return guest is None or not guest.running or guest.booted_s > self.since_s

    def undo(self) -> None:
        """The program is ended."""

    def settle(self) -> None:
        guest = self.guest
        restarted = guest is not None and guest.running and guest.booted_s > self.since_s
        over_s = guest.booted_s if guest is not None and restarted else self.cluster.now_s
        self.world.load.overlay.end([self._leak], over_s)
        self.world.caches.clear()


class _Bent(Fault):
    """Guests whose load follows another rule for a while."""

    _bends: list[Bend]

    def _bend(self, guest: Guest, level: float, swing: float = 0.0, period_s: float = 3600.0) -> None:
        """Let the CPU use of a guest be ``level``, with a wave of that height around it; all as fractions."""
        from pveops.sim.physics.overlay import Bend  # noqa: PLC0415 - as above

        whole = self.world.load.mean_cpu(guest)
        bend = Bend(since_s=self.since_s, index=guest.index, factor=0.0, level=level / whole, swing=swing / whole, period_s=period_s)
        self.world.load.overlay.bends.append(bend)
        self._bends.append(bend)
        self.world.caches.clear()

    def settle(self) -> None:
        self.world.load.overlay.end(self._bends, self.cluster.now_s)
        self.world.caches.clear()

    def undo(self) -> None:
        """What they were busy with is ended."""


class NoisyNeighbour(GuestFault, _Bent):
    """A guest takes all the CPU, network and disk it can get; others on its node get less."""

    name = "noisy-neighbour"
    cause = "A job in the guest runs without a limit."
    sees = (
        "CPU of the guest near its limit in every view; its disk and network rates are far above what they were; CPU of its node is up. Its "
        "neighbours get less CPU, network and disk than before, and their CPU pressure is up; whoever has disks on its storages waits for them "
        "(I/O pressure). Where these are disks of the node: I/O wait of the node is up, and requests take longer (node_disk_*_time_seconds_total)."
    )
    repair = "Limit it (PUT …/config with cpulimit below its cores), move it to another node, or shut it down."
    parameters = (
        Parameter(name="vmid", doc="Which guest.", pick=pick.running, what="running guest"),
        Parameter(name="cpu_fraction", doc="How much of its CPUs it takes.", unit="fraction", default=_BUSY, low=0.1, high=1.0),
        Parameter(
            name="lost_fraction",
            doc="How much its neighbours lose; less when that would be more than it takes.",
            unit="fraction",
            default=0.3,
            low=0.01,
            high=0.9,
        ),
    )

    def begin(self) -> None:
        guest = self.cluster.guests[self.values["vmid"]]
        self._bends = []
        before = self._busy_cpus([guest])
        self._bend(guest, self.values["cpu_fraction"])
        taken = self._busy_cpus([guest]) - before
        others = self._busy_cpus(one for one in self.cluster.guests_on(guest.node) if one is not guest and one.running)
        names = frozenset(disk.storage for disk in guest.disks() if not disk.cdrom and disk.storage in self.cluster.storages)
        self._noise = Noise(
            since_s=self.since_s,
            vmid=guest.vmid,
            node=guest.node,
            storages=names,
            local=any(not self.cluster.storages[name].shared for name in names),
            lost_fraction=min(self.values["lost_fraction"], max(_MOST_LOST * taken / others, 0.01))
            if others
            else self.values["lost_fraction"],
        )
        self.cluster.ills.noises.append(self._noise)
        self.cluster.generation += 1

    def _busy_cpus(self, guests: Iterable[Guest]) -> float:
        return sum(self.world.busy(guest) * (guest.cpus or self.cluster.nodes[guest.node].cpus) for guest in guests)

    def settle(self) -> None:
        super().settle()
        self._noise.until_s = self.cluster.now_s
        self.cluster.generation += 1

    def healed(self) -> bool:
        guest = self.guest
        if guest is None or not guest.running or guest.node != self._noise.node:
            return True
        limit = float(guest.config.get("cpulimit", 0) or 0)
        return 0 < limit < (guest.cpus or self.cluster.nodes[guest.node].cpus)


def _pairs(world: World, before: Mapping[str, Any]) -> list[str]:
    """Two running virtual machines on different nodes, each on shared storage only."""
    cluster = world.cluster
    fit = [
        guest
        for vmid in pick.running(world, before)
        if (guest := cluster.guests[vmid]).kind == "qemu" and guest.cpus >= 2 and not migrate.local_disks(cluster, guest)
    ]
    return [f"{one.vmid}+{other.vmid}" for one, other in permutations(fit, 2) if one.node != other.node]


class ThrashPair(_Bent):
    """Two guests on two nodes are busy in turns: a balancer that believes the moment moves them for ever."""

    name = "thrash-pair"
    cause = "A job goes back and forth between the two guests; over a whole period both nodes are equally busy."
    sees = "CPU of the two guests swings against each other with the same period; averages over a period hardly differ."
    repair = "Leave both where they are and say so: an HA rule (node-affinity) that names both; or shut one of them down."
    parameters = (
        Parameter(
            name="pair", doc="The two guests, as `101+107`.", pick=_pairs, what="pair of running virtual machines on different nodes"
        ),
        Parameter(name="period_s", doc="From one peak of a guest to its next.", unit="s", default=1800.0, low=60, high=86400),
    )

    @property
    def _guests(self) -> list[Guest]:
        vmids = [int(vmid) for vmid in self.values["pair"].split("+")]
        return [guest for vmid in vmids if (guest := self.cluster.guests.get(vmid)) is not None]

    @property
    def component(self) -> str:
        return f"guests/{self.values['pair']}"

    def begin(self) -> None:
        self._bends = []
        for guest, swing in zip(self._guests, (0.42, -0.42), strict=True):
            self._bend(guest, 0.48, swing, self.values["period_s"])

    def healed(self) -> bool:
        guests = self._guests
        if len(guests) < 2 or not all(guest.running for guest in guests):
            return True
        return all(any(rules_of(self.cluster, guest.sid, NODES)) for guest in guests)


class TemplateElsewhere(GuestFault):
    """A template is on another node than automation believes, with its disk on a local storage."""

    name = "template-elsewhere"
    cause = "Somebody moved the template to another node and onto a storage of that node."
    sees = "Asked for on its old node: 500 `Configuration file 'nodes/…' does not exist`. It cannot be cloned for other nodes: its disk is local there."
    repair = "Move it back: POST /nodes/{node}/qemu/{vmid}/migrate with target (its old node)."
    parameters = (
        Parameter(name="vmid", doc="Which template.", pick=pick.templates, what="template of a virtual machine"),
        Parameter(name="node", doc="Where it is then.", pick=pick.elsewhere, what="node where the template is not"),
        Parameter(name="storage", doc="The local storage that its disks are on then.", default="local-lvm", form="[A-Za-z][A-Za-z0-9._-]*"),
    )

    def begin(self) -> None:
        guest, node = self.cluster.guests[self.values["vmid"]], self.values["node"]
        target = self.cluster.storages.get(self.values["storage"])
        if target is None or target.shared or "images" not in target.content:
            raise InputError(f"storage of {self.name} is {self.values['storage']!r}.", hint="It must be a local storage that holds images.")
        self._home, self._config = guest.node, dict(guest.config)
        self._moved: list[tuple[str, str]] = []
        self.cluster.before_change(guest)
        for disk in guest.disks():
            volume = find_volume(self.cluster, disk.volid, guest.node)
            if disk.cdrom or volume is None:
                continue
            fresh = f"{target.name}:{disk.volid.partition(':')[2].rpartition('/')[2].partition('.')[0]}"
            self.cluster.storages[disk.storage].place(guest.node).pop(disk.volid)
            self._moved.append((disk.volid, fresh))
            volume.volid = fresh
            target.place(node)[fresh] = volume
            guest.config[disk.key] = str(guest.config[disk.key]).replace(disk.volid, fresh)
        guest.place(node, self.cluster.now_s, 0)
        guest.touch()

    def healed(self) -> bool:
        guest = self.guest
        return guest is None or guest.node == self._home

    def undo(self) -> None:
        guest = self.guest
        if guest is None:
            return
        self.cluster.before_change(guest)
        for old, fresh in self._moved:
            volume = self.cluster.storages[self.values["storage"]].place(guest.node).pop(fresh, None)
            if volume is not None:
                volume.volid = old
                self.cluster.storages[old.partition(":")[0]].place(self._home)[old] = volume
        guest.config = self._config
        guest.place(self._home, self.cluster.now_s, 0)
        guest.touch()


KINDS: tuple[type[Fault], ...] = (StuckLock, GuestCrashed, MemoryLeak, NoisyNeighbour, ThrashPair, TemplateElsewhere)
