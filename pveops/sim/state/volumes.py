"""Making, finding and freeing volumes on storages."""

from __future__ import annotations

import re

from pveops.sim.errors import failed
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.storage import FILE_TYPES, Storage, Volume

_OWNER = re.compile(r"(?:(?:\d+|base-\d+-[^/]+)/)*(?:vm|base|subvol)-(\d+)-[^/]*")
"""A linked clone carries the name of its base image before its own."""


_LEAST_FREE = 32 * 1024**2
_FULL = {"lvmthin": "Cannot create new thin volume, free space in thin pool reached threshold.", "lvm": "insufficient free space"}
"""What a storage says that has no room for the beginning of an image."""


def usable_storage(cluster: Cluster, name: str, node: str) -> Storage:
    """The storage, if the node has it and it is on.

    Raises:
        RefusedError: 500, with what is wrong.
    """
    storage = cluster.storage(name)
    if not storage.enabled:
        raise failed(f"storage '{name}' is disabled")
    if not storage.on_node(node):
        raise failed(f"storage '{name}' is not available on node '{node}'")
    if storage.down:
        raise failed(f"storage '{name}' is not online")
    return storage


def find_volume(cluster: Cluster, volid: str, node: str) -> Volume | None:
    """The volume of that id as a node sees it."""
    storage = cluster.storages.get(volid.partition(":")[0])
    return storage.place(node).get(volid) if storage else None


def owner_of(volid: str) -> int:
    """The guest that a disk image belongs to by its name; 0 for none."""
    match = _OWNER.fullmatch(volid.partition(":")[2])
    return int(match[1]) if match else 0


def _name(storage: Storage, vmid: int, number: int, form: str, stem: str) -> str:
    if storage.kind in FILE_TYPES:
        return f"{storage.name}:{vmid}/{stem}-{number}.{form}"
    return f"{storage.name}:{stem}-{number}"


def allocate(
    cluster: Cluster, node: str, storage: Storage, vmid: int, size: int, *, form: str = "", content: str = "images", stem: str = ""
) -> Volume:
    """A new disk image of ``size`` bytes for a guest, with the first free number.

    Raises:
        RefusedError: 500, the storage holds no such content, or is full.
    """
    if content not in storage.content:
        raise failed(f"storage '{storage.name}' does not support content-type '{content}'")
    if cluster.free_bytes(storage, node) < min(size, _LEAST_FREE):
        raise failed(f"unable to create image: {_FULL.get(storage.kind, 'No space left on device')}")
    shown = form if storage.kind in FILE_TYPES and form else "raw"
    stem = stem or f"vm-{vmid}-disk"
    volumes = storage.place(node)
    number = 0
    while _name(storage, vmid, number, shown, stem) in volumes:
        number += 1
    volume = Volume(_name(storage, vmid, number, shown, stem), content, size, shown, int(cluster.now_s), vmid, 0.02)
    volumes[volume.volid] = volume
    cluster.generation += 1
    return volume


def free(cluster: Cluster, volid: str, node: str) -> bool:
    """Remove a volume; whether it was there."""
    storage = cluster.storages.get(volid.partition(":")[0])
    found = storage is not None and storage.place(node).pop(volid, None) is not None
    if found:
        cluster.generation += 1
    return found
