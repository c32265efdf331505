"""Follows the executor for all cards of one client, on one thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import PveopsError
from pveops.model.messages import Event
from pveops.model.run import ProposalView, RunStatus
from pveops.present.ports import Decider

WAIT_S = 20.0
"""How long one question about news may be held."""
HOT_S = 0.5
"""How often a running proposal is looked at: its task's log and progress make no news."""
_AGAIN_S = (0.5, 1.0, 2.0, 5.0)

_TAIL = 40
"""How many older events a listener gets at the start, and after a silence."""

Heard = Callable[[ProposalView | PveopsError], None]
Told = Callable[[Sequence[Event]], None]


class Feed:
    """Calls back with the fresh view of a watched proposal whenever something happened to it, or with the error that keeps us from knowing.

    The thread runs only while something is watched. Callbacks come from it and must not block.
    """

    def __init__(self, decider: Decider, *, clock: Clock | None = None) -> None:
        self._decider = decider
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._watchers: dict[str, list[Heard]] = {}
        self._listeners: list[Told] = []
        self._hot: set[str] = set()
        self._new: set[str] = set()
        self._thread: threading.Thread | None = None

    def watch(self, proposal_id: str, heard: Heard) -> Callable[[], None]:
        """Watch a proposal; returns how to stop."""
        with self._lock:
            self._watchers.setdefault(proposal_id, []).append(heard)
            self._new.add(proposal_id)
            self._begin()

        def stop() -> None:
            with self._lock:
                left = [one for one in self._watchers.get(proposal_id, []) if one is not heard]
                if left:
                    self._watchers[proposal_id] = left
                else:
                    self._watchers.pop(proposal_id, None)
                    self._hot.discard(proposal_id)

        return stop

    def listen(self, told: Told) -> None:
        """Be told of every event, oldest first; of some it may be told twice, after a silence."""
        with self._lock:
            self._listeners.append(told)
            self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pveops-feed", daemon=True)
            self._thread.start()

    def saw(self, view: ProposalView) -> None:
        """Somebody else fetched this view: look often while it runs."""
        with self._lock:
            self._mark(view)

    def _mark(self, view: ProposalView) -> None:
        running = view.run is not None and view.run.status is RunStatus.RUNNING
        if running and view.proposal.id in self._watchers:
            self._hot.add(view.proposal.id)
        else:
            self._hot.discard(view.proposal.id)

    def _run(self) -> None:
        seq: int | None = None
        failures = 0
        while True:
            with self._lock:
                if not self._watchers and not self._listeners:
                    self._thread = None
                    return
                wait_s = HOT_S if self._hot or self._new else WAIT_S
            try:
                seq, changed = self._news(seq, wait_s)
                failures = 0
            except PveopsError as err:
                self._tell_all(err)
                self._clock.sleep_s(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])
                seq, failures = None, failures + 1
                continue
            for proposal_id in changed:
                self._look(proposal_id)

    def _news(self, seq: int | None, wait_s: float) -> tuple[int, set[str]]:
        """The new sequence number, and which proposals to look at. After a silence (``seq`` None) all of them."""
        rows = self._decider.events(after=-_TAIL, wait_s=0.0) if seq is None else self._decider.events(after=seq, wait_s=wait_s)
        with self._lock:
            listeners = list(self._listeners)
            watched = set(self._watchers)
            changed = watched if seq is None else watched & ({row.proposal_id for row in rows} | self._hot | self._new)
            self._new.clear()
        for told in listeners if rows else ():
            told(rows)
        return max([seq or 0, *(row.seq for row in rows)]), changed

    def _look(self, proposal_id: str) -> None:
        heard: ProposalView | PveopsError
        try:
            heard = self._decider.proposal(proposal_id)
        except PveopsError as err:
            heard = err
        with self._lock:
            callbacks = list(self._watchers.get(proposal_id, ()))
            if not isinstance(heard, PveopsError):
                self._mark(heard)
        for callback in callbacks:
            callback(heard)

    def _tell_all(self, err: PveopsError) -> None:
        with self._lock:
            callbacks = [one for many in self._watchers.values() for one in many]
        for callback in callbacks:
            callback(err)
