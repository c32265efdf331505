"""Counters of nodes: what their guests have used since the node was started. They never go back, whoever moves, stops or is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pveops.sim.physics.load import Load
from pveops.sim.physics.overlay import Floats, Indexes
from pveops.sim.physics.track import Bools, known_guests, runs_of
from pveops.sim.state.cluster import Cluster

NAMES = ("cpu", "net_in", "net_out", "disk_read", "disk_write")
"""Seconds of CPUs, then bytes."""


class Totals(NamedTuple):
    """What the guests of each node have used since its start; one value per node, in the order of the cluster."""

    cpu: Floats
    net_in: Floats
    net_out: Floats
    disk_read: Floats
    disk_write: Floats


@dataclass(slots=True)
class _Segments:
    """Runs as columns: curve, node, begin and its integral, end, weight of the CPU."""

    column: Indexes
    place: Indexes
    begin_s: Floats
    end_s: Floats
    cpus: Floats

    def totals(self, load: Load, until_s: Floats, nodes: int) -> Floats:
        """Per quantity and node: what the runs add up to until those moments."""
        area = load.integral(self.column, until_s) - load.integral(self.column, self.begin_s)
        weights = [load.parameter(name, self.column) * (self.cpus if name == "cpu" else 1.0) for name in NAMES]
        return np.stack([np.bincount(self.place, area * weight, nodes) for weight in weights])


class Ledger:
    """The counters of one state of the cluster: good until something changes.

    Args:
        cluster: the state.
        load: the curves.
    """

    def __init__(self, cluster: Cluster, load: Load) -> None:
        self.generation = cluster.generation
        self._load = load
        self._nodes = len(cluster.nodes)
        place = {name: number for number, name in enumerate(cluster.nodes)}
        whole = {name: float(node.cpus) for name, node in cluster.nodes.items()}
        boots = {name: node.boot_s for name, node in cluster.nodes.items()}
        rows = [
            (guest.index, place[run.node], max(run.begin_s, boots[run.node]), run.end_s, guest.cpus or whole[run.node])
            for guest in known_guests(cluster)
            for run in runs_of(guest)
            if run.node in place and run.end_s > boots[run.node]
        ]
        columns = list(zip(*rows, strict=True)) if rows else [()] * 5
        everything = _Segments(
            np.array(columns[0], np.int64), np.array(columns[1], np.int64), *(np.array(column, np.float64) for column in columns[2:])
        )
        ended = np.isfinite(everything.end_s)
        closed, self._open = _part(everything, ended), _part(everything, ~ended)
        self._closed = closed.totals(load, closed.end_s, self._nodes)
        self._closed += np.stack([load.retired(name, boot_s) for name, boot_s in boots.items()], axis=1)

    def at(self, moment_s: float) -> Totals:
        """The counters at a moment that is not before the last change."""
        until_s = np.maximum(np.full(self._open.begin_s.shape, moment_s), self._open.begin_s)
        return Totals(*(self._closed + self._open.totals(self._load, until_s, self._nodes)))


def _part(segments: _Segments, mask: Bools) -> _Segments:
    return _Segments(segments.column[mask], segments.place[mask], segments.begin_s[mask], segments.end_s[mask], segments.cpus[mask])
