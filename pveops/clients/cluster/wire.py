"""One connection to a cluster over several endpoints. The only module that knows proxmoxer.

proxmoxer gives us sessions and authentication; paths, pinning, timeouts, failover, parsing and errors are ours, because it quotes no path
parts, drops what stands beside ``data``, and logs bodies.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson
import requests
from proxmoxer import ProxmoxAPI
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, NewConnectionError
from urllib3.exceptions import SSLError as Urllib3SSLError

from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import (
    AuthFailed,
    CertificateMismatch,
    InputError,
    NoAnswer,
    NodeUnreachable,
    PveopsError,
    TransportError,
    Unreachable,
)
from pveops.base.redact import redact
from pveops.base.secret import Secret
from pveops.clients.cluster.errors import error_of
from pveops.clients.cluster.spare import Spares
from pveops.observe.cost import SPENT
from pveops.observe.logs import quiet_libraries

_LOG = logging.getLogger("pveops.wire")
_SAFE_PATH = re.compile(r"^(?:/[A-Za-z0-9_.@!:,+=~-]+)+$")
_DOTS = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")
_REST_S = 30.0
"""An endpoint that gave no connection is asked last for this long."""

_NO_CONNECTION = 595
_QUICK_S = 3.0
"""A proxy error that came later than this came from waiting; waiting again would not help."""

Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of the cluster; ``fingerprint`` (SHA-256) pins its certificate, ``ca`` is a PEM file to check it with."""

    url: str
    fingerprint: str = ""
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: for a connection, for a read, for a write."""

    connect_s: float = 4.0
    read_s: float = 30.0
    write_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer: ``data``, the ``total`` that some lists carry beside it, who answered and what its clock said (Unix seconds)."""

    data: Any
    total: int | None
    endpoint: str
    date_s: int | None
    simulated: bool


class Envelope(NamedTuple):
    """What a body holds: ``data``, and ``total`` where it stands beside it."""

    data: Any
    total: int | None


Decode = Callable[[bytes], Envelope | None]


class _PinnedAdapter(HTTPAdapter):
    """Accepts one certificate, by its SHA-256 fingerprint, instead of asking an authority."""

    def __init__(self, fingerprint: str, **options: Any) -> None:
        self._fingerprint = fingerprint.replace(":", "").lower()
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, assert_fingerprint=self._fingerprint, **options)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        authority = ("ca_certs", "ca_cert_dir")
        return host, {**{key: value for key, value in pool.items() if key not in authority}, "cert_reqs": "CERT_NONE"}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        # the fingerprint proves who answers; an authority or a host name could not for a self-signed certificate
        conn.cert_reqs = "CERT_NONE"


def check_path(path: str) -> str:
    """The API path, if it can only mean what it says: no dot segments, no query, nothing that needs quoting.

    Raises:
        InputError: anything else.
    """
    if not _SAFE_PATH.fullmatch(path) or _DOTS.search(path):
        raise InputError(f"{path[:120]!r} is no path of the API.", hint="Names of nodes, guests and storages cannot hold such characters.")
    return path


