"""Changing the configuration of a guest: what applies at once, what waits for the next start, what a value is stored as."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping

from pveops.sim.errors import failed
from pveops.sim.props import read_props, size_bytes, size_text, split_list, write_props
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import LXC_DISK, QEMU_DISK, UNUSED_DISK, Guest, Value, read_disk
from pveops.sim.state.volumes import allocate, find_volume, free, owner_of, usable_storage

NET = re.compile(r"net\d+")
_NEW_VOLUME = re.compile(r"([A-Za-z][A-Za-z0-9\-_.]*[A-Za-z0-9]):(\d+(?:\.\d+)?)")
_GIB = 1024**3

_AT_ONCE_QEMU = frozenset(
    {
        "cpulimit",
        "cpuunits",
        "description",
        "hookscript",
        "lock",
        "migrate_downtime",
        "migrate_speed",
        "name",
        "onboot",
        "protection",
        "shares",
        "startup",
        "tags",
        "template",
        "vmstatestorage",
    }
)
_AT_ONCE_LXC = frozenset(
    {
        "cores",
        "cpulimit",
        "cpuunits",
        "description",
        "hookscript",
        "hostname",
        "lock",
        "memory",
        "nameserver",
        "onboot",
        "protection",
        "searchdomain",
        "startup",
        "swap",
        "tags",
        "timezone",
    }
)
_LXC_REQUIRED = frozenset({"memory", "rootfs", "swap"})
_LXC_READ_ONLY = frozenset({"arch", "ostype", "template", "unprivileged"})


def normal_tags(text: str) -> str:
    """Tags as they are stored: lower case, each once, in order; a blank for none."""
    return ";".join(sorted({tag.lower() for tag in split_list(text)})) or " "


def _hotpluggable(guest: Guest, key: str) -> bool:
    """Whether a change reaches a running guest at once: metadata, and devices that can be plugged."""
    if guest.kind == "lxc":
        return key in _AT_ONCE_LXC or bool(NET.fullmatch(key) or LXC_DISK.fullmatch(key) or UNUSED_DISK.fullmatch(key))
    if key in _AT_ONCE_QEMU or UNUSED_DISK.fullmatch(key):
        return True
    features = split_list(str(guest.config.get("hotplug", "network,disk,usb")))
    if NET.fullmatch(key):
        return "network" in features
    return bool(re.fullmatch(r"(scsi|virtio)\d+", key)) and "disk" in features and key not in guest.config


def _takes_devices(cluster: Cluster, guest: Guest, key: str) -> bool:
    """Whether a device can be plugged into a running guest, or the key is about none."""
    return not (cluster.bare and guest.kind == "qemu" and (NET.fullmatch(key) or QEMU_DISK.fullmatch(key)))


def _new_net(cluster: Cluster, guest: Guest, key: str, text: str) -> str:
    """A network device as it is stored: always with a MAC address."""
    if guest.kind == "lxc":
        props = read_props(text)
        props.setdefault("hwaddr", noise.mac_text(cluster.seed, guest.vmid, key, cluster.now_s))
        props.setdefault("type", "veth")
        return write_props(props)
    props = read_props(text, "model")
    models = [name for name, value in props.items() if re.fullmatch(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", value) and name != "macaddr"]
    model = models[0] if models else props.pop("model", "virtio")
    mac = props.pop(model, "") or props.pop("macaddr", "") or noise.mac_text(cluster.seed, guest.vmid, key, cluster.now_s)
    return write_props({"": f"{model}={mac.upper()}", **props}, "")


def _new_disk(cluster: Cluster, guest: Guest, key: str, text: str, *, is_root: bool) -> str:
    """A disk as it is stored: ``storage:size`` makes a new volume, anything else must be there."""
    default = "file" if guest.kind == "qemu" else "volume"
    props = read_props(text, default)
    volid = props.pop(default, props.pop("file", ""))
    if volid in ("none", "cdrom"):
        return write_props({default: volid, **props}, default)
    if volid.startswith("/"):
        if not is_root:
            raise failed("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 651.")
        return write_props({default: volid, **props}, default)
    storage = usable_storage(cluster, volid.partition(":")[0], guest.node)
    wanted = _NEW_VOLUME.fullmatch(volid)
    if wanted:
        form = props.pop("format", "")
        content = "images" if guest.kind == "qemu" else "rootdir"
        size = int(float(wanted[2]) * _GIB) if float(wanted[2]) else 4 * 1024**2
        volume = allocate(cluster, guest.node, storage, guest.vmid, size, form=form, content=content)
    else:
        found = find_volume(cluster, volid, guest.node)
        if found is None:
            raise failed(f"volume '{volid}' does not exist")
        volume = found
    return write_props({default: volume.volid, **props, "size": size_text(volume.size)}, default)


def stored_value(cluster: Cluster, guest: Guest, key: str, value: Value, *, is_root: bool) -> Value:
    """What a given value is stored as.

    Raises:
        RefusedError: 500, something it names is not there.
    """
    if key == "tags":
        return normal_tags(str(value))
    if NET.fullmatch(key):
        return _new_net(cluster, guest, key, str(value))
    pattern = QEMU_DISK if guest.kind == "qemu" else LXC_DISK
    if pattern.fullmatch(key):
        return _new_disk(cluster, guest, key, str(value), is_root=is_root)
    return value


def check_values(guest: Guest, changes: Mapping[str, Value]) -> None:
    """Refuse values that do not fit each other.

    Raises:
        RefusedError: 500.
    """
    if guest.kind != "qemu":
        return
    later = {**guest.with_pending(), **changes}
    memory_mib = int(read_props(str(later.get("memory", 512)), "current").get("current", 512))
    if int(changes.get("balloon", 0)) > memory_mib:
        raise failed("balloon value too large (must be smaller than assigned memory)")
    boot = read_props(str(changes.get("boot", "")), "legacy")
    for device in split_list(boot.get("order", "")):
        if device not in later:
            raise failed(f"invalid bootorder: device '{device}' does not exist'")


def _bridge(text: str) -> str:
    return read_props(text, "model").get("bridge", "")


def broken_bridge(guest: Guest, bridges: Container[str]) -> str:
    """The bridge that a container waits for and that its node does not have; empty when all is well."""
    if guest.kind != "lxc":
        return ""
    wanted = (_bridge(str(value)) for key, value in guest.with_pending().items() if NET.fullmatch(key))
    return next((name for name in wanted if name and name not in bridges), "")


def _refuse_removal(guest: Guest, key: str) -> None:
    is_disk = (QEMU_DISK if guest.kind == "qemu" else LXC_DISK).fullmatch(key) or UNUSED_DISK.fullmatch(key)
    if is_disk and guest.config.get("protection") and key in guest.config and not read_disk(key, str(guest.config[key])).cdrom:
        raise failed(f"can't remove drive '{key}' - protection mode enabled")
    if guest.kind == "lxc" and key in _LXC_REQUIRED:
        raise failed(f"unable to delete required option '{key}'")


def _drop(cluster: Cluster, guest: Guest, key: str, *, force: bool) -> None:
    """Remove a key. A disk of the guest's own stays as unused, unless forced; an unused one is freed."""
    old = guest.config.pop(key, None)
    if old is None:
        return
    if UNUSED_DISK.fullmatch(key):
        free(cluster, read_disk(key, str(old)).volid, guest.node)
        return
    if not (QEMU_DISK if guest.kind == "qemu" else LXC_DISK).fullmatch(key):
        return
    disk = read_disk(key, str(old))
    if disk.cdrom or owner_of(disk.volid) != guest.vmid:
        return
    if force:
        free(cluster, disk.volid, guest.node)
        return
    number = 0
    while f"unused{number}" in guest.config:
        number += 1
    guest.config[f"unused{number}"] = disk.volid


