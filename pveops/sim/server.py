"""The HTTPS edge: reads requests, asks the API, writes answers as the real daemon does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
from aiohttp import web

from pveops.sim.contract.dispatch import Api, Request
from pveops.sim.control import Control
from pveops.sim.errors import RefusedError
from pveops.sim.faults.engine import Faults
from pveops.sim.faults.weather import Effect
from pveops.sim.methods.table import Encoded, Plain, Rows, Upgrade
from pveops.sim.reqlog import RequestLog
from pveops.sim.state.tickets import claimed_user
from pveops.sim.world import World

_LOG = logging.getLogger("pveops.sim")
_JSON = "application/json;charset=UTF-8"
_HEADERS = {"Server": "pve-api-daemon/3.0", "Cache-Control": "max-age=0", "Pragma": "no-cache", "X-Pveops-Simulated": "1"}
_REFUSED_LOGIN_S = 3.0
"""The real daemon makes whoever fails to log in wait, in real seconds."""

_FORMATS = ("json", "extjs")
_FORBIDDEN = 403
_FAIR = Effect()


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes out."""

    status: int
    reason: str = "OK"
    body: bytes = b""
    content_type: str = _JSON
    delay_s: float = 0.0
    upgrade: Upgrade | None = None


def _single_line(text: str) -> str:
    """A text that may stand in a status line."""
    return "".join(char if char.isprintable() else " " for char in text)


def _add(found: dict[str, Any], name: str, value: str) -> None:
    """Repeated names make a list, as array parameters are sent."""
    if name in found:
        known = found[name]
        found[name] = [*known, value] if isinstance(known, list) else [known, value]
    else:
        found[name] = value


def _read_pairs(text: str, found: dict[str, Any]) -> None:
    for name, value in parse_qsl(text, keep_blank_values=True):
        _add(found, name, value)


_LATER = {"checksum": "checksum-algorithm"}
"""Parts of an upload that the real daemon only understands after another one."""


