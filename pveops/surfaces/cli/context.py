"""What every command shares: output, errors, the cluster."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pveops.base.clock import iso
from pveops.base.errors import PveopsError
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


def fail(error: PveopsError) -> int:
    """Tell an error in one paragraph on stderr; returns the exit code."""
    text = Text(error.message, style="bold")
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


def print_rows(rows: Iterable[Mapping[str, Any]], order: Sequence[str]) -> None:
    """A table on stdout."""
    from pveops.frames.display import heading, numeric, shown

    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for column in order:
        table.add_column(
            heading(column),
            justify="right" if numeric(column) else "left",
            no_wrap=column in ("name", "node", "status", "started", "created"),
        )
    for row in rows:
        table.add_row(*(Text(shown(column, row.get(column)), style=_style(column, row.get(column))) for column in order))
    console = out()
    if not console.is_terminal:
        console.width = max(console.width, 400)
    console.print(table)


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
    if result.rows:
        print_rows(result.rows, order or result.order or tuple(result.rows[0]))
    say(result.text, "dim" if result.status == "ok" else "")


_STYLES = {"running": "green", "online": "green", "done": "green", "ok": "green", "available": "green", "failed": "red", "offline": "red",
           "error": "red", "unknown": "magenta", "warnings": "yellow", "warned": "yellow", "stopped": "dim", "waiting": "cyan"}  # fmt: skip


def _style(column: str, value: Any) -> str:
    if column in ("status", "outcome", "verified", "state"):
        return _STYLES.get(str(value), "")
    if column in ("cpu_fraction", "mem_fraction", "disk_fraction", "used_fraction") and isinstance(value, (int, float)):
        return "red" if value >= 0.94 else "yellow" if value >= 0.85 else ""
    return ""
