"""Simulated time, calendars, retention."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.sim.calendar import events_between, next_event, parse
from pveops.sim.clock import SimClock
from pveops.sim.seed.describe import night_hour
from pveops.sim.tasks.retention import kept

DAY_S = 86400
MOMENTS = st.floats(1.6e9, 2.0e9)
SCHEDULES = st.sampled_from(
    ["daily", "hourly", "weekly", "*/15", "02:30", "mon..fri 21:00", "sat,sun 4:15", "*-*-1 03:00", "*/6:00", "0/20"]
)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_time_runs_at_its_speed_and_jumps_forward_only():
    real = [100.0]
    clock = SimClock(1000.0, 60.0, lambda: real[0])
    real[0] += 2
    assert clock.now_s() == 1120.0
    clock.advance_s(5)
    assert clock.now_s() == 1125.0
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance_s(-1)


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("daily", "2026-11-21T12:00:00", "2026-11-22T00:00:00"),
        ("02:30", "2026-11-21T02:30:00", "2026-11-22T02:30:00"),
        ("*/15", "2026-11-21T12:07:00", "2026-11-21T12:15:00"),
        ("mon..fri 21:00", "2026-11-21T12:00:00", "2026-11-23T21:00:00"),
        ("sat 23:30", "2026-11-21T12:00:00", "2026-11-21T23:30:00"),
        ("monthly", "2026-11-21T12:00:00", "2026-12-01T00:00:00"),
    ],
)
def test_next_events(schedule, after, expected):
    assert next_event(schedule, at(after)) == at(expected)


@pytest.mark.parametrize("text", ["", "bogus", "25:00", "feb 1", "*/x", "10..5"])
def test_texts_that_are_no_schedule(text):
    with pytest.raises(ValueError):
        parse(text)


@given(SCHEDULES, MOMENTS)
def test_events_are_whole_minutes_after_the_moment_and_nothing_lies_between(schedule, moment):
    event = next_event(schedule, moment)
    assert event > moment
    assert event % 60 == 0
    assert next_event(schedule, event - 60) == event or event - 60 <= moment


@given(SCHEDULES, MOMENTS, st.integers(1, 10))
def test_spans_can_be_cut_anywhere(schedule, moment, parts):
    end = moment + 3 * DAY_S
    middle = moment + 3 * DAY_S * parts / 11
    assert events_between(schedule, moment, end) == events_between(schedule, moment, middle) + events_between(schedule, middle, end)


@given(MOMENTS)
def test_nightly_jobs_keep_away_from_the_start(start):
    hour = night_hour(start)
    now = int(start // 3600) % 24
    assert 5 <= (hour - now) % 24 <= 17


NIGHTS = [float(at("2026-11-21T02:00:00") - number * DAY_S) for number in range(40)]


def test_retention_keeps_days_then_weeks():
    stay = kept(NIGHTS, "keep-daily=7,keep-weekly=4")
    assert len(stay) == 11
    assert set(NIGHTS[:7]) <= stay


@pytest.mark.parametrize("options", ["", "keep-all=1", "keep-last=0"])
def test_no_retention_keeps_everything(options):
    assert kept(NIGHTS, options) == set(NIGHTS)


@given(st.lists(MOMENTS.map(int).map(float), max_size=30), st.integers(1, 6))
def test_keep_last_keeps_the_newest(times, count):
    assert kept(times, f"keep-last={count}") == set(sorted(set(times), reverse=True)[:count])
