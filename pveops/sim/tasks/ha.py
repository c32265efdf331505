"""High availability: a request about a managed guest ends at once; what it leads to is a task of the node, started by the manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest, Kind
from pveops.sim.state.ha_rules import place_for
from pveops.sim.state.identity import ROOT, Principal
from pveops.sim.tasks import migrate, power
from pveops.sim.tasks.engine import Body, Engine, Work
from pveops.sim.tasks.task import Task

_MANAGER_S = 5.0
"""From the request to the task of the node: the manager looks every ten seconds, its agents in between."""

_CRM_S = 0.3


def sid_of(kind: Kind, vmid: int) -> str:
    """The id of a guest for high availability."""
    return f"{'vm' if kind == 'qemu' else 'ct'}:{vmid}"


def manages(cluster: Cluster, kind: Kind, vmid: int) -> bool:
    """Whether high availability is in charge of a guest."""
    found = cluster.ha.get(sid_of(kind, vmid))
    return found is not None and found.state != "ignored"


def _later(engine: Engine, cluster: Cluster, guest: Guest, task_kind: str, work: Callable[[str], Work]) -> None:
    """What the manager makes the node of the guest do."""

    def act() -> None:
        if guest.vmid in cluster.guests and cluster.nodes[guest.node].online:
            engine.spawn(guest.node, task_kind, str(guest.vmid), Principal(ROOT), work(guest.node))

    cluster.agenda.add(cluster.now_s + _MANAGER_S, act)


def follow(engine: Engine, cluster: Cluster, kind: Kind, vmid: int, state: str) -> None:
    """Make the guest what its requested state says."""
    guest = cluster.guests.get(vmid)
    if guest is None:
        return
    prefix = "qm" if kind == "qemu" else "vz"
    if state in ("started", "enabled") and not guest.running:
        _later(engine, cluster, guest, f"{prefix}start", lambda node: power.start(cluster, kind, node, vmid))
    elif state in ("stopped", "disabled") and guest.running:
        _later(
            engine, cluster, guest, f"{prefix}shutdown", lambda node: power.shutdown(cluster, kind, node, vmid, timeout_s=60.0, force=True)
        )


def request_state(engine: Engine, cluster: Cluster, kind: Kind, vmid: int, state: str) -> Work:
    """The body of ``hastart`` and ``hastop``: file the request, no more."""

    def work(task: Task) -> Body:
        task.say(f"Requesting HA {'start' if state == 'started' else 'stop'} for {'VM' if kind == 'qemu' else 'CT'} {vmid}")
        yield _CRM_S
        cluster.ha[sid_of(kind, vmid)].state = state
        cluster.generation += 1
        follow(engine, cluster, kind, vmid, state)

    return work


def request_migration(engine: Engine, cluster: Cluster, kind: Kind, vmid: int, target: str, busy: migrate.Busy) -> Work:
    """The body of ``hamigrate``."""

    def work(task: Task) -> Body:
        task.say(f"Requesting HA migration for {'VM' if kind == 'qemu' else 'CT'} {vmid} to node {target}")
        yield _CRM_S
        send_to(engine, cluster, sid_of(kind, vmid), target, busy)

    return work


def send_to(engine: Engine, cluster: Cluster, sid: str, target: str, busy: migrate.Busy) -> None:
    """Let the manager move a guest."""
    guest = cluster.guests.get(int(sid.rpartition(":")[2]))
    if guest is None or guest.sid != sid or guest.node == target:
        return
    vmid = guest.vmid
    if guest.kind == "qemu":
        online = guest.running
        _later(
            engine,
            cluster,
            guest,
            "qmigrate",
            lambda node: migrate.qemu(cluster, node, vmid, target, busy, online=online, with_disks=True),
        )
    else:
        _later(engine, cluster, guest, "vzmigrate", lambda node: migrate.lxc(cluster, node, vmid, target, restart=True))


def settle(engine: Engine, cluster: Cluster, sids: Iterable[str], busy: migrate.Busy) -> None:
    """Move guests that rules want elsewhere: each where the others are, or will be."""
    if cluster.ha_disarmed:
        return
    planned: dict[str, str] = {}
    for sid in sids:
        target = place_for(cluster, sid, planned)
        if target:
            planned[sid] = target
            send_to(engine, cluster, sid, target, busy)
