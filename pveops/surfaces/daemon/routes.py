"""The routes of the executor's API. They translate; every decision is the guard's."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from pveops.app.executor import Parts, boundary
from pveops.base.errors import Denied, GuardError, InputError, PveopsError
from pveops.base.ids import is_id
from pveops.base.secret import Secret
from pveops.base.version import VERSION
from pveops.guard.audit.query import Query
from pveops.model.codec import decode, encode
from pveops.model.messages import ApproveRequest, ExecutorInfo, KillRequest, ProposeRequest, ReasonRequest, ResolveRequest
from pveops.model.plan import Plan
from pveops.model.rehearsal import Rehearsal
from pveops.model.run import RunStatus
from pveops.observe.context import correlated
from pveops.surfaces.daemon import accounts
from pveops.surfaces.daemon.call import Call
from pveops.surfaces.daemon.peer import Peer

_LOG = logging.getLogger("pveops.executor")
_LARGEST_BODY_BYTES = 16 << 20
_LONGEST_WAIT_S = 60.0

Handler = Callable[[Call], Any]


class News:
    """Wakes everybody who waits for the feed. ``ring`` may be called from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Something was announced."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or after so many seconds."""
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return
        finally:
            self._waiting.discard(event)


def _view(call: Call, proposal_id: str) -> dict[str, Any]:
    channel = call.channel(call.request.query_params.get("channel", "card"))
    return encode(call.parts.executor.view(call.parts.executor.get(proposal_id), call.who, channel=channel))


def info(call: Call) -> dict[str, Any]:
    """Who answers."""
    parts = call.parts
    cluster = next(iter(parts.clusters.values()))
    try:
        version, simulated = cluster.reader.version(), cluster.reader.simulated()
    except PveopsError as err:
        version, simulated = f"does not answer ({err.message})", False
    runs = [parts.runner.load(run_id, parts.journal.proposal(proposal_id)) for run_id, proposal_id in parts.journal.open_runs()]
    return encode(
        ExecutorInfo(
            executor=parts.executor.identity, version=VERSION, pid=os.getpid(), cluster=cluster.name, cluster_version=version, simulated=simulated,
            boundary=boundary(call.peer.uid), policy_hash=parts.policy.hash, policy_name=parts.policy.fault or parts.policy.name,
            principal=call.who.name, principal_kind=call.who.kind, kill=parts.kill.state(), waiting=parts.journal.count_waiting(),
            running=sum(run.status is RunStatus.RUNNING for run in runs), unknown=sum(run.status is RunStatus.UNKNOWN for run in runs),
            started=started(parts),
        )
    )  # fmt: skip


def started(parts: Parts) -> datetime:
    """When this executor took its home."""
    return datetime.fromtimestamp(parts.home.executor_lock.stat().st_mtime, parts.clock.now().tzinfo)


def propose(call: Call) -> dict[str, Any]:
    """Put a plan forward."""
    request = decode(ProposeRequest, call.body)
    return encode(call.parts.executor.view(call.parts.executor.propose(call.who, request, call.channel(request.origin.surface)), call.who))


def preview(call: Call) -> dict[str, Any]:
    """Look, without storing anything."""
    return encode(call.parts.executor.preview(decode(Plan, call.body)))


def proposals(call: Call) -> list[dict[str, Any]]:
    """The list."""
    only_open = call.request.query_params.get("open") == "1"
    return [encode(view) for view in call.parts.executor.views(call.who, only_open=only_open, limit=int(call.number("limit", 100, 1000)))]


def proposal(call: Call) -> dict[str, Any]:
    """One of them."""
    return _view(call, call.id)


def approve(call: Call) -> dict[str, Any]:
    """Spend an approval."""
    request = decode(ApproveRequest, call.body)
    call.parts.executor.approve(call.who, call.id, request, call.channel(request.channel))
    return _view(call, call.id)


def rehearsal(call: Call) -> dict[str, Any]:
    """Put the report of a rehearsal beside a proposal."""
    call.parts.executor.attach(call.who, call.id, decode(Rehearsal, call.body))
    return _view(call, call.id)


