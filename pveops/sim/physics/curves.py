"""What is known of load curves without computing them: profiles of guests, and the values that come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple, Protocol

from pveops.sim.state.guest import Guest

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Profile:
    """How guests of one kind behave: mean CPU fraction, burst height over the mean, memory fraction, bytes per second in and out."""

    cpu: float
    burst: float
    memory: float
    net_in: float
    net_out: float
    disk_read: float
    disk_write: float


PROFILES = {
    "web": Profile(0.11, 1.6, 0.48, 90e3, 420e3, 22e3, 60e3),
    "db": Profile(0.19, 1.1, 0.74, 160e3, 240e3, 900e3, 640e3),
    "cache": Profile(0.07, 0.8, 0.81, 350e3, 520e3, 2e3, 9e3),
    "ci": Profile(0.16, 3.6, 0.42, 300e3, 60e3, 420e3, 900e3),
    "file": Profile(0.05, 1.2, 0.36, 520e3, 780e3, 1.1e6, 620e3),
    "mail": Profile(0.06, 1.0, 0.52, 40e3, 52e3, 70e3, 110e3),
    "monitor": Profile(0.10, 0.6, 0.58, 210e3, 70e3, 60e3, 480e3),
    "net": Profile(0.08, 0.9, 0.31, 2.4e6, 2.4e6, 1e3, 6e3),
    "idle": Profile(0.015, 0.7, 0.27, 3e3, 2e3, 1e3, 5e3),
}


PROFILE_ROWS = {name: astuple(profile) for name, profile in PROFILES.items()}
"""The same as plain numbers, in the order of the fields."""


class Sample(NamedTuple):
    """Momentary values of one guest. Rates are bytes per second, counters bytes since the start, memory and disk bytes."""

    cpu: float
    mem: int
    memhost: int
    disk: int
    netin: int
    netout: int
    diskread: int
    diskwrite: int
    uptime: int


STILL = Sample(0, 0, 0, 0, 0, 0, 0, 0, 0)
"""What a guest that does not run shows."""


class Curves(Protocol):
    """Gives momentary values of running guests."""

    def samples(self, guests: Sequence[Guest], moment_s: float, since_s: Sequence[float]) -> list[Sample]:
        """Values at a moment of guests that were started at ``since_s``, all in seconds since the epoch."""
        ...

    def crew(self, guests: Sequence[Guest], since_s: Sequence[float], places: Mapping[str, int] | None = None) -> Any:
        """The guests in the form that ``values`` takes, ``places`` numbers the nodes; good until one of them changes."""
        ...

    def values(self, crew: Any, moment_s: Any) -> Any:
        """The same values as those of ``samples`` as arrays; ``moment_s`` is one moment, or one per guest."""
        ...

    def node_sums(self, crew: Any, values: Any, whole_cpus: Sequence[int]) -> list[tuple[float, float]]:
        """What running guests add up to on each node: busy CPUs, and memory in bytes; ``whole_cpus`` are the CPUs of the nodes."""
        ...
