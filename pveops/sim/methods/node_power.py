"""Switching nodes off and on."""

from __future__ import annotations

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import read_props
from pveops.sim.tasks import node_life

api = Table()


@api.behaves("POST /nodes/{node}/status")
def command(call: Call) -> None:
    """Restart a node or shut it down, guests first."""
    node_life.shut_down(call.world.room, call.node, again=call.p["command"] == "reboot")


@api.behaves("POST /nodes/{node}/wakeonlan", remote=True)
def wake(call: Call) -> str:
    """Switch on a node that is off; the answer is the address that the packet was for."""
    name = call.p["node"]
    if name in ("localhost", call.cluster.local_node):
        raise failed(f"'{name}' is local node, cannot wake my self!")
    node = call.cluster.nodes.get(name)
    address = read_props(str(node.options.get("wakeonlan", "")), "mac").get("mac") if node else None
    if node is None or not address:
        raise failed(f"No wake on LAN MAC address defined for '{name}'!")
    node_life.boot(call.world.room, node)
    return address
