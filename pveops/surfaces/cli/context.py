"""What every command shares: output, errors, the cluster."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pveops.base.clock import iso
from pveops.base.errors import PveopsError
from pveops.base.redact import redact
from pveops.observe.context import correlated, correlation
from pveops.observe.logs import set_up
from pveops.settings.home import Home

if TYPE_CHECKING:
    from pveops.app.ops import Ops
    from pveops.clients.executor import ExecutorClient
    from pveops.tools.registry import ToolResult

_LOG = logging.getLogger("pveops.cli")


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


def out() -> Console:
    """Data."""
    return Console(file=sys.stdout, soft_wrap=not sys.stdout.isatty(), highlight=False)


def err() -> Console:
    """Messages."""
    return Console(file=sys.stderr, soft_wrap=not sys.stderr.isatty(), highlight=False)


def say(text: str, style: str = "") -> None:
    """A message on stderr."""
    err().print(Text(text, style=style))


def answer(text: str, style: str = "") -> None:
    """What was asked for, as a sentence on stdout."""
    out().print(Text(text, style=style))


@contextmanager
def command(name: str) -> Iterator[str]:
    """Run a command under one correlation id, with its log line. Errors pass through to ``fail``."""
    with correlated() as given:
        home = Home.find(os.environ)
        if home.root.is_dir() and os.access(home.root, os.W_OK):
            set_up(home.log("cli"))
        else:
            logging.getLogger("pveops").addHandler(logging.NullHandler())
        _LOG.info("command", extra={"command": name})
        try:
            yield given
        except PveopsError as error:
            error.correlation = error.correlation or given
            _LOG.warning("command failed", extra={"command": name, "kind": error.kind, "error": error.message})
            raise


def show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
) -> None:
    """Our own warnings as messages; those of libraries are for their developers."""
    if category is UserWarning:
        say(str(message), "yellow")


def fail(error: PveopsError) -> int:
    """Tell an error in one paragraph on stderr; returns the exit code."""
    text = Text(redact(error.message), style="bold")
    if error.hint:
        text.append(f" {error.hint}", style="not bold")
    if error.correlation:
        text.append(f" {error.correlation}", style="dim not bold")
    err().print(text)
    return error.exit_code


def open_ops(profile: str | None, *, check: bool = False) -> Ops:
    """The cluster of a profile, for reading and proposing."""
    from pveops.app.ops import connect
    from pveops.model.proposal import Origin

    return connect(profile, origin=Origin(surface="cli"), check=check)


def open_executor() -> ExecutorClient:
    """The executor of this home, under our own principal."""
    from pveops.clients.executor import ExecutorClient
    from pveops.settings.credentials import own_credential
    from pveops.settings.profile import load_config

    home = Home.find(os.environ)
    credential = own_credential(home, load_config(home).operator)
    return ExecutorClient(home.socket, credential.principal, credential.token, credential.private_key, channel="cli")


def print_json(value: Any) -> None:
    """JSON on stdout, readable on a terminal."""
    from pveops.frames.display import plain

    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None, default=plain) + "\n")


def print_rows(rows: Iterable[Mapping[str, Any]], order: Sequence[str], *, fit: bool = False) -> list[str]:
    """A table on stdout. ``fit``: on a narrow terminal the last columns are left out and returned, so that no name, state or time is cut."""
    from pveops.frames.display import heading, numeric, shown

    rows, console = list(rows), out()
    if console.is_terminal and fit:
        widths = [max([cell_len(heading(column)), *(cell_len(shown(column, row.get(column))) for row in rows)]) + 2 for column in order]
        kept = next((n for n in range(len(order), 1, -1) if sum(widths[:n]) <= console.width + 2), 1)
    else:
        kept = len(order)
    order, left_out = order[:kept], list(order[kept:])
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in order:
        table.add_column(
            heading(column),
            justify="right" if numeric(column) else "left",
            no_wrap=fit or column in _WHOLE,
        )
    for row in rows:
        table.add_row(*(Text(shown(column, row.get(column)), style=_style(column, row.get(column))) for column in order))
    if not console.is_terminal:
        console.width = max(console.width, 400)
    console.print(table)
    return left_out


def print_result(result: ToolResult, output: Output, order: Sequence[str] = ()) -> None:
    """A tool's result: rows on stdout, what it says and what it could not see on stderr."""
    if output is Output.JSON:
        gaps = [{"what": gap.what, "why": gap.why, "needs": gap.needs} for gap in result.gaps]
        rows = [dict(row) for row in result.rows]
        print_json(
            {
                "status": result.status,
                "text": result.text,
                "rows": rows,
                "gaps": gaps,
                "searched": result.searched,
                "read_at": iso(result.read_at),
                "correlation": correlation(),
            }
        )
        return
    left_out = print_rows(result.rows, order or result.order or tuple(result.rows[0]), fit=True) if result.rows else []
    say(result.text, "dim" if result.status == "ok" else "")
    if left_out:
        say(f"Too narrow for: {', '.join(left_out)}. A wider terminal, a pipe or -o json has them.", "dim")


_WHOLE = frozenset({"name", "node", "status", "started", "created", "proposal", "risk", "seq", "at", "tool", "runbook", "Records"})
"""Columns that are never wrapped."""
_STYLES = {"running": "green", "online": "green", "done": "green", "ok": "green", "available": "green", "failed": "red", "offline": "red",
           "error": "red", "unknown": "magenta", "warnings": "yellow", "warned": "yellow", "stopped": "dim", "waiting": "cyan"}  # fmt: skip


def _style(column: str, value: Any) -> str:
    if column in ("status", "outcome", "verified", "state"):
        return _STYLES.get(str(value), "")
    if column in ("cpu_fraction", "mem_fraction", "disk_fraction", "used_fraction") and isinstance(value, (int, float)):
        return "red" if value >= 0.94 else "yellow" if value >= 0.85 else ""
    return ""
