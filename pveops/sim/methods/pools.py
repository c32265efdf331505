"""Resource pools."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.cluster_views import GuestRows, broadcast, storage_rows
from pveops.sim.methods.table import Call, Table, drop_empty
from pveops.sim.props import split_list
from pveops.sim.state.cluster import Pool

api = Table()


def _members(call: Call, pool: Pool) -> list[dict[str, Any]]:
    """The members with what the cluster view says about them."""
    cast, wanted = broadcast(call), call.p.get("type")
    guests = [call.cluster.guests[vmid] for vmid in sorted(pool.vmids) if vmid in call.cluster.guests]
    make = GuestRows(call, cast, pools=False).row
    rows = [make(guest) for guest in guests if call.may(f"/vms/{guest.vmid}", "VM.Audit")]
    for row in rows:
        row.pop("tags", None)
        row.pop("lock", None)
        row.pop("hastate", None)
    rows += [row for row in storage_rows(call, cast) if row["storage"] in pool.storages]
    return [row for row in rows if wanted in (None, row["type"])]


def _find(call: Call) -> Pool:
    found = call.cluster.pools.get(call.p["poolid"])
    if found is None:
        raise failed(f"pool '{call.p['poolid']}' does not exist")
    return found


@api.reads("GET /pools")
def pools(call: Call) -> list[dict[str, Any]]:
    """The pools that the caller may see; one of them with its members."""
    if "poolid" in call.p:
        call.demand(f"/pool/{call.p['poolid']}", "Pool.Audit")
        pool = _find(call)
        return [{"poolid": pool.name, **drop_empty({"comment": pool.comment}), "members": _members(call, pool)}]
    return [
        {"poolid": pool.name, **drop_empty({"comment": pool.comment})}
        for _, pool in sorted(call.cluster.pools.items())
        if call.may(f"/pool/{pool.name}", "Pool.Audit")
    ]


@api.reads("GET /pools/{poolid}")
def pool(call: Call) -> dict[str, Any]:
    """One pool with its members (the older form)."""
    found = _find(call)
    return {"poolid": found.name, **drop_empty({"comment": found.comment}), "members": _members(call, found)}


@api.behaves("POST /pools")
def create(call: Call) -> None:
    """A new pool, empty."""
    name = call.p["poolid"]
    if name in call.cluster.pools:
        raise failed(f"create pool failed: pool '{name}' already exists")
    parent = name.rpartition("/")[0]
    if parent and parent not in call.cluster.pools:
        raise failed(f"create pool failed: parent '{parent}' of pool '{name}' does not exist")
    call.cluster.pools[name] = Pool(name, call.p.get("comment", ""))
    call.cluster.pools_changed()


def _change_guests(call: Call, pool: Pool) -> None:
    for vmid in map(int, split_list(call.p.get("vms", ""))):
        owner = call.cluster.pool_of(vmid)
        if call.p.get("delete"):
            if vmid not in pool.vmids:
                raise failed(f"update pools failed: VM {vmid} is not a pool member")
            pool.vmids.discard(vmid)
            continue
        call.demand(f"/vms/{vmid}", "VM.Allocate")
        if vmid in pool.vmids:
            raise failed(f"update pools failed: VM {vmid} is already a pool member")
        if owner is not None:
            if not call.p.get("allow-move"):
                raise failed(f"update pools failed: VM {vmid} belongs already to pool '{owner}' and 'allow-move' is not set")
            call.cluster.pools[owner].vmids.discard(vmid)
        pool.vmids.add(vmid)


def _change_storages(call: Call, pool: Pool) -> None:
    for name in split_list(call.p.get("storage", "")):
        if call.p.get("delete"):
            if name not in pool.storages:
                raise failed(f"update pools failed: Storage '{name}' is not a pool member")
            pool.storages.discard(name)
            continue
        call.demand(f"/storage/{name}", "Datastore.Allocate")
        if name in pool.storages:
            raise failed(f"update pools failed: Storage '{name}' is already a pool member")
        pool.storages.add(name)


@api.behaves("PUT /pools", "PUT /pools/{poolid}")
def update(call: Call) -> None:
    """Change comment and members: all of it, or nothing."""
    name = call.p["poolid"]
    found = call.cluster.pools.get(name)
    if found is None:
        raise failed(f"update pools failed: pool '{name}' does not exist")
    before = {one.name: (set(one.vmids), set(one.storages)) for one in call.cluster.pools.values()}
    try:
        _change_guests(call, found)
        _change_storages(call, found)
    except BaseException:  # whatever stops it half way: all of it, or nothing
        for one in call.cluster.pools.values():
            one.vmids, one.storages = before[one.name]
        raise
    found.comment = call.p.get("comment", found.comment)
    call.cluster.pools_changed()


@api.behaves("DELETE /pools", "DELETE /pools/{poolid}")
def delete(call: Call) -> None:
    """Remove an empty pool."""
    name = call.p["poolid"]
    found = call.cluster.pools.get(name)
    if found is None:
        raise failed(f"delete pool failed: pool '{name}' does not exist")
    child = next((other for other in call.cluster.pools if other.startswith(f"{name}/")), None)
    if child:
        raise failed(f"delete pool failed: pool '{name}' is not empty (contains pool '{child}')")
    inside = f"VM {min(found.vmids)}" if found.vmids else f"storage {min(found.storages)}" if found.storages else ""
    if inside:
        raise failed(f"delete pool failed: pool '{name}' is not empty (contains {inside})")
    del call.cluster.pools[name]
    call.cluster.pools_changed()
