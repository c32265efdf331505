"""What happened, drawn as lanes over time: one per kind, marks by severity, the words under the pointer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pveops.base.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_MARKS = (
    ("notice and less", ("notice", "info", "debug"), "circle", "", 7),
    ("warning", ("warning",), "square", "warn", 9),
    ("error and worse", ("emerg", "alert", "crit", "err"), "diamond", "error", 13),
)
"""Name, severities, shape, status of the look, size in pixels: what matters is drawn last, and larger."""
_WORDS = ("at", "severity", "kind", "subject", "text")


def lanes(hv: Any, frame: pd.DataFrame, look: Mapping[str, Any]) -> Any:
    """The table of ``ops.timeline()`` as a plot.

    Raises:
        InputError: nothing happened.
    """
    from bokeh.models import HoverTool  # noqa: PLC0415 - comes with the extra

    if frame.empty:
        raise InputError(
            "Nothing happened in that span, so there is nothing to draw.", hint="Look at .attrs['gaps'] for what could not be asked."
        )
    kinds = list(reversed(frame["kind"].cat.categories))
    times = frame["time"].dt.tz_convert("UTC").dt.tz_localize(None)
    rows = frame.assign(x=times, y=[float(kinds.index(kind)) for kind in frame["kind"]], at=frame["time"].dt.strftime("%Y-%m-%d %H:%M:%SZ"))
    tips = HoverTool(tooltips=[(word, f"@{word}") for word in _WORDS])
    parts = []
    for name, severities, shape, status, size in _MARKS:
        some = rows[rows["severity"].isin(severities)]
        if not len(some):
            continue
        data = {"x": some["x"].to_numpy(), "y": some["y"].to_numpy(), **{word: some[word].astype(str).to_numpy() for word in _WORDS}}
        marks = hv.Scatter(data, kdims=[hv.Dimension("x", label="time (UTC)")], vdims=[hv.Dimension("y", label=" "), *_WORDS], label=name)
        colour = look["status"][status]["fill"] if status else look["meter"]
        parts.append(marks.opts(marker=shape, size=size, color=colour, line_color=look["text"], line_alpha=0.5, tools=[tips]))
    ticks = list(enumerate(kinds))
    ends = [datetime.fromisoformat(frame.attrs[name]).replace(tzinfo=None) for name in ("since", "until") if name in frame.attrs]
    span = (
        {"xlim": (ends[0], ends[1] + (ends[1] - ends[0]) / 40)} if len(ends) == 2 else {}
    )  # what is now stands at the end, and is seen whole
    return hv.Overlay(parts).opts(hv.opts.Overlay(show_legend=True, show_grid=True, yticks=ticks, ylim=(-0.6, len(kinds) - 0.4), **span))
