"""``/metrics`` of the page server, for a Prometheus: what pveops itself costs. Asks for the page's token as ``Authorization: Bearer``."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tornado.web import RequestHandler

from pveops.app.cost import exposition
from pveops.settings.home import Home
from pveops.surfaces.dash.gate import Gate, is_local


class MetricsHandler(RequestHandler):
    """The figures of all processes of this home."""

    async def get(self) -> None:
        """Answer a scraper."""
        given = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not is_local(str(self.request.host)) or not Gate.of_environment().knows_token(given):
            self.set_status(403)
            self.finish("The token of the pages is needed as Authorization: Bearer.\n")
            return
        text = await asyncio.to_thread(exposition, Home.find(os.environ))
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(text)


ROUTES: list[Any] = [("/metrics", MetricsHandler, {})]
"""What Panel looks for in a plug-in."""
