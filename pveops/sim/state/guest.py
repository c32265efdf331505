"""A guest: virtual machine (``qemu``) or container (``lxc``), its configuration, snapshots and power."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from pveops.sim.props import read_props, size_bytes
from pveops.sim.state.digest import sha1_of

Kind = Literal["qemu", "lxc"]
Value = str | int | float

QEMU_DISK = re.compile(r"(ide|sata|scsi|virtio)\d+|efidisk0|tpmstate0")
LXC_DISK = re.compile(r"rootfs|mp\d+")
UNUSED_DISK = re.compile(r"unused\d+")
_BOOT_ORDER = re.compile(r"order=([^,]*)")
_SIZE = re.compile(r"\bsize=(\d[\d.]*[KMGT]?)")
_MIB = 1024**2


@dataclass(slots=True)
class Snapshot:
    """A snapshot: the configuration of its moment. ``time_s`` is seconds since the epoch."""

    name: str
    time_s: int
    config: dict[str, Value]
    description: str = ""
    parent: str = ""
    vmstate: bool = False


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as the configuration names it. ``size`` is bytes, 0 where the configuration does not say."""

    key: str
    volid: str
    size: int
    options: dict[str, str] = field(compare=False)

    @property
    def storage(self) -> str:
        """The storage part of the volume id; empty for ``none`` and host paths."""
        return self.volid.partition(":")[0] if ":" in self.volid else ""

    @property
    def cdrom(self) -> bool:
        """A CD drive (which includes the cloud-init drive)."""
        return self.options.get("media") == "cdrom"


def read_disk(key: str, text: str) -> Disk:
    """The disk behind a configuration value."""
    options = read_props(text, "file")
    volid = options.pop("file", options.pop("volume", ""))
    size = options.get("size", "")
    return Disk(key, volid, size_bytes(size) if size and size[0].isdigit() else 0, options)


