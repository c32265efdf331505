"""The caller's own credential: who we are to the executor."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pveops.base.errors import ConfigError
from pveops.base.files import read_secret, write_whole
from pveops.base.secret import Secret
from pveops.settings.home import Home

_NAME = re.compile(r"^[a-z][a-z0-9._-]{0,31}$")


@dataclass(frozen=True, slots=True)
class Credential:
    """A principal's token and, for people, the private key that signs their approvals."""

    principal: str
    token: Secret
    private_key: Secret | None = None


def check_principal(name: str) -> str:
    """The name of a principal, if it can be one.

    Raises:
        ConfigError: it cannot.
    """
    if not _NAME.match(name):
        raise ConfigError(
            f"{name!r} cannot be the name of a principal.", hint="Lower-case letters, digits, - _ and ., starting with a letter."
        )
    return name


def load_credential(home: Home, principal: str, *, session: bool = True) -> Credential:
    """Read a principal's credential file (mode 0600); with ``session``, the token of a login that is not over comes first.

    Raises:
        ConfigError: missing, open to others, or damaged.
    """
    path = home.credential(check_principal(principal))
    logged_in = open_session(home, principal) if session else None
    if logged_in is not None and not path.exists():
        return Credential(principal, logged_in)
    text = read_secret(path, f"the credential of {principal}").reveal()
    try:
        data = json.loads(text)
        key = data.get("private_key")
        return Credential(str(data["principal"]), logged_in or Secret(str(data["token"])), Secret(str(key)) if key else None)
    except (ValueError, KeyError, AttributeError) as err:
        raise ConfigError(f"{path} is damaged.", hint=f"Make a new one with `pveops init --renew {principal}`.") from err


def save_credential(home: Home, credential: Credential) -> None:
    """Write a principal's credential file, readable by its owner alone.

    Raises:
        ConfigError: it cannot be written.
    """
    data = {"principal": credential.principal, "token": credential.token.reveal()}
    if credential.private_key is not None:
        data["private_key"] = credential.private_key.reveal()
    write_whole(home.credential(check_principal(credential.principal)), (json.dumps(data) + "\n").encode())


def own_credential(home: Home, default: str, env: Mapping[str, str] = os.environ) -> Credential:
    """The credential of ``PVEOPS_PRINCIPAL``, else of the default principal.

    Raises:
        ConfigError: there is none.
    """
    return load_credential(home, env.get("PVEOPS_PRINCIPAL") or default)


def save_session(home: Home, credential: Credential, until: datetime) -> None:
    """Keep the token of a login beside the credential, readable by its owner alone.

    Raises:
        ConfigError: it cannot be written.
    """
    data = {"token": credential.token.reveal(), "until": until.isoformat()}
    write_whole(_session_file(home, credential.principal), (json.dumps(data) + "\n").encode())


def drop_session(home: Home, principal: str) -> None:
    """Forget the token of a login."""
    _session_file(home, principal).unlink(missing_ok=True)


def _session_file(home: Home, principal: str) -> Path:
    return home.credential(check_principal(principal)).with_suffix(".login")


def open_session(home: Home, principal: str) -> Secret | None:
    """The token of a login that is not over."""
    path = _session_file(home, principal)
    if not path.exists():
        return None
    try:
        data = json.loads(read_secret(path, f"the login of {principal}").reveal())
        return Secret(str(data["token"])) if datetime.now(UTC) < datetime.fromisoformat(data["until"]) else None
    except (ValueError, KeyError, TypeError):
        return None  # damaged: log in again