def update(
    cluster: Cluster,
    guest: Guest,
    changes: Mapping[str, Value],
    deletes: Iterable[str],
    *,
    bridges: Container[str] = (),
    force: bool = False,
    is_root: bool = False,
) -> None:
    """Change the configuration: at once where possible, else it waits for the next start.

    A network device of a container on a bridge that its node does not have (``bridges``) waits too.

    Raises:
        RefusedError: 500, nothing was changed.
    """
    deletes = list(deletes)
    _refuse_read_only(guest, changes, deletes)
    for key in deletes:
        _refuse_removal(guest, key)
    check_values(guest, changes)
    stored = {key: stored_value(cluster, guest, key, value, is_root=is_root) for key, value in changes.items()}
    cluster.before_change(guest)
    for key, value in stored.items():
        _set(cluster, guest, key, value, bridges)
    for key in deletes:
        _delete(cluster, guest, key, force=force)
    guest.touch()


def _refuse_read_only(guest: Guest, changes: Mapping[str, Value], deletes: Iterable[str]) -> None:
    if guest.kind != "lxc":
        return
    for key in (*changes, *deletes):
        if key in _LXC_READ_ONLY and (key in changes or guest.config.get(key)):
            raise failed(f"unable to modify read-only option: '{key}'")


def _set(cluster: Cluster, guest: Guest, key: str, value: Value, bridges: Container[str]) -> None:
    """Set one option, now or at the next start."""
    if guest.kind == "lxc" and NET.fullmatch(key) and _bridge(str(value)) not in bridges:
        guest.pending[key] = value
    elif key == "description" and value == "":
        _drop(cluster, guest, key, force=False)
    elif guest.running and not (_hotpluggable(guest, key) and _takes_devices(cluster, guest, key)):
        _wait(guest, key, value)
    else:
        guest.config[key] = value
        guest.pending.pop(key, None)


