"""Files that must be whole, private or owned by one process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import IO

from pveops.base.errors import ConfigError
from pveops.base.secret import Secret


def fsync_dir(folder: Path) -> None:
    """Make a new or renamed entry of the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file in one step: readers see the old or the new content, never a part. Synced to disk.

    Raises:
        ConfigError: the folder is not writable or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            os.fchmod(handle, mode)
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        temporary.replace(path)
        fsync_dir(path.parent)
    except OSError as err:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ConfigError(
            f"Cannot write {path}: {err.strerror}.", hint="Check the folder's owner, its mode and the free disk space."
        ) from err


def read_secret(path: Path, what: str) -> Secret:
    """The secret in a file that only its owner may read (mode 0600 or less), white space around it removed.

    Raises:
        ConfigError: missing, empty, unreadable, or readable by others.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(f"{path} holds {what} and others may read it (mode {mode:04o}).", hint=f"Run: chmod 600 {path}")
        text = path.read_text(encoding="utf-8").strip()
    except OSError as err:
        raise ConfigError(f"Cannot read {what} from {path}: {err.strerror}.", hint="Run `pveops init`, or name the right file.") from err
    if not text:
        raise ConfigError(f"{path} should hold {what} and is empty.", hint="Run `pveops init`, or write it there.")
    return Secret(text)


class OwnerLock:
    """An exclusive lock on a file, held as long as the process lives; the kernel drops it when the process dies.

    Raises (on ``acquire``):
        ConfigError: another process holds it; the message names its pid where the file tells.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock and write our pid into the file."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = open(self._path, "a+", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115 - the mode
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            handle.seek(0)
            holder = handle.read().strip()
            handle.close()
            if err.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise ConfigError(f"Cannot lock {self._path}: {err.strerror}.", hint="The folder must be on a local file system.") from err
            who = f" (pid {holder})" if holder.isdigit() else ""
            raise ConfigError(
                f"{self._what} already runs on {self._path.parent}{who}.",
                hint="Use that one, stop it first, or set PVEOPS_HOME to another folder.",
            ) from err
        handle.seek(0)
        handle.truncate()
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._file = handle

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


@lru_cache(maxsize=256)
def short_socket_path(socket: Path) -> str:
    """The path itself, or the same file through an open handle of its folder where it is too long for a socket address (107 bytes).

    The handle stays open for the life of the process: connections are made long after this returns.
    """
    text = str(socket)
    if len(text.encode()) <= 100:
        return text
    try:
        handle = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return text
    return f"/proc/self/fd/{handle}/{socket.name}"
