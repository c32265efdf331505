"""One request through all checks, in the order of the real API.

Verb, credentials, route, token allowed, path parameters against others, permission, node, parameters, simulated at all, handler.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pveops.sim.contract.coverage import entries
from pveops.sim.contract.older import schema_of
from pveops.sim.contract.params import Verifier
from pveops.sim.contract.permissions import Asker, compile_method, open_to_world
from pveops.sim.contract.permissions import Check as PermissionCheck
from pveops.sim.contract.routes import Routes
from pveops.sim.contract.schema import VERBS, Method
from pveops.sim.errors import RefusedError, bad_parameter, failed, forbidden, not_implemented
from pveops.sim.methods.table import Call, Handler
from pveops.sim.physics.quorum import demand_quorum
from pveops.sim.state.identity import NOBODY, Principal
from pveops.sim.world import World

LOCALHOST = "localhost"
_ASKED_NODE = "check-node"
"""A parameter that names the node which has to answer."""


@dataclass(slots=True)
class Request:
    """A request as the server read it: the path below the format, still encoded; query and body together, not typed yet."""

    verb: str
    path: str
    parameters: dict[str, Any] = field(default_factory=dict)
    cookie: str = ""
    authorization: str = ""
    csrf: str = ""
    file: bytes | None = None
    """The file of a multipart body."""


class _Bound:
    """A method with everything compiled that a request needs; made when the method is first asked for."""

    __slots__ = ("allow_token", "handler", "method", "permission", "proxied", "verify", "world")

    def __init__(self, method: Method, handler: Handler | None, *, proxied: bool) -> None:
        self.method = method
        self.handler = handler
        self.permission: PermissionCheck = compile_method(method)
        self.world = open_to_world(method)
        self.allow_token = method.allow_token
        self.verify = Verifier(method)
        self.proxied = proxied


class Api:
    """Answers requests from a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._schema = schema_of(world.release)
        self._entries = entries(world.release)
        self._routes = Routes(self._schema.paths)
        self._bound: dict[tuple[str, str], _Bound] = {}
        self.answered = len(self._entries)
        self.total = len(self._schema.methods)

    def _bind(self, key: tuple[str, str]) -> _Bound | None:
        found = self._bound.get(key)
        if found is None and key in self._schema.methods:
            method = self._schema.methods[key]
            entry = self._entries.get(key)
            proxied = "{node}" in key[1] and not (entry and (entry.index or entry.remote))
            found = self._bound[key] = _Bound(method, entry.handler if entry else None, proxied=proxied)
        return found

    def answer(self, request: Request) -> Any:
        """The data of the answer.

        Raises:
            RefusedError: the answer is not 200.
        """
        if request.verb not in VERBS:
            raise RefusedError(501, f"method '{request.verb}' not available", empty=True)
        match = self._routes.match(request.path)
        bound = self._bind((request.verb, match[0])) if match else None
        who = self._identify(request, bound)
        if match is None or bound is None:
            raise not_implemented(f"Method '{request.verb} {unquote(request.path)}' not implemented")
        if who.token and not bound.allow_token:
            raise forbidden(f"URI '{unquote(request.path)}' not available with API token, need proper ticket.\n")
        parameters = self._merge(match[1], request.parameters)
        bound.permission(Asker(self._world.cluster.access, self._world.cluster.identities, who, parameters))
        if bound.proxied:
            parameters["node"] = self._reach(str(parameters["node"]))
        elif parameters.get(_ASKED_NODE) and _ASKED_NODE in bound.method.parameters:
            self._reach(str(parameters[_ASKED_NODE]))
        typed = bound.verify(parameters)
        if self._world.cluster.calendar_fault:
            self._refuse_schedules(bound.method, typed)
        demand_quorum(self._world.cluster, request.verb, match[0])
        if bound.handler is None:
            raise not_implemented(f"{request.verb} {match[0]} is not simulated ({self.answered} of {self.total} methods are)")
        call = Call(self._world, who, typed, match[0], bound.verify.knows)
        call.nulls = frozenset(name for name, value in parameters.items() if value is None)
        call.file = request.file
        return bound.handler(call)

    def _refuse_schedules(self, method: Method, typed: dict[str, Any]) -> None:
        """For a host that cannot read schedules."""
        fault = self._world.cluster.calendar_fault
        for name, spec in method.parameters.items():
            if spec.get("format") == "pve-calendar-event" and name in typed:
                raise bad_parameter(name, f"invalid format - invalid calendar event '{typed[name]}' - {fault}\n")

    def _identify(self, request: Request, bound: _Bound | None) -> Principal:
        if bound is not None and bound.world and not (request.cookie or request.authorization):
            return NOBODY
        if bound is not None and bound.world and "PVEAPIToken" not in request.authorization:
            return NOBODY
        return self._world.gate.identify(request.verb, request.cookie, request.authorization, request.csrf)

    @staticmethod
    def _merge(from_path: dict[str, str], given: dict[str, Any]) -> dict[str, Any]:
        for name, value in from_path.items():
            if name in given and str(given[name]) != value:
                raise bad_parameter(name, "duplicate parameter (already defined in URI) with conflicting values!")
        return {**given, **from_path}

    def _reach(self, name: str) -> str:
        """The node that will answer.

        Raises:
            RefusedError: 500 for a name that cannot be resolved, 595 for a node that is down.
        """
        cluster = self._world.cluster
        if name == LOCALHOST:
            return cluster.local_node
        node = cluster.nodes.get(name)
        if node is None:
            raise failed(f"hostname lookup '{name}' failed - failed to get address info for: {name}: Name or service not known")
        if not (node.online and node.reachable):
            raise RefusedError(595, "Errors during connection establishment, proxy handshake: No route to host", empty=True)
        return name
