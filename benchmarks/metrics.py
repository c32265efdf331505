"""Measurements of many series, beside prometheus-api-client on the same Prometheus, in one run. Memory is the peak of a process of its own."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from pveops.testing.ports import free_port

SERIES, POINTS, STEP_S = 1000, 1440, 60

ARRAYS = """
from pveops.clients.metrics.http import MetricsHttp
from pveops.clients.metrics.prometheus import Prometheus
from pveops.frames.metrics import raw_frame
def work(): return raw_frame(Prometheus(MetricsHttp(url, timeout_s=120)).raw("cpu", start * 1000, end * 1000))
"""
QUERY = """
from pveops.clients.metrics.http import MetricsHttp
from pveops.clients.metrics.prometheus import Prometheus
from pveops.frames.metrics import matrix_frame
def work(): return matrix_frame(Prometheus(MetricsHttp(url, timeout_s=120)).range("cpu", start * 1000, end * 1000, 60000))
"""
RIVAL = """
from datetime import datetime
from prometheus_api_client import MetricRangeDataFrame, PrometheusConnect
def work():
    client = PrometheusConnect(url)
    rows = client.get_metric_range_data("cpu", start_time=datetime.fromtimestamp(start), end_time=datetime.fromtimestamp(end))
    return MetricRangeDataFrame(rows)
"""
MEASURE = """
import json, resource, time
frame = None
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
frame = work()
seconds = time.perf_counter() - began
total = float(frame["value"].sum()) if "value" in frame else float(frame.to_numpy().sum())
print(json.dumps({"s": seconds, "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, "sum": round(total, 3)}))
"""


def measured(code, url, start, end):
    source = f"url, start, end = {url!r}, {start}, {end}\n{code}{MEASURE}"
    done = subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def write_history(path, start):
    with path.open("w", encoding="utf-8") as file:
        file.write("# TYPE cpu gauge\n")
        dice = random.Random(1)
        for series in range(SERIES):
            for point in range(POINTS):
                value = 0 if series % 5 == 0 and dice.random() < 0.3 else round(dice.random(), 4)
                file.write(f'cpu{{id="qemu/{series}",node="pve{series % 10}"}} {value} {start + point * STEP_S}\n')
        file.write("# EOF\n")


def main():
    if not shutil.which("promtool"):
        print("Prometheus is not installed, so measurements are not measured (Debian: apt install prometheus).")
        return
    with tempfile.TemporaryDirectory(prefix="pvb") as name:
        folder = Path(name)
        end = int(time.time()) // STEP_S * STEP_S - 3600
        start = end - (POINTS - 1) * STEP_S
        write_history(folder / "history.om", start)
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "history.om", folder / "data"],
            check=True,
            capture_output=True,
        )
        (folder / "p.yml").write_text("global: {}\n", encoding="utf-8")
        port = free_port()
        command = [
            "prometheus",
            f"--config.file={folder}/p.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        server = subprocess.Popen([*command, "--storage.tsdb.retention.time=10y", "--log.level=error"])
        try:
            url = f"http://127.0.0.1:{port}"
            while True:
                try:
                    if httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200:
                        break
                except httpx.HTTPError:
                    time.sleep(0.1)
            print(f"{SERIES:,} series x 1 day at {STEP_S} s into a table; best of 3, each in a process of its own:")
            best = {}
            for _ in range(3):
                for label, code in (("prometheus-api-client", RIVAL), ("ops.metrics.raw", ARRAYS), ("ops.metrics.query", QUERY)):
                    found = measured(code, url, start, end)
                    if label not in best or found["s"] < best[label]["s"]:
                        best[label] = found
            rival = best["prometheus-api-client"]
            assert len({round(found["sum"], 2) for found in best.values()}) == 1, best
            for label, found in best.items():
                print(
                    f"  {label:<26} {found['s']:6.2f} s  {found['mib']:7.0f} MiB   {rival['s'] / found['s']:5.1f}x faster  {rival['mib'] / found['mib']:5.1f}x less memory"
                )
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