def _read_parts(content_type: str, body: bytes, found: dict[str, Any]) -> bytes | None:
    """Fields and file of a multipart body; the content of the file.

    Raises:
        RefusedError: 400, parts in an order that is not understood.
    """
    document = BytesParser(policy=policy.HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    file, names = None, []
    for part in document.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        names.append(name)
        content = part.get_payload(decode=True)
        data = content if isinstance(content, bytes) else b""
        if part.get_filename() is None:
            _add(found, name, data.decode("utf-8", "replace"))
        else:
            file = data
            found[name] = part.get_filename()
    if any(other in names[names.index(name) :] for name, other in _LATER.items() if name in names):
        raise RefusedError(400, "Bad Request", empty=True)
    return file


def _read_body(verb: str, content_type: str, body: bytes, found: dict[str, Any]) -> bytes | None:
    """Parameters of a body: form, JSON or parts; the content of a file among them.

    Raises:
        RefusedError: 500 for JSON that is none, 501 for a body where none may be, 506 for other kinds.
    """
    if not body and "json" not in content_type:
        return None
    if verb in ("GET", "DELETE"):
        raise RefusedError(501, f"Unexpected content for method '{verb}'", empty=True)
    if "json" in content_type:
        try:
            values = orjson.loads(body)
        except orjson.JSONDecodeError as err:
            raise RefusedError(500, f"malformed JSON string: {err}", empty=True) from err
        if not isinstance(values, dict):
            raise RefusedError(500, "malformed JSON string: an object was expected", empty=True)
        found.update(values)
    elif "x-www-form-urlencoded" in content_type or not content_type:
        _read_pairs(body.decode("utf-8", "replace"), found)
    elif "multipart/form-data" in content_type:
        return _read_parts(content_type, body, found)
    else:
        raise RefusedError(506, "upload of this content type is not simulated", empty=True)
    return None


def _refusal(err: RefusedError, *, extjs: bool, message: bool = True) -> Answer:
    """The answer to a request that was refused."""
    reason = _single_line(err.reason)
    delay_s = _REFUSED_LOGIN_S if err.status == 401 else 0.0
    if err.empty:
        plain = err.status in (500, 506) or (err.status == 501 and err.message.startswith("Unexpected"))
        body = f"{err.message}\n".encode() if plain else b""
        return Answer(err.status, reason, body, "text/plain" if body else "", delay_s)
    body_data: dict[str, Any] = {"data": None} | ({"message": f"{err.message}\n"} if message or extjs else {})
    if err.errors is not None:
        body_data["errors"] = err.errors
    if extjs:
        body_data |= {"success": 0, "status": str(err.status)}
        return Answer(200, body=orjson.dumps(body_data), delay_s=delay_s)
    return Answer(err.status, reason, orjson.dumps(body_data), delay_s=delay_s)


def _success(data: Any, *, extjs: bool) -> Answer:
    if isinstance(data, Upgrade):
        return Answer(101, upgrade=data)
    if isinstance(data, Plain):
        return Answer(200, body=data.text.encode(), content_type="text/plain")
    document: dict[str, Any] = {"data": data}
    if isinstance(data, Rows):
        document = {"data": data.data} | ({"total": data.total} if data.total else {})
    elif isinstance(data, Encoded):
        document = {"data": orjson.Fragment(data.data)}
    if extjs:
        document |= {"success": 1}
    return Answer(200, body=orjson.dumps(document))


def _spoiled(effect: Effect) -> Answer:
    """The answer that a fault gives instead of the right one."""
    body = orjson.dumps({"data": None, "message": f"{effect.message}\n"}) if effect.message else b""
    return Answer(effect.status, effect.reason, body, _JSON if body else "")


class Edge:
    """Handles every request of the process, one after the other: handlers never wait, so state needs no locks.

    Args:
        world: what is simulated.
        now_s: the simulated time, seconds since the epoch.
        control: the door for tests and faults.
        faults: what happens to requests on their way.
        log: where requests are recorded.
        latency_s: real seconds that each answer waits after its effect has happened.
        doors: the node behind each port that belongs to one.
    """

    def __init__(
        self,
        world: World,
        now_s: Callable[[], float],
        control: Control,
        faults: Faults,
        log: RequestLog,
        latency_s: float,
        doors: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self._world = world
        self._now_s = now_s
        self._api = Api(world)
        self._control = control
        self._faults = faults
        self._log = log
        self._latency_s = latency_s
        self._doors = doors

    @property
    def counts(self) -> tuple[int, int]:
        """Methods answered, methods in all."""
        return self._api.answered, self._api.total

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; a request that was received takes effect even when its client goes away."""
        began_s = time.perf_counter()
        path, _, query = request.raw_path.partition("?")
        body = await request.read()
        if self._control.is_for(path):
            self._world.advance(self._now_s())
            self._world.cluster.asked = ""
            status, data = self._control.answer(request.method, path, query, body)
            return self._respond(Answer(status, "OK" if status == 200 else "refused", orjson.dumps(data)))
        wanted, params, refusal = self._read(request, path, query, body)
        claimed = claimed_user(wanted.cookie, wanted.authorization)
        seq = self._log.received(request.method, unquote(wanted.path), params, claimed)
        self._world.advance(self._now_s())
        self._world.cluster.asked = self._asked(request) if self._doors else ""
        effect = self._faults.over(request.method, unquote(wanted.path)) or _FAIR
        answer = _spoiled(effect)
        if effect.done:
            right = _refusal(refusal, extjs=False) if refusal else self._decide(path, wanted)
            answer = answer if effect.status else right
        if answer.upgrade is not None:
            return await self._talk(request, answer.upgrade, seq)
        if request.method != "GET":
            self._faults.look()
        wait_s = max(answer.delay_s, self._latency_s, effect.delay_s)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._log.answered(seq, answer.status, (time.perf_counter() - began_s) * 1000)
        return await self._break_off(request, answer) if effect.cut else self._respond(answer)

    def _asked(self, request: web.BaseRequest) -> str:
        """The node at whose door somebody knocks."""
        name = request.transport.get_extra_info("sockname") if request.transport is not None else None
        return self._doors.get(name[1], "") if name else ""

    async def _break_off(self, request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
        """Send half of the body, then close the connection."""
        whole = self._respond(answer)
        half = web.StreamResponse(status=whole.status, reason=whole.reason, headers=whole.headers)
        half.content_length = max(len(answer.body), 2)
        await half.prepare(request)
        await half.write(answer.body[: len(answer.body) // 2])
        if request.transport is not None:
            request.transport.close()
        return half

    async def _talk(self, request: web.BaseRequest, found: Upgrade, seq: int) -> web.StreamResponse:
        """Be the terminal of a console until somebody leaves."""
        socket = web.WebSocketResponse(protocols=("binary",), max_msg_size=65_536)
        if not socket.can_prepare(request):
            self._log.answered(seq, 400, 0.0)
            return self._respond(Answer(400, "No 'Upgrade' header in a request for a websocket", content_type=""))
        found.console.state = "open"
        self._log.answered(seq, 101, 0.0)
        try:
            await socket.prepare(request)
            async for message in socket:
                data = message.data.encode() if isinstance(message.data, str) else bytes(message.data)
                said = found.terminal.receive(data, self._now_s())
                if said:
                    await socket.send_bytes(said.encode())
                if found.terminal.closed:
                    break
        finally:
            found.console.state = "closed"
        await socket.close()
        return socket

    @staticmethod
    def _read(request: web.BaseRequest, path: str, query: str, body: bytes) -> tuple[Request, dict[str, Any], RefusedError | None]:
        headers = request.headers
        relative = path.split("/", 3)[3] if path.count("/") >= 3 else ""
        params: dict[str, Any] = {}
        wanted = Request(
            request.method,
            f"/{relative}" if path.startswith("/api2/") else path,
            params,
            headers.get("Cookie", ""),
            headers.get("Authorization", ""),
            headers.get("CSRFPreventionToken", ""),
        )
        try:
            _read_pairs(query, params)
            wanted.file = _read_body(request.method, headers.get("Content-Type", ""), body, params)
        except RefusedError as err:
            return wanted, params, err
        return wanted, params, None

    def _decide(self, path: str, wanted: Request) -> Answer:
        parts = path.split("/", 3)
        if len(parts) < 3 or parts[1] != "api2":
            return Answer(500, _single_line(f"no such file '{path}'"), f"no such file '{path}'\n".encode(), "text/plain")
        if parts[2] not in _FORMATS:
            text = f"no formatter for uri {wanted.path}, {parts[2]}"
            return Answer(501, _single_line(text), text.encode(), "text/plain")
        extjs = parts[2] == "extjs"
        try:
            return _success(self._api.answer(wanted), extjs=extjs)
        except RefusedError as err:
            err.empty = err.empty or (err.status == _FORBIDDEN and path.endswith("/upload"))
            return _refusal(err, extjs=extjs, message=self._world.release.message_in_body)
        except Exception:  # noqa: BLE001 - the one edge of the process: a bug must answer, be seen, and not end the cluster
            _LOG.exception("%s %s failed", wanted.verb, wanted.path)
            return Answer(500, "internal error of the simulated cluster", orjson.dumps({"data": None, "message": "internal error\n"}))

    @staticmethod
    def _respond(answer: Answer) -> web.Response:
        response = web.Response(status=answer.status, reason=answer.reason, body=answer.body, headers=_HEADERS)
        if answer.content_type:
            response.headers["Content-Type"] = answer.content_type
        if answer.status == 401:
            response.force_close()
        return response


def canonical_url(host: str, port: int, scheme: str = "https") -> str:
    """The address of the server as clients write it."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
