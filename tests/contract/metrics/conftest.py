"""A real Prometheus with a history that the tests know."""

import math
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pveops.testing.ports import free_port

STEP_S = 60
POINTS = 24 * 60
STALE_FROM, STALE_TO = 300, 420
"""Between these points the series ``gaps`` was not scraped."""


@dataclass
class Server:
    url: str
    start_s: int

    @property
    def end_s(self):
        return self.start_s + (POINTS - 1) * STEP_S


def wave(series, point):
    return round(0.5 + 0.4 * math.sin(point / 50 + series), 4)


def history(start_s):
    """OpenMetrics: plain series, zeros, a gap, NaN and infinity, a counter that starts again, odd label names."""

    def rows(name, labels, value_of):
        for point in range(POINTS):
            value = value_of(point)
            if value is not None:
                yield f"{name}{{{labels}}} {value} {start_s + point * STEP_S}"

    yield "# TYPE cpu gauge"
    for series in range(12):
        yield from rows("cpu", f'id="qemu/{100 + series}",node="pve{series % 3}"', lambda point, series=series: wave(series, point))
    yield "# TYPE pve_cpu_usage_ratio gauge"
    yield from rows("pve_cpu_usage_ratio", 'id="qemu/101"', lambda point: wave(1, point))
    yield "# TYPE pve_disk_usage_bytes gauge"
    yield from rows("pve_disk_usage_bytes", 'id="storage/pve1/local-lvm"', lambda point: 200_000_000_000 + point * 1_000_000)
    yield "# TYPE smartmon_reallocated_sector_ct_raw_value gauge"
    yield from rows(
        "smartmon_reallocated_sector_ct_raw_value", 'instance="pve2:9100",disk="/dev/sda",smart_id="5"', lambda point: point // 60
    )
    yield "# TYPE ALERTS gauge"
    firing = 'alertname="GuestIsBusy",alertstate="firing",severity="critical",id="qemu/101"'
    yield from rows("ALERTS", firing, lambda point: 1 if 1000 <= point < 1030 or 1200 <= point < 1260 else None)
    other = 'alertname="DiskSlow",alertstate="firing",severity="warning",instance="pve2:9100"'
    yield from rows("ALERTS", other, lambda point: 1 if point >= 1300 else None)
    yield from rows("ALERTS", 'alertname="Later",alertstate="pending",id="qemu/101"', lambda point: 1)
    yield "# TYPE zeros gauge"
    yield from rows("zeros", 'kind="some"', lambda point: 0 if point % 3 else 1.5)
    yield from rows("zeros", 'kind="all"', lambda point: 0)
    yield "# TYPE gaps gauge"
    yield from rows("gaps", "", lambda point: None if STALE_FROM <= point < STALE_TO else point)
    yield "# TYPE odd gauge"
    yield from rows("odd", 'value="x",time="y",name="Größe \\"q\\""', lambda point: ("NaN", "+Inf", "-Inf", 1)[point % 4])
    yield "# TYPE restarts counter"
    yield from rows("restarts_total", "", lambda point: point % 700 * 60)
    yield "# EOF"


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory):
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip("Prometheus is not installed (Debian: apt install prometheus)")
    folder = Path(tmp_path_factory.mktemp("prometheus"))
    start_s = int(time.time()) // STEP_S * STEP_S - (POINTS + 30) * STEP_S
    (folder / "history.om").write_text("\n".join(history(start_s)) + "\n", encoding="utf-8")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "history.om", folder / "data"], check=True, capture_output=True
    )
    (folder / "prometheus.yml").write_text("global: {}\n", encoding="utf-8")
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--storage.tsdb.retention.time=10y"], stdout=log, stderr=log)
        try:
            yield Server(wait_ready(f"http://127.0.0.1:{port}", process, folder / "log"), start_s)
        finally:
            process.terminate()
            process.wait(20)


def wait_ready(url, process, log):
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False, timeout=2).status_code == 200:
                return url
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
