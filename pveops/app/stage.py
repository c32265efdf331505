"""The twin's private simulated cluster: a process of its own, for one rehearsal, gone afterwards.

It is the one place besides the command line and tests that starts a simulated cluster. What sends changes here holds no token but the one
that this very cluster made, trusts no certificate but its, and talks to its address alone: there is no way from here to a real cluster.
"""

from __future__ import annotations

import os
import shutil
import ssl
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from pveops.app.cluster import FactReader
from pveops.app.processes import Child
from pveops.app.simulated import read_info
from pveops.base.clock import from_epoch_s
from pveops.base.errors import ConfigError, Denied, Unreachable
from pveops.base.secret import Secret
from pveops.base.seed import write_seed
from pveops.clients.cluster.wire import Endpoint, Wire
from pveops.model.plan import WireCall
from pveops.model.tasks import Upid

_READY_S = 60.0
_SLOWEST = "0.001"
"""Simulated seconds per second: time stands, so to speak, and only waiting moves it."""


class JumpingClock:
    """The stage's time. Waiting moves it forward and takes no time."""

    def __init__(self, control: str, ca: Path, start_s: float) -> None:
        self._client = httpx.Client(verify=ssl.create_default_context(cafile=str(ca)), trust_env=False, timeout=30.0)
        self._control = control
        self._start_s = start_s
        self._passed_s = 0.0

    def now(self) -> datetime:
        """The simulated time."""
        return from_epoch_s(self._start_s + self._passed_s)

    def monotonic_s(self) -> float:
        """Simulated seconds since the start."""
        return self._passed_s

    def sleep_s(self, seconds: float) -> None:
        """Jump forward.

        Raises:
            Unreachable: the simulated cluster does not answer.
        """
        if seconds <= 0:
            return
        try:
            self._client.post(f"{self._control}/advance", json={"seconds": seconds}).raise_for_status()
        except httpx.HTTPError as err:
            raise Unreachable(f"The simulated copy does not answer ({type(err).__name__}).", hint="Rehearse again.") from err
        self._passed_s += seconds

    def wait_s(self, event: threading.Event, seconds: float) -> bool:
        """Jump forward, unless the event is set."""
        if not event.is_set():
            self.sleep_s(seconds)
        return event.is_set()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@dataclass(frozen=True, slots=True)
class _Rights:
    """Who we are there, for those who follow tasks."""

    token_id: str
    timeout_s: float

    def prepare(self) -> None:
        """Nothing to open."""

    def send(self, call: WireCall, grant: object) -> Any:
        """Nothing is granted here: the stage sends by itself."""
        raise Denied("Nothing is granted on the simulated copy.", details={"rule": "stage"})


@dataclass(frozen=True, slots=True)
class _Copy:
    name: str
    reader: FactReader
    writer: _Rights


class PrivateStage:
    """A simulated cluster from a seed. Use it as a context manager.

    Args:
        seed: of the cluster.
        name: of the profile that it is a copy of.
    """

    def __init__(self, seed: Mapping[str, Any], name: str) -> None:
        self._seed = seed
        self._name = name
        self._folder = Path(tempfile.mkdtemp(prefix="pveops-twin-"))
        self._child: Child | None = None

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            ConfigError: it does not start; with what it said.
        """
        try:
            self._open(self._start())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and leave nothing behind."""
        self.close()

    def _start(self) -> dict[str, Any]:
        """Start the process; what it says about itself."""
        seed, info = self._folder / "seed.json", self._folder / "info.json"
        write_seed(seed, self._seed)
        command = [
            sys.executable, "-m", "pveops.sim", "serve", "--seed-file", str(seed), "--info", str(info), "--port", "0", "--speed", _SLOWEST,
            "--state-dir", str(self._folder / "state"),
        ]  # fmt: skip
        env = {key: value for key, value in os.environ.items() if not key.startswith("PVEOPS_")}
        self._child = Child("The simulated copy", command, env=env, log=self._folder / "sim.log").start()
        self._child.wait_ready(lambda: read_info(info) is not None, seconds=_READY_S)
        return read_info(info) or {}

    def _open(self, info: Mapping[str, Any]) -> None:
        url, ca = str(info["url"]), Path(str(info["ca"]))
        if urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1") or self._child is None or info["pid"] != self._child.pid:
            raise ConfigError("What answers is not the simulated copy that was started.", hint="Rehearse again.")
        self._wire = Wire([Endpoint(url, "", ca)], Secret(str(info["tokens"]["operator"])))
        self._clock = JumpingClock(str(info["control"]), ca, float(self._seed["taken_s"]))
        self._cluster = _Copy(self._name, FactReader(self._wire, clock=self._clock), _Rights(self._wire.token_id, 30.0))

    @property
    def cluster(self) -> _Copy:
        """The cluster for those who follow tasks and read back."""
        return self._cluster

    @property
    def clock(self) -> JumpingClock:
        """Its time."""
        return self._clock

    @property
    def asked(self) -> int:
        """How many requests it has got so far."""
        return self._wire.sent

    def used_bytes(self) -> dict[tuple[str, str], int]:
        """What lies on each storage, by its name and node; the node is empty for a shared one."""
        rows = self._cluster.reader.storages().rows
        return {(row.name, "" if row.shared else row.node): row.used_bytes or 0 for row in rows}

    def send(self, call: WireCall) -> Upid | None:
        """Carry out one call.

        Raises:
            ApiError: it was refused.
            TransportError: no whole answer came.
        """
        if not self._cluster.reader.simulated():
            raise Denied("What answers is no simulated cluster, so nothing was sent.", details={"rule": "stage"})
        data = self._wire.send_once(call.method, call.path, dict(call.params)).data
        return Upid.parse(data) if isinstance(data, str) and data.startswith("UPID:") else None

    def close(self) -> None:
        """End the process and remove its folder."""
        if hasattr(self, "_wire"):
            self._wire.close()
            self._clock.close()
        if self._child is not None:
            self._child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
