"""Mappings: devices and directories of nodes under one name for the whole cluster."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from pveops.sim.errors import failed, inside
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import read_props, split_list
from pveops.sim.state.sections import Options, Row, Sections

api = Table()

_KINDS = ("dir", "pci", "usb")
_SEE = ("Mapping.Modify", "Mapping.Use", "Mapping.Audit")
_OPTIONS = {
    "dir": Options("map", "description"),
    "pci": Options("map", "description mdev live-migration-capable"),
    "usb": Options("map", "description"),
}
_FOLDERS = re.compile(r"/(|bin|boot|dev|etc|home|media|mnt|opt|proc|root|run|srv|sys|tmp|usr|var)(/lib)?(/vz|/data)?(/.*)?")
_WORDS = {"dir": "directory", "pci": "hardware", "usb": "hardware"}


def _each(verb: str, rest: str = "") -> list[str]:
    return [f"{verb} /cluster/mapping/{kind}{rest}" for kind in _KINDS]


def _kind(call: Call) -> str:
    return call.path.split("/")[3]


def _sections(call: Call) -> Sections:
    return call.cluster.configs.mapping[_kind(call)]


def _missing_device(kind: str, entry: dict[str, str]) -> str:
    """What is wrong with an entry on its node: no simulated node has devices to pass on."""
    if kind == "dir":
        return "" if _has_folder(entry.get("path", "")) else f"Path {entry.get('path')} does not exist\n"
    if kind == "usb":
        return f"usb device '{entry.get('path') or entry.get('id')}' not found\n"
    first = entry.get("path", "").split(";")[0]
    return f"pci device '{first if '.' in first else first + '.0'}' not found\n"


def _has_folder(path: str) -> bool:
    return bool(_FOLDERS.fullmatch(path)) and not path.startswith("/nonexistent")


def _checks(kind: str, row: Row, node: str) -> list[dict[str, str]]:
    entries = [entry for text in row["map"] if (entry := read_props(text)).get("node") == node]
    if not entries:
        return [{"severity": "warning", "message": f"No mapping for node {node}."}]
    faults = [_missing_device(kind, entry) for entry in entries]
    return [{"severity": "error", "message": f"Invalid configuration: {fault}"} for fault in faults if fault]


@api.reads(*_each("GET"))
def mappings(call: Call) -> list[dict[str, Any]]:
    """The mappings that the caller may see; with ``check-node``, what is wrong with them on that node."""
    kind, sections, node = _kind(call), _sections(call), call.p.get("check-node")
    found = []
    for name, row in sections.rows.items():
        if not call.may_any(f"/mapping/{kind}/{name}", *_SEE):
            continue
        entry = {**row, "id": name, "digest": sections.digest}
        if node is not None:
            entry["errors" if kind == "usb" else "checks"] = _checks(kind, row, node)
        found.append(entry)
    return found


@api.reads(*_each("GET", "/{id}"))
def mapping(call: Call) -> dict[str, Any]:
    """One mapping."""
    sections = _sections(call)
    row = sections.get(call.p["id"])
    if row is None:
        raise failed(f"mapping '{call.p['id']}' not found")
    return {**row, "digest": sections.digest}


def _given(call: Call) -> Row:
    return {key: value for key, value in call.p.items() if key not in ("id", "digest", "delete")}


def _check_map(call: Call, given: Row) -> None:
    """Directories must be there on the node that is asked, and each node may be named once."""
    if _kind(call) != "dir":
        return
    entries = [read_props(text) for text in given["map"]]
    for entry in entries:
        fault = _missing_device("dir", entry) if entry["node"] == call.cluster.local_node else ""
        if fault:
            raise failed(fault.rstrip())
    for node, count in Counter(entry["node"] for entry in entries).items():
        if count > 1:
            raise failed(f"Node '{node}' is specified {count} times.")


@api.behaves(*_each("POST"))
def create(call: Call) -> None:
    """A new mapping."""
    kind, sections, given = _kind(call), _sections(call), _given(call)
    _OPTIONS[kind].check(given, create=True)
    _check_map(call, given)
    with inside(f"create {_WORDS[kind]} mapping failed"):
        if call.p["id"] in sections:
            raise failed(f"{kind} ID '{call.p['id']}' already defined")
        sections.rows[call.p["id"]] = {"type": kind, **given}


@api.behaves(*_each("PUT", "/{id}"))
def update(call: Call) -> None:
    """Change a mapping."""
    kind, sections, name, given = _kind(call), _sections(call), call.p["id"], _given(call)
    with inside(f"update {_WORDS[kind]} mapping failed"):
        sections.check_digest(call.p.get("digest"))
        row = sections.get(name)
        if row is None:
            raise failed(f"{kind} ID '{name}' does not exist")
        _OPTIONS[kind].check(given, create=True)
        _check_map(call, given)
        changed = dict(row)
        _OPTIONS[kind].delete(changed, given, split_list(call.p.get("delete", "")))
        sections.rows[name] = changed | given


@api.behaves(*_each("DELETE", "/{id}"))
def delete(call: Call) -> None:
    """Remove a mapping; that there is none is fine."""
    _sections(call).rows.pop(call.p["id"], None)
