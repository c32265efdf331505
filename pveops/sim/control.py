"""The control door: what no real cluster has. Its address holds a secret and stands in the info file only."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson

from pveops.sim.clock import SimClock
from pveops.sim.contract.coverage import coverage
from pveops.sim.world import World

_PREFIX = "/_sim/"


class Control:
    """Tells the state of the simulation and moves its time.

    ``GET <control>``: simulated time, speed, seed, running tasks, coverage. ``POST <control>/advance`` with ``seconds``: jump forward.
    """

    def __init__(self, world: World, clock: SimClock, secret: str) -> None:
        self._world = world
        self._clock = clock
        self._root = f"{_PREFIX}{secret}"

    @property
    def root(self) -> str:
        """The path of the door."""
        return self._root

    def is_for(self, path: str) -> bool:
        """Whether a request comes through this door; without the secret it is an ordinary unknown path."""
        return path == self._root or path.startswith(f"{self._root}/")

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and JSON of the answer."""
        verb = path[len(self._root) :].strip("/")
        if method == "GET" and not verb:
            return 200, self._state()
        if method == "POST" and verb == "advance":
            return self._advance(query, body)
        return 404, {"error": f"unknown control request: {method} {verb or '(root)'}"}

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

    def _advance(self, query: str, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            seconds = float(orjson.loads(body)["seconds"] if body else parse_qs(query)["seconds"][0])
            self._clock.advance_s(seconds)
        except (KeyError, TypeError, ValueError) as err:
            return 400, {"error": f"advance wants a number of seconds, not negative: {err}"}
        return 200, self._state()
