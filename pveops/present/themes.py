"""Themes of the libraries we draw with, made from the token file: Bokeh (and so HoloViews) and panel-material-ui."""

from __future__ import annotations

from typing import Any

from pveops.present.tokens import DEFAULT_WAY, Scheme, colours, tokens

DASHES = ("solid", [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [10, 4])
"""Line dashes of the six series: colour is never alone."""


def series(way: str = DEFAULT_WAY, scheme: Scheme = "light") -> list[str]:
    """Colours of up to six series, in order."""
    return list(colours(way, scheme)["series"])


def bokeh_theme(way: str = DEFAULT_WAY, scheme: Scheme = "light") -> dict[str, Any]:
    """The JSON of a ``bokeh.themes.Theme``; HoloViews takes it as ``hv.renderer("bokeh").theme``."""
    look, font = colours(way, scheme), tokens()["font"]["sans"]
    label = {"text_color": look["text3"], "text_font": font, "text_font_size": "11px"}
    return {
        "attrs": {
            "Plot": {"background_fill_color": look["surface"], "border_fill_color": look["surface"], "outline_line_color": None},
            "Grid": {"grid_line_color": look["line"], "grid_line_width": 1},
            "Axis": {
                "axis_line_color": look["line2"],
                "major_tick_line_color": look["line2"],
                "minor_tick_line_color": None,
                **{f"major_label_{key}": value for key, value in label.items()},
                **{f"axis_label_{key}": value for key, value in {**label, "text_color": look["text2"]}.items()},
                "axis_label_text_font_style": "normal",
            },
            "Title": {"text_color": look["text"], "text_font": font, "text_font_size": "13px", "text_font_style": "bold"},
            "Legend": {
                "background_fill_color": look["surface"],
                "border_line_color": None,
                "label_text_color": look["text2"],
                "label_text_font": font,
                "label_text_font_size": "12px",
            },
            "Line": {"line_color": look["series"][0], "line_width": 1.5},
        }
    }
