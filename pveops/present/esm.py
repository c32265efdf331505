"""Puts a JavaScript module together: the shared parts, the look from the token file, and one component."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from pveops.present.tokens import DEFAULT_WAY, css, icons, static

_LOOK = "const LOOK = {};"
_EXPORT = re.compile(r"^export (?=(?:function|const|class) )", re.MULTILINE)


@lru_cache(maxsize=16)
def module(component: str, *, way: str = DEFAULT_WAY) -> str:
    """The source of one ES module: ``parts.js`` with tokens and icons filled in, then the component, which has the only export.

    Args:
        component: JavaScript source with ``export default``.
        way: the colourway.
    """
    look = {"css": sheet(way), **icons()}
    parts = static("parts.js").decode()
    filled = parts.replace(_LOOK, f"const LOOK = {json.dumps(look, ensure_ascii=True)};", 1)
    return f"{_EXPORT.sub('', filled)}\n{component}"


@lru_cache(maxsize=4)
def card_module(way: str = DEFAULT_WAY) -> str:
    """The confirm card as one ES module, for both shells."""
    return module(static("card.js").decode(), way=way)


def sheet(way: str = DEFAULT_WAY) -> str:
    """The style sheet of a shadow root."""
    return css(way) + static("frame.css").decode() + static("look.css").decode()
