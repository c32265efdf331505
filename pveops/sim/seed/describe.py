"""Describes a cluster of any size that looks lived in: same seed, same cluster."""

from __future__ import annotations

from typing import Any, NamedTuple

from pveops.sim.seed.people import people
from pveops.sim.state import noise

_GIB = 1024**3
_DAY_S = 86400
_MEMORY_STEPS_GIB = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536)
_CORE_STEPS = (8, 12, 16, 24, 32, 48, 64)
_NIGHT_HOURS = (21, 22, 23, 0, 1, 2, 3, 4)
_QUIET_BEFORE_H = 5
_QUIET_AFTER_H = 7


class _Role(NamedTuple):
    """What guests of one name are: kind, profile of load, cores, memory and disk in GiB, tags, pool."""

    stem: str
    kind: str
    profile: str
    cores: int
    memory_gib: int
    disk_gib: int
    tags: str
    pool: str


_ROLES = (
    _Role("web", "qemu", "web", 4, 4, 32, "prod;web", "production"),
    _Role("db", "qemu", "db", 8, 16, 120, "db;prod", "production"),
    _Role("cache", "lxc", "cache", 2, 4, 8, "cache;prod", "production"),
    _Role("app", "qemu", "web", 4, 8, 48, "app;prod", "production"),
    _Role("ci-runner", "lxc", "ci", 4, 4, 40, "ci", "ci"),
    _Role("dns", "lxc", "net", 1, 1, 4, "infra", ""),
    _Role("proxy", "lxc", "net", 2, 1, 8, "infra;web", "production"),
    _Role("git", "qemu", "file", 4, 8, 160, "infra", ""),
    _Role("mail", "qemu", "mail", 2, 4, 80, "infra;prod", "production"),
    _Role("monitor", "qemu", "monitor", 4, 8, 100, "infra", ""),
    _Role("files", "lxc", "file", 2, 2, 200, "files", ""),
    _Role("stage-web", "qemu", "idle", 2, 2, 32, "stage;web", "staging"),
    _Role("stage-db", "qemu", "idle", 2, 4, 64, "db;stage", "staging"),
    _Role("wiki", "lxc", "idle", 1, 1, 10, "docs", ""),
    _Role("k8s-node", "qemu", "ci", 4, 8, 60, "k8s;prod", "production"),
)


