"""``pveops sim``: the simulated cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from pveops.sim.telemetry import DEFAULT_INDEX
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
    seed_file: Path = typer.Option(None, help="A seed that `pveops twin look` wrote: the cluster that it saw, instead of a made-up one."),
    request_log: Path = typer.Option(None, help="JSON lines: every request received and answered."),
    pve: str = typer.Option("9.2", help="Version of Proxmox VE: 9.2 or 8.4."),
    state_dir: Path = typer.Option(None, help="Keeps certificate authority and tokens from start to start."),
    ha_guests: int = typer.Option(0, help="How many guests high availability manages."),
    per_node: bool = typer.Option(
        False, "--per-node", help="Give each node an address of its own too (the next ports); it closes when the node is away."
    ),
    scenario: Path = typer.Option(None, help="TOML file: which faults begin when (docs/faults.md)."),
    start_s: Optional[float] = typer.Option(None, help="Simulated time at the start, seconds since the epoch; now when not given."),
    metrics_port: Optional[int] = typer.Option(
        None, help="Plain HTTP for Prometheus: /metrics, /pve, /node/NAME/metrics, /sd; 0 takes any free port."
    ),
    syslog: list[str] = typer.Option([], help="udp://HOST:PORT or tcp://HOST:PORT gets log lines (RFC 5424); may be repeated."),
    log_file: Path = typer.Option(None, help="JSON lines: log lines of all nodes."),
    elasticsearch: str = typer.Option("", help="http://HOST:PORT gets log lines through its bulk interface."),
    index: str = typer.Option(DEFAULT_INDEX, help="Index or data stream there."),
    elasticsearch_auth: Path = typer.Option(None, help="File with USER:PASSWORD, or with 'ApiKey KEY'."),
) -> None:
    """Serve the HTTPS API of a simulated cluster until it is told to stop."""
    from pveops.sim.serve import DEFAULT_SEED, ServeOptions, run
    from pveops.sim.telemetry.emission import Sinks

    sinks = Sinks(syslog=syslog, file=log_file, elasticsearch=elasticsearch, index=index, authorization=elasticsearch_auth)
    options = ServeOptions(
        info=info, nodes=nodes, guests=guests, port=port, host=host, speed=speed, latency_ms=latency_ms, seed=DEFAULT_SEED if seed is None else seed,
        request_log=request_log, state_dir=state_dir, ha_guests=ha_guests, scenario=scenario, start_s=start_s, metrics_port=metrics_port, sinks=sinks,
        seed_file=seed_file, pve=pve, per_node=per_node,
    )  # fmt: skip
    raise typer.Exit(run(options))


@sim.command("backfill")
def backfill(
    out: Path = typer.Option(..., help="Folder for the files: metrics-DAY.om, logs-DAY.jsonl."),
    days: float = typer.Option(30.0, help="How many days."),
    step_s: int = typer.Option(300, help="Seconds between two samples."),
    end_s: Optional[float] = typer.Option(None, help="The last moment, seconds since the epoch; now when not given."),
    nodes: int = typer.Option(3, help="1 to 100."),
    guests: int = typer.Option(40, help="3 to 10,000."),
    seed: Optional[int] = typer.Option(None, help="The same seed gives the same past."),
    all_cpus: bool = typer.Option(False, help="Seconds of each CPU of a node, not only of the first."),
    bulk: bool = typer.Option(False, help="Write bulk requests for Elasticsearch too: bulk-DAY.ndjson."),
    index: str = typer.Option(DEFAULT_INDEX, help="Index or data stream in them."),
) -> None:
    """Write what monitoring would have collected in past weeks into files."""
    from pveops.sim.backfill import BackfillOptions, run
    from pveops.sim.serve import DEFAULT_SEED

    options = BackfillOptions(
        out=out, days=days, step_s=step_s, end_s=end_s, nodes=nodes, guests=guests, seed=DEFAULT_SEED if seed is None else seed,
        all_cpus=all_cpus, bulk=bulk, index=index,
    )  # fmt: skip
    raise typer.Exit(run(options))


def _area(entry: tuple[str, dict[str, int]]) -> dict[str, object]:
    """One area of the API: the first part of its paths."""
    name, kinds = entry
    behaves, reads, refused = (kinds.get(kind, 0) for kind in ("behaves", "reads", "refused"))
    row = {"methods": behaves + reads + refused, "answered": behaves + reads, "behave": behaves, "read": reads, "refused": refused}
    return {"area": name, **row}


@sim.command("coverage")
def coverage(output: Output = OUTPUT) -> None:
    """Tell how many methods of the API are simulated."""
    from pveops.sim.contract import coverage as counted

    counts = counted()
    row = {"methods": counts.total, "answered": counts.answered, "behave": counts.behaves, "read": counts.reads, "refused": counts.refused}
    if output is Output.JSON:
        print_json(row | {"areas": counts.areas})
    else:
        print_rows([{"area": "all", **row}, *map(_area, sorted(counts.areas.items()))], ("area", *row))
        say(f"{counts.answered} of {counts.total} methods of Proxmox VE 9.2 are simulated; the others answer 501 and say so.")
