"""Does the cluster survive the loss of each node? What would have to move, where it fits, and what cannot move at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pveops.answers.look import Look, online
from pveops.answers.room import Place, disk_volumes, hidden_disks, name_hidden, replica_nodes
from pveops.base.errors import ApiError
from pveops.base.units import fmt_bytes
from pveops.frames.columns import Column, Table
from pveops.model.resources import Answer, Gap, Guest, Node
from pveops.model.values import flag, volumes_of, whole, words

_PASSED = re.compile(r"^(hostpci|usb|dev)\d+$|^lxc\.|^(?:serial|parallel)\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Rules of high availability about one guest: nodes it must stay on (none: any), guests it must not share a node with."""

    only: frozenset[str] | None = None
    apart: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the loss of one node would mean. Sizes are bytes."""

    node: str
    survives: bool | None
    quorate: bool | None
    guests: int
    by_ha: int
    need_bytes: int
    free_bytes: int
    short_bytes: int
    stuck: int
    why: str | None


N_PLUS_ONE = Table(
    "n_plus_one",
    "node",
    (
        Column("node", "string", "node that would be lost", lambda row: row.node),
        Column("survives", "boolean", "whether all its running guests can run elsewhere; missing when that is not known", lambda row: row.survives),
        Column("quorate", "boolean", "whether the rest has a majority", lambda row: row.quorate),
        Column("guests", "Int64", "running guests on it", lambda row: row.guests),
        Column("by_ha", "Int64", "of these, started elsewhere by high availability; the others need a person", lambda row: row.by_ha),
        Column("need_bytes", "Int64", "memory that these guests may take, bytes", lambda row: row.need_bytes),
        Column("free_bytes", "Int64", "memory free on the other nodes, less the reserve, bytes", lambda row: row.free_bytes),
        Column("short_bytes", "Int64", "memory of guests that find no node with room, bytes", lambda row: row.short_bytes),
        Column("stuck", "Int64", "guests that cannot run elsewhere: local disks, passed-through devices, rules", lambda row: row.stuck),
        Column("why", "string", "what stands in the way, by name", lambda row: row.why),
    ),
)  # fmt: skip


@dataclass(slots=True)
class _Moving:
    """Where the guests of one node would go."""

    room: dict[str, int]
    on: dict[str, set[int]]
    short: list[Guest] = field(default_factory=list)

    def place(self, guest: Guest, rule: Affinity) -> None:
        allowed = [name for name in self.room if (rule.only is None or name in rule.only) and not self.on[name] & rule.apart]
        target = max(allowed, key=lambda name: self.room[name], default=None)
        if target is None or self.room[target] < (guest.maxmem_bytes or 0):
            self.short.append(guest)
            return
        self.room[target] -= guest.maxmem_bytes or 0
        self.on[target].add(guest.vmid)


def judge(
    nodes: Sequence[Node],
    guests: Sequence[Guest],
    *,
    votes: Mapping[str, bool],
    stuck: Mapping[int, str],
    rules: Mapping[int, Affinity],
    reserve_fraction: float,
    unsure: str = "",
) -> list[Loss]:
    """The loss of each node that is online. The largest guests are placed first, each on the node with most room.

    Args:
        nodes: as they are now.
        guests: as they are now.
        votes: nodes of the cluster, and whether they are online.
        stuck: why a guest cannot run on another node.
        rules: what high availability must keep to.
        reserve_fraction: share of each node's memory that stays free.
        unsure: what was not seen and could make a yes wrong.
    """  # fmt: skip
    alive = [node for node in nodes if node.status == "online"]
    rows = []
    for lost in alive:
        rest = [node for node in alive if node.name != lost.name]
        free = {node.name: int((node.maxmem_bytes or 0) * (1 - reserve_fraction)) - (node.mem_bytes or 0) for node in rest}
        runs = [guest for guest in guests if guest.node == lost.name and guest.status in ("running", "paused")]
        held = [guest for guest in runs if guest.vmid in stuck]
        moving = _Moving(
            dict(free),
            {node.name: {guest.vmid for guest in guests if guest.node == node.name and guest.status == "running"} for node in rest},
        )
        for guest in sorted(
            (guest for guest in runs if guest.vmid not in stuck), key=lambda guest: (-(guest.maxmem_bytes or 0), guest.vmid)
        ):
            moving.place(guest, rules.get(guest.vmid, Affinity()))
        left = sum(up for name, up in votes.items() if name != lost.name)
        quorate = left > len(votes) / 2 if votes else None
        short = sum(guest.maxmem_bytes or 0 for guest in moving.short)
        blind = any(node.mem_bytes is None or node.maxmem_bytes is None for node in rest)
        fails = bool(held or moving.short or quorate is False or not rest)
        rows.append(Loss(
            node=lost.name, survives=False if fails else None if blind or unsure else True, quorate=quorate, guests=len(runs),
            by_ha=sum(guest.hastate is not None for guest in runs), need_bytes=sum(guest.maxmem_bytes or 0 for guest in runs),
            free_bytes=sum(max(0, room) for room in free.values()), short_bytes=short, stuck=len(held),
            why=_why(held, stuck, moving.short, rules, quorate=quorate, unsure=unsure),
        ))  # fmt: skip
    return rows


def _why(
    held: Iterable[Guest],
    stuck: Mapping[int, str],
    short: Sequence[Guest],
    rules: Mapping[int, Affinity],
    *,
    quorate: bool | None,
    unsure: str,
) -> str | None:
    said = ["the rest has no majority, so nothing can be started"] if quorate is False else []
    said += [f"{guest.label}: {stuck[guest.vmid]}" for guest in held]
    ruled = [guest for guest in short if guest.vmid in rules]
    said += [f"{guest.label}: its HA rules leave no node with {fmt_bytes(guest.maxmem_bytes)} free" for guest in ruled]
    plain = [guest for guest in short if guest.vmid not in rules]
    if plain:
        size = fmt_bytes(sum(guest.maxmem_bytes or 0 for guest in plain))
        said.append(f"no memory for {', '.join(guest.label for guest in plain[:8])}{' …' if len(plain) > 8 else ''} ({size})")
    if unsure and not said:
        said.append(f"not sure: {unsure}")
    return "; ".join(said) or None


def n_plus_one(look: Look, *, reserve_fraction: float, devices: bool) -> Answer[Loss]:
    """Per node: would its guests find memory, and what holds them back.

    Local disks are read per storage; devices that are passed through stand in no list, so with ``devices`` each running guest is asked. Then
    its configuration also names the disks that Proxmox VE hides from the token in the list of a storage.
    """
    nodes, guests, storages = look.lists()
    names = set(online(nodes, look, "guests"))
    votes = _votes(look)
    replicated = replica_nodes(look) or {}
    volumes = disk_volumes(look, [row for row in storages if not row.shared])
    stuck = local_disks(guests, volumes, replicated)
    runs = {guest.vmid: guest for guest in guests if guest.status == "running" and guest.node in names}
    if devices:
        hidden = set(hidden_disks(look, volumes))
        configs = look.each(
            runs, lambda vmid: look.cluster.get(f"{runs[vmid].ref.path}/config"), lambda vmid: f"devices of {runs[vmid].label}",
            "/nodes/{node}/{kind}/{vmid}/config",
        )  # fmt: skip
        for vmid, config in configs.items():
            on = sorted({name for volid in volumes_of(config) if (name := volid.partition(":")[0]) in hidden})
            if on and not replicated.get(vmid):
                stuck[vmid] = f"disks on {', '.join(on)} of {runs[vmid].node}"
            if passed := passed_through(config):
                stuck[vmid] = "; ".join(part for part in (stuck.get(vmid, ""), f"passes through {', '.join(passed)}") if part)
    else:
        name_hidden(look, volumes, ())
        look.add(Gap(what="devices that are passed through", why="they were not asked for"))
    unsure = "; ".join(f"{gap.what} not seen ({gap.why})" for gap in look.gaps)
    rows = judge(
        nodes, guests, votes=votes, stuck=stuck, rules=_rules(look, [node.name for node in nodes]), reserve_fraction=reserve_fraction,
        unsure=unsure,
    )  # fmt: skip
    return look.answer(rows)


def local_disks(
    guests: Iterable[Guest], volumes: Mapping[Place, Sequence[Mapping[str, Any]]], replicated: Mapping[int, Iterable[str]]
) -> dict[int, str]:
    """Guests whose disks are lost with their node, and on which storage they are. A replicated disk has a copy elsewhere."""
    found: dict[int, str] = {}
    for guest in guests:
        here = sorted(
            {
                place[0]
                for place, rows in volumes.items()
                if place[1] == guest.node and any(whole(row.get("vmid")) == guest.vmid for row in rows)
            }
        )
        if here and not replicated.get(guest.vmid):
            found[guest.vmid] = f"disks on {', '.join(here)} of {guest.node}"
    return found


def passed_through(config: Mapping[str, Any]) -> list[str]:
    """Settings that tie a guest to the hardware of its node; a mapped device (``mapping=``) may exist on others."""
    return sorted(
        key
        for key, value in config.items()
        if _PASSED.match(key) and "mapping=" not in str(value) and str(value) not in ("spice", "socket")
    )


def _votes(look: Look) -> dict[str, bool]:
    look.count("/cluster/status")
    try:
        return dict(look.cluster.cluster_status().nodes)
    except ApiError as err:
        look.failed("votes of the nodes", err)
        return {}


def _rules(look: Look, nodes: Sequence[str]) -> dict[int, Affinity]:
    """Rules that bind: strict node affinity, and guests that must stay apart."""
    rows = look.try_get("/cluster/ha/rules", "rules of high availability") or []
    return affinities(rows, nodes)


def affinities(rows: Iterable[Mapping[str, Any]], nodes: Sequence[str]) -> dict[int, Affinity]:
    """Rules as Proxmox VE 9 lists them, by guest; what is only a wish does not bind."""
    found: dict[int, Affinity] = {}
    for row in rows:
        members = {int(sid.partition(":")[2]) for sid in words(row.get("resources")) if sid.partition(":")[2].isdigit()}
        if flag(row.get("disable")):
            continue
        named = frozenset(part.partition(":")[0] for part in words(row.get("nodes")))
        for vmid in members:
            before = found.get(vmid, Affinity())
            if row.get("type") == "node-affinity" and flag(row.get("strict")):
                only = named if before.only is None else before.only & named
                found[vmid] = Affinity(only=only & frozenset(nodes), apart=before.apart)
            elif row.get("type") == "resource-affinity" and row.get("affinity") == "negative":
                found[vmid] = Affinity(only=before.only, apart=before.apart | (members - {vmid}))
    return found
