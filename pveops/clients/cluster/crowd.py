"""Many GETs at once, for details of thousands of guests. One event loop on a thread of its own; callers stay sync.

The wire asks one thing and gets one answer. Here a node that hangs must not hold back the others, an answer that is late must be given up at
once, and thousands of requests must not cost a thread each: that is what asyncio is for, and why this one module is written for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import ssl
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import ApiError, AuthFailed, CertificateMismatch, NoAnswer, PveopsError, TransportError, Unreachable
from pveops.base.redact import redact
from pveops.base.secret import Secret
from pveops.clients.cluster.errors import error_of
from pveops.clients.cluster.pace import Cap, Lane, Trouble
from pveops.clients.cluster.wire import Endpoint, check_path
from pveops.observe.cost import SPENT

_AT_ONCE = 32
"""Requests under way at once for one cluster."""
_BATCH = 200
_REST_S = 30.0
_TROUBLE: dict[int, Trouble] = {503: "busy", 429: "busy", 595: "dead", 596: "silent", 597: "silent", 599: "silent"}


@dataclass(slots=True)
class Ask:
    """A GET. ``lane`` is whose answer it waits for (a node, or a storage of one), ``key`` is the caller's own."""

    key: Any
    path: str
    lane: str
    timeout_s: float = 10.0
    params: dict[str, str] = field(default_factory=dict)
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Got:
    """What became of it: ``data``, or the error why there is none."""

    ask: Ask
    data: Any = None
    error: PveopsError | None = None


