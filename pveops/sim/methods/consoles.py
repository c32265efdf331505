"""Terminals of nodes and guests: the ticket, and the websocket that it opens."""

from __future__ import annotations

import secrets
from typing import Any

from pveops.sim.errors import RefusedError, failed
from pveops.sim.methods.table import Call, Table, Upgrade
from pveops.sim.state.console import WAIT_S, Console, Terminal
from pveops.sim.state.inside import Inside
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_FIRST_PORT = 5900
_PORTS = 100
_STEP_S = 1.0


def _open(call: Call, kind: str, about: str, where: str, inside: Inside, since_s: float) -> dict[str, Any]:
    """A console and the task that holds it; it goes when nobody comes in time, or when who came has left."""
    used = call.cluster.consoles
    port = next((number for number in range(_FIRST_PORT, _FIRST_PORT + _PORTS) if number not in used), 0)
    if not port:
        raise failed("unable to find free port (5900-5999)")
    ticket = f"PVEVNC:{int(call.now_s):08X}::{secrets.token_urlsafe(48)}"
    console = used[port] = Console(port, ticket, call.who.name, where, inside, since_s)

    def work(task: Task) -> Body:
        task.say(f"starting termproxy {task.upid}")
        waited_s = 0.0
        try:
            while console.state == "open" or (console.state == "waiting" and waited_s < WAIT_S):
                yield _STEP_S
                waited_s += _STEP_S
        finally:
            used.pop(port, None)
        if console.state == "waiting":
            raise failed("connection timed out")

    return {"user": call.who.name, "ticket": ticket, "port": port, "upid": call.fork(kind, about, work)}


@api.behaves("POST /nodes/{node}/termproxy")
def node_terminal(call: Call) -> dict[str, Any]:
    """A terminal of the node."""
    node = call.node
    return _open(call, "vncshell", "", f"/nodes/{node.name}/", Inside(node.name), node.boot_s)


@api.behaves("POST /nodes/{node}/qemu/{vmid}/termproxy", "POST /nodes/{node}/lxc/{vmid}/termproxy")
def guest_terminal(call: Call) -> dict[str, Any]:
    """A terminal of a guest: of a running container, or of a virtual machine with a serial port."""
    guest = call.guest(call.kind)
    if call.kind == "qemu" and not any(key.startswith("serial") for key in guest.config):
        raise failed("unable to find a serial interface")
    wanted = call.p.get("serial")
    if wanted and wanted not in guest.config:
        raise failed(f"serial interface '{wanted}' is not configured")
    if not guest.running:
        raise failed(f"{guest.noun} {guest.vmid} not running")
    inside = call.cluster.inside.setdefault(guest.vmid, Inside(guest.name))
    where = f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}/"
    return _open(call, "vncproxy", str(guest.vmid), where, inside, guest.since_s)


@api.behaves("GET /nodes/{node}/vncwebsocket", "GET /nodes/{node}/qemu/{vmid}/vncwebsocket", "GET /nodes/{node}/lxc/{vmid}/vncwebsocket")
def websocket(call: Call) -> Upgrade:
    """The websocket of a console: its ticket opens it once."""
    console = call.cluster.consoles.get(call.p["port"])
    where = f"/nodes/{call.p['node']}/" + (f"{call.kind}/{call.p['vmid']}/" if "vmid" in call.p else "")
    if console is None or not secrets.compare_digest(console.ticket.encode(), str(call.p["vncticket"]).encode()) or console.where != where:
        raise RefusedError(401, "invalid PVEVNC ticket")
    if console.state != "waiting":
        raise failed("Connection refused")
    return Upgrade(console, Terminal(console))
