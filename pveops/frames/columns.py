"""The columns of every table: name with unit, dtype, meaning, and how it is read off the model. One definition for frames, CLI and docs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pveops.model.resources import Backup, Guest, Node, Snapshot, Storage
from pveops.model.tasks import Task

Dtype = Literal["string", "Int64", "Float64", "boolean", "datetime64[ns, UTC]", "object"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. An absent value is missing (``<NA>``), never 0 or an empty text."""

    name: str
    dtype: Dtype
    doc: str
    of: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns in order and the one that identifies a row."""

    name: str
    key: str
    columns: tuple[Column, ...]

    def rows(self, items: Iterable[Any]) -> list[dict[str, Any]]:
        """Records of plain values, one per item."""
        return [{column.name: column.of(item) for column in self.columns} for item in items]

    @property
    def order(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(column.name for column in self.columns)


def _share(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


NODES = Table(
    "nodes",
    "node",
    (
        Column("node", "string", "name of the node", lambda node: node.name),
        Column("status", "string", "online, offline or unknown", lambda node: node.status),
        Column("cpu_fraction", "Float64", "CPU in use, share of all threads", lambda node: node.cpu_fraction),
        Column("cpus", "Int64", "threads", lambda node: node.cpus),
        Column("mem_fraction", "Float64", "memory in use", lambda node: _share(node.mem_bytes, node.maxmem_bytes)),
        Column("mem_bytes", "Int64", "memory in use, bytes", lambda node: node.mem_bytes),
        Column("maxmem_bytes", "Int64", "memory, bytes", lambda node: node.maxmem_bytes),
        Column("disk_fraction", "Float64", "root file system in use", lambda node: _share(node.disk_bytes, node.maxdisk_bytes)),
        Column("disk_bytes", "Int64", "root file system in use, bytes", lambda node: node.disk_bytes),
        Column("maxdisk_bytes", "Int64", "size of the root file system, bytes", lambda node: node.maxdisk_bytes),
        Column("uptime_s", "Int64", "seconds since its start", lambda node: node.uptime_s),
    ),
)

GUESTS = Table(
    "guests",
    "vmid",
    (
        Column("vmid", "Int64", "id", lambda guest: guest.vmid),
        Column("name", "string", "name", lambda guest: guest.name),
        Column("kind", "string", "qemu (virtual machine) or lxc (container)", lambda guest: guest.kind),
        Column("node", "string", "node it is on", lambda guest: guest.node or None),
        Column("status", "string", "running, stopped, paused, suspended or unknown", lambda guest: guest.status),
        Column("cpu_fraction", "Float64", "CPU in use, share of its own cores", lambda guest: guest.cpu_fraction),
        Column("cpus", "Int64", "cores", lambda guest: guest.cpus),
        Column("mem_fraction", "Float64", "memory in use", lambda guest: _share(guest.mem_bytes, guest.maxmem_bytes)),
        Column("mem_bytes", "Int64", "memory in use, bytes", lambda guest: guest.mem_bytes),
        Column("maxmem_bytes", "Int64", "memory, bytes", lambda guest: guest.maxmem_bytes),
        Column("disk_bytes", "Int64", "root disk in use, bytes (containers only)", lambda guest: guest.disk_bytes),
        Column("maxdisk_bytes", "Int64", "size of the root disk, bytes", lambda guest: guest.maxdisk_bytes),
        Column("uptime_s", "Int64", "seconds since its start; 0 when it does not run", lambda guest: guest.uptime_s),
        Column("template", "boolean", "whether it is a template", lambda guest: guest.template),
        Column("lock", "string", "what holds it: backup, migrate, snapshot …", lambda guest: guest.lock),
        Column("pool", "string", "resource pool", lambda guest: guest.pool),
        Column("tags", "string", "tags, parted by ;", lambda guest: ";".join(guest.tags) or None),
        Column("hastate", "string", "state in HA, where it is managed", lambda guest: guest.hastate),
    ),
)

STORAGE = Table(
    "storage",
    "storage",
    (
        Column("storage", "string", "id of the storage", lambda storage: storage.name),
        Column("node", "string", "node that sees it so", lambda storage: storage.node),
        Column("type", "string", "dir, lvmthin, zfspool, nfs, rbd, pbs …", lambda storage: storage.type),
        Column("status", "string", "available or unknown", lambda storage: storage.status),
        Column("shared", "boolean", "whether all nodes see the same content", lambda storage: storage.shared),
        Column("used_fraction", "Float64", "share in use", lambda storage: _share(storage.used_bytes, storage.total_bytes)),
        Column("used_bytes", "Int64", "in use, bytes", lambda storage: storage.used_bytes),
        Column("total_bytes", "Int64", "size, bytes", lambda storage: storage.total_bytes),
        Column("content", "string", "what may lie in it, parted by ;", lambda storage: ";".join(storage.content) or None),
    ),
)

TASKS = Table(
    "tasks",
    "upid",
    (
        Column("started", "datetime64[ns, UTC]", "start", lambda task: task.started),
        Column("node", "string", "node it ran on", lambda task: task.node),
        Column("type", "string", "qmigrate, vzdump, qmsnapshot …", lambda task: task.type),
        Column("id", "string", "guest or other thing it worked on", lambda task: task.id or None),
        Column("outcome", "string", "running, done, warnings, failed or unknown", lambda task: task.outcome.kind),
        Column("exit_text", "string", "how Proxmox VE says that it ended", lambda task: task.outcome.text or None),
        Column("duration_s", "Float64", "seconds it took; missing while it runs", lambda task: task.duration_s),
        Column("user", "string", "who started it", lambda task: task.user),
        Column("token", "string", "with which token", lambda task: task.token),
        Column("upid", "string", "task id", lambda task: task.upid.text),
    ),
)

BACKUPS = Table(
    "backups",
    "volid",
    (
        Column("created", "datetime64[ns, UTC]", "when it was made", lambda backup: backup.created),
        Column("vmid", "Int64", "guest", lambda backup: backup.vmid),
        Column("kind", "string", "qemu or lxc", lambda backup: backup.kind),
        Column("storage", "string", "where it lies", lambda backup: backup.storage),
        Column("size_bytes", "Int64", "size, bytes", lambda backup: backup.size_bytes),
        Column("verified", "string", "ok or failed, where it was verified", lambda backup: backup.verified),
        Column("protected", "boolean", "whether it is kept from pruning", lambda backup: backup.protected),
        Column("format", "string", "vma.zst, tar.zst, pbs-vm …", lambda backup: backup.format),
        Column("notes", "string", "first line of its notes", lambda backup: backup.notes),
        Column("volid", "string", "id of the volume", lambda backup: backup.volid),
    ),
)

SNAPSHOTS = Table(
    "snapshots",
    "name",
    (
        Column("name", "string", "name", lambda snap: snap.name),
        Column("created", "datetime64[ns, UTC]", "when it was made", lambda snap: snap.created),
        Column("with_memory", "boolean", "whether it holds the memory too", lambda snap: snap.with_memory),
        Column("parent", "string", "snapshot it builds on", lambda snap: snap.parent),
        Column("description", "string", "description", lambda snap: snap.description or None),
    ),
)

TABLES: Mapping[str, Table] = {table.name: table for table in (NODES, GUESTS, STORAGE, TASKS, BACKUPS, SNAPSHOTS)}

Item = Node | Guest | Storage | Task | Backup | Snapshot
