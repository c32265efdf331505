"""What ``pveops up`` starts to measure: a real exporter and a real Prometheus, on a simulated cluster."""

import importlib.util
import json
import os
import shutil
import time
from pathlib import Path

import httpx
import pytest

from pveops.app.cost import processes
from pveops.settings.profile import resolve
from pveops.surfaces.cli.measuring import start_measuring
from pveops.surfaces.cli.running import Running
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    if shutil.which("prometheus") is None or importlib.util.find_spec("pve_exporter") is None:
        pytest.skip("Prometheus is not installed (Debian: apt install prometheus)")
    with Stack(tmp_path_factory.mktemp("up-metrics"), guests=12) as running:
        yield running


@pytest.fixture(scope="module")
def running(stack):
    up = Running()
    start_measuring(up, stack.home, resolve("sim", stack.home, stack.env), pages_port=0)
    yield up
    up.stop()


def wait_for(ask, seconds=90):
    until = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < until, "did not come in time"
        time.sleep(0.5)
    return found


def test_the_cluster_is_measured_and_the_profile_knows_where(stack, running):
    assert running.told["Measurements"].startswith("Prometheus http://127.0.0.1:")
    ops = stack.ops()
    url = running.env["PVEOPS_PROMETHEUS_URL"]
    assert ops.metrics.backend == f"Prometheus {url}"
    rows = wait_for(lambda: httpx.get(f"{url}/api/v1/query", params={"query": "pve_up"}, trust_env=False).json()["data"]["result"])
    guests = ops.guests()
    assert {row["metric"]["id"] for row in rows} >= {f"{kind}/{vmid}" for kind, vmid in zip(guests["kind"], guests["vmid"], strict=True)}
    frame = ops.metrics.now("pve_cpu_usage_ratio")
    assert not frame.empty
    assert set(frame["cluster"]) == {"sim"}


def test_the_token_is_private_and_on_no_command_line(stack, running):
    file = stack.home.root / "metrics" / "pve.yml"
    secret = json.loads(file.read_text())["default"]["token_value"]
    assert file.stat().st_mode & 0o077 == 0
    for child in running.children.values():
        for place in ("cmdline", "environ"):
            assert secret.encode() not in Path(f"/proc/{child.pid}/{place}").read_bytes()


def test_a_prometheus_of_the_profile_is_used_and_none_is_started(stack, running):
    up = Running()
    start_measuring(up, stack.home, resolve("sim", stack.home, {**stack.env, "PVEOPS_PROMETHEUS_URL": "http://127.0.0.1:9"}), pages_port=0)
    assert up.children == {}
    assert up.told["Measurements"] == "Prometheus http://127.0.0.1:9 (of the profile)"


def test_a_machine_without_prometheus_is_told_how_to_get_it(stack, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    up = Running()
    env = {key: value for key, value in stack.env.items() if key != "PVEOPS_PROMETHEUS_URL"}
    stack.home.config.write_text(
        "".join(line for line in stack.home.config.read_text().splitlines(keepends=True) if "prometheus_url" not in line)
    )
    start_measuring(up, stack.home, resolve("sim", stack.home, env), pages_port=0)
    assert up.children == {}
    assert "apt install prometheus" in up.told["Measurements"]


def test_what_it_costs_is_known_of_every_process(stack, running):
    assert os.getpid() in {one.pid for one in processes(stack.home)}
    assert "executor" in {one.role for one in processes(stack.home)}
