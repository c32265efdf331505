"""What the machines of a node are: disks with SMART values, network interfaces, packages. Follows from seed and time."""

from __future__ import annotations

from typing import Any, NamedTuple

from pveops.sim.state import noise
from pveops.sim.state.node import Node

_GIB = 1024**3
_HOUR_S = 3600.0
_AGE_S = 2.1 * 365 * 86400
_SYSTEM = ("Example NVMe 980", "nvme", 480 * _GIB)
_DATA = ("Example SSD PM883", "ssd", 1920 * _GIB)


class Disk(NamedTuple):
    """A physical disk. ``wearout`` is what is left, in percent."""

    path: str
    model: str
    kind: str
    size: int
    serial: str
    used: str
    wearout: int


def disks(seed: int, node: Node) -> list[Disk]:
    """The disks of a node: two for the system, four for data."""
    found = []
    for number in range(6):
        model, kind, size = _SYSTEM if number < 2 else _DATA
        path = f"/dev/nvme{number}n1" if kind == "nvme" else f"/dev/sd{chr(ord('a') + number - 2)}"
        serial = "S" + noise.digest(seed, "disk", node.name, number).hex()[:13].upper()
        wearout = noise.whole(71, 99, seed, "wear", node.name, number)
        found.append(Disk(path, model, kind, size, serial, "BIOS boot" if number < 2 else "LVM", wearout))
    return found


def smart(seed: int, node: Node, disk: Disk, now_s: float) -> dict[str, Any]:
    """SMART values: raw counters grow with time."""
    hours = int((now_s - node.boot_s + _AGE_S) / _HOUR_S)
    celsius = noise.whole(29, 41, seed, "temperature", disk.serial, int(now_s // 900))
    if disk.kind == "nvme":
        text = (
            "\nSMART/Health Information (NVMe Log 0x02)\nCritical Warning:                   0x00\n"
            f"Temperature:                        {celsius} Celsius\nAvailable Spare:                    100%\n"
            f"Percentage Used:                    {100 - disk.wearout}%\nPower On Hours:                     {hours:,}\n"
            "Media and Data Integrity Errors:    0\n"
        )
        return {"health": "PASSED", "type": "text", "text": text, "wearout": disk.wearout}
    rows = [
        (5, "Reallocated_Sector_Ct", 100, 10, "0"),
        (9, "Power_On_Hours", 95, 0, str(hours)),
        (12, "Power_Cycle_Count", 99, 0, str(noise.whole(20, 60, seed, "cycles", disk.serial))),
        (177, "Wear_Leveling_Count", disk.wearout, 5, str(noise.whole(40, 400, seed, "levels", disk.serial))),
        (187, "Reported_Uncorrect", 100, 0, "0"),
        (190, "Airflow_Temperature_Cel", 100 - celsius, 0, str(celsius)),
        (199, "UDMA_CRC_Error_Count", 100, 0, "0"),
        (241, "Total_LBAs_Written", 99, 0, str(hours * 7_400_000)),
    ]
    attributes = [
        {
            "id": f"{number:3d}",
            "name": name,
            "value": value,
            "worst": value,
            "threshold": threshold,
            "raw": raw,
            "fail": "-",
            "flags": "PO--CK",
        }
        for number, name, value, threshold, raw in rows
    ]
    return {"health": "PASSED", "type": "ata", "attributes": attributes, "wearout": disk.wearout}


def interfaces(node: Node) -> dict[str, dict[str, Any]]:
    """The network configuration of a node: as described, or two cards, a bond and a bridge."""
    if node.interfaces is not None:
        return node.interfaces
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


def packages(running_kernel: str) -> list[dict[str, Any]]:
    """The versions of what makes up Proxmox VE."""
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
    return rows
