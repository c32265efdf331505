"""The commands, put together. Each group is imported when it is used, so that ``pveops --help`` stays fast."""

from __future__ import annotations

import sys
import warnings

import typer
import typer.main

from pveops.base.errors import PveopsError
from pveops.base.version import VERSION
from pveops.surfaces.cli.accounts import group, login, rule, user
from pveops.surfaces.cli.audit import audit
from pveops.surfaces.cli.context import fail, show_warning
from pveops.surfaces.cli.do import do, tools
from pveops.surfaces.cli.executor import executor
from pveops.surfaces.cli.init import init
from pveops.surfaces.cli.inventory import inventory
from pveops.surfaces.cli.kill import kill
from pveops.surfaces.cli.logs import logs
from pveops.surfaces.cli.metrics import metrics
from pveops.surfaces.cli.own import own
from pveops.surfaces.cli.policy import policy
from pveops.surfaces.cli.proposals import proposals
from pveops.surfaces.cli.reads import backups, guests, nodes, storage, tasks
from pveops.surfaces.cli.runbook import runbook
from pveops.surfaces.cli.secrets import secrets
from pveops.surfaces.cli.sim import sim
from pveops.surfaces.cli.ssh import ssh
from pveops.surfaces.cli.state import state
from pveops.surfaces.cli.timeline import timeline
from pveops.surfaces.cli.twin import twin
from pveops.surfaces.cli.up import up

app = typer.Typer(
    name="pveops",
    help="A safe control room for Proxmox VE clusters: see everything, change things only through plan, approval and proof.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands, name in ((nodes, "nodes"), (guests, "guests"), (storage, "storage"), (tasks, "tasks"), (backups, "backups"), (tools, "tools"), (metrics, "metrics"), (logs, "logs"), (inventory, "inventory"),
                    (proposals, "proposals"), (audit, "audit"), (kill, "kill"), (executor, "executor"), (runbook, "runbook"), (sim, "sim"), (state, "state"),
                    (twin, "twin"), (secrets, "secrets"), (ssh, "ssh"), (login, "login"), (user, "user"), (group, "group"), (rule, "rule"), (policy, "policy")):  # fmt: skip
    app.add_typer(commands, name=name)
app.command("up")(up)
app.command("init")(init)
app.command("self")(own)
app.command("timeline")(timeline)
app.command("do", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(do)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    """Options of ``pveops`` itself."""
    if version:
        typer.echo(f"pveops {VERSION}")
        raise typer.Exit


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code. Our own errors become one paragraph, never a traceback."""
    command = typer.main.get_command(app)
    warnings.showwarning = show_warning
    try:
        code = command.main(args=arguments, prog_name="pveops", standalone_mode=False)
    except PveopsError as error:
        return fail(error)
    except typer.Abort:
        sys.stderr.write("Stopped; nothing was changed by this command.\n")
        return 130
    except KeyboardInterrupt:
        return 130
    except typer.Exit as stop:
        return int(stop.exit_code)
    except Exception as error:  # click's own usage errors have no public base in typer
        shown = getattr(error, "show", None)
        if shown is None:
            raise
        shown()
        return int(getattr(error, "exit_code", 2))
    return code if isinstance(code, int) else 0
