"""Spans of what was collected, and what of a question lies outside of them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pveops.app.looked import Looked, asked_of, gaps_of, holes, joined
from pveops.base.errors import ConfigError
from pveops.clients.logs.language import parse

NIGHT = datetime(2026, 11, 21, 19, 30, tzinfo=UTC)
MIN_MS = 60_000
ALL = ("cluster log", "journal of pve1", "tasks of pve1", "journal of pve2", "tasks of pve2")


def ago(**span):
    return NIGHT - timedelta(**span)


def test_what_could_not_be_read_is_made_up_for(tmp_path):
    path = tmp_path / "loglooked.json"
    looked = Looked(path, "a")
    assert looked.since("x", None, NIGHT) == ago(hours=1)
    looked.note({"x": ago(hours=4), "y": ago(hours=4)}, ago(hours=3))
    looked.note({"x": ago(hours=3, minutes=1)}, ago(hours=2))
    again = Looked(path, "a")
    assert again.since("x", None, NIGHT) == ago(hours=2, minutes=1)
    assert again.since("y", None, NIGHT) == ago(hours=3, minutes=1)
    assert again.since("y", ago(minutes=5), NIGHT) == ago(minutes=5)
    again.note({"y": ago(minutes=5)}, NIGHT)
    assert again.since("y", None, NIGHT) == ago(hours=3, minutes=1)
    again.note({"y": ago(hours=4)}, NIGHT)
    assert again.since("y", None, NIGHT) == ago(minutes=1)
    assert len(again.spans()["x"]) == len(again.spans()["y"]) == 1
    assert Looked(path, "b").since("x", None, NIGHT) == ago(hours=1)
    again.note({"z": ago(days=91)}, ago(days=90))
    assert again.since("z", None, NIGHT) == ago(days=7)
    again.note({"z": ago(days=7)}, NIGHT)
    assert again.since("z", None, NIGHT) == ago(minutes=1)
    again.note({}, NIGHT, every=("x", "new"))
    assert (set(again.spans()), again.spans()["new"]) == ({"x", "new"}, [])


def test_the_file_of_an_earlier_version_is_read_and_a_damaged_one_refused(tmp_path):
    path = tmp_path / "loglooked.json"
    path.write_text(json.dumps({"a": {"x": ago(hours=2).timestamp()}}))
    assert Looked(path, "a").since("x", None, NIGHT) == ago(hours=2, minutes=1)
    path.write_text("[1]")
    with pytest.raises(ConfigError, match="Remove it"):
        Looked(path, "a")


def test_holes_are_what_was_not_read_of_a_question():
    now = 1000 * MIN_MS
    spans = joined([(100 * MIN_MS, 200 * MIN_MS), (150 * MIN_MS, 300 * MIN_MS), (500 * MIN_MS, 998 * MIN_MS)])
    assert spans == [(100 * MIN_MS, 300 * MIN_MS), (500 * MIN_MS, 998 * MIN_MS)]
    assert holes(spans, 120 * MIN_MS, 280 * MIN_MS, now) == ()
    assert holes(spans, 600 * MIN_MS, 2000 * MIN_MS, now) == ()
    assert holes(spans, 50 * MIN_MS, now, now) == ((50 * MIN_MS, 100 * MIN_MS), (300 * MIN_MS, 500 * MIN_MS))
    assert holes(spans, 310 * MIN_MS, 320 * MIN_MS, now) == ((310 * MIN_MS, 320 * MIN_MS),)
    assert holes(spans[:1], 200 * MIN_MS, now, now) == ((300 * MIN_MS, now),)
    assert holes((), 0, now, now) == ((0, now),)


@pytest.mark.parametrize(
    ("query", "nodes", "asked"),
    [
        ("", (), ALL),
        ("error host:pve1", (), ALL[:3]),
        ("host:pve1 OR host:pve2", (), ALL),
        ("host:pve1 OR vmid:101", (), ALL),
        ("host:pve1 OR vmid:101", ("pve2",), (ALL[0], *ALL[3:])),
        ("host:pve*", (), ALL),
        ("source:task host:pve2", (), ("tasks of pve2",)),
        ("source:syslog", (), ()),
        ("NOT source:task", (), ALL),
        ("source:cluster", (), ("cluster log",)),
    ],
)
def test_only_sources_that_a_question_is_about_count(query, nodes, asked):
    assert tuple(asked_of(parse(query), dict.fromkeys(ALL, ()), nodes)) == asked


def test_a_gap_names_the_span_and_what_to_run():
    now = round(NIGHT.timestamp() * 1000)
    hole = ((now - 90 * MIN_MS, now - 60 * MIN_MS),)
    (whole,) = gaps_of({"a": hole, "b": hole}, now, 2)
    assert (whole.what, whole.why) == (
        "log lines",
        "not collected from 2026-11-21 18:00 UTC to 2026-11-21 18:30 UTC; run ops.logs.collect('2h')",
    )
    (part,) = gaps_of({"a": hole, "b": ()}, now, 2)
    assert part.what == "log lines: a"
