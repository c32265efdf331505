"""How handlers are registered, and what a handler gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pveops.sim.state.cluster import Cluster
from pveops.sim.state.console import Console, Terminal
from pveops.sim.state.guest import Guest, Kind
from pveops.sim.state.identity import Principal
from pveops.sim.state.node import Node
from pveops.sim.tasks.engine import Work
from pveops.sim.world import World

MethodClass = Literal["behaves", "reads", "refused"]
"""State changes as on Proxmox VE; answers come from state; or an honest 501."""


class Call:
    """One request that passed authentication, permission and parameter checks."""

    __slots__ = ("file", "knows", "nulls", "p", "path", "who", "world")

    def __init__(self, world: World, who: Principal, parameters: dict[str, Any], path: str, knows: Callable[[str], bool]) -> None:
        self.world = world
        self.who = who
        self.p = parameters
        self.path = path
        self.knows = knows
        """Whether the method has a parameter of that name."""
        self.nulls: frozenset[str] = frozenset()
        """Parameters that were given as JSON null: they pass the checks, and most methods take them for not given."""
        self.file: bytes | None = None
        """What came as a file with the request."""

    @property
    def cluster(self) -> Cluster:
        """The state."""
        return self.world.cluster

    @property
    def now_s(self) -> float:
        """The simulated moment of the request, seconds since the epoch."""
        return self.world.cluster.now_s

    @property
    def node(self) -> Node:
        """The node that the path names."""
        return self.world.cluster.nodes[self.p["node"]]

    @property
    def kind(self) -> Kind:
        """The kind of guest that the path is about."""
        return "lxc" if "/lxc" in self.path else "qemu"

    def guest(self, kind: str) -> Guest:
        """The guest that the path names; 500 when there is none of that kind on that node."""
        return self.world.cluster.guest(kind, self.p["node"], self.p["vmid"])

    def may(self, path: str, *names: str) -> bool:
        """Whether the caller has all of these privileges."""
        return self.world.cluster.access.may(self.who, path, *names)

    def may_any(self, path: str, *names: str) -> bool:
        """Whether the caller has one of these privileges."""
        return self.world.cluster.access.may_any(self.who, path, *names)

    def demand(self, path: str, *names: str) -> None:
        """403 unless the caller has all of these privileges."""
        self.world.cluster.access.demand(self.who, path, *names)

    def demand_any(self, path: str, *names: str) -> None:
        """403 unless the caller has one of these privileges."""
        self.world.cluster.access.demand_any(self.who, path, *names)

    def fork(self, kind: str, about: object, work: Work) -> str:
        """Start a task on the node of the path; the answer is its id."""
        return self.world.fork(self.p["node"], kind, str(about), self.who, work)


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer with a count beside the data; a count of 0 is left out."""

    data: Any
    total: int


@dataclass(frozen=True, slots=True)
class Plain:
    """An answer that is no JSON but text."""

    text: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The connection becomes a websocket, at whose other end a terminal answers."""

    console: Console
    terminal: Terminal


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer whose data is JSON already."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A handler and the class of its method. An index only lists what lies below: it asks nothing of a node; ``remote`` is what others do for one."""

    kind: MethodClass
    handler: Handler
    index: bool = False
    remote: bool = False


class Table:
    """The handlers of one module, by verb and path template."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], Entry] = {}

    def _register(self, kind: MethodClass, methods: tuple[str, ...], *, remote: bool = False) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            for method in methods:
                verb, _, path = method.partition(" ")
                self.entries[verb, path] = Entry(kind, handler, remote=remote)
            return handler

        return register

    def reads(self, *methods: str) -> Callable[[Handler], Handler]:
        """Register a handler that answers from state; each method is written ``GET /path/{variable}``."""
        return self._register("reads", methods)

    def behaves(self, *methods: str, remote: bool = False) -> Callable[[Handler], Handler]:
        """Register a handler that changes state; ``remote`` when the node of the path need not answer."""
        return self._register("behaves", methods, remote=remote)


def drop_empty(row: dict[str, Any]) -> dict[str, Any]:
    """The row without keys that have no value: lists of the API never show nulls or empty texts."""
    return {key: value for key, value in row.items() if value is not None and value != ""}
