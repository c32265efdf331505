"""What a token may do, from ``/access/permissions``: so that a list which Proxmox VE filters silently is called partial, not complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Privileges:
    """Privileges by path, with their propagate flags (1 goes down the tree, 0 holds here only; both are a grant)."""

    paths: Mapping[str, Mapping[str, int]]

    def has(self, privilege: str, path: str) -> bool:
        """Whether the privilege holds on that path. The deepest entry on the way up decides, as in Proxmox VE."""
        here = path
        while True:
            if here in self.paths:
                return bool(self.paths[here].get(privilege, -1) >= (0 if here == path else 1))
            if here == "/":
                return False
            here = here.rpartition("/")[0] or "/"

    def missing(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Of ``{privilege: path}`` those that are not there."""
        return {privilege: path for privilege, path in wanted.items() if not self.has(privilege, path)}