def deny(call: Call) -> dict[str, Any]:
    """Say no."""
    call.parts.executor.deny(call.who, call.id, decode(ReasonRequest, call.body).reason)
    return _view(call, call.id)


def withdraw(call: Call) -> dict[str, Any]:
    """Take back."""
    call.parts.executor.withdraw(call.who, call.id, decode(ReasonRequest, call.body).reason)
    return _view(call, call.id)


def stop(call: Call) -> dict[str, Any]:
    """Start no further step."""
    call.parts.executor.stop(call.who, call.id, decode(ReasonRequest, call.body).reason)
    return _view(call, call.id)


def pause(call: Call) -> dict[str, Any]:
    """Start no further step until it is told to go on."""
    call.parts.executor.pause(call.who, call.id, decode(ReasonRequest, call.body).reason)
    return _view(call, call.id)


def go_on(call: Call) -> dict[str, Any]:
    """Go on after a pause."""
    call.parts.executor.go_on(call.who, call.id, decode(ReasonRequest, call.body).reason)
    return _view(call, call.id)


def resolve(call: Call) -> dict[str, Any]:
    """A person's word on an unknown outcome."""
    call.parts.executor.resolve(call.who, call.id, decode(ResolveRequest, call.body))
    return _view(call, call.id)


def kill_state(call: Call) -> dict[str, Any]:
    """The kill switch."""
    return encode(call.parts.kill.state())


def kill(call: Call) -> dict[str, Any]:
    """Turn it."""
    request = decode(KillRequest, call.body)
    return encode(call.parts.executor.kill(call.who, on=request.on, why=request.why, cluster=request.cluster))


def audit(call: Call) -> list[dict[str, Any]]:
    """Audit records."""
    asked = call.request.query_params
    texts = {name: asked.get(name, "") for name in ("kind", "actor", "proposal", "correlation", "model", "since", "until", "text")}
    return call.parts.executor.records(call.who, Query(**texts, limit=int(call.number("limit", 100, 100_000))))


def make_app(parts: Parts, news: News) -> Starlette:
    """The ASGI application of one executor."""

    def route(path: str, method: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> JSONResponse:
            given = request.headers.get("x-correlation-id", "")
            with correlated(given if is_id(given, "c") else "") as correlation:
                try:
                    call = await _enter(parts, request)
                    return JSONResponse(await run_in_threadpool(handler, call))
                except PveopsError as err:
                    err.correlation = err.correlation or correlation
                    return JSONResponse({"error": err.to_dict()}, status_code=err.http_status)

        return Route(path, endpoint, methods=[method])

    async def events(request: Request) -> JSONResponse:
        try:
            call = await _enter(parts, request)
            after, wait_s = int(call.number("after", 0, 1 << 53)), call.number("wait_s", 0, _LONGEST_WAIT_S)
        except PveopsError as err:
            return JSONResponse({"error": err.to_dict()}, status_code=err.http_status)
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            rows = await run_in_threadpool(lambda: parts.journal.feed(after=after, limit=500))
            left = deadline - asyncio.get_running_loop().time()
            if rows or left <= 0:
                return JSONResponse(rows)
            await news.wait(min(left, 1.0))

    async def health(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    one = "/v1/proposals/{proposal}"
    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/events", events),
            route("/v1/info", "GET", info),
            route("/v1/preview", "POST", preview),
            route("/v1/proposals", "GET", proposals),
            route("/v1/proposals", "POST", propose),
            route(one, "GET", proposal),
            route(f"{one}/approve", "POST", approve),
            route(f"{one}/rehearsal", "POST", rehearsal),
            route(f"{one}/deny", "POST", deny),
            route(f"{one}/withdraw", "POST", withdraw),
            route(f"{one}/stop", "POST", stop),
            route(f"{one}/pause", "POST", pause),
            route(f"{one}/resume", "POST", go_on),
            route(f"{one}/resolve", "POST", resolve),
            route("/v1/kill", "GET", kill_state),
            route("/v1/kill", "POST", kill),
            route("/v1/audit", "GET", audit),
            *_without_token(parts),
            route("/v1/logout", "POST", accounts.logout),
            route("/v1/users", "GET", accounts.users),
            route("/v1/users", "POST", accounts.add_user),
            route("/v1/users/remove", "POST", accounts.remove_user),
            route("/v1/groups", "POST", accounts.group),
            route("/v1/rules", "GET", accounts.rules),
            route("/v1/rules", "POST", accounts.add_rule),
            route("/v1/rules/revoke", "POST", accounts.revoke_rule),
            route("/v1/glass", "GET", accounts.glass_state),
            route("/v1/glass", "POST", accounts.glass),
            route(f"{one}/explain", "GET", accounts.explain),
        ],
        exception_handlers={HTTPException: _no_route, Exception: _fault},
    )


