"""Takes syslog over UDP and TCP and hands it to a store, many lines at once.

A store that is away is waited for: TCP senders are held back, datagrams that find no room are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from pveops.base.clock import Clock
from pveops.base.errors import ConfigError, PveopsError
from pveops.clients.logs.files import local_ahead_s
from pveops.clients.logs.syslog import MOST_BYTES, BadFrameError, Frames, message_of
from pveops.model.logs import LogLine

_LOG = logging.getLogger("pveops.logs")
_WAITING = 50_000
_AT_ONCE = 5000
_GATHER_S = 0.1
_AGAIN_S = 1.0
_UDP_BUFFER_BYTES = 4 << 20

Address = tuple[str, int]


class Receiver(asyncio.DatagramProtocol):
    """A syslog server.

    Args:
        keep: takes lines and returns how many were new; raises ``PveopsError`` while it cannot.
        clock: when messages come.
        say: told in a sentence what people must know.
    """

    def __init__(self, keep: Callable[[Sequence[LogLine]], int], clock: Clock, say: Callable[[str], None] = _LOG.warning) -> None:
        self._keep = keep
        self._clock = clock
        self._say = say
        self._begun = time.time_ns()
        self.received = self.kept = self.dropped = 0
        """Messages that came, lines that are kept, datagrams that found no room."""

    async def run(self, udp: Address | None, tcp: Address | None, ready: Callable[[dict[str, int]], None], until: asyncio.Event) -> None:
        """Listen until told to end; what came by then is kept.

        Args:
            udp: host and port for datagrams; port 0 takes a free one.
            tcp: the same for connections.
            ready: told the ports, once both listen.
            until: ends it.

        Raises:
            ConfigError: an address cannot be listened on.
        """
        self._waiting: asyncio.Queue[LogLine] = asyncio.Queue(_WAITING)
        ports: dict[str, int] = {}
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            try:
                if udp:
                    transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=udp)
                    stack.callback(transport.close)
                    listening: socket.socket = transport.get_extra_info("socket")
                    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)
                    ports["udp"] = listening.getsockname()[1]
                if tcp:
                    server = await asyncio.start_server(self._connection, *tcp)
                    stack.callback(server.close)
                    ports["tcp"] = server.sockets[0].getsockname()[1]
            except OSError as err:
                where = " or ".join(f"{host}:{port}" for host, port in filter(None, (udp, tcp)))
                hint = "Is another program listening there? Ports below 1024 need root."
                raise ConfigError(f"Cannot listen on {where}: {err.strerror or err}.", hint=hint) from err
            writer = asyncio.create_task(self._write())
            stack.push_async_callback(self._finish, writer)
            ready(ports)
            await until.wait()

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        """A datagram is a message."""
        line = self._line(data, str(addr[0]))
        try:
            self._waiting.put_nowait(line)
        except asyncio.QueueFull:
            if not self.dropped:
                self._say("Datagrams come faster than they can be kept: some are dropped. Send over TCP, which waits.")
            self.dropped += 1

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str(writer.get_extra_info("peername")[0])
        frames = Frames()
        try:
            while data := await reader.read(MOST_BYTES):
                for raw in frames.fed(data):
                    await self._waiting.put(self._line(raw, peer))
            for raw in frames.left():
                await self._waiting.put(self._line(raw, peer))
        except BadFrameError as err:
            self._say(f"{peer} does not speak syslog: {err}. The connection is closed.")
        except OSError:
            pass  # the sender went away
        finally:
            writer.close()

    def _line(self, raw: bytes, peer: str) -> LogLine:
        self.received += 1
        at_ms = round(self._clock.now().timestamp() * 1000)
        mark = f"{peer} {self._begun:x} {self.received}"
        return message_of(raw, peer=peer, mark=mark, at_ms=at_ms, ahead_s=local_ahead_s(at_ms))

    async def _write(self) -> None:
        while True:
            lines = [await self._waiting.get()]
            await asyncio.sleep(_GATHER_S if self._waiting.qsize() < _AT_ONCE else 0)
            while len(lines) < _AT_ONCE and not self._waiting.empty():
                lines.append(self._waiting.get_nowait())
            await self._kept(lines)
            for _ in lines:
                self._waiting.task_done()

    async def _kept(self, lines: list[LogLine]) -> None:
        away = False
        while True:
            try:
                self.kept += await asyncio.to_thread(self._keep, lines)
            except PveopsError as err:
                if not away:
                    self._say(f"{err.message} Lines wait.")
                away = True
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _finish(self, writer: asyncio.Task[None]) -> None:
        """Keep what waits; a store that is away for longer than a moment does not hold the end up."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), 10 * _AGAIN_S)
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
