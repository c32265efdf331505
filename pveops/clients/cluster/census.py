"""What the inventory keeps of answers: state without counters, as canonical JSON, so that equal things have equal digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from pveops.base.redact import may_hold_secrets, redact_value
from pveops.clients.cluster import parse
from pveops.clients.cluster.crowd import Ask
from pveops.model.inventory import Detail, Event, Kind, Seen
from pveops.model.resources import Guest, Node, Storage
from pveops.model.tasks import Task
from pveops.model.values import flag, whole

_STORAGE_S = 30.0
"""A storage may take this long to list its content; a guest's configuration is a file in memory."""


def states(nodes: Iterable[Node], guests: Iterable[Guest], storages: Iterable[Storage]) -> list[Seen]:
    """Nodes, guests and storages, as one answer of the cluster showed them. Load and counters are left out: metrics keep those."""
    seen = [
        _seen("guest", str(guest.vmid), {
            "name": guest.name, "kind": guest.kind, "node": guest.node, "status": guest.status, "template": guest.template, "lock": guest.lock,
            "pool": guest.pool, "tags": list(guest.tags), "hastate": guest.hastate, "cpus": guest.cpus, "maxmem_bytes": guest.maxmem_bytes,
            "maxdisk_bytes": guest.maxdisk_bytes,
        })
        for guest in guests
    ]  # fmt: skip
    seen += [
        _seen("node", node.name, {"status": node.status, "cpus": node.cpus, "maxmem_bytes": node.maxmem_bytes, "maxdisk_bytes": node.maxdisk_bytes})
        for node in nodes
    ]  # fmt: skip
    seen += [
        _seen("storage", f"{storage.node}/{storage.name}", {
            "type": storage.type, "status": storage.status, "shared": storage.shared, "content": sorted(storage.content), "total_bytes": storage.total_bytes,
        })
        for storage in storages
    ]  # fmt: skip
    return seen


_LASTING = ("name", "kind", "cpus", "maxmem_bytes", "maxdisk_bytes", "template", "type", "shared", "content", "total_bytes")


def unsure(seen: Iterable[Seen]) -> set[tuple[Kind, str]]:
    """Things of which the cluster knows no more than that they are there: their node is away or tells nothing."""
    return {(one.kind, one.key) for one in seen if b'"status":"unknown"' in one.body or b'"status":"offline"' in one.body}


def filled(one: Seen, last: Mapping[str, Any]) -> Seen:
    """With what it was when it was last seen whole, where nothing is known now: not knowing a size does not change it."""
    body = orjson.loads(one.body)
    return _seen(one.kind, one.key, {key: last.get(key) if not value and key in _LASTING else value for key, value in body.items()})


def events(tasks: Iterable[Task]) -> list[Event]:
    """Tasks as they are kept."""
    return [
        Event(
            upid=task.upid.text, node=task.node, type=task.type, guest=int(task.id) if task.id.isdecimal() else 0,
            user=f"{task.user}!{task.token}" if task.token else task.user, started_ms=int(task.started.timestamp() * 1000),
            ended_ms=int(task.ended.timestamp() * 1000) if task.ended else 0, status=task.outcome.text if task.ended else "",
        )
        for task in tasks
    ]  # fmt: skip


def units(detail: Detail, nodes: Sequence[Node], guests: Sequence[Guest], storages: Sequence[Storage]) -> dict[str, tuple[str, Ask]]:
    """Everything of one detail that can be asked for now: key to its node and the request. What is on a node that is away is left out."""
    online = {node.name for node in nodes if node.status != "offline"}
    if detail == "disks":
        return {name: (name, Ask(("disks", name), f"/nodes/{name}/disks/list", name, 30.0)) for name in sorted(online)}
    if detail == "backups":
        found: dict[str, tuple[str, Ask]] = {}
        for storage in storages:
            if "backup" in storage.content and storage.status == "available" and storage.node in online:
                key = storage.name if storage.shared else f"{storage.node}/{storage.name}"
                ask = Ask(
                    (detail, key), f"{storage.ref.path}/content", f"{storage.name} on {storage.node}", _STORAGE_S, {"content": "backup"}
                )
                found.setdefault(key, (storage.node, ask))
        return found
    path = {"config": "config", "snapshots": "snapshot"}.get(detail, "")
    asks: dict[str, tuple[str, Ask]] = {}
    for guest in guests:
        if guest.node not in online or (detail == "addresses" and guest.status != "running"):
            continue
        last = path or ("agent/network-get-interfaces" if guest.kind == "qemu" else "interfaces")
        key = str(guest.vmid)
        asks[key] = (guest.node, Ask((detail, key), f"{guest.ref.path}/{last}", guest.node))
    return asks


def detail_seen(detail: Detail, key: str, data: Any) -> list[Seen]:
    """An answer as things: one, or for ``backups`` one per archive."""
    if detail == "config":
        body = {name: value for name, value in data.items() if name != "digest"}
        if may_hold_secrets(orjson.dumps(body).decode()):
            body = redact_value(body)
        return [_seen(detail, key, body, digest=str(data.get("digest") or ""))]
    if detail == "snapshots":
        snaps = [snap for row in data if (snap := parse.snapshot(row))]
        return [_seen(detail, key, sorted(
            ({"name": snap.name, "created_s": int(snap.created.timestamp()) if snap.created else None, "with_memory": snap.with_memory,
              "parent": snap.parent, "description": snap.description} for snap in snaps), key=lambda row: str(row["name"]),
        ))]  # fmt: skip
    if detail == "addresses":
        return [_seen(detail, key, _interfaces(data))]
    if detail == "disks":
        return [_seen(detail, key, sorted((_disk(row) for row in data), key=lambda row: str(row["devpath"])))]
    return [_seen(detail, f"{key}|{row.get('volid')}", _backup(row, key.rpartition("/")[2])) for row in data]


def no_addresses(key: str, why: str) -> Seen:
    """A guest whose agent does not answer has none that anybody could tell."""
    return _seen("addresses", key, {"why": why})


def _interfaces(data: Any) -> dict[str, Any]:
    rows = data.get("result", []) if isinstance(data, dict) else data or []
    found: dict[str, Any] = {}
    for row in rows:
        given = [f"{one.get('ip-address')}/{one.get('prefix')}" for one in row.get("ip-addresses") or () if one.get("ip-address")]
        given += [str(row[name]) for name in ("inet", "inet6") if row.get(name) and not given]
        found[str(row.get("name"))] = {"mac": row.get("hardware-address") or row.get("hwaddr"), "addresses": sorted(set(given))}
    return found


def _disk(row: Mapping[str, Any]) -> dict[str, Any]:
    left = row.get("wearout")
    return {
        "devpath": row.get("devpath"), "model": row.get("model"), "serial": row.get("serial"), "type": row.get("type"), "size_bytes": whole(row.get("size")),
        "health": row.get("health"), "wearout_left_pct": whole(left) if isinstance(left, (int, float)) else None, "used": row.get("used"),
    }  # fmt: skip


def _backup(row: Mapping[str, Any], storage: str) -> dict[str, Any]:
    found = parse.backup(row, storage)
    return {
        "vmid": found.vmid, "kind": found.kind, "created_s": int(found.created.timestamp()) if found.created else None, "size_bytes": found.size_bytes,
        "format": found.format, "notes": found.notes, "protected": flag(found.protected), "verified": found.verified,
    }  # fmt: skip


def _seen(kind: Kind, key: str, body: Any, *, digest: str = "") -> Seen:
    written = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return Seen(kind=kind, key=key, digest=digest or blake2b(written, digest_size=12).hexdigest(), body=written)
