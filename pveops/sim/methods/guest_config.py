"""The configuration of guests: read, change now or in a task, pending changes."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from pveops.sim.errors import bad_parameter, failed, forbidden
from pveops.sim.methods.guest_power import refuse_root_options
from pveops.sim.methods.table import Call, Table
from pveops.sim.physics.hardware import interfaces
from pveops.sim.props import read_props, split_list
from pveops.sim.state import config
from pveops.sim.state.guest import LXC_DISK, QEMU_DISK, UNUSED_DISK, Guest, Value, read_disk
from pveops.sim.state.volumes import find_volume
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.power import refuse_lock
from pveops.sim.tasks.snapshots import find_snapshot
from pveops.sim.tasks.task import Task

api = Table()

_ABOUT_THE_REQUEST = frozenset(
    {"node", "vmid", "digest", "delete", "revert", "force", "skiplock", "background_delay", "import-working-storage"}
)
_SECRET = "**********"  # noqa: S105 - what is shown instead of a password
_CHANGED_VM = "checksum mismatch (file change by other user?)"
_SSH_KEY = re.compile(r"\s*(#|(ssh-|ecdsa-|sk-)[\w@.-]+ \S+)")
_CHANGED_CT = "detected modified configuration - file changed by other user? Try again."
_QEMU_AREAS = {
    "CPU": re.compile(r"cores|cpu|cpulimit|cpuunits|numa\d*|smp|sockets|vcpus|affinity"),
    "Memory": re.compile(r"balloon|hugepages|keephugepages|memory|shares|allow-ksm"),
    "Network": re.compile(r"net\d+|ipconfig\d+"),
    "Cloudinit": re.compile(r"ci(custom|password|type|upgrade|user)|nameserver|searchdomain|sshkeys"),
    "HWType": re.compile(
        r"acpi|hotplug|kvm|machine|scsihw|smbios1|tablet|vga|watchdog|audio0|usb\d+|serial\d+|hostpci\d+|rng0|virtiofs\d+|bios"
    ),
    "Disk": re.compile(rf"{QEMU_DISK.pattern}|{UNUSED_DISK.pattern}|boot|bootdisk|vmstatestorage"),
}
_LXC_AREAS = {
    "CPU": re.compile(r"cores|cpulimit|cpuunits"),
    "Memory": re.compile(r"memory|swap"),
    "Network": re.compile(r"net\d+|nameserver|searchdomain|hostname"),
    "Disk": re.compile(rf"{LXC_DISK.pattern}|{UNUSED_DISK.pattern}"),
}


def _shown(guest: Guest, values: dict[str, Any]) -> dict[str, Any]:
    """Values as the API shows them: passwords hidden, descriptions of containers as lines."""
    shown = dict(values)
    if "cipassword" in shown:
        shown["cipassword"] = _SECRET
    if guest.kind == "lxc" and shown.get("description"):
        shown["description"] = f"{str(shown['description']).rstrip()}\n"
    return shown


@api.reads("GET /nodes/{node}/qemu/{vmid}/config", "GET /nodes/{node}/lxc/{vmid}/config")
def read(call: Call) -> dict[str, Any]:
    """The configuration with pending changes applied; the live one with ``current``; that of a snapshot with ``snapshot``."""
    guest = call.guest(call.kind)
    if "snapshot" in call.p:
        found = find_snapshot(guest, call.p["snapshot"])
        return _shown(guest, {**found.config, "snaptime": found.time_s}) | {"digest": guest.digest}
    values = dict(guest.config) if call.p.get("current") else guest.with_pending()
    answer = _shown(guest, values)
    lock = call.world.lock_of(guest)
    if lock:
        answer.setdefault("lock", lock)
    if guest.parent:
        answer["parent"] = guest.parent
    answer["digest"] = guest.digest
    return answer


@api.reads("GET /nodes/{node}/qemu/{vmid}/pending", "GET /nodes/{node}/lxc/{vmid}/pending")
def pending(call: Call) -> list[dict[str, Any]]:
    """Every option with its current and its coming value."""
    guest = call.guest(call.kind)
    rows = []
    current = _shown(guest, dict(guest.config))
    for key in dict.fromkeys([*guest.config, *guest.pending]):
        row: dict[str, Any] = {"key": key}
        if key in current:
            row["value"] = current[key]
        if key in guest.pending:
            coming = guest.pending[key]
            row |= {"delete": 1} if coming is None else {"pending": coming}
        rows.append(row)
    return [*rows, {"key": "digest", "value": guest.digest}]


def _changes(call: Call) -> dict[str, Value]:
    return {key: value for key, value in call.p.items() if key not in _ABOUT_THE_REQUEST}


def _names(call: Call, parameter: str, changes: dict[str, Value]) -> list[str]:
    """The options in ``delete`` or ``revert``; 400 for unknown ones and those that are set in the same request."""
    found = split_list(call.p.get(parameter, ""))
    for name in found:
        if name in _ABOUT_THE_REQUEST or not call.knows(name):
            raise bad_parameter(parameter, f"unknown option '{name}'")
        if name in changes:
            raise bad_parameter(parameter, f"you can't use '-{name}' and -{parameter} {name}' at the same time")
    return found


def refuse_root_values(call: Call, changes: dict[str, Value], deletes: list[str]) -> None:
    """Some options touch the host: only root in person sets them."""
    if call.who.is_root:
        return
    for key in ("lock", "args", "affinity", "vmgenid"):
        if key in changes or key in deletes:
            raise failed(f"only root can set '{key}' config")
    for key, value in changes.items():
        text = str(value)
        if re.fullmatch(r"hostpci\d+", key) and "mapping=" not in text:
            raise failed(f"only root can set '{key}' config for non-mapped devices")
        if re.fullmatch(r"usb\d+", key) and "spice" not in text.lower() and "mapping=" not in text:
            raise failed(f"only root can set '{key}' config for real devices")
        if re.fullmatch(r"(serial|parallel)\d+", key) and text != "socket":
            raise failed(f"only root can modify '{key}' config for real devices")


def _area(call: Call, guest: Guest, key: str, value: Value | None) -> str:
    """The part of VM.Config that an option belongs to."""
    if call.kind == "qemu" and QEMU_DISK.fullmatch(key):
        text = str(value if value is not None else guest.config.get(key, ""))
        if read_disk(key, text).cdrom:
            return "CDROM"
    areas = _QEMU_AREAS if call.kind == "qemu" else _LXC_AREAS
    return next((name for name, pattern in areas.items() if pattern.fullmatch(key)), "Options")


def _check_privileges(call: Call, guest: Guest, changes: dict[str, Value], names: list[str]) -> None:
    """Each option needs the privilege of its area; new disks need space on their storage."""
    path = f"/vms/{guest.vmid}"
    for key, value in changes.items():
        _check_storage(call, key, str(value))
        call.demand(path, f"VM.Config.{_area(call, guest, key, value)}")
        _check_bridge(call, key, str(value))
    for key in names:
        call.demand(path, f"VM.Config.{_area(call, guest, key, None)}")
    if "features" in changes and call.kind == "lxc" and not call.who.is_root:
        if not guest.config.get("unprivileged"):
            raise forbidden("changing feature flags for privileged container is only allowed for root@pam")
        if set(read_props(str(changes["features"]))) - {"nesting"}:
            raise forbidden("changing feature flags (except nesting) is only allowed for root@pam")


def _check_storage(call: Call, key: str, text: str) -> None:
    """A new disk needs space on its storage."""
    if (QEMU_DISK if call.kind == "qemu" else LXC_DISK).fullmatch(key):
        volid = read_disk(key, text).volid
        if call.kind == "lxc" and volid.startswith("/") and not call.who.is_root:
            raise forbidden("mount point type bind is only allowed for root@pam")
        storage, _, rest = volid.partition(":")
        if rest.replace(".", "").isdigit() and storage in call.cluster.storages:
            call.demand(f"/storage/{storage}", "Datastore.AllocateSpace")


def _check_bridge(call: Call, key: str, text: str) -> None:
    """A network device needs the use of its bridge."""
    if config.NET.fullmatch(key):
        bridge, tag = (read_props(text, "model").get(name, "") for name in ("bridge", "tag"))
        if bridge:
            call.demand(f"/sdn/zones/localnetwork/{bridge}" + (f"/{tag}" if tag else ""), "SDN.Use")


def _prepare(call: Call) -> tuple[Guest, dict[str, Value], list[str], list[str]]:
    """Everything that is checked before anything changes: guest, changes, deletes, reverts."""
    refuse_root_options(call, "skiplock")
    changes = _changes(call)
    deletes, reverts = _names(call, "delete", changes), _names(call, "revert", changes)
    refuse_root_values(call, changes, deletes)
    guest = call.guest(call.kind)
    nothing = sorted(call.nulls) if call.kind == "qemu" else []
    if not changes and not deletes and not reverts and not nothing:
        raise failed("no options specified")
    _check_privileges(call, guest, changes, [*deletes, *reverts, *nothing])
    _check_texts(call, changes)
    if "digest" in call.p and call.p["digest"] != guest.digest:
        raise failed(_CHANGED_VM if call.kind == "qemu" else _CHANGED_CT)
    if not call.p.get("skiplock"):
        refuse_lock(guest)
        lock = call.world.lock_of(guest)
        if lock:
            raise failed(f"{guest.noun} is locked ({lock})")
    if nothing:
        raise failed(f"unable to parse value of '{nothing[0]}' - got undefined value")
    return guest, changes, deletes, reverts


def _check_texts(call: Call, changes: dict[str, Value]) -> None:
    """Values that are looked at before anything changes: the hook script must be there, SSH keys must look like keys."""
    script = str(changes.get("hookscript", ""))
    if script and find_volume(call.cluster, script, call.p["node"]) is None:
        raise bad_parameter("hookscript", f"script '{script}' does not exist\n")
    if script:
        raise bad_parameter("hookscript", f"script '{script}' is not executable\n")
    model = str(changes.get("cpu", "")).split(",")[0].removeprefix("cputype=")
    if model.startswith("custom-") and model.removeprefix("custom-") not in call.cluster.configs.cpu_models:
        raise bad_parameter("cpu", f"invalid format - Custom cputype '{model.removeprefix('custom-')}' not found\n")
    keys = unquote(str(changes.get("sshkeys", ""))).strip()
    if keys and not all(_SSH_KEY.match(line) for line in keys.splitlines() if line.strip()):
        raise failed("SSH public key validation error")


def _apply(call: Call, guest: Guest, changes: dict[str, Value], deletes: list[str], reverts: list[str]) -> None:
    if reverts:
        config.revert(call.cluster, guest, reverts)
    if changes or deletes:
        bridges = {"", "vmbr0", *(name for name, facts in interfaces(call.node).items() if facts["type"] == "bridge")}
        force, is_root = bool(call.p.get("force")), call.who.is_root
        config.update(call.cluster, guest, changes, deletes, bridges=bridges, force=force, is_root=is_root)
        missing = config.broken_bridge(guest, bridges)
        if missing:
            raise failed(f"bridge '{missing}' does not exist")
    call.cluster.note(guest.node, call.who.name, f"update {guest.noun} {guest.vmid}: {_spoken(call)}")


def _spoken(call: Call) -> str:
    parts = [f"-{key} {_SECRET if 'password' in key else value}" for key, value in call.p.items() if key not in ("node", "vmid")]
    return " ".join(parts)


@api.behaves("PUT /nodes/{node}/qemu/{vmid}/config", "PUT /nodes/{node}/lxc/{vmid}/config")
def update(call: Call) -> None:
    """Change the configuration at once."""
    _apply(call, *_prepare(call))


@api.behaves("POST /nodes/{node}/qemu/{vmid}/config")
def update_in_task(call: Call) -> str | None:
    """Change the configuration in a task; whoever grants a delay gets no task when it is done by then, and a change takes no time."""
    guest, changes, deletes, reverts = _prepare(call)
    if call.p.get("background_delay"):
        _apply(call, guest, changes, deletes, reverts)
        return None
    config.check_storages(call.cluster, guest, changes)

    def work(task: Task) -> Body:
        task.say(f"update VM {guest.vmid}: {_spoken(call)}")
        yield 0.1
        refuse_lock(call.cluster.guest("qemu", call.p["node"], guest.vmid))
        _apply(call, guest, changes, deletes, reverts)

    return call.fork("qmconfig", guest.vmid, work)
