"""The inventory as DataFrames: what was there at a time, what changed, what a look did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pveops.base.clock import from_epoch_s
from pveops.frames.columns import Column, Table
from pveops.frames.frame import finish, frame_of
from pveops.model.inventory import STILL_MS, Change, Kind, Look, Report, Version
from pveops.model.resources import Answer, Gap

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


def _col(name: str, dtype: Any, doc: str) -> Column:
    return Column(name, dtype, doc, lambda row: row[name])


_CLUSTER = _col("cluster", "string", "profile of the cluster")
_VMID = _col("vmid", "Int64", "guest")
_SINCE = _col("since", "datetime64[ns, UTC]", "when this state was first seen")

WHAT_GUESTS = Table("inventory guests", "vmid", (
    _CLUSTER, _VMID, _col("name", "string", "name"), _col("kind", "string", "qemu or lxc"), _col("node", "string", "node it was on"),
    _col("status", "string", "running, stopped, paused, suspended or unknown"), _col("cpus", "Int64", "cores"), _col("maxmem_bytes", "Int64", "memory, bytes"),
    _col("maxdisk_bytes", "Int64", "size of the root disk, bytes"), _col("template", "boolean", "whether it is a template"), _col("lock", "string", "what held it"),
    _col("pool", "string", "resource pool"), _col("tags", "string", "tags, parted by ;"), _col("hastate", "string", "state in HA"), _SINCE,
))  # fmt: skip
WHAT_NODES = Table("inventory nodes", "node", (
    _CLUSTER, _col("node", "string", "name of the node"), _col("status", "string", "online, offline or unknown"), _col("cpus", "Int64", "threads"),
    _col("maxmem_bytes", "Int64", "memory, bytes"), _col("maxdisk_bytes", "Int64", "size of the root file system, bytes"), _SINCE,
))  # fmt: skip
WHAT_STORAGE = Table("inventory storage", "storage", (
    _CLUSTER, _col("storage", "string", "id of the storage"), _col("node", "string", "node that saw it so"), _col("type", "string", "dir, lvmthin, rbd, pbs …"),
    _col("status", "string", "available or unknown"), _col("shared", "boolean", "whether all nodes see the same content"),
    _col("total_bytes", "Int64", "size, bytes"), _col("content", "string", "what may lie in it, parted by ;"), _SINCE,
))  # fmt: skip
WHAT_CONFIG = Table("inventory config", "vmid", (
    _CLUSTER, _VMID, _col("key", "string", "key of the configuration, as in Proxmox VE"), _col("value", "string", "its value"), _SINCE,
))  # fmt: skip
WHAT_SNAPSHOTS = Table("inventory snapshots", "name", (
    _CLUSTER, _VMID, _col("name", "string", "name of the snapshot"), _col("created", "datetime64[ns, UTC]", "when it was made"),
    _col("with_memory", "boolean", "whether it holds the memory too"), _col("parent", "string", "snapshot it builds on"),
    _col("description", "string", "description"), _SINCE,
))  # fmt: skip
WHAT_ADDRESSES = Table("inventory addresses", "vmid", (
    _CLUSTER, _VMID, _col("interface", "string", "interface inside the guest"), _col("mac", "string", "its hardware address"),
    _col("address", "string", "address with prefix; missing where it has none"), _SINCE,
))  # fmt: skip
WHAT_BACKUPS = Table("inventory backups", "volid", (
    _CLUSTER, _VMID, _col("kind", "string", "qemu or lxc"), _col("created", "datetime64[ns, UTC]", "when it was made"), _col("storage", "string", "where it lies"),
    _col("node", "string", "on which node, where the storage is not shared"), _col("size_bytes", "Int64", "size, bytes"),
    _col("verified", "string", "ok or failed, where it was verified"), _col("protected", "boolean", "whether it is kept from pruning"),
    _col("format", "string", "vma.zst, tar.zst, pbs-vm …"), _col("notes", "string", "notes"), _col("volid", "string", "id of the volume"), _SINCE,
))  # fmt: skip
WHAT_DISKS = Table("inventory disks", "devpath", (
    _CLUSTER, _col("node", "string", "node that has it"), _col("devpath", "string", "device"), _col("model", "string", "model"), _col("serial", "string", "serial number"),
    _col("type", "string", "ssd, hdd, nvme …"), _col("size_bytes", "Int64", "size, bytes"), _col("health", "string", "what SMART says"),
    _col("wearout_left_pct", "Int64", "life left, percent, where the disk tells"), _col("used", "string", "what it is used for"), _SINCE,
))  # fmt: skip
CHANGES = Table("changes", "time", (
    _col("time", "datetime64[ns, UTC]", "when it was seen"), _col("not_before", "datetime64[ns, UTC]", "the look before: it happened between the two"), _CLUSTER,
    _col("what", "string", "guest, node, storage, config, snapshots, addresses, backups or disks"), _VMID,
    _col("name", "string", "name of the guest, node or storage"), _col("node", "string", "node it was on then"), _col("change", "string", "added, changed or gone"),
    _col("field", "string", "field, key of the configuration, snapshot …"), _col("before", "string", "value before"), _col("after", "string", "value after"),
    _col("by", "string", "user (and token) of the task that did it, where the task log knows"), _col("task", "string", "type of that task"),
    _col("upid", "string", "its id"),
))  # fmt: skip
LOOKED = Table("look", "what", (
    _CLUSTER, _col("what", "string", "guests, nodes, storages, tasks or a detail"), _col("known", "Int64", "things there are"),
    _col("read", "Int64", "things read at this look"), _col("changed", "Int64", "things that changed, came or went"),
    _col("missed", "Int64", "things that should have been read and were not: the next look reads them first"),
))  # fmt: skip
LOOKS_TABLE = Table("looks", "last", (
    _CLUSTER, _col("first", "datetime64[ns, UTC]", "first of these looks"), _col("last", "datetime64[ns, UTC]", "last of them"),
    _col("looks", "Int64", "how many"), _col("requests", "Int64", "requests they took"), _col("changes", "Int64", "things that changed"),
    _col("complete", "boolean", "whether nothing was missing"), _col("missing", "string", "what was"),
))  # fmt: skip

WHAT: Mapping[str, tuple[Kind, Table, Callable[[Version], list[Row]]]]
"""Word of ``as_of`` to kind, table, and how a version becomes rows."""


def _time(at_ms: int | None) -> datetime | None:
    return from_epoch_s(at_ms / 1000) if at_ms and at_ms < STILL_MS else None


def _seconds(at_s: int | None) -> datetime | None:
    return from_epoch_s(at_s) if at_s is not None else None


def _base(version: Version) -> dict[str, Any]:
    return {"cluster": version.cluster, "since": _time(version.from_ms)}


def _guest(version: Version) -> list[Row]:
    tags = ";".join(version.body["tags"]) or None
    return [{**_base(version), "vmid": int(version.key), **version.body, "tags": tags}]


def _node(version: Version) -> list[Row]:
    return [{**_base(version), "node": version.key, **version.body}]


def _storage(version: Version) -> list[Row]:
    node, _, name = version.key.partition("/")
    content = ";".join(version.body["content"]) or None
    return [{**_base(version), "node": node, "storage": name, **version.body, "content": content}]


def _config(version: Version) -> list[Row]:
    return [{**_base(version), "vmid": int(version.key), "key": key, "value": str(value)} for key, value in version.body.items()]


def _snapshots(version: Version) -> list[Row]:
    return [
        {
            **_base(version),
            "vmid": int(version.key),
            **row,
            "created": _seconds(row["created_s"]),
            "description": row["description"] or None,
        }
        for row in version.body
    ]


def _addresses(version: Version) -> list[Row]:
    vmid = int(version.key)
    return [
        {**_base(version), "vmid": vmid, "interface": name, "mac": row["mac"], "address": address}
        for name, row in version.body.items()
        if isinstance(row, dict)
        for address in row["addresses"] or [None]
    ]


def _backup(version: Version) -> list[Row]:
    unit, _, volid = version.key.partition("|")
    node, _, storage = unit.rpartition("/")
    made = _seconds(version.body["created_s"])
    return [{**_base(version), **version.body, "created": made, "storage": storage, "node": node or None, "volid": volid}]


def _disks(version: Version) -> list[Row]:
    return [{**_base(version), "node": version.key, **row} for row in version.body]


WHAT = {
    "guests": ("guest", WHAT_GUESTS, _guest), "nodes": ("node", WHAT_NODES, _node), "storage": ("storage", WHAT_STORAGE, _storage),
    "config": ("config", WHAT_CONFIG, _config), "snapshots": ("snapshots", WHAT_SNAPSHOTS, _snapshots), "addresses": ("addresses", WHAT_ADDRESSES, _addresses),
    "backups": ("backups", WHAT_BACKUPS, _backup), "disks": ("disks", WHAT_DISKS, _disks),
}  # fmt: skip
INVENTORY_TABLES: Mapping[str, Table] = {
    **{f'ops.as_of("yesterday", "{word}")': table for word, (_, table, _) in WHAT.items()},
    'ops.diff("yesterday")` and `ops.history(101)': CHANGES,
    "ops.sync()": LOOKED,
    "ops.looks()": LOOKS_TABLE,
}
"""By call, for the docs."""


def held_frame(what: str, versions: Sequence[Version], *, read_at: datetime, source: str, gaps: Sequence[Gap]) -> pd.DataFrame:
    """What held at a time; ``read_at`` is the look that saw it."""
    _, table, rows = WHAT[what]
    found = [row for version in versions for row in rows(version)]
    if "vmid" in table.order:
        found.sort(key=lambda row: (row["cluster"], row["vmid"] or 0))
    return _frame(table, found, read_at, source, gaps)


def changes_frame(changes: Sequence[Change], *, read_at: datetime, source: str, gaps: Sequence[Gap]) -> pd.DataFrame:
    """One row per field that changed, oldest first."""
    rows = [
        {"time": _time(one.at_ms), "not_before": _time(one.after_ms), "cluster": one.cluster, "what": one.kind, "vmid": one.vmid, "name": one.name, "node": one.node,
         "change": one.change, "field": one.field or None, "before": one.before, "after": one.after, "by": one.by, "task": one.task, "upid": one.upid}
        for one in changes
    ]  # fmt: skip
    return _frame(CHANGES, rows, read_at, source, gaps)


def report_frame(report: Report) -> pd.DataFrame:
    """What a look did. ``.attrs``: also ``requests``, ``per_node`` (requests by node), ``duration_s``, ``cpu_s``."""
    rows = [
        {"cluster": report.cluster, "what": one.what, "known": one.known, "read": one.read, "changed": one.changed, "missed": one.missed}
        for one in report.counts
    ]
    frame = _frame(LOOKED, rows, report.at, report.source, report.gaps)
    frame.attrs.update(requests=report.requests, per_node=dict(report.per_node), duration_s=report.duration_s, cpu_s=report.cpu_s)
    return frame


def looks_frame(looks: Sequence[Look], *, read_at: datetime, source: str) -> pd.DataFrame:
    """When the cluster was looked at, newest first."""
    rows = [
        {"cluster": look.cluster, "first": _time(look.first_ms), "last": _time(look.last_ms), "looks": look.looks, "requests": look.requests,
         "changes": look.changes, "complete": not look.gaps, "missing": "; ".join(f"{gap.what}: {gap.why}" for gap in look.gaps) or None}
        for look in looks
    ]  # fmt: skip
    return _frame(LOOKS_TABLE, rows, read_at, source, ())


def _frame(table: Table, rows: Sequence[Row], read_at: datetime, source: str, gaps: Sequence[Gap]) -> pd.DataFrame:
    return finish(frame_of(table, rows), table, Answer(rows=(), gaps=tuple(gaps), read_at=read_at, source=source))
