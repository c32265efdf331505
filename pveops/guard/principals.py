"""Who there is: people, agents, runbooks, viewers. Tokens are kept as hashes, keys as public keys."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pveops.base.errors import ConfigError, Denied
from pveops.base.files import write_whole
from pveops.base.secret import Secret
from pveops.model.proposal import PrincipalKind

Role = Literal["operator", "proposer", "viewer", "auditor"]
KINDS: tuple[PrincipalKind, ...] = get_args(PrincipalKind)
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who may ask. Only a person has a public key, so only a person can approve.

    Attributes:
        token_sha256: of the lasting token; empty where there is none and one has to log in.
        public_key: Ed25519, hexadecimal.
        alias_of: the person this is another name of; approvals of both count once.
        groups: for policies.
        password: argon2id hash; empty where one logs in with the key.
        uids: only processes of these users may use its tokens; empty means any that may connect.
    """

    name: str
    kind: PrincipalKind
    roles: tuple[Role, ...]
    token_sha256: str
    public_key: str = ""
    groups: tuple[str, ...] = ()
    alias_of: str = ""
    password: str = ""
    uids: tuple[int, ...] = ()

    @property
    def person(self) -> str:
        """Who it is, whatever it is called."""
        return self.alias_of or self.name


def new_token() -> Secret:
    """A fresh principal token (256 random bits)."""
    return Secret(f"pvo_{secrets.token_urlsafe(32)}")


def token_hash(token: Secret) -> str:
    """What is stored of a token. It has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()


class Principals:
    """The register, read anew whenever its file changes.

    Raises (on every use):
        ConfigError: missing, damaged, or writable by others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._known: dict[str, Principal] = {}

    def by_token(self, token: Secret) -> Principal:
        """The principal whose token this is.

        Raises:
            Denied: nobody's.
        """
        given = token_hash(token)
        found = None
        for principal in self.all():
            if principal.token_sha256 and hmac.compare_digest(principal.token_sha256, given):
                found = principal
        if found is None:
            raise Denied(
                "This token belongs to no principal.",
                hint="Make one with `pveops init`, or set PVEOPS_PRINCIPAL.",
                details={"rule": "unknown-token"},
            )
        return found

    def get(self, name: str) -> Principal | None:
        """A principal by name."""
        self.all()
        return self._known.get(name)

    def all(self) -> Iterable[Principal]:
        """All principals."""
        try:
            status = self._path.stat()
            if stat.S_IMODE(status.st_mode) & 0o022:
                raise ConfigError(f"Others may write to {self._path}.", hint=f"Run: chmod 600 {self._path}")
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._known = _parse(self._path)
                self._stamp = stamp
        except OSError as err:
            raise ConfigError(f"Cannot read {self._path}: {err.strerror}.", hint="`pveops init` makes it.") from err
        return tuple(self._known.values())


def _parse(path: Path) -> dict[str, Principal]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {}
        for row in data["principals"]:
            kind, roles = str(row["kind"]), tuple(str(role) for role in row["roles"])
            if kind not in KINDS or not set(roles) <= set(ROLES) or str(row["name"]) in found:
                raise ValueError(f"{row['name']}: unknown kind or role, or named twice")
            found[str(row["name"])] = Principal(
                name=str(row["name"]),
                kind=kind,
                roles=cast("tuple[Role, ...]", roles),
                token_sha256=str(row["token_sha256"]),
                public_key=str(row.get("public_key", "")) if kind == "person" else "",
                groups=tuple(str(group) for group in row.get("groups", ())),
                alias_of=str(row.get("alias_of", "")),
                password=str(row.get("password", "")),
                uids=tuple(int(uid) for uid in row.get("uids", ())),
            )
        for one in found.values():
            other = found.get(one.alias_of) if one.alias_of else None
            if one.alias_of and (other is None or other.alias_of or other.kind != "person"):
                raise ValueError(f"{one.name} is called another name of {one.alias_of}, who is no person of this register")
    except (ValueError, KeyError, TypeError) as err:
        raise ConfigError(f"{path} is damaged: {err}.", hint="Restore it, or make a new one with `pveops init`.") from err
    return found


def save_principals(path: Path, principals: Iterable[Principal]) -> None:
    """Write the register.

    Raises:
        ConfigError: it cannot be written.
    """
    rows = [row_of(one) for one in principals]
    write_whole(path, (json.dumps({"version": 1, "principals": rows}, indent=1) + "\n").encode())


def row_of(one: Principal) -> dict[str, Any]:
    """As it is written: what is not set is left out."""
    row = {"name": one.name, "kind": one.kind, "roles": list(one.roles), "token_sha256": one.token_sha256, "public_key": one.public_key}
    more = {"groups": list(one.groups), "alias_of": one.alias_of, "password": one.password, "uids": list(one.uids)}
    return row | {key: value for key, value in more.items() if value}
