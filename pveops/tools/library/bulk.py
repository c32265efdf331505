"""Plan tools for many guests: a canary first, then waves, with limits that stop them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from pveops.base.errors import InputError
from pveops.base.units import fmt_bytes
from pveops.model.plan import MOST_AT_ONCE, Change, Fact, Flow, Plan, Step, Wave
from pveops.model.refs import check_snapshot
from pveops.model.resources import Node
from pveops.tools.library import steps as make
from pveops.tools.library.changes import memory_changes, status_change
from pveops.tools.library.look import Look, look_at
from pveops.tools.library.plans import Guests, ShutdownArgs, looks_of, refuse
from pveops.tools.ports import Ports
from pveops.tools.registry import Args, Tool
from pveops.tools.resolve import find_node

_FREE_FRACTION = 0.9
"""A node is filled up to this share of its memory at most."""


class Pace(Args):
    """How fast, and when to stop."""

    canary: Annotated[int, Field(ge=0, le=100, description="Guests of the first wave; the others begin only when it went well")] = 1
    wave: Annotated[int, Field(ge=0, le=1000, description="Guests of each later wave; 0 for all the others in one")] = 0
    at_once: Annotated[int, Field(ge=1, le=MOST_AT_ONCE, description="Steps under way at once")] = 8
    per_node: Annotated[int, Field(ge=1, le=MOST_AT_ONCE, description="Steps under way on one node at once")] = 4
    may_fail_pct: Annotated[
        int, Field(ge=0, le=100, description="Stop when more than this share failed, in percent of the steps of the waves begun")
    ] = 0
    deadline_s: Annotated[
        int, Field(ge=0, le=86_400, description="No step begins later than so many seconds after approval; 0 for no limit")
    ] = 0
    take_back: Annotated[bool, Field(description="Take back by itself what was done, when too much failed")] = False


class BulkShutdownArgs(Pace):
    """Which guests, how long each may take, and how fast."""

    guest: Guests
    timeout_s: Annotated[int, Field(ge=5, le=3600, description="Seconds each guest may take; then its step fails and it still runs")] = 180
    snapshot: Annotated[str, Field(description="Take a snapshot of this name of every guest first")] = ""


class BulkStartArgs(Pace):
    """Which guests, and how fast."""

    guest: Guests


class EvacuateArgs(Pace):
    """Which node, where to, and how fast."""

    node: Annotated[str, Field(description="Node that is to be empty of running guests")]
    targets: Annotated[str, Field(description="Nodes to move to, parted by commas; all others by free memory if left out")] = ""
    per_node: Annotated[int, Field(ge=1, le=MOST_AT_ONCE, description="Migrations a node takes part in at once")] = 2


def shutdown(args: BulkShutdownArgs, ports: Ports) -> Plan:
    """Ask many guests to shut down: a canary, then waves; with a snapshot of each first, if wanted."""
    looks = looks_of(args.guest, ports)
    refuse(looks, lambda look: look.status == "stopped", "{} is {} already; nothing to shut down.")
    name = check_snapshot(args.snapshot) if args.snapshot else ""
    refuse(looks, lambda look: bool(name) and name in look.snapshots, f"{{}} has a snapshot called {name} already.")

    def steps(look: Look, key: Callable[[], str]) -> list[Step]:
        down = make.shutdown(look, "", ShutdownArgs(guest="", timeout_s=args.timeout_s).timeout_s)
        if not name:
            return [make.keyed(down, key())]
        kept = make.keyed(make.snapshot(look, "", name, "", memory=False), key())
        touched = {f"{look.guest.ref.subject}.{field}" for field in kept.touches}
        return [kept, make.keyed(replace(down, assumes=tuple(fact for fact in down.assumes if fact.key not in touched)), key())]

    changes = [status_change(look, "stopped") for look in looks] + ([make.snapshot_change(look, name) for look in looks] if name else [])
    plan = _bulk("guests.shutdown", args, ports, looks, steps, (*changes, *memory_changes(ports, looks, grow=False)))
    text = f"Shut down {len(looks)} guests" + (f", each after a snapshot {name}" if name else "")
    return replace(
        plan, summary=text, action=f"{len(looks)} shutdowns", undo_text="Start again" + (", delete the snapshots" if name else "")
    )


def start(args: BulkStartArgs, ports: Ports) -> Plan:
    """Start many guests: a canary, then waves."""
    looks = looks_of(args.guest, ports)
    refuse(looks, lambda look: look.status != "stopped", "{} is {} already; nothing to start.")
    changes = [*(status_change(look, "running") for look in looks), *memory_changes(ports, looks, grow=True)]
    plan = _bulk("guests.start", args, ports, looks, lambda look, key: [make.start(look, key())], changes)
    return replace(plan, summary=f"Start {len(looks)} guests", action=f"{len(looks)} starts", undo_text="Shut down again")


def evacuate(args: EvacuateArgs, ports: Ports) -> Plan:
    """Move every running guest off a node: a canary, then waves. Done when each runs where it should."""
    nodes = ports.reader.nodes()
    source = find_node(args.node, nodes)
    wanted = [part for part in args.targets.split(",") if part.strip()]
    targets = [find_node(part, nodes) for part in wanted] if wanted else [node for node in nodes.rows if node.name != source.name]
    targets = [node for node in targets if node.status == "online" and node.name != source.name]
    if not targets:
        raise InputError(f"There is no other node online to move the guests of {source.name} to.", hint="`pveops nodes ls` shows them.")
    guests = [
        guest for guest in ports.reader.guests().rows if guest.node == source.name and guest.status == "running" and not guest.template
    ]
    if not guests:
        raise InputError(f"No guest runs on {source.name}; nothing to move.")
    looks = look_at(guests, ports)
    placed = _place(looks, targets)
    shared = {storage.name: storage.shared for storage in ports.reader.storages().rows}
    changes: list[Change] = []
    for target in targets:
        here = [look for look in looks if placed[look.guest.vmid] == target.name]
        changes += [make.node_change(look, target.name) for look in here] + memory_changes(ports, here, grow=False, target=target.name)
    plan = _bulk(
        "node.evacuate", args, ports, looks, lambda look, key: [make.migrate(look, key(), placed[look.guest.vmid], shared)], changes
    )
    online = tuple(Fact(subject=f"node/{node.name}", field="status", value="online") for node in targets if node.name in placed.values())
    there = tuple(fact for step in plan.steps for fact in step.expects)
    flow = replace(plan.flow, before=(Fact(subject="cluster", field="quorate", value=True), *online), after=there) if plan.flow else None
    noun = f"{len(looks)} guest{'s' if len(looks) > 1 else ''}"
    return replace(
        plan, flow=flow, summary=f"Evacuate {source.name}: move {noun}", action=f"{len(looks)} migrations", undo_text="Migrate back, in reverse order"
    )  # fmt: skip


def _place(looks: Sequence[Look], targets: Sequence[Node]) -> dict[int, str]:
    """A node for each guest, the largest first, each to the node with the most memory left.

    Raises:
        InputError: one fits nowhere.
    """
    left = {node.name: (node.maxmem_bytes or 0) * _FREE_FRACTION - (node.mem_bytes or 0) for node in targets}
    placed: dict[int, str] = {}
    for look in sorted(looks, key=lambda look: (-(look.guest.maxmem_bytes or 0), look.guest.vmid)):
        needed = look.guest.mem_bytes or look.guest.maxmem_bytes or 0
        best = max(left, key=lambda name: (left[name], name))
        if left[best] < needed:
            raise InputError(
                f"{look.guest.label} needs {fmt_bytes(needed)} and fits on no other node.",
                hint="Name more targets, or shut some guests down first.",
            )
        left[best] -= needed
        placed[look.guest.vmid] = best
    return placed


def _bulk(
    tool: str, args: Pace, ports: Ports, looks: Sequence[Look], steps_of: Callable[[Look, Callable[[], str]], list[Step]], changes: Sequence[Change]
) -> Plan:  # fmt: skip
    made: list[Step] = []
    per_guest: list[tuple[str, ...]] = []
    counter = iter(range(1, 1_000_000))

    def key() -> str:
        return f"s{next(counter)}"

    for look in looks:
        steps = steps_of(look, key)
        made += steps
        per_guest.append(tuple(step.key for step in steps))
    given = {name: value for name, value in args.model_dump().items() if value not in ("", None)}
    flow = Flow(
        waves=_waves(per_guest, args), at_once=args.at_once, per_node=args.per_node, may_fail_pct=args.may_fail_pct, deadline_s=args.deadline_s,
        take_back=args.take_back,
    )  # fmt: skip
    return Plan(
        cluster=ports.cluster, tool=tool, args=tuple((name, str(value)) for name, value in given.items()), summary="", action="", steps=tuple(made),
        changes=tuple(changes), flow=flow,
    )  # fmt: skip


def _waves(per_guest: Sequence[tuple[str, ...]], args: Pace) -> tuple[Wave, ...]:
    canary = args.canary if args.canary < len(per_guest) else 0
    rest = per_guest[canary:]
    size = args.wave or len(rest)
    parts = [per_guest[:canary]] if canary else []
    parts += [rest[start : start + size] for start in range(0, len(rest), size)]
    names = ["canary"] * bool(canary) + [f"wave {number}" for number in range(1, len(parts) + 1)]
    return tuple(Wave(name=name, steps=tuple(key for keys in part for key in keys)) for name, part in zip(names, parts, strict=False))


BULK_TOOLS = (
    Tool(name="guests.shutdown", kind="plan", title="Shut many guests down", doc=str(shutdown.__doc__), args=BulkShutdownArgs, run=shutdown,
         privileges=("VM.PowerMgmt", "VM.Snapshot")),
    Tool(name="guests.start", kind="plan", title="Start many guests", doc=str(start.__doc__), args=BulkStartArgs, run=start, privileges=("VM.PowerMgmt",)),
    Tool(name="node.evacuate", kind="plan", title="Empty a node", doc=str(evacuate.__doc__), args=EvacuateArgs, run=evacuate, privileges=("VM.Migrate",)),
)  # fmt: skip
