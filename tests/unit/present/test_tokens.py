"""The shipped tokens are readable: text 4.5, parts of the interface 3.0 (WCAG 2.2 AA), Clear 7.0; and every theme is made of them."""

import itertools
import json

import pytest

from pveops.present import themes, tokens
from pveops.present.states import LOOKS, STEP_LOOKS

GROUNDS = ("bg", "surface", "raised", "sunken", "hover", "selected")
ON_GROUND = ("track", "surface", "raised", "sunken")


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def pairs(look, floor):
    for ground in GROUNDS:
        for name in ("text", "text2", "text3", "accent"):
            yield f"{name} on {ground}", look[name], look[ground], floor
        yield f"control on {ground}", look["control"], look[ground], 3
        for number, colour in enumerate(look["series"]):
            yield f"series {number} on {ground}", colour, look[ground], 3
        for name, status in look["status"].items():
            yield f"{name} ink on {ground}", status["ink"], look[ground], floor
        yield f"yellow ink on {ground}", look["risk"]["yellow"]["ink"], look[ground], floor
    for name, status in look["status"].items():
        yield f"{name} ink on its soft", status["ink"], status["soft"], floor
        yield f"text on {name} soft", look["text"], status["soft"], floor
        yield f"text2 on {name} soft", look["text2"], status["soft"], 4.5
        yield f"{name} on solid", status["on_solid"], status["solid"], floor
        for ground in ON_GROUND:
            yield f"{name} fill on {ground}", status["fill"], look[ground], 3
    for ground in ON_GROUND:
        yield f"meter on {ground}", look["meter"], look[ground], 3
    for name, risk in look["risk"].items():
        yield f"risk {name}", risk["ink"], risk["bg"], floor
    yield "accent button", look["on_accent"], look["accent_solid"], floor
    yield "danger button", look["on_danger"], look["danger_solid"], floor
    yield "black chip's line", look["risk"]["black"]["line"], look["surface"], 3


@pytest.mark.parametrize(("way", "scheme"), list(itertools.product(("slate", "clear"), ("light", "dark"))))
def test_every_pair_is_readable(way, scheme):
    misses = [
        f"{name}: {contrast(a, b):.2f} < {need}"
        for name, a, b, need in pairs(tokens.colours(way, scheme), 7.0 if way == "clear" else 4.5)
        if contrast(a, b) < need
    ]
    assert misses == []


def test_every_status_has_a_shape_of_its_own():
    glyphs = tokens.icons()["glyph"]
    shapes = [json.dumps(glyphs[name]) for name in tokens.tokens()["status_shape"]]
    assert len(set(shapes)) == len(shapes)
    used = {look.glyph for look in LOOKS.values()} | {glyph for _, _, glyph in STEP_LOOKS.values()}
    assert used <= set(glyphs)


def test_css_names_every_colour_in_both_schemes():
    light, dark = tokens.variables("slate", "light"), tokens.variables("slate", "dark")
    assert light.keys() == dark.keys()
    assert light["--pv-status-ok-ink"] == "#14764a"
    assert light["--pv-on-accent"] == "#ffffff"
    assert dark["--pv-series-1"] == "#66a0ee"
    sheet = tokens.css()
    assert ".pv[data-scheme=dark]{color-scheme:dark;" in sheet
    assert "[data-jp-theme-light=false] .pv" in tokens.unscripted_css()


def test_an_unknown_colourway_is_refused():
    with pytest.raises(ValueError, match="no colourway 'plaid'"):
        tokens.colours("plaid")


def test_fonts_are_shipped_with_their_licences():
    for _, file, _ in tokens.FONTS:
        assert tokens.static(file)[:4] == b"wOF2"
        assert f"/x/{file}" in tokens.fonts_css("/x")
    for licence in ("LICENSE-inter.txt", "LICENSE-jetbrains-mono.txt"):
        assert b"SIL Open Font License" in tokens.static(licence)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_themes_are_made_of_the_tokens(scheme):
    look = tokens.colours("slate", scheme)
    assert themes.bokeh_theme("slate", scheme)["attrs"]["Grid"]["grid_line_color"] == look["line"]
    assert themes.series("slate", scheme) == look["series"]
    assert len(themes.DASHES) == len(look["series"])
