"""The one token file, and what is made of it: CSS variables, and the font faces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

Scheme = Literal["light", "dark"]
DEFAULT_WAY = "slate"
FONTS = (
    ("Inter Variable", "inter-latin-opsz-normal.woff2", "100 900"),
    ("JetBrains Mono Variable", "jetbrains-mono-latin-wght-normal.woff2", "100 800"),
)
"""Family, file in ``static/``, range of weights."""


def static(name: str) -> bytes:
    """A file of ``present/static``."""
    return resources.files("pveops.present").joinpath("static").joinpath(name).read_bytes()


@lru_cache(maxsize=1)
def tokens() -> Mapping[str, Any]:
    """The token file as it is."""
    text = resources.files("pveops.present").joinpath("tokens.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@lru_cache(maxsize=1)
def icons() -> Mapping[str, Mapping[str, list[tuple[str, dict[str, str]]]]]:
    """Shapes of status glyphs (``glyph``, on 14 x 14) and icons (``icon``, on 16 x 16), as SVG elements with their attributes."""
    loaded: dict[str, Any] = json.loads(static("icons.json"))
    return {kind: loaded[kind] for kind in ("glyph", "icon")}


def colours(way: str = DEFAULT_WAY, scheme: Scheme = "light") -> Mapping[str, Any]:
    """The colours of one colourway in one scheme.

    Raises:
        ValueError: there is no such colourway.
    """
    ways = tokens()["colourways"]
    if way not in ways:
        raise ValueError(f"there is no colourway {way!r}; known: {', '.join(ways)}")
    found: Mapping[str, Any] = ways[way][scheme]
    return found


def variables(way: str = DEFAULT_WAY, scheme: Scheme = "light") -> dict[str, str]:
    """CSS variables of one scheme: ``--pv-status-ok-ink`` and so on."""
    return {f"--pv-{name}": value for name, value in _flat(colours(way, scheme))}


def fixed_variables() -> dict[str, str]:
    """CSS variables that no scheme changes: fonts, radii, spaces, times."""
    every = tokens()
    found = {"--pv-font-sans": every["font"]["sans"], "--pv-font-mono": every["font"]["mono"]}
    found.update({f"--pv-r-{name}": f"{value}px" for name, value in every["radius"].items()})
    found.update({f"--pv-s-{number}": f"{value}px" for number, value in enumerate(every["space"])})
    motion = every["motion"]
    found.update({f"--pv-t-{name}": motion[name] for name in ("fast", "base", "slow", "enter", "exit")})
    return found


def scheme_css(selector: str, scheme: Scheme, way: str = DEFAULT_WAY) -> str:
    """One rule with all variables of a scheme."""
    return _rule(selector, {"color-scheme": scheme, **variables(way, scheme)})


def css(way: str = DEFAULT_WAY, *, root: str = ".pv") -> str:
    """Variables for an element that says its scheme: ``<div class="pv" data-scheme="dark">``."""
    return "".join(
        (
            _rule(root, fixed_variables()),
            scheme_css(f"{root}[data-scheme=light]", "light", way),
            scheme_css(f"{root}[data-scheme=dark]", "dark", way),
        )
    )


def unscripted_css(way: str = DEFAULT_WAY, *, root: str = ".pv") -> str:
    """Variables where no script can look: the reader's preference, then JupyterLab's theme, then Panel's dark class decide."""
    dark = scheme_css(root, "dark", way)
    return "".join(
        (
            _rule(root, fixed_variables()),
            scheme_css(root, "light", way),
            f"@media (prefers-color-scheme:dark){{{dark}}}",
            scheme_css(f"[data-jp-theme-light=true] {root}", "light", way),
            scheme_css(f"[data-jp-theme-light=false] {root},html.dark {root}", "dark", way),
        )
    )


def fonts_css(base_url: str) -> str:
    """Font faces whose files lie under an address: ``/pveops-static``."""
    return "".join(
        f'@font-face{{font-family:"{family}";src:url({base_url}/{file}) format("woff2");font-weight:{weights};font-display:swap}}'
        for family, file, weights in FONTS
    )


def _flat(colours_of: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in colours_of.items():
        name = f"{prefix}{key}".replace("_", "-")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}-")
        elif isinstance(value, list):
            yield from ((f"{name}-{number}", one) for number, one in enumerate(value, start=1))
        else:
            yield name, value


def _rule(selector: str, values: Mapping[str, str]) -> str:
    return selector + "{" + ";".join(f"{name}:{value}" for name, value in values.items()) + "}"
