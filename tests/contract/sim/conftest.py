"""A simulated cluster in its own process, as everybody else starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).resolve().parents[3]


@dataclass
class SimProcess:
    """The process and its info file; ``api`` makes a request with one of the tokens."""

    process: subprocess.Popen
    info: dict
    request_log: Path

    def api(self, method, path, token="admin", *, fmt="json", **parameters):
        body = {"params": parameters} if method in ("GET", "DELETE") else {"data": parameters}
        headers = {"Authorization": f"PVEAPIToken={self.info['tokens'][token]}"} if token else {}
        url = f"{self.info['url']}/api2/{fmt}{path}"
        return requests.request(method, url, headers=headers, verify=self.info["ca"], timeout=30, **body)

    def data(self, method, path, token="admin", **parameters):
        answer = self.api(method, path, token, **parameters)
        assert answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.reason} {answer.text}"
        return answer.json()["data"]

    def advance(self, seconds):
        answer = requests.post(f"{self.info['control']}/advance", json={"seconds": seconds}, verify=self.info["ca"], timeout=30)
        assert answer.status_code == 200, answer.text

    def task_end(self, upid, most_s=600):
        """Move simulated time until the task has ended; how it ended."""
        node = upid.split(":")[1]
        for _ in range(int(most_s)):
            row = self.data("GET", f"/nodes/{node}/tasks/{upid}/status")
            if row["status"] == "stopped":
                return row["exitstatus"]
            self.advance(1)
        raise AssertionError(f"{upid} does not end within {most_s} simulated seconds")

    def log(self):
        return [json.loads(line) for line in self.request_log.read_text().splitlines()]

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        return self.process.wait(timeout=10)


def start(folder: Path, *arguments: str) -> SimProcess:
    """Start ``python -m pveops.sim serve`` and wait until its info file is there."""
    info, log = folder / "info.json", folder / "requests.jsonl"
    command = [sys.executable, "-m", "pveops.sim", "serve", "--port", "0", "--info", str(info), "--request-log", str(log), *arguments]
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, stderr=stderr, env={**os.environ, "PYTHONPATH": str(ROOT)})
    until = time.monotonic() + 20
    while not info.exists():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise AssertionError(f"the simulated cluster did not start: {(folder / 'stderr').read_text()}")
        time.sleep(0.02)
    return SimProcess(process, json.loads(info.read_text()), log)


@pytest.fixture(scope="session")
def start_sim():
    return start


@pytest.fixture(scope="session")
def sim(tmp_path_factory):
    """One cluster for tests that leave it as it was, or do not care."""
    running = start(tmp_path_factory.mktemp("sim"))
    yield running
    running.stop()


@pytest.fixture
def fresh_sim(tmp_path):
    """A cluster of its own for a test that changes it; takes extra arguments of ``serve``."""
    running = []

    def make(*arguments):
        running.append(start(tmp_path, *arguments))
        return running[-1]

    yield make
    for one in running:
        one.stop()
