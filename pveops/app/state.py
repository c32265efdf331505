"""Backup and restore of a whole home: settings, keys, policy, store, ledger. One file, checked by hashes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pveops.app.audit import own_ledger
from pveops.base.clock import Clock, iso
from pveops.base.errors import ConfigError, InputError
from pveops.base.files import fsync_dir
from pveops.base.version import VERSION
from pveops.guard.audit.check import stable_size
from pveops.guard.killswitch import KillSwitch
from pveops.settings.home import Home
from pveops.store.backup import copy_sqlite, is_sqlite, version_of
from pveops.store.tables import SCHEMA_VERSION

_FORMAT = 1
_MANIFEST = "manifest.json"
_MOST_BYTES = 64 << 30
_MADE_ANEW = ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm")


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup holds."""

    made: str
    version: str
    files: int
    size_bytes: int
    ledger_records: int


def backup(home: Home, target: Path, clock: Clock, *, logs: bool = False) -> Kept:
    """Write the home into a file (mode 0600), also while an executor runs.

    Databases are copied as of one moment, the ledger last, so that it tells of everything that the store knows.

    Raises:
        ConfigError: there is no home, or the file cannot be written.
        InputError: the target exists or lies in the home.
    """
    if not home.root.is_dir():
        raise ConfigError(f"There is no home at {home.root}.", hint="Set PVEOPS_HOME to the one to back up.")
    if target.exists() or target.absolute().is_relative_to(home.root):
        raise InputError(f"{target} exists already or lies in the home.", hint="Name a new file elsewhere, best on another disk.")
    files: dict[str, dict[str, Any]] = {}
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out, tempfile.TemporaryDirectory(prefix="pveops-state-", dir=target.absolute().parent) as folder:
            with tarfile.open(fileobj=out, mode="w:gz", compresslevel=3) as tar:
                for path in _in_order(home, logs=logs):
                    name = path.relative_to(home.root).as_posix()
                    files[name] = _add(tar, name, path, home, Path(folder))
                about = {
                    "format": _FORMAT,
                    "made": iso(clock.now()),
                    "version": VERSION,
                    "store_version": version_of(home.store),
                    "files": files,
                }
                _put(tar, _MANIFEST, json.dumps(about, indent=1).encode(), 0o600)
            out.flush()
            os.fsync(out.fileno())
        partial.rename(target)
        fsync_dir(target.absolute().parent)
    except (OSError, sqlite3.Error) as err:
        partial.unlink(missing_ok=True)
        raise ConfigError(
            f"The backup {target} cannot be written: {err}.", hint="Check both folders and the free space; nothing is left behind."
        ) from err
    return _kept(about)


def restore(source: Path, home: Home, clock: Clock, *, by: str) -> Kept:
    """Bring a backup back into a home that is not there or empty. The kill switch is on afterwards: what happened since the backup is not known here.

    Raises:
        InputError: the home holds something, or the file is no whole backup.
        ConfigError: it is from a newer pveops, or cannot be written.
    """
    root = home.root
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not empty.", hint="Set PVEOPS_HOME to a new folder, or move the old one away first.")
    beside = root.with_name(f".{root.name}.{os.getpid()}.restoring")
    try:
        root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.mkdir(mode=0o700)
        about = _unpack(source, beside)
        if root.exists():
            root.rmdir()
        beside.rename(root)
        fsync_dir(root.parent)
    except OSError as err:
        raise ConfigError(f"{source} cannot be restored to {root}: {err}.", hint="Check the folder and the free space.") from err
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    why = f"restored from a backup of {about['made']}"
    KillSwitch(home.kill_switch, clock).turn(on=True, why=why, by=by)
    own_ledger(home, clock).append("state.restored", actor=by, data={"why": why, "what": source.name, "version": about["version"]})
    return _kept(about)


