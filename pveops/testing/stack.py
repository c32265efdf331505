"""A simulated cluster and an executor as processes, on a temporary home."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pveops.app.ops import Ops, connect
from pveops.app.processes import Child
from pveops.app.simulated import adopt, read_info
from pveops.base.errors import PveopsError
from pveops.clients.executor import ExecutorClient
from pveops.model.proposal import Origin
from pveops.settings.credentials import load_credential
from pveops.settings.home import Home
from pveops.testing.nursery import ForkedChild, Nursery


@dataclass(slots=True)
class Stack:
    """A running stack. Close it, or use it as a context manager.

    Args:
        root: a folder of its own.
        guests, nodes, speed, latency_ms, seed: of the simulated cluster.
        profile: more keys of the profile, for example ``{"write_timeout_s": 2.0}``.
        options: keys of ``[executor]`` in ``config.toml``.
        nursery: forks the executor, where it is started again and again.
        sim_options: more words for ``pveops sim serve``.
    """

    root: Path
    guests: int = 12
    nodes: int = 3
    speed: float = 20.0
    latency_ms: float = 0.0
    seed: int = 20_261
    profile: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    sim_options: Sequence[str] = ()
    extra_env: Mapping[str, str] = field(default_factory=dict)
    nursery: Nursery | None = None
    sim: Child = field(init=False)
    executor: Child | None = field(init=False, default=None)
    info: dict[str, Any] = field(init=False)
    _ops: Ops | None = field(init=False, default=None)
    _workers: list[Child] = field(init=False, default_factory=list)

    def __enter__(self) -> Self:
        """Start everything."""
        self.start_sim()
        self.start_executor()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.close()

    @property
    def home(self) -> Home:
        """Its ``PVEOPS_HOME``."""
        return Home(self.root / "home")

    @property
    def request_log(self) -> Path:
        """Every request that the simulated cluster received."""
        return self.root / "requests.jsonl"

    @property
    def env(self) -> dict[str, str]:
        """The environment of its processes."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PVEOPS_")}
        return {**kept, "PVEOPS_HOME": str(self.home.root), **self.extra_env}

    def start_sim(self, *, port: int = 0) -> None:
        """Start the simulated cluster and make the home for it."""
        info = self.root / "sim.json"
        info.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "pveops", "sim", "serve", "--nodes", str(self.nodes), "--guests", str(self.guests), "--port", str(port), "--speed",
            str(self.speed), "--latency-ms", str(self.latency_ms), "--seed", str(self.seed), "--info", str(info), "--request-log", str(self.request_log),
            "--state-dir", str(self.root / "sim"), *self.sim_options,
        ]  # fmt: skip
        self.sim = Child("The simulated cluster", command, env=self.env, log=self.root / "sim.log").start()
        self.sim.wait_ready(lambda: read_info(info) is not None, seconds=30)
        self.info = read_info(info) or {}
        if port:
            return  # the same one again: the home knows it
        adopt(self.home, self.info, extra={"write_timeout_s": 5.0, **self.profile})
        if self.options:
            lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in self.options.items())
            text = self.home.config.read_text(encoding="utf-8").partition("\n[executor]")[0]
            self.home.config.write_text(f"{text}\n[executor]\n{lines}\n", encoding="utf-8")

    def kill_sim(self) -> None:
        """What a power cut does to the whole cluster: nothing of its state is left when it comes back, on the same port."""
        port = int(self.info["url"].rpartition(":")[2])
        self.sim.kill()
        self.start_sim(port=port)

    def executor_child(self) -> Child:
        """The executor's process."""
        if self.executor is None:
            raise RuntimeError("no executor was started")
        return self.executor

    def truth(self, vmid: int) -> str:
        """The status of a guest as its node says it, not as the cluster's broadcast remembers it; empty where it is nowhere."""
        found = self._looking().ports.reader.facts([f"guest/{vmid}"]).values.get(f"guest/{vmid}.status")
        return str(found or "")

    def _looking(self) -> Ops:
        if self._ops is None:
            self._ops = self.ops()
        return self._ops

    def start_worker(self) -> Child:
        """A further worker of the same home; the store must be PostgreSQL."""
        command = [sys.executable, "-m", "pveops.surfaces.daemon", "--worker"]
        self._workers.append(Child("A worker", command, env=self.env, log=self.root / f"worker-{len(self._workers)}.log").start())
        worker = self._workers[-1]
        return worker.wait_ready(lambda: "carries runs" in worker.said, seconds=60)

    def start_executor(self) -> None:
        """Start the executor and wait until it answers."""
        name, log = "The executor", self.root / "executor.log"
        command = [sys.executable, "-m", "pveops.surfaces.daemon"]
        child = ForkedChild(name, self.nursery, env=self.env, log=log) if self.nursery else Child(name, command, env=self.env, log=log)
        self.executor = child.start()
        self.executor.wait_ready(self.answers, seconds=30)

    def answers(self) -> bool:
        """Whether the executor answers."""
        try:
            self.client("viewer").info()
        except PveopsError:
            return False
        return True

    def client(self, principal: str = "operator") -> ExecutorClient:
        """The executor under a principal's name."""
        credential = load_credential(self.home, principal)
        return ExecutorClient(self.home.socket, credential.principal, credential.token, credential.private_key)

    def ops(self, principal: str = "operator") -> Ops:
        """The cluster, for reading and proposing."""
        return connect(env={**self.env, "PVEOPS_PRINCIPAL": principal}, origin=Origin(surface="test"))

    def cli(
        self, *words: str, principal: str = "operator", stdin: str = "", env: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run ``pveops`` as a process."""
        return run_cli(words, env={**self.env, "PVEOPS_PRINCIPAL": principal, **(env or {})}, stdin=stdin, timeout_s=timeout_s)

    def requests(self, *, method: str | None = None) -> list[dict[str, Any]]:
        """What the simulated cluster received, in order."""
        rows = [json.loads(line) for line in self.request_log.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if row.get("phase") == "in" and (method is None or row["method"] == method)]

    def writes(self) -> list[dict[str, Any]]:
        """What was received that changes something, tickets aside."""
        return [row for row in self.requests() if row["method"] != "GET" and not row["path"].endswith("/access/ticket")]

    def close(self) -> None:
        """End everything."""
        for worker in self._workers:
            worker.stop()
        if self.executor is not None:
            self.executor.stop()
        self.sim.stop()


def run_cli(words: Sequence[str], *, env: Mapping[str, str], stdin: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run ``pveops`` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pveops", *words], env=dict(env), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
