"""The past in a real Prometheus: written as files, loaded by promtool, compared with the round-robin data of a cluster that starts there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
END_S = 1_795_230_000  # 2026-11-21 03:00 UTC
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def loaded(tmp_path, program, start_prometheus, start_sim):
    """Makes a Prometheus that holds the past, and the cluster whose past it is."""
    running = []

    def make(*arguments, guests):
        promtool = program("promtool")
        command = [
            sys.executable,
            "-m",
            "pveops.sim",
            "backfill",
            "--out",
            str(tmp_path / "past"),
            "--end-s",
            str(END_S),
            "--guests",
            str(guests),
        ]
        subprocess.run([*command, *arguments], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
        for file in sorted((tmp_path / "past").glob("metrics-*.om")):
            subprocess.run(
                [promtool, "tsdb", "create-blocks-from", "openmetrics", "-q", str(file), str(tmp_path / "data")], check=True, timeout=120
            )
        (tmp_path / "sim").mkdir()
        running.append(start_sim(tmp_path / "sim", "--start-s", str(END_S), "--guests", str(guests), "--speed", "0.001"))
        return start_prometheus({"global": {}}), running[0]

    yield make
    for one in running:
        one.stop()


def raw(server, selector, span):
    (series,) = server.query(f"{selector}[{span}]", time=END_S)
    return {int(moment): float(value) for moment, value in series["values"]}


def steps(points, step_s):
    """What a counter grew by in each step that is whole and without a restart."""
    return {moment: value - points[moment - step_s] for moment, value in points.items() if points.get(moment - step_s, value + 1) <= value}


def test_a_quarter_of_a_day_is_that_of_the_round_robin_data(loaded):
    server, sim = loaded("--days", "0.25", "--step-s", "60", guests=8)
    compared = 0
    for row in sim.data("GET", "/cluster/resources", type="vm"):
        rows = {one["time"]: one for one in sim.data("GET", f"/nodes/{row['node']}/{row['id']}/rrddata", timeframe="day")}
        series = {
            key: raw(server, f'{name}{{id="{row["id"]}"}}', "6h")
            for key, name in (
                ("mem", "pve_memory_usage_bytes"),
                ("netin", "pve_network_receive_bytes_total"),
                ("diskwrite", "pve_disk_written_bytes_total"),
            )
        }
        for key in ("netin", "diskwrite"):
            for moment, grown in steps(series[key], 60).items():
                if key in rows[moment]:
                    assert grown / 60 == pytest.approx(rows[moment][key], abs=0.05), (row["id"], key, moment)
                    compared += 1
        for moment, value in series["mem"].items():
            if "mem" in rows[moment]:
                assert value == int(rows[moment]["mem"]), (row["id"], moment)
    assert compared > 5 * 2 * 350
    for node in sim.info["nodes"]:
        rows = {one["time"]: one for one in sim.data("GET", f"/nodes/{node}/rrddata", timeframe="day")}
        place = f'instance="{node}:9100"'
        idle = steps(raw(server, f'node_cpu_seconds_total{{{place},mode="idle",cpu="0"}}', "6h"), 60)
        waiting = steps(raw(server, f'node_cpu_seconds_total{{{place},mode="iowait",cpu="0"}}', "6h"), 60)
        received = steps(raw(server, f'node_network_receive_bytes_total{{{place},device="bond0"}}', "6h"), 60)
        for moment, seconds in idle.items():
            assert 1 - (seconds + waiting[moment]) / 60 == pytest.approx(rows[moment]["cpu"], abs=1e-7), (node, moment)
            assert received[moment] / 60 == pytest.approx(rows[moment]["netin"], abs=0.05), (node, moment)
        total, free = (raw(server, f"node_memory_{name}_bytes{{{place}}}", "6h") for name in ("MemTotal", "MemAvailable"))
        assert all(total[moment] - free[moment] == int(rows[moment]["memused"]) for moment in total)
        used = raw(server, f'pve_disk_usage_bytes{{id="storage/{node}/local"}}', "6h")
        rows = {one["time"]: one for one in sim.data("GET", f"/nodes/{node}/storage/local/rrddata", timeframe="day")}
        assert all(value == rows[moment]["used"] for moment, value in used.items())


def test_thirty_days_are_there_and_are_those_of_the_round_robin_data(loaded):
    server, sim = loaded("--days", "30", "--step-s", "3600", "--nodes", "1", guests=3)
    assert server.value('count_over_time(pve_up{id="node/pve1"}[30d])', time=END_S) == 720
    compared = 0
    for vmid in (100, 101):
        rows = {one["time"]: one for one in sim.data("GET", f"/nodes/pve1/qemu/{vmid}/rrddata", timeframe="month")}
        for moment, grown in steps(raw(server, f'pve_network_transmit_bytes_total{{id="qemu/{vmid}"}}', "30d"), 3600).items():
            halves = [rows.get(moment, {}).get("netout"), rows.get(moment - 1800, {}).get("netout")]
            if None not in halves:
                assert grown / 3600 == pytest.approx(sum(halves) / 2, rel=1e-6), (vmid, moment)
                compared += 1
    assert compared > 1000
