"""The life of a node: losing power, being cut off, booting, and what the guests on it go through."""

from __future__ import annotations

from typing import NamedTuple

from pveops.sim.physics.broadcast import fall_silent, speak_again
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.identity import ROOT, Principal
from pveops.sim.state.ills import Spell
from pveops.sim.state.journal import ERROR, NOTICE, WARNING
from pveops.sim.state.node import Node
from pveops.sim.tasks import power
from pveops.sim.tasks.engine import Body, Engine
from pveops.sim.tasks.ha import manages
from pveops.sim.tasks.schedule import Schedule
from pveops.sim.tasks.task import Task

MEMBERSHIP_S = 4.0
"""From the silence of a node until the others have agreed that it is gone."""

BOOT_S = 95.0
"""From power on until the node is a member again."""

SHUTDOWN_S = 45.0
_START_GAP_S = 3.0


class Room(NamedTuple):
    """What the life of nodes works on."""

    cluster: Cluster
    engine: Engine
    schedule: Schedule


def _tell(room: Room, about: Node, tag: str, message: str, severity: int = NOTICE) -> None:
    """The nodes that are still together write the same line."""
    for node in room.cluster.nodes.values():
        if node is not about and node.online and node.powered:
            room.cluster.emit(node.name, tag, message, severity=severity)


def _members(cluster: Cluster) -> str:
    return " ".join(str(node.nodeid) for node in cluster.nodes.values() if node.online)


def _leave(room: Room, node: Node) -> None:
    """The others agree that the node is not a member any more."""
    cluster = room.cluster
    if not node.online or (node.powered and node.reachable):
        return
    quorate = cluster.quorate
    node.online = False
    cluster.generation += 1
    _tell(room, node, "corosync", f"[KNET  ] link: host: {node.nodeid} link: 0 is down", WARNING)
    _tell(room, node, "corosync", f"[TOTEM ] A new membership was formed. Members left: {node.nodeid}")
    _tell(room, node, "corosync", f"[QUORUM] Members[{sum(one.online for one in cluster.nodes.values())}]: {_members(cluster)}")
    if quorate and not cluster.quorate:
        _tell(room, node, "corosync", "[QUORUM] This node is within the non-primary component and will NOT provide any services.", WARNING)
        _tell(room, node, "pmxcfs", "[status] notice: node lost quorum", WARNING)


def _join(room: Room, node: Node) -> None:
    """The node is a member again."""
    cluster = room.cluster
    quorate = cluster.quorate
    node.online = node.reachable = True
    node.restarting = False
    tell_again(cluster, node)
    _tell(room, node, "corosync", f"[KNET  ] link: host: {node.nodeid} link: 0 is up")
    _tell(room, node, "corosync", f"[TOTEM ] A new membership was formed. Members joined: {node.nodeid}")
    if not quorate and cluster.quorate:
        _tell(room, node, "pmxcfs", "[status] notice: node has quorum")


def stop_telling(cluster: Cluster, node: Node) -> None:
    """The node works on, but tells nobody about itself and its guests."""
    if node.silent_since_s is None:
        fall_silent(cluster, node)
        node.gaps.append(Spell(since_s=cluster.now_s))


def tell_again(cluster: Cluster, node: Node) -> None:
    """The node tells about itself again, unless it is away."""
    if not node.online or not node.reachable or node.silent_since_s is None:
        return
    for gap in node.gaps:
        gap.until_s = min(gap.until_s, cluster.now_s)
    speak_again(cluster, node)


def _silence(room: Room, node: Node) -> None:
    stop_telling(room.cluster, node)
    node.reachable = False
    room.cluster.agenda.add(room.cluster.now_s + MEMBERSHIP_S, lambda: _leave(room, node))


def lose_power(room: Room, node: Node) -> None:
    """The node is dead from one moment to the next, and with it all that runs on it."""
    cluster = room.cluster
    if not node.powered:
        return
    if node.reachable:
        _silence(room, node)
    node.powered = node.booting = False
    node.downs.append(Spell(since_s=cluster.now_s))
    room.engine.die_on(node.name)
    room.schedule.reconsider()
    for guest in [guest for guest in cluster.guests_on(node.name) if guest.running]:
        cluster.before_change(guest)
        guest.stop(cluster.now_s)


