"""The cluster page: a template with one place per part, and one session per open page. Reads nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from importlib import resources
from typing import Any

import panel as pn

from pveops.app.ops import connect
from pveops.model.proposal import Origin
from pveops.present.tokens import fonts_css, scheme_css
from pveops.surfaces.dash.components import Activity, Bar, Cards, Guests, Nav, Nodes, Storage, Top, Work
from pveops.surfaces.dash.hub import Hub
from pveops.surfaces.dash.look import Watcher

_PARTS: dict[str, type[Any]] = {
    "bar": Bar, "nav": Nav, "top": Top, "nodes": Nodes, "storage": Storage, "guests": Guests, "work": Work, "feed": Activity, "cards": Cards,
}  # fmt: skip


class PageSession:
    """One open page: its parts, and the way to them."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.query: Mapping[str, Any] = {}
        self.parts = {name: made(sizing_mode="stretch_width") for name, made in _PARTS.items()}
        self.parts["guests"].param.watch(self._asked, "query")
        self.parts["cards"].param.watch(self._pressed, "press")
        self._document: Any = None

    def begin(self) -> None:
        """The page is there: join the hub. The warm-up run of the server has no event loop, and nobody looks at it."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._document = pn.state.curdoc
        key = self._document.session_context.id
        pn.state.on_session_destroyed(lambda _context: self.hub.leave(key))
        self.hub.join(key, self)

    def put(self, name: str, block: Mapping[str, Any]) -> None:
        """Show a block, under the page's own lock."""
        if self._document is not None and self._document.session_context is not None:
            self._document.add_next_tick_callback(partial(self._show, name, block))

    def _show(self, name: str, block: Mapping[str, Any]) -> None:
        part = self.parts[name]
        if name == "cards":
            part.param.update(view=block["view"], acks=block["acks"])
        else:
            part.block = block

    def _asked(self, event: Any) -> None:
        self.query = event.new
        self.parts["guests"].block = self.hub.guests(self)

    def _pressed(self, event: Any) -> None:
        if self.hub.desk is not None:
            self.hub.desk.receive(event.new)


def cluster_page() -> Any:
    """The page of one visitor, ready for ``.servable()``."""
    hub = pn.state.as_cached("pveops-hub", _open_hub)
    session = PageSession(hub)
    page = pn.Template(_template())
    for name, part in session.parts.items():
        page.add_panel(name, part)
    pn.state.onload(session.begin)
    return page


def _open_hub() -> Hub:
    """The one hub of this server. The cluster need not answer yet: the page says so and asks again."""
    return Hub(Watcher(connect(origin=Origin(surface="dashboard", place="cluster"), check=False)))


def _template() -> str:
    text = resources.files("pveops.surfaces.dash").joinpath("static").joinpath("page.html").read_text(encoding="utf-8")
    # each colour scheme is one rule: no flash of the wrong one before scripts run
    look = scheme_css(":root", "light") + scheme_css(":root[data-pv-scheme=dark]", "dark") + fonts_css("/pveops-static")
    return text.replace("/*LOOK*/", look)
