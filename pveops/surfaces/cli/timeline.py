"""``pveops timeline``."""

from __future__ import annotations

import typer

from pveops.base.errors import InputError
from pveops.model.logs import SEVERITIES
from pveops.surfaces.cli.context import Output, command, open_ops, say
from pveops.surfaces.cli.metrics import show_frame
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

_COLUMNS = ["time", "severity", "kind", "subject", "text"]


def timeline(
    subject: str = typer.Argument(help="A guest (id or name) or a node."),
    since: str = typer.Option("6h", help="From when: 6h (ago), 2026-11-21T14:00Z."),
    until: str = typer.Option("now", help="Until when."),
    severity: str = typer.Option("", help="This severity and worse: err, warning, notice …"),
    collect: bool = typer.Option(True, help="Read the journals of the nodes concerned first."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Tell what happened to a guest or a node, from everything that tells: tasks, changes, measurements, logs, alerts, proposals."""
    with command("timeline"):
        if severity and severity not in SEVERITIES:
            raise InputError(f"{severity} is no severity.", hint=f"Known: {', '.join(SEVERITIES)}.")
        frame = open_ops(profile).timeline(subject, since, until, collect=collect)
        shown = frame[frame["severity"] <= severity] if severity else frame
        shown.attrs = frame.attrs
        if output is Output.JSON:
            show_frame(shown, output)
        else:
            show_frame(shown[_COLUMNS].assign(time=shown["time"].dt.strftime("%Y-%m-%d %H:%M:%SZ")), output)
        for gap in frame.attrs["gaps"]:
            say(f"Partial: {gap['what']}: {gap['why']}{' Needs ' + gap['needs'] + '.' if gap['needs'] else ''}", "yellow")
