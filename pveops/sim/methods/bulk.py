"""Many guests at once: all of a node, or a selection in the whole cluster. One task starts the others and waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pveops.sim.errors import RefusedError, failed, forbidden
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics.live import live_guest
from pveops.sim.props import read_props, split_list
from pveops.sim.state.guest import Guest
from pveops.sim.state.identity import Principal
from pveops.sim.tasks import ha, migrate, power
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.power import set_lock
from pveops.sim.tasks.task import Task

api = Table()

_WAIT_S = 1.0
_SHUTDOWN_S = 180.0
_BULK_WORKERS = 4

Choose = Callable[[Guest], tuple[str, Work] | None]
"""What is to be done with a guest: type of the task and its work; nothing when it is fine as it is."""


def _order(guest: Guest) -> tuple[int, int]:
    """Guests start by their place in the start order, then by id; those without a place come last."""
    place = read_props(str(guest.config.get("startup", "")), "order").get("order", "")
    return (int(place) if place.isdigit() else 1_000_000, guest.vmid)


def _run(call: Call, guests: Iterable[Guest], choose: Choose, task: Task, workers: int, said: str) -> Body:
    """Start the tasks of guests, so many at once, and wait for the last."""
    world, who, running = call.world, Principal(call.who.userid, call.who.token), list[Task]()
    broken = []
    for guest in guests:
        if guest.vmid not in call.cluster.guests:
            continue
        wish = choose(guest)
        if wish is None:
            continue
        while len([one for one in running if one.running]) >= workers:
            yield _WAIT_S
        task.say(f"{said} {guest.noun} {guest.vmid}")
        running.append(world.engine.spawn(guest.node, wish[0], str(guest.vmid), who, wish[1]))
    while any(one.running for one in running):
        yield _WAIT_S
    for one in running:
        if one.verdict == "error":
            broken.append(one.about)
            task.warn(f"{said} {one.about} failed: {one.status}")


def _named(call: Call) -> set[int]:
    return {int(vmid) for vmid in split_list(call.p.get("vms", ""))}


def _on_node(call: Call, *privileges: str) -> list[Guest]:
    """The guests of the node that a request is about; 403 unless the caller may do it with each, or with all."""
    wanted = _named(call)
    if wanted:
        for vmid in sorted(wanted):
            call.demand(f"/vms/{vmid}", *privileges)
    elif not call.may("/", *privileges):
        raise forbidden(f"/, {', '.join(privileges)}")
    found = [guest for guest in call.cluster.guests_on(call.p["node"]) if not wanted or guest.vmid in wanted]
    return sorted(found, key=_order)


def _starter(call: Call) -> Choose:
    def choose(guest: Guest) -> tuple[str, Work] | None:
        if guest.running or guest.template:
            return None
        if ha.manages(call.cluster, guest.kind, guest.vmid):
            return "hastart", ha.request_state(call.world.engine, call.cluster, guest.kind, guest.vmid, "started")
        return f"{_prefix(guest)}start", power.start(call.cluster, guest.kind, guest.node, guest.vmid)

    return choose


def _prefix(guest: Guest) -> str:
    return "qm" if guest.kind == "qemu" else "vz"


def _stopper(call: Call, timeout_s: float, *, force: bool) -> Choose:
    def choose(guest: Guest) -> tuple[str, Work] | None:
        if not guest.running:
            return None
        if ha.manages(call.cluster, guest.kind, guest.vmid):
            return "hastop", ha.request_state(call.world.engine, call.cluster, guest.kind, guest.vmid, "stopped")
        limit_s = float(read_props(str(guest.config.get("startup", "")), "order").get("down", timeout_s))
        work = power.shutdown(call.cluster, guest.kind, guest.node, guest.vmid, timeout_s=limit_s, force=force)
        return f"{_prefix(guest)}shutdown", work

    return choose


def _suspender(call: Call) -> Choose:
    def choose(guest: Guest) -> tuple[str, Work] | None:
        if guest.kind != "qemu" or not guest.running:
            return None
        if call.p.get("to-disk"):
            return "qmsuspend", power.hibernate(call.cluster, guest.node, guest.vmid)
        return "qmpause", power.pause(call.cluster, "qemu", guest.node, guest.vmid)

    return choose


def _mover(call: Call, target: str, *, online: bool, with_disks: bool) -> Choose:
    cluster, load = call.cluster, call.world.load

    def busy(one: Guest) -> float:
        return live_guest(load, one, cluster.now_s).cpu

    def choose(guest: Guest) -> tuple[str, Work] | None:
        if guest.node == target:
            return None
        if ha.manages(cluster, guest.kind, guest.vmid):
            return "hamigrate", ha.request_migration(call.world.engine, cluster, guest.kind, guest.vmid, target, busy)
        if guest.kind == "lxc":
            return "vzmigrate", migrate.lxc(cluster, guest.node, guest.vmid, target, restart=guest.running)
        work = migrate.qemu(cluster, guest.node, guest.vmid, target, busy, online=online and guest.running, with_disks=with_disks)
        return "qmigrate", work

    return choose


@api.behaves("POST /nodes/{node}/startall")
def start_all(call: Call) -> str:
    """Start the guests of a node that start with it; ``force`` takes the others too. Left-over backup locks are taken off first."""
    force, named = bool(call.p.get("force")), _named(call)
    guests = _on_node(call, "VM.PowerMgmt")
    chosen = [guest for guest in guests if force or guest.config.get("onboot") or (named and guest.vmid in named)]

    def work(task: Task) -> Body:
        for guest in guests:
            if guest.lock == "backup":
                task.say(f"removing left over backup lock from '{guest.vmid}'!")
                set_lock(call.cluster, guest, "")
        yield from _run(call, chosen, _starter(call), task, 1, "Starting")

    return call.fork("startall", "", work)


@api.behaves("POST /nodes/{node}/stopall")
def stop_all(call: Call) -> str:
    """Shut the guests of a node down, the last started first."""
    guests = _on_node(call, "VM.PowerMgmt")[::-1]
    choose = _stopper(call, float(call.p.get("timeout", _SHUTDOWN_S)), force=bool(call.p.get("force-stop", 1)))

    def work(task: Task) -> Body:
        yield from _run(call, guests, choose, task, call.p.get("max-workers", 4), "Stopping")
        task.say("All VMs and CTs stopped")

    return call.fork("stopall", "", work)


@api.behaves("POST /nodes/{node}/suspendall")
def suspend_all(call: Call) -> str:
    """Pause the virtual machines of a node."""
    guests = _on_node(call, "VM.PowerMgmt")[::-1]

    def work(task: Task) -> Body:
        yield from _run(call, guests, _suspender(call), task, 4, "Suspending")

    return call.fork("suspendall", "", work)


def _check_target(call: Call) -> str:
    target: str = call.p["target"]
    if target not in call.cluster.nodes:
        raise failed(f"no such cluster node '{target}'")
    return target


@api.behaves("POST /nodes/{node}/migrateall")
def migrate_all(call: Call) -> str:
    """Move the guests of a node away."""
    target = call.p["target"]
    if target == call.p["node"]:
        raise RefusedError(400, "Parameter verification failed.", errors={"target": "target is local node."})
    guests = _on_node(call, "VM.Migrate")
    choose = _mover(call, _check_target(call), online=True, with_disks=bool(call.p.get("with-local-disks")))

    def work(task: Task) -> Body:
        yield from _run(call, guests, choose, task, call.p.get("maxworkers", 1), "Migrating")
        task.say("All jobs finished, used 1 workers")

    return call.fork("migrateall", "", work)


def _selection(call: Call, *privileges: str) -> list[Guest]:
    wanted = [int(vmid) for vmid in call.p.get("vms", ())]
    for vmid in wanted:
        call.demand(f"/vms/{vmid}", *privileges)
    if not wanted and not call.may("/", *privileges):
        raise forbidden(f"/, {', '.join(privileges)}")
    return sorted((guest for guest in call.cluster.guests.values() if not wanted or guest.vmid in wanted), key=_order)


def _bulk(call: Call, kind: str, guests: list[Guest], choose: Choose, said: str) -> str:
    workers = call.p.get("max-workers") or call.p.get("maxworkers") or _BULK_WORKERS

    def work(task: Task) -> Body:
        task.say(f"{said} guests: {', '.join(str(guest.vmid) for guest in guests)}")
        yield from _run(call, guests, choose, task, workers, said)

    return call.world.fork(call.cluster.local_node, kind, "", call.who, work)


@api.behaves("POST /cluster/bulk-action/guest/start")
def bulk_start(call: Call) -> str:
    """Start guests."""
    return _bulk(call, "bulk-start", _selection(call, "VM.PowerMgmt"), _starter(call), "Starting")


@api.behaves("POST /cluster/bulk-action/guest/shutdown")
def bulk_shutdown(call: Call) -> str:
    """Shut guests down."""
    choose = _stopper(call, float(call.p.get("timeout", _SHUTDOWN_S)), force=bool(call.p.get("force-stop", 1)))
    return _bulk(call, "bulk-shutdown", _selection(call, "VM.PowerMgmt")[::-1], choose, "Shutting down")


@api.behaves("POST /cluster/bulk-action/guest/suspend")
def bulk_suspend(call: Call) -> str:
    """Pause virtual machines, or write their memory to disk."""
    guests = _selection(call, "VM.PowerMgmt")[::-1]
    if call.p.get("to-disk"):
        for guest in guests:
            call.demand(f"/vms/{guest.vmid}", "VM.Config.Disk")
        if "statestorage" in call.p:
            call.demand(f"/storage/{call.p['statestorage']}", "Datastore.AllocateSpace")
    return _bulk(call, "bulk-suspend", guests, _suspender(call), "Suspending")


@api.behaves("POST /cluster/bulk-action/guest/migrate")
def bulk_migrate(call: Call) -> str:
    """Move guests to a node."""
    guests = _selection(call, "VM.Migrate")
    choose = _mover(call, _check_target(call), online=bool(call.p.get("online")), with_disks=bool(call.p.get("with-local-disks")))
    return _bulk(call, "bulk-migrate", guests, choose, "Migrating")
