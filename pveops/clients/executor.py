"""Talks to the executor over its Unix socket, under one principal's name."""

from __future__ import annotations

import socket
import threading
import weakref
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import httpx

from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import Denied, ExecutorUnavailable, PveopsError, from_dict
from pveops.base.files import short_socket_path
from pveops.base.secret import Secret
from pveops.model.claims import claim_for, sign, sign_login, sign_rule
from pveops.model.codec import decode, encode
from pveops.model.messages import (
    ApproveRequest,
    Event,
    ExecutorInfo,
    GlassRequest,
    GlassView,
    GroupRequest,
    KillRequest,
    KillState,
    LoginReply,
    LoginRequest,
    NameRequest,
    ProposeRequest,
    ReasonRequest,
    ResolveRequest,
    UserRequest,
    UserView,
)  # fmt: skip
from pveops.model.plan import Plan
from pveops.model.proposal import Approval, Origin, Preview, Verdict
from pveops.model.rehearsal import Rehearsal
from pveops.model.run import ProposalView
from pveops.model.standing import SignedRule, StandingRule
from pveops.observe.context import correlated

LONG_POLL_S = 20.0
_MAY_STILL = "Whether it did what was asked is not known; it may still do it when it goes on. Look before you ask again."
"""How long the executor holds a question about news until it answers "none"."""


