"""Snapshots that were forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pveops.answers.look import Look, online
from pveops.base.clock import from_epoch_s
from pveops.frames.columns import Column, Table
from pveops.model.resources import Answer, Guest
from pveops.model.values import flag, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSnapshot:
    """A snapshot of a guest. ``age_s`` in seconds."""

    guest: Guest
    name: str
    created: datetime
    age_s: float
    with_memory: bool
    description: str | None
    has_children: bool


SNAPSHOTS_OLDER_THAN = Table(
    "snapshots_older_than",
    "vmid",
    (
        Column("vmid", "Int64", "guest", lambda row: row.guest.vmid),
        Column("name", "string", "its name", lambda row: row.guest.name),
        Column("node", "string", "node it is on", lambda row: row.guest.node),
        Column("snapshot", "string", "name of the snapshot", lambda row: row.name),
        Column("created", "datetime64[ns, UTC]", "when it was made", lambda row: row.created),
        Column("age_s", "Float64", "its age, seconds", lambda row: row.age_s),
        Column("with_memory", "boolean", "whether it holds the memory too", lambda row: row.with_memory),
        Column("has_children", "boolean", "whether later snapshots build on it", lambda row: row.has_children),
        Column("description", "string", "description", lambda row: row.description),
    ),
)


def judge(snapshots: Iterable[tuple[Guest, Iterable[Mapping[str, object]]]], *, now: datetime, older_s: float) -> list[OldSnapshot]:
    """Those that are older, the oldest first. Rows as Proxmox VE lists them; ``current`` is none."""
    found = []
    for guest, listed in snapshots:
        rows = list(listed)
        parents = {row.get("parent") for row in rows if row.get("name") != "current"}
        for row in rows:
            made = whole(row.get("snaptime"))
            if row.get("name") == "current" or made is None:
                continue
            created = from_epoch_s(made)
            if now - created > timedelta(seconds=older_s):
                found.append(OldSnapshot(
                    guest=guest, name=str(row["name"]), created=created, age_s=(now - created).total_seconds(), with_memory=flag(row.get("vmstate")),
                    description=str(row.get("description") or "").strip() or None, has_children=row["name"] in parents,
                ))  # fmt: skip
    return sorted(found, key=lambda row: (row.created, row.guest.vmid))


def snapshots_older_than(look: Look, *, older_s: float) -> Answer[OldSnapshot]:
    """Snapshots older than so many seconds. One request per guest: Proxmox VE lists snapshots of one guest at a time."""
    nodes, guests, _ = look.lists()
    names = set(online(nodes, look, "snapshots of the guests"))
    wanted = {guest.vmid: guest for guest in guests if guest.node in names}
    rows = look.each(
        wanted, lambda vmid: look.cluster.get(f"{wanted[vmid].ref.path}/snapshot"), lambda vmid: f"snapshots of {wanted[vmid].label}",
        "/nodes/{node}/{kind}/{vmid}/snapshot",
    )  # fmt: skip
    return look.answer(judge(((wanted[vmid], listed) for vmid, listed in rows.items()), now=look.now, older_s=older_s))
