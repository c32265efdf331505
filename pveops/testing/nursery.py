"""Starts executors without waiting for their imports: a process that has imported everything and done nothing forks them.

Each is a process of its own, with its own signals, environment and log, and dies of SIGKILL like any other; what is saved is three seconds of
processor time a start. ``python -m pveops.testing.nursery`` is that parent; it has one thread and opens nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pveops.app.processes import Child, die_with_parent
from pveops.surfaces.daemon.__main__ import main as executor_main


class Nursery:
    """The parent. Use it as a context manager; its executors end with it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "pveops.testing.nursery"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)  # noqa: PLW1509 - one C call
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Ready as soon as it answers."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.communicate()

    def grow(self, order: Mapping[str, Any]) -> int:
        """Fork a process; returns its id."""
        with self._lock:
            if self._process.stdin is None or self._process.stdout is None:
                raise RuntimeError("the nursery has no pipes")
            self._process.stdin.write(f"{json.dumps(order)}\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


class ForkedChild(Child):
    """A child whose parent is the nursery."""

    def __init__(self, name: str, nursery: Nursery, *, env: Mapping[str, str], log: Path) -> None:
        super().__init__(name, [], env=env, log=log)
        self._nursery = nursery

    def start(self) -> ForkedChild:
        """Start it."""
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._process = _Forked(self._nursery.grow({"env": self._env, "log": str(self._log)}))  # type: ignore[assignment]
        return self


class _Forked:
    """What a child needs of ``subprocess.Popen``, for a process that is not ours to wait for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """-9 when it is gone: its parent keeps no exit codes."""
        return None if Path(f"/proc/{self.pid}").exists() else -signal.SIGKILL

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def wait(self, timeout: float = 60.0) -> None:
        """Wait until it is gone."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("executor", timeout)
            time.sleep(0.01)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _become(order: Mapping[str, Any]) -> int:
    """In the fork: a fresh session, environment and log, and then the executor."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    die_with_parent()
    log, nothing = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), os.open(os.devnull, os.O_RDONLY)
    for mine, theirs in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(mine, theirs)
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["pveops executor run"]
    return executor_main()


def main() -> None:
    """Fork once per line of stdin, and say the new process id."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = _become(json.loads(line))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
