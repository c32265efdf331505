"""``python -m pveops.sim serve``: the simulated cluster without the rest of pveops."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


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
    serve.add_argument("--start-s", type=float, help="simulated time at the start, seconds since the epoch")
    serve.add_argument("--scenario", type=Path, help="TOML file: which faults begin when")
    commands.add_parser("coverage", help="how many methods of the API are simulated")
    return parser


def main() -> int:
    """Run the command; the exit code is that of the error."""
    given = vars(_parser().parse_args())
    if given.pop("command") == "coverage":
        from pveops.sim.contract import coverage  # noqa: PLC0415 - each command imports what it needs

        counts = coverage()
        sys.stdout.write(
            f"{counts.answered} of {counts.total} methods: {counts.behaves} behave, {counts.reads} read, {counts.refused} are refused\n"
        )
        return 0
    from pveops.sim.serve import ServeOptions, run  # noqa: PLC0415 - as above

    return run(ServeOptions(**{name: value for name, value in given.items() if value is not None}))


if __name__ == "__main__":
    sys.exit(main())
