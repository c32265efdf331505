"""Users, groups, roles, API tokens and access control lists."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from pveops.sim.privileges import BUILT_IN_ROLES, OLD_PRIVILEGES, OLD_ROLES, PRIVILEGES

ROOT = "root@pam"


@dataclass(slots=True)
class Token:
    """An API token of a user. ``expire_s`` is seconds since the epoch, 0 for never."""

    name: str
    secret: str
    privsep: bool = True
    expire_s: int = 0
    comment: str = ""


@dataclass(slots=True)
class User:
    """A user. ``password`` is a salted hash, empty when no password works."""

    userid: str
    password: str = ""
    enable: bool = True
    expire_s: int = 0
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    had_email: bool = False
    """Whether somebody set an address, even an empty one: then it is shown."""
    comment: str = ""
    keys: str = ""
    tokens: dict[str, Token] = field(default_factory=dict)
    factors: dict[str, dict[str, object]] = field(default_factory=dict)
    """Second factors by their ids."""

    @property
    def realm(self) -> str:
        """What stands behind the last ``@``."""
        return self.userid.rpartition("@")[2]

    def usable(self, wall_s: float) -> bool:
        """Enabled and not expired."""
        return self.enable and (self.expire_s == 0 or self.expire_s > wall_s)


@dataclass(slots=True)
class Group:
    """A group of users."""

    groupid: str
    comment: str = ""
    members: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Role:
    """A set of privileges; built-in roles cannot be changed."""

    roleid: str
    privileges: frozenset[str]
    built_in: bool = False


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: a user, or a user by way of one of their tokens."""

    userid: str
    token: str = ""

    @property
    def name(self) -> str:
        """``admin@pve`` or ``admin@pve!t1``."""
        return f"{self.userid}!{self.token}" if self.token else self.userid

    @property
    def is_root(self) -> bool:
        """The superuser in person; a token of root is somebody else."""
        return self.userid == ROOT and not self.token


NOBODY = Principal("")
"""Who asks without credentials."""


@dataclass(slots=True)
class AclNode:
    """The entries of one path: kind of holder, then holder, then role to *propagates*."""

    users: dict[str, dict[str, bool]] = field(default_factory=dict)
    groups: dict[str, dict[str, bool]] = field(default_factory=dict)
    tokens: dict[str, dict[str, bool]] = field(default_factory=dict)

    def kind(self, name: str) -> dict[str, dict[str, bool]]:
        """The entries of ``user``, ``group`` or ``token``."""
        return {"user": self.users, "group": self.groups, "token": self.tokens}[name]

    def __bool__(self) -> bool:
        return bool(self.users or self.groups or self.tokens)


def hash_password(password: str) -> str:
    """A salted hash: ``salt$hex``. Cheap on purpose: these passwords guard a simulation."""
    salt = secrets.token_hex(8)
    return f"{salt}${hashlib.sha256(f'{salt}{password}'.encode()).hexdigest()}"


def password_fits(stored: str, password: str) -> bool:
    """Whether the password is the one that was hashed."""
    salt, _, digest = stored.partition("$")
    return bool(stored) and hmac.compare_digest(digest, hashlib.sha256(f"{salt}{password}".encode()).hexdigest())


@dataclass(slots=True)
class Identities:
    """Everything that ``user.cfg`` of a real cluster holds. ``generation`` grows with each change that can alter a permission."""

    users: dict[str, User] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    realms: dict[str, dict[str, str | int]] = field(default_factory=dict)
    acl: dict[str, AclNode] = field(default_factory=dict)
    generation: int = 0
    privileges: frozenset[str] = PRIVILEGES
    """Every privilege that there is."""

    def grow_old(self) -> None:
        """Have the privileges and built-in roles of Proxmox VE 8, before anybody was added."""
        self.privileges = OLD_PRIVILEGES
        self.roles = {name: Role(name, privileges, built_in=True) for name, privileges in OLD_ROLES.items()}

    @classmethod
    def fresh(cls) -> Identities:
        """The identities of a fresh installation."""
        found = cls()
        found.users[ROOT] = User(ROOT)
        found.roles = {name: Role(name, privileges, built_in=True) for name, privileges in BUILT_IN_ROLES.items()}
        found.realms = {
            "pam": {"type": "pam", "comment": "Linux PAM standard authentication"},
            "pve": {"type": "pve", "comment": "Proxmox VE authentication server"},
        }
        return found

    def changed(self) -> None:
        """Call after each change of users, groups, roles, tokens or ACL."""
        self.generation += 1

    def groups_of(self, userid: str) -> list[str]:
        """The groups that a user is in."""
        return [group.groupid for group in self.groups.values() if userid in group.members]

    def token(self, name: str) -> Token | None:
        """The token ``user@realm!id``."""
        userid, _, token = name.partition("!")
        user = self.users.get(userid)
        return user.tokens.get(token) if user else None

    def grant(self, path: str, kind: str, holder: str, role: str, *, propagate: bool = True) -> None:
        """Add or replace one ACL entry; ``kind`` is ``user``, ``group`` or ``token``."""
        self.acl.setdefault(path, AclNode()).kind(kind).setdefault(holder, {})[role] = propagate
        self.changed()

    def revoke(self, path: str, kind: str, holder: str, role: str) -> None:
        """Remove one ACL entry; nothing happens when there is none."""
        node = self.acl.get(path)
        if node is None:
            return
        entries = node.kind(kind)
        if holder in entries:
            entries[holder].pop(role, None)
            if not entries[holder]:
                del entries[holder]
        if not node:
            del self.acl[path]
        self.changed()

    def entries(self) -> Iterator[tuple[str, str, str, str, bool]]:
        """Every ACL entry: path, kind, holder, role, propagate."""
        for path in sorted(self.acl):
            for kind in ("user", "group", "token"):
                for holder, roles in sorted(self.acl[path].kind(kind).items()):
                    for role, propagate in sorted(roles.items()):
                        yield path, kind, holder, role, propagate

    def forget(self, kind: str, holder: str) -> None:
        """Remove every ACL entry of a user, group or token that is gone."""
        for path in list(self.acl):
            for role in list(self.acl[path].kind(kind).get(holder, ())):
                self.revoke(path, kind, holder, role)
                if path not in self.acl:
                    break

    def forget_role(self, role: str) -> None:
        """Remove every ACL entry with a role that is gone."""
        for path, kind, holder, found, _ in list(self.entries()):
            if found == role:
                self.revoke(path, kind, holder, role)
