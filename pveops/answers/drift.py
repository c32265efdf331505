"""What makes nodes of one cluster differ that should be alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from pveops.answers.look import Look, online
from pveops.base.errors import InputError
from pveops.frames.columns import Column, Table
from pveops.model.refs import check_node
from pveops.model.resources import Answer
from pveops.model.values import whole

PARTS: Mapping[str, str] = {
    "apt/versions": "packages", "status": "kernel", "dns": "resolvers", "time": "clock", "subscription": "subscription", "network": "network",
    "services": "services",
}  # fmt: skip
_SKEW_S = 10
"""Clocks are read one after the other, and in whole seconds."""
_NETWORK = ("type", "method", "active", "autostart", "bridge_ports", "bridge_vlan_aware", "slaves", "bond_mode", "mtu")
_ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One node that differs from most in one thing."""

    topic: str
    item: str
    node: str
    value: str
    most: str | None
    alike: int
    asked: int


DRIFT_BETWEEN = Table(
    "drift_between",
    "node",
    (
        Column("topic", "string", "packages, kernel, resolvers, clock, subscription, network or services", lambda row: row.topic),
        Column("item", "string", "what differs: a package, a setting, a service, an interface", lambda row: row.item),
        Column("node", "string", "node that differs", lambda row: row.node),
        Column("value", "string", "what it has; absent where it has none", lambda row: row.value),
        Column("most", "string", "what most nodes have; missing where no value has a majority", lambda row: row.most),
        Column("alike", "Int64", "how many nodes have that", lambda row: row.alike),
        Column("asked", "Int64", "how many nodes answered about it", lambda row: row.asked),
    ),
)
Values = Mapping[tuple[str, str], str]


def judge(nodes: Mapping[str, Values], topics: Mapping[str, frozenset[str]], pending: Iterable[Drift] = ()) -> list[Drift]:
    """Everything in which a node differs from most of those that answered about that topic.

    Args:
        nodes: by node, values by topic and item; an item that others have is absent there.
        topics: nodes that answered, by topic.
        pending: findings of one node that need no comparison.
    """
    rows = list(pending)
    for topic, item in sorted({key for values in nodes.values() for key in values}):
        asked = sorted(topics.get(topic, frozenset()))
        seen = {node: nodes[node].get((topic, item), _ABSENT) for node in asked}
        counts = Counter(seen.values()).most_common()
        if len(counts) < 2:
            continue
        value, alike = counts[0]
        clear = alike > counts[1][1]
        rows += [
            Drift(topic=topic, item=item, node=node, value=has, most=value if clear else None, alike=alike if clear else 0, asked=len(asked))
            for node, has in seen.items() if not clear or has != value
        ]  # fmt: skip
    order = list(PARTS.values())
    return sorted(rows, key=lambda row: (order.index(row.topic), row.item, row.node))


def drift_between(look: Look, *, names: Sequence[str] = ()) -> Answer[Drift]:
    """Packages, kernels, resolvers, clocks, subscriptions, network and services of nodes, side by side. Seven requests per node.

    Raises:
        InputError: fewer than two nodes are named or can be asked.
    """
    nodes, _, _ = look.lists()
    known = {node.name for node in nodes}
    wanted = [check_node(name) for name in names] or sorted(known)
    strange = [name for name in wanted if name not in known]
    if strange or len(wanted) < 2:
        raise InputError(
            f"There is no node called {strange[0]}." if strange else "It takes two nodes to differ.",
            hint=f"Nodes: {', '.join(sorted(known))}.",
        )
    asked = online([node for node in nodes if node.name in wanted], look, "settings")
    if len(asked) < 2:
        raise InputError(f"Of these nodes only {', '.join(asked) or 'none'} can be asked.", hint="Wait until they are online again.")
    began_s = look.clock.monotonic_s()
    pairs = [(name, part) for part in PARTS for name in asked]
    at: dict[tuple[str, str], float] = {}

    def read(pair: tuple[str, str]) -> Any:
        data = look.cluster.get(f"/nodes/{pair[0]}/{pair[1]}")
        at[pair] = look.clock.monotonic_s() - began_s
        return data

    found = look.each(pairs, read, lambda pair: f"{PARTS[pair[1]]} of {pair[0]}", "/nodes/{node}/{part}")
    values: dict[str, dict[tuple[str, str], str]] = {name: {} for name in asked}
    for (name, part), data in found.items():
        if part != "time":
            values[name].update({(PARTS[part], item): value for item, value in _read(part, data)})
    clocks = {name: (data, at[name, part]) for (name, part), data in found.items() if part == "time"}
    for name, more in _clocks(clocks).items():
        values[name].update({("clock", item): value for item, value in more.items()})
    topics = {PARTS[part]: frozenset(name for name, other in found if other == part) for part in PARTS}
    pending = [row for name in asked if (row := _restart(name, found.get((name, "apt/versions")), found.get((name, "status")))) is not None]
    return look.answer(judge(values, topics, pending))


