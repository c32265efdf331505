"""One connection per node, by the OpenSSH of this machine: its configuration, agent, certificates, jump hosts and known hosts are the operator's own.

Nothing of this machine is offered to the node: no agent, no forwarding, no terminal, no input. A host key that is not known ends it.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from pveops.base.errors import AuthFailed, CertificateMismatch, ConfigError, InputError, NoAnswer, PveopsError, Unreachable

MOST_BYTES = 16 * 1024 * 1024
_KEPT_S = 60
_FAILED = 255
"""What ssh itself ends with when it is not the command that ended."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach a node. ``connect_timeout_s`` bounds the connection, ``timeout_s`` a whole command."""

    host: str
    user: str = ""
    port: int = 0
    key_file: str = ""
    known_hosts: str = ""
    config: str = ""
    connect_timeout_s: float = 5.0
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Output:
    """What a command printed and how it ended. ``cut``: there was more than 16 MiB."""

    stdout: str
    stderr: str
    exit_code: int
    seconds: float
    cut: bool = False


class Shell:
    """Runs commands on nodes; connections stay open for a minute after the last. Use it as a context manager, or close it."""

    def __init__(self) -> None:
        program = shutil.which("ssh")
        if program is None:
            raise ConfigError("OpenSSH is not installed on this machine.", hint="Debian: apt install openssh-client.")
        self._program = program
        self._folder = Path(tempfile.mkdtemp(prefix="pvssh"))  # short: the path of a socket may have about a hundred characters
        self._ends: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _close, self._ends, self._folder)

    def __enter__(self) -> Self:
        """Ready to run."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """End the connections that are kept."""
        self._end()

    def run(self, way: Way, words: tuple[str, ...], what: str) -> Output:
        """Run a command on a node and wait for its end. ``what`` names the node in messages.

        Raises:
            Unreachable: no connection.
            CertificateMismatch: the node's host key is not the known one, or none is known.
            AuthFailed: the node does not let us in.
            NoAnswer: it took longer than ``timeout_s``.
        """
        if way.host.startswith("-"):
            raise InputError(f"{way.host!r} is no address of a node.")
        with self._lock:
            self._ends[f"{way.user}@{way.host}:{way.port}"] = [*self._command(way), "-O", "exit", "--", way.host]
        began = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            # the remote shell parses the line again: quoted, every word arrives as it is
            command = [*self._command(way), "--", way.host, shlex.join(words)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            try:
                code = process.wait(way.timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise NoAnswer(
                    f"{what} has not finished `{shlex.join(words)}` within {way.timeout_s:g} s.",
                    hint="The command may still run there; it only reads.",
                ) from None
            except BaseException:
                process.kill()
                process.wait()
                raise
            stdout, cut = _text(out)
            stderr, _ = _text(err)
        if code == _FAILED:
            raise _fault(what, way, stderr)
        return Output(stdout, stderr, code, time.monotonic() - began, cut)

    def _command(self, way: Way) -> list[str]:
        options = {
            "BatchMode": "yes", "StrictHostKeyChecking": "yes", "UpdateHostKeys": "no", "ConnectTimeout": str(max(1, round(way.connect_timeout_s))),
            "ControlMaster": "auto", "ControlPath": str(self._folder / "%C"), "ControlPersist": str(_KEPT_S),
            "ClearAllForwardings": "yes", "ForwardAgent": "no", "ForwardX11": "no", "PermitLocalCommand": "no", "RequestTTY": "no", "LogLevel": "ERROR",
            "ServerAliveInterval": "10", "ServerAliveCountMax": "2", "RemoteCommand": "none", "Tunnel": "no", "EscapeChar": "none",
        }  # fmt: skip
        if way.user:
            options["User"] = way.user
        if way.port:
            options["Port"] = str(way.port)
        if way.known_hosts:
            options |= {"UserKnownHostsFile": way.known_hosts, "GlobalKnownHostsFile": "none"}
        if way.key_file:
            options |= {"IdentityFile": way.key_file, "IdentitiesOnly": "yes"}
        configured = ["-F", way.config] if way.config else []
        return [self._program, *configured, *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]


def _close(ends: dict[str, list[str]], folder: Path) -> None:
    """End the connections that are kept, now or when Python ends."""
    for command in ends.values():
        subprocess.run(command, capture_output=True, timeout=10, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _text(file: IO[bytes]) -> tuple[str, bool]:
    file.seek(0)
    whole = file.read(MOST_BYTES + 1)
    return whole[:MOST_BYTES].decode("utf-8", errors="replace"), len(whole) > MOST_BYTES


def _fault(what: str, way: Way, said: str) -> PveopsError:
    """What ssh said, as one of our errors."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("@")]
    last = (lines[-1] if lines else "ssh gave no reason").rstrip(".")
    if "host key" in said.lower() or "REMOTE HOST IDENTIFICATION" in said:
        return CertificateMismatch(
            f"The SSH host key of {what} ({way.host}) is not one that is known here: {last}.",
            hint="Compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the node, then add it to known_hosts. Nothing ran.",
        )
    if "permission denied" in said.lower():
        return AuthFailed(
            f"{what} ({way.host}) does not let {way.user or 'us'} in over SSH: {last}.",
            hint="Put the public key there, or name user and key_file under [profiles.NAME.ssh].",
        )
    return Unreachable(f"{what} ({way.host}) gives no SSH connection: {last}.", hint="Is sshd running, and the port open from here?")
