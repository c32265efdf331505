"""Makes a seed of what was seen. Secrets stay out; a guest that was not asked for details is drawn from its row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pveops.base.redact import redact_value
from pveops.base.seed import FORMAT, SECRET_KEYS, VERSION, check_seed
from pveops.base.units import parse_bytes
from pveops.twin.look import Details, Row, Seen
from pveops.twin.paces import Paces

_DISK = re.compile(r"(?:ide|sata|scsi|virtio|efidisk|tpmstate|unused|mp)\d+|rootfs")
_SIZE = re.compile(r"\bsize=(\d[\d.]*[KMGT]?)")
_ABOUT_THE_ANSWER = frozenset({"digest", "lock", "parent", "snapshots", "pending"})
_HA_FIELDS = ("sid", "state", "max_restart", "max_relocate", "comment", "group", "failback")
_REPLICATION_FIELDS = ("id", "guest", "target", "type", "schedule", "jobnum", "source", "comment", "rate", "disable")
_MIB = 1024**2


def seed_of(seen: Seen, paces: Paces) -> dict[str, Any]:
    """The seed of a cluster as it was seen.

    Raises:
        ConfigError: what was seen makes no seed; names the part.
    """
    guests = [_guest(row, seen.guests.get(int(row["vmid"])), paces) for row in seen.rows("qemu", "lxc")]
    names = {str(row.get("name")) for row in seen.status if row.get("type") == "cluster"}
    seed: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": next(iter(names), "twin"),
        "taken_s": seen.taken_s,
        "nodes": [_node(row, seen) for row in sorted(seen.rows("node"), key=lambda row: str(row["node"]))],
        "storages": _storages(seen, guests),
        "guests": guests,
        "pools": _pools(seen),
        "ha": [_some(row, _HA_FIELDS) for row in seen.views.get("/cluster/ha/resources", ())],
        "replication": [_replication(row) for row in seen.views.get("/cluster/replication", ())],
        "options": _plain(seen.views.get("/cluster/options") or {}),
    }
    return check_seed(seed, "What was seen of the cluster")


def without_secrets(values: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration without passwords and keys; credentials inside texts are blotted out."""
    kept = {key: value for key, value in values.items() if key.lower() not in SECRET_KEYS}
    cleaned: dict[str, Any] = redact_value(kept)
    return cleaned


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Texts and numbers; an object of properties is written as Proxmox VE writes it in files, a list with semicolons."""
    found: dict[str, Any] = {}
    for key, value in without_secrets(values).items():
        if isinstance(value, Mapping):
            found[key] = ",".join(f"{name}={part}" for name, part in value.items())
        elif isinstance(value, list):
            found[key] = ";".join(str(part) for part in value)
        elif value is not None:
            found[key] = int(value) if isinstance(value, bool) else value
    return found


def _some(row: Row, names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names if row.get(name) is not None}


def _whole(value: object) -> int:
    try:
        return max(int(float(str(value))), 0)
    except (ValueError, OverflowError):
        return 0


def _share(part: object, whole: object) -> float:
    total = _whole(whole)
    return min(_whole(part) / total, 1.0) if total else 0.0


def _node(row: Row, seen: Seen) -> dict[str, Any]:
    name = str(row["node"])
    found: dict[str, Any] = {"name": name, "online": row.get("status") == "online"}
    ips = {str(one.get("name")): one["ip"] for one in seen.status if one.get("type") == "node" and one.get("ip")}
    if name in ips:
        found["ip"] = ips[name]
    told = seen.nodes.get(name)
    if told is None:
        return found | ({"memory": _whole(row["maxmem"])} if row.get("maxmem") else {})
    cpu, root = told.get("cpuinfo", {}), told.get("rootfs", {})
    sockets, cores, threads = (_whole(cpu.get(key)) or 1 for key in ("sockets", "cores", "cpus"))
    return found | {
        "sockets": sockets,
        "cores": max(cores // sockets, 1),
        "threads": max(threads // cores, 1),
        "model": str(cpu.get("model", "unknown")),
        "mhz": float(cpu.get("mhz") or 0.0),
        "memory": _whole(told.get("memory", {}).get("total")),
        "root_total": _whole(root.get("total")),
        "root_used": _whole(root.get("used")),
        "uptime_s": _whole(told.get("uptime")),
    }


def _guest(row: Row, details: Details | None, paces: Paces) -> dict[str, Any]:
    vmid, kind = int(row["vmid"]), str(row["type"])
    found: dict[str, Any] = {
        "vmid": vmid,
        "type": kind,
        "node": str(row["node"]),
        "running": row.get("status") == "running",
        "uptime_s": _whole(row.get("uptime")),
        "config": _drawn(row, kind),
    }
    if found["running"]:
        found |= {
            "cpu_fraction": min(max(float(row.get("cpu") or 0.0), 0.0), 1.0),
            "mem_fraction": _share(row.get("mem"), row.get("maxmem")),
        }
    found["paces"] = {"start_s": paces.of(vmid, "start").value, "shutdown_s": paces.of(vmid, "shutdown").value}
    if kind == "qemu":
        found["paces"]["migration_bytes_s"] = paces.migration(vmid).value
    return found | (_details(details) if details else {})


def _drawn(row: Row, kind: str) -> dict[str, Any]:
    """A configuration that fits the row of a guest: its sizes, no disks."""
    memory = _whole(row.get("maxmem")) // _MIB
    config: dict[str, Any] = {"name" if kind == "qemu" else "hostname": str(row.get("name") or f"guest-{row['vmid']}")}
    config |= {"cores": _whole(row.get("maxcpu")), "memory": str(memory) if kind == "qemu" else memory}
    if row.get("template"):
        config["template"] = 1
    if row.get("tags"):
        config["tags"] = str(row["tags"])
    return config | ({"lock": str(row["lock"])} if row.get("lock") else {})


def _details(details: Details) -> dict[str, Any]:
    told, status = details.config, details.status
    config = {key: value for key, value in without_secrets(told).items() if key not in _ABOUT_THE_ANSWER}
    lock = status.get("lock") or told.get("lock")
    pending: dict[str, Any] = {}
    for row in details.pending:
        if row.get("delete"):
            pending[str(row["key"])] = None
        elif "pending" in row:
            pending[str(row["key"])] = row["pending"]
    current = next((row for row in details.snapshots if row.get("name") == "current"), {})
    found = {
        "config": _plain(config) | ({"lock": str(lock)} if lock else {}),
        "pending": {key: value for key, value in without_secrets(pending).items() if value is None or isinstance(value, (str, int, float))},
        "running": status.get("status") == "running",
        "paused": status.get("qmpstatus") == "paused",
        "uptime_s": _whole(status.get("uptime")),
        "digest": str(told.get("digest") or ""),
        "snapshots": [_snapshot(row) for row in details.snapshots if row.get("name") != "current"],
    }
    return found | ({"parent": str(current["parent"])} if current.get("parent") else {})


def _snapshot(row: Row) -> dict[str, Any]:
    found = {"name": str(row["name"]), "snaptime": _whole(row.get("snaptime")), "vmstate": bool(_whole(row.get("vmstate")))}
    cleaned: dict[str, Any] = redact_value({"description": str(row.get("description") or "")})
    return found | cleaned | ({"parent": str(row["parent"])} if row.get("parent") else {})


def _storages(seen: Seen, guests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[str, list[Row]] = {}
    for row in seen.rows("storage"):
        rows.setdefault(str(row["storage"]), []).append(row)
    defined = {str(row["storage"]): row for row in seen.views.get("/storage", ())}
    return [_storage(name, found, defined.get(name), seen, guests) for name, found in sorted(rows.items())]


def _storage(name: str, rows: list[Row], defined: Row | None, seen: Seen, guests: list[dict[str, Any]]) -> dict[str, Any]:
    shared = bool(rows[0].get("shared"))
    options = _plain({key: value for key, value in (defined or {}).items() if key not in ("storage", "type", "digest")})
    if shared:
        options.setdefault("shared", 1)
    if defined is None:
        options |= {"content": str(rows[0].get("content", "")), "nodes": ",".join(str(row["node"]) for row in rows)}
    totals = {str(row["node"]): _whole(row.get("maxdisk")) for row in rows}
    used = {str(row["node"]): _whole(row.get("disk")) for row in rows}
    volumes = _volumes(name, seen, guests, shared=shared)
    held = _held(volumes, used, shared=shared)
    total, most = max(totals.values(), default=0), max(used.values(), default=0)
    found: dict[str, Any] = {
        "storage": name,
        "type": str((defined or rows[0]).get("type" if defined else "plugintype") or "dir"),
        "options": options,
        "total": total,
        "used": max(most - held, 0) if shared else 0,
        "down": all(row.get("status") != "available" for row in rows),
        "volumes": volumes,
    }
    if not shared:
        found["full"] = {node: used[node] / size for node, size in totals.items() if size}
        found["sizes"] = {node: size for node, size in totals.items() if size and size != total}
    return found


def _volumes(name: str, seen: Seen, guests: list[dict[str, Any]], *, shared: bool) -> list[dict[str, Any]]:
    """What was listed, and the disks that configurations name."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for (storage, node), rows in seen.volumes.items():
        if storage != name:
            continue
        for row in rows:
            one: dict[str, Any] = {
                "volid": str(row["volid"]),
                "content": str(row.get("content", "images")),
                "size": _whole(row.get("size")),
            }
            one |= {"format": str(row.get("format") or "raw"), "vmid": _whole(row.get("vmid")), "ctime": _whole(row.get("ctime"))}
            found[str(row["volid"]), "" if shared else node] = one if shared else one | {"node": node}
    for guest in guests:
        place = "" if shared else guest["node"]
        for key, value in guest["config"].items():
            text = str(value)
            volid = text.partition(",")[0]
            if not _DISK.fullmatch(key) or not volid.startswith(f"{name}:") or "media=cdrom" in text or (volid, place) in found:
                continue
            size = _SIZE.search(text)
            content = "rootdir" if guest["type"] == "lxc" else "images"
            one = {"volid": volid, "content": content, "size": parse_bytes(size[1]) if size else 0, "vmid": guest["vmid"]}
            found[volid, place] = one if shared else one | {"node": place}
    return list(found.values())


