"""``pveops runbook``: run a notebook without a screen."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

import typer

from pveops.base.errors import InputError, PveopsError, UnknownName
from pveops.surfaces.cli.context import command, open_executor, out, print_rows, say

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
        if not notebook.is_file():
            raise UnknownName(
                f"There is no {'notebook' if name.endswith('.ipynb') else 'runbook called'} {name}.",
                hint="`pveops runbook ls` shows those that come with pveops; of your own give the file, NAME.ipynb.",
            )
        result = output_notebook or Path.cwd() / f"{notebook.stem}.result.ipynb"
        os.environ.setdefault("PVEOPS_PRINCIPAL", "runbook")
        given = dict(_pair(text) for text in parameter or ())
        with _telling_what_waits():
            ended = engine.run(notebook, result, given)
        out().print(f"{ended.ending}: {ended.text}", markup=False)
        say(f"{ended.duration_s:.0f} s. Notebook with all results: {ended.notebook}", "dim")
        sys.stdout.flush()
        raise typer.Exit(EXIT.get(ended.ending, 1))


@contextmanager
def _telling_what_waits() -> Iterator[None]:
    """Meanwhile, say on stderr which proposal of a runbook waits for a person: else nobody knows what to approve."""
    over = threading.Event()
    threading.Thread(target=_tell_what_waits, args=(over,), name="pveops-runbook", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _tell_what_waits(over: threading.Event) -> None:
    try:
        client = open_executor()
        after = max((event.seq for event in client.events(after=-1, wait_s=0)), default=0)
        while not over.is_set():
            for event in client.events(after=after, wait_s=1.0):
                after = max(after, event.seq)
                if event.kind == "proposal.waiting" and event.actor == client.principal and not over.is_set():
                    say(f"Waits for a person: {event.text}. Elsewhere: pveops proposals approve {event.proposal_id}", "cyan")
    except PveopsError:
        return  # the notebook itself tells that no executor answers


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
