"""The port that scrapers ask: plain HTTP, one process for what would be many exporters.

``/pve``: the cluster as prometheus-pve-exporter shows it (``?cluster=0`` or ``?node=0`` leaves a part out). ``/node/NAME/metrics``: a node as
its node exporter shows it; a node that cannot be reached closes the connection without an answer. ``/metrics``: all of it on one page, nodes
with the label ``instance``. ``/sd``: the targets for ``http_sd_configs``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from pveops.sim.contract.dispatch import Api, Request
from pveops.sim.errors import RefusedError
from pveops.sim.methods.table import Encoded, Rows
from pveops.sim.state.identity import ROOT
from pveops.sim.state.node import Node
from pveops.sim.telemetry import machines, node, pve
from pveops.sim.telemetry.families import CONTENT_TYPE, Family, labels, merged, page
from pveops.sim.telemetry.figures import Figures, Fleet
from pveops.sim.world import World

NODE_PORT = 9100
"""What the name of a node is given as its port in ``instance``: that of the node exporter."""

_OFF = ("0", "false", "")
_PIECE = 8
"""Families that are printed and sent at a time."""


class Asker:
    """Asks the API from within, as somebody who may see everything."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._api = Api(world)

    def get(self, path: str) -> Any:
        """The data of an answer; what is JSON already stays so.

        Raises:
            RefusedError: the answer is not 200.
        """
        ticket, _ = self._world.gate.issue(ROOT)
        found = self._api.answer(Request("GET", path, cookie=f"PVEAuthCookie={ticket}"))
        return found.data if isinstance(found, (Rows, Encoded)) else found


class Answers:
    """What a page needs of the API: asked at one moment, read later in a thread, when the state may have moved on."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._kept: dict[str, Any] = {}

    def ask(self, *paths: str) -> None:
        """Ask now."""
        self._kept |= {path: self._asker.get(path) for path in paths}

    def __call__(self, path: str) -> Any:
        """The data of a GET."""
        if path not in self._kept:
            self.ask(path)
        found = self._kept[path]
        if isinstance(found, bytes):
            found = self._kept[path] = orjson.loads(found)
        return found


class Exporter:
    """Answers scrapers.

    Args:
        world: what is simulated.
        now_s: the simulated time, seconds since the epoch.
    """

    def __init__(self, world: World, now_s: Callable[[], float]) -> None:
        self._world = world
        self._now_s = now_s
        self._asker = Asker(world)
        self._fleet = Fleet(world)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request)
        except RefusedError as err:
            return web.Response(status=500, text=f"The API answers {err.status} {err.reason}\n")

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, query = request.path, request.query
        self._world.advance(self._now_s())
        if path == "/sd":
            return web.Response(body=orjson.dumps(self._targets(request.host)), content_type="application/json")
        if path == "/pve":
            parts = [name for name in ("cluster", "node") if query.get(name, "1").lower() not in _OFF]
            return await _write(request, await self._cluster(parts))
        if path == "/metrics":
            return await _write(request, [*await self._cluster(("cluster", "node")), *await self._nodes()])
        if path.startswith("/node/") and path.endswith("/metrics"):
            return await self._one(request, unquote(path.split("/")[2]))
        return web.Response(status=404, text="Ask for /metrics, /pve, /node/NAME/metrics or /sd.\n")

    def _targets(self, host: str) -> list[dict[str, Any]]:
        found = [{"targets": [host], "labels": {"job": "pve", "instance": self._world.cluster.name, "__metrics_path__": "/pve"}}]
        for name in self._world.cluster.nodes:
            path = f"/node/{name}/metrics"
            found.append({"targets": [host], "labels": {"job": "node", "instance": f"{name}:{NODE_PORT}", "__metrics_path__": path}})
        return found

    async def _one(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        found = self._world.cluster.nodes.get(name)
        if found is None:
            return web.Response(status=404, text=f"There is no node {name}.\n")
        if not answers(found):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        return await _write(request, list(node_families(self._world, found, self._fleet.now(name)[name])))

    async def _cluster(self, parts: Iterable[str]) -> list[Family]:
        ask, found = Answers(self._asker), list[Family]()
        if "cluster" in parts:
            ask.ask(*pve.CLUSTER_PATHS)
        if "node" in parts:
            found = list(pve.node(ask))
        if "cluster" in parts:
            found = [*await asyncio.to_thread(list, pve.cluster(ask)), *found]
        return found

    async def _nodes(self) -> list[Family]:
        found: list[Family] = []
        figures = self._fleet.now()
        for name, one in list(self._world.cluster.nodes.items()):
            if answers(one):
                instance = labels(instance=f"{name}:{NODE_PORT}")
                found += [_with(family, instance) for family in node_families(self._world, one, figures[name])]
                await asyncio.sleep(0)
        return merged(found)


def answers(found: Node) -> bool:
    """Whether the exporter of a node can be reached."""
    return found.powered and found.reachable


def node_families(world: World, found: Node, figures: Figures) -> Iterator[Family]:
    """All families of a node."""
    yield from node.families(world.cluster, world.space, found, figures)
    yield from machines.families(world.cluster, found, figures)


def _with(family: Family, extra: str) -> Family:
    samples = [(f"{extra},{found}" if found else extra, value) for found, value in family.samples]
    return Family(family.name, family.kind, family.about, samples)


async def _write(request: web.BaseRequest, families: list[Family]) -> web.StreamResponse:
    """Send a page piece by piece, printed in a thread, so that the API goes on answering."""
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    await response.prepare(request)
    for start in range(0, len(families), _PIECE):
        await response.write(await asyncio.to_thread(_printed, families[start : start + _PIECE]))
    await response.write_eof()
    return response


def _printed(families: list[Family]) -> bytes:
    return b"".join(map(page, families))