class ExecutorClient:
    """Every call raises ``ExecutorUnavailable`` when nobody answers, and the executor's own error when it says no.

    Args:
        socket: the executor's socket.
        principal: our name.
        token: our token.
        private_key: signs our approvals; None for those who cannot approve.
        channel: where we look from: ``card``, ``dashboard`` or ``cli``.
    """

    def __init__(
        self,
        socket: Path,
        principal: str,
        token: Secret,
        private_key: Secret | None = None,
        *,
        channel: str = "card",
        clock: Clock | None = None,
    ) -> None:
        self._socket = socket
        self.principal = principal
        self._token = token
        self._key = private_key
        self._channel = channel
        self._clock = clock or SystemClock()
        self._local = threading.local()
        self._clients: list[httpx.Client] = []
        weakref.finalize(self, _close_all, self._clients)

    @property
    def can_sign(self) -> bool:
        """Whether we have a key: people do, agents, runbooks and viewers do not."""
        return self._key is not None

    def info(self) -> ExecutorInfo:
        """Who answers, for which cluster, and what waits."""
        return decode(ExecutorInfo, self._call("GET", "/v1/info"))

    def propose(self, plan: Plan, *, author: str, origin: Origin) -> ProposalView:
        """Put a plan forward."""
        with correlated() as correlation:
            body = encode(ProposeRequest(plan=plan, author=author, origin=origin, correlation=correlation))
            return decode(ProposalView, self._call("POST", "/v1/proposals", body))

    def preview(self, plan: Plan) -> Preview:
        """Let the executor look at the cluster for this plan, with its own token. Nothing is written."""
        return decode(Preview, self._call("POST", "/v1/preview", encode(plan)))

    def proposal(self, proposal_id: str) -> ProposalView:
        """One proposal, with what we may do with it where we look."""
        return decode(ProposalView, self._call("GET", f"/v1/proposals/{proposal_id}?channel={self._channel}"))

    def proposals(self, *, only_open: bool = False, limit: int = 100) -> list[ProposalView]:
        """Proposals, newest first; ``only_open``: those that wait, run, or need a person."""
        rows = self._call("GET", f"/v1/proposals?limit={limit}&open={int(only_open)}")
        return [decode(ProposalView, row) for row in rows]

    def approve(self, view: ProposalView, *, channel: str) -> ProposalView:
        """Approve exactly the proposal that was shown, signed with our key.

        Without a key it is sent unsigned, so that the executor refuses it and writes that down.

        Raises:
            GuardError: refused; nothing ran.
        """
        claim = claim_for(view.proposal, approver=self.principal, now=self._clock.now())
        approval = sign(claim, self._key) if self._key else Approval(claim=claim, signature="")
        with correlated(view.proposal.correlation):
            body = encode(ApproveRequest(approval=approval, channel=channel))
            return decode(ProposalView, self._call("POST", f"/v1/proposals/{view.proposal.id}/approve", body))

    def attach(self, proposal_id: str, report: Rehearsal) -> ProposalView:
        """Put the report of a rehearsal beside a waiting proposal."""
        return decode(ProposalView, self._call("POST", f"/v1/proposals/{proposal_id}/rehearsal", encode(report)))

    def deny(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Say no."""
        return self._reason(proposal_id, "deny", reason)

    def withdraw(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Take back a proposal of our own."""
        return self._reason(proposal_id, "withdraw", reason)

    def stop(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Start no further step; the running one is not interrupted."""
        return self._reason(proposal_id, "stop", reason)

    def pause(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Start no further step until somebody lets it go on."""
        return self._reason(proposal_id, "pause", reason)

    def resume(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Let a paused run go on."""
        return self._reason(proposal_id, "resume", reason)

    def resolve(self, proposal_id: str, request: ResolveRequest) -> ProposalView:
        """Say what became of a step whose outcome is unknown."""
        return decode(ProposalView, self._call("POST", f"/v1/proposals/{proposal_id}/resolve", encode(request)))

    def events(self, *, after: int, wait_s: float = LONG_POLL_S) -> list[Event]:
        """Events after a sequence number; waits up to ``wait_s`` seconds for the first."""
        rows = self._call("GET", f"/v1/events?after={after}&wait_s={wait_s}", timeout_s=wait_s + 10)
        return [decode(Event, row) for row in rows]

    def kill_state(self) -> KillState:
        """The kill switch."""
        return decode(KillState, self._call("GET", "/v1/kill"))

    def kill(self, *, on: bool, why: str, cluster: str = "") -> KillState:
        """Turn the kill switch, for all clusters or for one."""
        return decode(KillState, self._call("POST", "/v1/kill", encode(KillRequest(on=on, why=why, cluster=cluster))))

    def logout(self) -> bool:
        """End the login that our token is of, in the executor; False where it is a lasting token."""
        return bool(self._call("POST", "/v1/logout", {})["ended"])

    def users(self) -> list[UserView]:
        """Everybody, without secrets."""
        return [decode(UserView, row) for row in self._call("GET", "/v1/users")]

    def add_user(self, asked: UserRequest) -> Secret | None:
        """Make or change a principal; returns its lasting token where it got one."""
        token = str(self._call("POST", "/v1/users", encode(asked))["token"])
        return Secret(token) if token else None

    def remove_user(self, name: str) -> None:
        """Remove a principal."""
        self._call("POST", "/v1/users/remove", encode(NameRequest(name=name)))

    def group(self, name: str, group: str, *, member: bool) -> None:
        """Put a principal into a group, or take it out."""
        self._call("POST", "/v1/groups", encode(GroupRequest(name=name, group=group, member=member)))

    def rules(self) -> list[SignedRule]:
        """Standing rules."""
        return [decode(SignedRule, row) for row in self._call("GET", "/v1/rules")]

    def add_rule(self, rule: StandingRule) -> None:
        """Sign a standing rule with our key, and put it into force.

        Raises:
            Denied: we have no key, or policy says no.
        """
        if self._key is None:
            raise Denied(f"{self.principal} has no key, so it can sign no rule.", details={"rule": "only-people-decide"})
        self._call("POST", "/v1/rules", encode(sign_rule(rule, self._key)))

    def revoke_rule(self, rule_id: str) -> None:
        """End a standing rule."""
        self._call("POST", "/v1/rules/revoke", encode(NameRequest(name=rule_id)))

    def glass(
        self, what: Literal["break", "mend", "set"], *, passphrase: Secret | None = None, why: str = "", seconds: int = 900
    ) -> list[GlassView]:
        """Break the glass, mend it, or set its passphrase; returns for whom it is broken."""
        asked = GlassRequest(what=what, passphrase=passphrase.reveal() if passphrase else "", why=why, seconds=seconds)
        return [decode(GlassView, row) for row in self._call("POST", "/v1/glass", encode(asked))]

    def explain(self, proposal_id: str, *, action: str, who: str = "") -> Verdict:
        """What policy would say to an action on a proposal."""
        query = urlencode({"action": action, "as": who, "channel": self._channel})
        return decode(Verdict, self._call("GET", f"/v1/proposals/{proposal_id}/explain?{query}"))

    def audit(self, *, proposal: str = "", limit: int = 100, **asked: str) -> list[dict[str, Any]]:
        """Audit records, newest last. ``asked``: ``kind``, ``actor``, ``correlation``, ``model``, ``since``, ``until``, ``text``."""
        words = {name: value for name, value in {**asked, "proposal": proposal, "limit": str(limit)}.items() if value}
        return list(self._call("GET", f"/v1/audit?{urlencode(words)}"))

    def _reason(self, proposal_id: str, verb: str, reason: str) -> ProposalView:
        return decode(ProposalView, self._call("POST", f"/v1/proposals/{proposal_id}/{verb}", encode(ReasonRequest(reason=reason))))

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request as it is."""
        return self._call(method, path, body)

    def close(self) -> None:
        """Close all connections."""
        _close_all(self._clients)
        self._local = threading.local()

    def _probe(self) -> None:
        """See that somebody listens. httpx would leave a socket behind for every time nobody does."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5.0)
            probe.connect(short_socket_path(self._socket))

    def _client(self) -> httpx.Client:
        # one per thread: a long poll of a card must not hold back a click
        client: httpx.Client | None = getattr(self._local, "client", None)
        if client is None:
            transport = httpx.HTTPTransport(uds=short_socket_path(self._socket))
            client = httpx.Client(transport=transport, base_url="http://executor", timeout=60.0)
            self._local.client = client
            self._clients.append(client)
        return client

    def _call(self, method: str, path: str, body: Any = None, *, timeout_s: float = 60.0) -> Any:
        with correlated() as correlation:
            headers = {"X-Correlation-Id": correlation}
            if self._token.reveal():  # who logs in has none yet
                headers["Authorization"] = f"Bearer {self._token.reveal()}"
            try:
                self._probe()
                response = self._client().request(method, path, json=body, headers=headers, timeout=timeout_s)
            except httpx.ReadTimeout as err:
                raise ExecutorUnavailable(
                    f"The executor took the call on {self._socket} and has not answered within {timeout_s:.0f} s.",
                    hint="It is busy or stopped (SIGSTOP). " + (_MAY_STILL if method == "POST" else "Look at its process."),
                    correlation=correlation,
                ) from err
            except (httpx.TransportError, OSError) as err:
                raise ExecutorUnavailable(
                    f"The executor does not answer on {self._socket} ({type(err).__name__}).",
                    hint="Start it with `pveops executor run` (or `pveops up`). Reading works without it.",
                    correlation=correlation,
                ) from err
            try:
                data = response.json()
            except ValueError as err:
                raise ExecutorUnavailable(
                    f"What listens on {self._socket} is no executor of pveops.", hint="Is another version running?", correlation=correlation
                ) from err
            if response.status_code >= 400:
                raise _error(data)
            return data


def _close_all(clients: list[httpx.Client]) -> None:
    while clients:
        clients.pop().close()


def _error(data: Any) -> PveopsError:
    return from_dict(data.get("error", {}) if isinstance(data, dict) else {})


def login(socket: Path, principal: str, *, password: Secret | None = None, key: Secret | None = None) -> LoginReply:
    """Log in, with a password or by signing with a key.

    Raises:
        Denied: it does not fit.
        ExecutorUnavailable: nobody answers.
    """
    client = ExecutorClient(socket, principal, Secret(""))
    signature, at_s = "", int(SystemClock().now().timestamp())
    try:
        if key is not None:
            audience = str(client.call("GET", "/v1/executor")["executor"])
            signature = sign_login(principal, audience, at_s, key)
        asked = LoginRequest(principal=principal, password=password.reveal() if password else "", signature=signature, at_s=at_s)
        return decode(LoginReply, client.call("POST", "/v1/login", encode(asked)))
    finally:
        client.close()
