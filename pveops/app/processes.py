"""Child processes of ``pveops up`` and of tests: started, waited for, ended by pid, and never left behind."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pveops.base.errors import ConfigError

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Runs in the child: get SIGTERM when the process that started us dies, however it dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Child:
    """One process, with what it prints in a file.

    Args:
        name: for people.
        command: program and arguments; never a shell.
        env: its whole environment.
        log: gets what it prints.
        cwd: its folder.
    """

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, cwd: Path | None = None) -> None:
        self.name = name
        self._command = list(command)
        self._env = dict(env)
        self._log = log
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def code(self) -> int | None:
        """Its exit code; none while it runs."""
        return self._process.poll() if self._process else None

    @property
    def said(self) -> str:
        """The end of what it printed."""
        try:
            return self._log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
        except OSError:
            return ""

    def start(self) -> Child:
        """Start it.

        Raises:
            ConfigError: the program is not there.
        """
        self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._env, cwd=self._cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    start_new_session=True, preexec_fn=die_with_parent,  # noqa: PLW1509 - one C call, no Python locks
                )  # fmt: skip
        except OSError as err:
            raise ConfigError(f"{self.name} cannot be started: {err.strerror} ({self._command[0]}).") from err
        return self

    def wait_ready(self, ready: Callable[[], bool], *, seconds: float) -> Child:
        """Wait until it is ready.

        Raises:
            ConfigError: it ended, or was not ready in time; with what it said.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.code is not None:
                raise ConfigError(self.said or f"{self.name} ended with code {self.code} and said nothing.")
            if time.monotonic() > deadline:
                self.stop()
                raise ConfigError(f"{self.name} was not ready within {seconds:.0f} s. {self.said[-300:]}", hint=f"See {self._log}.")
            time.sleep(0.05)
        return self

    def stop(self, *, grace_s: float = 10.0) -> None:
        """Ask it to end, and end it if it does not."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
