"""What high availability does when a guest that it manages ends by itself: the agent of its node starts it again."""

from __future__ import annotations

from collections import Counter

from pveops.sim.errors import RefusedError
from pveops.sim.state.cluster import HaResource
from pveops.sim.state.guest import Guest
from pveops.sim.state.identity import ROOT, Principal
from pveops.sim.state.journal import ERROR, NOTICE
from pveops.sim.tasks import power
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.fencing import WANTED
from pveops.sim.tasks.node_life import Room
from pveops.sim.tasks.task import Task

AGENT_S = 10.0
"""The agent of a node looks this often."""

_MAX_RESTART = 1


class Keeper:
    """Keeps managed guests running.

    Args:
        room: cluster, tasks and schedule.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._generation = -1
        self._ran: set[str] = set()
        self._failed: Counter[str] = Counter()
        room.cluster.watchers.append(self.look)
        self.look()

    def look(self) -> None:
        """See which guests ended; called after whatever happens."""
        cluster = self._room.cluster
        if self._generation == cluster.generation:
            return
        self._generation = cluster.generation
        self._ran &= cluster.ha.keys()
        for resource in cluster.ha.values():
            guest = self._kept(resource)
            if guest is None:
                self._ran.discard(resource.sid)
            elif guest.running:
                self._ran.add(resource.sid)
            elif resource.sid in self._ran:
                self._ran.discard(resource.sid)
                self._soon(resource)

    def _kept(self, resource: HaResource) -> Guest | None:
        """The guest, if the agent of its node has to see to it that it runs."""
        cluster = self._room.cluster
        guest = cluster.guests.get(int(resource.sid.rpartition(":")[2]))
        if guest is None or cluster.ha.get(resource.sid) is not resource or cluster.ha_disarmed:
            return None
        node = cluster.nodes[guest.node]
        fit = resource.state in WANTED and not resource.phase and node.online and node.powered and not node.restarting
        return guest if fit else None

    def _soon(self, resource: HaResource) -> None:
        cluster = self._room.cluster
        cluster.agenda.add(cluster.now_s + AGENT_S, lambda: self._start(resource))

    def _start(self, resource: HaResource) -> None:
        guest = self._kept(resource)
        if guest is None or guest.running:
            return
        cluster, engine = self._room.cluster, self._room.engine
        if guest.lock or any(task.running and task.about == str(guest.vmid) for task in engine.on(guest.node)):
            self._soon(resource)  # somebody works on it
            return
        cluster.emit(guest.node, "pve-ha-lrm", f"starting service {resource.sid}", severity=NOTICE)
        kind = "qmstart" if guest.kind == "qemu" else "vzstart"
        engine.spawn(guest.node, kind, str(guest.vmid), Principal(ROOT), self._work(resource, guest))

    def _work(self, resource: HaResource, guest: Guest) -> Work:
        cluster, node = self._room.cluster, guest.node

        def work(task: Task) -> Body:
            try:
                yield from power.start(cluster, guest.kind, node, guest.vmid)(task)
            except RefusedError as err:
                self._refused(resource, node, err.reason)
                raise
            del self._failed[resource.sid]
            cluster.emit(node, "pve-ha-lrm", f"service status {resource.sid} started")

        return work

    def _refused(self, resource: HaResource, node: str, why: str) -> None:
        """Try again as often as the resource allows; then it is in error until somebody disables it."""
        cluster = self._room.cluster
        self._failed[resource.sid] += 1
        cluster.emit(node, "pve-ha-lrm", f"unable to start service {resource.sid}: {why}", severity=ERROR)
        if self._failed[resource.sid] <= int(resource.options.get("max_restart", _MAX_RESTART)):
            self._soon(resource)
            return
        del self._failed[resource.sid]
        text = f"service '{resource.sid}': state changed from '{resource.state}' to 'error'"
        cluster.emit(cluster.local_node, "pve-ha-crm", text, severity=ERROR)
        resource.phase = "error"
        cluster.generation += 1