class Crowd:
    """Asks one cluster for many things. Connections are kept between calls; ``close`` ends them.

    Args:
        endpoints: addresses of one cluster; the first that gives a connection is used.
        token: gives ``user@realm!name=value``; asked again when the cluster refuses the one in use, as after a renewal.
        connect_s: how long a connection may take, in seconds.
        at_once: requests under way in all.
        clock: for rests.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        token: Callable[[], Secret],
        *,
        connect_s: float = 4.0,
        at_once: int = _AT_ONCE,
        clock: Clock | None = None,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._token = token
        self._connect_s = connect_s
        self._clock = clock or SystemClock()
        self._cap = Cap(at_once)
        self._state = _State()
        self._resting: dict[str, float] = {}
        self._lock = threading.Lock()
        self.sent = 0
        """Requests that left since the start."""
        self.per_node: Counter[str] = Counter()
        """The same by the node that the path names; empty for none."""
        weakref.finalize(self, _end, self._state)

    def close(self) -> None:
        """Close all connections and end the thread."""
        _end(self._state)

    def each(self, asks: Sequence[Ask], *, deadline_s: float) -> Iterator[list[Got]]:
        """Answers in batches, in the order in which they come; each ask has exactly one.

        What has no answer after ``deadline_s`` seconds has the error ``NoAnswer``; what a node that gave up would have answered, its error.

        A token that is refused, also after it was read again, or a stranger's certificate at the only address, is the error of all that are left.

        Raises:
            InputError: a path that can mean something else than it says.
        """
        for ask in asks:
            check_path(ask.path)
        if not asks:
            return
        batches: queue.SimpleQueue[list[Got] | None] = queue.SimpleQueue()
        round_ = _Round(self, asks, deadline_s, batches.put)
        running = self._start(round_.run(), lambda: batches.put(None))
        try:
            while (batch := batches.get()) is not None:
                yield batch
            running.result()
        finally:
            running.cancel()

    def _start(self, work: Coroutine[Any, Any, None], done: Callable[[], None]) -> Future[None]:
        with self._lock:
            loop = _running(self._state)
        running = asyncio.run_coroutine_threadsafe(work, loop)
        running.add_done_callback(lambda _: done())
        return running

    # -- on the loop's thread -------------------------------------------------------------------------------------------

    def endpoint(self) -> Endpoint:
        """The address to ask now."""
        now_s = self._clock.monotonic_s()
        return min(self._endpoints, key=lambda endpoint: self._resting.get(endpoint.url, 0.0) > now_s)

    def rest(self, endpoint: Endpoint) -> bool:
        """An address gave no connection: ask it last for a while. Whether another one is left."""
        now_s = self._clock.monotonic_s()
        self._resting[endpoint.url] = now_s + _REST_S
        return any(self._resting.get(other.url, 0.0) <= now_s for other in self._endpoints)

    async def get(self, endpoint: Endpoint, ask: Ask) -> Any:
        """One answer, or the error that the wire would raise.

        Raises:
            TransportError, ApiError: as the wire.
        """
        session = self._session(endpoint)
        self.sent += 1
        self.per_node[ask.path.split("/", 3)[2] if ask.path.startswith("/nodes/") else ""] += 1
        used = self._state.token
        headers = {"Authorization": f"PVEAPIToken={self._secret()}"}
        url = f"{endpoint.url}/api2/json{ask.path}"
        try:
            async with (
                asyncio.timeout(ask.timeout_s),
                session.get(url, params=ask.params or None, headers=headers, allow_redirects=False) as answer,
            ):
                content = await answer.read()
        except TimeoutError as err:
            SPENT.request(endpoint.url, ask.path, answered_bytes=0, failed=True)
            raise NoAnswer(
                f"{endpoint.url} took the request and timed out after {ask.timeout_s:g} s.",
                hint="The node may be overloaded, or one of its storages hangs.",
            ) from err
        except aiohttp.ClientError as err:
            SPENT.request(endpoint.url, ask.path, answered_bytes=0, failed=True)
            raise _transport(err, endpoint.url) from err
        SPENT.request(endpoint.url, ask.path, answered_bytes=len(content), failed=answer.status >= 400)
        if answer.status >= 400:
            error = error_of(answer.status, answer.reason or "", _json(content), method="GET", path=ask.path, endpoint=endpoint.url)
            if isinstance(error, AuthFailed) and self._renewed(used):
                return await self.get(endpoint, ask)
            raise error
        body = _json(content) if answer.status < 300 else None
        if not isinstance(body, dict) or "data" not in body:
            raise TransportError(f"{endpoint.url} answered GET {ask.path} with {answer.status} and no JSON of Proxmox VE.")
        return body["data"]

    def _secret(self) -> str:
        if not self._state.token:
            self._state.token = self._token().reveal()
        return self._state.token

    def _renewed(self, used: str) -> bool:
        """Whether there is another token than the one that was refused."""
        if self._state.token == used:
            self._state.token = self._token().reveal()
        return bool(used) and self._state.token != used

    def _session(self, endpoint: Endpoint) -> aiohttp.ClientSession:
        found = self._state.sessions.get(endpoint.url)
        if found is None:
            trust: Any = ssl.create_default_context(cafile=str(endpoint.ca) if endpoint.ca else None)
            if endpoint.fingerprint:
                trust = aiohttp.Fingerprint(bytes.fromhex(endpoint.fingerprint.replace(":", "")))
            connector = aiohttp.TCPConnector(ssl=trust, limit=0, keepalive_timeout=75)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s)
            found = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
            self._state.sessions[endpoint.url] = found
        return found

    @property
    def cap(self) -> Cap:
        """How many requests may be under way now."""
        return self._cap

    @property
    def clock(self) -> Clock:
        """The clock."""
        return self._clock


class _Round:
    """One call of ``each``."""

    def __init__(self, crowd: Crowd, asks: Sequence[Ask], deadline_s: float, give: Callable[[list[Got]], None]) -> None:
        now_s = crowd.clock.monotonic_s()
        lanes: dict[str, Lane] = {}
        for ask in asks:
            lanes.setdefault(ask.lane, Lane(ask.lane, now_s)).queue.append(ask)
        self._crowd = crowd
        self._lanes = deque(lanes.values())
        self._deadline_s = deadline_s
        self._give = give
        self._busy = 0
        self._left = len(asks)
        self._batch: list[Got] = []
        self._moved = asyncio.Event()
        self._fatal: PveopsError | None = None

    async def run(self) -> None:
        """Ask until everything is answered, given up or out of time."""
        began_s = self._crowd.clock.monotonic_s()
        workers = [asyncio.create_task(self._work()) for _ in range(min(self._crowd.cap.most, self._left))]
        try:
            async with asyncio.timeout(self._deadline_s):
                await asyncio.gather(*workers)
        except TimeoutError:
            pass
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        late = f"There was no time left after {self._crowd.clock.monotonic_s() - began_s:.0f} s."
        for lane in self._lanes:
            while lane.queue:
                self._done(
                    Got(lane.queue.popleft(), error=self._fatal or NoAnswer(lane.over or late, hint="The next look reads it first."))
                )
        self._hand_over()

    async def _work(self) -> None:
        while self._left and self._fatal is None:
            lane = self._next()
            if lane is None:
                self._moved.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await self._moved.wait()
                continue
            await self._one(lane, lane.queue.popleft())
            self._moved.set()

    def _next(self) -> Lane | None:
        """The lane whose turn it is."""
        if self._busy >= self._crowd.cap.now:
            return None
        now_s = self._crowd.clock.monotonic_s()
        for _ in range(len(self._lanes)):
            lane = self._lanes[0]
            self._lanes.rotate(-1)
            if lane.free(now_s):
                return lane
            if lane.over:
                while lane.queue:
                    self._done(Got(lane.queue.popleft(), error=NoAnswer(lane.over, hint="The next look reads it first.")))
        return None

    async def _one(self, lane: Lane, ask: Ask) -> None:
        lane.busy += 1
        self._busy += 1
        endpoint = self._crowd.endpoint()
        ask.tries += 1
        finished = False
        try:
            data = await self._crowd.get(endpoint, ask)
            lane.good(self._crowd.clock.monotonic_s())
            self._crowd.cap.good()
            self._done(Got(ask, data))
            finished = True
        except PveopsError as err:
            finished = self._failed(lane, ask, endpoint, err)
        finally:
            if not finished:
                lane.queue.appendleft(ask)  # out of time, or to be asked again
            lane.busy -= 1
            self._busy -= 1

    def _failed(self, lane: Lane, ask: Ask, endpoint: Endpoint, err: PveopsError) -> bool:
        """Whether the ask is through with it."""
        if isinstance(err, (Unreachable, CertificateMismatch)):
            if self._crowd.rest(endpoint):
                ask.tries -= 1  # no fault of the node
                return False
            if isinstance(err, CertificateMismatch):
                self._fatal = err
        if isinstance(err, AuthFailed):
            self._fatal = err
        trouble = _trouble(err)
        if trouble is None:
            lane.good(self._crowd.clock.monotonic_s())  # it said no, and that is an answer
        else:
            lane.bad(trouble, err.message, self._crowd.clock.monotonic_s())
            if trouble == "busy":
                self._crowd.cap.overloaded()
            if lane.again(ask.tries):
                return False
        self._done(Got(ask, error=err))
        return True

    def _done(self, got: Got) -> None:
        self._left -= 1
        self._batch.append(got)
        if len(self._batch) >= _BATCH:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._batch:
            self._give(self._batch)
            self._batch = []


@dataclass(slots=True)
class _State:
    """What must be ended: the loop with its thread, and sessions. The token in use stands here too."""

    loop: asyncio.AbstractEventLoop | None = None
    thread: threading.Thread | None = None
    sessions: dict[str, aiohttp.ClientSession] = field(default_factory=dict)
    token: str = field(default="", repr=False)


def _running(state: _State) -> asyncio.AbstractEventLoop:
    if state.loop is None:
        state.loop = asyncio.new_event_loop()
        state.thread = threading.Thread(target=state.loop.run_forever, name="pveops-crowd", daemon=True)
        state.thread.start()
    return state.loop


def _end(state: _State) -> None:
    loop, thread = state.loop, state.thread
    if loop is None or thread is None or loop.is_closed():
        return
    state.loop = state.thread = None

    async def leave() -> None:
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for session in state.sessions.values():
            await session.close()
        state.sessions.clear()
        await asyncio.sleep(0)

    ended = asyncio.run_coroutine_threadsafe(leave(), loop)
    if threading.current_thread() is not thread:
        with contextlib.suppress(TimeoutError):
            ended.result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        if not thread.is_alive():
            loop.close()


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _trouble(err: PveopsError) -> Trouble | None:
    """What a failure says about the node; none where it answered and said no."""
    if isinstance(err, TransportError):
        return "dead" if isinstance(err, Unreachable) else "silent"
    status = err.status if isinstance(err, ApiError) else 0
    if status == 500 and "got timeout" in err.message:
        return "silent"
    return _TROUBLE.get(status)


def _transport(err: aiohttp.ClientError, url: str) -> TransportError:
    text = redact(str(err))[:200]
    if isinstance(err, (aiohttp.ServerFingerprintMismatch, aiohttp.ClientConnectorCertificateError)):
        return CertificateMismatch(
            f"The certificate of {url} is not the one this profile trusts.",
            hint="If it was renewed on purpose, pin it again with `pveops init`; if not, somebody may be in between.",
        )
    if isinstance(err, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return Unreachable(f"{url} gives no connection ({text}).", hint="Is the node up, and port 8006 open from here?")
    return NoAnswer(f"{url} closed the connection before it answered ({text}).", hint="pveproxy may be restarting; try again.")
