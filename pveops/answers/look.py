"""One round of reading for one answer: what was asked is counted, what did not answer is a gap."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pveops.answers.ports import Cluster, MetricsServer
from pveops.base.clock import Clock
from pveops.base.errors import Forbidden, PveopsError
from pveops.base.together import each_of
from pveops.model.resources import Answer, Gap, Guest, Node, Storage

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
_AT_ONCE = 8


class Look:
    """Reads for one answer.

    Attributes:
        gaps: what was not seen so far.
        asked: how many requests went to which kind of path.
    """

    def __init__(self, cluster: Cluster, clock: Clock, metrics: MetricsServer | None = None) -> None:
        self.cluster = cluster
        self.clock = clock
        self.metrics = metrics
        self.now = clock.now()
        self.gaps: list[Gap] = []
        self.asked: dict[str, int] = {}

    def lists(self) -> tuple[tuple[Node, ...], tuple[Guest, ...], tuple[Storage, ...]]:
        """Nodes, guests and storages, with what the token may not see named."""
        nodes, guests, storages = self.cluster.resources()
        self.count("/cluster/resources")
        self.add(*nodes.gaps, *guests.gaps, *storages.gaps)
        return nodes.rows, guests.rows, storages.rows

    def get(self, path: str, params: Mapping[str, str | int] | None = None, *, as_path: str = "") -> Any:
        """The data of one read. ``as_path`` is what many such paths are counted as."""
        self.count(as_path or path)
        return self.cluster.get(path, params)

    def try_get(self, path: str, what: str) -> Any:
        """The data of one read, or none: then it is a gap that is called ``what``."""
        try:
            return self.get(path)
        except PveopsError as err:
            self.failed(what, err)
            return None

    def each(self, items: Iterable[K], read: Callable[[K], T], what: Callable[[K], str], as_path: str) -> dict[K, T]:
        """Read each item, several at once. One that fails is a gap; if the cluster refuses all for the same reason, it is one gap."""
        wanted: Sequence[K] = list(dict.fromkeys(items))
        found = each_of(wanted, read, _AT_ONCE)
        self.count(as_path, len(wanted))
        failed = [(item, got) for item, got in zip(wanted, found, strict=True) if isinstance(got, PveopsError)]
        for item, err in failed:
            self.failed(what(item), err)
        return {item: got for item, got in zip(wanted, found, strict=True) if not isinstance(got, PveopsError)}

    def failed(self, what: str, err: PveopsError) -> None:
        """Name what could not be read."""
        self.add(Gap(what=what, why=err.message, needs=err.hint if isinstance(err, Forbidden) else ""))

    def needs(self, what: str, privilege: str, path: str) -> bool:
        """Whether the token has the privilege; if not, ``what`` is a gap."""
        if self.cluster.may(privilege, path):
            return True
        self.add(Gap(what=what, why="the token may not see all of them", needs=f"{privilege} on {path}"))
        return False

    def add(self, *gaps: Gap) -> None:
        """Name gaps, each once."""
        self.gaps += [gap for gap in dict.fromkeys(gaps) if gap not in self.gaps]

    def count(self, path: str, number: int = 1) -> None:
        """Remember that something was asked."""
        self.asked[path] = self.asked.get(path, 0) + number

    def answer(self, rows: Iterable[T]) -> Answer[T]:
        """The rows with all gaps, and what was asked how often."""
        told = [path if number == 1 else f"{number} x {path}" for path, number in self.asked.items() if number]
        total = sum(self.asked.values())
        return Answer(rows=tuple(rows), gaps=tuple(self.gaps), read_at=self.now, source=f"{', '.join(told)} ({total} requests)")


def online(nodes: Iterable[Node], look: Look, what: str) -> list[str]:
    """Names of the nodes that can be asked; of the others it is said that ``what`` was not seen."""
    names = []
    for node in nodes:
        if node.status == "offline":
            look.add(Gap(what=f"{what} of {node.name}", why="the node is offline"))
        else:
            names.append(node.name)
    return names