def _read(part: str, data: Any) -> Iterable[tuple[str, str]]:
    """What is compared, by item: nothing that must differ, like addresses, loads and keys."""
    if part == "apt/versions":
        return [(str(row["Package"]), str(row.get("Version"))) for row in data if row.get("CurrentState", "Installed") == "Installed"]
    if part == "status":
        kernel = (data.get("current-kernel") or {}).get("release") or str(data.get("kversion", "")).split(" #")[0].removeprefix("Linux ")
        return [
            ("running kernel", str(kernel)),
            ("pveversion", str(data.get("pveversion"))),
            ("boot mode", str((data.get("boot-info") or {}).get("mode"))),
        ]
    if part == "dns":
        return [(key, str(value)) for key, value in data.items() if key in ("search", "dns1", "dns2", "dns3")]
    if part == "subscription":
        return [(key, str(data[key])) for key in ("status", "level", "productname") if data.get(key)]
    if part == "services":
        return [(str(row["service"]), f"{row.get('state')}, {row.get('unit-state')}") for row in data]
    return [
        (f"{row['iface']} {key}", str(row[key]))
        for row in data
        if str(row.get("type")) not in ("vlan", "unknown")
        for key in _NETWORK
        if key in row
    ]


def _clocks(clocks: Mapping[str, tuple[Mapping[str, Any], float]]) -> dict[str, dict[str, str]]:
    """Zone of each node, and how far its clock is from the middle of all."""
    ahead = {name: (whole(data.get("time")) or 0) - read_s for name, (data, read_s) in clocks.items()}
    middle = median(ahead.values()) if ahead else 0.0
    found = {}
    for name, (data, _) in clocks.items():
        off_s = round(ahead[name] - middle)
        found[name] = {"zone": str(data.get("timezone")), "set": "with the others" if abs(off_s) <= _SKEW_S else f"{off_s:+d} s"}
    return found


def _restart(name: str, packages: Any, status: Any) -> Drift | None:
    """A kernel that was installed and waits for a restart: newer than the running one."""
    if not packages or not status:
        return None
    running = dict(_read("status", status))["running kernel"]
    kernels = [str(row["Package"]) for row in packages if str(row["Package"]).startswith(("proxmox-kernel-", "pve-kernel-"))]
    images = [name_.removeprefix("proxmox-kernel-").removeprefix("pve-kernel-").removesuffix("-signed") for name_ in kernels]
    newest = max((image for image in images if image.endswith("-pve")), key=_numbers, default=running)
    if _numbers(newest) <= _numbers(running):
        return None
    return Drift(
        topic="kernel", item="waits for a restart", node=name, value=f"runs {running}", most=f"{newest} is installed", alike=0, asked=1
    )


def _numbers(kernel: str) -> tuple[int, ...]:
    return tuple(int(part) for part in kernel.replace("-", ".").split(".") if part.isdigit())
