"""``pveops logs search|histogram|patterns|around|collect|receive|tail``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pveops.base.errors import InputError, TransportError
from pveops.surfaces.cli.context import Output, command, open_ops, say
from pveops.surfaces.cli.metrics import show_frame
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

if TYPE_CHECKING:
    import pandas as pd

    from pveops.app.collecting import Files
    from pveops.app.ops import Ops

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
        if output is Output.TABLE and len(frame) < frame.attrs["total"]:
            say(f"{frame.attrs['total']} lines in all; --limit shows more.")
        _tell_gaps(frame)


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
        frame = open_ops(profile).logs.histogram(query, since, until, step=step or None, by=by)
        show_frame(frame.reset_index(), output)
        _tell_gaps(frame)


@logs.command("patterns")
def patterns(
    query: str = _QUERY,
    since: str = typer.Option("24h", help="From when; compared with a span of the same length before."),
    until: str = _UNTIL,
    limit: int = typer.Option(40, help="At most so many."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Show lines that differ in names and numbers only as one: new ones first, then bursts."""
    with command("logs.patterns"):
        frame = open_ops(profile).logs.patterns(query, since, until, limit=limit)
        columns = ["lines", "before", "new", "burst", "first", "trouble", "unit", "pattern"]
        show_frame(frame if output is Output.JSON else _short(frame[columns]), output)
        _tell_gaps(frame)


@logs.command("around")
def around(
    event: str = typer.Argument(help="A time (2026-11-21T03:12Z, 2h) or the id of a task (UPID:…)."),
    query: str = typer.Option("", help="Of these lines only."),
    minutes: float = typer.Option(5, help="So long before and after."),
    limit: int = typer.Option(100, help="At most so many, the newest."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List lines around a time, or from before the start of a task until after its end."""
    with command("logs.around"):
        frame = open_ops(profile).logs.around(event, query, minutes=minutes, limit=limit)
        show_frame(frame, output)
        _tell_gaps(frame)


@logs.command("collect")
def collect(
    since: str = typer.Option("", help="From when (journals and tasks); by default from where the last look ended, an hour back at first."),
    file: list[Path] = typer.Option([], help="Read this log file of this machine instead of the cluster; may be repeated."),
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on until stopped."),
    every: float = typer.Option(5.0, help="Seconds between two looks."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Read journals of nodes, the cluster's log and logs of tasks into the store; or files, which are followed when they are moved and begun anew."""
    if every <= 0:
        raise InputError(f"--every {every:g} is no pause.", hint="Seconds between two looks, for example 5.")
    with command("logs.collect"):
        ops = open_ops(profile)
        files = ops.logs.files(*file) if file else None
        try:
            _show_look(_look(ops, files, since), output, always=not follow)
            while follow:
                time.sleep(every)
                try:
                    _show_look(_look(ops, files, ""), output, always=False)
                except TransportError as err:
                    say(f"{err.message} The next look makes up for it.", "yellow")
        except KeyboardInterrupt:
            return
        finally:
            if files:
                files.close()


def _look(ops: Ops, files: Files | None, since: str) -> pd.DataFrame:
    return files.look() if files else ops.logs.collect(since or None)


def _show_look(frame: pd.DataFrame, output: Output, *, always: bool) -> None:
    """What was collected; where one look follows another, only when there is something new or something is wrong."""
    if always or frame["new"].fillna(0).sum() or frame.attrs["gaps"]:
        show_frame(frame, output)
        _tell_gaps(frame)


@logs.command("receive")
def receive(
    udp: str = typer.Option("", help="Listen for datagrams at HOST:PORT."),
    tcp: str = typer.Option("", help="Listen for connections at HOST:PORT."),
    profile: str = PROFILE,
) -> None:
    """Receive syslog (RFC 5424 and RFC 3164) into the store until stopped; without addresses over UDP and TCP at 127.0.0.1:5514."""
    import asyncio
    import signal

    with command("logs.receive"):
        either = bool(udp or tcp)
        here = "127.0.0.1:5514"
        to_udp, to_tcp = (_address(given) if given else None for given in ((udp, tcp) if either else (here, here)))
        for address in (to_udp, to_tcp):
            if address and not _loopback(address[0]):
                say(
                    f"Whoever reaches {address[0]} can write lines into the store: syslog knows no sender. Let a firewall choose who may.",
                    "yellow",
                )
        server = open_ops(profile).logs.receiver(say)

        def ready(ports: dict[str, int]) -> None:
            say(f"Listens for syslog: {', '.join(f'{kind} port {port}' for kind, port in ports.items())}. Stop it with Ctrl-C.")

        async def run() -> None:
            until = asyncio.Event()
            for name in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(name, until.set)
            await server.run(to_udp, to_tcp, ready, until)

        asyncio.run(run())
        say(f"{server.received} messages came, {server.kept} new lines are kept, {server.dropped} found no room.")


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


def _address(given: str) -> tuple[str, int]:
    host, _, port = given.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise InputError(f"{given} is no address to listen at.", hint="Write HOST:PORT, for example 127.0.0.1:5514.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _short(frame: pd.DataFrame) -> pd.DataFrame:
    """Long texts cut, so that a pattern stays a row."""
    return frame.assign(pattern=[text if len(text) <= 120 else f"{text[:119]}…" for text in frame["pattern"]])


def _tell_gaps(frame: pd.DataFrame) -> None:
    for gap in frame.attrs["gaps"]:
        say(f"Partial: {gap['what']}: {gap['why']}{' Needs ' + gap['needs'] + '.' if gap['needs'] else ''}", "yellow")
