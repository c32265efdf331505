"""The seed: a cluster as data, versioned and checked. The twin writes one from what it saw, the simulated cluster starts from one.

A seed holds no secrets: passwords and keys of guests have no place in it, and a file that has them is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pveops.base.errors import ConfigError
from pveops.base.files import write_whole

FORMAT = "pveops-seed"
VERSION = 1
SECRET_KEYS = frozenset(
    {"cipassword", "password", "sshkeys", "ssh-public-keys", "keyring", "encryption-key", "master-pubkey", "private-key"}
)
"""Keys of configurations and storages that never stand in a seed."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_TEXT, _WHOLE, _NUMBER, _FLAG, _LIST, _TABLE = "a text", "a whole number", "a number", "true or false", "a list", "an object"
_MOST = 10_000
_LOWEST_VMID, _HIGHEST_VMID = 100, 999_999_999
_HINT = "Write one with `pveops twin look`; docs/twin.md names the fields."


@dataclass(frozen=True, slots=True)
class _Field:
    """What may stand under a key: its kind, whether it must be there, and the words it is limited to. No number is negative."""

    kind: str
    needed: bool = False
    words: tuple[str, ...] = ()
    most: float = float("inf")


_SECTIONS: dict[str, dict[str, _Field]] = {
    "nodes": {
        "name": _Field(_TEXT, needed=True), "ip": _Field(_TEXT), "online": _Field(_FLAG), "sockets": _Field(_WHOLE), "cores": _Field(_WHOLE),
        "threads": _Field(_WHOLE), "model": _Field(_TEXT), "mhz": _Field(_NUMBER), "memory": _Field(_WHOLE), "root_used": _Field(_WHOLE),
        "root_total": _Field(_WHOLE), "uptime_s": _Field(_NUMBER),
    },
    "storages": {
        "storage": _Field(_TEXT, needed=True), "type": _Field(_TEXT, needed=True), "options": _Field(_TABLE), "total": _Field(_WHOLE),
        "used": _Field(_WHOLE), "sizes": _Field(_TABLE), "full": _Field(_TABLE), "down": _Field(_FLAG), "volumes": _Field(_LIST),
    },
    "guests": {
        "vmid": _Field(_WHOLE, needed=True), "type": _Field(_TEXT, needed=True, words=("qemu", "lxc")), "node": _Field(_TEXT, needed=True),
        "config": _Field(_TABLE, needed=True), "pending": _Field(_TABLE), "running": _Field(_FLAG), "paused": _Field(_FLAG),
        "uptime_s": _Field(_NUMBER), "digest": _Field(_TEXT), "parent": _Field(_TEXT), "snapshots": _Field(_LIST),
        "cpu_fraction": _Field(_NUMBER, most=1.0), "mem_fraction": _Field(_NUMBER, most=1.0), "paces": _Field(_TABLE),
    },
    "pools": {"poolid": _Field(_TEXT, needed=True), "comment": _Field(_TEXT), "vms": _Field(_LIST), "storages": _Field(_LIST)},
    "ha": {"sid": _Field(_TEXT, needed=True), "state": _Field(_TEXT), "max_restart": _Field(_WHOLE), "max_relocate": _Field(_WHOLE),
           "comment": _Field(_TEXT), "group": _Field(_TEXT), "failback": _Field(_WHOLE)},
    "replication": {"id": _Field(_TEXT, needed=True), "guest": _Field(_WHOLE, needed=True), "target": _Field(_TEXT, needed=True),
                    "type": _Field(_TEXT), "schedule": _Field(_TEXT), "jobnum": _Field(_WHOLE), "source": _Field(_TEXT),
                    "comment": _Field(_TEXT), "rate": _Field(_NUMBER), "disable": _Field(_WHOLE)},
}  # fmt: skip
_INNER: dict[str, dict[str, _Field]] = {
    "storages.volumes": {
        "volid": _Field(_TEXT, needed=True), "content": _Field(_TEXT, needed=True), "size": _Field(_WHOLE), "format": _Field(_TEXT),
        "ctime": _Field(_WHOLE), "vmid": _Field(_WHOLE), "node": _Field(_TEXT), "used_fraction": _Field(_NUMBER, most=1.0),
    },
    "guests.snapshots": {
        "name": _Field(_TEXT, needed=True), "snaptime": _Field(_WHOLE), "description": _Field(_TEXT), "parent": _Field(_TEXT), "vmstate": _Field(_FLAG),
    },
    "guests.paces": {"start_s": _Field(_NUMBER), "shutdown_s": _Field(_NUMBER), "migration_bytes_s": _Field(_NUMBER)},
}  # fmt: skip
_TOP = {
    "format": _Field(_TEXT, needed=True, words=(FORMAT,)), "version": _Field(_WHOLE, needed=True), "name": _Field(_TEXT),
    "taken_s": _Field(_NUMBER, needed=True), "options": _Field(_TABLE), **{name: _Field(_LIST, needed=name == "nodes") for name in _SECTIONS},
}  # fmt: skip


def check_seed(data: object, source: str = "the seed") -> dict[str, Any]:
    """The data, if it is a seed of this version.

    Raises:
        ConfigError: it is not; the first thing that does not fit is named.
    """
    found = _object(data, source, source)
    if found.get("format") == FORMAT and found.get("version") != VERSION:
        raise ConfigError(f"{source} is of version {found.get('version')!r}; this pveops reads version {VERSION}.", hint="Take a new one.")
    _fields(found, _TOP, source, "")
    for section, fields in _SECTIONS.items():
        rows = found.get(section, [])
        if len(rows) > _MOST:
            raise _wrong(source, section, f"has {len(rows)} entries, and {_MOST} are the most")
        for index, row in enumerate(rows):
            where = f"{section}[{index}]"
            _fields(_object(row, source, where), fields, source, f"{where}.")
            _inner(row, section, where, source)
    _settings(found.get("options", {}), source, "options")
    _fit(found, source)
    return found


