"""``pveops inventory sync|as-of|diff|history|status``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import typer

from pveops.surfaces.cli.context import Output, command, open_ops, say
from pveops.surfaces.cli.metrics import show_frame
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

if TYPE_CHECKING:
    import pandas as pd

    from pveops.app.ops import Ops

inventory = typer.Typer(help="What clusters held and when, and who changed it.", no_args_is_help=True)
_ALL = typer.Option(False, "--all", help="Every cluster that the inventory knows, not only this profile's.")
_DETAIL = typer.Option("config", help="Details to keep: config, snapshots, addresses, backups, disks (parted by commas), all or none.")


@inventory.command("sync")
def sync(
    detail: str = _DETAIL,
    full: bool = typer.Option(False, "--full", help="Read the details of everything, not only where there is a reason."),
    deadline: float = typer.Option(300.0, help="Seconds; what is not read by then is read first the next time."),
    every: str = typer.Option("", help="Go on until Ctrl-C, looking this often: 10s, 60s, 5min; then within the budget per node."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Look at the cluster and keep what changed."""
    with command("inventory.sync"):
        ops = open_ops(profile)
        words = detail if detail in ("all", "none") else [word.strip() for word in detail.split(",")]
        try:
            if every:
                _go_on(ops, every, words)
                return
            frame = ops.sync(words, full=full, deadline_s=deadline)
        finally:
            ops.close()
        show_frame(frame, output)
        say(f"{frame.attrs['requests']} requests in {frame.attrs['duration_s']:.1f} s.", "dim")
        _gaps(frame)


def _go_on(ops: Ops, every: str, words: str | list[str]) -> None:
    """Tell each look that changed something, or failed, in a line."""
    from pveops.frames.display import moment

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager ends it as a person does
    said = 0
    with ops.sync_every(every, words) as background:
        try:
            while background.running:
                background.wait(1.0)
                if background.looks == said:
                    continue
                said = background.looks
                if background.error is not None:
                    say(f"The look failed: {background.error.message}", "yellow")
                elif background.last is not None and (said == 1 or any(count.changed for count in background.last.counts)):
                    changed = ", ".join(f"{count.changed} {count.what}" for count in background.last.counts if count.changed) or "nothing"
                    say(f"{moment(background.last.at)} changed: {changed}; {background.last.requests} requests.")
        except KeyboardInterrupt:
            say("Stopping.")


@inventory.command("as-of")
def as_of(
    moment: str = typer.Argument("now", help="2h (ago), yesterday, 2026-11-21T14:00Z."),
    what: str = typer.Option("guests", help="guests, nodes, storage, config, snapshots, addresses, backups or disks."),
    every_cluster: bool = _ALL,
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List what there was at a time."""
    with command("inventory.as-of"):
        _show(open_ops(profile).as_of(moment, what, clusters="all" if every_cluster else None), output)


@inventory.command("diff")
def diff(
    since: str = typer.Argument("yesterday", help="From when: 2h (ago), yesterday, 2026-11-21T14:00Z."),
    until: str = typer.Option("now", help="Until when."),
    what: str = typer.Option("", help="Only guest, node, storage, config, snapshots, addresses, backups or disks; parted by commas."),
    every_cluster: bool = _ALL,
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List what changed, field by field, and who did it."""
    with command("inventory.diff"):
        kinds = [word.strip() for word in what.split(",")] if what else None
        _show(open_ops(profile).diff(since, until, what=kinds, clusters="all" if every_cluster else None), output)


@inventory.command("history")
def history(
    guest: str = typer.Argument(..., help="Id or name, also of a guest that is gone."),
    since: str = typer.Option("", help="From when; by default everything."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List all changes of one guest."""
    with command("inventory.history"):
        _show(open_ops(profile).history(guest, since or None), output)


@inventory.command("status")
def status(
    every_cluster: bool = _ALL,
    limit: int = typer.Option(10, help="At most so many lines."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Tell when the cluster was looked at, with how many requests, and what was missing."""
    with command("inventory.status"):
        _show(open_ops(profile).looks(clusters="all" if every_cluster else None, limit=limit), output)


def _show(frame: pd.DataFrame, output: Output) -> None:
    if output is Output.TABLE:
        for column in frame.columns[[str(dtype).startswith("datetime64") for dtype in frame.dtypes]]:
            frame[column] = frame[column].dt.strftime("%Y-%m-%d %H:%M:%S").astype("string")
    show_frame(frame, output)
    _gaps(frame)


def _gaps(frame: pd.DataFrame) -> None:
    for gap in frame.attrs["gaps"]:
        say(f"Partial: {gap['what']}: {gap['why']}{' Needs ' + gap['needs'] + '.' if gap['needs'] else ''}", "yellow")
