"""``python -m pveops.sim serve``: the simulated cluster without the rest of pveops."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pveops.sim.telemetry import DEFAULT_INDEX


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pveops.sim", description="A simulated Proxmox VE cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the HTTPS API until SIGTERM")
    serve.add_argument("--info", type=Path, required=True, help="file that gets one JSON object when the cluster is ready")
    serve.add_argument("--nodes", type=int, default=3)
    serve.add_argument("--guests", type=int, default=40)
    serve.add_argument("--port", type=int, default=8006, help="0 takes any free one")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--speed", type=float, default=1.0, help="simulated seconds per real second")
    serve.add_argument("--latency-ms", type=float, default=0.0, help="each answer waits this long after its effect has happened")
    serve.add_argument("--seed", type=int)
    serve.add_argument("--request-log", type=Path, help="JSON lines: each request when received and when answered")
    serve.add_argument("--state-dir", type=Path, help="keeps certificate authority and secrets from start to start")
    serve.add_argument("--ha-guests", type=int, default=0, help="how many guests high availability manages")
    serve.add_argument("--inventory", type=Path, help="JSON description of the cluster to simulate")
    serve.add_argument("--seed-file", type=Path, help="a seed of `pveops twin look`: the cluster that it saw")
    serve.add_argument("--start-s", type=float, help="simulated time at the start, seconds since the epoch")
    serve.add_argument("--scenario", type=Path, help="TOML file: which faults begin when")
    serve.add_argument("--per-node", action="store_true", help="each node gets an address of its own too, which closes when it is away")
    serve.add_argument(
        "--metrics-port", type=int, help="plain HTTP for Prometheus: /metrics, /pve, /node/NAME/metrics, /sd; 0 takes any free one"
    )
    serve.add_argument(
        "--syslog", action="append", default=[], help="udp://HOST:PORT or tcp://HOST:PORT gets log lines (RFC 5424); may be repeated"
    )
    serve.add_argument("--log-file", type=Path, help="JSON lines: log lines of all nodes")
    serve.add_argument("--elasticsearch", default="", help="http://HOST:PORT gets log lines through its bulk interface")
    serve.add_argument("--index", default=DEFAULT_INDEX, help="index or data stream there")
    serve.add_argument("--elasticsearch-auth", type=Path, help="file with USER:PASSWORD, or with 'ApiKey KEY'")
    fill = commands.add_parser("backfill", help="write metrics and log lines of past weeks into files")
    fill.add_argument("--out", type=Path, required=True, help="folder for the files, some per day")
    fill.add_argument("--days", type=float, default=30.0)
    fill.add_argument("--step-s", type=int, default=300, help="seconds between two samples")
    fill.add_argument("--end-s", type=float, help="the last moment, seconds since the epoch; now when not given")
    fill.add_argument("--nodes", type=int, default=3)
    fill.add_argument("--guests", type=int, default=40)
    fill.add_argument("--seed", type=int)
    fill.add_argument("--ha-guests", type=int, default=0)
    fill.add_argument("--inventory", type=Path, help="JSON description of the cluster")
    fill.add_argument("--all-cpus", action="store_true", help="seconds of each CPU of a node, not only of the first")
    fill.add_argument("--bulk", action="store_true", help="write bulk requests for Elasticsearch too")
    fill.add_argument("--index", default=DEFAULT_INDEX, help="index or data stream in them")
    serve.add_argument("--pve", default="9.2", help="version of Proxmox VE: 9.2 or 8.4")
    commands.add_parser("coverage", help="how many methods of the API are simulated")
    return parser


def main() -> int:
    """Run the command; the exit code is that of the error."""
    given = vars(_parser().parse_args())
    command = given.pop("command")
    if command == "backfill":
        from pveops.sim.backfill import BackfillOptions  # noqa: PLC0415 - each command imports what it needs
        from pveops.sim.backfill import run as fill  # noqa: PLC0415 - as above

        return fill(BackfillOptions(**{name: value for name, value in given.items() if value is not None}))
    if command == "coverage":
        from pveops.sim.contract import coverage  # noqa: PLC0415 - each command imports what it needs

        counts = coverage()
        sys.stdout.write(
            f"{counts.answered} of {counts.total} methods: {counts.behaves} behave, {counts.reads} read, {counts.refused} are refused\n"
        )
        for area, kinds in sorted(counts.areas.items()):
            answered = kinds.get("behaves", 0) + kinds.get("reads", 0)
            sys.stdout.write(
                f"  {area:<8} {answered} of {sum(kinds.values())}: {kinds.get('behaves', 0)} behave, {kinds.get('reads', 0)} read\n"
            )
        return 0
    from pveops.sim.serve import ServeOptions, run  # noqa: PLC0415 - as above
    from pveops.sim.telemetry.emission import Sinks  # noqa: PLC0415 - as above

    sinks = Sinks(
        syslog=given.pop("syslog"),
        file=given.pop("log_file"),
        elasticsearch=given.pop("elasticsearch"),
        index=given.pop("index"),
        authorization=given.pop("elasticsearch_auth"),
    )
    return run(ServeOptions(**{name: value for name, value in given.items() if value is not None}, sinks=sinks))


if __name__ == "__main__":
    sys.exit(main())