def read_seed(path: Path) -> dict[str, Any]:
    """The seed in a file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        data = json.loads(path.read_bytes())
    except OSError as err:
        raise ConfigError(f"Cannot read the seed {path}: {err.strerror}.", hint=_HINT) from err
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"The seed {path} is no JSON: {err}.", hint=_HINT) from err
    return check_seed(data, f"The seed {path}")


def write_seed(path: Path, seed: Mapping[str, Any]) -> None:
    """Check a seed and write it, for the owner's eyes only.

    Raises:
        ConfigError: it is none, or the file cannot be written.
    """
    write_whole(path, json.dumps(check_seed(dict(seed)), indent=1, ensure_ascii=False, allow_nan=False).encode())


def _wrong(source: str, where: str, what: str) -> ConfigError:
    return ConfigError(f"{source} does not describe a cluster: {where} {what}.", hint=_HINT, details={"where": where})


def _object(value: object, source: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(source, where, f"is {_shown(value)}, not {_TABLE}")
    return value


def _shown(value: object) -> str:
    return f"{value!r:.60}" if not isinstance(value, (dict, list)) else _TABLE if isinstance(value, dict) else _LIST


def _fields(row: dict[str, Any], fields: Mapping[str, _Field], source: str, place: str) -> None:
    for key in row:
        if key not in fields:
            raise _wrong(source, f"{place}{key}", "is not a field of a seed")
    for key, field in fields.items():
        where = f"{place}{key}"
        if key not in row:
            if field.needed:
                raise _wrong(source, where, "is missing")
            continue
        _value(row[key], field, source, where)


def _value(value: object, field: _Field, source: str, where: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) != float("inf")  # noqa: PLR0124 - NaN
    fits = {
        _TEXT: isinstance(value, str), _WHOLE: isinstance(value, int) and number, _NUMBER: number, _FLAG: isinstance(value, bool),
        _LIST: isinstance(value, list), _TABLE: isinstance(value, dict),
    }[field.kind]  # fmt: skip
    if not fits:
        raise _wrong(source, where, f"is {_shown(value)}, not {field.kind}")
    if field.words and value not in field.words:
        raise _wrong(source, where, f"is {_shown(value)}, not {' or '.join(field.words)}")
    if isinstance(value, (int, float)) and not 0 <= value <= field.most:
        raise _wrong(source, where, f"is {value}, which is {'below zero' if value < 0 else f'above {field.most:g}'}")


def _inner(row: dict[str, Any], section: str, where: str, source: str) -> None:
    """What lies inside an entry: lists of objects, configurations without secrets, numbers by name."""
    for key in ("volumes", "snapshots"):
        for index, item in enumerate(row.get(key, ())):
            inside = f"{where}.{key}[{index}]"
            _fields(_object(item, source, inside), _INNER[f"{section}.{key}"], source, f"{inside}.")
    if "paces" in row:
        _fields(row["paces"], _INNER["guests.paces"], source, f"{where}.paces.")
    for key in ("config", "pending", "options"):
        _settings(row.get(key, {}), source, f"{where}.{key}", gone=key == "pending")
    for key in ("sizes", "full"):
        for name, value in row.get(key, {}).items():
            _value(value, _Field(_NUMBER), source, f"{where}.{key}.{name}")
    for index, value in enumerate(row.get("vms", ())):
        _value(value, _Field(_WHOLE), source, f"{where}.vms[{index}]")


def _settings(values: Mapping[str, object], source: str, where: str, *, gone: bool = False) -> None:
    """Texts and numbers by name, none of them a secret; ``gone`` allows null for what will be taken away."""
    for name, value in values.items():
        if name.lower() in SECRET_KEYS:
            raise _wrong(source, f"{where}.{name}", "is a secret, and a seed holds none")
        plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        if not plain and not (gone and value is None):
            raise _wrong(source, f"{where}.{name}", f"is {_shown(value)}, not a text or number")


def _fit(seed: dict[str, Any], source: str) -> None:
    """Names that are names, ids that are there once, guests on nodes that exist."""
    nodes = [node["name"] for node in seed["nodes"]]
    if not nodes:
        raise _wrong(source, "nodes", "is empty, and a cluster has at least one")
    for section, key in (("nodes", "name"), ("storages", "storage"), ("pools", "poolid"), ("guests", "vmid")):
        seen: set[Any] = set()
        for index, row in enumerate(seed.get(section, ())):
            name = row[key]
            if isinstance(name, str) and not _NAME.fullmatch(name) and section != "pools":
                raise _wrong(source, f"{section}[{index}].{key}", f"is {name!r:.60}, which is no name")
            if name in seen:
                raise _wrong(source, f"{section}[{index}].{key}", f"is {name!r}, which another one has already")
            seen.add(name)
    for index, guest in enumerate(seed.get("guests", ())):
        if not _LOWEST_VMID <= guest["vmid"] <= _HIGHEST_VMID:
            raise _wrong(source, f"guests[{index}].vmid", f"is {guest['vmid']}; ids go from {_LOWEST_VMID} to {_HIGHEST_VMID}")
        if guest["node"] not in nodes:
            raise _wrong(source, f"guests[{index}].node", f"is {guest['node']!r:.60}, and there is no such node")
