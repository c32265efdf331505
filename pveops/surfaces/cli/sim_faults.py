"""``pveops sim fault``: what goes wrong in a simulated cluster that runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Optional

import typer

from pveops.base.errors import InputError
from pveops.settings.home import Home
from pveops.sim.faults.client import ControlClient
from pveops.surfaces.cli.context import Output, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT

fault = typer.Typer(help="Faults of a simulated cluster that runs: bring them about, see the truth, put them right.", no_args_is_help=True)

INFO: Any = typer.Option(None, "--info", help="Info file of the simulated cluster; by default that of `pveops up --sim`.")
_COLUMNS = ("id", "state", "component", "start", "end", "repair")


def _client(info: Path | None) -> ControlClient:
    return ControlClient.of(info or Home.find(os.environ).root / "sim" / "info.json")


def _given(words: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InputError(f"{word!r} is no parameter.", hint="Write name=value, for example node=pve2.")
        if name in found:
            raise InputError(f"{name} is given twice.", hint="Write each parameter once.")
        found[name] = value
    return found


def _show(rows: list[dict[str, Any]], output: Output, columns: tuple[str, ...] = _COLUMNS) -> None:
    if output is Output.JSON:
        print_json(rows)
    else:
        print_rows(rows, columns)


def _say_truth(row: Mapping[str, Any]) -> None:
    given = ", ".join(f"{name}={value}" for name, value in row["parameters"].items() if value != "")
    say(f"{row['id']}: {row['component'] or 'planned'}{f' ({given})' if given else ''}. Ends by: {row['repair']}")


@fault.command("add")
def add(
    kind: str = typer.Argument(help="Kind of fault; `pveops sim fault kinds` lists them. With --scenario, leave it out.", default=""),
    parameters: Optional[list[str]] = typer.Argument(None, help="name=value; what is left out is chosen by the seed of the cluster."),
    after: str = typer.Option("0", "--in", help="Begin so much later in simulated time: seconds, or 90s, 10min, 2h, 1d."),
    lasts: str = typer.Option("", "--for", help="End by itself after so much simulated time; else somebody has to put it right."),
    scenario: Optional[Path] = typer.Option(None, help="A scenario file instead of one kind."),
    info: Path = INFO,
    output: Output = OUTPUT,
) -> None:
    """Bring a fault about, or all of a scenario file."""
    from pveops.sim.faults.scenario import document, seconds

    if (scenario is None) == (not kind):
        raise InputError("Name a kind of fault, or a scenario file.", hint="`pveops sim fault kinds` lists the kinds.")
    if scenario is not None:
        steps = document(scenario)
        rows = _client(info).play(steps)
    else:
        given, in_s, lasts_s = _given(parameters or ()), seconds(after), seconds(lasts) if lasts else None
        rows = [_client(info).add(kind, given, in_s=in_s, lasts_s=lasts_s)]
    if output is Output.JSON:
        print_json(rows)
    else:
        for row in rows:
            _say_truth(row)


@fault.command("ls")
def ls(info: Path = INFO, output: Output = OUTPUT) -> None:
    """List all faults so far with their truth: component, cause, start, end, right action."""
    rows = _client(info).faults()
    _show(rows, output)
    if not rows:
        say("No faults so far.", "dim")


@fault.command("clear")
def clear(ident: str = typer.Argument(help="Id of a fault, or all."), info: Path = INFO, output: Output = OUTPUT) -> None:
    """Put a fault right by hand, as somebody at the machine would."""
    _show(_client(info).clear(ident), output)


@fault.command("kinds")
def kinds(kind: str = typer.Argument("", help="Show one kind with its parameters."), output: Output = OUTPUT) -> None:
    """List the kinds of faults, or tell all about one."""
    from pveops.sim.faults.kinds import described, find

    rows = [row for row in described() if not kind or row["kind"] == find(kind).name]
    if output is Output.JSON or not kind:
        _show([{**row, "name": row["kind"]} for row in rows], output, ("name", "doc"))
        return
    row = rows[0]
    for title in ("doc", "cause", "sees", "repair"):
        say(f"{title}: {row[title]}")
    print_rows(row["parameters"], ("name", "default", "unit", "allowed", "doc"))
