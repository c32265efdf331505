"""Reads the named facts that plans assume and expect, fresh from the nodes (not from the delayed broadcast)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pveops.base.errors import NotFound, PveopsError
from pveops.model.facts import Facts
from pveops.model.options import option_facts
from pveops.model.refs import GuestRef
from pveops.model.resources import Answer, Guest, Node, Storage
from pveops.model.values import flag, volumes_of, whole, words

if TYPE_CHECKING:
    from datetime import datetime

    from pveops.clients.cluster.read import Reader
    from pveops.model.plan import FieldValue

_AT_ONCE = 8


class _Sheet:
    """Collects values, gaps and absences."""

    def __init__(self) -> None:
        self.values: dict[str, FieldValue] = {}
        self.unknown: dict[str, str] = {}
        self.missing: set[str] = set()

    def facts(self, read_at: datetime) -> Facts:
        return Facts(values=self.values, unknown=self.unknown, missing=frozenset(self.missing), read_at=read_at)


Lists = tuple[Answer[Node], Answer[Guest], Answer[Storage]]


def read_facts(reader: Reader, subjects: Iterable[str], *, read_at: datetime, lists: Callable[[bool], Lists] | None = None) -> Facts:
    """The facts about ``guest/<vmid>``, ``node/<name>``, ``storage/<node>/<name>`` and ``cluster``.

    A subject that cannot be read is named in ``unknown`` with the reason; only a failure to reach the cluster at all is raised.

    Args:
        reader: asks the nodes. What is said about a guest is always asked anew.
        subjects: what about.
        read_at: for the record.
        lists: where guests are, and the states of nodes and storages: asked anew (``True``), or as known for a moment.

    Raises:
        TransportError: no endpoint answers.
    """
    wanted = tuple(dict.fromkeys(subjects))
    sheet = _Sheet()
    listed = lists or (lambda _fresh: reader.resources())
    nodes, guests, storages = listed(False)
    for row in nodes.rows:
        sheet.values[f"node/{row.name}.status"] = row.status
    for store in storages.rows:
        sheet.values[f"storage/{store.node}/{store.name}.status"] = store.status
    by_id = {guest.vmid: guest for guest in guests.rows}
    asked = [int(subject.partition("/")[2]) for subject in wanted if subject.startswith("guest/")]
    if lists is not None and any(vmid not in by_id for vmid in asked):
        guests = listed(True)[1]
        by_id = {guest.vmid: guest for guest in guests.rows}
    # a node that says nothing leaves gaps too, but its guests are listed all the same: only what the token may not see can be left out
    hidden = any(gap.needs for gap in guests.gaps)
    if len(asked) > 1:
        with ThreadPoolExecutor(min(_AT_ONCE, len(asked)), thread_name_prefix="facts") as pool:
            list(pool.map(lambda vmid: _guest(sheet, reader, by_id.get(vmid), f"guest/{vmid}", hidden=hidden), asked))
    elif asked:
        _guest(sheet, reader, by_id.get(asked[0]), f"guest/{asked[0]}", hidden=hidden)
    for subject in wanted:
        if not subject.startswith("guest/"):
            _other(sheet, reader, subject, guests.rows, hidden=hidden)
    return sheet.facts(read_at)


def _other(sheet: _Sheet, reader: Reader, subject: str, guests: Iterable[Guest], *, hidden: bool) -> None:
    """The cluster, a node with the guests on it, or a storage."""
    kind, _, name = subject.partition("/")
    if kind == "cluster":
        _members(sheet, reader)
    elif f"{subject}.status" not in sheet.values:
        sheet.missing.add(subject)
    elif kind == "node" and not hidden:
        sheet.values[f"{subject}.guests"] = tuple(str(guest.vmid) for guest in guests if guest.node == name)


def _members(sheet: _Sheet, reader: Reader) -> None:
    status = reader.cluster_status()
    sheet.values["cluster.quorate"] = status.quorate
    sheet.values["cluster.nodes"] = tuple(node for node, _ in status.nodes)
    sheet.values["cluster.online"] = tuple(node for node, online in status.nodes if online)


def _guest(sheet: _Sheet, reader: Reader, guest: Guest | None, subject: str, *, hidden: bool) -> None:
    if guest is None:
        if hidden:
            sheet.unknown[subject] = "the token may not see all guests"
        else:
            sheet.missing.add(subject)
        return
    try:
        values = guest_values(reader, guest)
    except NotFound:
        # moved or removed within the ten seconds that the broadcast lags: the next look knows
        sheet.unknown[subject] = f"it is no longer on {guest.node}, where the cluster still lists it"
        return
    except PveopsError as err:
        sheet.unknown[subject] = err.message
        return
    sheet.values.update({f"{subject}.{name}": value for name, value in values.items()})


def guest_values(reader: Reader, guest: Guest) -> dict[str, FieldValue]:
    """The fields of one guest that may stand in a fingerprint, and ``booted_s``.

    Raises:
        ApiError: the node that has it says no.
    """
    ref: GuestRef = guest.ref
    config = reader.guest_config(ref)
    live = reader.guest_status(ref)
    snapshots = reader.snapshots(ref)
    uptime = whole(live.get("uptime")) or 0
    running = live.get("status") == "running"
    values: dict[str, Any] = {
        "node": ref.node,
        "kind": ref.kind,
        "name": config.get("name") or config.get("hostname") or live.get("name") or None,
        "status": str(live.get("qmpstatus") or live.get("status") or "unknown"),
        "lock": live.get("lock") or config.get("lock") or None,
        "template": flag(config.get("template")),
        "protection": flag(config.get("protection")),
        "digest": config.get("digest") or None,
        "snapshots": tuple(sorted(snap.name for snap in snapshots)),
        "hastate": _ha(live),
        "tags": words(config.get("tags")),
        "pool": guest.pool,
        "volumes": volumes_of(config),
        **option_facts(config, ref.kind),
    }
    if running and uptime:
        values["booted_s"] = reader.node_time_s(ref.node) - uptime
    return values


def _ha(live: dict[str, Any]) -> str | None:
    ha = live.get("ha")
    if isinstance(ha, dict) and flag(ha.get("managed")):
        return str(ha.get("state") or "managed")
    return None
