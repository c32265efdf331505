"""Starting and stopping guests. What is checked here fails at once, the rest fails in the task, as on Proxmox VE."""

from __future__ import annotations

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.tasks import ha, power

api = Table()

_VM_TIMEOUT_S = 180.0
_CT_TIMEOUT_S = 60.0
_ROOT_ONLY = (
    "skiplock",
    "stateuri",
    "migratedfrom",
    "migration_type",
    "migration_network",
    "targetstorage",
    "keepActive",
    "nocheck",
    "force-cpu",
)


def refuse_root_options(call: Call, *names: str) -> None:
    """400 for options that only root in person may give."""
    for name in names or _ROOT_ONLY:
        if name in call.p and not call.who.is_root:
            raise bad_parameter(name, "Only root may use this option.")


def _running_or_refuse(call: Call, noun: str = "") -> None:
    """Some calls look first whether the guest runs; what is not there does not run either."""
    vmid = call.p["vmid"]
    guest = call.cluster.guests.get(vmid)
    if guest is None or guest.kind != call.kind or guest.node != call.p["node"] or not guest.running:
        raise failed(f"{noun or ('VM' if call.kind == 'qemu' else 'CT')} {vmid} not running")


def _prefix(call: Call) -> str:
    return "qm" if call.kind == "qemu" else "vz"


def _managed(call: Call) -> bool:
    return ha.manages(call.cluster, call.kind, call.p["vmid"])


@api.behaves("POST /nodes/{node}/qemu/{vmid}/status/start", "POST /nodes/{node}/lxc/{vmid}/status/start")
def start(call: Call) -> str:
    """Start. A guest that is missing, locked or running already is a matter of the task."""
    refuse_root_options(call)
    node, vmid = call.p["node"], call.p["vmid"]
    if _managed(call):
        return call.fork("hastart", vmid, ha.request_state(call.world.engine, call.cluster, call.kind, vmid, "started"))
    skip = bool(call.p.get("skiplock"))
    return call.fork(f"{_prefix(call)}start", vmid, power.start(call.cluster, call.kind, node, vmid, skip_lock=skip))


@api.behaves("POST /nodes/{node}/qemu/{vmid}/status/stop", "POST /nodes/{node}/lxc/{vmid}/status/stop")
def stop(call: Call) -> str:
    """Cut the power."""
    refuse_root_options(call)
    if call.kind == "lxc":
        _running_or_refuse(call)
    node, vmid = call.p["node"], call.p["vmid"]
    if _managed(call):
        return call.fork("hastop", vmid, ha.request_state(call.world.engine, call.cluster, call.kind, vmid, "stopped"))
    skip = bool(call.p.get("skiplock"))
    return call.fork(f"{_prefix(call)}stop", vmid, power.stop(call.cluster, call.kind, node, vmid, skip_lock=skip))


def _timeout_s(call: Call) -> float:
    return float(call.p.get("timeout", _VM_TIMEOUT_S if call.kind == "qemu" else _CT_TIMEOUT_S))


@api.behaves("POST /nodes/{node}/qemu/{vmid}/status/shutdown", "POST /nodes/{node}/lxc/{vmid}/status/shutdown")
def shutdown(call: Call) -> str:
    """Ask the guest to shut down."""
    refuse_root_options(call)
    if call.kind == "lxc":
        _running_or_refuse(call)
    node, vmid = call.p["node"], call.p["vmid"]
    if _managed(call):
        return call.fork("hastop", vmid, ha.request_state(call.world.engine, call.cluster, call.kind, vmid, "stopped"))
    force, skip = bool(call.p.get("forceStop")), bool(call.p.get("skiplock"))
    work = power.shutdown(call.cluster, call.kind, node, vmid, timeout_s=_timeout_s(call), force=force, skip_lock=skip)
    return call.fork(f"{_prefix(call)}shutdown", vmid, work)


@api.behaves("POST /nodes/{node}/qemu/{vmid}/status/reboot", "POST /nodes/{node}/lxc/{vmid}/status/reboot")
def reboot(call: Call) -> str:
    """Shut down and start again."""
    node, vmid = call.p["node"], call.p["vmid"]
    guest = call.cluster.guests.get(vmid)
    if call.kind == "qemu" and (guest is None or guest.kind != "qemu" or guest.node != node):
        raise failed(f"unable to find configuration file for VM {vmid} on node '{node}'")
    _running_or_refuse(call, "VM")
    return call.fork(f"{_prefix(call)}reboot", vmid, power.reboot(call.cluster, call.kind, node, vmid, timeout_s=_timeout_s(call)))


@api.behaves("POST /nodes/{node}/qemu/{vmid}/status/reset")
def reset(call: Call) -> str:
    """Press the reset button."""
    refuse_root_options(call)
    _running_or_refuse(call)
    return call.fork("qmreset", call.p["vmid"], power.reset(call.cluster, call.p["node"], call.p["vmid"]))


@api.behaves("POST /nodes/{node}/qemu/{vmid}/status/suspend", "POST /nodes/{node}/lxc/{vmid}/status/suspend")
def suspend(call: Call) -> str:
    """Pause, or (``todisk``) write the memory to disk and stop."""
    refuse_root_options(call)
    _running_or_refuse(call)
    node, vmid = call.p["node"], call.p["vmid"]
    if call.p.get("todisk"):
        return call.fork("qmsuspend", vmid, power.hibernate(call.cluster, node, vmid))
    kind = "qmpause" if call.kind == "qemu" else "vzsuspend"
    return call.fork(kind, vmid, power.pause(call.cluster, call.kind, node, vmid))


@api.behaves("POST /nodes/{node}/qemu/{vmid}/status/resume", "POST /nodes/{node}/lxc/{vmid}/status/resume")
def resume(call: Call) -> str:
    """Let a paused guest go on."""
    refuse_root_options(call)
    node, vmid = call.p["node"], call.p["vmid"]
    guest = call.cluster.guests.get(vmid)
    if call.kind == "qemu" and not (guest and guest.lock == "suspended"):
        _running_or_refuse(call)
    return call.fork(f"{_prefix(call)}resume", vmid, power.resume(call.cluster, call.kind, node, vmid))
