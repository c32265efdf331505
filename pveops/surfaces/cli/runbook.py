"""``pveops runbook``: run a notebook without a screen."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Optional

import typer

from pveops.base.errors import InputError
from pveops.surfaces.cli.context import command, out, print_rows, say

runbook = typer.Typer(help="Runbooks: notebooks that read, propose and wait for a person elsewhere.", no_args_is_help=True)
EXIT = {"done": 0, "warned": 0, "finished": 0, "no action": 0, "not approved": 6, "refused": 6, "failed": 5, "unknown": 8, "broken": 1}


@runbook.command("ls")
def ls() -> None:
    """List the runbooks that come with pveops, with their parameters."""
    from pveops.app.content import folder
    from pveops.runbooks.engine import declared

    with command("runbook.ls"):
        rows = [
            {
                "runbook": path.stem,
                "parameters": ", ".join(f"{name}={default}" for name, default in declared(path).items()),
                "file": str(path),
            }
            for path in sorted(folder("runbooks").glob("*.ipynb"))
        ]
        print_rows(rows, ("runbook", "parameters", "file"))


@runbook.command("run")
def run(
    name: str = typer.Argument(help="Name of a runbook that comes with pveops, or a notebook file."),
    parameter: list[str] = typer.Option(None, "--parameter", "-p", help="name=value, for a parameter that the notebook declares."),
    output_notebook: Optional[Path] = typer.Option(None, help="Gets the notebook with all outputs."),
) -> None:
    """Run a runbook under the principal runbook, which may propose and cannot approve. The exit code says how it ended."""
    from pveops.app.content import folder
    from pveops.runbooks import engine

    with command(f"runbook {name}"):
        notebook = Path(name) if name.endswith(".ipynb") else folder("runbooks") / f"{name}.ipynb"
        result = output_notebook or Path.cwd() / f"{notebook.stem}.result.ipynb"
        os.environ.setdefault("PVEOPS_PRINCIPAL", "runbook")
        ended = engine.run(notebook, result, dict(_pair(text) for text in parameter or ()))
        out().print(f"{ended.ending}: {ended.text}", markup=False)
        say(f"{ended.duration_s:.0f} s. Notebook with all results: {ended.notebook}", "dim")
        sys.stdout.flush()
        raise typer.Exit(EXIT.get(ended.ending, 1))


def _pair(text: str) -> tuple[str, str | int | float | bool]:
    name, eq, value = text.partition("=")
    if not eq or not name:
        raise InputError(f"{text!r} is no parameter.", hint="Write name=value.")
    return name, _value(value)


def _value(text: str) -> str | int | float | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
