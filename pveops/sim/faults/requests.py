"""Faults on the way of requests: slow, refused, broken off; credentials that do not hold any more."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Callable

from pveops.sim.faults import pick
from pveops.sim.faults.nodes import A_NODE, restarted
from pveops.sim.faults.spec import Fault, Parameter
from pveops.sim.faults.weather import Effect, Rule, node_of
from pveops.sim.state.identity import Token
from pveops.sim.state.tickets import Gate

_DAEMONS = ("pveproxy", "pvedaemon")
_ANSWERS = {
    "500": Effect(status=500, reason="got timeout", message="got timeout", done=False),
    "503": Effect(status=503, reason="Service Unavailable", done=False),
    "595": Effect(status=595, reason="Errors during connection establishment, proxy handshake: Connection refused", done=False),
    "596": Effect(status=596, reason="Broken pipe"),
}


class _OnTheWay(Fault):
    """Something between a client and a node, until a daemon of that node is restarted."""

    _rule: Rule

    @property
    def component(self) -> str:
        return f"node/{self.values['node']}"

    @abstractmethod
    def _effect(self) -> Effect:
        """What happens to a request that it concerns."""

    def _concerns(self) -> Callable[[str, str], bool]:
        """The node that clients talk to is part of every request, another one of those that name it."""
        node, cluster = self.values["node"], self.cluster
        allowed = re.compile(self.values.get("path") or ".*")

        def concerns(verb: str, path: str) -> bool:
            named = node_of(path)
            through = named in (node, "localhost") or node == cluster.local_node
            return through and allowed.match(path) is not None

        return concerns

    def begin(self) -> None:
        fraction = self.values.get("fraction", 1.0)
        self._rule = Rule(effect=self._effect(), concerns=self._concerns(), fraction=fraction, label=self.name)
        self.weather.rules.append(self._rule)

    def healed(self) -> bool:
        return restarted(self.world, self.values["node"], _DAEMONS, self.since_s) or (
            self.cluster.nodes[self.values["node"]].boot_s > self.since_s
        )

    def undo(self) -> None:
        """Somebody restarts the daemons at the machine."""

    def settle(self) -> None:
        self.weather.rules.remove(self._rule)


_PATH = Parameter(
    name="path",
    doc="Only paths that begin so, as a regular expression, for example `/nodes/[^/]+/qemu`; empty for all.",
    default="",
    form="regex",
)
_RESTART = "Restart a daemon of the node: POST /nodes/{node}/services/pveproxy/restart (or pvedaemon)."


class SlowApi(_OnTheWay):
    """A node answers slowly."""

    name = "slow-api"
    cause = "The workers of the API daemon of the node are busy with requests that nobody waits for."
    sees = "Each answer of the node comes late; requests are carried out before the wait. Of the node that clients talk to, that is every answer."
    repair = _RESTART
    parameters = (A_NODE, Parameter(name="delay_ms", doc="How late.", unit="real ms", default=1500.0, low=1, high=600_000), _PATH)

    def _effect(self) -> Effect:
        return Effect(delay_s=self.values["delay_ms"] / 1000)


class ApiErrors(_OnTheWay):
    """A share of the requests ends with an error of the proxy instead of an answer."""

    name = "api-errors"
    cause = "The proxy daemon of the node loses its workers."
    sees = (
        "500 `got timeout`, 503 `Service Unavailable` and 595 `… Connection refused`: not carried out. 596 `Broken pipe`: carried out, and the answer is lost. 503, 595 and 596 "
        "have an empty body."
    )
    repair = _RESTART
    parameters = (
        A_NODE,
        Parameter(name="status", doc="Which one.", default="596", choices=tuple(_ANSWERS)),
        Parameter(name="fraction", doc="Which share of the requests.", unit="fraction", default=0.5, low=0.0, high=1.0),
        _PATH,
    )

    def _effect(self) -> Effect:
        return _ANSWERS[self.values["status"]]


class CutAnswers(_OnTheWay):
    """A share of the answers breaks off in the middle of the body."""

    name = "cut-answers"
    cause = "The proxy daemon of the node dies while it sends."
    sees = "200 and a Content-Length, half of the body, then a closed connection. The request is carried out."
    repair = _RESTART
    parameters = (
        A_NODE,
        Parameter(name="fraction", doc="Which share of the requests.", unit="fraction", default=0.5, low=0.0, high=1.0),
        _PATH,
    )

    def _effect(self) -> Effect:
        return Effect(cut=True)


class TicketsExpired(Fault):
    """No ticket that was ever given out holds any more. API tokens do."""

    name = "tickets-expired"
    cause = "The key that signs tickets was replaced."
    sees = "Requests with a ticket: 401 `Authentication failed!` with an empty body, after 3 s. Requests with an API token go on."
    repair = "Log in again: POST /access/ticket."

    @property
    def component(self) -> str:
        return "access/tickets"

    def begin(self) -> None:
        self.world.gate = Gate(self.cluster.identities, os.urandom(32), self.world.gate.wall_s)

    def healed(self) -> bool:
        return self.world.gate.issued > 0

    def undo(self) -> None:
        """Old tickets do not come back."""


class TokenExpired(Fault):
    """An API token does not hold any more."""

    name = "token-expired"
    cause = "The token had an end, and it has come."
    sees = "Requests with the token: 401 `Authentication failed!` with an empty body, after 3 s. /access/users/{userid}/token shows `expire` in the past."
    repair = "Lengthen it: PUT /access/users/{userid}/token/{tokenid} with expire=0 (or a time to come)."
    parameters = (
        Parameter(
            name="token", doc="Which one, as `user@realm!name`.", pick=pick.tokens, what="token that works and is no administrator's"
        ),
    )

    @property
    def component(self) -> str:
        return f"token/{self.values['token']}"

    def _token(self) -> Token | None:
        return self.cluster.identities.token(self.values["token"])

    def begin(self) -> None:
        token = self._token()
        if token is not None:
            token.expire_s = int(self.world.gate.wall_s()) - 60

    def healed(self) -> bool:
        token = self._token()
        return token is None or not token.expire_s or token.expire_s > self.world.gate.wall_s()

    def undo(self) -> None:
        token = self._token()
        if token is not None:
            token.expire_s = 0


KINDS: tuple[type[Fault], ...] = (SlowApi, ApiErrors, CutAnswers, TicketsExpired, TokenExpired)
