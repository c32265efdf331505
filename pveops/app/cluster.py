"""Opens a cluster for reading, from a profile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pveops.base.clock import Clock, SystemClock
from pveops.clients.cluster.facts import read_facts
from pveops.clients.cluster.parse import task as parse_task
from pveops.clients.cluster.read import Reader
from pveops.clients.cluster.wire import Endpoint, Timeouts, Wire
from pveops.model.refs import check_node

if TYPE_CHECKING:
    from pveops.base.secret import Secret
    from pveops.model.facts import Facts
    from pveops.model.tasks import Task
    from pveops.settings.profile import Target


def open_wire(target: Target, token: Secret) -> Wire:
    """A connection to the profile's cluster with one of its tokens.

    Raises:
        ConfigError: the profile's certificate file is missing.
    """
    profile = target.profile
    prints = profile.fingerprints * len(profile.urls) if len(profile.fingerprints) == 1 else profile.fingerprints
    ca = None if prints else target.ca
    endpoints = [Endpoint(url, prints[index] if prints else "", ca) for index, url in enumerate(profile.urls)]
    timeouts = Timeouts(connect_s=profile.connect_timeout_s, read_s=profile.timeout_s, write_s=profile.write_timeout_s)
    return Wire(endpoints, token, timeouts=timeouts)


class FactReader(Reader):
    """A reader that also gives the named facts which plans and the guard compare."""

    def __init__(self, wire: Wire, *, clock: Clock | None = None) -> None:
        super().__init__(wire, clock=clock)
        self._facts_clock = clock or SystemClock()

    def facts(self, subjects: Iterable[str]) -> Facts:
        """The named facts about these subjects, fresh.

        Raises:
            TransportError: no endpoint answers.
        """
        return read_facts(self, subjects, read_at=self._facts_clock.now())

    def node_tasks(self, node: str, *, since_s: int) -> Sequence[Task]:
        """Tasks of one node, running and ended, that started at or after a time by that node's clock (Unix seconds)."""
        params: dict[str, Any] = {"source": "all", "since": max(0, since_s), "limit": 500}
        rows = self.wire.get(f"/nodes/{check_node(node)}/tasks", params).data
        return [task for row in rows if (task := parse_task(row))]
