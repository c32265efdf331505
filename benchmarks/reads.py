"""Reading, measured beside a plain proxmoxer loop and a bare HTTPS request on the same simulated cluster, in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import requests
from proxmoxer import ProxmoxAPI

from pveops.testing.stack import Stack

ROUNDS = 7
NODES, GUESTS = 100, 10_000


def timed(work, rounds=ROUNDS):
    """Seconds of each round; the first is a warm-up and not counted."""
    seconds = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def row(name, seconds, beside=None):
    median = statistics.median(seconds)
    ratio = f"{median / statistics.median(beside):6.2f}x" if beside else "       "
    print(
        f"  {name:<58} {median * 1000:9.1f} ms  {ratio}  (min {min(seconds) * 1000:.1f}, max {max(seconds) * 1000:.1f}, n {len(seconds)})"
    )


def main():
    with tempfile.TemporaryDirectory(prefix="pvb") as folder, Stack(Path(folder), nodes=NODES, guests=GUESTS, speed=1) as stack:
        url, ca = stack.info["url"], stack.info["ca"]
        who, _, value = stack.info["tokens"]["reader"].partition("=")
        user, _, name = who.partition("!")
        bare = requests.Session()
        bare.headers["Authorization"] = f"PVEAPIToken={who}={value}"
        rival = ProxmoxAPI(url.removeprefix("https://"), user=user, token_name=name, token_value=value, verify_ssl=ca)
        ops = stack.ops()
        print(f"Simulated cluster, {NODES} nodes, {GUESTS} guests; medians; the ratio is against the line above it in the same group.")
        print("All guests as a table:")
        floor = timed(lambda: orjson.loads(bare.get(f"{url}/api2/json/cluster/resources?type=vm", verify=ca, timeout=30).content))
        row("bare HTTPS GET and orjson (no table)", floor)
        row("ops.guests(): a DataFrame with units and completeness", timed(ops.guests), floor)
        loop = timed(
            lambda: [vm for node in rival.nodes.get() for kind in ("qemu", "lxc") for vm in getattr(rival.nodes(node["node"]), kind).get()]
        )
        row("proxmoxer, node by node (no table)", loop, floor)
        print("From a confirmed click to the request at the cluster:")
        client = stack.client()
        waits = []
        for number in range(ROUNDS):
            view = client.propose(
                ops.draft("guest.snapshot", guest="101", name=f"bench-{number}").plan, author="person", origin=ops.executors.origin
            )
            sent, started = len(stack.writes()), time.perf_counter()
            client.approve(view, channel="cli")
            while len(stack.writes()) == sent:
                time.sleep(0.001)
            waits.append(time.perf_counter() - started)
            ops.proposal(view.proposal.id).wait(30)
        row("approval sent to POST received", waits)
        print("Starting:")
        started = timed(lambda: subprocess.run([sys.executable, "-c", "import pveops"], check=True), 5)
        row("python -c 'import pveops'", started)
        row("python -c 'pass'", timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 5), started)


if __name__ == "__main__":
    main()