class Guest:
    """One guest. What the lists show often is kept ready in slots; ``touch`` after each change of the configuration."""

    __slots__ = (
        "_digest",
        "_digest_seen",
        "agent_answers",
        "booted_s",
        "config",
        "cpus",
        "created_s",
        "head",
        "ident",
        "image_bytes",
        "index",
        "kind",
        "level",
        "lock",
        "maxdisk",
        "maxmem",
        "name",
        "node",
        "observed",
        "paces",
        "parent",
        "past_runs",
        "paused",
        "pending",
        "pid",
        "placements",
        "profile",
        "running",
        "sid",
        "since_s",
        "snapshots",
        "tags",
        "template",
        "vmid",
    )

    def __init__(self, vmid: int, kind: Kind, node: str, config: dict[str, Value], *, created_s: float = 0.0) -> None:
        self.vmid = vmid
        self.kind: Kind = kind
        self.ident = f"{kind}/{vmid}"
        """Its id in the view of the cluster."""
        self.sid = f"{'vm' if kind == 'qemu' else 'ct'}:{vmid}"
        """Its id for high availability."""
        self.node = node
        self.config = config
        self.created_s = created_s
        self.pending: dict[str, Value | None] = {}
        """Changes that wait for the next start; ``None`` stands for a key to be deleted."""
        self.snapshots: dict[str, Snapshot] = {}
        self.parent = ""
        self.running = False
        self.paused = False
        self.since_s = 0.0
        """When it was last started, while it runs."""
        self.booted_s = 0.0
        """When its system came up; a live migration starts a new process, but boots nothing."""
        self.past_runs: list[tuple[float, float]] = []
        """Earlier times of running: start and end."""
        self.placements: list[tuple[float, str]] = [(0.0, node)]
        """Since when on which node, oldest first."""
        self.pid = 0
        self.index = -1
        self.agent_answers = True
        """Whether its agent works, where the configuration has one."""
        self.profile = "web"
        self.level = 1.0
        self.paces: dict[str, float] = {}
        """How long its own things take, where that was seen: ``start_s``, ``shutdown_s``, ``migration_bytes_s``."""
        self.observed: tuple[float, float] | None = None
        """CPU and memory as fractions, where they were seen: then its load is even, not a curve."""
        self._digest_seen = ("", "")
        self.touch()

    def touch(self) -> None:
        """Recompute what follows from the configuration."""
        config = self.config
        self._digest = ""
        self.head: bytes | None = None
        """Room for views that keep what they made of the guest until it changes."""
        self.lock = str(config.get("lock", ""))
        self.template = int(config.get("template", 0))
        self.tags = str(config.get("tags", ""))
        if self.kind == "qemu":
            self.name = str(config.get("name", f"VM {self.vmid}"))
            self.cpus = int(config.get("vcpus", 0)) or int(config.get("sockets", 1)) * int(config.get("cores", 1))
            self.maxmem = int(read_props(str(config.get("memory", 512)), "current").get("current", 512)) * _MIB
        else:
            self.name = str(config.get("hostname", f"CT{self.vmid}"))
            self.cpus = int(config.get("cores", 0))
            self.maxmem = int(config.get("memory", 512)) * _MIB
        root = self.root_disk()
        self.maxdisk = root.size if root else 0
        sizes = (_SIZE.search(value) for value in config.values() if isinstance(value, str) and "size=" in value)
        self.image_bytes = sum(size_bytes(match[1]) for match in sizes if match)

    @property
    def digest(self) -> str:
        """40 hexadecimal digits that change with every change of the configuration file."""
        if not self._digest:
            parts = [sorted(self.config.items()), sorted((key, str(value)) for key, value in self.pending.items()), self.parent]
            parts += [(name, snap.description, snap.parent, sorted(snap.config.items())) for name, snap in self.snapshots.items()]
            self._digest = sha1_of(parts)
        own, seen = self._digest_seen
        return seen if own and self._digest == own else self._digest

    def show_digest(self, seen: str) -> None:
        """Show this digest for the configuration as it is now: the one that was seen where it comes from."""
        self._digest_seen = ("", "")
        self._digest_seen = (self.digest, seen)

    def keys(self, pattern: re.Pattern[str]) -> list[str]:
        """The configuration keys that fit, in natural order."""
        found = [key for key in self.config if pattern.fullmatch(key)]
        return sorted(found, key=lambda key: (key.rstrip("0123456789"), int(re.sub(r"\D", "", key) or 0)))

    def disks(self, *, with_unused: bool = False) -> list[Disk]:
        """All disks of the current configuration."""
        keys = self.keys(QEMU_DISK if self.kind == "qemu" else LXC_DISK)
        if with_unused:
            keys += self.keys(UNUSED_DISK)
        return [read_disk(key, str(self.config[key])) for key in keys]

    def root_disk(self) -> Disk | None:
        """The boot disk, or the root file system."""
        if self.kind == "lxc":
            return read_disk("rootfs", str(self.config["rootfs"])) if "rootfs" in self.config else None
        order = _BOOT_ORDER.search(str(self.config.get("boot", "")))
        for key in (order[1].split(";") if order else []) + [str(self.config.get("bootdisk", "")), "scsi0", "virtio0", "sata0", "ide0"]:
            if QEMU_DISK.fullmatch(key) and key in self.config:
                disk = read_disk(key, str(self.config[key]))
                if not disk.cdrom:
                    return disk
        return None

    @property
    def agent_enabled(self) -> bool:
        """Whether the configuration has the guest agent on."""
        value = read_props(str(self.config.get("agent", "0")), "enabled").get("enabled", "0")
        return self.kind == "qemu" and value == "1"

    @property
    def noun(self) -> str:
        """``VM`` or ``CT``, as error texts name it."""
        return "VM" if self.kind == "qemu" else "CT"

    def with_pending(self) -> dict[str, Value]:
        """The configuration as it will be after the next start."""
        merged: dict[str, Any] = {**self.config, **self.pending}
        return {key: value for key, value in merged.items() if value is not None}

    def start(self, at_s: float, pid: int) -> None:
        """It runs from that moment on."""
        self.running, self.paused, self.since_s, self.booted_s, self.pid = True, False, at_s, at_s, pid

    def stop(self, at_s: float) -> None:
        """It does not run any more; pending changes become current."""
        if self.running:
            self.past_runs.append((self.since_s, at_s))
            del self.past_runs[:-200]
        self.running, self.paused, self.since_s, self.pid = False, False, 0.0, 0

    def place(self, node: str, at_s: float, pid: int) -> None:
        """It is on that node from that moment on; when it runs, in a new process."""
        if self.running:
            self.past_runs.append((self.since_s, at_s))
            self.since_s, self.pid = at_s, pid
        self.node, self.head = node, None
        self.placements.append((at_s, node))
        del self.placements[:-200]

    def ran_at(self, moment_s: float) -> bool:
        """Whether it ran at that moment."""
        if self.running and moment_s >= self.since_s:
            return True
        return any(begin <= moment_s < end for begin, end in self.past_runs)

    def node_at(self, moment_s: float) -> str:
        """Where it was at that moment."""
        if len(self.placements) == 1:
            return self.node
        found = self.placements[0][1]
        for since_s, node in self.placements:
            if since_s <= moment_s:
                found = node
        return found
