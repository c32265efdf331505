"""Guests of a node: lists and current status, live and not as old as broadcasts."""

from __future__ import annotations

from typing import Any

from pveops.sim.methods.cluster_views import guest_visible
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics import pressure
from pveops.sim.physics.curves import Sample
from pveops.sim.physics.live import live_guest, live_guests
from pveops.sim.state.guest import Guest

api = Table()


def _pressure(call: Call, guest: Guest, sample: Sample) -> dict[str, float]:
    hold = call.world.crowd.of(guest)
    return {name: round(value, 2) for name, value in pressure.of_guest(sample.cpu, hold.lost, hold.waits).items()}


def _row(call: Call, guest: Guest, sample: Sample, *, full: bool) -> dict[str, Any]:
    """What both lists and the status of one guest show; optional keys are absent, never empty."""
    row: dict[str, Any] = {
        "vmid": guest.vmid,
        "name": guest.name,
        "status": "running" if guest.running else "stopped",
        "uptime": sample.uptime,
        "cpu": sample.cpu,
        "cpus": guest.cpus or call.cluster.nodes[guest.node].cpus,
        "mem": sample.mem,
        "maxmem": guest.maxmem,
        "disk": sample.disk,
        "maxdisk": guest.maxdisk,
        "netin": sample.netin,
        "netout": sample.netout,
    }
    if guest.kind == "lxc":
        maxswap = int(guest.config.get("swap", 512)) * 1024**2
        row |= {"type": "lxc", "swap": int(maxswap * 0.02) if guest.running else 0, "maxswap": maxswap}
    elif not call.world.old:
        row["memhost"] = sample.memhost
    if guest.kind == "lxc" or (full and guest.running):
        row |= {"diskread": sample.diskread, "diskwrite": sample.diskwrite}
    if full and guest.kind == "qemu":
        stopped = call.cluster.ills.stall_of(guest) == "io-error"
        row["qmpstatus"] = "paused" if guest.paused else "io-error" if stopped else row["status"]
    if guest.running:
        row |= {"pid": guest.pid} | ({} if call.world.old else _pressure(call, guest, sample))
    lock = guest.lock or call.world.lock_of(guest)
    optional = {"lock": lock, "tags": guest.tags, "template": guest.template, "serial": int("serial0" in guest.config)}
    return row | {key: value for key, value in optional.items() if value}


@api.reads("GET /nodes/{node}/qemu", "GET /nodes/{node}/lxc")
def guests(call: Call) -> list[dict[str, Any]]:
    """The guests of one kind on the node that the caller may see."""
    kind, visible = call.kind, guest_visible(call)
    found = [guest for guest in call.cluster.guests_on(call.p["node"]) if guest.kind == kind and visible(guest)]
    samples = live_guests(call.world.load, found, call.now_s)
    full = bool(call.p.get("full"))
    return [_row(call, guest, sample, full=full) for guest, sample in zip(found, samples, strict=True)]


@api.reads("GET /nodes/{node}/qemu/{vmid}/status/current", "GET /nodes/{node}/lxc/{vmid}/status/current")
def current(call: Call) -> dict[str, Any]:
    """The status of one guest."""
    guest = call.guest(call.kind)
    row = _row(call, guest, live_guest(call.world.load, guest, call.now_s), full=True)
    managed = call.cluster.ha.get(guest.sid)
    row["ha"] = {"managed": 1, "state": managed.state} if managed else {"managed": 0}
    if guest.agent_enabled:
        row["agent"] = 1
    if guest.running and guest.kind == "qemu":
        row["proxmox-support"] = {}
    return row


@api.reads("GET /nodes/{node}/qemu/{vmid}/status", "GET /nodes/{node}/lxc/{vmid}/status")
def status_index(call: Call) -> list[dict[str, str]]:
    """What can be asked and done about the power of a guest."""
    call.guest(call.kind)
    names = ["current", "start", "stop", *(["reset"] if call.kind == "qemu" else []), "shutdown", "suspend", "resume", "reboot"]
    return [{"subdir": name} for name in names]
