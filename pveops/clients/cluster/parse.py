"""Rows of Proxmox VE to the model. Every key may be absent; 8.x, 9.x and an offline node differ in what they leave out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from pveops.base.clock import from_epoch_s
from pveops.base.errors import InputError
from pveops.model.resources import Backup, Guest, GuestStatus, Node, NodeStatus, Snapshot, Storage
from pveops.model.tasks import Outcome, Task, Upid
from pveops.model.values import flag, fraction, whole, words

Row = Mapping[str, Any]
_VOLID_VMID = re.compile(r"vzdump-(?P<kind>qemu|lxc)-(?P<vmid>\d+)-|/(?P<pbs>vm|ct)/(?P<pbsid>\d+)/")


def node(row: Row) -> Node:
    """A node of ``/cluster/resources`` or ``/nodes``."""
    status = row.get("status")
    return Node(
        name=str(row.get("node") or row.get("name") or ""),
        status=cast("NodeStatus", status) if status in ("online", "offline") else "unknown",
        cpu_fraction=fraction(row.get("cpu")),
        cpus=whole(row.get("maxcpu")),
        mem_bytes=whole(row.get("mem")),
        maxmem_bytes=whole(row.get("maxmem")),
        disk_bytes=whole(row.get("disk")),
        maxdisk_bytes=whole(row.get("maxdisk")),
        uptime_s=whole(row.get("uptime")),
        raw=row,
    )


def guest(row: Row) -> Guest:
    """A guest of ``/cluster/resources``."""
    status = row.get("status")
    return Guest(
        vmid=int(row["vmid"]),
        kind="lxc" if row.get("type") in ("lxc", "openvz") else "qemu",
        node=str(row.get("node") or ""),
        name=row.get("name") or None,
        status=cast("GuestStatus", status) if status in ("running", "stopped", "paused", "suspended") else "unknown",
        template=flag(row.get("template")),
        lock=row.get("lock") or None,
        pool=row.get("pool") or None,
        tags=words(row.get("tags")),
        hastate=row.get("hastate") or None,
        cpu_fraction=fraction(row.get("cpu")),
        cpus=whole(row.get("maxcpu")),
        mem_bytes=whole(row.get("mem")),
        maxmem_bytes=whole(row.get("maxmem")),
        disk_bytes=whole(row.get("disk")) or None if row.get("type") == "qemu" else whole(row.get("disk")),
        maxdisk_bytes=whole(row.get("maxdisk")),
        uptime_s=whole(row.get("uptime")),
        netin_bytes=whole(row.get("netin")),
        netout_bytes=whole(row.get("netout")),
        diskread_bytes=whole(row.get("diskread")),
        diskwrite_bytes=whole(row.get("diskwrite")),
        raw=row,
    )


def storage(row: Row) -> Storage:
    """A storage of ``/cluster/resources`` (one row per node)."""
    return Storage(
        name=str(row.get("storage") or ""),
        node=str(row.get("node") or ""),
        type=row.get("plugintype") or row.get("type") or None,
        status="available" if row.get("status") == "available" else "unknown",
        shared=flag(row.get("shared")),
        content=words(row.get("content")),
        used_bytes=whole(row.get("disk")),
        total_bytes=whole(row.get("maxdisk")),
        raw=row,
    )


def task(row: Row) -> Task | None:
    """A task of a task list; none where the row carries no UPID that can be read."""
    try:
        upid = Upid.parse(str(row.get("upid") or ""))
    except InputError:
        return None
    started = whole(row.get("starttime")) or upid.starttime_s
    ended = whole(row.get("endtime"))
    status = row.get("status")
    running = status == "RUNNING" or (ended is None and not status)
    user, _, token = str(row.get("user") or upid.user).partition("!")
    return Task(
        upid=upid,
        node=str(row.get("node") or upid.node),
        type=str(row.get("type") or upid.type),
        id=str(row.get("id") or upid.id),
        user=user,
        token=row.get("tokenid") or token or None,
        started=from_epoch_s(started),
        ended=None if ended is None else from_epoch_s(ended),
        outcome=Outcome.of("running", None) if running else Outcome.of("stopped", None if status is None else str(status)),
    )


def snapshot(row: Row) -> Snapshot | None:
    """A snapshot; none for the row ``current``."""
    name = str(row.get("name") or "")
    if name in ("", "current"):
        return None
    created = whole(row.get("snaptime"))
    return Snapshot(
        name=name,
        description=str(row.get("description") or "").strip(),
        created=None if created is None else from_epoch_s(created),
        with_memory=flag(row.get("vmstate")),
        parent=row.get("parent") or None,
        raw=row,
    )


def backup(row: Row, storage_name: str) -> Backup:
    """A row of a storage's content."""
    volid = str(row.get("volid") or "")
    match = _VOLID_VMID.search(volid)
    found = match and (match["vmid"] or match["pbsid"])
    kind = match and (match["kind"] or {"vm": "qemu", "ct": "lxc"}[match["pbs"]])
    if not kind and row.get("subtype") in ("qemu", "lxc"):
        kind = str(row["subtype"])
    created = whole(row.get("ctime"))
    verification = row.get("verification")
    state = verification.get("state") if isinstance(verification, dict) else None
    return Backup(
        volid=volid,
        storage=storage_name,
        vmid=whole(row.get("vmid")) or whole(found),
        kind=cast("Literal['qemu', 'lxc'] | None", kind or None),
        created=None if created is None else from_epoch_s(created),
        size_bytes=whole(row.get("size")),
        format=row.get("format") or None,
        notes=row.get("notes") or None,
        protected=flag(row.get("protected")),
        verified=state if state in ("ok", "failed") else None,
        raw=row,
    )
