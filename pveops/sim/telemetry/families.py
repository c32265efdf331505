"""Metric families, and their two ways to be printed: as a page for a scraper, and as a file with a time on each sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pveops.sim.physics.overlay import Floats

Kind = Literal["gauge", "counter"]
Value = float | Floats
"""One value, or one per moment where there are several; NaN where there is none."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DIGITS = ".15g"


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name. A sample is its labels as text (without braces) and its value."""

    name: str
    kind: Kind
    about: str
    samples: Iterable[tuple[str, Value]]


def escaped(text: str) -> str:
    """A text as the value of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def labels(**names: object) -> str:
    """Labels as text, in the order given."""
    return ",".join(f'{name}="{escaped(str(value))}"' for name, value in names.items())


def joined(*parts: str) -> str:
    """Several texts of labels as one."""
    return ",".join(part for part in parts if part)


def number(value: Value) -> str:
    """A value as text."""
    if isinstance(value, int):
        return str(value)
    return repr(float(value if isinstance(value, float) else value[-1]))


def page(family: Family) -> bytes:
    """A family as a scraper reads it; of several moments the last."""
    name = family.name
    head = f"# HELP {name} {family.about}\n# TYPE {name} {family.kind}\n"
    rows = [f"{name}{{{found}}} {number(value)}\n" if found else f"{name} {number(value)}\n" for found, value in family.samples]
    return (head + "".join(rows)).encode()


def merged(families: Iterable[Family]) -> list[Family]:
    """Families of the same name as one, in the order of their first."""
    found: dict[str, list[Family]] = {}
    for family in families:
        found.setdefault(family.name, []).append(family)
    return [Family(name, some[0].kind, some[0].about, _chain(some)) for name, some in found.items()]


def _chain(families: list[Family]) -> list[tuple[str, Value]]:
    return [sample for family in families for sample in family.samples]


def timed(family: Family, stamps: list[str], extra: str = "") -> Iterator[str]:
    """A family as OpenMetrics with a time on each sample, series by series.

    Args:
        family: its values are one per moment, or one for all moments.
        stamps: the moments, seconds since the epoch as text.
        extra: labels that every sample gets.
    """
    name = family.name
    declared = name.removesuffix("_total") if family.kind == "counter" else name
    yield f"# HELP {declared} {family.about}\n# TYPE {declared} {family.kind}\n"
    for found, value in family.samples:
        head = f"{name}{{{joined(extra, found)}}} "
        yield "".join(_rows(head, value, stamps))


def _rows(head: str, value: Value, stamps: list[str]) -> Iterator[str]:
    if isinstance(value, (int, float)):
        text = number(value)
        return (f"{head}{text} {stamp}\n" for stamp in stamps)
    values = np.asarray(value, np.float64).tolist()
    return (f"{head}{one:{_DIGITS}} {stamp}\n" for one, stamp in zip(values, stamps, strict=True) if one == one)  # noqa: PLR0124 - NaN is no sample
