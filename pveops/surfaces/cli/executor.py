"""``pveops executor run``: the process that alone holds the write token."""

from __future__ import annotations

import os
import sys

import typer

from pveops.surfaces.cli.context import Output, answer, command, open_executor, print_json
from pveops.surfaces.cli.reads import OUTPUT, PROFILE

executor = typer.Typer(help="The executor: the only process that changes anything.", no_args_is_help=True)


@executor.command("run")
def run(
    profile: str = PROFILE,
    worker: bool = typer.Option(
        False, "--worker", help="A further worker that shares the work through PostgreSQL; it listens on no socket."
    ),
) -> None:
    """Run the executor of this home until it is told to stop."""
    # this process becomes the executor: it has one pid, one environment, and nothing of the command line in it
    arguments = [
        sys.executable,
        "-m",
        "pveops.surfaces.daemon",
        *(("--profile", profile) if profile else ()),
        *(("--worker",) if worker else ()),
    ]
    sys.stderr.flush()
    os.execv(sys.executable, arguments)  # noqa: S606 - our own module, no shell


@executor.command("unit")
def unit(
    user: str = typer.Option("pveops", help="The user that the executor runs as, and nobody else."),
    home: str = typer.Option("/var/lib/pveops", help="Its PVEOPS_HOME."),
    profile: str = PROFILE,
) -> None:
    """Print a systemd unit: a user of its own, hardened, with the token as a credential."""
    from importlib import resources

    with command("executor.unit"):
        text = resources.files("pveops.surfaces.cli").joinpath("pveops-executor.service").read_text(encoding="utf-8")
        given = {
            "user": user,
            "home": home,
            "python": sys.executable,
            "name": profile or "home",
            "profile": f" --profile {profile}" if profile else "",
        }
        sys.stdout.write(text.format(**given))


@executor.command("status")
def status(output: Output = OUTPUT) -> None:
    """Tell who runs, for which cluster, and what waits."""
    from pveops.model.codec import encode

    with command("executor.status"):
        info = open_executor().info()
        if output is Output.JSON:
            print_json(encode(info))
            return
        simulated = " (simulated)" if info.simulated else ""
        answer(f"Executor {info.executor} (pid {info.pid}) for {info.cluster}{simulated}, Proxmox VE {info.cluster_version}.")
        answer(f"You are {info.principal} ({info.principal_kind}). {info.boundary}")
        answer(f"Policy {info.policy_name}, {info.policy_hash[:8]}. {info.waiting} wait, {info.running} run, {info.unknown} need a person.")
        if info.kill.on:
            answer(f"The kill switch is ON: {info.kill.why}.", "bold red")
