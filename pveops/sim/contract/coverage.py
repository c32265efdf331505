"""How much of the API the simulator answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from pveops.sim.contract.index import index_entries
from pveops.sim.contract.older import schema_of
from pveops.sim.contract.schema import load
from pveops.sim.methods import handlers
from pveops.sim.methods.table import Entry
from pveops.sim.release import NINE, Release


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of methods by class; ``areas`` is class counts by the first part of the path."""

    total: int
    behaves: int
    reads: int
    areas: dict[str, dict[str, int]]

    @property
    def answered(self) -> int:
        """Methods that behave or read."""
        return self.behaves + self.reads

    @property
    def refused(self) -> int:
        """Methods that exist in Proxmox VE and get an honest 501."""
        return self.total - self.answered


@cache
def entries(release: Release = NINE) -> Mapping[tuple[str, str], Entry]:
    """All handlers of a version by verb and path template: those written by hand, and the indexes that follow from the schema.

    Raises:
        ValueError: a handler answers a method that Proxmox VE does not have.
    """
    found = handlers()
    unknown = found.keys() - load().methods.keys()
    if unknown:
        raise ValueError(f"no such methods: {sorted(unknown)}")
    schema = schema_of(release)
    known = {key: entry for key, entry in found.items() if key in schema.methods}
    return MappingProxyType(index_entries(schema) | known)


def coverage() -> Coverage:
    """Count the methods of the shipped schema."""
    schema = load()
    known = entries()
    kinds = Counter(entry.kind for entry in known.values())
    areas: dict[str, Counter[str]] = {}
    for key in schema.methods:
        area = "/".join(key[1].split("/")[1:2])
        areas.setdefault(area, Counter())[known[key].kind if key in known else "refused"] += 1
    return Coverage(len(schema.methods), kinds["behaves"], kinds["reads"], {area: dict(counts) for area, counts in areas.items()})
