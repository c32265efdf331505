"""Storages as a node sees them: state and content."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import RefusedError, bad_parameter, failed
from pveops.sim.methods.table import Call, Table, drop_empty
from pveops.sim.props import size_bytes, split_list
from pveops.sim.state.storage import FILE_TYPES, Storage, Volume
from pveops.sim.state.volumes import owner_of, usable_storage
from pveops.sim.tasks.backup import remove_volume
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.restore import Archive
from pveops.sim.tasks.retention import kept
from pveops.sim.tasks.task import Task

api = Table()

_FOLDERS = {"iso": "template/iso", "vztmpl": "template/cache", "backup": "dump", "snippets": "snippets", "import": "import"}


def _state(call: Call, storage: Storage) -> dict[str, Any]:
    """Size and use of a storage; zeros for one that is off."""
    row: dict[str, Any] = {
        "type": storage.kind,
        "content": ",".join(storage.content),
        "shared": int(storage.shared),
        "enabled": int(storage.enabled),
        "active": int(storage.enabled and not storage.down),
        "total": 0,
        "used": 0,
        "avail": 0,
    }
    if storage.enabled and not storage.down:
        space = call.world.space.storage(storage, call.p["node"], call.now_s)
        row |= {"total": space.total, "used": space.used, "avail": space.avail}
    return row


def _listed(call: Call, storage: Storage) -> bool:
    p = call.p
    wanted = split_list(p.get("content", ""))
    checks = (
        storage.on_node(p["node"]),
        "target" not in p or storage.on_node(p["target"]),
        p.get("storage", storage.name) == storage.name,
        not wanted or (storage.enabled and any(kind in storage.content for kind in wanted)),
        not p.get("enabled") or storage.enabled,
        call.may_any(f"/storage/{storage.name}", "Datastore.Audit", "Datastore.AllocateSpace"),
    )
    return all(checks)


@api.reads("GET /nodes/{node}/storage")
def storages(call: Call) -> list[dict[str, Any]]:
    """The storages of a node that the caller may see."""
    rows = []
    for storage in call.cluster.storages.values():
        if not _listed(call, storage):
            continue
        row = {"storage": storage.name, **_state(call, storage)}
        if row["total"]:
            row["used_fraction"] = row["used"] / row["total"]
            if call.p.get("format"):
                forms = ["qcow2", "raw", "subvol", "vmdk"] if storage.kind in FILE_TYPES else ["raw"]
                row |= {"format": [dict.fromkeys(forms, 1), "raw"], "formats": {"default": "raw", "supported": forms}}
        rows.append(row)
    return rows


@api.reads("GET /nodes/{node}/storage/{storage}/status")
def status(call: Call) -> dict[str, Any]:
    """The state of one storage."""
    storage = call.cluster.storages.get(call.p["storage"])
    if storage is None or not storage.on_node(call.p["node"]):
        raise bad_parameter("storage", "No such storage.")
    return _state(call, storage)


def visible_volumes(call: Call, storage: Storage) -> list[Volume]:
    """Everything on a storage as the node sees it: what somebody made, and what scheduled backups left."""
    found = list(storage.place(call.p["node"]).values())
    if "backup" in storage.content and call.p.get("content", "backup") == "backup":
        vmid = call.p.get("vmid")
        one = call.cluster.past_guest(vmid) if vmid else None
        gone = [guest for guest, _ in call.cluster.former.values() if guest.vmid not in call.cluster.guests]
        guests = [one] if one else [] if vmid else [*call.cluster.guests.values(), *gone]
        known = {volume.volid for volume in found}
        found += [volume for volume in call.world.schedule.volumes(storage, call.p["node"], guests) if volume.volid not in known]
    return found


def demand_volume(call: Call, storage: str, content: str, vmid: int) -> None:
    """403 unless the caller may see a volume of that kind."""
    path = f"/storage/{storage}"
    if content in ("iso", "vztmpl"):
        call.demand_any(path, "Datastore.AllocateSpace", "Datastore.Audit")
    elif content == "backup" and vmid:
        call.demand(path, "Datastore.AllocateSpace")
        call.demand(f"/vms/{vmid}", "VM.Backup")
    elif (
        content in ("images", "rootdir")
        and vmid
        and call.may(path, "Datastore.AllocateSpace")
        and call.may(f"/vms/{vmid}", "VM.Config.Disk")
    ):
        return
    else:
        call.demand(path, "Datastore.Allocate")


def _may_see(call: Call, storage: str, volume: Volume) -> bool:
    try:
        demand_volume(call, storage, volume.content, volume.vmid)
    except RefusedError:
        return False
    return True


def _row(storage: Storage, volume: Volume) -> dict[str, Any]:
    row: dict[str, Any] = {"volid": volume.volid, "content": volume.content, "format": volume.form, "size": volume.size}
    if volume.content in ("images", "rootdir"):
        row["vmid"] = volume.vmid
        if storage.kind in FILE_TYPES:
            row |= {"ctime": volume.ctime_s, "used": int(volume.size * volume.used_fraction), "parent": volume.parent or None}
        elif storage.kind == "lvmthin":
            row["ctime"] = volume.ctime_s
        return row
    row["ctime"] = volume.ctime_s
    if volume.content == "backup":
        first = volume.notes.split("\n", 1)[0]
        row |= drop_empty({"vmid": volume.vmid or None, "subtype": volume.subtype, "notes": first})
        if volume.protected:
            row["protected"] = 1
        if volume.verified:
            row["verification"] = {"state": "ok", "upid": f"UPID:pbs-01:verify:{volume.ctime_s:08X}:"}
    return row


@api.reads("GET /nodes/{node}/storage/{storage}/content")
def content(call: Call) -> list[dict[str, Any]]:
    """The volumes that the caller may see."""
    storage = usable_storage(call.cluster, call.p["storage"], call.p["node"])
    wanted, vmid = call.p.get("content"), call.p.get("vmid")
    return [
        _row(storage, volume)
        for volume in visible_volumes(call, storage)
        if (wanted is None or volume.content == wanted)
        and (vmid is None or volume.vmid == vmid or volume.content in ("snippets", "import"))
        and _may_see(call, storage.name, volume)
    ]


def _volid(call: Call) -> tuple[Storage, str]:
    """The storage and the full id of the volume that the path names."""
    name = call.p["volume"]
    storage, colon, rest = name.partition(":")
    wanted = call.p.get("storage", storage)
    if colon and storage != wanted:
        raise bad_parameter("volume", f"storage ID mismatch ({storage} != {wanted})\n")
    found = call.cluster.storage(wanted)
    if not colon or (found.kind in FILE_TYPES and "/" not in rest):
        raise failed(f"unable to parse directory volume name '{rest if colon else name}'")
    return found, name


def _content_of(storage: Storage, volid: str) -> str:
    """The kind of content by the name of a volume."""
    folder = volid.partition(":")[2].split("/", 1)[0]
    if folder in _FOLDERS:
        return folder
    known = storage.place("").get(volid)
    return known.content if known else "images"


def _find(call: Call, storage: Storage, volid: str) -> Volume | None:
    made = storage.place(call.p["node"]).get(volid)
    guest = call.cluster.past_guest(_vmid_of(volid))
    if made is None and _content_of(storage, volid) == "backup" and guest is not None:
        scheduled = call.world.schedule.volumes(storage, call.p["node"], [guest])
        made = next((volume for volume in scheduled if volume.volid == volid), None)
    return made


def _vmid_of(volid: str) -> int:
    rest = volid.partition(":")[2]
    if rest.startswith("backup/vzdump-"):
        part = rest.split("-", 3)[2]
        return int(part) if part.isdigit() else 0
    if rest.startswith("backup/"):
        parts = rest.split("/")
        return int(parts[2]) if len(parts) > 2 and parts[2].isdigit() else 0
    return owner_of(volid)


def path_of(storage: Storage, volid: str) -> str:
    """Where a volume lies on its node."""
    folder, _, name = volid.partition(":")[2].partition("/")
    if storage.kind == "pbs":
        return f"{storage.options.get('username', 'root@pam')}@{storage.options.get('server')}:{storage.options.get('datastore')}:{name}"
    if storage.kind in FILE_TYPES:
        return f"{storage.root_path()}/{_FOLDERS.get(folder, f'images/{folder}')}/{name}"
    group = storage.options.get("vgname") or storage.options.get("pool") or storage.name
    return f"/dev/{group}/{folder}" if storage.kind.startswith("lvm") else f"{storage.kind}:{group}/{folder}"


@api.reads("GET /nodes/{node}/storage/{storage}/content/{volume}")
def volume_info(call: Call) -> dict[str, Any]:
    """One volume, with its whole notes."""
    storage, volid = _volid(call)
    kind, vmid = _content_of(storage, volid), _vmid_of(volid)
    demand_volume(call, storage.name, kind, vmid)
    volume = _find(call, storage, volid)
    if volume is None:
        raise failed(f"volume_size_info on '{volid}' failed - no format")
    row: dict[str, Any] = {
        "path": path_of(storage, volid),
        "size": volume.size,
        "used": int(volume.size * volume.used_fraction),
        "format": volume.form if volume.content in ("images", "rootdir") else "raw",
    }
    if kind == "backup":
        row |= {"protected": int(volume.protected), **drop_empty({"notes": volume.notes})}
    return row


def backup_archive(call: Call, volid: str) -> Archive:
    """A backup that the caller may restore, with the guest that it was made of.

    Raises:
        RefusedError: 403, or 500 when there is none.
    """
    storage = usable_storage(call.cluster, volid.partition(":")[0], call.p["node"])
    vmid = _vmid_of(volid)
    demand_volume(call, storage.name, "backup", vmid)
    volume = _find(call, storage, volid)
    if volume is None or volume.content != "backup":
        raise failed(f"volume '{volid}' does not exist")
    return Archive(volume, path_of(storage, volid), call.cluster.past_guest(vmid))


@api.behaves("PUT /nodes/{node}/storage/{storage}/content/{volume}")
def mark_volume(call: Call) -> None:
    """Change notes or protection of a backup; it need not be there."""
    storage, volid = _volid(call)
    kind = _content_of(storage, volid)
    demand_volume(call, storage.name, kind, _vmid_of(volid))
    if kind != "backup":
        if "notes" in call.p:
            raise failed("only backups can have notes")
        if "protected" in call.p:
            raise failed("only backups can be protected")
        return
    marks = call.cluster.volume_marks.setdefault(volid, {})
    marks |= {key: bool(call.p[key]) if key == "protected" else call.p[key] for key in ("notes", "protected") if key in call.p}
    made = storage.place(call.p["node"]).get(volid)
    if made is not None:
        made.notes = marks.get("notes", made.notes)
        made.protected = marks.get("protected", made.protected)


@api.behaves("DELETE /nodes/{node}/storage/{storage}/content/{volume}")
def delete_volume(call: Call) -> str | None:
    """Remove a volume in a task; with ``delay`` the answer waits for it and says nothing."""
    storage, volid = _volid(call)
    kind, vmid = _content_of(storage, volid), _vmid_of(volid)
    path = f"/storage/{storage.name}"
    if kind == "backup" and vmid:
        call.demand(path, "Datastore.AllocateSpace")
        if not call.may(path, "Datastore.Allocate"):
            call.demand(f"/vms/{vmid}", "VM.Backup")
    elif not (vmid and call.may(path, "Datastore.AllocateSpace") and call.may(f"/vms/{vmid}", "VM.Config.Disk")):
        call.demand(path, "Datastore.Allocate")
    about = f"{vmid}@{storage.name}" if vmid else storage.name
    upid = call.fork("imgdel", about, remove_volume(call.cluster, call.p["node"], volid, path=path_of(storage, volid)))
    return None if "delay" in call.p else upid


@api.behaves("POST /nodes/{node}/storage/{storage}/content")
def allocate(call: Call) -> str:
    """Make an empty disk image; any file name will do."""
    storage = usable_storage(call.cluster, call.p["storage"], call.p["node"])
    name, vmid = call.p["filename"], call.p["vmid"]
    form = name.rsplit(".", 1)[1] if "." in name else "raw"
    if "format" in call.p and call.p["format"] != form:
        raise bad_parameter("format", f"different storage formats ({call.p['format']} != {form})")
    volid = f"{storage.name}:{vmid}/{name}" if storage.kind in FILE_TYPES else f"{storage.name}:{name}"
    volumes = storage.place(call.p["node"])
    if volid in volumes:
        raise failed(f"disk image '{path_of(storage, volid)}' already exists")
    text = str(call.p["size"])
    size = size_bytes(text if text[-1:].isalpha() else f"{text}K")
    volumes[volid] = Volume(volid, "images", size, form, int(call.now_s), vmid, 0.01)
    call.cluster.generation += 1
    return volid


def _prune_rows(call: Call) -> list[dict[str, Any]]:
    storage = usable_storage(call.cluster, call.p["storage"], call.p["node"]) if call.cluster.storage(call.p["storage"]).enabled else None
    if storage is None or "backup" not in storage.content:
        raise failed(f"storage '{call.p['storage']}' does not support backups")
    options = call.p.get("prune-backups") or storage.options.get("prune-backups")
    if not options:
        raise failed(f"no prune-backups options configured for storage '{storage.name}'")
    groups: dict[tuple[int, str], list[Volume]] = {}
    for volume in visible_volumes(call, storage):
        fits = (
            volume.content == "backup"
            and call.p.get("type", volume.subtype) == volume.subtype
            and call.p.get("vmid", volume.vmid) == volume.vmid
        )
        if fits and call.may(f"/vms/{volume.vmid}", "VM.Backup"):
            groups.setdefault((volume.vmid, volume.subtype), []).append(volume)
    rows = []
    for (vmid, subtype), volumes in groups.items():
        stay = kept([float(volume.ctime_s) for volume in volumes if not volume.protected], str(options))
        for volume in volumes:
            mark = "protected" if volume.protected else "keep" if volume.ctime_s in stay else "remove"
            rows.append({"volid": volume.volid, "ctime": volume.ctime_s, "mark": mark, "type": subtype, "vmid": vmid})
    return rows


@api.reads("GET /nodes/{node}/storage/{storage}/prunebackups")
def prune_preview(call: Call) -> list[dict[str, Any]]:
    """What pruning would keep and remove."""
    return _prune_rows(call)


@api.behaves("DELETE /nodes/{node}/storage/{storage}/prunebackups")
def prune(call: Call) -> str:
    """Remove what the retention options do not keep."""
    path = f"/storage/{call.p['storage']}"
    if not ("vmid" in call.p and call.may(path, "Datastore.AllocateSpace") and call.may(f"/vms/{call.p['vmid']}", "VM.Backup")):
        call.demand(path, "Datastore.Allocate")
    doomed = [row["volid"] for row in _prune_rows(call) if row["mark"] == "remove"]
    node = call.p["node"]

    def work(task: Task) -> Body:
        for volid in doomed:
            yield from remove_volume(call.cluster, node, volid, path="")(task)

    return call.fork("prunebackups", call.p["storage"], work)
