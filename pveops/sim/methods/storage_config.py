"""Storage definitions of the cluster."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.digest import sha1_of
from pveops.sim.state.storage import Storage

api = Table()

_CHANGED = "detected modified configuration - file changed by other user? Try again."
_COMMON = frozenset(
    {"content", "disable", "nodes", "shared", "prune-backups", "bwlimit", "preallocation", "max-protected-backups", "format", "comment"}
)
_REQUIRED = {
    "btrfs": ("path",),
    "cephfs": (),
    "cifs": ("server", "share"),
    "dir": ("path",),
    "esxi": ("server", "username"),
    "iscsi": ("portal", "target"),
    "iscsidirect": ("portal", "target"),
    "lvm": ("vgname",),
    "lvmthin": ("thinpool", "vgname"),
    "nfs": ("export", "server"),
    "pbs": ("datastore", "server"),
    "rbd": (),
    "zfs": ("iscsiprovider", "pool", "portal", "target"),
    "zfspool": ("pool",),
}
_OPTIONAL = {
    "btrfs": {"is_mountpoint", "mkdir"},
    "cephfs": {"fuse", "fs-name", "keyring", "monhost", "options", "path", "subdir", "username"},
    "cifs": {"domain", "options", "password", "path", "smbversion", "subdir", "username"},
    "dir": {"content-dirs", "create-base-path", "create-subdirs", "is_mountpoint", "mkdir"},
    "esxi": {"password", "port", "skip-cert-verification"},
    "lvm": {"base", "saferemove", "saferemove_throughput", "tagged_only", "snapshot-as-volume-chain"},
    "nfs": {"options", "path", "content-dirs", "create-base-path", "create-subdirs", "mkdir"},
    "pbs": {"encryption-key", "fingerprint", "master-pubkey", "namespace", "password", "port", "username", "skip-cert-verification"},
    "rbd": {"authsupported", "data-pool", "keyring", "krbd", "monhost", "namespace", "pool", "username"},
    "zfs": {"blocksize", "comstar_hg", "comstar_tg", "lio_tpg", "nowritecache", "sparse", "zfs-base-path"},
    "zfspool": {"blocksize", "mountpoint", "sparse"},
}
_FRESH_BYTES = 500 * 1024**3
_META = frozenset({"storage", "type", "delete", "digest"})


def config_digest(call: Call) -> str:
    """The digest of all storage definitions: they share one file."""
    return sha1_of([(one.name, one.kind, sorted(one.options.items(), key=str)) for one in call.cluster.storages.values()])


def config_row(call: Call, storage: Storage) -> dict[str, Any]:
    """A definition as the API shows it."""
    return {
        "storage": storage.name,
        "type": storage.kind,
        "digest": config_digest(call),
        "content": ",".join(storage.content),
        **storage.options,
    }


@api.reads("GET /storage")
def definitions(call: Call) -> list[dict[str, Any]]:
    """The definitions that the caller may see."""
    return [
        config_row(call, storage)
        for storage in call.cluster.storages.values()
        if call.may_any(f"/storage/{storage.name}", "Datastore.Audit", "Datastore.AllocateSpace")
        and call.p.get("type", storage.kind) == storage.kind
    ]


@api.reads("GET /storage/{storage}")
def definition(call: Call) -> dict[str, Any]:
    """One definition."""
    return config_row(call, call.cluster.storage(call.p["storage"]))


def _options(call: Call) -> dict[str, Any]:
    found = {key: value for key, value in call.p.items() if key not in _META}
    return {key: value for key, value in found.items() if not (key == "disable" and not value)}


@api.behaves("POST /storage")
def create(call: Call) -> dict[str, str]:
    """A new definition; what it points to is not looked at."""
    name, kind = call.p["storage"], call.p["type"]
    if name in call.cluster.storages:
        raise failed(f"create storage failed: storage ID '{name}' already defined")
    options = _options(call)
    for key in _REQUIRED[kind]:
        if key not in options:
            raise failed(f"missing value for required option '{key}'")
    allowed = _COMMON | set(_REQUIRED[kind]) | _OPTIONAL.get(kind, set())
    for key in sorted(options):
        if key not in allowed:
            raise failed(f"unexpected property '{key}'")
    options.pop("password", None)
    call.cluster.storages[name] = Storage(name, kind, options, _FRESH_BYTES, _FRESH_BYTES // 100)
    call.cluster.generation += 1
    return {"storage": name, "type": kind}


@api.behaves("PUT /storage/{storage}")
def update(call: Call) -> dict[str, str]:
    """Change a definition."""
    name = call.p["storage"]
    storage = call.cluster.storages.get(name)
    if storage is None:
        raise failed(f"update storage failed: storage '{name}' does not exist")
    if "digest" in call.p and call.p["digest"] != config_digest(call):
        raise failed(f"update storage failed: {_CHANGED}")
    for key in split_list(call.p.get("delete", "")):
        if key in _REQUIRED[storage.kind]:
            raise failed(f"update storage failed: unable to delete required option '{key}'")
        if key not in _COMMON | _OPTIONAL.get(storage.kind, set()):
            raise failed(f"update storage failed: no such option '{key}'")
        storage.options.pop(key, None)
    if call.p.get("disable") == 0:
        storage.options.pop("disable", None)
    options = _options(call)
    if options.pop("password", None) is not None:
        storage.secret_s = call.now_s
    storage.options |= options
    call.cluster.generation += 1
    return {"storage": name, "type": storage.kind}


@api.behaves("DELETE /storage/{storage}")
def delete(call: Call) -> None:
    """Remove a definition; the data stays where it is."""
    name = call.p["storage"]
    if name not in call.cluster.storages:
        raise failed(f"delete storage failed: storage '{name}' does not exist")
    del call.cluster.storages[name]
    call.cluster.generation += 1
