"""Requests to a Prometheus (or what speaks its API), with its own words in errors."""

from __future__ import annotations

import ssl
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from pveops.base.errors import ConfigError, InputError, NoAnswer, TransportError, Unreachable
from pveops.base.redact import redact
from pveops.base.secret import Secret

_CONNECT_S = 3.0


class MetricsHttp:
    """A connection to one metrics server. Safe to share between threads.

    Args:
        url: ``http://host:9090``, with a path where the server sits behind one.
        token: sent as bearer token, where one is needed.
        ca: a PEM file to check the certificate with; by default the system's authorities.
        timeout_s: how long an answer may take, in seconds; no connection within 3 s is told at once.

    Raises:
        ConfigError: the address is none.
    """

    def __init__(self, url: str, *, token: Secret | None = None, ca: Path | None = None, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ConfigError(f"{redact(url)!r} is no address of a Prometheus.", hint="Write http://host:9090, without user or query.")
        self.url = url.rstrip("/")
        self.timeout_s = timeout_s
        headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
        verify = ssl.create_default_context(cafile=str(ca)) if ca else True
        # no proxy, netrc or CA bundle from the environment behind the profile's back
        self._client = httpx.Client(
            headers=headers, verify=verify, trust_env=False, timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S), follow_redirects=False
        )
        weakref.finalize(self, self._client.close)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def ask(self, path: str, params: Mapping[str, str]) -> bytes:
        """The body of a successful answer of the query API.

        Raises:
            InputError: the server refuses the expression; with its words.
            Unreachable, NoAnswer, TransportError: no usable answer.
        """
        return self._checked(path, lambda: self._client.post(f"{self.url}{path}", data=dict(params)))

    def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> bytes:
        """The body of a successful answer to a binary request.

        Raises:
            InputError, Unreachable, NoAnswer, TransportError: as ``ask``.
        """
        return self._checked(path, lambda: self._client.post(f"{self.url}{path}", content=content, headers=dict(headers)))

    def _checked(self, path: str, send: Any) -> bytes:
        try:
            response: httpx.Response = send()
        except httpx.ConnectError as err:
            raise Unreachable(
                f"{self.url} gives no connection ({redact(str(err))[:160]}).", hint="Is Prometheus up, and the address right?"
            ) from err
        except httpx.ConnectTimeout as err:
            raise Unreachable(
                f"{self.url} gives no connection within {_CONNECT_S:g} s.", hint="Is the host up, and the port open?"
            ) from err
        except httpx.TimeoutException as err:
            raise NoAnswer(
                f"{self.url} took the query and did not answer within {self.timeout_s:g} s.", hint="Ask for fewer series, or a wider step."
            ) from err
        except httpx.HTTPError as err:
            raise NoAnswer(f"{self.url} broke off its answer ({redact(str(err))[:160]}).", hint="Try again.") from err
        if response.status_code == 200:
            return response.content
        raise self._refused(path, response)

    def _refused(self, path: str, response: httpx.Response) -> Exception:
        words, kind = _words(response.content)
        if response.status_code in (400, 422):
            return InputError(f"{self.url} refuses the query: {words or 'no reason given'}.", details={"errorType": kind})
        if response.status_code in (401, 403):
            return TransportError(
                f"{self.url} refuses us ({response.status_code}).", hint="Set the token of the metrics server in the profile."
            )
        return TransportError(
            f"{self.url}{path} answered {response.status_code}{': ' + words if words else ''}.",
            hint="Is this a Prometheus, or does its address need a path?",
        )


def _words(content: bytes) -> tuple[str, str]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return redact(content[:200].decode("utf-8", "replace").strip().splitlines()[0] if content.strip() else ""), ""
    if not isinstance(body, dict):
        return "", ""
    return redact(str(body.get("error") or ""))[:500].rstrip("."), str(body.get("errorType") or "")
