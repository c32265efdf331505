"""Fencing: what high availability does when a node is lost. It waits until the node must be dead, then starts the guests elsewhere."""

from __future__ import annotations

from collections import Counter

from pveops.sim.errors import failed
from pveops.sim.state.cluster import Cluster, HaResource
from pveops.sim.state.guest import Guest
from pveops.sim.state.ha_rules import preferred_nodes
from pveops.sim.state.identity import ROOT, Principal
from pveops.sim.state.journal import ERROR, NOTICE, WARNING
from pveops.sim.state.node import Node
from pveops.sim.tasks import node_life, power
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.migrate import local_disks
from pveops.sim.tasks.node_life import Room
from pveops.sim.tasks.task import Task

UNKNOWN_S = 10.0
"""From the loss of a node until the manager calls it unknown."""

FENCE_S = 60.0
"""From the loss of a node until its watchdog must have fired."""

LOCK_S = 10.0
"""From there until the manager holds the lock of its agent."""

START_S = 10.0
"""From the recovery until the agent of the new node starts the guest."""

_RETRY_S = 10.0
WANTED = ("started", "enabled")
"""Requested states in which a guest has to run."""


def managed_on(cluster: Cluster, node: str) -> list[tuple[HaResource, Guest]]:
    """The guests of a node that high availability wants to run."""
    found = []
    for resource in cluster.ha.values():
        guest = cluster.guests.get(int(resource.sid.rpartition(":")[2]))
        if guest is not None and guest.sid == resource.sid and guest.node == node and resource.state in WANTED:
            found.append((resource, guest))
    return found


