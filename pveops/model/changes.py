"""From versions to changes: what became what, and which task did it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pveops.model.inventory import OF_GUESTS, STILL_MS, Change, Event, Kind, Version

Place = tuple[str, Kind, str, int]
How = Literal["added", "changed", "gone"]
_LAG_MS = 30_000
"""The cluster's list lags: what it shows may have been done so long before the look that still showed the old state."""

_DOES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (what, re.compile(pattern))
    for what, pattern in (
        ("added", r"create|clone|restore|^qmimport"),
        ("gone", r"destroy"),
        ("status", r"start|stop|shutdown|reboot|reset|suspend|resume|pause|migrate|rollback|stopall|startall"),
        ("node", r"migrate|hamigrate|harelocate"),
        ("template", r"template"),
        ("snapshots", r"snapshot|rollback"),
        ("config", r"config|resize|move|template|rollback|unlink|cloudinit|update|clone|restore|create"),
        ("lock", r"."),
        ("addresses", r"start|config|migrate"),
        ("backups", r"vzdump|imgdel|prune"),
    )
)
_ASKED = re.compile(r"^ha")
"""What somebody asked high availability for; what it then does itself runs under its own name."""


class Culprits:
    """Finds the task behind a change.

    Args:
        events: tasks of the time, each with its cluster.
    """

    def __init__(self, events: Iterable[tuple[str, Event]]) -> None:
        self._of: dict[tuple[str, int], list[Event]] = {}
        for cluster, event in events:
            self._of.setdefault((cluster, event.guest), []).append(event)
        for found in self._of.values():
            found.sort(key=lambda event: (event.seen_ms, event.started_ms))

    def find(self, cluster: str, guest: int, word: str, after_ms: int, at_ms: int) -> Event | None:
        """The last task of a guest that does such a thing (``status``, ``node``, ``config``, ``added`` …) and that these looks saw under way or ended."""
        pattern = next((pattern for what, pattern in _DOES if what == word), None)
        known = self._of.get((cluster, guest), [])
        if pattern is None or not known:
            return None
        upto = bisect_right(known, at_ms, key=lambda event: event.seen_ms)
        fit = [
            event
            for event in known[:upto]
            if pattern.search(event.type) and (not event.closed_ms or event.closed_ms >= after_ms - _LAG_MS)
        ]  # fmt: skip
        asked = [event for event in fit if _ASKED.match(event.type)]
        return asked[-1] if asked else fit[-1] if fit else None


def changes_of(
    versions: Sequence[Version], before: Mapping[Place, Version], culprits: Culprits, *, start_ms: int = 0, end_ms: int = STILL_MS - 1,
    names: Mapping[tuple[str, str], tuple[str | None, str | None]] | None = None,
) -> list[Change]:  # fmt: skip
    """Changes that were seen after ``start_ms`` and up to ``end_ms``, oldest first.

    Args:
        versions: all that began or ended in that span.
        before: by cluster, kind, key and time: the version that ended then.
        culprits: the tasks of the time.
        start_ms: Unix milliseconds.
        end_ms: Unix milliseconds.
        names: name and node of guests by cluster and id, for details, which know neither.
    """
    began = {(one.cluster, one.kind, one.key, one.from_ms) for one in versions}
    known = names or {}
    found: list[Change] = []
    for one in versions:
        if start_ms < one.from_ms <= end_ms and one.after_ms:
            last = before.get((one.cluster, one.kind, one.key, one.from_ms))
            found += _became(one, last, culprits, known)
        if start_ms < one.to_ms <= end_ms and (one.cluster, one.kind, one.key, one.to_ms) not in began and _tells(one):
            found.append(_whole(one, "gone", one.to_ms, 0, culprits, known))
    return sorted(found, key=lambda change: change.at_ms)


def flat(kind: Kind, body: Any) -> dict[str, str | None]:
    """A state as texts by field."""
    if kind == "snapshots":
        return {row["name"]: row["description"] or "there" for row in body}
    if kind == "disks":
        return {f"{row['devpath']} {name}": _text(value) for row in body for name, value in row.items() if name != "devpath"}
    if kind == "addresses":
        return {name: ", ".join(row["addresses"]) or None if isinstance(row, dict) else row for name, row in body.items()}
    return {name: _text(value) for name, value in body.items()}


def _text(value: Any) -> str | None:
    if value is None or value == []:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ";".join(map(str, value)) if isinstance(value, list) else str(value)


def _became(one: Version, last: Version | None, culprits: Culprits, names: Mapping[Any, Any]) -> list[Change]:
    if last is None:
        return [_whole(one, "added", one.from_ms, one.after_ms, culprits, names)] if _tells(one) else []
    old, new = flat(one.kind, last.body), flat(one.kind, one.body)
    name, node = _called(one, names)
    changes = []
    for field in sorted(old.keys() | new.keys()):
        was, now = old.get(field), new.get(field)
        if was == now:
            continue
        word = (
            field
            if one.kind == "guest" and field in ("status", "node", "template", "lock")
            else "config"
            if one.kind == "guest"
            else one.kind
        )
        event = _culprit(one, word, culprits, one.after_ms, one.from_ms)
        kind: How = "changed" if field in old and field in new else "added" if field in new else "gone"
        changes.append(
            Change(
                cluster=one.cluster, at_ms=one.from_ms, after_ms=one.after_ms, kind=one.kind, key=one.key, change=kind, field=field,
                before=was, after=now, name=name, node=node, **_by(event),
            )
        )  # fmt: skip
    return changes


def _tells(one: Version) -> bool:
    """Details come and go with their guest: that is one change, not many."""
    return one.kind not in ("config", "snapshots", "addresses", "disks")


def _whole(
    one: Version, change: How, at_ms: int, after_ms: int, culprits: Culprits, names: Mapping[Any, Any]
) -> Change:  # fmt: skip
    name, node = _called(one, names)
    event = _culprit(one, change if one.kind == "guest" else one.kind, culprits, after_ms or at_ms - 2 * _LAG_MS, at_ms)
    return Change(
        cluster=one.cluster, at_ms=at_ms, after_ms=after_ms, kind=one.kind, key=one.key, change=change, name=name, node=node, **_by(event)
    )


def _culprit(one: Version, word: str, culprits: Culprits, after_ms: int, at_ms: int) -> Event | None:
    guest = int(one.key) if one.kind in OF_GUESTS else one.body.get("vmid") if one.kind == "backups" else None
    return culprits.find(one.cluster, guest, word, after_ms, at_ms) if guest else None


def _by(event: Event | None) -> dict[str, Any]:
    return {"by": event.user, "task": event.type, "upid": event.upid} if event else {}


def _called(one: Version, names: Mapping[tuple[str, str], tuple[str | None, str | None]]) -> tuple[str | None, str | None]:
    """Name and node of the thing."""
    if one.kind == "guest":
        return one.body.get("name"), one.body.get("node")
    if one.kind in ("node", "disks"):
        return one.key, one.key
    if one.kind == "storage":
        node, _, name = one.key.partition("/")
        return name, node
    if one.kind == "backups":
        unit, _, volid = one.key.partition("|")
        return volid, unit.partition("/")[0] if "/" in unit else None
    return names.get((one.cluster, one.key), (None, None))
