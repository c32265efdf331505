"""Guests through time: when they ran and where, and what their curves add up to over any span. Round-robin data, counters and back-fill rest on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pveops.sim.physics.load import Load
from pveops.sim.physics.overlay import Floats
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.ills import Spell
from pveops.sim.state.node import Node

Bools = npt.NDArray[np.bool_]


class Run(NamedTuple):
    """A time of running on one node: from ``begin_s`` until just before ``end_s`` (seconds since the epoch; infinite while it runs)."""

    begin_s: float
    end_s: float
    node: str


def runs_of(guest: Guest) -> list[Run]:
    """When a guest ran and where, oldest first. A move begins a new run."""
    spans = [*guest.past_runs, *([(guest.since_s, math.inf)] if guest.running else [])]
    return [Run(begin_s, end_s, guest.node_at(begin_s)) for begin_s, end_s in spans if end_s > begin_s]


def known_guests(cluster: Cluster) -> Iterator[Guest]:
    """The guests that exist, and those that are gone and whose curves are still known."""
    yield from cluster.guests.values()
    for guest, _ in cluster.former.values():
        if guest.index >= 0:
            yield guest


def running_at(runs: Iterable[Run], times: Floats) -> tuple[Bools, Floats]:
    """At which moments a guest ran, and since when."""
    ran = np.zeros(times.shape, np.bool_)
    since = np.zeros(times.shape)
    for run in runs:
        inside = (times >= run.begin_s) & (times < run.end_s)
        ran |= inside
        since = np.where(inside, run.begin_s, since)
    return ran, since


class Steps:
    """Spans of equal length one after the other.

    Args:
        ends: the end of each span, seconds since the epoch, ascending.
        step_s: the length of each.
    """

    def __init__(self, ends: Floats, step_s: float) -> None:
        self.ends = ends
        self.step_s = step_s
        self._grid = np.concatenate([ends[:1] - step_s, ends])

    def covered_s(self, runs: Iterable[Run]) -> Floats:
        """How many seconds of each span a guest ran."""
        found = np.zeros(self.ends.shape)
        for run in runs:
            found += np.diff(np.clip(self._grid, run.begin_s, run.end_s))
        return found

    def area(self, load: Load, guest: Guest, runs: Iterable[Run]) -> Floats:
        """The integral of the shape of a guest over each span, while it ran."""
        found = np.zeros(self.ends.shape)
        column = np.full(self._grid.shape, guest.index, np.int64)
        for run in runs:
            if run.end_s > self._grid[0] and run.begin_s < self._grid[-1]:
                found += np.diff(load.integral(column, np.clip(self._grid, run.begin_s, run.end_s)))
        return found

    def peak(self, load: Load, guest: Guest, samples: int = 5) -> Floats:
        """The highest of a few moments of each span, whether the guest ran or not."""
        column = np.full(self.ends.shape, guest.index, np.int64)
        moments = [load.shape(column, self.ends - self.step_s * part / samples) for part in range(samples)]
        highest: Floats = np.max(np.stack(moments), axis=0)
        return highest


def counted(load: Load, guest: Guest, runs: Sequence[Run], times: Floats) -> tuple[Bools, Floats, Floats]:
    """At which moments a guest ran, since when, and the integral of its shape since then: what counters of processes show."""
    ran, since = running_at(runs, times)
    column = np.full(times.shape, guest.index, np.int64)
    begun = np.zeros(times.shape)
    for run in runs:
        inside = (times >= run.begin_s) & (times < run.end_s)
        if inside.any():
            begun = np.where(inside, load.integral(column[:1], np.array([run.begin_s]))[0], begun)
    return ran, since, np.where(ran, load.integral(column, times) - begun, 0.0)


def told(gaps: Iterable[Spell], times: Floats) -> Bools:
    """At which moments somebody told what it measured."""
    found = np.ones(times.shape, np.bool_)
    for gap in gaps:
        found &= ~((times > gap.since_s) & (times <= gap.until_s))
    return found


def told_of(cluster_nodes: Iterable[Node], runs: Iterable[Run], times: Floats) -> Bools:
    """At which moments the node of a guest told what it measured."""
    found = np.ones(times.shape, np.bool_)
    gaps = {node.name: node.gaps for node in cluster_nodes if node.gaps}
    for run in runs if gaps else ():
        inside = (times >= run.begin_s) & (times < run.end_s)
        found &= ~inside | told(gaps.get(run.node, ()), times)
    return found
