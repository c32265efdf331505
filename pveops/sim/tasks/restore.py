"""Restoring guests from backups: the configuration is that of the guest when it was saved, as far as anybody still knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pveops.sim.errors import failed
from pveops.sim.physics import transfer
from pveops.sim.props import read_props, size_bytes, size_text, write_props
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.config import NET, stored_value
from pveops.sim.state.guest import LXC_DISK, QEMU_DISK, Guest, Kind, Value
from pveops.sim.state.storage import Volume
from pveops.sim.state.volumes import allocate, free, usable_storage
from pveops.sim.tasks.engine import Body, Work
from pveops.sim.tasks.lifecycle import Register, join_pool, undo
from pveops.sim.tasks.power import set_lock
from pveops.sim.tasks.task import Task

_STEP_S = 2.0
_BARE: dict[Kind, dict[str, Value]] = {
    "qemu": {"memory": "512", "ostype": "l26", "scsihw": "virtio-scsi-pci"},
    "lxc": {"arch": "amd64", "memory": 512, "ostype": "debian", "swap": 512},
}


@dataclass(frozen=True, slots=True)
class Archive:
    """What is restored: the backup, and the guest that it was made of, when it is known."""

    volume: Volume
    path: str
    origin: Guest | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What it becomes. ``force`` replaces the guest of that id; ``unique`` gives new addresses."""

    kind: Kind
    node: str
    vmid: int
    options: dict[str, Value]
    storage: str = ""
    pool: str = ""
    unique: bool = False
    force: bool = False
    start: bool = False


def _saved_config(archive: Archive, kind: Kind) -> dict[str, Value]:
    """The configuration in the backup; a bare one where its guest is not known any more."""
    if archive.origin is None or archive.origin.kind != kind:
        return dict(_BARE[kind])
    dropped = ("lock", "template", "parent")
    return {key: value for key, value in archive.origin.config.items() if key not in dropped and not key.startswith("unused")}


def _new_disks(cluster: Cluster, wish: Wish, config: dict[str, Value], task: Task) -> None:
    """A volume for each disk of the backup, on the storage that was asked for or the one it had."""
    pattern, default = (QEMU_DISK, "file") if wish.kind == "qemu" else (LXC_DISK, "volume")
    content = "images" if wish.kind == "qemu" else "rootdir"
    for key in [key for key in config if pattern.fullmatch(key)]:
        props = read_props(str(config[key]), default)
        name, _, rest = props[default].partition(":")
        if not rest or props.get("media") == "cdrom":
            continue
        storage = usable_storage(cluster, wish.storage or name, wish.node)
        size = size_bytes(props.get("size", "4M"))
        form = rest.rsplit(".", 1)[1] if "." in rest else ""
        made = allocate(cluster, wish.node, storage, wish.vmid, size, form=form, content=content)
        made.used_fraction = 0.4
        config[key] = write_props(props | {default: made.volid, "size": size_text(size)}, default)
        task.say(f"new volume ID is '{made.volid}'")


def _unpack(wish: Wish, archive: Archive, task: Task) -> Body:
    seconds = transfer.backup_seconds(archive.volume.size, incremental=False)
    done_s = 0.0
    while done_s < seconds:
        step_s = min(_STEP_S, seconds - done_s)
        yield step_s
        done_s += step_s
        if wish.kind == "qemu":
            share = done_s / seconds
            task.say(f"progress {share * 100:.0f}% (read {int(archive.volume.size * share)} bytes, duration {int(done_s)} sec)")


def restore(cluster: Cluster, archive: Archive, wish: Wish, register: Register, start: Callable[[], None]) -> Work:
    """Make a guest from a backup. A guest that is to be replaced keeps its place in pools, and loses its disks first."""

    def work(task: Task) -> Body:
        old = cluster.guests.get(wish.vmid)
        if old is not None and not wish.force:
            raise failed(f"unable to restore {old.noun} {wish.vmid} - {old.noun} {wish.vmid} already exists on node '{old.node}'")
        config = _saved_config(archive, wish.kind)
        if old is not None:
            for disk in old.disks(with_unused=True):
                free(cluster, disk.volid, wish.node)
            register.remove_guest(old)
        guest = Guest(wish.vmid, wish.kind, wish.node, {"lock": "create"}, created_s=cluster.now_s)
        guest.placements = [(cluster.now_s, wish.node)]
        register.add_guest(guest)
        try:
            task.say(f"restore {'vma archive' if wish.kind == 'qemu' else 'archive'}: {archive.path}")
            _new_disks(cluster, wish, config, task)
            yield from _unpack(wish, archive, task)
            guest.config |= config
            for key, value in wish.options.items():
                guest.config[key] = stored_value(cluster, guest, key, value, is_root=False)
            if wish.unique:
                _fresh_addresses(cluster, guest)
        except BaseException:
            undo(cluster, guest, register)
            raise
        set_lock(cluster, guest, "")
        guest.touch()
        join_pool(cluster, wish.pool, wish.vmid)
        if wish.start:
            task.say("Execute autostart")
            start()

    return work


def _fresh_addresses(cluster: Cluster, guest: Guest) -> None:
    stamp = (cluster.seed, guest.vmid, int(cluster.now_s))
    for key in guest.keys(NET):
        props = read_props(str(guest.config[key]), "")
        for name, value in props.items():
            if value.count(":") == 5:
                props[name] = noise.mac_text(*stamp, key)
        guest.config[key] = write_props(props, "")
