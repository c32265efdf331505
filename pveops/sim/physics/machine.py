"""The heat of a node: temperatures, fans, power. All follow from time and from what its guests did in the last minutes."""

from __future__ import annotations

import math
from typing import NamedTuple

from pveops.sim.physics.curves import DAY_S, Curves
from pveops.sim.physics.live import live_guests
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node

_YEAR_S = 365.2425 * DAY_S
LAG_S = (60.0, 180.0, 300.0)
"""A processor is as warm as its load of a few moments ago."""

_IDLE_WATT_PER_CPU = 1.9
_BUSY_WATT_PER_CPU = 4.4
_BASE_WATT = 62.0
_COOLEST_RPM = 3400.0
CRITICAL_CELSIUS = 95.0


class Heat(NamedTuple):
    """Degrees Celsius of inlet air and of each processor package, revolutions per minute of each fan, watts of the whole node."""

    inlet: float
    packages: tuple[float, ...]
    fans: tuple[float, ...]
    watt: float


def inlet_celsius(seed: int, node: Node, moment_s: float) -> float:
    """The air that a node breathes: the room follows day and year a little, each rack is different."""
    rack = noise.between(19.5, 23.0, seed, "rack", node.name)
    day = 0.9 * math.sin(math.tau * (moment_s / DAY_S - 0.38))
    year = 1.4 * math.sin(math.tau * (moment_s / _YEAR_S - 0.3))
    return rack + day + year


def heat(seed: int, node: Node, cpu: float, moment_s: float) -> Heat:
    """The heat of a node whose CPUs were in use by ``cpu`` (a fraction) over the last minutes."""
    inlet = inlet_celsius(seed, node, moment_s)
    packages = []
    for number in range(node.sockets):
        paste = noise.between(0.92, 1.1, seed, "paste", node.name, number)
        packages.append(round(inlet + (13.0 + 46.0 * cpu) * paste, 1))
    hottest = max(packages)
    fans = []
    for number in range(node.sockets + 2):
        own = noise.between(0.97, 1.03, seed, "fan", node.name, number)
        fans.append(round((_COOLEST_RPM + 95.0 * max(hottest - 40.0, 0.0)) * own / 60) * 60.0)
    return Heat(round(inlet, 1), tuple(packages), tuple(fans), round(watts(node, cpu), 1))


def watts(node: Node, cpu: float) -> float:
    """The power that a node takes at that CPU use: linear, so energy is as exact as seconds of CPU."""
    return _BASE_WATT + node.cpus * (_IDLE_WATT_PER_CPU + _BUSY_WATT_PER_CPU * cpu)


def joules(node: Node, cpu_seconds: float, age_s: float) -> float:
    """The energy of the processors since the start of a node: ``cpu_seconds`` of its CPUs in ``age_s`` seconds."""
    return node.cpus * _IDLE_WATT_PER_CPU * age_s + _BUSY_WATT_PER_CPU * cpu_seconds


def warm_cpu(cluster: Cluster, load: Curves, node: Node, moment_s: float, own: float) -> float:
    """The CPU use of a node over the last minutes, as a fraction; ``own`` is what it needs itself."""
    guests = [guest for guest in cluster.guests_on(node.name) if guest.running]
    total = 0.0
    for lag_s in LAG_S:
        samples = live_guests(load, guests, moment_s - lag_s)
        total += sum(sample.cpu * (guest.cpus or node.cpus) for guest, sample in zip(guests, samples, strict=True))
    return min(own + total / len(LAG_S) / max(node.cpus, 1), 1.0)