def night_hour(start_s: float) -> int:
    """An hour of the night that is neither near nor just over, so that nightly jobs do not meet somebody who just started the cluster."""
    now_h = int(start_s // 3600) % 24
    for hour in _NIGHT_HOURS:
        if (hour - now_h) % 24 >= _QUIET_BEFORE_H and (now_h - hour) % 24 >= _QUIET_AFTER_H:
            return hour
    return (now_h + 12) % 24


def _disk(storage: str, vmid: int, number: int, gib: int) -> str:
    return f"{storage}:vm-{vmid}-disk-{number},size={gib}G"


def _qemu(seed: int, vmid: int, role: _Role, name: str, storage: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": name,
        "cores": role.cores,
        "memory": str(role.memory_gib * 1024),
        "ostype": "l26",
        "scsihw": "virtio-scsi-single",
        "scsi0": _disk(storage, vmid, 0, role.disk_gib),
        "net0": f"virtio={noise.mac_text(seed, vmid, 0)},bridge=vmbr0",
        "boot": "order=scsi0",
        "agent": "enabled=1",
        "smbios1": f"uuid={noise.uuid_text(seed, 'smbios', vmid)}",
        "vmgenid": noise.uuid_text(seed, "vmgenid", vmid),
        "onboot": 1,
        "tags": role.tags,
    }
    if role.profile == "db":
        config["scsi1"] = _disk(storage, vmid, 1, role.disk_gib * 2)
        config["numa"] = 1
    return config


def _lxc(seed: int, vmid: int, role: _Role, name: str, storage: str) -> dict[str, Any]:
    return {
        "hostname": name,
        "arch": "amd64",
        "cores": role.cores,
        "memory": role.memory_gib * 1024,
        "swap": 512,
        "ostype": "debian",
        "rootfs": _disk(storage, vmid, 0, role.disk_gib),
        "net0": f"name=eth0,bridge=vmbr0,hwaddr={noise.mac_text(seed, vmid, 0)},ip=dhcp,type=veth",
        "unprivileged": 1,
        "features": "nesting=1",
        "onboot": 1,
        "tags": role.tags,
    }


def _named_guests(seed: int, nodes: list[str]) -> list[dict[str, Any]]:
    """The guests that every cluster has: firewall, the web server that demos move around, and a template."""
    edge = _Role("fw-edge", "qemu", "net", 2, 2, 16, "infra", "")
    web = _ROLES[0]
    template = _Role("debian-13-template", "qemu", "idle", 2, 2, 10, "template", "")
    first = {"vmid": 100, "type": "qemu", "node": nodes[0], "running": True, "profile": "net", "pool": "", "level": 1.0}
    first["config"] = _qemu(seed, 100, edge, "fw-edge", "local-lvm") | {
        "net1": f"virtio={noise.mac_text(seed, 100, 1)},bridge=vmbr0,tag=20",
        "startup": "order=1,up=20",
        "description": "Edge firewall. Everything leaves through here.",
    }
    second = {"vmid": 101, "type": "qemu", "node": nodes[0], "running": True, "profile": "web", "pool": "production", "level": 1.0}
    second["config"] = _qemu(seed, 101, web, "web-1", "ceph-vm") | {"description": "Shop front end, behind proxy-1."}
    third = {"vmid": 102, "type": "qemu", "node": nodes[-1], "running": False, "profile": "idle", "pool": "", "level": 1.0}
    third["config"] = _qemu(seed, 102, template, "debian-13-template", "ceph-vm") | {
        "scsi0": "ceph-vm:base-102-disk-0,size=10G",
        "template": 1,
        "onboot": 0,
    }
    return [first, second, third]


def _more_guests(seed: int, nodes: list[str], count: int) -> list[dict[str, Any]]:
    numbers = {"web": 1}
    found = []
    for step in range(count):
        vmid = 103 + step
        role = _ROLES[(step * 7 + 1 + step // len(_ROLES)) % len(_ROLES)]
        numbers[role.stem] = number = numbers.get(role.stem, 0) + 1
        name = f"{role.stem}-{number}"
        storage = "local-lvm" if noise.unit(seed, "storage", vmid) < 0.22 and role.stem != "web" else "ceph-vm"
        make = _qemu if role.kind == "qemu" else _lxc
        running = noise.unit(seed, "running", vmid) > (0.5 if role.pool == "staging" else 0.03)
        guest: dict[str, Any] = {
            "vmid": vmid,
            "type": role.kind,
            "node": nodes[noise.whole(0, len(nodes) - 1, seed, "node", vmid) if len(nodes) > 3 else step % len(nodes)],
            "running": running,
            "profile": role.profile,
            "pool": role.pool,
            "level": round(noise.between(0.7, 1.35, seed, "level", vmid), 3),
            "config": make(seed, vmid, role, name, storage),
        }
        found.append(guest)
    return found


def _touch_up(guests: list[dict[str, Any]]) -> None:
    """Traces of people: a protected database, a stopped guest, old snapshots, a change that waits for a restart."""
    by_stem: dict[str, dict[str, Any]] = {}
    for guest in guests[3:]:
        name = guest["config"].get("name") or guest["config"].get("hostname")
        by_stem.setdefault(name.rsplit("-", 1)[0], guest)
    if "db" in by_stem:
        by_stem["db"]["config"]["protection"] = 1
        by_stem["db"]["running"] = True
        by_stem["db"]["snapshots"] = [{"name": "before-upgrade", "age_s": 74 * _DAY_S, "description": "before 17 to 18"}]
    if "app" in by_stem:
        app = by_stem["app"]
        app["snapshots"] = [
            {"name": "release-41", "age_s": 212 * _DAY_S, "description": ""},
            {"name": "release-42", "age_s": 19 * _DAY_S, "description": "known good", "parent": "release-41"},
        ]
    if "monitor" in by_stem:
        by_stem["monitor"]["pending"] = {"memory": "12288"}
        by_stem["monitor"]["running"] = True
    if "wiki" in by_stem:
        by_stem["wiki"]["running"] = False
        by_stem["wiki"]["config"]["description"] = "Retired, kept until the new one is accepted."


def _node(seed: int, name: str, number: int, guests: list[dict[str, Any]]) -> dict[str, Any]:
    """A node that carries its guests with room to spare."""
    own = [guest for guest in guests if guest["running"]]
    memory_gib = sum(int(guest["config"]["memory"]) for guest in own) / 1024
    threads = sum(int(guest["config"].get("cores", 1)) for guest in own)
    return {
        "name": name,
        "ip": f"192.0.2.{10 + number}" if number <= 100 else f"198.51.100.{number - 100}",
        "sockets": 2,
        "cores": next((cores for cores in _CORE_STEPS if cores * 4 >= threads * 0.7), _CORE_STEPS[-1]),
        "threads": 2,
        "model": "Example CPU 6430 @ 2.10GHz",
        "mhz": 2100.0,
        "memory": next((gib for gib in _MEMORY_STEPS_GIB if gib >= memory_gib * 1.45), _MEMORY_STEPS_GIB[-1]) * _GIB,
        "root_used": int(noise.between(9, 24, seed, "root", name) * _GIB),
        "uptime_s": int(noise.between(12, 120, seed, "boot", name) * _DAY_S),
        "options": {"wakeonlan": noise.mac_text(seed, "wake", name)},
    }


def _storages(seed: int, guests: list[dict[str, Any]], by_node: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    nodes = list(by_node)
    tib = 1024 * _GIB
    shared_gib = sum(_image_gib(guest["config"], "ceph-vm") for guest in guests)
    local_gib = {name: sum(_image_gib(guest["config"], "local-lvm") for guest in own) for name, own in by_node.items()}
    backup_tib = max(8, round(len(guests) * 0.45))
    isos = [
        ("debian-13.1.0-amd64-netinst.iso", 664 * 1024**2),
        ("ubuntu-24.04.3-live-server-amd64.iso", 3 * _GIB),
        ("virtio-win-0.1.271.iso", 709 * 1024**2),
    ]
    templates = [("debian-13-standard_13.1-2_amd64.tar.zst", 128 * 1024**2), ("alpine-3.22-default_20250617_amd64.tar.xz", 3 * 1024**2)]
    volumes = [{"volid": f"local:iso/{name}", "content": "iso", "size": size, "format": "iso", "age_s": 61 * _DAY_S} for name, size in isos]
    volumes += [
        {"volid": f"local:vztmpl/{name}", "content": "vztmpl", "size": size, "format": f"t{name.rsplit('.', 1)[1]}", "age_s": 48 * _DAY_S}
        for name, size in templates
    ]
    return [
        {
            "storage": "local",
            "type": "dir",
            "options": {"path": "/var/lib/vz", "content": "iso,vztmpl,backup,snippets,import"},
            "total": 96 * _GIB,
            "used": 12 * _GIB,
            "growth": 30 * 1024**2,
            "volumes": volumes,
        },
        {
            "storage": "local-lvm",
            "type": "lvmthin",
            "options": {"thinpool": "data", "vgname": "pve", "content": "images,rootdir"},
            "total": max(180, *(round(gib * 1.15) for gib in local_gib.values())) * _GIB,
            "used": 2 * _GIB,
            "full": {nodes[min(1, len(nodes) - 1)]: 0.91},
        },
        {
            "storage": "ceph-vm",
            "type": "rbd",
            "options": {
                "pool": "vm",
                "monhost": "192.0.2.251 192.0.2.252 192.0.2.253",
                "username": "admin",
                "content": "images,rootdir",
                "krbd": 0,
            },
            "total": max(4, round(shared_gib * 1.1 / 1024)) * tib,
            "used": 90 * _GIB,
        },
        {
            "storage": "pbs-01",
            "type": "pbs",
            "options": {
                "server": "192.0.2.250",
                "datastore": "main",
                "username": "pve@pbs!cluster",
                "fingerprint": ":".join(f"{byte:02X}" for byte in noise.digest(seed, "pbs")[:32]),
                "content": "backup",
                "prune-backups": "keep-all=1",
            },
            "total": backup_tib * tib,
            "used": int(backup_tib * tib * 0.58),
            "growth": backup_tib * tib * 0.0009,
        },
    ]


def _image_gib(config: dict[str, Any], storage: str) -> int:
    found = 0
    for value in config.values():
        text = str(value)
        if text.startswith(f"{storage}:") and ",size=" in text:
            found += int(text.rsplit("size=", 1)[1].rstrip("G"))
    return found


def _jobs(start_s: float, guests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    hour = night_hour(start_s)
    some = ",".join(str(guest["vmid"]) for guest in guests if "infra" in guest["config"]["tags"])
    idle = ",".join(str(guest["vmid"]) for guest in guests if guest["profile"] == "ci")
    nightly: dict[str, Any] = {
        "id": "backup-5c1e7a90-41d2",
        "schedule": f"{hour:02d}:00",
        "all": 1,
        "storage": "pbs-01",
        "mode": "snapshot",
        "enabled": 1,
    }
    nightly |= {
        "prune-backups": "keep-daily=7,keep-weekly=4",
        "notes-template": "{{guestname}}",
        "comment": "nightly, everything but CI",
        "age_s": 200 * _DAY_S,
    }
    if idle:
        nightly["exclude"] = idle
    weekly: dict[str, Any] = {
        "id": "backup-d08b13f2-9c47",
        "schedule": f"sat {(hour + 2) % 24:02d}:30",
        "vmid": some,
        "storage": "local",
        "mode": "snapshot",
    }
    weekly |= {
        "enabled": 1,
        "compress": "zstd",
        "prune-backups": "keep-last=2",
        "comment": "infrastructure, local copy",
        "age_s": 120 * _DAY_S,
    }
    return [nightly, weekly]


def describe(*, nodes: int, guests: int, seed: int, start_s: float, ha_guests: int = 0) -> dict[str, Any]:
    """The description of a generated cluster.

    Args:
        nodes: how many nodes, named pve1, pve2 …
        guests: how many guests; the first ones are always fw-edge (100), web-1 (101) and a template (102).
        seed: chooses the cluster.
        start_s: when it starts, seconds since the epoch; jobs of the night keep away from this hour.
        ha_guests: how many running guests high availability manages.
    """
    names = [f"pve{number}" for number in range(1, nodes + 1)]
    found = (_named_guests(seed, names) + _more_guests(seed, names, max(guests - 3, 0)))[:guests]
    _touch_up(found)
    for guest in found:
        guest["uptime_s"] = int(noise.between(0.2, 70, seed, "uptime", guest["vmid"]) * _DAY_S)
    by_node: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for guest in found:
        by_node[guest["node"]].append(guest)
    pools = {name: [guest["vmid"] for guest in found if guest["pool"] == name] for name in ("production", "staging", "ci")}
    managed = [guest for guest in found if guest["running"] and "ceph-vm" in str(guest["config"])][:ha_guests]
    return {
        "name": "simulated",
        "nodes": [_node(seed, name, number, by_node[name]) for number, name in enumerate(names, 1)],
        "storages": _storages(seed, found, by_node),
        "guests": found,
        "pools": [{"poolid": name, "comment": f"{name} guests", "vms": vmids} for name, vmids in pools.items() if vmids],
        "jobs": _jobs(start_s, found),
        "ha": [{"sid": f"{'vm' if guest['type'] == 'qemu' else 'ct'}:{guest['vmid']}", "state": "started"} for guest in managed],
        "options": {"keyboard": "en-us", "migration": "type=secure", "description": "simulated by pveops"},
        "habits": True,
        **people(),
    }
