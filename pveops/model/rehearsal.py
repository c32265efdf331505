"""A rehearsal: what a plan did on a simulated copy of the cluster. It stands beside a proposal and is no part of its digest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pveops.model.codec import STRICT
from pveops.model.phases import RunStatus, StepPhase

CapacityKind = Literal["memory", "cpu", "storage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedStep:
    """One step as it went there. ``took_s`` is simulated seconds, from the intent to the effect read back; none if it was not sent."""

    __pydantic_config__: ClassVar[Any] = STRICT

    key: str
    phase: StepPhase
    took_s: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How full something is before and after, as fractions of ``total``: memory in bytes, CPU in threads, storage in bytes.

    ``where`` is a node, or ``storage`` and ``storage on node``.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    kind: CapacityKind
    where: str
    before: float
    after: float
    total: int

    @property
    def changed(self) -> bool:
        """Whether the plan changes it by more than rounding."""
        return abs(self.after - self.before) >= 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The report.

    Attributes:
        plan_digest: of the plan that was rehearsed.
        outcome: how the run ended there; ``unknown`` where it did not come to an end.
        text: the same in a sentence, with the reason where it failed.
        took_s: simulated seconds from the confirmation to the end.
        steps: one per step of the plan, in order.
        capacity: of nodes and storages that the plan touches, before and after.
        warnings: what a person should look at.
        not_known: what the copy could not know.
        looked_at: when the cluster was read, by our clock.
        reads: how many requests that took; all of them only read.
        by: who had it rehearsed; set by the executor.
        at: when it was attached; set by the executor.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    plan_digest: str
    outcome: RunStatus
    text: str
    took_s: float
    steps: tuple[RehearsedStep, ...]
    capacity: tuple[Capacity, ...] = ()
    warnings: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    looked_at: datetime
    reads: int
    by: str = ""
    at: datetime | None = None

    @property
    def good(self) -> int:
        """How many steps went well."""
        return sum(step.phase.good for step in self.steps)
