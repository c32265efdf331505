"""Who else carries runs of the same journal, and who has died. No clocks are compared: a beat that stands still is what counts."""

from __future__ import annotations

import threading

from pveops.base.clock import Clock
from pveops.guard.ports import Journal

BEAT_S = 2.0
DEAD_AFTER_S = 10.0


class Peers:
    """The workers of one journal, as one of them sees them.

    Args:
        journal: what they share.
        worker: our own name; a new one at every start, so that two processes never share it.
        clock: for how long a beat has stood still.
        alone: nobody else can write to this journal (a lock on the home sees to it): whoever else holds a run is dead.
        dead_after_s: a beat that stood still for so long is a death.
    """

    def __init__(self, journal: Journal, worker: str, clock: Clock, *, alone: bool, dead_after_s: float = DEAD_AFTER_S) -> None:
        self._journal = journal
        self._clock = clock
        self._dead_after_s = dead_after_s
        self._lock = threading.Lock()
        self._heard: dict[str, tuple[int, float]] = {}
        self._offered: dict[str, float] = {}
        self.worker = worker
        self.alone = alone

    def dead(self) -> frozenset[str]:
        """Workers that hold runs and live no longer."""
        holders = set(self._journal.leases().values()) - {self.worker}
        if self.alone or not holders:
            return frozenset(holders)
        self._listen(holders)
        now_s = self._clock.monotonic_s()
        with self._lock:
            return frozenset(name for name in holders if now_s - self._heard[name][1] > self._dead_after_s)

    def beat(self, about: str) -> None:
        """Say that we live."""
        self._journal.beat(self.worker, about)

    def orphans(self) -> list[str]:
        """Open runs that nobody carries: their worker died, or nobody took them in time. Each is named once, and again when it was held since."""
        leases, dead, now_s = self._journal.leases(), self.dead(), self._clock.monotonic_s()
        found = []
        for run_id, _ in self._journal.open_runs():
            holder = leases.get(run_id, "")
            if holder in dead:
                found.append(run_id)
            elif holder:
                self._offered.pop(run_id, None)
            elif now_s - self._offered.setdefault(run_id, now_s) > self._dead_after_s:
                self._offered[run_id] = float("inf")
                found.append(run_id)
        return found

    def leave(self) -> None:
        """Give everything back at an orderly end."""
        self._journal.leave(self.worker)

    def _listen(self, names: set[str]) -> None:
        beats, now_s = self._journal.beats(), self._clock.monotonic_s()
        with self._lock:
            for name in names:
                beat = beats.get(name, 0)
                if self._heard.get(name, (-1, 0.0))[0] != beat:
                    self._heard[name] = (beat, now_s)
