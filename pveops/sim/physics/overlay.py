"""What bends the curves of single guests for a while: load that follows another rule, memory that leaks, others that leave them less.

Integrals stay in closed form. A bend replaces the shape ``s(t)`` of a guest by
``factor * s(t) + level + swing * sin(turn * (t - since) / period)``. Bends of one guest do not overlap in time. A squeeze leaves a part of
what comes out. What is over stays: round-robin data of that time show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pveops.sim.physics.crowd import Hold
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


@dataclass(slots=True, kw_only=True)
class Squeeze(Spell):
    """What is left to guests as long as nothing changes: one value per column of a curve, up to the last that is held."""

    kept: Floats
    waits: Floats
    lost: Floats

    @classmethod
    def of(cls, held: Mapping[int, Hold], since_s: float) -> Squeeze:
        """That of some guests, by the columns of their curves."""
        size = max(held, default=-1) + 2  # the last one stands for everybody beyond
        kept, waits, lost = np.ones(size), np.zeros(size), np.zeros(size)
        for index, hold in held.items():
            kept[index], waits[index], lost[index] = hold
        return cls(since_s=since_s, kept=kept, waits=waits, lost=lost)

    def of_each(self, table: Floats, index: Indexes) -> Floats:
        """The values of some guests."""
        found: Floats = table[np.minimum(index, table.size - 1)]
        return found

    def inside(self, moment_s: Floats) -> npt.NDArray[np.bool_]:
        """Which moments are within it."""
        found: npt.NDArray[np.bool_] = (moment_s >= self.since_s) & (moment_s < self.until_s)
        return found


@dataclass(slots=True)
class Overlay:
    """All bends, leaks and squeezes, of now and of the past. There are few of them, however many guests there are."""

    bends: list[Bend] = field(default_factory=list)
    squeezes: list[Squeeze] = field(default_factory=list)
    """One after the other in time; while nobody is held there is none."""
    leaks: list[Leak] = field(default_factory=list)

    def forget(self, index: int) -> None:
        """A column belongs to nobody any more."""
        self.bends = [bend for bend in self.bends if bend.index != index]
        self.leaks = [leak for leak in self.leaks if leak.index != index]
        for squeeze in self.squeezes:
            squeeze.kept[index : index + 1] = 1.0
            squeeze.waits[index : index + 1] = squeeze.lost[index : index + 1] = 0.0

    @property
    def changes(self) -> bool:
        """Whether any shape is another than the own one of its guest."""
        return bool(self.bends or self.squeezes)

    def hold(self, held: Mapping[int, Hold], at_s: float) -> None:
        """From that moment on these guests are held, and no others."""
        self.end(self.squeezes[-1:], at_s)
        if held:
            self.squeezes.append(Squeeze.of(held, at_s))

    def holds(self, index: Indexes, moment_s: Floats) -> tuple[Floats, Floats]:
        """What guests lose to others at some moments, and for which part of the time they wait for disks; fractions."""
        lost, waits = np.zeros(moment_s.shape), np.zeros(moment_s.shape)
        for squeeze in self.squeezes:
            inside = squeeze.inside(moment_s)
            lost = np.where(inside, squeeze.of_each(squeeze.lost, index), lost)
            waits = np.where(inside, squeeze.of_each(squeeze.waits, index), waits)
        return lost, waits

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
        for squeeze in self.squeezes:
            inside = squeeze.inside(moment_s)
            if inside.any():
                own = np.where(inside, own * squeeze.of_each(squeeze.kept, index), own)
        return own

    def bend_integral(self, index: Indexes, moment_s: Floats, own: Floats, integral: Curve) -> Floats:
        """The integral of the shape of some guests with what bends it; ``integral`` is that of the own shape."""
        own = self._bent_integral(index, moment_s, own, integral)
        for squeeze in self.squeezes:
            kept, moments = np.broadcast_arrays(squeeze.of_each(squeeze.kept, index), moment_s)
            mask = (moments > squeeze.since_s) & (kept != 1.0)
            if mask.any():
                columns = np.broadcast_to(index, moments.shape)[mask]
                until_s = np.minimum(moments[mask], squeeze.until_s)
                begin_s = np.full(until_s.shape, squeeze.since_s)
                ends = [self._bent_integral(columns, at_s, integral(columns, at_s), integral) for at_s in (until_s, begin_s)]
                own = own.copy()
                own[mask] += (kept[mask] - 1.0) * (ends[0] - ends[1])
        return own

    def _bent_integral(self, index: Indexes, moment_s: Floats, own: Floats, integral: Curve) -> Floats:
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