def cut_off(room: Room, node: Node) -> None:
    """The network of the node is gone; what runs on it goes on running."""
    node.unplugged = True
    if node.reachable:
        _silence(room, node)


def reconnect(room: Room, node: Node) -> None:
    """The network of a node is there again."""
    node.unplugged = False
    if node.powered and not node.booting and not node.reachable:
        _join(room, node)


def boot(room: Room, node: Node) -> None:
    """Switch a node on; after a while it is a member again, and starts its guests."""
    cluster = room.cluster
    if node.powered:
        return
    node.powered = node.booting = True
    node.boot_s = cluster.now_s + 20.0
    if node.new_kernel:
        node.kernel, node.new_kernel = node.new_kernel, ""

    turned_on_s = node.boot_s

    def up() -> None:
        if not node.powered or node.boot_s != turned_on_s:
            return
        node.booting = False
        for down in node.downs:
            down.until_s = min(down.until_s, cluster.now_s)
        room.schedule.reconsider()
        if not node.unplugged:
            _join(room, node)
        cluster.emit(node.name, "kernel", f"Linux version {node.kernel} (build@proxmox) #1 SMP PREEMPT_DYNAMIC PMX {node.kernel}")
        cluster.emit(node.name, "systemd", "Reached target multi-user.target - Multi-User System.")
        cluster.emit(node.name, "pmxcfs", "[status] notice: node has quorum" if cluster.quorate else "[status] notice: waiting for quorum")
        _start_guests(room, node)

    cluster.agenda.add(cluster.now_s + BOOT_S, up)


def _start_guests(room: Room, node: Node) -> None:
    """What is marked to start with the node and is not the business of high availability."""
    cluster = room.cluster
    waiting = [
        guest
        for guest in cluster.guests_on(node.name)
        if guest.config.get("onboot") and not guest.template and not guest.running and not manages(cluster, guest.kind, guest.vmid)
    ]

    def work(task: Task) -> Body:
        while not (cluster.quorate and node.online):
            yield _START_GAP_S
        for guest in cluster.guests_on(node.name):
            if guest.lock == "backup":
                task.say(f"removing left over backup lock from '{guest.vmid}'!")
                power.set_lock(cluster, guest, "")
        for guest in waiting:
            if guest.running or guest.node != node.name or cluster.guests.get(guest.vmid) is not guest:
                continue
            task.say(f"Starting {guest.noun} {guest.vmid}")
            kind = "qmstart" if guest.kind == "qemu" else "vzstart"
            room.engine.spawn(node.name, kind, str(guest.vmid), Principal(ROOT), power.start(cluster, guest.kind, node.name, guest.vmid))
            yield _START_GAP_S

    if waiting:
        room.engine.spawn(node.name, "startall", "", Principal(ROOT), work)


def _end_guests(room: Room, node: Node) -> None:
    cluster = room.cluster
    for guest in [guest for guest in cluster.guests_on(node.name) if guest.running]:
        power.power_off(cluster, guest)


def shut_down(room: Room, node: Node, *, again: bool) -> None:
    """End a node in order: guests first; with ``again`` it boots afterwards."""
    cluster = room.cluster
    cluster.emit(node.name, "systemd-logind", "System is rebooting." if again else "System is powering down.")

    node.restarting = again

    def off() -> None:
        if not node.powered:
            return
        _end_guests(room, node)
        lose_power(room, node)
        if again:
            boot(room, node)

    cluster.agenda.add(cluster.now_s + SHUTDOWN_S, off)


def recover_elsewhere(room: Room, guest: Guest, target: Node) -> None:
    """Give the configuration of a guest of a dead node to another node."""
    cluster = room.cluster
    cluster.before_change(guest)
    guest.config.pop("lock", None)
    guest.place(target.name, cluster.now_s, 0)
    guest.touch()


def reset(room: Room, node: Node) -> None:
    """The watchdog of the node fires: it dies and boots by itself."""
    room.cluster.emit(node.name, "watchdog-mux", "client watchdog expired - disable watchdog updates", severity=ERROR)
    lose_power(room, node)
    boot(room, node)
