"""What the machines of a node are: disks with SMART values, network interfaces, packages. Follows from seed and time."""

from __future__ import annotations

from typing import Any, NamedTuple

from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node

_GIB = 1024**3
_HOUR_S = 3600.0
_SYSTEM = ("Example NVMe 980", "nvme", 480 * _GIB)
_DATA = ("Example SSD PM883", "ssd", 1920 * _GIB)


class Disk(NamedTuple):
    """A disk as the kernel lists it. ``wearout`` is what is left in percent, -1 where that means nothing; ``born_s`` is its first hour."""

    path: str
    model: str
    kind: str
    size: int
    serial: str
    used: str
    wearout: int
    born_s: float = 0.0

    @property
    def real(self) -> bool:
        """A machine one can touch, not a volume that looks like one."""
        return not self.path.startswith("/dev/zd")


def disks(seed: int, node: Node) -> list[Disk]:
    """The physical disks of a node: two for the system, four for data."""
    found = []
    for number in range(6):
        model, kind, size = _SYSTEM if number < 2 else _DATA
        path = f"/dev/nvme{number}n1" if kind == "nvme" else f"/dev/sd{chr(ord('a') + number - 2)}"
        born_s = node.disk_births.get(path, 0.0)
        serial = "S" + noise.digest(seed, "disk", node.name, number, *([born_s] if born_s else [])).hex()[:13].upper()
        wearout = 100 if born_s else noise.whole(71, 99, seed, "wear", node.name, number)
        found.append(Disk(path, model, kind, size, serial, "BIOS boot" if number < 2 else "LVM", wearout, born_s or node.installed_s))
    return found


def volumes_like_disks(cluster: Cluster, node: Node) -> list[Disk]:
    """ZFS volumes: the kernel lists each as a disk (``/dev/zd0``, ``/dev/zd16`` …) that has no model, serial or SMART."""
    found: list[Disk] = []
    for storage in cluster.storages.values():
        if storage.kind == "zfspool" and storage.on_node(node.name):
            for volume in storage.place(node.name).values():
                if volume.content == "images":
                    found.append(Disk(f"/dev/zd{16 * len(found)}", "", "unknown", volume.size, "", "", -1))
    return found


class Smart(NamedTuple):
    """The counters of a disk at a moment."""

    hours: int
    celsius: int
    reallocated: int
    pending: int
    wearout: int
    lbas_written: int
    cycles: int
    levels: int

    @property
    def healthy(self) -> bool:
        """Whether the disk itself still says that all is well."""
        return self.reallocated < _FAILED_AT


_FAILED_AT = 1000
"""Reallocated sectors at which the attribute falls below its threshold."""

_LBAS_PER_HOUR = 7_400_000
_WEAR_YEARS = 34.0
"""Years in which a disk of this use would be worn out."""