def _held(volumes: list[dict[str, Any]], used: Mapping[str, int], *, shared: bool) -> int:
    """What the volumes hold of what is used: thin images never hold more than that. Bytes; marks each volume with its fraction."""
    held = 0
    for place in {str(volume.get("node", "")) for volume in volumes}:
        own = [volume for volume in volumes if str(volume.get("node", "")) == place]
        room = max(used.values(), default=0) if shared else used.get(place, 0)
        sizes = sum(volume["size"] for volume in own)
        for volume in own:
            volume["used_fraction"] = min(room / sizes, 1.0) if sizes else 1.0
            held += int(volume["size"] * volume["used_fraction"])
    return held


def _pools(seen: Seen) -> list[dict[str, Any]]:
    members: dict[str, list[int]] = {}
    for row in seen.rows("qemu", "lxc"):
        if row.get("pool"):
            members.setdefault(str(row["pool"]), []).append(int(row["vmid"]))
    comments = {str(row["poolid"]): str(row.get("comment") or "") for row in seen.views.get("/pools", ())}
    return [{"poolid": name, "comment": comments.get(name, ""), "vms": members.get(name, [])} for name in sorted({*members, *comments})]


def _replication(row: Row) -> dict[str, Any]:
    found = _some(row, _REPLICATION_FIELDS)
    return found | {key: _whole(found[key]) for key in ("guest", "jobnum", "disable") if key in found}
