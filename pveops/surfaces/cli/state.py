"""``pveops state``: keep a whole home, bring it back, look it over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pveops.base.errors import ConfigError
from pveops.surfaces.cli.context import Output, command, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT

if TYPE_CHECKING:
    from pveops.app.state import Kept
    from pveops.settings.home import Home

state = typer.Typer(help="Backup, restore and health of PVEOPS_HOME.", no_args_is_help=True)


@state.command("backup")
def backup(
    file: Path = typer.Argument(help="File to write (mode 0600); it holds every key and token of the home."),
    logs: bool = typer.Option(False, "--logs", help="Log lines too."),
) -> None:
    """Write the whole home into one file, also while an executor runs."""
    from pveops.app.state import backup as write
    from pveops.base.clock import SystemClock

    with command("state.backup"):
        kept = write(_home(), file, SystemClock(), logs=logs)
        say(f"{file} holds {_said(kept)}. Keep it like a key: whoever has it can act as you.")


@state.command("restore")
def restore(
    file: Path = typer.Argument(help="What `state backup` wrote."),
    check: bool = typer.Option(False, "--check", help="Only look whether it is whole."),
) -> None:
    """Bring a backup back into an empty PVEOPS_HOME. The kill switch is on afterwards."""
    from pveops.app.state import look
    from pveops.app.state import restore as bring
    from pveops.base.clock import SystemClock

    home = _home()
    if check:
        say(f"{file} is whole: {_said(look(file))}.")
        return
    kept = bring(file, home, SystemClock(), by=f"uid {os.getuid()}")
    with command("state.restore"):
        say(f"{home.root} is as it was: {_said(kept)}.", "bold")
        say(
            "The kill switch is ON: what happened since then is not in this home. Look at the cluster, run `pveops state doctor`, then lift it."
        )
        say("If checkpoints were anchored after that backup, the executor will not start on the older ledger: see docs/audit.md.")


@state.command("doctor")
def doctor(mend: bool = typer.Option(False, "--mend", help="Narrow modes that are too wide."), output: Output = OUTPUT) -> None:
    """Look the home over and tell what to do. The exit code is 0, or 3 when something is broken."""
    from pveops.app.doctor import examine
    from pveops.base.clock import SystemClock

    home = _home()
    looks = examine(home, SystemClock(), mend=mend)
    rows = [{"state": one.result, "name": one.name, "what": one.text, "todo": one.todo} for one in looks]
    if output is Output.JSON:
        print_json(rows)
    else:
        print_rows(rows, ("state", "name", "what", "todo"))
    if any(one.result == "fail" for one in looks):
        raise typer.Exit(ConfigError.exit_code)


def _home() -> Home:
    from pveops.settings.home import Home

    return Home.find(os.environ)


def _said(kept: Kept) -> str:
    from pveops.base.units import fmt_bytes

    return (
        f"{kept.files} files, {fmt_bytes(kept.size_bytes)}, {kept.ledger_records} ledger records, of pveops {kept.version} at {kept.made}"
    )
