"""Looks a home over: modes, damage, versions, what a dead process left. Says of each what to do; mends only modes."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pveops.app.audit import verify_home
from pveops.base.clock import Clock, from_iso
from pveops.base.errors import ConfigError, PveopsError
from pveops.base.units import fmt_bytes
from pveops.guard.audit import Ledger
from pveops.guard.audit.query import Query
from pveops.guard.killswitch import KillSwitch
from pveops.guard.policy import Policy
from pveops.guard.principals import Principals
from pveops.settings.home import Home
from pveops.settings.profile import load_config
from pveops.store.backup import damage_of, version_of
from pveops.store.tables import SCHEMA_VERSION

_LOW_BYTES = 500 << 20
_OUT_BYTES = 20 << 20
_SLACK_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One thing that was looked at."""

    name: str
    result: Literal["ok", "warn", "fail"]
    text: str
    todo: str = ""


def examine(home: Home, clock: Clock, *, mend: bool = False) -> list[Look]:
    """Everything about a home, worst things not first but in a fixed order. With ``mend`` modes that are too wide are narrowed.

    Raises:
        ConfigError: there is no home.
    """
    if not home.root.is_dir():
        raise ConfigError(f"There is no home at {home.root}.", hint="`pveops init` makes one; PVEOPS_HOME names another.")
    return [
        *_modes(home, mend=mend),
        *_settings(home),
        *_switch(home, clock),
        *_store(home),
        *_ledger(home, clock),
        *_left(home),
        *_disk(home),
    ]


def _modes(home: Home, *, mend: bool) -> Iterator[Look]:
    bad = []
    for path in (home.root, *sorted(home.root.rglob("*"))):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            continue
        too_much = 0o077 if _private(path, home) else 0o022
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid != os.getuid():
            bad.append(f"{path.relative_to(home.root)} belongs to uid {status.st_uid}")
        elif mode & too_much and mend:
            path.chmod(mode & ~too_much)
        elif mode & too_much:
            bad.append(f"{path.relative_to(home.root)} has mode {mode:04o}")
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    if bad:
        yield Look(name="modes", result="fail", text=f"{'; '.join(bad[:5])}{more}", todo="pveops state doctor --mend (owners: chown)")
    else:
        yield Look(name="modes", result="ok", text="nothing is open to others that should not be")


def _private(path: Path, home: Home) -> bool:
    """Whether others must not even read it."""
    inside = path.relative_to(home.root).parts
    folders = ("credentials", "executor", "audit")
    return path == home.root or path.name.endswith((".token", ".key")) or (bool(inside) and inside[0] in folders and path.suffix != ".pub")


def _settings(home: Home) -> Iterator[Look]:
    try:
        config = load_config(home)
        yield Look(name="settings", result="ok", text=f"profiles: {', '.join(sorted(config.profiles)) or 'none yet'}")
    except PveopsError as err:
        yield Look(name="settings", result="fail", text=err.message, todo=err.hint)
    try:
        names = [one.name for one in Principals(home.principals).all()]
        yield Look(name="principals", result="ok", text=", ".join(sorted(names)))
    except PveopsError as err:
        yield Look(name="principals", result="fail", text=err.message, todo=err.hint)
    policy = Policy(home.policy)
    if policy.fault:
        yield Look(name="policy", result="fail", text=f"{policy.fault}; nothing is allowed", todo="mend or restore the files of policy/")
    else:
        yield Look(name="policy", result="ok", text=f"{policy.name} ({policy.hash[:8]})")


def _switch(home: Home, clock: Clock) -> Iterator[Look]:
    state = KillSwitch(home.kill_switch, clock).state()
    if state.on:
        yield Look(
            name="kill switch", result="warn", text=f"on: {state.why or 'no reason given'}", todo="pveops kill off --why …, as an operator"
        )
    else:
        yield Look(name="kill switch", result="ok", text="off")


def _store(home: Home) -> Iterator[Look]:
    if not home.store.exists():
        yield Look(name="store", result="warn", text="none yet", todo="the executor makes it at its first start")
        return
    damage, version = damage_of(home.store), version_of(home.store)
    if damage:
        yield Look(
            name="store", result="fail", text=f"damaged: {damage}", todo="stop the executor, restore a backup (pveops state restore)"
        )
    elif version > SCHEMA_VERSION:
        yield Look(name="store", result="fail", text=f"version {version}, this pveops knows {SCHEMA_VERSION}", todo="upgrade pveops")
    elif version < SCHEMA_VERSION:
        yield Look(
            name="store",
            result="warn",
            text=f"version {version}",
            todo="the executor brings it up to date at its next start, and keeps a copy",
        )
    else:
        yield Look(name="store", result="ok", text=f"whole, version {version}")


def _ledger(home: Home, clock: Clock) -> Iterator[Look]:
    try:
        found = verify_home(home)
    except PveopsError as err:
        yield Look(name="ledger", result="fail", text=err.message, todo=err.hint)
        return
    if not found.ok:
        yield Look(
            name="ledger", result="fail", text=f"breaks at record {found.bad_seq}: {found.why}", todo="docs/audit.md, “A damaged ledger”"
        )
        return
    yield Look(name="ledger", result="ok", text=f"{found.records} records are whole, {found.covered} of them signed")
    if not load_config(home).audit.anchors:
        todo = "set [audit] anchors in config.toml"
        yield Look(name="anchors", result="warn", text="none: whoever owns this home could write the ledger anew", todo=todo)
    last = Ledger(home.ledger, clock).find(Query(limit=1))
    ahead_s = (from_iso(str(last[0]["at"])) - clock.now()).total_seconds() if last else 0.0
    if ahead_s > _SLACK_S:
        text = f"the last record is {ahead_s:.0f} s in the future: this machine's clock was set back"
        yield Look(name="clock", result="fail", text=text, todo="set the clock; approvals are bound to time")


def _left(home: Home) -> Iterator[Look]:
    running = _held(home.executor_lock)
    if running:
        yield Look(name="executor", result="ok", text="runs")
    elif home.socket.exists():
        yield Look(
            name="executor", result="warn", text="does not run, and its socket was left behind", todo="nothing: the next start replaces it"
        )
    else:
        yield Look(name="executor", result="ok", text="does not run")
    torn = sorted(path.name for path in home.ledger.parent.glob("*.torn-*")) if home.ledger.parent.is_dir() else []
    if torn:
        todo = "look at them, then move them away: they were never acknowledged"
        yield Look(name="torn lines", result="warn", text=", ".join(torn), todo=todo)
    rest = [path.relative_to(home.root) for path in home.root.rglob(".*.tmp") if not _alive(path)]
    if rest:
        names = ", ".join(str(path) for path in rest[:5])
        yield Look(
            name="left files", result="warn", text=names, todo="remove them: a process died while it wrote; the real files are whole"
        )


def _disk(home: Home) -> Iterator[Look]:
    free = shutil.disk_usage(home.root).free
    if free < _OUT_BYTES:
        yield Look(name="disk", result="fail", text=f"{fmt_bytes(free)} free: soon nothing can be written down", todo="make room")
    elif free < _LOW_BYTES:
        yield Look(name="disk", result="warn", text=f"{fmt_bytes(free)} free", todo="make room; without a ledger nothing runs")
    else:
        yield Look(name="disk", result="ok", text=f"{fmt_bytes(free)} free")


def _held(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _alive(path: Path) -> bool:
    """Whether the process whose pid is in the name of a temporary file lives."""
    pid = path.name.split(".")[-2]
    return pid.isdigit() and Path(f"/proc/{pid}").exists()
