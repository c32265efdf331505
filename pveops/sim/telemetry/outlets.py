"""Where log lines go: syslog over UDP or TCP, a file, the bulk interface of Elasticsearch."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import aiohttp
import orjson

from pveops.base.errors import ConfigError, InputError
from pveops.sim.state.journal import Event
from pveops.sim.telemetry import lines

_CONNECT_S = 5.0
_ANSWER_S = 30.0
_BUSY = (429, 502, 503, 504)


class OutletError(Exception):
    """Lines could not be handed over; they may be tried again."""


class Outlet(Protocol):
    """Takes lines."""

    @property
    def name(self) -> str:
        """How it is told to people."""
        ...

    async def send(self, events: Sequence[Event]) -> int:
        """Hand lines over; the result is how many were refused for good.

        Raises:
            OSError: nobody is there.
            OutletError: somebody is there, and cannot take them now.
        """
        ...

    async def close(self) -> None:
        """End."""
        ...


class UdpSyslog:
    """One datagram per line. Nobody tells whether it arrives."""

    def __init__(self, host: str, port: int) -> None:
        self.name = f"syslog udp://{host}:{port}"
        self._to = (host, port)
        self._transport: asyncio.DatagramTransport | None = None

    async def send(self, events: Sequence[Event]) -> int:
        """Send the lines."""
        if self._transport is None:
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=self._to)
        for event in events:
            self._transport.sendto(lines.rfc5424(event))
        return 0

    async def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()


class TcpSyslog:
    """Lines with their length before them (RFC 6587, octet counting) over one connection."""

    def __init__(self, host: str, port: int) -> None:
        self.name = f"syslog tcp://{host}:{port}"
        self._to = (host, port)
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, events: Sequence[Event]) -> int:
        """Send the lines; a connection that ended is made anew."""
        if self._writer is None or self._writer.is_closing():
            async with asyncio.timeout(_CONNECT_S):
                reader, self._writer = await asyncio.open_connection(*self._to)
            self._watch = asyncio.create_task(self._until_end(reader, self._writer))
        messages = [lines.rfc5424(event) for event in events]
        self._writer.writelines(b"%d %b" % (len(message), message) for message in messages)
        async with asyncio.timeout(_ANSWER_S):
            await self._writer.drain()
        return 0

    @staticmethod
    async def _until_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A syslog server says nothing: when reading ends, the connection has."""
        try:
            while await reader.read(4096):
                pass
        except OSError:
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
            await asyncio.wait([self._watch], timeout=1.0)


class JsonLines:
    """Appends documents to a file.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path, cluster: str) -> None:
        self.name = f"file {path}"
        self._cluster = cluster
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
        except OSError as err:
            raise ConfigError(
                f"Cannot write the log file {path}: {err.strerror}.", hint="Name a file in a folder that you may write."
            ) from err

    async def send(self, events: Sequence[Event]) -> int:
        """Append the lines."""
        self._file.write(lines.json_lines(events, self._cluster))
        return 0

    async def close(self) -> None:
        """Close the file."""
        self._file.close()


class Bulk:
    """Creates documents through the bulk interface of Elasticsearch, each once, however often it is sent.

    Args:
        url: of the server.
        index: name of the index or data stream.
        cluster: the name of the cluster, a label of each document.
        authorization: value of the header, empty for none.
    """

    def __init__(self, url: str, index: str, cluster: str, authorization: str = "") -> None:
        self.name = f"elasticsearch {url}"
        self._url = f"{url.rstrip('/')}/_bulk"
        self._index = index
        self._cluster = cluster
        self._headers = {"Content-Type": "application/x-ndjson"} | ({"Authorization": authorization} if authorization else {})
        self._session: aiohttp.ClientSession | None = None

    async def send(self, events: Sequence[Event]) -> int:
        """Create the documents."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S, connect=_CONNECT_S), trust_env=False)
        body = lines.bulk(events, self._cluster, self._index)
        try:
            async with self._session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as answer:
                text = await answer.read()
        except aiohttp.ClientConnectionError as err:
            raise OSError(errno.ECONNREFUSED, str(err)) from err
        except aiohttp.ClientError as err:
            raise OutletError(str(err)) from err
        if answer.status != 200:
            raise OutletError(f"{answer.status} {answer.reason}: {text[:200].decode(errors='replace')}")
        return self._count_refused(text)

    @staticmethod
    def _count_refused(text: bytes) -> int:
        """How many documents were refused for good; one that is there already was not."""
        try:
            found: dict[str, Any] = orjson.loads(text)
            statuses = [item["create"]["status"] for item in found["items"]] if found["errors"] else []
        except (KeyError, TypeError, ValueError) as err:
            raise OutletError(f"not the answer of a bulk request: {text[:200].decode(errors='replace')}") from err
        if any(status in _BUSY for status in statuses):
            raise OutletError("the server is busy")
        return sum(status >= 300 and status != 409 for status in statuses)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _port(parts: SplitResult) -> int:
    """The port of an address; 0 for none, or for what is none."""
    try:
        return parts.port or 0
    except ValueError:
        return 0


def syslog(text: str) -> UdpSyslog | TcpSyslog:
    """The outlet behind ``udp://HOST:PORT`` or ``tcp://HOST:PORT``.

    Raises:
        InputError: the text is neither.
    """
    parts = urlsplit(text)
    kind, host, port = parts.scheme, parts.hostname, _port(parts)
    if kind not in ("udp", "tcp") or not host or not port:
        raise InputError(f"--syslog is {text!r} and must be udp://HOST:PORT or tcp://HOST:PORT.", hint="For example udp://127.0.0.1:514.")
    return UdpSyslog(host, port) if kind == "udp" else TcpSyslog(host, port)


def bulk_url(text: str) -> str:
    """The address of an Elasticsearch server.

    Raises:
        InputError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise InputError(f"--elasticsearch is {text!r} and must be http://HOST:PORT.", hint="Credentials belong into --elasticsearch-auth.")
    return text
