"""Views of the whole cluster, as old as the last broadcast: resources, status, next free id, cluster log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.table import Call, Encoded, Table
from pveops.sim.physics.broadcast import Broadcast, stale
from pveops.sim.physics.rows import GuestPrinter
from pveops.sim.props import read_props
from pveops.sim.state.guest import Guest

api = Table()

_LOG_ROWS = 50
_MOST_KEPT = 8
"""Answers kept at a time; each may have megabytes."""


def broadcast(call: Call) -> Broadcast:
    """The last broadcast, worked out once and kept until the next one."""
    cluster, caches = call.cluster, call.world.caches
    found: Broadcast | None = caches.get("broadcast")
    if found is None or found.moment_s != cluster.raster_s:
        found = Broadcast(cluster, call.world.load, found)
        caches.clear()
        caches["broadcast"] = found
    return found


class GuestRows:
    """Makes the rows of guests for one answer."""

    def __init__(self, call: Call, cast: Broadcast, *, pools: bool = True) -> None:
        printer = GuestPrinter(call.cluster, cast, self._work_out_extras(call, pools=pools))
        self.everybody = printer.everybody
        self.some = printer.some
        self.row = printer.one

    @staticmethod
    def _work_out_extras(call: Call, *, pools: bool) -> dict[int, bytes]:
        """Keys that belong to the guest but are not its own: pool, lock of a scheduled backup, state of high availability."""
        cluster = call.cluster
        found: dict[int, bytes] = {}
        for pool in cluster.pools.values():
            if pools and call.may(f"/pool/{pool.name}", "Pool.Audit"):
                found.update(dict.fromkeys(pool.vmids, b',"pool":' + orjson.dumps(pool.name)))
        for vmid in call.world.schedule.held():
            if vmid in cluster.guests and not cluster.guests[vmid].lock:
                found[vmid] = found.get(vmid, b"") + b',"lock":"backup"'
        for managed in cluster.ha.values():
            vmid = int(managed.sid.rpartition(":")[2])
            found[vmid] = found.get(vmid, b"") + b',"hastate":' + orjson.dumps(managed.phase or managed.state)
        return found


def _anybody(guest: Guest) -> bool:
    return True


def _nobody(guest: Guest) -> bool:
    return False


def guest_visible(call: Call) -> Callable[[Guest], bool]:
    """Which guests the caller may see; answers for most of them are the same and are worked out once."""
    access, acl = call.cluster.access, call.cluster.identities.acl
    rest = access.may(call.who, "/vms/0", "VM.Audit")
    pools = any(path.startswith("/pool") for path in acl)
    if not pools and not any(path.startswith("/vms/") for path in acl):
        return _anybody if rest else _nobody

    def visible(guest: Guest) -> bool:
        path = f"/vms/{guest.vmid}"
        if path not in acl and not (pools and call.cluster.pool_of(guest.vmid)):
            return rest
        return access.may(call.who, path, "VM.Audit")

    return visible


def _pool_rows(call: Call, cast: Broadcast) -> list[dict[str, Any]]:
    found = []
    for pool in call.cluster.pools.values():
        if not call.may(f"/pool/{pool.name}", "Pool.Audit"):
            continue
        row: dict[str, Any] = {"id": f"/pool/{pool.name}", "type": "pool", "pool": pool.name}
        row |= cast.total((pool.name, call.cluster.generation), pool.vmids)
        found.append(row)
    return found


def node_row(call: Call, cast: Broadcast, name: str, *, full: bool) -> dict[str, Any]:
    """A node in the view of the cluster; without Sys.Audit only that it is there."""
    node = call.cluster.nodes[name]
    row: dict[str, Any] = {
        "id": f"node/{name}",
        "type": "node",
        "node": name,
        "status": "offline" if not node.online else "unknown" if stale(node, cast.moment_s) else "online",
        "level": "",
    }
    if full and row["status"] == "online":
        root = call.world.space.root(node, cast.moment_s)
        row |= {
            "cpu": cast.nodes[name].cpu,
            "maxcpu": node.cpus,
            "mem": cast.nodes[name].mem,
            "maxmem": node.memory,
            "disk": root.used,
            "maxdisk": root.total,
            "uptime": int(cast.moment_s - node.boot_s),
        }
    return row


def storage_rows(call: Call, cast: Broadcast) -> list[dict[str, Any]]:
    """One row per storage and node."""
    found = []
    for storage in call.cluster.storages.values():
        if not storage.enabled or not call.may_any(f"/storage/{storage.name}", "Datastore.Audit", "Datastore.AllocateSpace"):
            continue
        content, shared = ",".join(storage.content), int(storage.shared)
        for name, node in call.cluster.nodes.items():
            if not storage.on_node(name):
                continue
            row: dict[str, Any] = {
                "id": f"storage/{name}/{storage.name}",
                "type": "storage",
                "storage": storage.name,
                "node": name,
                "plugintype": storage.kind,
                "content": content,
                "shared": shared,
                "status": "available" if node.online and not storage.down and not stale(node, cast.moment_s) else "unknown",
            }
            if row["status"] == "available":
                space = call.world.space.storage(storage, name, cast.moment_s)
                row |= {"disk": space.used, "maxdisk": space.total}
            found.append(row)
    return found


def _network_rows(call: Call) -> list[dict[str, Any]]:
    if not call.may("/sdn/zones/localnetwork", "SDN.Audit"):
        return []
    if call.world.old:
        return [
            {
                "id": f"sdn/{name}/localnetwork",
                "type": "sdn",
                "sdn": "localnetwork",
                "node": name,
                "status": "ok" if node.online else "unknown",
            }
            for name, node in call.cluster.nodes.items()
        ]
    return [
        {
            "id": f"network/{name}/zone/localnetwork",
            "type": "network",
            "network": "localnetwork",
            "network-type": "zone",
            "node": name,
            "status": "ok" if node.online else "unknown",
        }
        for name, node in call.cluster.nodes.items()
    ]


def _encode(rows: list[dict[str, Any]]) -> bytes:
    """Rows as JSON, without the brackets around them."""
    return orjson.dumps(rows)[1:-1]


def _guests(call: Call, cast: Broadcast) -> bytes:
    visible, rows = guest_visible(call), GuestRows(call, cast)
    if visible is _anybody:
        return rows.everybody((call.who, call.cluster.identities.generation, call.world.lock_epoch()))
    return rows.some(guest for guest in call.cluster.guests.values() if visible(guest))


def _nodes(call: Call, cast: Broadcast) -> list[dict[str, Any]]:
    rows = [node_row(call, cast, name, full=call.may(f"/nodes/{name}", "Sys.Audit")) for name in call.cluster.nodes]
    return [row | {"cgroup-mode": 2} for row in rows]


def _resources(call: Call, kind: str) -> bytes:
    cast = broadcast(call)
    parts = [
        _encode(_pool_rows(call, cast)) if not kind else b"",
        _guests(call, cast) if kind in ("", "vm") else b"",
        _encode(_nodes(call, cast)) if kind in ("", "node") else b"",
        _encode(storage_rows(call, cast)) if kind in ("", "storage") else b"",
        _encode(_network_rows(call)) if not kind or (kind == "sdn" and call.world.old) else b"",
    ]
    data = b"[" + b",".join(part for part in parts if part) + b"]"
    return orjson.dumps([_older(row) for row in orjson.loads(data)]) if call.world.old else data


def _older(row: dict[str, Any]) -> dict[str, Any]:
    """A row as Proxmox VE 8 has it: without the memory that a guest takes on its host."""
    row.pop("memhost", None)
    return row


@api.reads("GET /cluster/resources")
def resources(call: Call) -> Encoded:
    """Everything that the caller may see, in one list; encoded once per broadcast and caller."""
    kind = call.p.get("type", "")
    broadcast(call)
    caches, ids = call.world.caches, call.cluster.identities
    kept: dict[Any, tuple[Any, bytes]] = caches.setdefault("resources", {})
    key, state = (kind, call.who), (call.cluster.generation, ids.generation, call.world.lock_epoch())
    if kept.get(key, (None,))[0] != state:
        while len(kept) >= _MOST_KEPT:
            del kept[next(iter(kept))]
        kept[key] = (state, _resources(call, kind))
    return Encoded(kept[key][1])


@api.reads("GET /cluster/status")
def status(call: Call) -> list[dict[str, Any]]:
    """Members and quorum."""
    cluster = call.cluster
    rows: list[dict[str, Any]] = []
    if len(cluster.nodes) > 1:
        rows.append(
            {
                "type": "cluster",
                "id": "cluster",
                "name": cluster.name,
                "version": len(cluster.nodes),
                "nodes": len(cluster.nodes),
                "quorate": int(cluster.quorate),
            }
        )
    rows += [
        {
            "type": "node",
            "id": f"node/{node.name}",
            "name": node.name,
            "nodeid": node.nodeid if len(cluster.nodes) > 1 else 0,
            "ip": node.ip,
            "local": int(node.name == cluster.local_node),
            "online": int(node.online),
            "level": "",
        }
        for node in cluster.nodes.values()
    ]
    return rows


@api.reads("GET /cluster/nextid")
def next_id(call: Call) -> str:
    """The first free guest id, as a text; or whether one id is free."""
    wanted = call.p.get("vmid")
    if wanted is not None:
        if wanted in call.cluster.guests:
            raise bad_parameter("vmid", f"VM {wanted} already exists")
        return str(wanted)
    limits = read_props(str(call.cluster.options.get("next-id", "")))
    low, high = int(limits.get("lower", 100)), int(limits.get("upper", 1_000_000))
    for vmid in range(low, high):
        if vmid not in call.cluster.guests:
            return str(vmid)
    raise failed(f"unable to get any free VMID in range [{low}, {high - 1}]")


@api.reads("GET /cluster/log")
def log(call: Call) -> list[dict[str, Any]]:
    """The cluster log, newest first; without Sys.Syslog only what the caller did."""
    everything = call.may("/", "Sys.Syslog")
    most = call.p.get("max", _LOG_ROWS)
    found = []
    for row in reversed(call.cluster.log):
        if everything or row.user in (call.who.name, call.who.userid):
            found.append(
                {
                    "id": f"{row.uid}:{row.node}",
                    "uid": str(row.uid),
                    "time": row.time_s,
                    "node": row.node,
                    "pid": row.pid,
                    "pri": 6,
                    "tag": row.tag,
                    "user": row.user,
                    "msg": row.message,
                }
            )
        if len(found) >= most:
            break
    return found
