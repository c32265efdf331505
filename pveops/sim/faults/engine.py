"""Adds, watches and ends faults, and keeps the truth about each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pveops.base.errors import InputError
from pveops.sim.faults.kinds import find
from pveops.sim.faults.scenario import Step
from pveops.sim.faults.spec import Fault, Stage, Values
from pveops.sim.faults.weather import Effect, Weather
from pveops.sim.world import World

State = Literal["planned", "active", "repaired", "cleared", "expired", "void"]
"""``repaired``: somebody did the right thing. ``cleared``: by hand. ``expired``: its time was over. ``void``: it could not begin."""

_MOST = 200


@dataclass(slots=True)
class Entry:
    """The truth about one fault. Times are simulated seconds since the epoch."""

    ident: str
    kind: type[Fault]
    given: Mapping[str, Any]
    planned_s: float
    lasts_s: float
    state: State = "planned"
    values: Values = field(default_factory=dict)
    component: str = ""
    start_s: float | None = None
    end_s: float | None = None
    reason: str = ""
    fault: Fault | None = None

    def row(self) -> dict[str, Any]:
        """All of it as data."""
        return {
            "id": self.ident,
            "kind": self.kind.name,
            "state": self.state,
            "component": self.component,
            "parameters": dict(self.values or self.given),
            "cause": self.kind.cause,
            "repair": self.kind.repair,
            "by": self.kind.by,
            "start": _stamp(self.start_s if self.start_s is not None else self.planned_s),
            "end": _stamp(self.end_s),
            "start_s": self.start_s if self.start_s is not None else self.planned_s,
            "end_s": self.end_s,
            **({"reason": self.reason} if self.reason else {}),
        }


def _stamp(moment_s: float | None) -> str | None:
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment_s is not None else None


class Faults:
    """All faults of a world.

    Args:
        world: where they happen.
        stage: what they act on; made from the world when there is no server around it.
    """

    def __init__(self, world: World, stage: Stage | None = None) -> None:
        self._stage = stage or Stage(world, Weather(world.cluster.seed))
        self._world = world
        self._entries: dict[str, Entry] = {}
        self._active: list[Entry] = []
        self._count = 0
        world.cluster.watchers.append(self.look)

    def add(self, name: str, given: Mapping[str, Any] | None = None, *, in_s: float = 0.0, lasts_s: float = math.inf) -> Entry:
        """Bring a fault about, now or ``in_s`` simulated seconds from now; after ``lasts_s`` it ends by itself.

        Raises:
            InputError: there is no such fault, a parameter is not allowed, or there are too many.
        """
        kind = find(name)
        if not in_s >= 0 or not lasts_s > 0:
            raise InputError(f"{name} cannot begin in {in_s:g} s and last {lasts_s:g} s.", hint="Neither may be negative.")
        self.look()
        if sum(entry.state in ("planned", "active") for entry in self._entries.values()) >= _MOST:
            raise InputError(f"There are {_MOST} faults already.", hint="Clear some of them first.")
        values = kind.read(given or {}, self._world)
        now_s = self._world.cluster.now_s
        self._count += 1
        entry = Entry(f"{name}-{self._count}", kind, dict(given or {}), now_s + in_s, lasts_s, values=values)
        if in_s > 0:
            self._world.cluster.agenda.add(entry.planned_s, lambda: self._begin_planned(entry))
        else:
            self._begin(entry)
        self._entries[entry.ident] = entry
        return entry

    def play(self, steps: Iterable[Step]) -> list[Entry]:
        """Plan what a scenario says; nothing of it happens when one step is not possible.

        Raises:
            InputError: a step is not possible.
        """
        chosen = list(steps)
        for step in chosen:
            find(step.kind).read(step.given, self._world)
        return [self.add(step.kind, step.given, in_s=step.at_s, lasts_s=step.lasts_s) for step in chosen]

    def _begin_planned(self, entry: Entry) -> None:
        if entry.state != "planned":
            return
        try:
            entry.values = entry.kind.read(entry.given, self._world)
            self._begin(entry)
        except InputError as err:
            entry.state, entry.reason, entry.end_s = "void", err.message, self._world.cluster.now_s

    def _begin(self, entry: Entry) -> None:
        now_s = self._world.cluster.now_s
        fault = entry.kind(self._stage, entry.values)
        fault.begin()
        fault.watch()
        self._world.crowd.look()
        entry.fault, entry.state, entry.start_s, entry.component = fault, "active", now_s, fault.component
        self._active.append(entry)
        if math.isfinite(entry.lasts_s):
            self._world.cluster.agenda.add(now_s + entry.lasts_s, lambda: self._expire(entry))

    def _expire(self, entry: Entry) -> None:
        if entry.state == "active" and entry.fault is not None:
            entry.fault.undo()
            self._end(entry, "expired")

    def _end(self, entry: Entry, state: State) -> None:
        entry.state, entry.end_s = state, self._world.cluster.now_s
        self._active.remove(entry)
        if entry.fault is not None:
            entry.fault.over = True
            entry.fault.settle()
        entry.fault = None
        self._world.crowd.look()

    def look(self) -> None:
        """See which faults somebody has put right."""
        for entry in list(self._active):
            if entry.state != "active" or entry.fault is None:
                continue
            if entry.fault.healed():
                self._end(entry, "repaired")
            else:
                entry.fault.watch()
        self._world.crowd.look()

    def clear(self, ident: str) -> Entry:
        """Put a fault right by hand, or forget one that is planned.

        Raises:
            InputError: there is none of that name, or it is over.
        """
        self.look()
        entry = self._entries.get(ident)
        if entry is None or entry.state not in ("planned", "active"):
            alive = ", ".join(one.ident for one in self._entries.values() if one.state in ("planned", "active"))
            over = f"{ident} is over ({entry.state})." if entry is not None else f"There is no fault {ident!r}."
            raise InputError(over, hint=f"Under way or planned: {alive or 'none'}.")
        if entry.state == "planned":
            entry.state, entry.end_s = "cleared", self._world.cluster.now_s
            return entry
        if entry.fault is not None:
            entry.fault.undo()
        self._end(entry, "cleared")
        return entry

    def clear_all(self) -> list[Entry]:
        """Clear whatever is planned or under way, the latest first."""
        self.look()
        alive = [entry.ident for entry in self._entries.values() if entry.state in ("planned", "active")]
        return [self.clear(ident) for ident in reversed(alive) if self._entries[ident].state in ("planned", "active")]

    def rows(self) -> list[dict[str, Any]]:
        """The truth about all faults so far, oldest first."""
        self.look()
        return [entry.row() for entry in self._entries.values()]

    def over(self, verb: str, path: str) -> Effect | None:
        """What happens to a request on its way."""
        return self._stage.weather.over(verb, path) if self._stage.weather.rules else None
