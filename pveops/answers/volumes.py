"""Disks that no guest uses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pveops.answers.look import Look
from pveops.answers.room import Place, disk_volumes, name_hidden, replica_nodes
from pveops.base.clock import from_epoch_s
from pveops.frames.columns import Column, Table
from pveops.model.resources import Answer, Guest
from pveops.model.values import whole

Why = Literal["no guest", "guest is on another node", "not in its configuration", "unused"]
_OWNER = re.compile(r"(?:^|[:/])(?:vm|base|subvol|basevol)-(\d+)-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A disk that no guest uses. Sizes are bytes."""

    volid: str
    storage: str
    node: str | None
    why: Why
    vmid: int | None
    name: str | None
    size_bytes: int | None
    created: datetime | None


ORPHANED_DISKS = Table(
    "orphaned_disks",
    "volid",
    (
        Column("volid", "string", "id of the volume", lambda row: row.volid),
        Column("why", "string", "no guest; guest is on another node (a leftover of a move); not in its configuration; unused (the configuration says so)",
               lambda row: row.why),
        Column("storage", "string", "where it lies", lambda row: row.storage),
        Column("node", "string", "node, where the storage is not shared", lambda row: row.node),
        Column("vmid", "Int64", "guest in its name", lambda row: row.vmid),
        Column("name", "string", "name of that guest, where there is one", lambda row: row.name),
        Column("size_bytes", "Int64", "its size, bytes", lambda row: row.size_bytes),
        Column("created", "datetime64[ns, UTC]", "when it was made, where the storage knows", lambda row: row.created),
    ),
)  # fmt: skip


def owner_of(row: Mapping[str, Any]) -> int | None:
    """The guest that a volume belongs to, by what the storage says or by its name."""
    match = _OWNER.search(str(row.get("volid") or ""))
    return whole(row.get("vmid")) or (int(match[1]) if match else None)


def judge(
    volumes: Mapping[Place, Iterable[Mapping[str, Any]]],
    guests: Mapping[int, Guest],
    configs: Mapping[int, Mapping[str, Any]],
    *,
    replicas: Mapping[int, Iterable[str]] | None,
    all_seen: bool,
) -> list[Orphan]:
    """Disks that no guest uses, the largest first.

    Args:
        volumes: disks by storage and node.
        guests: all guests, by id.
        configs: configurations of those that could be read.
        replicas: nodes to which disks of a guest are replicated; its copies there are no orphans. None when that is not known.
        all_seen: whether the token sees all guests; if not, a disk whose guest is not among them says nothing.
    """  # fmt: skip
    found = []
    for (storage, node), rows in volumes.items():
        for row in rows:
            vmid = owner_of(row)
            why = _why(str(row["volid"]), node, vmid, guests, configs, replicas, all_seen=all_seen)
            if why is not None:
                made = whole(row.get("ctime"))
                known = guests.get(vmid or 0)
                found.append(Orphan(
                    volid=str(row["volid"]), storage=storage, node=node or None, why=why, vmid=vmid, name=known.name if known else None,
                    size_bytes=whole(row.get("size")), created=None if made is None else from_epoch_s(made),
                ))  # fmt: skip
    return sorted(found, key=lambda row: (-(row.size_bytes or 0), row.volid))


def _why(
    volid: str, node: str, vmid: int | None, guests: Mapping[int, Guest], configs: Mapping[int, Mapping[str, Any]],
    replicas: Mapping[int, Iterable[str]] | None, *, all_seen: bool,
) -> Why | None:  # fmt: skip
    guest = guests.get(vmid or 0)
    if guest is None:
        return "no guest" if all_seen and vmid is not None else None
    if node and node != guest.node:
        return None if replicas is None or node in replicas.get(guest.vmid, ()) else "guest is on another node"
    config = configs.get(guest.vmid)
    if config is None or f"vm-{guest.vmid}-state-" in volid:
        return None  # the memory of a snapshot stands in the snapshot's own section
    users = [key for key, value in config.items() if str(value).partition(",")[0] == volid or f"={volid}," in f"={value},"]
    if not users:
        return "not in its configuration"
    return "unused" if all(key.startswith("unused") for key in users) else None


def orphaned_disks(look: Look) -> Answer[Orphan]:
    """Disks in all storages against all guests. One request per storage (per node where it is not shared) and one per guest that owns a disk."""
    nodes, guests, storages = look.lists()
    away = {node.name for node in nodes if node.status == "offline"}
    volumes = disk_volumes(look, storages)
    name_hidden(look, volumes, guests)
    all_seen = look.needs("disks of guests that the token may not see", "VM.Audit", "/vms")
    by_id = {guest.vmid: guest for guest in guests}
    owners = {vmid for rows in volumes.values() for row in rows if (vmid := owner_of(row)) in by_id and by_id[vmid].node not in away}
    configs = look.each(
        sorted(owners), lambda vmid: look.cluster.get(f"{by_id[vmid].ref.path}/config"), lambda vmid: f"configuration of {by_id[vmid].label}",
        "/nodes/{node}/{kind}/{vmid}/config",
    )  # fmt: skip
    return look.answer(judge(volumes, by_id, configs, replicas=replica_nodes(look), all_seen=all_seen))
