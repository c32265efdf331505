"""Makes a home usable: principals with their credentials, a policy, the kill switch off, a profile. Never overwrites what is there."""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pveops.app.audit import own_ledger
from pveops.base.clock import SystemClock
from pveops.base.errors import ConfigError
from pveops.base.files import write_whole
from pveops.base.secret import Secret
from pveops.guard.killswitch import KillSwitch
from pveops.guard.policy import Policy, shipped
from pveops.guard.principals import Principal, Principals, Role, new_token, save_principals, token_hash
from pveops.model.claims import new_key
from pveops.model.proposal import PrincipalKind
from pveops.settings.credentials import Credential, check_principal, save_credential
from pveops.settings.home import Home
from pveops.settings.profile import load_config


@dataclass(frozen=True, slots=True)
class Wanted:
    """A principal to be made."""

    name: str
    kind: PrincipalKind
    role: Role


USUAL = (
    Wanted("operator", "person", "operator"),
    Wanted("agent", "agent", "proposer"),
    Wanted("runbook", "runbook", "proposer"),
    Wanted("viewer", "service", "viewer"),
)
"""Who a fresh home knows: you, the models you run, your runbooks, and what only looks."""


def add_principals(home: Home, wanted: Iterable[Wanted]) -> list[str]:
    """Make those that are missing, each with a token and, for a person, a signing key; returns the names made.

    Raises:
        ConfigError: the register is damaged or not writable.
    """
    register = Principals(home.principals)
    known = list(register.all()) if home.principals.exists() else []
    names = {one.name for one in known}
    made = []
    for one in wanted:
        if one.name in names:
            continue
        check_principal(one.name)
        token, (private, public) = new_token(), new_key()
        person = one.kind == "person"
        known.append(
            Principal(name=one.name, kind=one.kind, roles=(one.role,), token_sha256=token_hash(token), public_key=public if person else "")
        )
        save_credential(home, Credential(one.name, token, private if person else None))
        made.append(one.name)
    if made:
        save_principals(home.principals, known)
    return made


def add_policy(home: Home, name: str = "homelab") -> bool:
    """Put a shipped policy set into an empty policy folder; returns whether it did.

    Raises:
        ConfigError: there is no such set, or the folder is not writable.
    """
    if home.policy.is_dir() and any(home.policy.glob("*.cedar")):
        return False
    home.policy.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(home.policy / f"{name}.cedar", shipped(name).encode())
    if not (home.policy / "limits.toml").exists():
        write_whole(home.policy / "limits.toml", shipped(f"{name}.toml").encode())
    return True


def shipped_policy(name: str) -> Policy:
    """A shipped set as it would be in force, from a folder of its own that goes when the process ends.

    Raises:
        ConfigError: there is no such set.
    """
    folder = tempfile.TemporaryDirectory(prefix="pveops-policy-")
    atexit.register(folder.cleanup)
    home = Home(Path(folder.name))
    add_policy(home, name)
    return Policy(home.policy)


def arm(home: Home, *, by: str) -> bool:
    """Put the kill switch into its place, off, where it was never set; returns whether it did.

    Raises:
        ConfigError: it cannot be written.
    """
    if home.kill_switch.exists():
        return False
    clock = SystemClock()
    own_ledger(home, clock).append("kill.off", actor=by, data={"why": "set up"})
    KillSwitch(home.kill_switch, clock).turn(on=False, why="set up", by=by)
    return True


def write_secret(home: Home, relative: str, secret: Secret) -> str:
    """Put a secret into a file of the home (mode 0600); returns its relative name, as the profile wants it."""
    write_whole(home.root / relative, f"{secret.reveal()}\n".encode())
    return relative


def add_profile(home: Home, name: str, fields: Mapping[str, Any], *, default: bool) -> None:
    """Add or replace a profile in ``config.toml``, keeping everything else, comments too.

    Raises:
        ConfigError: the result would not be a valid file; nothing is changed then.
    """
    old = home.config.read_text(encoding="utf-8") if home.config.exists() else ""
    if old:
        load_config(home)
    kept = _without_table(old, f"profiles.{name}")
    lines = [f"{key} = {_toml(value)}" for key, value in fields.items() if value not in ("", (), [], None)]
    if default:
        kept = _with_key(kept, "default_profile", name)
    text = f"{kept.rstrip()}\n\n[profiles.{name}]\n" + "\n".join(lines) + "\n"
    write_whole(home.config, text.lstrip().encode())
    try:
        load_config(home)
    except ConfigError:
        if old:
            write_whole(home.config, old.encode())
        else:
            home.config.unlink()
        raise


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _without_table(text: str, table: str) -> str:
    kept, skipping = [], False
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            skipping = stripped == f"[{table}]"
        if not skipping:
            kept.append(line)
    return "\n".join(kept)


def _with_key(text: str, key: str, value: str) -> str:
    lines = [line for line in text.splitlines() if not line.strip().startswith(f"{key} ") and not line.strip().startswith(f"{key}=")]
    return "\n".join([f"{key} = {_toml(value)}", *lines])