def look(source: Path) -> Kept:
    """What a backup holds, every file checked.

    Raises:
        InputError: it is no whole backup.
        ConfigError: it is from a newer pveops.
    """
    with tempfile.TemporaryDirectory(prefix="pveops-state-") as folder:
        return _kept(_unpack(source, Path(folder)))


def _in_order(home: Home, *, logs: bool) -> Iterator[Path]:
    """The files to keep; checkpoints before databases before the ledger: what comes later covers what came before."""
    found = sorted(path for path in home.root.rglob("*") if path.is_file() and not path.is_symlink() and _wanted(path, home, logs=logs))
    first = [path for path in found if path == home.checkpoints]
    yield from first
    yield from (path for path in found if path not in (home.checkpoints, home.ledger) and not is_sqlite(path))
    yield from (path for path in found if is_sqlite(path))
    yield from (path for path in found if path == home.ledger)


def _wanted(path: Path, home: Home, *, logs: bool) -> bool:
    inside = path.relative_to(home.root)
    if path == home.executor_lock or path.name.endswith((".tmp", "-wal", "-shm", "-journal")):
        return False
    if path.parent == home.ledger.parent and path.name in _MADE_ANEW:
        return False
    return logs or inside.parts[0] != "logs"


def _add(tar: tarfile.TarFile, name: str, path: Path, home: Home, folder: Path) -> dict[str, Any]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if is_sqlite(path):
        copy = folder / "copy.sqlite"
        copy.unlink(missing_ok=True)
        copy_sqlite(path, copy)
        data = copy.read_bytes()
    else:
        with path.open("rb") as file:
            data = file.read(stable_size(path)) if path == home.ledger else file.read()
    _put(tar, name, data, mode)
    facts: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "mode": mode}
    return facts | ({"records": data.count(b"\n")} if path == home.ledger else {})


def _put(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    tar.addfile(member, io.BytesIO(data))


def _unpack(source: Path, folder: Path) -> dict[str, Any]:
    """Write the files of a backup below a folder and compare each with the manifest."""
    seen: dict[str, str] = {}
    about: dict[str, Any] = {}
    try:
        with tarfile.open(source, mode="r:gz") as tar:
            for member in tar:
                data = _content(tar, member)
                if member.name == _MANIFEST:
                    about = json.loads(data)
                    continue
                seen[member.name] = hashlib.sha256(data).hexdigest()
                _write(folder / member.name, data, member.mode)
        files = {name: str(facts["sha256"]) for name, facts in about["files"].items()}
        _kept(about)
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise InputError(f"{source} is no whole backup of pveops: {err}.", hint="Take another one; nothing was restored.") from err
    except FileNotFoundError as err:
        raise InputError(f"{source} is not there.", hint="Name the file that `pveops state backup` wrote.") from err
    if seen != files:
        wrong = sorted(name for name in seen.keys() | files.keys() if seen.get(name) != files.get(name))
        raise InputError(f"{source} is damaged: {', '.join(wrong[:5])}.", hint="Take another one; nothing was restored.")
    if about["format"] != _FORMAT or int(about["store_version"]) > SCHEMA_VERSION:
        raise ConfigError(f"{source} was made by a newer pveops ({about['version']}).", hint="Upgrade pveops, then restore.")
    return about


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    place = PurePosixPath(member.name)
    file = tar.extractfile(member) if member.isreg() else None
    if file is None or place.is_absolute() or ".." in place.parts or not place.parts or member.size > _MOST_BYTES:
        raise ValueError(f"it holds {member.name!r}, which no backup does")
    return file.read()


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
        os.fchmod(handle, mode & 0o755)
        out.flush()
        os.fsync(handle)


def _kept(about: dict[str, Any]) -> Kept:
    files = about["files"]
    return Kept(
        made=str(about["made"]), version=str(about["version"]), files=len(files), size_bytes=sum(int(facts["size_bytes"]) for facts in files.values()),
        ledger_records=max((int(facts.get("records", 0)) for facts in files.values()), default=0),
    )  # fmt: skip
