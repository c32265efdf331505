"""Who may do what where: the effective privileges of a principal on a path."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pveops.sim.errors import RefusedError, forbidden
from pveops.sim.state.identity import ROOT, AclNode, Identities, Principal

Privileges = dict[str, int]
"""Privilege to 1 (also for everything below the path) or 0 (for this path only). 0 is a grant too."""

PoolOf = Callable[[str], str | None]
"""The pool of an ACL path of a guest or storage."""

_PATH = re.compile(r"/?[A-Za-z0-9.\-_/]*")
_MOST_CACHED = 60_000

_SEGMENT = r"[A-Za-z0-9.\-_]+"
ACL_PATHS = re.compile(
    rf"/|/access(/groups|/groups/{_SEGMENT}|/realm|/realm/{_SEGMENT})?|/nodes(/{_SEGMENT})?|/pool(/{_SEGMENT}){{0,3}}"
    rf"|/sdn(/zones(/{_SEGMENT}(/{_SEGMENT}(/\d+)?)?)?|/(controllers|dns|fabrics|ipams|prefix-lists|route-maps)(/{_SEGMENT})?)?"
    rf"|/storage(/{_SEGMENT})?|/vms(/[1-9][0-9]{{2,}})?|/mapping(/(cpu|dir|pci|usb)(/{_SEGMENT})?|/notifications(/{_SEGMENT})?)?"
)
"""Paths that can have ACL entries."""


def normalize(path: str) -> str:
    """One leading slash, single slashes, none at the end; the empty text for a path with characters that no path has."""
    if not _PATH.fullmatch(path):
        return ""
    return "/" + "/".join(part for part in path.split("/") if part)


class Access:
    """Evaluates the ACL. Answers are kept until identities or pools change."""

    def __init__(self, identities: Identities, pool_of: PoolOf) -> None:
        self._ids = identities
        self._pool_of = pool_of
        self._generation = -1
        self._known: dict[tuple[Principal, str], Privileges] = {}

    def forget(self) -> None:
        """Call when pool members change."""
        self._known.clear()

    def privileges(self, who: Principal, path: str) -> Privileges:
        """What ``who`` may do on ``path``."""
        if self._generation != self._ids.generation or len(self._known) > _MOST_CACHED:
            self._known.clear()
            self._generation = self._ids.generation
        key = (who, path)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._evaluate(who, path)
        return found

    def _evaluate(self, who: Principal, path: str) -> Privileges:
        if not path:
            return {}
        if who.is_root:
            return dict.fromkeys(self._ids.privileges, 1)
        if who.userid not in self._ids.users:
            return {}
        if not who.token:
            return self._with_pool(who, path)
        token = self._ids.token(who.name)
        if token is None:
            return {}
        owner = Principal(who.userid)
        if not token.privsep:
            return self.privileges(owner, path)
        own = self._with_pool(who, path)
        if who.userid == ROOT:
            return own
        limit = self.privileges(owner, path)
        return {name: propagates for name, propagates in own.items() if name in limit}

    def _with_pool(self, who: Principal, path: str) -> Privileges:
        """The privileges of the path itself, and what its pool adds unless NoAccess bars it."""
        roles = self._roles(who, path)
        if "NoAccess" in roles:
            return {}
        found = self._merge(roles)
        pool = self._pool_of(path)
        if pool is not None:
            for name in self._merge(self._roles(who, f"/pool/{pool}")):
                found.setdefault(name, 0)
        return found

    def _merge(self, roles: dict[str, bool]) -> Privileges:
        found: Privileges = {}
        for role, propagates in roles.items():
            known = self._ids.roles.get(role)
            for name in known.privileges if known else ():
                found[name] = max(found.get(name, 0), int(propagates))
        return {} if "NoAccess" in roles else found

    def _roles(self, who: Principal, path: str) -> dict[str, bool]:
        """The roles on a path: an entry deeper in the tree replaces what is inherited."""
        roles: dict[str, bool] = {}
        parts = [part for part in path.split("/") if part]
        groups = [] if who.token else self._ids.groups_of(who.userid)
        for depth in range(len(parts) + 1):
            node = self._ids.acl.get("/" + "/".join(parts[:depth]))
            if node is None:
                continue
            here = {role: keeps for role, keeps in self._entries(node, who, groups) if keeps or depth == len(parts)}
            if here:
                roles = here
        return roles

    @staticmethod
    def _entries(node: AclNode, who: Principal, groups: list[str]) -> list[tuple[str, bool]]:
        """The entries of one path that count: a token's own; else the user's own; else those of the groups."""
        if who.token:
            return list(node.tokens.get(who.name, {}).items())
        if who.userid in node.users:
            return list(node.users[who.userid].items())
        return [entry for group in groups for entry in node.groups.get(group, {}).items()]

    def may(self, who: Principal, path: str, *names: str) -> bool:
        """Whether ``who`` has all of the privileges."""
        found = self.privileges(who, path)
        return all(name in found for name in names)

    def may_any(self, who: Principal, path: str, *names: str) -> bool:
        """Whether ``who`` has one of the privileges."""
        found = self.privileges(who, path)
        return any(name in found for name in names)

    def demand(self, who: Principal, path: str, *names: str) -> None:
        """Refuse with 403 unless ``who`` has all of the privileges."""
        found = self.privileges(who, path)
        for name in names:
            if name not in found:
                raise forbidden(f"{path}, {name}")

    def demand_any(self, who: Principal, path: str, *names: str) -> None:
        """Refuse with 403 unless ``who`` has one of the privileges."""
        if not self.may_any(who, path, *names):
            raise lacking(path, names)


def lacking(path: str, names: Iterable[str]) -> RefusedError:
    """403 for a path where one of several privileges was wanted."""
    return forbidden(f"{path}, {'|'.join(names)}")
