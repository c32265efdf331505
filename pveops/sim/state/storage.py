"""Storages and what lies on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pveops.sim.props import split_list

SHARED_TYPES = frozenset({"nfs", "cifs", "rbd", "cephfs", "pbs", "iscsi", "iscsidirect", "zfs", "esxi"})
FILE_TYPES = frozenset({"dir", "nfs", "cifs", "cephfs", "btrfs"})
SNAPSHOT_TYPES = frozenset({"lvmthin", "rbd", "zfspool", "btrfs", "zfs"})
_DEFAULT_CONTENT = {
    "lvm": "images,rootdir",
    "lvmthin": "images,rootdir",
    "rbd": "images,rootdir",
    "zfspool": "images,rootdir",
    "pbs": "backup",
}


@dataclass(slots=True)
class Volume:
    """Something on a storage: disk image, ISO, template, backup. ``size`` is bytes, ``ctime_s`` seconds since the epoch."""

    volid: str
    content: str
    size: int
    form: str
    ctime_s: int
    vmid: int = 0
    used_fraction: float = 1.0
    parent: str = ""
    subtype: str = ""
    notes: str = ""
    protected: bool = False
    verified: bool = False


@dataclass(slots=True)
class Storage:
    """A storage as ``storage.cfg`` defines it, its size, and its volumes.

    ``total`` and ``used`` are bytes per node, or of the whole when shared; ``used`` is what is not explained by volumes.
    ``growth`` is bytes per day.
    """

    name: str
    kind: str
    options: dict[str, Any]
    total: int
    used: int
    growth: float = 0.0
    full: dict[str, float] = field(default_factory=dict)
    """Nodes on which it is filled to a given fraction, whatever its volumes add up to."""
    secret_s: float = 0.0
    """When somebody last entered the password of its server, seconds since the epoch."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Its size in bytes on nodes where that is not ``total``."""
    down: bool = False
    """Whether what it stands on does not answer."""
    hangs: bool = False
    """Whether who asks it waits in vain."""
    volumes: dict[str, dict[str, Volume]] = field(default_factory=dict)
    """Volumes by node (the empty text for a shared storage), then by volume id."""

    @property
    def shared(self) -> bool:
        """Whether all nodes see the same content."""
        return self.kind in SHARED_TYPES or bool(self.options.get("shared"))

    @property
    def enabled(self) -> bool:
        """Not switched off in the configuration."""
        return not self.options.get("disable")

    @property
    def content(self) -> list[str]:
        """The kinds of content it may hold."""
        return split_list(str(self.options.get("content") or _DEFAULT_CONTENT.get(self.kind, "images,rootdir")))

    def on_node(self, node: str) -> bool:
        """Whether the node has this storage."""
        nodes = self.options.get("nodes")
        return not nodes or node in split_list(str(nodes))

    def place(self, node: str) -> dict[str, Volume]:
        """The volumes that a node sees."""
        return self.volumes.setdefault("" if self.shared else node, {})

    def root_path(self) -> str:
        """The directory of a file storage."""
        return str(self.options.get("path") or f"/mnt/pve/{self.name}")

    @property
    def can_snapshot(self) -> bool:
        """Whether the storage itself makes snapshots of raw images."""
        return self.kind in SNAPSHOT_TYPES
