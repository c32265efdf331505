"""``pveops logs search|histogram|collect|tail``."""

from __future__ import annotations

import typer

from pveops.surfaces.cli.context import Output, command, open_ops, say
from pveops.surfaces.cli.metrics import show_frame
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

logs = typer.Typer(help="Log lines of the cluster.", no_args_is_help=True)
_QUERY = typer.Argument("", help='What to look for: error host:pve1 -backup, "no space left", severity:<=err.')
_SINCE = typer.Option("2h", help="From when: 2h (ago), 7d, 2026-11-21T14:00Z.")
_UNTIL = typer.Option("now", help="Until when.")


@logs.command("search")
def search(
    query: str = _QUERY,
    since: str = _SINCE,
    until: str = _UNTIL,
    limit: int = typer.Option(100, help="At most so many, the newest."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List lines, newest first."""
    with command("logs.search"):
        frame = open_ops(profile).logs.search(query, since, until, limit=limit)
        show_frame(frame, output)
        if output is Output.TABLE and not frame.attrs["complete"]:
            say(f"{frame.attrs['total']} lines in all; --limit shows more.")


@logs.command("histogram")
def histogram(
    query: str = _QUERY,
    since: str = typer.Option("24h", help="From when."),
    until: str = _UNTIL,
    step: str = typer.Option("", help="Width of a step: 5min, 1h; by default what fits the span."),
    by: str = typer.Option("", help="severity, host, unit or source."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Count lines per step."""
    with command("logs.histogram"):
        show_frame(open_ops(profile).logs.histogram(query, since, until, step=step or None, by=by).reset_index(), output)


@logs.command("collect")
def collect(since: str = typer.Option("1h", help="From when."), profile: str = PROFILE, output: Output = OUTPUT) -> None:
    """Read the journals of all nodes and the cluster's log into the store."""
    with command("logs.collect"):
        frame = open_ops(profile).logs.collect(since)
        show_frame(frame, output)
        for gap in frame.attrs["gaps"]:
            say(f"Partial: {gap['what']}: {gap['why']}{' Needs ' + gap['needs'] + '.' if gap['needs'] else ''}", "yellow")


@logs.command("tail")
def tail(
    query: str = _QUERY,
    every: float = typer.Option(5.0, help="Seconds between two looks."),
    seconds: float = typer.Option(3600.0, help="For how long."),
    profile: str = PROFILE,
) -> None:
    """Show new lines as they come."""
    with command("logs.tail"):
        for line in open_ops(profile).logs.tail(query, every_s=every, seconds=seconds):
            typer.echo(line)
