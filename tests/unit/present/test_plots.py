"""Tables as plots: what stands in the finished Bokeh figure."""

import sys

import numpy as np
import pandas as pd
import pytest

from pveops.base.errors import ConfigError, InputError
from pveops.frames import accessor, drawing
from pveops.present.plots import draw
from pveops.present.tokens import colours

pytestmark = pytest.mark.slow  # HoloViews and Bokeh take seconds to load


def figure(plot):
    import holoviews as hv

    return hv.renderer("bokeh").get_plot(plot).state


def models(found, name):
    return [model for model in found.references() if type(model).__name__ == name]


def over_time(columns, rows=300, freq="1min"):
    index = pd.date_range("2026-11-21", periods=rows, freq=freq, tz="UTC", name="time")
    return pd.DataFrame({name: np.full(rows, value, dtype=float) + np.arange(rows) for name, value in columns.items()}, index=index)


def answer(table, **columns):
    frame = pd.DataFrame(columns)
    frame.attrs.update(table=table, gaps=[])
    return frame


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_wear_the_look_and_name_their_unit(scheme):
    look = colours(scheme=scheme)
    found = figure(draw(over_time({"netin_bytes_per_s": 3 << 20, "netout_bytes_per_s": 5 << 20}), scheme=scheme))
    lines = models(found, "Line")
    assert {(line.line_color, str(line.line_dash)) for line in lines if line.line_alpha == 1} >= {
        (look["series"][0], "[]"), (look["series"][1], "[6, 3]"),
    }  # fmt: skip
    assert found.background_fill_color == found.border_fill_color == look["surface"]
    assert found.yaxis[0].axis_label == "MiB/s"
    assert found.xaxis[0].axis_label == "time (UTC)"
    assert found.xaxis[0].major_label_text_color == look["text3"]
    assert [item.label.value for item in found.legend[0].items] == ["Received", "Sent"]
    highest = sorted(max(source.data["value"]) for source in models(found, "ColumnDataSource"))
    assert highest == pytest.approx([3, 5], abs=0.01)


def test_shares_are_percent_and_one_series_names_its_axis():
    frame = over_time({"cpu_fraction": 0.0}) / 300
    found = figure(draw(frame))
    assert found.yaxis[0].axis_label == "CPU, %"
    assert max(models(found, "ColumnDataSource")[0].data["value"]) == pytest.approx(100, abs=1)


def test_time_without_values_is_a_grey_band():
    def bands(frame):
        return [(band.left, band.right) for band in models(figure(draw(frame)), "BoxAnnotation") if band.fill_color == colours()["track"]]

    frame = over_time({"cpu_fraction": 0.0})
    assert bands(frame) == []
    frame.iloc[100:150] = np.nan
    ((left, right),) = bands(frame)
    assert right - left == np.timedelta64(51, "m")
    assert len(bands(frame.drop(frame.index[200:260]))) == 2, "steps that are missing altogether are a gap too"


def test_of_many_series_the_highest_have_colours():
    found = figure(draw(over_time({f"10{number} G": number * 1000 for number in range(10)})))
    labels = [item.label.value for item in found.legend[0].items]
    assert labels == ["4 others", *(f"10{number} G" for number in range(4, 10))]


def test_bars_are_grey_until_there_is_something_to_say():
    look = colours()
    frame = answer(
        "backup_truth", vmid=[101, 102, 103], name=["a", "b", "b"], verdict=["good", "failing", "good"], age_s=[3600.0, 7200.0, np.nan]
    )
    found = figure(draw(frame))
    source = next(source for source in models(found, "ColumnDataSource") if "mark" in source.data)
    assert list(source.data["mark"]) == [look["meter"], look["status"]["error"]["fill"]]
    assert list(source.data["row"]) == ["101 a · good", "102 b · failing"]
    assert "Age, h" in {axis.axis_label for axis in [*found.xaxis, *found.yaxis]}
    limits = answer("storage", storage=["a", "a", "b"], node=["x", "x", "y"], used_fraction=[0.95, 0.85, 0.5])
    marks = next(source for source in models(figure(draw(limits)), "ColumnDataSource") if "mark" in source.data)
    assert list(marks.data["mark"]) == [look["meter"], look["status"]["warn"]["fill"], look["status"]["error"]["fill"]]
    assert list(marks.data["row"]) == ["b y", "a x (1)", "a x (2)"]


def test_days_to_full_show_their_interval():
    frame = answer("capacity_forecast", storage=["a", "b"], node=["x", "y"], verdict=["growing", "growing"], to_full_days=[5.0, 400.0],
                   to_full_low_days=[4.0, 300.0], to_full_high_days=[6.0, np.nan])  # fmt: skip
    found = figure(draw(frame))
    assert models(found, "Whisker")
    source = next(source for source in models(found, "ColumnDataSource") if "mark" in source.data)
    assert list(source.data["mark"]) == [colours()["meter"], colours()["status"]["error"]["fill"]]


def test_more_points_than_a_page_can_hold_become_a_picture():
    found = figure(draw(over_time({"101 g": 0, "102 g": 9000}, rows=60_000)))
    assert models(found, "Image")
    assert not models(found, "Line") or all(line.line_color != colours()["series"][0] for line in models(found, "Line"))
    assert found.background_fill_color == colours()["surface"]


def test_a_partial_table_says_so_in_its_title():
    frame = over_time({"cpu_fraction": 0.1})
    frame.attrs.update(
        table="series", subject="guest/101", source="PVE RRD https://127.0.0.1:8006 /nodes", gaps=[{"what": "a", "why": "b", "needs": ""}]
    )
    assert figure(draw(frame)).title.text == "guest/101 · PVE RRD · partial: 1 not seen"


def test_what_cannot_be_drawn_is_refused_with_what_can():
    frame = answer("backup_truth", vmid=[101], name=["a"], age_s=[np.nan])
    for ask, message in (
        (lambda: draw(frame), "No row has a value"),
        (lambda: draw(frame, y="size"), "no column size"),
        (lambda: draw(frame, kind="line"), "rows of this table are no times"),
        (lambda: draw(answer("x", name=["a"])), "no figure to draw"),
        (lambda: draw(over_time({}, rows=0)), "nothing to draw"),
        (lambda: draw(frame, scheme="purple"), "no scheme 'purple'"),
        (lambda: draw(frame, kind="pie"), "no kind 'pie'"),
        (lambda: draw(frame, width=-5), "width of -5 pixels"),
    ):
        with pytest.raises(InputError, match=message):
            ask()


@pytest.mark.parametrize(("missing", "points", "extra"), [("holoviews", 10, "plots"), ("datashader", 120_000, "bigplots")])
def test_without_the_extra_there_is_one_sentence(monkeypatch, missing, points, extra):
    draw(over_time({"a": 1}))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError, match=f"{missing}.* is not installed") as refused:
        draw(over_time({"a": 1}, rows=points))
    assert f"pveops[{extra}]" in refused.value.hint


def test_tables_are_drawn_by_whoever_was_named(monkeypatch):
    assert accessor.Pve
    monkeypatch.setattr(drawing, "_drawn_by", [])
    frame = over_time({"a": 1})
    with pytest.raises(ConfigError, match="Nothing draws tables"):
        frame.pve.plot()
    drawing.drawn_by(lambda given, **options: (len(given), options))
    assert frame.pve.plot("a", scheme="dark") == (300, {"y": "a", "scheme": "dark"})
