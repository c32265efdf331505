"""Plan tools: start, shut down, reboot, snapshot, migrate. They read what a plan assumes and return the plan; nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from pveops.base.errors import InputError
from pveops.model.plan import Plan, Step
from pveops.model.refs import check_snapshot
from pveops.model.resources import Guest
from pveops.tools.library import steps as make
from pveops.tools.library.changes import memory_changes, status_change
from pveops.tools.library.look import Look, look_at
from pveops.tools.ports import Ports
from pveops.tools.registry import Args, Tool
from pveops.tools.resolve import find_guests, find_node

Guests = Annotated[str, Field(description="One or several guests, by id or name, parted by commas; tag:lab for all with that tag")]


class StartArgs(Args):
    """Which guests."""

    guest: Guests


class ShutdownArgs(Args):
    """Which guests, and how long each may take."""

    guest: Guests
    timeout_s: Annotated[
        int, Field(ge=5, le=3600, description="Seconds each guest may take; then the step fails and the guest still runs")
    ] = 180


class SnapshotArgs(Args):
    """Which guests, and what the snapshot is called."""

    guest: Guests
    name: Annotated[str, Field(description="Name of the snapshot: before-upgrade")]
    description: Annotated[str, Field(max_length=200, description="What it is for")] = ""
    memory: Annotated[bool, Field(description="Keep the memory of running virtual machines too")] = False


class MigrateArgs(Args):
    """Which guests, and where to."""

    guest: Guests
    target: Annotated[str, Field(description="Node to move to")]


def start(args: StartArgs, ports: Ports) -> Plan:
    """Start guests that do not run."""
    looks = looks_of(args.guest, ports)
    refuse(looks, lambda look: look.status != "stopped", "{} is {} already; nothing to start.")
    steps = [make.start(look, f"s{number}") for number, look in enumerate(looks, start=1)]
    changes = [status_change(look, "running") for look in looks]
    return plan_of(
        "guest.start", args, ports, looks, steps, "Start", "start", [*changes, *memory_changes(ports, looks, grow=True)], "Shut down again"
    )


def shutdown(args: ShutdownArgs, ports: Ports) -> Plan:
    """Ask running guests to shut down. A guest that does not react keeps running."""
    looks = looks_of(args.guest, ports)
    refuse(looks, lambda look: look.status == "stopped", "{} is {} already; nothing to shut down.")
    steps = [make.shutdown(look, f"s{number}", args.timeout_s) for number, look in enumerate(looks, start=1)]
    changes = [status_change(look, "stopped") for look in looks]
    return plan_of(
        "guest.shutdown",
        args,
        ports,
        looks,
        steps,
        "Shut down",
        "shutdown",
        [*changes, *memory_changes(ports, looks, grow=False)],
        "Start again",
    )


def reboot(args: ShutdownArgs, ports: Ports) -> Plan:
    """Ask running guests to restart. Pending configuration changes take effect."""
    looks = looks_of(args.guest, ports)
    refuse(looks, lambda look: look.status == "stopped", "{} is {}; start it instead.")
    steps = [make.reboot(look, f"s{number}", args.timeout_s) for number, look in enumerate(looks, start=1)]
    changes = [status_change(look, "running, restarted") for look in looks]
    return plan_of("guest.reboot", args, ports, looks, steps, "Reboot", "reboot", changes, "A restart cannot be taken back")


def snapshot(args: SnapshotArgs, ports: Ports) -> Plan:
    """Keep the present state of guests under a name."""
    name = check_snapshot(args.name)
    looks = looks_of(args.guest, ports)
    taken = [look for look in looks if name in look.snapshots]
    if taken:
        have = ", ".join(look.guest.label for look in taken)
        raise InputError(f"{have} has a snapshot called {name} already.", hint="Choose another name, or delete that one in Proxmox VE.")
    steps = [make.snapshot(look, f"s{number}", name, args.description, memory=args.memory) for number, look in enumerate(looks, start=1)]
    changes = [make.snapshot_change(look, name) for look in looks]
    plan = plan_of("guest.snapshot", args, ports, looks, steps, "Snapshot", "snapshot", changes, "Delete the snapshot")
    return replace(plan, summary=f"{plan.summary} as {name}")


def migrate(args: MigrateArgs, ports: Ports) -> Plan:
    """Move guests to another node: virtual machines live, containers with a restart."""
    target = find_node(args.target, ports.reader.nodes())
    if target.status != "online":
        raise InputError(
            f"{target.name} is {target.status}; nothing can move there.", hint="Choose another node; `pveops nodes ls` shows them."
        )
    looks = looks_of(args.guest, ports)
    refuse(looks, lambda look: look.guest.node == target.name, f"{{}} is on {target.name} already; nothing to move.")
    shared = {storage.name: storage.shared for storage in ports.reader.storages().rows}
    steps = [make.migrate(look, f"s{number}", target.name, shared) for number, look in enumerate(looks, start=1)]
    changes = [make.node_change(look, target.name) for look in looks]
    moved = memory_changes(ports, looks, grow=False, target=target.name)
    plan = plan_of(
        "guest.migrate",
        args,
        ports,
        looks,
        steps,
        "Migrate",
        "migration",
        [*changes, *moved],
        "Migrate back, in reverse order" if len(looks) > 1 else "Migrate back",
    )
    sources = {look.guest.node for look in looks}
    off = f" off {next(iter(sources))}" if len(looks) > 1 and len(sources) == 1 else ""
    return replace(plan, summary=f"{plan.summary}{off} to {target.name}")


def looks_of(wanted: str, ports: Ports) -> list[Look]:
    """The guests that were named, looked at.

    Raises:
        InputError: one is a template, or cannot be read.
        UnknownName: one is not there.
    """
    guests = find_guests(wanted, ports.reader.guests())
    templates = [guest for guest in guests if guest.template]
    if templates:
        raise InputError(f"{_labels(templates)} is a template.", hint="Clone it and use the clone.")
    return look_at(guests, ports)


def refuse(looks: Sequence[Look], unfit: Callable[[Look], bool], text: str) -> None:
    """Refuse guests that do not fit.

    Raises:
        InputError: some do not.
    """
    found = [look for look in looks if unfit(look)]
    if found:
        raise InputError(
            " ".join(text.format(look.guest.label, look.status) for look in found), hint="Leave it out." if len(looks) > 1 else ""
        )


def _labels(guests: Sequence[Guest]) -> str:
    return ", ".join(guest.label for guest in guests)


def plan_of(
    tool: str,
    args: Args,
    ports: Ports,
    looks: Sequence[Look],
    steps: Sequence[Step],
    verb: str,
    noun: str,
    changes: Sequence[Any],
    undo: str,
) -> Plan:
    """A plan of one step per guest, under the words that cards and lists use."""
    many = len(looks) > 1
    given = {name: value for name, value in args.model_dump().items() if value not in ("", None)}
    return Plan(
        cluster=ports.cluster,
        tool=tool,
        args=tuple((name, str(value)) for name, value in given.items()),
        summary=f"{verb} {len(looks)} guests" if many else f"{verb} {looks[0].guest.label}",
        action=f"{len(looks)} {noun}s" if many else noun,
        steps=tuple(steps),
        changes=tuple(changes),
        undo_text=undo,
    )


def plan_tool(name: str, title: str, args: type[Args], run: Any, *privileges: str) -> Tool:
    """A plan tool, documented by its function."""
    return Tool(name=name, kind="plan", title=title, doc=str(run.__doc__), args=args, run=run, privileges=privileges)


PLAN_TOOLS = (
    plan_tool("guest.start", "Start guests", StartArgs, start, "VM.PowerMgmt"),
    plan_tool("guest.shutdown", "Shut guests down", ShutdownArgs, shutdown, "VM.PowerMgmt"),
    plan_tool("guest.reboot", "Reboot guests", ShutdownArgs, reboot, "VM.PowerMgmt"),
    plan_tool("guest.snapshot", "Snapshot guests", SnapshotArgs, snapshot, "VM.Snapshot"),
    plan_tool("guest.migrate", "Migrate guests", MigrateArgs, migrate, "VM.Migrate"),
)