def _without_token(parts: Parts) -> list[Route]:
    """What somebody may ask who has no token yet."""

    async def name(_request: Request) -> JSONResponse:
        return JSONResponse({"executor": parts.executor.identity})

    async def login(request: Request) -> JSONResponse:
        with correlated("") as correlation:
            try:
                peer_may(parts, request.state.peer)
                return JSONResponse(await run_in_threadpool(accounts.login, parts, await _body(request)))
            except PveopsError as err:
                err.correlation = err.correlation or correlation
                return JSONResponse({"error": err.to_dict()}, status_code=err.http_status)

    return [Route("/v1/executor", name), Route("/v1/login", login, methods=["POST"])]


def _no_route(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods, in the one shape of errors."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = InputError(f"The executor has no {request.method} {request.url.path[:120]}.", hint="Is this client of another version?")
    return JSONResponse({"error": said.to_dict()}, status_code=status)


def _fault(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours: said as such, its trace in the log alone."""
    with correlated(request.headers.get("x-correlation-id", "")) as correlation:
        _LOG.error("fault in the executor's API", exc_info=error, extra={"path": request.url.path})
        said = PveopsError("The executor has a fault and did not do this.", hint="Its log tells more.", correlation=correlation)
        return JSONResponse({"error": said.to_dict()}, status_code=500)


async def _enter(parts: Parts, request: Request) -> Call:
    """Know the caller, by the kernel's word and by token, and read the body.

    Raises:
        Denied: not let in; written to the ledger.
        InputError: the body is too large or no JSON.
    """
    peer: Peer = request.state.peer
    body = await _body(request) if request.method == "POST" else None
    return await run_in_threadpool(_known, parts, request, peer, body)


async def _body(request: Request) -> Any:
    if len(await request.body()) > _LARGEST_BODY_BYTES:
        raise InputError("The request is larger than 16 MiB.")
    try:
        return await request.json()
    except ValueError as err:
        raise InputError("The request holds no JSON.") from err


def peer_may(parts: Parts, peer: Peer) -> None:
    """Return if this user of the machine may talk to the executor at all, by the kernel's word.

    Raises:
        Denied: not let in.
    """
    if peer.uid not in (os.getuid(), 0) and peer.uid not in parts.callers:
        raise Denied(
            f"User {peer.uid} may not talk to this executor.",
            hint="An operator adds it to `callers` in config.toml.",
            details={"rule": "peer-user"},
        )


def _known(parts: Parts, request: Request, peer: Peer, body: Any) -> Call:
    what = f"{request.method} {request.url.path}"
    try:
        peer_may(parts, peer)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Denied("No principal token was sent.", hint="Set PVEOPS_PRINCIPAL, or run `pveops init`.", details={"rule": "no-token"})
        who = parts.sessions.by_token(Secret(token))
        if who.uids and peer.uid not in who.uids:
            raise Denied(f"{who.name} does not speak through user {peer.uid}.", details={"rule": "peer-user"})
        return Call(parts, request, who, peer, body, Secret(token))
    except GuardError as err:
        parts.executor.note_refusal(f"uid {peer.uid} pid {peer.pid}", what, err)
        raise
