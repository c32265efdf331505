"""Slopes, intervals and jumps, against series whose truth is known."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.answers.forecast import History, judge
from pveops.answers.trend import theil_sen, trend_of
from pveops.model.resources import Storage

DAY = 86_400.0
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TIMES = NOW.timestamp() - 30 * DAY + np.arange(1440) * 1800.0
NOISE = np.random.default_rng(7).normal(0, 1, len(TIMES))
WAVE = np.sin(TIMES / DAY * 2 * np.pi)


def days(trend):
    return trend.slope * DAY


def test_the_slope_is_found_through_noise_waves_spikes_and_gaps():
    values = 1000 + 10 * (TIMES - TIMES[0]) / DAY + 20 * NOISE + 30 * WAVE
    values[100:110] += 5000
    values[500:700] = np.nan
    trend = trend_of(TIMES, values)
    assert trend.course == "growing"
    assert days(trend) == pytest.approx(10, rel=0.15)
    assert trend.low < 10 / DAY < trend.high
    assert trend.points == 1240


def test_standing_still_shrinking_and_not_knowing():
    assert trend_of(TIMES, 1000 + 20 * NOISE + 30 * WAVE).course in ("not growing", "perhaps growing")
    assert trend_of(TIMES, np.full(len(TIMES), 5.0)).course == "not growing"
    assert trend_of(TIMES, 1000 - 10 * (TIMES - TIMES[0]) / DAY + NOISE).course == "not growing"
    assert trend_of(TIMES[:9], TIMES[:9]).course == "unknown"
    assert trend_of(TIMES, np.full(len(TIMES), np.nan)).course == "unknown"


def test_a_jump_is_no_growth_and_growth_after_a_jump_is():
    step = np.where(TIMES[0] + 20 * DAY > TIMES, 1000.0, 5000.0)
    trend = trend_of(TIMES, step + NOISE)
    assert trend.course == "jumped"
    assert trend.jump == pytest.approx(4000, abs=10)
    assert abs(trend.jump_at_s - (TIMES[0] + 20 * DAY)) < DAY
    late = trend_of(TIMES, np.where(TIMES[0] + 29 * DAY > TIMES, 1000.0, 5000.0) + NOISE)
    assert (late.course, late.slope) == ("jumped", None)
    both = np.where(TIMES[0] + 5 * DAY > TIMES, 0.0, 100_000 + 100 * (TIMES - TIMES[0]) / DAY)
    assert trend_of(TIMES, both + NOISE).course == "growing"
    assert days(trend_of(TIMES, both + NOISE)) == pytest.approx(100, rel=0.05)


@settings(max_examples=3)
@given(st.floats(-1e9, 1e9), st.floats(0.1, 1e6))
def test_slopes_move_with_scale_and_not_with_level(level, scale):
    plain = trend_of(TIMES, 5 * (TIMES - TIMES[0]) / DAY + 3 * NOISE)
    other = trend_of(TIMES, level * scale + scale * (5 * (TIMES - TIMES[0]) / DAY + 3 * NOISE))
    assert other.slope == pytest.approx(plain.slope * scale, rel=1e-3)
    assert other.course == plain.course


@settings(max_examples=10)
@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=12))
def test_the_slope_is_that_of_the_middle_pair(values):
    times = np.arange(len(values), dtype=float)
    slopes = [(values[b] - values[a]) / (b - a) for a in range(len(values)) for b in range(a + 1, len(values))]
    assert theil_sen(times, np.array(values)) == pytest.approx(float(np.median(slopes)))


@pytest.mark.slow
def test_intervals_hold_the_truth_about_nine_times_of_ten():
    random = np.random.default_rng(3)
    held = 0
    for _ in range(60):
        wander = np.convolve(random.normal(0, 30, len(TIMES) + 47), np.ones(48) / 48, "valid")
        trend = trend_of(TIMES, 1000 + 10 * (TIMES - TIMES[0]) / DAY + wander)
        held += trend.low <= 10 / DAY <= trend.high
    assert 44 <= held <= 60


def test_days_to_full():
    def storage(name, used, **more):
        return Storage(name=name, node="pve1", status="available", total_bytes=10_000, used_bytes=used, **more)

    line = History(times_s=TIMES, used=7000 + 10 * (TIMES - TIMES[0]) / DAY + NOISE, source="PVE RRD")
    flat = History(times_s=TIMES, used=9500 + NOISE, source="PVE RRD")
    shared = storage("ceph", 7300, shared=True)
    rows = judge([storage("new", 10), storage("full", 9_999), storage("flat", 9_500), shared],
                 {("ceph", ""): line, ("flat", "pve1"): flat, ("full", "pve1"): flat}, now=NOW)  # fmt: skip
    by = {row.storage.name: row for row in rows}
    assert [row.storage.name for row in rows][:3] == ["full", "ceph", "flat"]
    assert by["ceph"].to_full_days == pytest.approx(270, rel=0.02)
    assert by["ceph"].low_days <= by["ceph"].to_full_days <= by["ceph"].high_days
    assert (by["ceph"].full_at - NOW).days == pytest.approx(270, abs=5)
    assert (by["flat"].near_full, by["flat"].to_full_days, by["flat"].why) == (True, None, "nearly full already")
    assert (by["full"].verdict, by["full"].to_full_days) == ("full", 0.0)
    assert (by["new"].verdict, by["new"].why) == ("unknown", "there is no history of it")
