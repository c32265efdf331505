"""Reads what the nodes write, while they write it, and keeps each outlet supplied, also when it is away for a while."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from pveops.sim.state.journal import Event
from pveops.sim.telemetry.outlets import Outlet, OutletError
from pveops.sim.world import World

_LOG = logging.getLogger("pveops.sim")

_LOOK_S = 0.5
"""Real seconds between two looks."""

_BEHIND_S = 0.001
"""What happens now may not be complete: the last moment is left for the next look."""

_KEPT = 100_000
"""Lines that wait for an outlet that is away; then the oldest are dropped."""

_AT_ONCE = 1000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_FLUSH_S = 3.0


class Tap:
    """What all nodes have written since the last look. A node that is cut off keeps its lines and hands them over when it is back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since_s = dict.fromkeys(world.cluster.nodes, world.cluster.now_s)

    def read(self) -> list[Event]:
        """The lines, oldest first."""
        until_s = self._world.cluster.now_s - _BEHIND_S
        found: list[Event] = []
        for name, node in self._world.cluster.nodes.items():
            since_s = self._since_s.setdefault(name, until_s)
            if node.powered and node.reachable and until_s > since_s:
                found += self._world.chronicle.events(node, since_s, until_s)
                self._since_s[name] = until_s
        return sorted(found, key=lambda event: event.time_s)


class Feeder:
    """Supplies one outlet."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._waiting: deque[Event] = deque(maxlen=_KEPT)
        self._fresh = asyncio.Event()
        self._ending = False
        self._dropped = 0
        self._task = asyncio.create_task(self._run())

    def give(self, events: Sequence[Event]) -> None:
        """Take lines to be sent soon."""
        self._dropped += max(len(self._waiting) + len(events) - _KEPT, 0)
        self._waiting.extend(events)
        self._fresh.set()

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        away = False
        while self._waiting or not self._ending:
            if not self._waiting:
                self._fresh.clear()
                await self._fresh.wait()
                continue
            some = list(islice(self._waiting, _AT_ONCE))
            try:
                refused = await self._outlet.send(some)
            except (OSError, OutletError) as err:
                if not away:
                    self._say(f"does not take log lines: {err}. They wait.")
                away = True
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            if away:
                self._say(f"takes log lines again; {self._dropped} were dropped.")
            if refused:
                self._say(f"refused {refused} log lines.")
            away, pause_s, self._dropped = False, _FIRST_PAUSE_S, 0
            for event in some:
                if self._waiting and self._waiting[0] is event:
                    self._waiting.popleft()

    def _say(self, text: str) -> None:
        sys.stderr.write(f"pveops sim: {self._outlet.name} {text}\n")
        sys.stderr.flush()

    async def close(self) -> None:
        """Send what waits, for a few seconds at most, and end."""
        self._ending = True
        self._fresh.set()
        done, _ = await asyncio.wait([self._task], timeout=_FLUSH_S)
        if not done:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._say(f"did not take the last {len(self._waiting)} log lines within {_FLUSH_S:g} s of the end.")
        await self._outlet.close()


class Pump:
    """Looks every half second and gives what is new to all outlets.

    Args:
        world: what is simulated.
        now_s: the simulated time, seconds since the epoch.
        outlets: where lines go.
    """

    def __init__(self, world: World, now_s: Callable[[], float], outlets: Sequence[Outlet]) -> None:
        self._world = world
        self._now_s = now_s
        self._tap = Tap(world)
        self._feeders = [Feeder(outlet) for outlet in outlets]
        self._task = asyncio.create_task(self._run())

    def _look(self) -> None:
        self._world.advance(self._now_s())
        events = self._tap.read()
        for feeder in self._feeders if events else ():
            feeder.give(events)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                self._look()
            except Exception:  # noqa: BLE001 - a bug must be seen, and not end all logs
                _LOG.exception("looking for log lines failed")

    async def close(self) -> None:
        """Look once more, send what waits, end."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._look()
        await asyncio.gather(*(feeder.close() for feeder in self._feeders))
