"""The simulated cluster at its largest, measured beside a bare ASGI application that answers the same bytes over the same TLS, in one run.

Each server is a process of its own; the client is another. Wall times are what the client waits, CPU is what the server spends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

LIMITS = {"start_s": 3.0, "rss_mib": 400.0, "resources_ms": 60.0, "configs_per_s": 1000.0}
ROUNDS = 15
BARE = """
import os, sys, uvicorn
body = open(sys.argv[1], "rb").read()
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})
class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        open(sys.argv[2], "w").write(str(self.servers[0].sockets[0].getsockname()[1]))
uvicorn_config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off", ssl_certfile=sys.argv[3], ssl_keyfile=sys.argv[4])
Server(uvicorn_config).run()
"""


class Server:
    """A process, what it uses, and its end."""

    def __init__(self, *command):
        self.started_s = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def wait_for(self, file):
        while not file.exists():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.process.args} ended with {self.process.returncode}")
            time.sleep(0.005)
        return time.perf_counter() - self.started_s

    def memory_mib(self, field="VmRSS"):
        rows = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith(field)) / 1024

    def cpu_s(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)


class Client:
    """Asks a server over kept connections."""

    def __init__(self, url, ca, headers=None):
        self._url = url
        context = ssl.create_default_context(cafile=ca)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=64), headers=headers, trust_env=False)

    async def get(self, path):
        async with self._session.get(self._url + path) as answer:
            body = await answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {body[:200]}")
            return body

    async def post(self, url, body):
        async with self._session.post(url, json=body) as answer:
            await answer.read()

    async def close(self):
        await self._session.close()


def row(name, value, unit, limit=None, *, atleast=False, note=""):
    verdict = (
        ""
        if limit is None
        else f"{'>=' if atleast else '<'} {limit:g}: {'yes' if (value >= limit if atleast else value < limit) else 'NO'}"
    )
    print(f"  {name:<58} {value:9.1f} {unit:<5} {verdict:<14} {note}")


def spread(seconds):
    ms = sorted(second * 1000 for second in seconds)
    return f"(min {ms[0]:.1f}, max {ms[-1]:.1f}, n {len(ms)})"


async def timed(server, work, rounds=ROUNDS, before=None):
    """Milliseconds of each round, and milliseconds of CPU per round; the first round is a warm-up."""
    seconds, cpu_s = [], 0.0
    for number in range(rounds + 1):
        if before is not None:
            await before()
        spent_s, began = server.cpu_s(), time.perf_counter()
        await work()
        if number:
            seconds.append(time.perf_counter() - began)
            cpu_s += server.cpu_s() - spent_s
    return seconds, cpu_s / rounds * 1000


async def rate(server, work, paths, workers=16, most_s=4.0):
    """Answers per second of some workers that ask without pause, and milliseconds of CPU per answer."""
    done, spent_s, began = 0, server.cpu_s(), time.perf_counter()

    async def one(number):
        nonlocal done
        while time.perf_counter() < began + most_s:
            await work(paths[(number + done) % len(paths)])
            done += 1

    await asyncio.gather(*(one(number * 997) for number in range(workers)))
    return done / (time.perf_counter() - began), (server.cpu_s() - spent_s) / done * 1000


def bare(folder, body):
    """A process that answers these bytes, and its address."""
    (folder / "bare.py").write_text(BARE)
    (folder / "body").write_bytes(body)
    port, state = folder / "port", folder / "state"
    port.unlink(missing_ok=True)
    server = Server(
        sys.executable, *(str(folder / name) for name in ("bare.py", "body", "port")), str(state / "server.pem"), str(state / "server.key")
    )
    server.wait_for(port)
    return server, f"https://127.0.0.1:{port.read_text()}"


async def measure_resources(folder, sim, client, advance):
    body = await client.get("/api2/json/cluster/resources")
    server, url = bare(folder, body)
    other = Client(url, folder / "state" / "ca.pem")
    print(f"/cluster/resources ({len(body) / 1e6:.1f} MB):")
    seconds, cpu_ms = await timed(server, lambda: other.get("/"))
    floor = statistics.median(seconds)
    row("bare ASGI (uvicorn), the same bytes", floor * 1000, "ms", note=f"CPU {cpu_ms:.1f} ms {spread(seconds)}")
    for name, before in (("again, within one broadcast", None), ("first after each broadcast", advance)):
        seconds, cpu_ms = await timed(sim, lambda: client.get("/api2/json/cluster/resources"), before=before)
        median = statistics.median(seconds)
        note = f"CPU {cpu_ms:.1f} ms, {median / floor:.1f}x {spread(seconds)}"
        row(name, median * 1000, "ms", LIMITS["resources_ms"], note=note)
    await other.close()
    server.stop()
    return json.loads(body)["data"]


async def measure_configs(folder, sim, client, rows):
    paths = [f"/api2/json/nodes/{one['node']}/{one['id']}/config" for one in rows if one["type"] in ("qemu", "lxc")]
    server, url = bare(folder, await client.get(paths[0]))
    other = Client(url, folder / "state" / "ca.pem")
    print("Configurations of guests, 16 connections:")
    plain, plain_ms = await rate(server, other.get, paths)
    per_s, cpu_ms = await rate(sim, client.get, paths)
    row("bare ASGI (uvicorn), the same bytes", plain, "/s", note=f"CPU {plain_ms:.2f} ms each")
    note = f"CPU {cpu_ms:.2f} ms each, {per_s / plain:.2f} of the bare one"
    row("simulated cluster", per_s, "/s", LIMITS["configs_per_s"], atleast=True, note=note)
    await other.close()
    server.stop()


async def measure(folder, nodes, guests):
    print(f"Simulated cluster, {nodes} nodes, {guests:,} guests; client and server share {os.cpu_count()} cores; medians.")
    info = folder / "info.json"
    command = (
        sys.executable,
        "-m",
        "pveops.sim",
        "serve",
        "--nodes",
        str(nodes),
        "--guests",
        str(guests),
        "--port",
        "0",
        "--metrics-port",
        "0",
    )
    sim = Server(*command, "--info", str(info), "--state-dir", str(folder / "state"))
    row("start, until the first request can be made", sim.wait_for(info), "s", LIMITS["start_s"], note=f"CPU {sim.cpu_s():.1f} s")
    facts = json.loads(info.read_text())
    client = Client(facts["url"], facts["ca"], {"Authorization": f"PVEAPIToken={facts['tokens']['admin']}"})
    scraper = Client(facts["metrics"], facts["ca"])

    async def advance():
        await client.post(f"{facts['control']}/advance", {"seconds": 10})

    try:
        rows = await measure_resources(folder, sim, client, advance)
        await measure_configs(folder, sim, client, rows)
        row("memory of the process now", sim.memory_mib(), "MiB", LIMITS["rss_mib"])
        print("Scraping:")
        for path in ("/pve", "/node/pve1/metrics", "/metrics"):
            size = len(await scraper.get(path))
            seconds, cpu_ms = await timed(sim, lambda path=path: scraper.get(path), rounds=3, before=advance)
            row(f"{path} ({size / 1e6:.1f} MB)", statistics.median(seconds) * 1000, "ms", note=f"CPU {cpu_ms:.1f} ms {spread(seconds)}")
        row("memory of the process at most", sim.memory_mib("VmHWM"), "MiB", LIMITS["rss_mib"])
    finally:
        await scraper.close()
        await client.close()
        sim.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--guests", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pvb") as folder:
        asyncio.run(measure(Path(folder), given.nodes, given.guests))


if __name__ == "__main__":
    main()
