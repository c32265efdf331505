"""What bends the curves of single guests for a while: load that follows another rule, memory that leaks. Integrals stay in closed form.

A bend replaces the shape ``s(t)`` of a guest by ``factor * s(t) + level + swing * sin(turn * (t - since) / period)``. Bends of one guest do
not overlap in time. What is over stays: round-robin data of that time show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pveops.sim.state.ills import Spell

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.int64]
Curve = Callable[[Indexes, Floats], Floats]

_TURN = 2 * np.pi
FULLEST = 0.985
"""No guest uses more of its memory than this fraction."""


@dataclass(slots=True, kw_only=True)
class Bend(Spell):
    """Another rule for the load of one guest (by the column of its curve)."""

    index: int
    factor: float = 1.0
    level: float = 0.0
    swing: float = 0.0
    period_s: float = 3600.0

    def added(self, moment_s: Floats, own: Floats) -> Floats:
        """What comes on top of the own shape at moments within the spell."""
        wave: Floats = self.swing * np.sin(_TURN * (moment_s - self.since_s) / self.period_s)
        return (self.factor - 1.0) * own + self.level + wave

    def area(self, until_s: Floats) -> Floats:
        """The integral of level and swing from the beginning of the spell."""
        age_s = until_s - self.since_s
        value: Floats = self.level * age_s + self.swing * self.period_s / _TURN * (1.0 - np.cos(_TURN * age_s / self.period_s))
        return value


@dataclass(slots=True, kw_only=True)
class Leak(Spell):
    """Memory that a guest does not give back."""

    index: int
    bytes_per_s: float


@dataclass(slots=True)
class Overlay:
    """All bends and leaks, of now and of the past. There are few of them, however many guests there are."""

    bends: list[Bend] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)

    def forget(self, index: int) -> None:
        """A column belongs to nobody any more."""
        self.bends = [bend for bend in self.bends if bend.index != index]
        self.leaks = [leak for leak in self.leaks if leak.index != index]

    def bent(self, index: int, moment_s: float) -> bool:
        """Whether a guest's load follows another rule at that moment."""
        return any(bend.index == index and bend.at(moment_s) for bend in self.bends)

    def end(self, spells: Iterable[Spell], at_s: float) -> None:
        """End some spells that are still under way."""
        for spell in spells:
            if math.isinf(spell.until_s):
                spell.until_s = max(at_s, spell.since_s)

    def bend_shape(self, index: Indexes, moment_s: Floats, own: Floats) -> Floats:
        """The shape of some guests with what bends it."""
        for bend in self.bends:
            mask = (index == bend.index) & (moment_s >= bend.since_s) & (moment_s < bend.until_s)
            if mask.any():
                own = np.where(mask, own + bend.added(moment_s, own), own)
        return own

    def bend_integral(self, index: Indexes, moment_s: Floats, own: Floats, integral: Curve) -> Floats:
        """The integral of the shape of some guests with what bends it; ``integral`` is that of the own shape."""
        for bend in self.bends:
            mask = (index == bend.index) & (moment_s > bend.since_s)
            if not mask.any():
                continue
            column = np.full(moment_s.shape, bend.index, np.int64)
            until_s = np.clip(moment_s, bend.since_s, bend.until_s)
            began = integral(column, np.full(moment_s.shape, bend.since_s))
            extra = (bend.factor - 1.0) * (integral(column, until_s) - began) + bend.area(until_s)
            own = np.where(mask, own + extra, own)
        return own

    def leaked(self, index: Indexes, moment_s: Floats) -> Floats | None:
        """Bytes that some guests have lost to leaks; nothing where there is none."""
        found: Floats | None = None
        for leak in self.leaks:
            mask = (index == leak.index) & (moment_s >= leak.since_s) & (moment_s < leak.until_s)
            if mask.any():
                lost = np.where(mask, (moment_s - leak.since_s) * leak.bytes_per_s, 0.0)
                found = lost if found is None else found + lost
        return found
