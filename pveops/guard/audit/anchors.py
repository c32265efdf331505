"""Where checkpoints are kept out of the executor's reach. Proxmox VE's API offers no way to write into the cluster's own log."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path
from typing import Protocol

from pveops.base.errors import AuditError, ConfigError
from pveops.guard.audit.checkpoint import Checkpoint, checkpoints_in

_GIT_S = 20.0
_SYSLOG = "/dev/log"
_FACILITY_AUTHPRIV_NOTICE = (10 << 3) | 5


class Anchor(Protocol):
    """A place for checkpoints."""

    @property
    def name(self) -> str:
        """As it is written in ``config.toml``."""
        ...

    def put(self, one: Checkpoint) -> None:
        """Keep a checkpoint. Raises ``AuditError`` if it surely or possibly was not kept."""
        ...

    def kept(self) -> list[Checkpoint]:
        """What was kept, as far as it can be read back from here."""
        ...


class FileAnchor:
    """Lines at the end of a file: on another disk, a share, a write-once medium."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"file:{path}"

    def put(self, one: Checkpoint) -> None:
        """Append and sync."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                line = f"{one.text}\n".encode()
                if os.write(handle, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as err:
            raise AuditError(f"The anchor {self._path} cannot be written: {err.strerror}.") from err

    def kept(self) -> list[Checkpoint]:
        """What the file holds."""
        try:
            return list(checkpoints_in(self._path.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            return []


class SyslogAnchor:
    """A line to the local syslog daemon, which should forward it to another machine. It cannot be read back from here."""

    def __init__(self, path: str = _SYSLOG) -> None:
        self._path = path
        self.name = "syslog" if path == _SYSLOG else f"syslog:{path}"

    def put(self, one: Checkpoint) -> None:
        """Send."""
        text = f"<{_FACILITY_AUTHPRIV_NOTICE}>pveops[{os.getpid()}]: {one.log_line}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.settimeout(2.0)
                out.connect(self._path)
                out.send(text.encode())
        except OSError as err:
            raise AuditError(f"The syslog daemon does not listen on {self._path}: {err.strerror or err}.") from err

    def kept(self) -> list[Checkpoint]:
        """Nothing: journals are for people with the right to read them."""
        return []


class GitAnchor:
    """A commit in a repository, which should be pulled or mirrored elsewhere."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self.name = f"git:{repository}"

    def put(self, one: Checkpoint) -> None:
        """Append to the executor's file and commit."""
        file = f"{one.executor}.jsonl"
        try:
            with (self._repository / file).open("a", encoding="utf-8") as lines:
                lines.write(f"{one.text}\n")
        except OSError as err:
            raise AuditError(f"The repository {self._repository} cannot be written: {err.strerror}.") from err
        self._git("add", "--", file)
        self._git(
            "-c", "user.name=pveops", "-c", "user.email=pveops@localhost", "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify",
            "-m", f"{one.size} records", "--", file,
        )  # fmt: skip

    def kept(self) -> list[Checkpoint]:
        """What all commits have added, so that a shortened file hides nothing."""
        try:
            return list(checkpoints_in(re.sub(r"(?m)^\+", "", self._git("log", "-p", "--no-color", "--no-ext-diff", "--", "*.jsonl"))))
        except AuditError:
            return []

    def _git(self, *arguments: str) -> str:
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        try:
            ran = subprocess.run(
                ["git", "-C", str(self._repository), *arguments], capture_output=True, text=True, timeout=_GIT_S, check=True, env=env
            )
        except subprocess.CalledProcessError as err:
            said = (err.stderr or err.stdout).strip().splitlines()
            raise AuditError(f"git in {self._repository} says: {said[-1] if said else err.returncode}.") from err
        except (OSError, subprocess.TimeoutExpired) as err:
            raise AuditError(f"git does not run in {self._repository}: {err}.") from err
        return ran.stdout


def anchor_of(text: str) -> Anchor:
    """The anchor that a line of the settings means: ``file:/path``, ``syslog``, ``syslog:/path/of/socket``, ``git:/path``.

    Raises:
        ConfigError: none of these.
    """
    kind, _, place = text.partition(":")
    if kind == "file" and place.startswith("/"):
        return FileAnchor(Path(place))
    if kind == "git" and place.startswith("/"):
        return GitAnchor(Path(place))
    if kind == "syslog" and (not place or place.startswith("/")):
        return SyslogAnchor(place or _SYSLOG)
    raise ConfigError(
        f"{text!r} is no anchor for checkpoints.", hint="Write file:/path, git:/path/of/repository, syslog or syslog:/path/of/socket."
    )
