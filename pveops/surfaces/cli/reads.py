"""``pveops nodes|guests|storage|tasks|backups ls``."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from pveops.surfaces.cli.context import Output, command, open_ops, print_result

PROFILE = typer.Option(None, "--profile", "-p", help="Profile of config.toml.")
OUTPUT = typer.Option(Output.TABLE, "--output", "-o", help="table or json.")

nodes = typer.Typer(help="Nodes of the cluster.", no_args_is_help=True)
guests = typer.Typer(help="Virtual machines and containers.", no_args_is_help=True)
storage = typer.Typer(help="Storage.", no_args_is_help=True)
tasks = typer.Typer(help="Tasks of Proxmox VE.", no_args_is_help=True)
backups = typer.Typer(help="Backup archives.", no_args_is_help=True)


def _show(tool: str, args: dict[str, object], profile: str | None, output: Output, order: Sequence[str]) -> None:
    with command(tool):
        ops = open_ops(profile)
        print_result(ops.tools.read(tool, args, ops.ports), output, order)


@nodes.command("ls")
def nodes_ls(profile: str = PROFILE, output: Output = OUTPUT) -> None:
    """List nodes with their load."""
    _show(
        "node.list",
        {},
        profile,
        output,
        ("node", "status", "cpu_fraction", "cpus", "mem_fraction", "maxmem_bytes", "disk_fraction", "uptime_s"),
    )


@guests.command("ls")
def guests_ls(
    node: str = typer.Option("", help="Only guests on this node."),
    status: str = typer.Option("", help="Only guests in this state: running, stopped …"),
    tag: str = typer.Option("", help="Only guests with this tag."),
    terms: str = typer.Option("", "--filter", help="Terms that all must hold: 'status:stopped tag:prod mem>8G -web-*' (docs/filter.md)."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List guests."""
    order = ("vmid", "name", "kind", "node", "status", "cpu_fraction", "mem_fraction", "maxmem_bytes", "uptime_s", "lock", "tags")
    _show("guest.list", {"node": node, "status": status, "tag": tag, "filter": terms}, profile, output, order)


@storage.command("ls")
def storage_ls(profile: str = PROFILE, output: Output = OUTPUT) -> None:
    """List storage, one row per node that sees it."""
    _show(
        "storage.list",
        {},
        profile,
        output,
        ("storage", "node", "type", "status", "used_fraction", "used_bytes", "total_bytes", "shared", "content"),
    )


@tasks.command("ls")
def tasks_ls(
    node: str = typer.Option("", help="Only tasks of this node."),
    guest: str = typer.Option("", help="Only tasks of this guest, by id or name."),
    since: str = typer.Option("", help="Only tasks younger than this: 1h, 7d."),
    failed: bool = typer.Option(False, "--failed", help="Only tasks that ended with an error."),
    limit: int = typer.Option(50, help="At most so many."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List tasks, newest first."""
    args = {"node": node, "guest": guest, "since": since, "failed": failed, "limit": limit}
    _show("task.list", args, profile, output, ("started", "node", "type", "id", "outcome", "exit_text", "duration_s", "user", "upid"))


@backups.command("ls")
def backups_ls(
    guest: str = typer.Option("", help="Only backups of this guest, by id or name."),
    in_storage: str = typer.Option("", "--storage", help="Only backups in this storage."),
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """List backup archives, newest first."""
    _show(
        "backup.list",
        {"guest": guest, "storage": in_storage},
        profile,
        output,
        ("created", "vmid", "kind", "storage", "size_bytes", "verified", "protected", "volid"),
    )
