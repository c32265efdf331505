"""Room: what was promised against what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pveops.answers.look import Look
from pveops.frames.columns import Column, Table
from pveops.model.resources import Answer, Gap, Guest, Node, Storage
from pveops.model.values import whole

Place = tuple[str, str]
"""Storage and node; the node is empty for a storage that all share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One node or storage. Shares are of what there is: 1.5 is 150 % promised."""

    about: Literal["node", "storage"]
    name: str
    node: str | None
    verdict: Literal["fits", "over", "unknown"]
    cpus: int | None = None
    vcpus: int | None = None
    maxmem_bytes: int | None = None
    mem_promised_bytes: int | None = None
    total_bytes: int | None = None
    disk_promised_bytes: int | None = None
    used_bytes: int | None = None
    guests: int | None = 0


def _share(part: int | None, whole_: int | None) -> float | None:
    return part / whole_ if part is not None and whole_ else None


OVERCOMMIT = Table(
    "overcommit",
    "name",
    (
        Column("about", "string", "node or storage", lambda row: row.about),
        Column("name", "string", "which one", lambda row: row.name),
        Column("node", "string", "node of a storage that is not shared", lambda row: row.node),
        Column("verdict", "string", "fits; over (memory or disk beyond what there is, or more than the given CPUs per thread); unknown", lambda row: row.verdict),
        Column("cpus", "Int64", "threads of the node", lambda row: row.cpus),
        Column("vcpus", "Int64", "cores of its running guests", lambda row: row.vcpus),
        Column("cpu_promised_fraction", "Float64", "cores of running guests per thread", lambda row: _share(row.vcpus, row.cpus)),
        Column("maxmem_bytes", "Int64", "memory of the node, bytes", lambda row: row.maxmem_bytes),
        Column("mem_promised_bytes", "Int64", "memory that its running guests may take, bytes", lambda row: row.mem_promised_bytes),
        Column("mem_promised_fraction", "Float64", "that as a share of its memory", lambda row: _share(row.mem_promised_bytes, row.maxmem_bytes)),
        Column("total_bytes", "Int64", "size of the storage, bytes", lambda row: row.total_bytes),
        Column("used_bytes", "Int64", "in use there, bytes", lambda row: row.used_bytes),
        Column("disk_promised_bytes", "Int64", "sizes of all disks in it, bytes; not known where the token may not see all", lambda row: row.disk_promised_bytes),
        Column("disk_promised_fraction", "Float64", "that as a share of its size", lambda row: _share(row.disk_promised_bytes, row.total_bytes)),
        Column("guests", "Int64", "running guests of the node, or guests with a disk in the storage", lambda row: row.guests),
    ),
)  # fmt: skip


def judge(
    nodes: Iterable[Node],
    guests: Sequence[Guest],
    storages: Iterable[Storage],
    volumes: Mapping[Place, Sequence[Mapping[str, Any]]],
    *,
    cpus_per_thread: float,
    hidden: Collection[str] = (),
) -> list[Promise]:
    """Promises of each node, and of each storage that was read; of ``hidden`` ones only that they are over can be known."""  # fmt: skip
    rows = []
    for node in nodes:
        runs = [guest for guest in guests if guest.node == node.name and guest.status == "running"]
        vcpus, mem = sum(guest.cpus or 0 for guest in runs), sum(guest.maxmem_bytes or 0 for guest in runs)
        over = (_share(mem, node.maxmem_bytes) or 0) > 1 or (_share(vcpus, node.cpus) or 0) > cpus_per_thread
        known = node.maxmem_bytes and node.cpus and node.status == "online"
        rows.append(Promise(
            about="node", name=node.name, node=node.name, verdict=("over" if over else "fits") if known else "unknown", cpus=node.cpus, vcpus=vcpus,
            maxmem_bytes=node.maxmem_bytes, mem_promised_bytes=mem, guests=len(runs),
        ))  # fmt: skip
    for storage in places(storages):
        held = volumes.get(place_of(storage))
        if held is None:
            continue
        promised = sum(whole(row.get("size")) or 0 for row in held)
        over = promised > (storage.total_bytes or promised)
        part = storage.name in hidden and not over
        rows.append(Promise(
            about="storage", name=storage.name, node=None if storage.shared else storage.node, total_bytes=storage.total_bytes,
            verdict="over" if over else "unknown" if part or not storage.total_bytes else "fits",
            disk_promised_bytes=None if part else promised, used_bytes=storage.used_bytes,
            guests=None if part else len({row.get("vmid") for row in held} - {None}),
        ))  # fmt: skip
    return rows


def overcommit(look: Look, *, cpus_per_thread: float) -> Answer[Promise]:
    """Memory and cores of running guests against their node, sizes of disks against their storage. One request per storage that holds disks."""
    nodes, guests, storages = look.lists()
    volumes = disk_volumes(look, storages)
    hidden = name_hidden(look, volumes, guests)
    return look.answer(judge(nodes, guests, storages, volumes, cpus_per_thread=cpus_per_thread, hidden=hidden))


def place_of(storage: Storage) -> Place:
    """Where its content lies."""
    return storage.name, "" if storage.shared else storage.node


def places(storages: Iterable[Storage], content: Iterable[str] = ("images", "rootdir")) -> list[Storage]:
    """Storages that may hold such content; a shared one once, by a node that sees it."""
    found: dict[Place, Storage] = {}
    for row in storages:
        if set(row.content) & set(content) and (place_of(row) not in found or found[place_of(row)].status != "available"):
            found[place_of(row)] = row
    return list(found.values())


def disk_volumes(look: Look, storages: Iterable[Storage]) -> dict[Place, list[Mapping[str, Any]]]:
    """Disks in each storage that can be asked, as Proxmox VE lists them."""
    look.needs("some disks", "Datastore.Audit", "/storage")
    by_place = {}
    for row in places(storages):
        where = row.name if row.shared else f"{row.name} on {row.node}"
        if row.status == "available":
            by_place[place_of(row)] = row
        else:
            look.add(Gap(what=f"disks in {where}", why="the storage is not available there"))
    found = look.each(
        by_place, lambda place: look.cluster.get(f"{by_place[place].ref.path}/content"),
        lambda place: f"disks in {place[0]}" + (f" on {place[1]}" if place[1] else ""), "/nodes/{node}/storage/{storage}/content",
    )  # fmt: skip
    return {place: [row for row in rows if row.get("content") in ("images", "rootdir")] for place, rows in found.items()}


def hidden_disks(look: Look, volumes: Iterable[Place]) -> list[str]:
    """Storages of which Proxmox VE shows the token no disks, or not those of all guests, without a word."""
    names = sorted({name for name, _ in volumes})
    every_guest = look.cluster.may("VM.Config.Disk", "/vms")
    return [
        name for name in names
        if not look.cluster.may("Datastore.Allocate", f"/storage/{name}")
        and not (every_guest and look.cluster.may("Datastore.AllocateSpace", f"/storage/{name}"))
    ]  # fmt: skip


def name_hidden(look: Look, volumes: Mapping[Place, Sequence[Mapping[str, Any]]], guests: Iterable[Guest]) -> list[str]:
    """Storages whose disks were not all seen, each named as a gap; also where none lists a disk although guests have some."""
    hidden = hidden_disks(look, volumes)
    for name in hidden:
        look.add(Gap(
            what=f"disks in {name}", why="Proxmox VE does not show all of them to this token",
            needs=f"VM.Config.Disk on /vms with Datastore.AllocateSpace on /storage/{name}, or Datastore.Allocate there (all of them also allow changes)",
        ))  # fmt: skip
    if not hidden and volumes and not any(volumes.values()) and any(guest.maxdisk_bytes for guest in guests):
        hidden = sorted({name for name, _ in volumes})
        look.add(Gap(what=f"disks in {', '.join(hidden)}", why="no storage lists a disk, although guests have some"))
    return hidden


def replica_nodes(look: Look) -> dict[int, list[str]] | None:
    """Nodes that hold a replica of a guest's disks, by guest; none where the jobs cannot be read."""
    jobs = look.try_get("/cluster/replication", "replication jobs")
    if jobs is None:
        return None
    found: dict[int, list[str]] = {}
    for job in jobs:
        found.setdefault(whole(job.get("guest")) or 0, []).append(str(job.get("target")))
    return found
