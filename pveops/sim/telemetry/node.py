"""A node in the names of the node exporter (1.5): what its kernel would count and measure.

CPUs of a node are equally busy. Bytes of guests pass through both network cards in equal parts and the data disks in equal parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from pveops.sim.physics import hardware
from pveops.sim.physics.broadcast import OVERHEAD, swap_share
from pveops.sim.physics.overlay import Floats
from pveops.sim.physics.pressure import QUEUE
from pveops.sim.physics.space import SpaceBook
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.ills import Flap
from pveops.sim.state.node import Node
from pveops.sim.state.storage import Storage
from pveops.sim.telemetry.families import Family, Kind, Value, labels
from pveops.sim.telemetry.figures import Figures

_MODES = (("user", 0.84), ("system", 0.135), ("softirq", 0.02), ("nice", 0.003), ("irq", 0.002), ("steal", 0.0))
"""How the time of busy CPUs is shared."""

_CACHED = 0.18
_BUFFERS = 0.004
_PACKET_BYTES = 900.0
_REQUEST_BYTES = 24_000.0
_REQUEST_S = 0.00035
"""Seconds that a disk is busy with one request."""

_HAMMERED_BUSY = 0.8
"""For which part of the time disks work that somebody keeps busy, beside all else."""

_IO_PRESSURE = 0.009
"""Seconds of pressure stall per second of CPU use, as the API shows it in percent of the last steps."""

_HAMMERED_PRESSURE = 0.35
"""The same per second in which somebody keeps the disks busy."""

_MOUNTED = frozenset({"nfs", "cifs", "cephfs"})


def each(times: Floats, measure: Callable[[float], float]) -> Floats:
    """A function of one moment at all of them."""
    return np.array([float(measure(moment)) for moment in times.tolist()])


def _one(name: str, about: str, value: Value, kind: Kind = "gauge") -> Family:
    return Family(name, kind, about, [("", value)])


def families(cluster: Cluster, space: SpaceBook, node: Node, found: Figures) -> Iterator[Family]:
    """All families of a node, except those of its machines."""
    yield from _system(node, found)
    yield from _cpus(node, found)
    yield from _memory(cluster, node, found)
    yield from _filesystems(cluster, space, node, found.times)
    yield from _disks(cluster, node, found)
    yield from _network(cluster, node, found)
    yield from _packages(cluster, node)


def _system(node: Node, found: Figures) -> Iterator[Family]:
    uname = labels(
        domainname="(none)",
        machine="x86_64",
        nodename=node.name,
        release=node.kernel,
        sysname="Linux",
        version="#1 SMP PREEMPT_DYNAMIC PMX",
    )
    yield _one("node_boot_time_seconds", "Node boot time, in unixtime.", np.round(found.boot_s))
    yield _one("node_time_seconds", "System time in seconds since epoch (1970).", found.times + node.skew_s)
    yield _one("node_timex_offset_seconds", "Time offset in between local system and reference clock.", node.skew_s)
    yield _one("node_timex_sync_status", "Is clock synchronized to a reliable server (1 = yes, 0 = no).", int(abs(node.skew_s) < 0.5))
    yield Family("node_uname_info", "gauge", "Labeled system information as provided by the uname system call.", [(uname, 1)])
    for minutes, average in zip((1, 5, 15), found.load, strict=True):
        yield _one(f"node_load{minutes}", f"{minutes}m load average.", average)
    waiting = found.busy_s / node.cpus * _IO_PRESSURE + found.hammered_s * _HAMMERED_PRESSURE
    about = "Total time in seconds that processes have waited due to IO congestion"
    yield _one("node_pressure_io_waiting_seconds_total", about, waiting, "counter")


def _cpus(node: Node, found: Figures) -> Iterator[Family]:
    busy, waiting = found.busy_s / node.cpus, found.iowait_s / node.cpus
    idle = np.maximum(found.times - found.boot_s - busy - waiting, 0.0)
    modes = [("idle", idle), ("iowait", waiting), *((mode, busy * share) for mode, share in _MODES)]
    samples = [(f'cpu="{cpu}",mode="{mode}"', value) for cpu in range(node.cpus) for mode, value in modes]
    yield Family("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.", samples)
    guests = found.guests_s * OVERHEAD / node.cpus * _MODES[0][1]
    about = "Seconds the CPUs spent in guests (VMs) for each mode."
    yield Family("node_cpu_guest_seconds_total", "counter", about, [(f'cpu="{cpu}",mode="user"', guests) for cpu in range(node.cpus)])


def _memory(cluster: Cluster, node: Node, found: Figures) -> Iterator[Family]:
    available = node.memory - found.mem
    cached, buffers = np.minimum(node.memory * _CACHED, available * 0.6), np.minimum(node.memory * _BUFFERS, available * 0.1)
    swap_free = node.swap - int(node.swap * swap_share(cluster.seed, node))
    fields: dict[str, Value] = {
        "MemTotal": node.memory,
        "MemFree": available - cached - buffers,
        "MemAvailable": available,
        "Buffers": buffers,
        "Cached": cached,
        "SwapTotal": node.swap,
        "SwapFree": swap_free,
    }
    for field, value in fields.items():
        yield _one(f"node_memory_{field}_bytes", f"Memory information field {field}_bytes.", value)


def _mounts(cluster: Cluster, node: Node) -> Iterator[tuple[Storage, str]]:
    """The storages that are mounted: labels as a node exporter has them."""
    for storage in cluster.storages.values():
        if storage.kind in _MOUNTED and storage.enabled and storage.on_node(node.name):
            source = f"{storage.options.get('server', '')}:{storage.options.get('export', storage.options.get('share', '/'))}"
            fstype = {"nfs": "nfs4", "cifs": "cifs", "cephfs": "ceph"}[storage.kind]
            yield storage, labels(device=source, fstype=fstype, mountpoint=storage.root_path())


def _filesystems(cluster: Cluster, space: SpaceBook, node: Node, times: Floats) -> Iterator[Family]:
    root = labels(device="/dev/mapper/pve-root", fstype="ext4", mountpoint="/")
    used = each(times, lambda moment: space.root(node, moment).used)
    rows: list[tuple[str, float, Value]] = [(root, node.root_total, used)]
    errors: list[tuple[str, Value]] = [(root, 0)]
    for storage, head in _mounts(cluster, node):
        errors.append((head, int(storage.down or storage.hangs)))
        if not (storage.down or storage.hangs):
            rows.append((head, storage.total, each(times, lambda moment, one=storage: space.storage(one, node.name, moment).used)))  # type: ignore[misc]
    free = [(head, total - used) for head, total, used in rows]
    yield Family("node_filesystem_size_bytes", "gauge", "Filesystem size in bytes.", [(head, total) for head, total, _ in rows])
    yield Family("node_filesystem_free_bytes", "gauge", "Filesystem free space in bytes.", free)
    yield Family("node_filesystem_avail_bytes", "gauge", "Filesystem space available to non-root users in bytes.", free)
    yield Family("node_filesystem_readonly", "gauge", "Filesystem read-only status.", [(head, 0) for head, _, _ in rows])
    about = "Whether an error occurred while getting statistics for the given device."
    yield Family("node_filesystem_device_error", "gauge", about, errors)


def _disks(cluster: Cluster, node: Node, found: Figures) -> Iterator[Family]:
    data = [disk for disk in hardware.disks(cluster.seed, node) if disk.kind != "nvme"]
    names = [labels(device=disk.path.removeprefix("/dev/")) for disk in data]
    read, written = found.disk_read / len(data), found.disk_write / len(data)
    reads, writes = np.floor(read / _REQUEST_BYTES), np.floor(written / _REQUEST_BYTES)
    waited = [found.hammered_s * queue for queue in QUEUE]
    columns = (
        ("read_bytes", "The total number of bytes read successfully.", np.floor(read)),
        ("reads_completed", "The total number of reads completed successfully.", reads),
        ("read_time_seconds", "The total number of seconds spent by all reads.", reads * _REQUEST_S + waited[0]),
        ("written_bytes", "The total number of bytes written successfully.", np.floor(written)),
        ("writes_completed", "The total number of writes completed successfully.", writes),
        ("write_time_seconds", "This is the total number of seconds spent by all writes.", writes * _REQUEST_S + waited[1]),
        ("io_time_seconds", "Total seconds spent doing I/Os.", (reads + writes) * _REQUEST_S + found.hammered_s * _HAMMERED_BUSY),
    )
    for column, about, value in columns:
        yield Family(f"node_disk_{column}_total", "counter", about, [(name, value) for name in names])
    info = [labels(device=disk.path.removeprefix("/dev/"), model=disk.model.replace(" ", "_"), serial=disk.serial) for disk in data]
    yield Family("node_disk_info", "gauge", "Info of /sys/block/<block_device>.", [(one, 1) for one in info])


def _network(cluster: Cluster, node: Node, found: Figures) -> Iterator[Family]:
    known = hardware.interfaces(node)
    cards = [name for name, facts in known.items() if facts.get("type") == "eth"]
    share = {name: 1 / len(cards) for name in cards} | {name: 1.0 for name, facts in known.items() if facts.get("type") == "bond"}
    for column, total in (("receive", found.net_in), ("transmit", found.net_out)):
        sums = {name: np.floor(total * part) for name, part in share.items()}
        about = f"Network device statistic {column}_bytes."
        yield Family(f"node_network_{column}_bytes_total", "counter", about, [(labels(device=name), value) for name, value in sums.items()])
        packets = [(labels(device=name), np.floor(value / _PACKET_BYTES)) for name, value in sums.items()]
        yield Family(f"node_network_{column}_packets_total", "counter", f"Network device statistic {column}_packets.", packets)
    carrier = {name: each(found.times, lambda moment, one=name: _carrier(node, one, moment)) for name in known}  # type: ignore[misc]
    changes = {name: each(found.times, lambda moment, one=name: 2 + _changes(node, one, moment)) for name in known}  # type: ignore[misc]
    for metric, about, values in (
        ("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", carrier),
        ("node_network_carrier", "Network device property: carrier", carrier),
    ):
        yield Family(metric, "gauge", about, [(labels(device=name), value) for name, value in values.items()])
    about = "Network device property: carrier_changes_total"
    yield Family("node_network_carrier_changes_total", "counter", about, [(labels(device=name), value) for name, value in changes.items()])
    speeds = [(labels(device=name), node.network_bytes_s * (1 if name in cards else len(cards))) for name in share]
    yield Family("node_network_speed_bytes", "gauge", "Network device property: speed_bytes", speeds)
    info = [
        labels(address=_address(cluster, node, name), broadcast="ff:ff:ff:ff:ff:ff", device=name, duplex="full", ifalias="")
        for name in known
    ]
    about = "Non-numeric data from /sys/class/net/<iface>, value is always 1."
    states = [("up" if carrier[name][-1] else "down") for name in known]
    yield Family("node_network_info", "gauge", about, [(f'{one},operstate="{state}"', 1) for one, state in zip(info, states, strict=True)])


def _address(cluster: Cluster, node: Node, name: str) -> str:
    raw = noise.digest(cluster.seed, "card", node.name, name)[:5]
    return "52:" + ":".join(f"{byte:02x}" for byte in raw)


def _flaps(node: Node, name: str) -> list[Flap]:
    return [flap for flap in node.flaps if flap.iface == name]


def _carrier(node: Node, name: str, moment_s: float) -> int:
    return int(all(flap.link_at(moment_s) for flap in _flaps(node, name)))


def _changes(node: Node, name: str, moment_s: float) -> int:
    return sum(flap.changes(moment_s) for flap in _flaps(node, name))


def _packages(cluster: Cluster, node: Node) -> Iterator[Family]:
    """What the script apt_info adds."""
    counts: dict[str, int] = {}
    for package in hardware.updates(cluster.seed, node):
        counts[package["Origin"]] = counts.get(package["Origin"], 0) + 1
    pending = [(labels(arch="amd64", origin=origin), count) for origin, count in counts.items()] or [(labels(arch="", origin=""), 0)]
    yield Family("apt_upgrades_pending", "gauge", "Apt packages pending updates by origin", pending)
    yield _one("node_reboot_required", "Node reboot is required for software updates.", int(bool(node.new_kernel)))
