"""Views of the whole cluster, as old as the last broadcast: resources, status, next free id, cluster log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.table import Call, Encoded, Table
from pveops.sim.physics.broadcast import Broadcast, shown_cast
from pveops.sim.props import read_props
from pveops.sim.state.guest import Guest

api = Table()

_LOG_ROWS = 50


def broadcast(call: Call) -> Broadcast:
    """The last broadcast, worked out once and kept until the next one or until something changes."""
    cluster, caches = call.cluster, call.world.caches
    key = (cluster.raster_s, cluster.generation)
    if caches.get("broadcast_key") != key:
        caches.clear()
        caches["broadcast_key"] = key
        caches["broadcast"] = Broadcast(cluster, call.world.load)
    found: Broadcast = caches["broadcast"]
    return found


def guest_row(call: Call, cast: Broadcast, guest: Guest, *, with_pool: bool = True) -> dict[str, Any]:
    """A guest in the view of the cluster. What is configuration is of now, what nodes measure is of the last broadcast."""
    cluster, shown = call.cluster, shown_cast(call.cluster, guest)
    row: dict[str, Any] = {"id": f"{guest.kind}/{guest.vmid}", "type": guest.kind, "vmid": guest.vmid, "node": guest.node}
    if with_pool and (pool := cluster.pool_of(guest.vmid)):
        row["pool"] = pool
    lock = guest.lock or call.world.lock_of(guest)
    if lock:
        row["lock"] = lock
    if guest.tags:
        row["tags"] = guest.tags
    managed = cluster.ha.get(f"{'vm' if guest.kind == 'qemu' else 'ct'}:{guest.vmid}")
    if managed:
        row["hastate"] = managed.state
    if not shown.known:
        row["status"] = "unknown"
        return row
    sample = cast.sample(guest)
    row["name"] = shown.name
    row["status"] = "running" if shown.running else "stopped"
    row["template"] = shown.template
    row["uptime"] = sample.uptime
    row["cpu"] = sample.cpu
    row["maxcpu"] = shown.cpus or cluster.nodes[guest.node].cpus
    row["mem"] = sample.mem
    row["maxmem"] = shown.maxmem
    row["memhost"] = sample.memhost
    row["disk"] = sample.disk
    row["maxdisk"] = shown.maxdisk
    row["netin"] = sample.netin
    row["netout"] = sample.netout
    row["diskread"] = sample.diskread
    row["diskwrite"] = sample.diskwrite
    return row


def guest_visible(call: Call) -> Callable[[Guest], bool]:
    """Which guests the caller may see; answers for most of them are the same and are worked out once."""
    access, acl = call.cluster.access, call.cluster.identities.acl
    rest = access.may(call.who, "/vms/0", "VM.Audit")
    pools = any(path.startswith("/pool") for path in acl)

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
        running = [guest for vmid in pool.vmids if (guest := call.cluster.guests.get(vmid)) and guest.vmid in cast.samples]
        if running:
            cpus = sum(guest.cpus for guest in running)
            busy = sum(cast.samples[guest.vmid].cpu * guest.cpus for guest in running)
            row["cpu"] = busy / cpus if cpus else 0
            row["maxcpu"] = cpus
            row["mem"] = sum(cast.samples[guest.vmid].mem for guest in running)
            row["maxmem"] = sum(guest.maxmem for guest in running)
            row["uptime"] = max(cast.samples[guest.vmid].uptime for guest in running)
        found.append(row)
    return found


def node_row(call: Call, cast: Broadcast, name: str, *, full: bool) -> dict[str, Any]:
    """A node in the view of the cluster; without Sys.Audit only that it is there."""
    node = call.cluster.nodes[name]
    row: dict[str, Any] = {
        "id": f"node/{name}",
        "type": "node",
        "node": name,
        "status": "online" if node.online else "offline",
        "level": "",
    }
    if full and node.online:
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
        for name, node in call.cluster.nodes.items():
            if not storage.on_node(name):
                continue
            row: dict[str, Any] = {
                "id": f"storage/{name}/{storage.name}",
                "type": "storage",
                "storage": storage.name,
                "node": name,
                "plugintype": storage.kind,
                "content": ",".join(storage.content),
                "shared": int(storage.shared),
                "status": "available" if node.online else "unknown",
            }
            if node.online:
                space = call.world.space.storage(storage, name, cast.moment_s)
                row |= {"disk": space.used, "maxdisk": space.total}
            found.append(row)
    return found


def _network_rows(call: Call) -> list[dict[str, Any]]:
    if not call.may("/sdn/zones/localnetwork", "SDN.Audit"):
        return []
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


def _rows(call: Call, kind: str) -> list[dict[str, Any]]:
    cast = broadcast(call)
    rows = _pool_rows(call, cast) if not kind else []
    if kind in ("", "vm"):
        visible = guest_visible(call)
        pools = {name for name in call.cluster.pools if call.may(f"/pool/{name}", "Pool.Audit")}
        rows += [
            guest_row(call, cast, guest, with_pool=call.cluster.pool_of(guest.vmid) in pools)
            for guest in call.cluster.guests.values()
            if visible(guest)
        ]
    if kind in ("", "node"):
        for name in call.cluster.nodes:
            row = node_row(call, cast, name, full=call.may(f"/nodes/{name}", "Sys.Audit"))
            rows.append(row | {"cgroup-mode": 2})
    if kind in ("", "storage"):
        rows += storage_rows(call, cast)
    return rows + (_network_rows(call) if not kind else [])


@api.reads("GET /cluster/resources")
def resources(call: Call) -> Encoded:
    """Everything that the caller may see, in one list; encoded once per broadcast and caller."""
    kind = call.p.get("type", "")
    broadcast(call)
    key = ("resources", kind, call.who, call.cluster.identities.generation, call.world.lock_epoch())
    kept = call.world.caches.get(key)
    if kept is None:
        kept = call.world.caches[key] = orjson.dumps(_rows(call, kind))
    return Encoded(kept)


@api.reads("GET /cluster/status")
def status(call: Call) -> list[dict[str, Any]]:
    """Members and quorum."""
    cluster = call.cluster
    rows: list[dict[str, Any]] = []
    if len(cluster.nodes) > 1:
        online = sum(node.online for node in cluster.nodes.values())
        rows.append(
            {
                "type": "cluster",
                "id": "cluster",
                "name": cluster.name,
                "version": len(cluster.nodes),
                "nodes": len(cluster.nodes),
                "quorate": int(online * 2 > len(cluster.nodes)),
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
    """The cluster log, newest first; without Sys.Audit only what the caller did."""
    everything = call.may("/", "Sys.Audit")
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
