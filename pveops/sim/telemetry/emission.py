"""Starts and ends everything that tells others."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from pveops.base.files import read_secret
from pveops.sim.telemetry import DEFAULT_INDEX
from pveops.sim.telemetry.outlets import Bulk, JsonLines, Outlet, bulk_url, syslog
from pveops.sim.telemetry.tap import Pump
from pveops.sim.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Sinks:
    """Where log lines go.

    Args:
        syslog: addresses, ``udp://HOST:PORT`` or ``tcp://HOST:PORT``.
        file: a file that gets JSON documents, one per line.
        elasticsearch: the address of a server with the bulk interface.
        index: the index or data stream there.
        authorization: a file with ``USER:PASSWORD``, or with ``ApiKey KEY``, for that server.
    """

    syslog: Sequence[str] = ()
    file: Path | None = None
    elasticsearch: str = ""
    index: str = DEFAULT_INDEX
    authorization: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be, before anything is started.

        Raises:
            InputError: an address that is none.
        """
        for text in self.syslog:
            syslog(text)
        if self.elasticsearch:
            bulk_url(self.elasticsearch)

    def outlets(self, cluster: str) -> list[Outlet]:
        """All that were named."""
        found: list[Outlet] = [syslog(text) for text in self.syslog]
        if self.file is not None:
            found.append(JsonLines(self.file, cluster))
        if self.elasticsearch:
            found.append(Bulk(bulk_url(self.elasticsearch), self.index, cluster, self._authorization()))
        return found

    def _authorization(self) -> str:
        if self.authorization is None:
            return ""
        text = read_secret(self.authorization, "the credentials of Elasticsearch").reveal()
        return text if " " in text else "Basic " + base64.b64encode(text.encode()).decode()


class Emission:
    """What a simulated cluster tells while it runs.

    Args:
        world: what is simulated.
        now_s: the simulated time, seconds since the epoch.
    """

    def __init__(self, world: World, now_s: Callable[[], float]) -> None:
        self._world = world
        self._now_s = now_s
        self._stack = AsyncExitStack()

    async def metrics(self, listener: socket.socket) -> None:
        """Answer scrapers on a listening socket."""
        from pveops.sim.telemetry.web import Exporter  # noqa: PLC0415 - needs numpy, which takes long to import

        runner = web.ServerRunner(web.Server(Exporter(self._world, self._now_s).handle, access_log=None), shutdown_timeout=1.0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listener).start()

    def logs(self, sinks: Sinks) -> None:
        """Send log lines wherever they are wanted.

        Raises:
            InputError: an address that is none.
            ConfigError: a file that cannot be used.
        """
        outlets = sinks.outlets(self._world.cluster.name)
        if outlets:
            self._stack.push_async_callback(Pump(self._world, self._now_s, outlets).close)

    async def close(self) -> None:
        """End all of it, the last first."""
        await self._stack.aclose()
