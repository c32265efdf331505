"""A real Prometheus on loopback, for tests."""

import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from pveops.testing.ports import free_port


def needed(program):
    """The path of a program of the Debian package; without it the test is skipped by name."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt install prometheus)")
    return found


@dataclass
class Prometheus:
    """The process and its address."""

    process: subprocess.Popen
    url: str

    def query(self, expression, **more):
        """The result of an instant query."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression, **more}, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]

    def value(self, expression, **more):
        (row,) = self.query(expression, **more)
        return float(row["value"][1])

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)


def _start(folder: Path, config: dict, *arguments: str) -> Prometheus:
    """Start a server with a configuration (JSON is YAML too) and wait until it is ready."""
    program = needed("prometheus")
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y", *arguments]
    with (folder / "prometheus.log").open("wb") as log:
        running = Prometheus(subprocess.Popen(command, stderr=log, stdout=log), f"http://127.0.0.1:{port}")
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if requests.get(f"{running.url}/-/ready", timeout=2).status_code == 200:
                return running
        except requests.ConnectionError:
            pass
        assert running.process.poll() is None, (folder / "prometheus.log").read_text()
        time.sleep(0.1)
    running.stop()
    raise AssertionError((folder / "prometheus.log").read_text())


@pytest.fixture
def start_prometheus(tmp_path):
    """Starts servers that end with the test."""
    running = []

    def start(config, *arguments):
        running.append(_start(tmp_path, config, *arguments))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture
def program():
    return needed
