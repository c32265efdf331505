"""Full detail of 10,000 guests on 100 nodes, beside a proxmoxer loop, Ansible's inventory, the Prometheus exporter and wrk; and what watching costs at rest.

Rivals ask guest by guest, so their time grows by the guest. The proxmoxer loop is timed on a sample of the guests; the programs run on two small clusters, and the
slope is their time per guest. What each needs for all guests is extrapolated from that, without what it needs before the first guest. Ours and theirs take
turns, and processor time stands beside wall time: machines are noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import hashlib
import os
import pstats
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import aiohttp
import orjson
import requests
from proxmoxer import ProxmoxAPI

from pveops.base.secret import Secret
from pveops.clients.cluster.crowd import Ask, Crowd
from pveops.testing.ports import free_port
from pveops.testing.stack import Stack

NODES, GUESTS, SMALL, LARGER, SAMPLE, AT_ONCE = 100, 10_000, 60, 240, 250, 32
FOREIGN = Path(__file__).parents[1] / "tests/contract/sim/foreign.txt"
LUA = """
local paths, number = {}, 0
for line in io.lines("%s") do paths[#paths + 1] = line end
request = function()
  number = number %% #paths + 1
  return wrk.format("GET", "/api2/json" .. paths[number], {["Authorization"] = "PVEAPIToken=%s"})
end
"""


def cpu_s(pid="self"):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12]) + int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def row(name, value, unit, limit="", note=""):
    print(f"  {name:<62} {value:10.1f} {unit:<9} {limit:<22} {note}", flush=True)


def verdict(value, limit, *, atleast=False):
    return f"{'at least' if atleast else 'below'} {limit:g}: {'yes' if (value >= limit if atleast else value < limit) else 'NO'}"


def stack_of(folder, guests, latency_ms, nodes=NODES):
    made = Stack(Path(tempfile.mkdtemp(dir=folder)), nodes=nodes, guests=guests, speed=1, latency_ms=latency_ms)
    made.start_sim()
    return made


def paths_of(stack):
    ops = stack.ops()
    found = [f"{guest.ref.path}/config" for guest in ops.reader.guests().rows]
    ops.close()
    return found


def read_all(stack):
    """Wall and processor seconds of a first look with every configuration, stored."""
    for end in ("", "-wal", "-shm"):
        (stack.home.root / f"inventory.db{end}").unlink(missing_ok=True)
    ops = stack.ops()
    began, spent = time.perf_counter(), cpu_s()
    frame = ops.sync("config", full=True)
    taken = time.perf_counter() - began, cpu_s() - spent
    known = frame.set_index("what").loc["config"]
    assert frame.attrs["complete"], frame.attrs["gaps"]
    assert known["read"] == known["known"] == ops.as_of(what="config")["vmid"].nunique()
    ops.close()
    return taken


def loop(stack, guests):
    """A plain proxmoxer loop over some guests; wall and processor seconds per guest."""
    who, _, value = stack.info["tokens"]["reader"].partition("=")
    user, _, name = who.partition("!")
    api = ProxmoxAPI(stack.info["url"].removeprefix("https://"), user=user, token_name=name, token_value=value, verify_ssl=stack.info["ca"])
    api.version.get()
    began, spent = time.perf_counter(), cpu_s()
    for guest in guests:
        getattr(api.nodes(guest.node), guest.kind)(guest.vmid).config.get()
    return (time.perf_counter() - began) / len(guests), (cpu_s() - spent) / len(guests)


def environment(stack, folder):
    kept = {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "NO_PROXY": "*",
        "no_proxy": "*",
        "ANSIBLE_HOME": str(folder / "ansible"),
    }
    return kept | {"REQUESTS_CA_BUNDLE": stack.info["ca"], "SSL_CERT_FILE": stack.info["ca"]}


def ansible(stack, programs):
    folder = stack.root
    who, _, value = stack.info["tokens"]["reader"].partition("=")
    user, _, name = who.partition("!")
    lines = [
        "plugin: community.proxmox.proxmox",
        f"url: {stack.info['url']}",
        f"user: {user}",
        f"token_id: {name}",
        f"token_secret: {value}",
    ]
    (folder / "sim.proxmox.yml").write_text("\n".join([*lines, "validate_certs: true", "want_facts: true", ""]))
    command = [str(programs / "ansible-inventory"), "-i", str(folder / "sim.proxmox.yml"), "--list"]
    ran = subprocess.run(command, env=environment(stack, folder), cwd=folder, capture_output=True, check=False, timeout=900)
    assert ran.returncode == 0, ran.stderr[-2000:]


def exporter(stack, programs):
    folder = stack.root
    who, _, value = stack.info["tokens"]["reader"].partition("=")
    user, _, name = who.partition("!")
    (folder / "pve.yml").write_text(
        f"default:\n  user: {user}\n  token_name: {name}\n  token_value: {value}\n  verify_ssl: {stack.info['ca']}\n"
    )
    port = free_port()
    command = [str(programs / "pve_exporter"), "--config.file", str(folder / "pve.yml"), "--web.listen-address", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [*command, "--collector.config"], env=environment(stack, folder), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        with requests.Session() as session:
            session.trust_env = False
            while True:
                try:
                    session.get(f"http://127.0.0.1:{port}/", timeout=5)
                    break
                except requests.ConnectionError:
                    assert process.poll() is None, "the exporter ended"
                    time.sleep(0.2)
            began = time.perf_counter()
            query = {"target": stack.info["url"].removeprefix("https://"), "cluster": 0, "node": 1}
            answer = session.get(f"http://127.0.0.1:{port}/pve", params=query, timeout=900)
            assert answer.status_code == 200, answer.text[-500:]
            return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(timeout=15)


def per_guest(small, larger, work):
    """Seconds per guest whose configuration was read: the slope between two clusters of as many nodes."""
    points = []
    for stack in (small, larger):
        before, began = len(stack.requests()), time.perf_counter()
        told = work(stack)
        seconds = told if isinstance(told, float) else time.perf_counter() - began
        guests = {request["path"] for request in stack.requests()[before:] if request["path"].endswith("/config")}
        points.append((len(guests), seconds))
    (first, early), (second, late) = points
    assert second - first > (LARGER - SMALL) / 2, points
    return (late - early) / (second - first)


def rivals(folder, big, latency_ms):
    print(f"Full detail of {GUESTS} guests on {NODES} nodes, every answer {latency_ms:g} ms late:", flush=True)
    ops = big.ops()
    guests = ops.reader.guests().rows
    ops.close()
    read_all(big)  # once, so that neither imports nor the simulation's first answers count
    ours, loops = [], []
    for turn in range(2):
        loops.append(loop(big, guests[turn * SAMPLE : (turn + 1) * SAMPLE]))
        ours.append(read_all(big))
    loops.append(loop(big, guests[2 * SAMPLE : 3 * SAMPLE]))
    wall, spent = (sum(column) / len(ours) for column in zip(*ours, strict=True))
    told = ", ".join(f"{one:.1f}" for one, _ in ours)
    row("pveops: ops.sync('config', full=True), all of it, stored", wall, "s", note=f"({told}); {spent:.1f} s of processor time")

    def tell(name, each, note):
        ratio = each * GUESTS / wall
        limit = verdict(ratio, 8, atleast=True) if latency_ms else ""
        row(f"{name}, extrapolated", each * GUESTS, "s", limit, f"{ratio:.1f}x; {each * 1000:.1f} ms a guest, {note}")

    each, busy = (sum(column) / len(loops) for column in zip(*loops, strict=True))
    tell("a plain proxmoxer loop", each, f"measured on {3 * SAMPLE}; {busy * GUESTS:.1f} s of processor time")
    stamp = hashlib.sha256(FOREIGN.read_bytes() + sys.version.encode()).hexdigest()[:12]
    programs = Path(os.environ.get("PVEOPS_FOREIGN") or Path.home() / ".cache" / "pveops-foreign") / stamp / "bin"
    if not (programs.parent / "complete").exists():
        print("  Ansible and the exporter are not here: tests/contract/sim/test_foreign.py installs them.")
        return
    # the exporter reads the configurations of the node that it asks: a cluster of one node shows its time per guest
    for name, work, nodes in (
        ("Ansible's inventory (community.proxmox, want_facts)", ansible, NODES),
        ("prometheus-pve-exporter with --collector.config", exporter, 1),
    ):
        small, larger = (stack_of(folder, number, latency_ms, nodes) for number in (SMALL, LARGER))
        tell(name, per_guest(small, larger, lambda stack, work=work: work(stack, programs)), f"the slope from {SMALL} to {LARGER}")
        small.close()
        larger.close()


def floor(stack, paths):
    """The same GETs by bare aiohttp, decoded and dropped."""
    context = ssl.create_default_context(cafile=stack.info["ca"])
    headers = {"Authorization": f"PVEAPIToken={stack.info['tokens']['reader']}"}

    async def main():
        todo = iter(paths)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0), headers=headers) as session:

            async def one():
                for path in todo:
                    async with session.get(f"{stack.info['url']}/api2/json{path}") as answer:
                        orjson.loads(await answer.read())

            await asyncio.gather(*(one() for _ in range(AT_ONCE)))

    asyncio.run(main())


def crowd(stack, paths):
    made = Crowd(stack.ops().reader.wire.endpoints, lambda: Secret(stack.info["tokens"]["reader"]))
    got = sum(len(batch) for batch in made.each([Ask(path, path, path.split("/")[2]) for path in paths], deadline_s=300))
    assert got == len(paths)
    made.close()


def beside_wrk(stack, folder):
    print(f"The same paths, {AT_ONCE} at once, beside a load generator in C:", flush=True)
    program = shutil.which("wrk")
    paths = paths_of(stack)
    pid, rates = stack.sim.pid, {}
    if program:
        (folder / "paths").write_text("\n".join(paths))
        (folder / "wrk.lua").write_text(LUA % (folder / "paths", stack.info["tokens"]["reader"]))
        command = [program, "-t1", f"-c{AT_ONCE}", "-d6s", "-s", str(folder / "wrk.lua"), stack.info["url"]]
        for _ in range(2):  # before and after: what else runs on this machine meets both
            spent = cpu_s(pid)
            ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
            assert "Non-2xx" not in ran, ran
            rate = float(ran.partition("Requests/sec:")[2].split()[0])
            rates.setdefault("wrk", []).append((rate, 0.0, (cpu_s(pid) - spent) / (rate * 6)))
            if len(rates["wrk"]) == 1:
                measure(stack, paths, rates)
    else:
        print("  wrk is not installed (Debian: apt install wrk).")
        measure(stack, paths, rates)
    means = {name: [sum(column) / len(rows) for column in zip(*rows, strict=True)] for name, rows in rates.items()}
    for name, (rate, mine, theirs) in means.items():
        ratio = rate / means["wrk"][0] if "wrk" in means else 0.0
        limit = verdict(ratio, 0.5, atleast=True) if name.startswith("pveops") else ""
        row(
            name,
            rate,
            "/s",
            limit,
            f"{ratio:.2f} of wrk; processor: {mine * 1000:.2f} ms a request here, {theirs * 1000:.2f} in the server",
        )
    profile(stack, paths[:3000])


def measure(stack, paths, rates):
    pid = stack.sim.pid
    for name, work in (
        ("bare aiohttp, decoded and dropped", floor),
        ("pveops: the crowd, decoded", crowd),
        ("pveops: the whole look, stored", None),
    ):
        began, mine, theirs = time.perf_counter(), cpu_s(), cpu_s(pid)
        if work is None:
            ops = stack.ops()
            for end in ("", "-wal", "-shm"):
                (stack.home.root / f"inventory.db{end}").unlink(missing_ok=True)
            ops.sync("config", full=True)
            ops.close()
        else:
            work(stack, paths)
        wall, number = time.perf_counter() - began, len(paths)
        rates.setdefault(name, []).append((number / wall, (cpu_s() - mine) / number, (cpu_s(pid) - theirs) / number))


def profile(stack, paths):
    """Where the crowd's processor time goes, by package."""
    found = cProfile.Profile()
    made = Crowd(stack.ops().reader.wire.endpoints, lambda: Secret(stack.info["tokens"]["reader"]))
    list(made.each([Ask(0, "/version", "x")], deadline_s=10))
    loop = made._state.loop  # noqa: SLF001 - the profiler must be switched on where the requests are made
    loop.call_soon_threadsafe(found.enable)
    list(made.each([Ask(path, path, path.split("/")[2]) for path in paths], deadline_s=300))
    loop.call_soon_threadsafe(found.disable)
    time.sleep(0.2)
    made.close()
    shares = Counter()
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(found).stats.items():
        where = next((word for word in ("aiohttp", "pveops", "asyncio", "yarl", "multidict", "ssl.py", "selectors") if word in file), "")
        if not where:
            where = (
                "waiting"
                if "poll" in name
                else "ssl (C)"
                if "SSL" in name or "MemoryBIO" in name
                else "sockets (C)"
                if "socket" in name
                else "other"
            )
        shares[where] += own
    waiting = shares.pop("waiting", 0.0)
    total = sum(shares.values())
    parts = ", ".join(f"{name} {share / total:.0%}" for name, share in shares.most_common(8))
    print(f"  profile of the crowd's loop: {parts}; it waited {waiting / (waiting + total):.0%} of the time")


def at_rest(folder, seconds):
    """A process that looks every ten seconds, after its first look."""
    print(f"Watching {GUESTS} guests on {NODES} nodes every 10 s, for {seconds:.0f} s after the first look:", flush=True)
    stack = stack_of(folder, GUESTS, 0)
    command = [sys.executable, "-m", "pveops", "inventory", "sync", "--every", "10s"]
    process = subprocess.Popen(command, env=stack.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while b"changed:" not in (line := process.stderr.readline()):
        assert line, "it ended"
    time.sleep(5)

    def written():
        lines = Path(f"/proc/{process.pid}/io").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])

    began, spent, before, first = time.perf_counter(), cpu_s(process.pid), written(), len(stack.requests())
    time.sleep(seconds)
    wall = time.perf_counter() - began
    share, wrote = (cpu_s(process.pid) - spent) / wall, written() - before
    rows = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    rss = next(int(line.split()[1]) for line in rows if line.startswith("VmRSS")) / 1024
    peak = next(int(line.split()[1]) for line in rows if line.startswith("VmHWM")) / 1024
    asked = stack.requests()[first:]
    process.terminate()
    process.wait(timeout=60)
    worst = Counter(request["path"].split("/")[2] if request["path"].startswith("/nodes/") else "the cluster" for request in asked)
    whole = worst.pop("the cluster", 0)
    most = max(busiest(asked, node) for node in worst) if worst else 0
    row("processor", share * 100, "%", note="of one core")
    row("memory (RSS)", rss, "MiB", verdict(rss, 350), f"at most {peak:.0f} MiB, during the first look")
    row(
        "requests in the busiest minute of any node",
        most,
        "",
        verdict(most, 60 + 1),
        f"on average {sum(worst.values()) / NODES / wall * 60:.1f} a minute",
    )
    row("requests for lists of the whole cluster", whole / wall * 60, "/min")
    row(
        "bytes written",
        wrote / wall * 86_400 / 1e6,
        "MB/day",
        verdict(wrote / wall * 86_400 / 1e6, 200),
        f"{wrote / 1e6:.2f} MB in {wall:.0f} s",
    )
    stack.close()


def busiest(asked, node):
    times = [datetime.fromisoformat(request["t"]).timestamp() for request in asked if request["path"].startswith(f"/nodes/{node}/")]
    return max((sum(start <= at < start + 60 for at in times) for start in times), default=0)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--part", choices=("rivals", "wrk", "rest"), help="only one part")
    options.add_argument("--seconds", type=float, default=120.0, help="how long the part at rest takes")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="pvb") as name:
        folder = Path(name)
        for latency_ms in (20, 0):
            if chosen.part in (None, "rivals") or (chosen.part == "wrk" and not latency_ms):
                big = stack_of(folder, GUESTS, latency_ms)
                if chosen.part != "wrk":
                    rivals(folder, big, latency_ms)
                if chosen.part != "rivals" and not latency_ms:
                    beside_wrk(big, folder)
                big.close()
        if chosen.part in (None, "rest"):
            at_rest(folder, chosen.seconds)


if __name__ == "__main__":
    main()
