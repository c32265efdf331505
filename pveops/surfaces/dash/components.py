"""The parts of the page as Panel components. Each takes one JSON block, so that a refresh costs one small message.

All are ``AnyWidgetComponent``, like the card: Panel 1.9 keeps one render function per page for all its script components, so a page that mixes
them with ``JSComponent`` gives one kind the other's model.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import param
from panel.custom import AnyWidgetComponent

from pveops.present.esm import card_module, module


def _source(name: str) -> str:
    files = resources.files("pveops.surfaces.dash").joinpath("static")
    css, script = (files.joinpath(file).read_text(encoding="utf-8") for file in ("dash.css", f"{name}.js"))
    return module(f"const DASH_CSS = {json.dumps(css)};\n{files.joinpath('part.js').read_text(encoding='utf-8')}\n{script}")


class Part(AnyWidgetComponent):
    """A part that only shows."""

    block: Any = param.Dict(default={"state": "loading"})

    __abstract = True


class Bar(Part):
    """App bar."""

    _esm = _source("bar")


class Nav(Part):
    """Links and connections."""

    _esm = _source("nav")


class Top(Part):
    """Facts and banners."""

    _esm = _source("top")


class Nodes(Part):
    """Node cards."""

    _esm = _source("nodes")


class Storage(Part):
    """Storage table."""

    _esm = _source("storage")


class Guests(Part):
    """Guest table, paged by the server."""

    _esm = _source("guests")
    query: Any = param.Dict(default={})


class Work(Part):
    """Failed tasks and missing backups."""

    _esm = _source("work")


class Activity(Part):
    """What happened."""

    _esm = _source("feed")


class Cards(AnyWidgetComponent):
    """The confirm cards: the same card.js as in notebooks."""

    _esm = card_module()
    view: Any = param.Dict(default={})
    acks: Any = param.List(default=[])
    press: Any = param.Dict(default={})