def _delete(cluster: Cluster, guest: Guest, key: str, *, force: bool) -> None:
    """Delete one option, now or at the next start."""
    if not guest.running or (_hotpluggable(guest, key) and _takes_devices(cluster, guest, key)):
        guest.pending.pop(key, None)
        _drop(cluster, guest, key, force=force)
    elif key in guest.config:
        guest.pending[key] = None
    else:
        guest.pending.pop(key, None)


def _wait(guest: Guest, key: str, value: Value) -> None:
    """Put a change on the waiting list; one that changes nothing leaves it."""
    if guest.config.get(key) == value:
        guest.pending.pop(key, None)
    else:
        guest.pending[key] = value


def revert(cluster: Cluster, guest: Guest, keys: Iterable[str]) -> None:
    """Take changes off the waiting list."""
    cluster.before_change(guest)
    for key in keys:
        guest.pending.pop(key, None)
    guest.touch()


def apply_pending(cluster: Cluster, guest: Guest) -> None:
    """The guest stops or starts: what waited becomes current."""
    if not guest.pending or (cluster.bare and guest.kind == "qemu"):
        return
    cluster.before_change(guest)
    for key, value in guest.pending.items():
        if value is None:
            _drop(cluster, guest, key, force=False)
        else:
            guest.config[key] = value
    guest.pending.clear()
    guest.touch()


def resize(cluster: Cluster, guest: Guest, key: str, text: str) -> int:
    """Grow a disk to a size, or by ``+size``; the new size in bytes.

    Raises:
        RefusedError: 500, no such disk, or it would shrink.
    """
    if key not in guest.config:
        raise failed(f"disk '{key}' does not exist")
    disk = read_disk(key, str(guest.config[key]))
    volume = find_volume(cluster, disk.volid, guest.node)
    if volume is None:
        raise failed(f"unable to parse volume ID '{disk.volid}'")
    size = volume.size + size_bytes(text[1:]) if text.startswith("+") else size_bytes(text)
    if size < volume.size:
        raise failed("shrinking disks is not supported")
    volume.size = size
    default = "file" if guest.kind == "qemu" else "volume"
    props = read_props(str(guest.config[key]), default) | {"size": size_text(size)}
    cluster.before_change(guest)
    guest.config[key] = write_props(props, default)
    guest.touch()
    return size


def check_storages(cluster: Cluster, guest: Guest, changes: Mapping[str, Value]) -> None:
    """Refuse disks on storages that are missing or off.

    Raises:
        RefusedError: 500.
    """
    pattern = QEMU_DISK if guest.kind == "qemu" else LXC_DISK
    for key, value in changes.items():
        if pattern.fullmatch(key):
            storage = read_disk(key, str(value)).storage
            if storage:
                usable_storage(cluster, storage, guest.node)
