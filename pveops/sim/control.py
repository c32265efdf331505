"""The control door: what no real cluster has. Its address holds a secret and stands in the info file only."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import parse_qs

import orjson

from pveops.base.errors import InputError
from pveops.sim.clock import SimClock
from pveops.sim.contract.coverage import coverage
from pveops.sim.faults import scenario
from pveops.sim.faults.engine import Faults
from pveops.sim.faults.kinds import described
from pveops.sim.world import World

_PREFIX = "/_sim/"


class Control:
    """Tells the state of the simulation, moves its time, and brings faults about.

    ``GET <control>``: simulated time, speed, seed, running tasks, coverage. ``POST <control>/advance`` with ``seconds``: jump forward.
    ``GET <control>/faults``: the truth about all faults; ``/faults/kinds``: what there is. ``POST <control>/faults`` with ``kind``,
    ``parameters``, ``in_s``, ``lasts_s``: add one. ``DELETE <control>/faults/{id}`` (or ``all``): clear. ``POST <control>/scenario``: what a
    scenario file holds, as JSON.
    """

    def __init__(self, world: World, clock: SimClock, faults: Faults, secret: str) -> None:
        self._world = world
        self._faults = faults
        self._clock = clock
        self._root = f"{_PREFIX}{secret}"

    @property
    def root(self) -> str:
        """The path of the door."""
        return self._root

    def is_for(self, path: str) -> bool:
        """Whether a request comes through this door; without the secret it is an ordinary unknown path."""
        return path == self._root or path.startswith(f"{self._root}/")

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        verb = path[len(self._root) :].strip("/")
        if method == "GET" and not verb:
            return 200, self._state()
        if method == "POST" and verb == "advance":
            return self._advance(query, body)
        if verb == "scenario" or verb.split("/")[0] == "faults":
            try:
                return self._about_faults(method, verb, body)
            except InputError as err:
                return 400, {"error": err.message, "hint": err.hint}
            except (AttributeError, KeyError, TypeError, ValueError) as err:
                return 400, {"error": f"this is not how faults are asked for: {err!r}"}
        return 404, {"error": f"unknown control request: {method} {verb or '(root)'}"}

    def _about_faults(self, method: str, verb: str, body: bytes) -> tuple[int, Any]:
        found = self._faults
        ident = verb.partition("/")[2]
        if (method, verb) == ("GET", "faults"):
            return 200, found.rows()
        if (method, verb) == ("GET", "faults/kinds"):
            return 200, described()
        if (method, verb) == ("POST", "scenario"):
            return 200, [entry.row() for entry in found.play(scenario.parse(orjson.loads(body), "the scenario"))]
        if (method, verb) == ("POST", "faults"):
            wish = orjson.loads(body)
            in_s, lasts_s = float(wish.get("in_s", 0.0)), float(wish.get("lasts_s", math.inf))
            return 200, found.add(str(wish["kind"]), wish.get("parameters", {}), in_s=in_s, lasts_s=lasts_s).row()
        if method == "DELETE" and ident:
            ended = found.clear_all() if ident == "all" else [found.clear(ident)]
            return 200, [entry.row() for entry in ended]
        return 404, {"error": f"unknown control request: {method} {verb}"}

    def _state(self) -> dict[str, Any]:
        counts = coverage()
        self._world.advance(self._clock.now_s())
        return {
            "now": self._world.cluster.now_s,
            "speed": self._clock.speed,
            "seed": self._world.cluster.seed,
            "planned": len(self._world.cluster.agenda),
            "coverage": {
                "total": counts.total,
                "behaves": counts.behaves,
                "reads": counts.reads,
                "refused": counts.refused,
                "areas": counts.areas,
            },
        }

    def _advance(self, query: str, body: bytes) -> tuple[int, Any]:
        try:
            seconds = float(orjson.loads(body)["seconds"] if body else parse_qs(query)["seconds"][0])
            self._clock.advance_s(seconds)
        except (KeyError, TypeError, ValueError) as err:
            return 400, {"error": f"advance wants a number of seconds, not negative: {err}"}
        return 200, self._state()
