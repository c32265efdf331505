"""Opens a cluster for reading, from a profile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pveops.base.clock import Clock, SystemClock
from pveops.clients.cluster.facts import Lists, read_facts
from pveops.clients.cluster.parse import task as parse_task
from pveops.clients.cluster.read import Reader
from pveops.clients.cluster.wire import Endpoint, Timeouts, Wire
from pveops.model.refs import check_node
from pveops.observe.cost import SPENT

if TYPE_CHECKING:
    from pveops.base.secret import Secret
    from pveops.model.facts import Facts
    from pveops.model.tasks import Task
    from pveops.settings.profile import Target


_LISTED_S = 1.0


def open_wire(target: Target, token: Secret, *, renew: Callable[[], Secret] | None = None) -> Wire:
    """A connection to the profile's cluster with one of its tokens; ``renew`` gives it anew when it was refused.

    Raises:
        ConfigError: the profile's certificate file is missing.
    """
    profile = target.profile
    prints = profile.fingerprints * len(profile.urls) if len(profile.fingerprints) == 1 else profile.fingerprints
    ca = None if prints else target.ca
    endpoints = [Endpoint(url, prints[index] if prints else "", ca) for index, url in enumerate(profile.urls)]
    timeouts = Timeouts(connect_s=profile.connect_timeout_s, read_s=profile.timeout_s, write_s=profile.write_timeout_s)
    return Wire(endpoints, token, timeouts=timeouts, renew=renew)


class FactReader(Reader):
    """A reader that also gives the named facts which plans and the guard compare."""

    def __init__(self, wire: Wire, *, clock: Clock | None = None) -> None:
        super().__init__(wire, clock=clock)
        self._facts_clock = clock or SystemClock()
        self._listing = threading.Lock()
        self._lists: tuple[float, Lists] | None = None
        self._last_facts: tuple[float, frozenset[str], Facts] | None = None
        self._node_clocks: dict[str, tuple[float, int]] = {}

    def facts(self, subjects: Iterable[str], *, at_most_old_s: float = 0.0) -> Facts:
        """The named facts about these subjects, fresh; with ``at_most_old_s`` the last reading, if it was about all of them and is not older.

        Raises:
            TransportError: no endpoint answers.
        """
        wanted, began_s = tuple(subjects), self._facts_clock.monotonic_s()
        last = self._last_facts
        hit = last is not None and began_s - last[0] <= at_most_old_s and set(wanted) <= last[1]
        SPENT.cache("facts", hit=hit)
        if last is not None and hit:
            return last[2]
        found = read_facts(self, wanted, read_at=self._facts_clock.now(), lists=self._listed)
        self._last_facts = (began_s, frozenset(wanted), found)
        return found

    def node_time_s(self, node: str, *, at_most_old_s: float = 0.0) -> int:
        """The node's own clock, Unix time in seconds; with ``at_most_old_s`` carried on from a reading that is not older."""
        now_s = self._facts_clock.monotonic_s()
        known = self._node_clocks.get(node)
        if known is not None and now_s - known[0] <= at_most_old_s:
            return known[1] + int(now_s - known[0])
        found = super().node_time_s(node)
        self._node_clocks[node] = (now_s, found)
        return found

    def _listed(self, fresh: bool) -> Lists:
        """Where guests are. The cluster's own list lags up to ten seconds, so one more does no harm; many steps share one reading."""
        asked_s = self._facts_clock.monotonic_s()
        with self._listing:
            known = self._lists
            SPENT.cache("lists", hit=known is not None and known[0] >= (asked_s if fresh else asked_s - _LISTED_S))
            if known is None or known[0] < (asked_s if fresh else asked_s - _LISTED_S):
                began_s = self._facts_clock.monotonic_s()
                known = self._lists = (began_s, self.resources())
            return known[1]

    def node_tasks(self, node: str, *, since_s: int) -> Sequence[Task]:
        """Tasks of one node, running and ended, that started at or after a time by that node's clock (Unix seconds)."""
        params: dict[str, Any] = {"source": "all", "since": max(0, since_s), "limit": 500}
        rows = self.wire.get(f"/nodes/{check_node(node)}/tasks", params).data
        return [task for row in rows if (task := parse_task(row))]