def counters(seed: int, node: Node, disk: Disk, now_s: float) -> Smart:
    """The counters of a disk: hours and writes grow with time, bad sectors only where the disk wears out."""
    age_s = max(now_s - disk.born_s, 0.0)
    bad = sum(
        wear.per_hour * wear.length_s(now_s) / _HOUR_S for wear in node.wears if wear.path == disk.path and wear.since_s >= disk.born_s
    )
    hours = int(age_s / _HOUR_S)
    return Smart(
        hours=hours,
        celsius=noise.whole(29, 41, seed, "temperature", disk.serial, int(now_s // 900)),
        reallocated=int(bad),
        pending=int(bad * 0.13),
        wearout=max(disk.wearout - int(age_s / (_WEAR_YEARS * 365 * 86400) * 100), 1) if disk.wearout >= 0 else -1,
        lbas_written=hours * _LBAS_PER_HOUR,
        cycles=noise.whole(20, 60, seed, "cycles", disk.serial),
        levels=noise.whole(40, 400, seed, "levels", disk.serial) + hours // 200,
    )


def attributes(found: Smart) -> list[tuple[int, str, int, int, int]]:
    """SMART attributes: number, name, value, threshold, raw value."""
    left = max(100 - found.reallocated * 90 // _FAILED_AT, 1)
    return [
        (5, "Reallocated_Sector_Ct", left, 10, found.reallocated),
        (9, "Power_On_Hours", max(99 - found.hours // 9000, 1), 0, found.hours),
        (12, "Power_Cycle_Count", 99, 0, found.cycles),
        (177, "Wear_Leveling_Count", found.wearout, 5, found.levels),
        (187, "Reported_Uncorrect", 100, 0, found.reallocated // 40),
        (190, "Airflow_Temperature_Cel", 100 - found.celsius, 0, found.celsius),
        (197, "Current_Pending_Sector", 100, 0, found.pending),
        (199, "UDMA_CRC_Error_Count", 100, 0, 0),
        (241, "Total_LBAs_Written", 99, 0, found.lbas_written),
    ]


def health(seed: int, node: Node, disk: Disk, now_s: float) -> str:
    """What the disk says of itself."""
    if not disk.real:
        return "UNKNOWN"
    return "PASSED" if counters(seed, node, disk, now_s).healthy else "FAILED"


def smart(seed: int, node: Node, disk: Disk, now_s: float) -> dict[str, Any]:
    """SMART values as the API shows them."""
    found = counters(seed, node, disk, now_s)
    if disk.kind == "nvme":
        text = (
            f"\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning:                   {'0x00' if found.healthy else '0x04'}\n"
            f"Temperature:                        {found.celsius} Celsius\nAvailable Spare:                    100%\n"
            f"Percentage Used:                    {100 - found.wearout}%\nPower On Hours:                     {found.hours:,}\n"
            f"Media and Data Integrity Errors:    {found.reallocated}\n"
        )
        return {"health": health(seed, node, disk, now_s), "type": "text", "text": text, "wearout": found.wearout}
    rows = [
        {
            "id": f"{number:3d}",
            "name": name,
            "value": value,
            "worst": value,
            "threshold": threshold,
            "raw": str(raw),
            "fail": "FAILING_NOW" if value <= threshold else "-",
            "flags": "PO--CK",
        }
        for number, name, value, threshold, raw in attributes(found)
    ]
    return {"health": health(seed, node, disk, now_s), "type": "ata", "attributes": rows, "wearout": found.wearout}


def interfaces(node: Node, now_s: float | None = None) -> dict[str, dict[str, Any]]:
    """The network of a node: as described, or two cards, a bond and a bridge; at a moment, a card without link is not active."""
    found = dict(node.interfaces) if node.interfaces is not None else _usual(node)
    for flap in node.flaps if now_s is not None else ():
        if flap.iface in found and not flap.link_at(now_s or 0.0):
            found[flap.iface] = {key: value for key, value in found[flap.iface].items() if key != "active"}
    return found


def slaves(node: Node) -> list[str]:
    """The cards that belong to a bond or a bridge."""
    found = interfaces(node)
    joined = " ".join(f"{one.get('slaves', '')} {one.get('bridge_ports', '')}" for one in found.values()).split()
    return [name for name, one in found.items() if one["type"] == "eth" and name in joined]


def bandwidth(node: Node, now_s: float) -> float:
    """Bytes per second that the network of a node carries: half of it while one of its cards has no link."""
    limping = any(not flap.link_at(now_s) for flap in node.flaps)
    return node.network_bytes_s * (0.5 if limping else 1.0)


def _usual(node: Node) -> dict[str, dict[str, Any]]:
    card = {"type": "eth", "method": "manual", "method6": "manual", "active": 1, "exists": 1, "families": ["inet"]}
    gateway = node.ip.rsplit(".", 1)[0] + ".1"
    return {
        "eno1": card | {"priority": 3},
        "eno2": card | {"priority": 4},
        "bond0": {
            "type": "bond",
            "method": "manual",
            "method6": "manual",
            "active": 1,
            "autostart": 1,
            "slaves": "eno1 eno2",
            "bond_mode": "802.3ad",
            "bond_miimon": "100",
            "bond_xmit_hash_policy": "layer2+3",
            "families": ["inet"],
            "priority": 5,
        },
        "vmbr0": {
            "type": "bridge",
            "method": "static",
            "method6": "manual",
            "active": 1,
            "autostart": 1,
            "address": node.ip,
            "netmask": "24",
            "cidr": f"{node.ip}/24",
            "gateway": gateway,
            "bridge_ports": "bond0",
            "bridge_stp": "off",
            "bridge_fd": "0",
            "bridge_vlan_aware": 1,
            "bridge_vids": "2-4094",
            "families": ["inet"],
            "priority": 6,
        },
    }


_UPDATES = (
    ("pve-manager", "9.2.11", "9.2.12", "Proxmox", "admin", "Proxmox Virtual Environment management tools"),
    ("qemu-server", "9.1.3", "9.1.4", "Proxmox", "admin", "QEMU server tools"),
    ("proxmox-backup-client", "4.1.0-1", "4.1.1-1", "Proxmox", "admin", "Proxmox Backup client tools"),
    ("openssl", "3.5.4-1~deb13u1", "3.5.4-1~deb13u2", "Debian", "utils", "Secure Sockets Layer toolkit"),
    ("libc6", "2.41-12", "2.41-12+deb13u1", "Debian", "libs", "GNU C library"),
    ("sudo", "1.9.16p2-3", "1.9.16p2-3+deb13u1", "Debian", "admin", "limited super user privileges"),
)


RESOLVERS = frozenset({"192.0.2.53", "192.0.2.54"})
"""The name servers that answer in the simulated network."""


def resolves(node: Node) -> bool:
    """Whether one of the name servers of a node answers."""
    return any(address in RESOLVERS for key, address in node.dns.items() if key.startswith("dns"))


def updates(seed: int, node: Node) -> list[dict[str, Any]]:
    """The packages that could be updated."""
    return [
        {
            "Package": package,
            "Title": title,
            "Description": f"{title}.",
            "OldVersion": old,
            "Version": new,
            "Origin": origin,
            "Section": section,
            "Priority": "optional",
            "Arch": "amd64",
        }
        for package, old, new, origin, section, title in _UPDATES
        if noise.unit(seed, "update", node.name, package) < 0.6
    ]


def packages(running_kernel: str, installed_kernel: str = "") -> list[dict[str, Any]]:
    """The versions of what makes up Proxmox VE; the installed kernel is the running one unless a newer one waits for a boot."""
    known = {package: (old, origin, section, title) for package, old, _, origin, section, title in _UPDATES[:3]}
    rows = [
        {
            "Package": package,
            "Title": title,
            "Description": f"{title}.",
            "Version": version,
            "OldVersion": version,
            "Origin": origin,
            "Section": section,
            "Priority": "optional",
            "Arch": "amd64",
            "CurrentState": "Installed",
        }
        for package, (version, origin, section, title) in known.items()
    ]
    rows[0]["RunningKernel"] = running_kernel
    kernel = installed_kernel or running_kernel
    rows.append(
        rows[0]
        | {
            "Package": f"proxmox-kernel-{kernel}-signed",
            "Title": "Proxmox Kernel Image",
            "Description": "Proxmox Kernel Image.",
            "Section": "kernel",
        }
        | dict.fromkeys(("Version", "OldVersion"), kernel.removesuffix("-pve"))
    )
    del rows[-1]["RunningKernel"]
    return rows