class Fencing:
    """Watches over the nodes of a cluster.

    Args:
        room: cluster, tasks and schedule.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._lost: dict[str, float] = {}
        room.cluster.watchers.append(self.look)

    def look(self) -> None:
        """See which nodes went and which came back; called after whatever happens."""
        cluster = self._room.cluster
        for name, node in cluster.nodes.items():
            gone = not node.online
            if gone and name not in self._lost:
                self._lost[name] = cluster.now_s
                self._node_lost(node)
            elif not gone and name in self._lost:
                del self._lost[name]
                self._node_back(node)
        if not cluster.quorate and not cluster.ha_disarmed:
            self._arm_watchdogs()

    def _log(self, message: str, severity: int = NOTICE) -> None:
        cluster = self._room.cluster
        cluster.emit(cluster.local_node, "pve-ha-crm", message, severity=severity)

    def _node_lost(self, node: Node) -> None:
        cluster, lost_s = self._room.cluster, self._room.cluster.now_s
        if not managed_on(cluster, node.name) or cluster.ha_disarmed:
            return
        if node.restarting:
            for resource, _ in managed_on(cluster, node.name):
                self._phase(resource, "freeze")
            return

        def still() -> bool:
            return self._lost.get(node.name) == lost_s

        def unknown() -> None:
            if still() and cluster.quorate:
                self._log(f"node '{node.name}': state changed from 'online' => 'unknown'", WARNING)

        def fence() -> None:
            if node.powered and not node.booting and node.unplugged:
                node_life.reset(self._room, node)  # its own watchdog does it, whatever the others see
            if still():
                self._fence(node, lost_s)

        cluster.agenda.add(lost_s + UNKNOWN_S, unknown)
        cluster.agenda.add(lost_s + FENCE_S, fence)

    def _fence(self, node: Node, lost_s: float) -> None:
        """The node is taken for dead: a cut-off one has reset itself by now."""
        cluster = self._room.cluster
        if not cluster.quorate:
            cluster.agenda.add(cluster.now_s + _RETRY_S, lambda: self._fence(node, lost_s) if self._lost.get(node.name) == lost_s else None)
            return
        self._log(f"node '{node.name}': state changed from 'unknown' => 'fence'", WARNING)
        for resource, _ in managed_on(cluster, node.name):
            self._phase(resource, "fence")

        def recover() -> None:
            self._log(f"fencing: acknowledged - got agent lock for node '{node.name}'")
            for resource, guest in managed_on(cluster, node.name):
                if resource.phase == "fence":
                    self._recover(resource, guest, node)

        cluster.agenda.add(cluster.now_s + LOCK_S, recover)

    def _phase(self, resource: HaResource, phase: str) -> None:
        cluster = self._room.cluster
        self._log(f"service '{resource.sid}': state changed from '{resource.phase or resource.state}' to '{phase or resource.state}'")
        resource.phase = phase
        cluster.generation += 1

    def _recover(self, resource: HaResource, guest: Guest, dead: Node) -> None:
        cluster = self._room.cluster
        self._phase(resource, "recovery")
        target = self._choose(resource, guest)
        if target is None:
            self._log(f"recovering service '{resource.sid}' from fenced node '{dead.name}' failed, no recovery node found", ERROR)
            return
        self._log(f"recover service '{resource.sid}' from fenced node '{dead.name}' to node '{target.name}'")
        node_life.recover_elsewhere(self._room, guest, target)
        cluster.agenda.add(cluster.now_s + START_S, lambda: self._start(resource, guest))

    def _choose(self, resource: HaResource, guest: Guest) -> Node | None:
        """Of the members that the rules like best, the one with the fewest managed guests."""
        cluster = self._room.cluster
        busy = Counter(guest.node for name in cluster.nodes for _, guest in managed_on(cluster, name))
        liked, _ = preferred_nodes(cluster, resource.sid)
        fit = [cluster.nodes[name] for name in liked if cluster.nodes[name].powered and name != guest.node]
        return min(fit, key=lambda node: (busy[node.name], node.index), default=None)

    def _start(self, resource: HaResource, guest: Guest) -> None:
        cluster = self._room.cluster
        if guest.running or cluster.guests.get(guest.vmid) is not guest or not cluster.nodes[guest.node].online:
            return
        kind = "qmstart" if guest.kind == "qemu" else "vzstart"
        self._room.engine.spawn(guest.node, kind, str(guest.vmid), Principal(ROOT), self._start_work(resource, guest))

    def _start_work(self, resource: HaResource, guest: Guest) -> Work:
        cluster, node = self._room.cluster, guest.node

        def work(task: Task) -> Body:
            lost = [disk for disk in local_disks(cluster, guest) if disk.volid not in cluster.storages[disk.storage].place(node)]
            if lost:
                self._phase(resource, "error")
                raise failed(f"no such volume '{lost[0].volid}'")
            yield from power.start(cluster, guest.kind, node, guest.vmid)(task)
            cluster.emit(node, "pve-ha-lrm", f"service status {resource.sid} started")
            self._phase(resource, "")

        return work

    def _node_back(self, node: Node) -> None:
        """What is still wanted on a node that came back in time is started there."""
        cluster = self._room.cluster
        self._log(f"node '{node.name}': state changed from 'unknown' => 'online'")
        for resource, guest in managed_on(cluster, node.name):
            if resource.phase in ("fence", "freeze", ""):
                resource.phase = ""
                if not guest.running:
                    cluster.agenda.add(cluster.now_s + START_S, lambda one=resource, of=guest: self._start(one, of))  # type: ignore[misc]

    def _arm_watchdogs(self) -> None:
        """Without quorum, each node that runs managed guests resets itself when its watchdog fires."""
        cluster = self._room.cluster
        for name, node in cluster.nodes.items():
            key = f"watchdog {name}"
            if key in self._lost or not node.powered or not node.online or not any(guest.running for _, guest in managed_on(cluster, name)):
                continue
            self._lost[key] = cluster.now_s

            def fire(node: Node = node, key: str = key) -> None:
                self._lost.pop(key, None)
                if not cluster.quorate and node.powered:
                    node_life.reset(self._room, node)

            cluster.agenda.add(cluster.now_s + FENCE_S, fire)
