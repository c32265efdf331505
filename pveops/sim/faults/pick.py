"""What faults can befall: nodes, guests and storages of the world as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pveops.sim.physics import hardware
from pveops.sim.state.guest import Guest
from pveops.sim.state.identity import Principal
from pveops.sim.world import World

Before = Mapping[str, Any]


def nodes(world: World, before: Before) -> list[str]:
    """Nodes that are up."""
    return [name for name, node in world.cluster.nodes.items() if node.online and node.reachable]


def spare_nodes(world: World, before: Before) -> list[str]:
    """Nodes that are up, where more than one is: somebody has to answer."""
    found = nodes(world, before)
    return found if len(found) > 1 else []


def _guests(world: World) -> list[Guest]:
    held = world.schedule.held()
    return [guest for guest in world.cluster.guests.values() if not guest.template and not guest.lock and guest.vmid not in held]


def guests(world: World, before: Before) -> list[int]:
    """Guests that nothing holds."""
    return [guest.vmid for guest in _guests(world)]


def running(world: World, before: Before) -> list[int]:
    """Running guests whose load follows its own rule."""
    overlay, now_s = world.load.overlay, world.cluster.now_s
    return [guest.vmid for guest in _guests(world) if guest.running and not overlay.bent(guest.index, now_s)]


def with_agent(world: World, before: Before) -> list[int]:
    """Running virtual machines whose agent answers."""
    return [guest.vmid for guest in _guests(world) if guest.running and guest.agent_enabled and guest.agent_answers]


def storages(world: World, before: Before) -> list[str]:
    """Storages that answer."""
    return [name for name, one in world.cluster.storages.items() if one.enabled and not one.down and not one.hangs]


def remote_storages(world: World, before: Before) -> list[str]:
    """Storages behind a network address that the configuration names."""
    return [name for name in storages(world, before) if address_key(world, name)]


def address_key(world: World, name: str) -> str:
    """The option of a storage that holds the address of its server; empty when it has none."""
    options = world.cluster.storages[name].options
    return next((key for key in ("server", "monhost", "portal") if key in options), "")


def backup_servers(world: World, before: Before) -> list[str]:
    """Storages on a Proxmox Backup Server."""
    return [name for name in storages(world, before) if world.cluster.storages[name].kind == "pbs"]


def thin_pools(world: World, before: Before) -> list[str]:
    """Thin pools."""
    return [name for name in storages(world, before) if world.cluster.storages[name].kind == "lvmthin"]


def nodes_of_storage(world: World, before: Before) -> list[str]:
    """Nodes that have the storage; one that all share is the same everywhere."""
    storage = world.cluster.storages[before["storage"]]
    return [name for name in nodes(world, before) if storage.on_node(name)]


def disks(world: World, before: Before) -> list[str]:
    """SATA disks of the node that do not wear out yet."""
    node = world.cluster.nodes[before["node"]]
    worn = {wear.path for wear in node.wears if wear.at(world.cluster.now_s)}
    return [disk.path for disk in hardware.disks(world.cluster.seed, node) if disk.kind == "ssd" and disk.path not in worn]


def cards(world: World, before: Before) -> list[str]:
    """Network cards of the node that belong to a bond or bridge and do not flap yet."""
    node = world.cluster.nodes[before["node"]]
    flapping = {flap.iface for flap in node.flaps if flap.at(world.cluster.now_s)}
    return [name for name in hardware.slaves(node) if name not in flapping]


def templates(world: World, before: Before) -> list[int]:
    """Templates of virtual machines."""
    return [guest.vmid for guest in world.cluster.guests.values() if guest.template and guest.kind == "qemu" and not guest.lock]


def elsewhere(world: World, before: Before) -> list[str]:
    """Nodes where the template is not."""
    return [name for name in nodes(world, before) if name != world.cluster.guests[before["vmid"]].node]


def tokens(world: World, before: Before) -> list[str]:
    """API tokens that still work, but not those of administrators: somebody has to put it right."""
    ids = world.cluster.identities
    return [
        f"{user.userid}!{token.name}"
        for user in ids.users.values()
        for token in user.tokens.values()
        if not token.expire_s and not world.cluster.access.may(Principal(user.userid, token.name), "/access", "User.Modify")
    ]
