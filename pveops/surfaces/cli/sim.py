"""``pveops sim``: the simulated cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from pveops.surfaces.cli.context import Output, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT
from pveops.surfaces.cli.sim_faults import fault

sim = typer.Typer(help="A simulated Proxmox VE cluster: to try, test and rehearse without hardware.", no_args_is_help=True)
sim.add_typer(fault, name="fault")


@sim.command("serve")
def serve(
    info: Path = typer.Option(..., help="File that gets one JSON object (addresses, certificate, tokens) when the cluster is ready."),
    nodes: int = typer.Option(3, help="1 to 100."),
    guests: int = typer.Option(40, help="3 to 10,000."),
    port: int = typer.Option(8006, help="0 takes any free one."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    speed: float = typer.Option(1.0, help="Simulated seconds per second."),
    latency_ms: float = typer.Option(0.0, help="Milliseconds that each answer waits, after its effect has happened."),
    seed: Optional[int] = typer.Option(None, help="The same seed gives the same cluster."),
    request_log: Path = typer.Option(None, help="JSON lines: every request received and answered."),
    state_dir: Path = typer.Option(None, help="Keeps certificate authority and tokens from start to start."),
    ha_guests: int = typer.Option(0, help="How many guests high availability manages."),
    scenario: Path = typer.Option(None, help="TOML file: which faults begin when (docs/faults.md)."),
) -> None:
    """Serve the HTTPS API of a simulated cluster until it is told to stop."""
    from pveops.sim.serve import DEFAULT_SEED, ServeOptions, run

    options = ServeOptions(
        info=info, nodes=nodes, guests=guests, port=port, host=host, speed=speed, latency_ms=latency_ms, seed=DEFAULT_SEED if seed is None else seed,
        request_log=request_log, state_dir=state_dir, ha_guests=ha_guests, scenario=scenario,
    )  # fmt: skip
    raise typer.Exit(run(options))


@sim.command("coverage")
def coverage(output: Output = OUTPUT) -> None:
    """Tell how many methods of the API are simulated."""
    from pveops.sim.contract import coverage as counted

    counts = counted()
    row = {"methods": counts.total, "answered": counts.answered, "behave": counts.behaves, "read": counts.reads, "refused": counts.refused}
    if output is Output.JSON:
        print_json(row)
    else:
        print_rows([row], tuple(row))
        say(f"{counts.answered} of {counts.total} methods of Proxmox VE 9.2 are simulated; the others answer 501 and say so.")
