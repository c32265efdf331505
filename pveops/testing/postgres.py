"""A PostgreSQL server of a test's own: in a temporary folder, on a Unix socket and a loopback port, never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from pveops.testing.ports import free_port


def find_postgres() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]) if path.parts[4].isdigit() else 0)
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return Path(named).parent if named else None


def _unprivileged() -> str | None:
    """Another user, where we are root: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None


class Postgres:
    """A running server; every commit reaches the disk. Close it, or use it as a context manager."""

    def __init__(self) -> None:
        found = find_postgres()
        if found is None:
            raise RuntimeError("PostgreSQL is not installed")
        self._bin = found
        self._user = _unprivileged()
        self._root = Path(tempfile.mkdtemp(prefix="pvpg", dir="/tmp"))
        self._databases = 0
        self.port = free_port()

    def __enter__(self) -> Self:
        """Start it."""
        if self._user:
            shutil.chown(self._root, self._user)
        self._run("initdb", "-D", str(self._root / "data"), "-U", "pveops", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self._root} -c fsync=on -c shared_buffers=32MB"
        )
        self._run("pg_ctl", "-D", str(self._root / "data"), "-w", "-t", "60", "-l", str(self._root / "log"), "-o", options, "start")
        return self

    def __exit__(self, *_: object) -> None:
        """End it and remove its folder."""
        self._run("pg_ctl", "-D", str(self._root / "data"), "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(self._root, ignore_errors=True)

    def database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"db{self._databases}"
        self._run(
            "psql", "-h", str(self._root), "-p", str(self.port), "-U", "pveops", "-d", "postgres", "-q", "-c", f"CREATE DATABASE {name}"
        )
        return f"postgresql://pveops@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments], user=self._user, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, cwd="/tmp",  # noqa: S108
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")