class Wire:
    """Carries requests to the first endpoint that answers. Safe to share between threads.

    Args:
        endpoints: addresses of one cluster, asked in this order.
        token: ``user@realm!name=value``.
        timeouts: in seconds.
        pool: connections kept per endpoint.
        clock: for the rest of a silent endpoint.
        renew: gives the token anew when the cluster refuses the one in use; for reads alone.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        token: Secret,
        *,
        timeouts: Timeouts = Timeouts(),
        pool: int = 16,
        clock: Clock | None = None,
        renew: Callable[[], Secret] | None = None,
    ) -> None:
        if not endpoints:
            raise InputError("A cluster needs at least one endpoint.")
        self._endpoints = tuple(endpoints)
        self._token = token
        self._renew = renew
        self._timeouts = timeouts
        self._pool = pool
        self._clock = clock or SystemClock()
        self._sessions: dict[str, requests.Session] = {}
        self._spares = Spares(self._clock, connect_s=timeouts.connect_s)
        weakref.finalize(self, _close_all, self._sessions, self._spares)
        self._resting: dict[str, float] = {}
        self._lock = threading.Lock()
        self.sent = 0
        """Requests that left since the start."""
        quiet_libraries()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The addresses, in the order they were given."""
        return self._endpoints

    @property
    def token_id(self) -> str:
        """``user@realm!name``: who we are to the cluster, without the secret part."""
        return self._token.reveal().partition("=")[0]

    @property
    def write_timeout_s(self) -> float:
        """How long a write may take until we call it unanswered, in seconds."""
        return self._timeouts.write_s

    def get(self, path: str, params: Params | None = None, *, decode: Decode | None = None) -> Reply:
        """Read. A passing failure is tried at the next endpoint, and once more at the last.

        ``decode`` reads the body of a successful answer in another way than into dictionaries and lists.

        Raises:
            TransportError: no endpoint gave an answer; the message tells what each said.
            ApiError: the cluster answered with an error.
        """
        check_path(path)
        used = self._token
        try:
            return self._get(path, params, decode)
        except AuthFailed:
            if not self._renewed(used):
                raise
        return self._get(path, params, decode)

    def _renewed(self, used: Secret) -> bool:
        """Whether there is another token than the one that was refused."""
        if self._renew is None:
            return False
        with self._lock:
            if self._token is used:
                found = self._renew()
                if found.reveal() == used.reveal():
                    return False
                self._token = found
                self._sessions.clear()  # those in use by other threads end with their requests
            return True

    def _get(self, path: str, params: Params | None, decode: Decode | None) -> Reply:
        said: list[str] = []
        kinds: list[PveopsError] = []
        for endpoint in self._order():
            for again in range(2):
                began_s = self._clock.monotonic_s()
                try:
                    return self._exchange(self._session(endpoint), endpoint, "GET", path, params, self._timeouts.read_s, decode)
                except Unreachable as err:
                    self._rest(endpoint)
                    kinds.append(err)
                    said.append(err.message)
                    break
                except NoAnswer as err:
                    kinds.append(err)
                    said.append(err.message)
                    if "timed out" in err.message:
                        self._rest(endpoint)
                        break
                except NodeUnreachable as err:
                    # a lost answer is asked for once more; a dead node, or one that lets us wait, is not
                    if again or err.status == _NO_CONNECTION or self._clock.monotonic_s() - began_s > _QUICK_S:
                        raise
                except CertificateMismatch as err:
                    if len(self._endpoints) == 1:
                        raise
                    kinds.append(err)
                    said.append(err.message)
                    break
        raise self._all_failed(said, kinds)

    def prepare(self) -> None:
        """Open the connection that the next change will leave over; returns at once. Nothing is sent, and a failure is told to whoever sends."""
        endpoint = self._order()[0]
        self._spares.add(endpoint.url, self._open(endpoint))

    def send_once(self, method: str, path: str, params: Params | None = None) -> Reply:
        """Send a change on a connection of its own, at most once. Only a refused connection moves on to the next endpoint.

        Raises:
            Unreachable: no endpoint took a connection: surely not sent.
            NoAnswer: it may have been carried out.
            ApiError: the cluster refused it.
        """
        check_path(path)
        said: list[str] = []
        for endpoint in self._order():
            session = self._spares.take(endpoint.url) or self._open(endpoint)
            session.headers["Connection"] = "close"
            try:
                reply = self._exchange(session, endpoint, method, path, params, self._timeouts.write_s)
            except (Unreachable, CertificateMismatch) as err:
                self._rest(endpoint)
                said.append(err.message)
                continue
            finally:
                session.close()
            return reply
        raise Unreachable(" ".join(said), hint="Nothing was sent. Check the addresses and the network.")

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            _close_all(self._sessions, self._spares)

    def _order(self) -> list[Endpoint]:
        now = self._clock.monotonic_s()
        return sorted(self._endpoints, key=lambda endpoint: self._resting.get(endpoint.url, 0.0) > now)

    def _rest(self, endpoint: Endpoint) -> None:
        if len(self._endpoints) > 1:
            _LOG.warning("endpoint is silent", extra={"endpoint": endpoint.url})
        self._resting[endpoint.url] = self._clock.monotonic_s() + _REST_S

    def _session(self, endpoint: Endpoint) -> requests.Session:
        with self._lock:
            if endpoint.url not in self._sessions:
                self._sessions[endpoint.url] = self._open(endpoint)
            return self._sessions[endpoint.url]

    def _open(self, endpoint: Endpoint) -> requests.Session:
        who, _, value = self._token.reveal().partition("=")
        user, _, name = who.partition("!")
        parts = urlsplit(endpoint.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else str(parts.hostname)
        trusted: str | bool = str(endpoint.ca) if endpoint.ca else True
        api = ProxmoxAPI(
            host,
            port=parts.port,
            user=user,
            token_name=name,
            token_value=value,
            verify_ssl=trusted,
            backend="https",
        )
        session: requests.Session = api._store["session"]  # noqa: SLF001 - proxmoxer has no public way to its session
        session.verify = trusted  # proxmoxer gives it with each request; a connection that is opened before has none
        session.trust_env = False  # no proxy, netrc or CA bundle from the environment behind the profile's back
        options: dict[str, Any] = {"pool_connections": 2, "pool_maxsize": self._pool, "pool_block": False, "max_retries": 0}
        session.mount("https://", _PinnedAdapter(endpoint.fingerprint, **options) if endpoint.fingerprint else HTTPAdapter(**options))
        return session

    def _exchange(
        self,
        session: requests.Session,
        endpoint: Endpoint,
        method: str,
        path: str,
        params: Params | None,
        timeout_s: float,
        decode: Decode | None = None,
    ) -> Reply:
        self.sent += 1
        place: dict[str, Any] = {"params": params} if method in ("GET", "DELETE") else {"data": params}
        try:
            response = session.request(
                method, f"{endpoint.url}/api2/json{path}", timeout=(self._timeouts.connect_s, timeout_s), allow_redirects=False, **place
            )
        except (requests.exceptions.RequestException, OSError) as err:
            SPENT.request(endpoint.url, path, answered_bytes=0, failed=True)
            raise _transport_error(err, endpoint.url, timeout_s, reading=method == "GET") from err
        SPENT.request(endpoint.url, path, answered_bytes=len(response.content), failed=response.status_code >= 400)
        if response.status_code >= 400:
            said = _body(response.content)
            raise error_of(response.status_code, response.reason or "", said, method=method, path=path, endpoint=endpoint.url)
        found = (decode or _envelope)(response.content) if response.status_code < 300 else None
        if found is None:
            raise TransportError(
                f"{endpoint.url} answered {method} {path} with {response.status_code} and no JSON of Proxmox VE.",
                hint="Is this the API of a Proxmox VE node (port 8006)?",
            )
        return Reply(found.data, found.total, endpoint.url, _date_s(response.headers.get("Date")), "X-Pveops-Simulated" in response.headers)

    def _all_failed(self, said: list[str], kinds: list[PveopsError]) -> TransportError:
        unique = list(dict.fromkeys(said))
        cls = Unreachable if all(isinstance(kind, Unreachable) for kind in kinds) else type(kinds[-1])
        hint = "Check the addresses, the network and the certificates; `pveops init` looks at each of them."
        if len(self._endpoints) == 1:
            return cls(unique[-1], hint=kinds[-1].hint or hint)  # type: ignore[return-value]
        return cls(f"None of the {len(self._endpoints)} endpoints answers. {' '.join(unique)}", hint=hint)  # type: ignore[return-value]


def _close_all(sessions: dict[str, requests.Session], spares: Spares) -> None:
    spares.close()
    while sessions:
        sessions.popitem()[1].close()


def _body(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def _envelope(content: bytes) -> Envelope | None:
    body = _body(content)
    return Envelope(body["data"], body.get("total")) if isinstance(body, dict) and "data" in body else None


def _date_s(text: str | None) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp()) if text else None
    except (TypeError, ValueError):
        return None


def _causes(err: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while err is not None and err not in found:
        found.append(err)
        reason = getattr(err, "reason", None)
        inner = reason if isinstance(reason, BaseException) else next((arg for arg in err.args if isinstance(arg, BaseException)), None)
        err = inner or err.__cause__ or err.__context__
    return found


def _transport_error(err: BaseException, url: str, timeout_s: float, *, reading: bool) -> TransportError:
    """Sort a failure by the one thing that matters later: was it surely not sent? In doubt a write counts as sent."""
    causes = _causes(err)

    def has(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    text = redact(str(causes[-1]))[:200]
    if has(ssl.SSLCertVerificationError) or (has(Urllib3SSLError) and any("ingerprint" in str(cause) for cause in causes)):
        return CertificateMismatch(
            f"The certificate of {url} is not the one this profile trusts ({text}).",
            hint="If it was renewed on purpose, pin it again with `pveops init`; if not, somebody may be in between.",
        )
    if has(NameResolutionError):
        return Unreachable(f"The name in {url} is not known to DNS.", hint="Check the spelling, or write the address.")
    if has(NewConnectionError, ConnectionRefusedError):
        return Unreachable(f"{url} gives no connection (refused).", hint="Is the node up, and is pveproxy running there?")
    if has(ConnectTimeoutError, requests.exceptions.ConnectTimeout):
        return Unreachable(f"{url} gives no connection (timed out).", hint="Is the node up, and port 8006 open from here?")
    if reading and has(ssl.SSLError) and not has(RemoteDisconnected):
        return Unreachable(f"{url} speaks no usable TLS ({text}).", hint="Is this the API of a Proxmox VE node (port 8006)?")
    if has(requests.exceptions.ReadTimeout):
        return NoAnswer(
            f"{url} took the request and timed out after {timeout_s:g} s.", hint="The node may be overloaded, or one of its storages hangs."
        )
    if reading and has(MaxRetryError) and not has(RemoteDisconnected, ConnectionResetError):
        return Unreachable(f"{url} gives no connection ({text}).")
    return NoAnswer(f"{url} closed the connection before it answered ({text}).", hint="pveproxy may be restarting; try again.")
