"""Tables as plots: HoloViews on Bokeh, in the look of everything else. Missing time is a grey gap, colour is never alone, every axis has its unit."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from pveops.base.errors import ConfigError, InputError
from pveops.frames.display import heading, numeric
from pveops.present.lanes import lanes
from pveops.present.themes import DASHES, bokeh_theme, series
from pveops.present.tokens import DEFAULT_WAY, Scheme, colours, tokens

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["line", "bar", "points"]
_MOST_POINTS = 100_000
"""Above this a plot is drawn from a picture of its points, made by datashader."""
_MOST_LINES = 6
_HEIGHT = 300
_NARROWEST, _WIDEST = 60, 10_000
_MOST_BARS = 40
_SCALES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "_bytes": ((1, "B"), (2**10, "KiB"), (2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB"), (2**50, "PiB")),
    "_s": ((1, "s"), (60, "min"), (3600, "h"), (86_400, "d")),
    "_fraction": ((0.01, "%"),),
    "_days": ((1, "d"),),
}
_VERDICTS = {
    "failing": "error", "none": "error", "bad": "error", "failed": "error", "full": "error", "expired": "error", "getting worse": "error",
    "over": "warn", "soon": "warn", "jumped": "warn", "damaged": "warn", "worn": "warn", "hidden": "unknown", "unknown": "unknown",
}  # fmt: skip
"""Verdicts with a colour; what is well is grey."""
_LIMITS = {
    "used_fraction": "disk",
    "mem_fraction": "memory",
    "cpu_fraction": "cpu",
    "to_full_days": "days_to_full",
    "left_days": "days_to_full",
}
"""Figures with limits of their own in the token file."""
_BARS = {"capacity_forecast": "to_full_days", "backup_truth": "age_s", "no_backup_since": "age_s", "certificate_expiry": "left_days", "n_plus_one": "need_bytes",
         "snapshots_older_than": "age_s", "orphaned_disks": "size_bytes", "rightsize": "mem_saved_bytes", "idle_guests": "maxmem_bytes",
         "disk_health_trend": "wear_left_fraction", "guests": "mem_fraction", "nodes": "mem_fraction", "storage": "used_fraction"}  # fmt: skip
"""The figure that says most about a table, where nobody asks for another."""


def draw(
    frame: pd.DataFrame,
    *,
    y: str | Sequence[str] | None = None,
    kind: Kind | None = None,
    title: str = "",
    scheme: Scheme = "light",
    way: str = DEFAULT_WAY,
    width: int = 860,
    height: int | None = None,
) -> Any:
    """A table as a HoloViews plot: lines over time where its rows are times, else bars of its telling figure.

    Args:
        frame: a table of pveops.
        y: columns to draw; by default all of a table over time, or the figure that says most.
        kind: ``line``, ``points`` or ``bar``.
        title: above the plot.
        scheme: ``light`` or ``dark``.
        way: a colourway of the look.
        width: pixels.
        height: pixels; by default 300, or what the bars need.

    Raises:
        ConfigError: the extra is not installed.
        InputError: the table has nothing that can be drawn so.
    """  # fmt: skip
    hv = _holoviews()
    import pandas as pd  # noqa: PLC0415 - pandas is loaded when the first table is made

    _check(kind, scheme, width, height)
    wanted = [y] if isinstance(y, str) else list(y or ())
    lost = [name for name in wanted if name not in frame.columns]
    if lost:
        raise InputError(f"This table has no column {lost[0]}.", hint=f"Columns: {', '.join(map(str, frame.columns))}.")
    timed = isinstance(frame.index, pd.DatetimeIndex)
    if kind is None and not wanted and frame.attrs.get("table") == "timeline":
        plot, height = lanes(hv, frame, colours(way, scheme)), height or _HEIGHT
    elif (kind or ("line" if timed else "bar")) == "bar":
        plot = _bars(hv, frame, wanted, colours(way, scheme))
    elif timed:
        plot = _lines(hv, frame, wanted, kind or "line", way, scheme)
    else:
        raise InputError("Lines go over time, and the rows of this table are no times.", hint="Leave kind out, or write kind='bar'.")
    height = height or (_HEIGHT if timed else max(150, 80 + 24 * min(len(frame), _MOST_BARS)))
    # what an element brings along as its own choice is said once, for all of them
    tools = {"default_tools": ["pan", "box_zoom", "save", "reset"], "active_tools": []}
    parts = [hv.opts.Curve(**tools), hv.opts.Scatter(**tools), hv.opts.Bars(**tools), hv.opts.Image(**tools), hv.opts.ErrorBars(**tools)]
    return plot.opts(
        hv.opts.Overlay(
            width=width, height=height, title=title or _title(frame), hooks=[_look(way, scheme)], legend_position="right", **tools
        ),
        *parts,
    )


def _check(kind: str | None, scheme: str, width: int, height: int | None) -> None:
    for name, given, known in (("kind", kind or "line", get_args(Kind)), ("scheme", scheme, get_args(Scheme))):
        if given not in known:
            raise InputError(f"There is no {name} {given!r}.", hint=f"Known: {', '.join(known)}.")
    for name, pixels in (("width", width), ("height", height or _HEIGHT)):
        if not _NARROWEST <= pixels <= _WIDEST:
            raise InputError(f"A plot cannot have a {name} of {pixels} pixels.", hint=f"Take {_NARROWEST} to {_WIDEST}.")


def _holoviews() -> Any:
    try:
        import holoviews as hv  # noqa: PLC0415 - an extra
    except ImportError as err:
        raise ConfigError(f"Plots need {err.name}, which is not installed.", hint="Run `pip install 'pveops[plots]'`.") from err
    if "bokeh" not in hv.Store.renderers:
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        # inside a notebook the scripts come with the page, so that plots need no network
        hv.extension("bokeh", logo=False, **({"inline": True} if shell is not None else {}))
    return hv


def _title(frame: pd.DataFrame) -> str:
    attrs = frame.attrs
    told = str(attrs.get("expression") or attrs.get("subject") or heading(str(attrs.get("table") or "")))
    source = " ".join(str(attrs.get("source", "")).split()[:2]) if attrs.get("table") == "series" else ""
    partial = f"partial: {len(attrs['gaps'])} not seen" if attrs.get("gaps") else ""
    return " · ".join(part for part in (told, source, partial) if part)


def _unit(columns: Sequence[str], most: float) -> tuple[float, str]:
    """Divisor and unit of the axis: that of the names, as large as the values."""
    rate = all(name.endswith("_per_s") for name in columns)
    for suffix, scales in _SCALES.items():
        if all(name.removesuffix("_per_s").endswith(suffix) or name.endswith(suffix) for name in columns):
            fitting = [(scale, unit) for scale, unit in scales if most >= scale] or [scales[0]]
            scale, unit = fitting[-1]
            return scale, f"{unit}/s" if rate else unit
    return 1.0, ""


def _lines(hv: Any, frame: pd.DataFrame, wanted: Sequence[str], kind: Kind, way: str, scheme: Scheme) -> Any:
    import numpy as np  # noqa: PLC0415

    numbers = frame[list(wanted)] if wanted else frame.select_dtypes("number")
    if numbers.empty or not len(numbers.columns):
        raise InputError("There is nothing to draw: no row, or no column of numbers.")
    numbers = numbers.astype("float64")
    if numbers.index.tz is not None:  # type: ignore[attr-defined]
        numbers = numbers.set_axis(numbers.index.tz_convert("UTC").tz_localize(None))  # type: ignore[attr-defined]
    look, names = colours(way, scheme), [str(name) for name in numbers.columns]
    scale, unit = _unit(names, float(np.nanmax(np.abs(numbers.to_numpy()))) if numbers.notna().to_numpy().any() else 0.0)
    numbers = numbers / scale
    label = ", ".join(part for part in (heading(names[0]) if len(names) == 1 else "", unit) if part)
    usual = "lines" if frame.attrs.get("table") == "log counts" else "value"
    value = hv.Dimension("value", label=label or str(frame.attrs.get("unit") or usual))
    time = hv.Dimension("time", label="time (UTC)")
    if numbers.size > _MOST_POINTS:
        return _shaded(hv, numbers, time, value, look)
    ranked = list(numbers.max().sort_values(ascending=False).index)
    shown = [name for name in numbers.columns if name in ranked[:_MOST_LINES]] if len(ranked) > _MOST_LINES else list(numbers.columns)
    others = [name for name in numbers.columns if name not in shown]
    element = hv.Scatter if kind == "points" else hv.Curve
    parts: list[Any] = []
    for place, name in enumerate(others):
        style = {"color": look["meter"], "alpha": 0.45} | ({} if kind == "points" else {"line_width": 1})
        parts.append(_one(element, numbers, name, f"{len(others)} others", time, value).opts(show_legend=place == 0, **style))
    for place, name in enumerate(shown):
        style = {"color": series(way, scheme)[place]} | (
            {"size": 4} if kind == "points" else {"line_width": 1.5, "line_dash": DASHES[place]}
        )
        parts.append(_one(element, numbers, name, _series_name(str(name)), time, value).opts(**style))
    parts += [
        hv.VSpan(*span).opts(color=look["track"], alpha=0.5, line_alpha=0, level="underlay", show_legend=False) for span in _gaps(numbers)
    ]
    return hv.Overlay(parts).opts(hv.opts.Overlay(show_legend=len(names) > 1, show_grid=True))


def _series_name(name: str) -> str:
    """Our own columns read as headings; names that come from labels stay as they are."""
    return heading(name) if numeric(name) else name


def _one(element: Any, numbers: pd.DataFrame, name: Any, label: str, time: Any, value: Any) -> Any:
    return element((numbers.index.to_numpy(), numbers[name].to_numpy()), kdims=[time], vdims=[value], label=label).opts(tools=["hover"])


def _gaps(numbers: pd.DataFrame) -> list[tuple[Any, Any]]:
    """Spans in which nothing was measured: rows without any value, and steps much longer than usual."""
    import numpy as np  # noqa: PLC0415

    times, empty = numbers.index.to_numpy(), numbers.isna().all(axis=1).to_numpy()
    if len(times) < 3:
        return []
    seen = times[~empty]
    steps = np.diff(seen)
    usual = np.median(np.diff(times))
    return [(seen[place], seen[place + 1]) for place in np.flatnonzero(steps > 2.5 * usual)]


def _shaded(hv: Any, numbers: pd.DataFrame, time: Any, value: Any, look: Mapping[str, Any]) -> Any:
    """Too many points for a page: a picture of how many lines run through each place."""
    try:
        import datashader as ds  # noqa: PLC0415 - an extra
        from holoviews.operation.datashader import rasterize  # noqa: PLC0415
    except ImportError as err:
        raise ConfigError(
            f"{numbers.size} points are too many for a page, and {err.name}, which makes a picture of them, is not installed.",
            hint="Run `pip install 'pveops[bigplots]'`, or ask for a wider step.",
        ) from err
    paths = [hv.Curve((numbers.index.to_numpy(), numbers[name].to_numpy()), kdims=[time], vdims=[value]) for name in numbers.columns]
    picture = rasterize(hv.NdOverlay(dict(enumerate(paths)), kdims="series"), aggregator=ds.count(), dynamic=False, width=860, height=300)
    ramp = [look["line"], look["series"][0], look["text"]]
    shade = hv.opts.Image(
        cmap=ramp, cnorm="eq_hist", clipping_colors={"NaN": "transparent", "min": "transparent"}, colorbar=False, show_grid=True
    )
    return hv.Overlay([picture.opts(shade)]).opts(hv.opts.Overlay(show_legend=False))


def _bars(hv: Any, frame: pd.DataFrame, wanted: Sequence[str], look: Mapping[str, Any]) -> Any:
    """One bar per row, the longest first; its colour is the verdict of the row, and the verdict stands in its name too."""
    import pandas as pd  # noqa: PLC0415

    figures = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name]) and name not in ("vmid", "n")]
    told = _BARS.get(str(frame.attrs.get("table")))
    name = wanted[0] if wanted else told if told in frame.columns else next(iter(figures), None)
    if name is None or len(wanted) > 1 or name not in figures:
        raise InputError(
            "Bars show one column of numbers." if figures else "This table has no figure to draw.",
            hint=f"Such are {', '.join(figures) or 'none'}.",
        )
    rows = frame.loc[frame[name].notna()]
    if rows.empty:
        raise InputError(f"No row has a value for {name}.", hint="That can be the answer: look at the table.")
    rows = rows.sort_values(name, ascending=name in ("to_full_days", "left_days"), kind="stable").head(_MOST_BARS).iloc[::-1]
    scale, unit = _unit([name], float(rows[name].astype("float64").abs().max()))
    verdicts = [str(row) for row in rows["verdict"]] if "verdict" in rows else [""] * len(rows)
    records: list[dict[str, Any]] = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
    labels = _distinct([_label(row) + (f" · {verdict}" if verdict else "") for row, verdict in zip(records, verdicts, strict=True)])
    marks = [_mark(name, float(value), verdict, look) for value, verdict in zip(rows[name], verdicts, strict=True)]
    value = hv.Dimension("value", label=f"{heading(name)}, {unit}" if unit else heading(name))
    lengths: list[float] = (rows[name].astype("float64") / scale).tolist()
    bars = hv.Bars({"row": labels, "value": lengths, "mark": marks}, kdims=[hv.Dimension("row", label=" ")], vdims=[value, "mark"])
    parts = [bars.opts(color="mark", invert_axes=True, line_alpha=0, bar_width=0.62, show_legend=False, tools=["hover"], show_grid=True)]
    if name == "to_full_days" and rows["to_full_high_days"].notna().any():
        ends = rows[["to_full_low_days", "to_full_high_days"]].astype("float64").to_numpy()
        spans = [
            (label, day, day - low, (high if high == high else day) - day)  # noqa: PLR0124 - NaN: perhaps never
            for label, day, (low, high) in zip(labels, lengths, ends, strict=True)
        ]
        parts.append(hv.ErrorBars(spans, kdims=["row"], vdims=["value", "below", "above"]).opts(invert_axes=True, color=look["text2"]))
    return hv.Overlay(parts).opts(hv.opts.Overlay(show_legend=False))


def _mark(name: str, value: float, verdict: str, look: Mapping[str, Any]) -> str:
    """Colour is a message: of the verdict, or of a limit that is passed; else grey."""
    status = _VERDICTS.get(verdict, "")
    if not status and name in _LIMITS:
        warn, bad = tokens()["threshold"][_LIMITS[name]]
        far = value if bad > warn else -value
        status = "error" if far >= (bad if bad > warn else -bad) else "warn" if far >= (warn if bad > warn else -warn) else ""
    found: str = look["status"][status]["fill"] if status else look["meter"]
    return found


def _label(row: Mapping[str, Any]) -> str:
    import pandas as pd  # noqa: PLC0415

    keys = ("vmid", "name", "snapshot", "volid", "storage", "path", "file", "node")
    parts = [str(row[key]) for key in keys if key in row and pd.notna(row[key])]
    return " ".join(parts[:2]) or "row"


def _distinct(labels: Sequence[str]) -> list[str]:
    """Bars of the same name would fall into one."""
    seen: dict[str, int] = {}
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
    again: dict[str, int] = {}
    found = []
    for label in labels:
        again[label] = again.get(label, 0) + 1
        found.append(label if seen[label] == 1 else f"{label} ({again[label]})")
    return found


def _look(way: str, scheme: Scheme) -> Any:
    """The look, given to the finished figure: fonts, grounds, lines."""
    attrs = bokeh_theme(way, scheme)["attrs"]

    def hook(plot: Any, _element: Any) -> None:
        from bokeh.models import Axis, Grid, Plot  # noqa: PLC0415 - comes with HoloViews
        from bokeh.models.annotations import Legend, Title  # noqa: PLC0415

        kinds: dict[str, Any] = {"Plot": Plot, "Grid": Grid, "Axis": Axis, "Title": Title, "Legend": Legend}
        for model in plot.state.references():
            for name, kind in kinds.items():
                if isinstance(model, kind):
                    model.update(**attrs[name])
        plot.state.toolbar.logo = None

    return hook
