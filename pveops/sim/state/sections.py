"""Configuration files made of sections: each has a name, a type and options, and all of them together have one digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pveops.sim.errors import failed, modified
from pveops.sim.state.digest import sha1_of

Row = dict[str, Any]

EMPTY_DIGEST = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
"""The digest of a file without content."""


class Options:
    """Which options a type of section has: ``required``, ``optional``, and among them those that cannot change (``fixed``)."""

    __slots__ = ("_fixed", "_optional", "_required")

    def __init__(self, required: str = "", optional: str = "", fixed: str = "") -> None:
        self._required = tuple(required.split())
        self._optional = frozenset(optional.split())
        self._fixed = frozenset(fixed.split())

    def knows(self, name: str) -> bool:
        """Whether there is an option of that name."""
        return name in self._required or name in self._optional

    def check(self, given: Mapping[str, Any], *, create: bool) -> None:
        """Refuse options that the type does not have or that cannot change, and gaps in a new section.

        Raises:
            RefusedError: 500.
        """
        for name in given:
            if not create and name in self._fixed:
                raise failed(f"can't change value of fixed parameter '{name}'")
            if not self.knows(name):
                raise failed(f"unexpected property '{name}'")
        if create:
            for name in self._required:
                if given.get(name) is None:
                    raise failed(f"missing value for required option '{name}'")

    def delete(self, row: Row, given: Mapping[str, Any], names: Iterable[str]) -> None:
        """Take options out of a section.

        Raises:
            RefusedError: 500, one of them cannot go.
        """
        for name in names:
            if not self.knows(name):
                raise failed(f"no such option '{name}'")
            if name in self._required:
                raise failed(f"unable to delete required option '{name}'")
            if name in self._fixed:
                raise failed(f"unable to delete fixed option '{name}'")
            if name in given:
                raise failed(f"cannot set and delete property '{name}' at the same time!")
            row.pop(name, None)


class Sections:
    """The sections of one file, by name, in the order in which they were made."""

    __slots__ = ("rows",)

    def __init__(self, rows: Mapping[str, Row] | None = None) -> None:
        self.rows: dict[str, Row] = {name: dict(row) for name, row in (rows or {}).items()}

    @property
    def digest(self) -> str:
        """Changes with every change in the file."""
        return sha1_of([(name, sorted(row.items(), key=str)) for name, row in self.rows.items()]) if self.rows else EMPTY_DIGEST

    def check_digest(self, digest: str | None) -> None:
        """Refuse a request that was made for another state of the file."""
        if digest is not None and digest != self.digest:
            raise modified()

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def get(self, name: str) -> Row | None:
        """The section of that name."""
        return self.rows.get(name)
