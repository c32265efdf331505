"""An address of its own for each node. It closes when nothing gets to the node any more, and opens again when the node is back."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable

from aiohttp import web

from pveops.base.errors import ConfigError
from pveops.sim.listen import listen
from pveops.sim.state.node import Node
from pveops.sim.world import World

_LOG = logging.getLogger("pveops.sim")
_LOOK_S = 0.25
"""Real seconds between two looks: somebody has to let time pass while every door is closed."""


class Doors:
    """The addresses of the nodes.

    Args:
        world: whose nodes they are.
        host: the address to listen on.
        ports: of the nodes, by name; 0 takes any free one, and it is kept.

    Raises:
        ConfigError: a port is taken, or the address is not ours.
    """

    def __init__(self, world: World, host: str, ports: dict[str, int]) -> None:
        self._world = world
        self._host = host
        self._listeners = {name: listen(host, port) for name, port in ports.items()}
        self.ports = {name: int(listener.getsockname()[1]) for name, listener in self._listeners.items()}
        self._sites: dict[str, web.SockSite] = {}

    @property
    def names(self) -> dict[int, str]:
        """The node behind each port."""
        return {port: name for name, port in self.ports.items()}

    async def watch(self, runner: web.ServerRunner, context: ssl.SSLContext, now_s: Callable[[], float]) -> None:
        """Open and close doors as nodes come and go, for ever; lets simulated time pass."""
        while True:
            self._world.advance(now_s())
            try:
                await self.sync(runner, context)
            except ConfigError as err:
                _LOG.warning("the address of a node cannot be opened again: %s", err)
            await asyncio.sleep(_LOOK_S)

    async def sync(self, runner: web.ServerRunner, context: ssl.SSLContext) -> None:
        """Open and close what is to be open and closed now."""
        for name in self.ports:
            node = self._world.cluster.nodes[name]
            if _reachable(node) and name not in self._sites:
                listener = self._listeners.pop(name, None) or listen(self._host, self.ports[name])
                self._sites[name] = web.SockSite(runner, listener, ssl_context=context)
                await self._sites[name].start()
            elif not _reachable(node) and name in self._sites:
                await self._sites.pop(name).stop()
                self._break_off(runner, self.ports[name])

    @staticmethod
    def _break_off(runner: web.ServerRunner, port: int) -> None:
        """Open connections end without a word."""
        server = runner.server
        for handler in list(server.connections) if server is not None else ():
            transport = handler.transport
            if transport is not None and transport.get_extra_info("sockname")[1] == port:
                transport.abort()

    def close(self) -> None:
        """Give back ports that were never opened; the runner closes the others."""
        for listener in self._listeners.values():
            listener.close()


def _reachable(node: Node) -> bool:
    return node.powered and not node.booting and node.reachable
