"""A day in half a minute: 3,000 guests at speed 3600 under light polling. Memory stays flat; API, round-robin data and telemetry do not drift."""

import itertools
import json
import statistics
import time
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

SPEED, DAY_S, NODES = 3600, 86_400, 30
WARM_S, EARLY_S, SOAK_S, PAUSE_S = 6.0, 4.0, 24.0, 0.25
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def sim(start_sim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak")
    running = start_sim(
        folder, "--nodes", str(NODES), "--guests", "3000", "--speed", str(SPEED), "--metrics-port", "0", "--log-file", str(folder / "logs")
    )
    running.logs = folder / "logs"
    yield running
    running.stop()


def resident_mib(pid):
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024


class Poller:
    """Somebody who looks at the cluster now and then."""

    def __init__(self, sim):
        self._sim = sim
        self._api, self._web = requests.Session(), requests.Session()
        self._api.headers["Authorization"] = f"PVEAPIToken={sim.info['tokens']['admin']}"
        self._web.trust_env = False

    def data(self, path):
        answer = self._api.get(f"{self._sim.info['url']}/api2/json{path}", verify=self._sim.info["ca"], timeout=30)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.reason}"
        return answer.json()["data"]

    def page(self, path):
        answer = self._web.get(f"{self._sim.info['metrics']}{path}", timeout=30)
        assert answer.status_code == 200, path
        return answer.text

    def told(self, path):
        families = text_string_to_metric_families(self.page(path))
        return {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}

    def resources(self):
        return {row["id"]: row for row in self.data("/cluster/resources")}


def poll(poller, pid, seconds, looks=0):
    """Look for a while, and at least so often; resident memory at each look."""
    found, until = [], time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() > until and number >= looks:
            return found
        poller.data("/cluster/resources")
        node = f"pve{number % NODES + 1}"
        poller.data(f"/nodes/{node}/status")
        poller.data(f"/nodes/{node}/rrddata?timeframe=hour")
        poller.data(f"/nodes/{node}/tasks")
        if number % 4 == 0:
            poller.page(f"/node/{node}/metrics")
            poller.data("/cluster/tasks")
        if number % 12 == 0:
            poller.page("/pve")
        found.append(resident_mib(pid))
        time.sleep(PAUSE_S)
    raise AssertionError


def node_marks(poller):
    """What the exporters of some nodes count, with the clock of each."""
    marks = {}
    for name in ("pve1", "pve7", "pve30"):
        told = poller.told(f"/node/{name}/metrics")
        cpu = {mode: told["node_cpu_seconds_total", ("cpu", "0"), ("mode", mode)] for mode in ("idle", "iowait")}
        received = told["node_network_receive_bytes_total", ("device", "bond0")]
        marks[name] = (told["node_time_seconds",], sum(cpu.values()), received)
    return marks


def total_of(rows, key, since_s, until_s):
    """What round-robin data add up to between two moments; a row stands for the minute before it."""
    return sum(row[key] * max(min(row["time"], until_s) - max(row["time"] - 60, since_s), 0) for row in rows if key in row)


def test_a_day(sim):
    poller = Poller(sim)
    poll(poller, sim.info["pid"], WARM_S, looks=2 * NODES)  # what is made at the first look at a node is made, on a slow machine too
    boot_s = poller.told("/node/pve1/metrics")["node_boot_time_seconds",]

    def seen():
        """The view of the cluster with its moment: that of its broadcast."""
        rows = poller.resources()
        return boot_s + rows["node/pve1"]["uptime"], rows

    walls = [time.monotonic()]
    began_s = poller.data("/nodes/pve1/time")["time"]
    walls.append(time.monotonic())
    memory, marks, views = [], [], []
    while time.monotonic() - walls[0] < SOAK_S:
        marks.append(node_marks(poller))
        views.append(seen())
        memory += poll(poller, sim.info["pid"], EARLY_S)
    walls.append(time.monotonic())
    passed_s = poller.data("/nodes/pve1/time")["time"] - began_s
    walls.append(time.monotonic())
    assert (walls[2] - walls[1]) * SPEED - 1 <= passed_s <= (walls[3] - walls[0]) * SPEED + 1
    assert passed_s >= DAY_S * 0.95

    third = len(memory) // 3
    before, after = statistics.median(memory[:third]), statistics.median(memory[-third:])
    print(f"\n{passed_s / 3600:.1f} hours, {len(memory)} looks, resident {before:.1f} MiB in the first third, {after:.1f} MiB in the last")
    assert abs(after - before) / before < 0.05
    assert after < 400

    # telemetry of nodes against round-robin data of the same span
    for name in marks[0]:
        told = node_marks(poller)[name]
        rows = poller.data(f"/nodes/{name}/rrddata?timeframe=day")
        until_s = told[0]
        # round-robin data reach back for a day: on a slow machine the first marks are older than that
        since_s, idle_s, received = next(mark[name] for mark in marks if mark[name][0] >= rows[0]["time"])
        assert total_of(rows, "netin", since_s, until_s) == pytest.approx(told[2] - received, rel=0.01), name
        busy = 1 - (told[1] - idle_s) / (until_s - since_s)
        assert total_of(rows, "cpu", since_s, until_s) / (until_s - since_s) == pytest.approx(busy, rel=0.01), name

    # telemetry of the cluster between two looks at the resources
    earlier, told, later = poller.resources(), poller.told("/pve"), poller.resources()
    compared = 0
    for ident, row in earlier.items():
        if row["type"] in ("qemu", "lxc") and row["status"] == later[ident]["status"] == "running":
            for key, name in (
                ("uptime", "pve_uptime_seconds"),
                ("netin", "pve_network_receive_bytes_total"),
                ("diskread", "pve_disk_read_bytes_total"),
            ):
                assert row[key] <= told[name, ("id", ident)] <= later[ident][key], (ident, key)
                compared += 1
            lasted_s = later[ident]["uptime"] - views[0][1][ident]["uptime"]
            assert lasted_s == pytest.approx(later["node/pve1"]["uptime"] - views[0][1]["node/pve1"]["uptime"], abs=10)
    assert compared > 3 * 2500

    # guests through the day: counters of the view of the cluster against round-robin data
    until_s, compared = boot_s + later["node/pve1"]["uptime"], 0
    for ident in sorted(later)[:400:20]:
        row = later[ident]
        if row.get("type") not in ("qemu", "lxc") or row["status"] != "running":
            continue
        rows = poller.data(f"/nodes/{row['node']}/{ident}/rrddata?timeframe=day")
        since_s, first = next(((moment_s, view[ident]) for moment_s, view in views if moment_s >= rows[0]["time"]), (until_s, row))
        if until_s - since_s > 7200:
            assert row["netin"] - first["netin"] == pytest.approx(total_of(rows, "netin", since_s, until_s), rel=0.02), ident
            compared += 1
    assert compared > 5

    lines = [json.loads(line) for line in sim.logs.read_text().splitlines()]
    assert len(lines) > 30 * 2880 * 0.9
    assert [line["@timestamp"] for line in lines[-2000:]] == sorted(line["@timestamp"] for line in lines[-2000:])
