"""How long things take here, learned from recent tasks.

Task lists show whole seconds. A task id also holds the start of its process in hundredths of a second since the node started; many of them
together tell when that was, so a start is known to a hundredth, and several runs of one thing narrow its length down to much less than a
second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from pveops.base.units import parse_bytes
from pveops.model.tasks import Outcome

Row = Mapping[str, Any]
Thing = Literal["start", "shutdown", "reboot"]

_TICKS_PER_S = 100
_TYPES: dict[tuple[str, str], Thing] = {
    (f"{prefix}{thing}", kind): thing for prefix, kind in (("qm", "qemu"), ("vz", "lxc")) for thing in ("start", "shutdown", "reboot")
}
_RATE = re.compile(r"migration active, transferred .*, (?P<rate>[\d.]+ [KMGT]?i?B)/s")
_USUAL_S: dict[tuple[str, Thing], float] = {
    ("qemu", "start"): 1.8, ("lxc", "start"): 1.1, ("qemu", "shutdown"): 6.0, ("lxc", "shutdown"): 2.4,
}  # fmt: skip
"""Where nothing at all was seen."""
USUAL_BYTES_S = 0.7e9


@dataclass(frozen=True, slots=True)
class Pace:
    """A length with where it comes from: ``own`` runs of this guest, ``others`` of its kind, or neither."""

    value: float
    own: int
    others: int = 0


@dataclass(frozen=True, slots=True)
class _Span:
    """One run: its length in seconds lies between the two."""

    least_s: float
    most_s: float


class Paces:
    """Answers how long things take.

    Args:
        tasks: rows of task lists.
        kinds: ``qemu`` or ``lxc`` by guest id.
        logs: log lines by task id, of migrations.
    """

    def __init__(self, tasks: Iterable[Row], kinds: Mapping[int, str], logs: Mapping[str, Sequence[str]]) -> None:
        good = [row for row in tasks if row.get("endtime") is not None and Outcome.of("stopped", str(row.get("status", ""))).ok]
        boots = _boots(good)
        self._kinds = kinds
        self._spans: dict[tuple[int, Thing], list[_Span]] = {}
        for row in good:
            vmid = int(row["id"]) if str(row.get("id", "")).isdigit() else 0
            thing = _TYPES.get((str(row.get("type")), kinds.get(vmid, "")))
            if thing is not None:
                self._spans.setdefault((vmid, thing), []).append(_span(row, boots))
        self._rates: dict[int, list[float]] = {}
        for upid, lines in logs.items():
            found = [rate for line in lines if (rate := _rate(line))]
            if found:
                self._rates.setdefault(int(upid.split(":")[6]), []).append(median(found))

    def of(self, vmid: int, thing: Literal["start", "shutdown"]) -> Pace:
        """How long a guest takes to start or to shut down, in seconds."""
        own = self._spans.get((vmid, thing), [])
        if own:
            return Pace(_middle(own), len(own))
        if thing == "shutdown" and (reboots := self._spans.get((vmid, "reboot"))):
            return Pace(max(_middle(reboots) - self.of(vmid, "start").value, 0.1), len(reboots))
        kind = self._kinds.get(vmid, "qemu")
        others = [_middle(spans) for (other, what), spans in self._spans.items() if what == thing and self._kinds.get(other) == kind]
        return Pace(median(others) if others else _USUAL_S[kind, thing], 0, len(others))

    def migration(self, vmid: int) -> Pace:
        """What the network carried when this guest was moved live, in bytes per second."""
        own = self._rates.get(vmid)
        if own:
            return Pace(median(own), len(own))
        others = [median(rates) for rates in self._rates.values()]
        return Pace(median(others) if others else USUAL_BYTES_S, 0, len(others))


def _rate(line: str) -> float:
    match = _RATE.search(line)
    return float(parse_bytes(match["rate"])) if match else 0.0


def _boots(tasks: Iterable[Row]) -> Callable[[Row], float | None]:
    """When each node started, to a fraction of a second: the moment that fits all its tasks. None for a node whose tasks do not fit together."""
    edges: dict[str, list[float]] = {}
    for row in tasks:
        start_s, ticks = int(row["starttime"]), int(row.get("pstart") or 0)
        if not ticks:
            continue
        low = start_s - ticks / _TICKS_PER_S
        edges.setdefault(f"{row.get('node')} {round(low / 3600)}", []).append(low)
    fits = {key: (max(lows) + min(lows) + 1.0) / 2 for key, lows in edges.items() if max(lows) - min(lows) < 1.0 + 2 / _TICKS_PER_S}

    def boot_s(row: Row) -> float | None:
        ticks = int(row.get("pstart") or 0)
        low = int(row["starttime"]) - ticks / _TICKS_PER_S
        return fits.get(f"{row.get('node')} {round(low / 3600)}") if ticks else None

    return boot_s


def _span(row: Row, boot: Callable[[Row], float | None]) -> _Span:
    start_s, end_s, boot_s = int(row["starttime"]), int(row["endtime"]), boot(row)
    if boot_s is None:
        return _Span(max(end_s - start_s - 1.0, 0.0), end_s - start_s + 1.0)
    began_s = min(max(boot_s + int(row["pstart"]) / _TICKS_PER_S, start_s), start_s + 1.0)
    return _Span(max(end_s - began_s, 0.0), end_s + 1.0 - began_s)


def _middle(spans: Sequence[_Span]) -> float:
    """The length that fits most runs: the middle of where they overlap most."""
    borders = sorted({edge for span in spans for edge in (span.least_s, span.most_s)})
    pieces = [(low, high) for low, high in pairwise(borders) if high > low]
    votes = [sum(span.least_s <= low and high <= span.most_s for span in spans) for low, high in pieces]
    best = max(votes)
    chosen = [piece for piece, count in zip(pieces, votes, strict=True) if count == best]
    middles = [(low + high) / 2 for low, high in chosen]
    return median(middles)
