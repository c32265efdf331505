"""What is unusual is found where it begins; noise, spikes and the time of day are not."""

import numpy as np
import pandas as pd
import pytest

from pveops.frames.unusual import missing, unusual

MINUTES = pd.date_range("2026-11-20 12:00", periods=1440, freq="min", tz="UTC")
HALF_HOURS = pd.date_range("2026-11-14 12:00", periods=336, freq="30min", tz="UTC")


def noise(seed, size=1440, level=0.2, spread=0.02):
    return np.random.default_rng(seed).normal(level, spread, size)


@pytest.mark.parametrize("seed", range(8))
def test_noise_and_single_spikes_are_usual(seed):
    values = noise(seed)
    values[[100, 700, 701]] = 0.9
    assert unusual(pd.Series(values, MINUTES), floor=0.15) == []
    assert unusual(pd.Series(np.full(1440, 0.5), MINUTES), floor=0.15) == []


def test_a_step_is_found_where_it_begins():
    values = noise(1)
    values[1200:] += 0.5
    (span,) = unusual(pd.Series(values, MINUTES), floor=0.15)
    assert span.start == MINUTES[1200]
    assert span.end == MINUTES[-1]
    assert span.usual == pytest.approx(0.2, abs=0.02)
    assert span.worst == pytest.approx(0.7, abs=0.1)


def test_what_creeps_is_told_from_where_it_set_out():
    values = noise(2, spread=0.002)
    values[1000:] += np.arange(440) * 0.002
    (span,) = unusual(pd.Series(values, MINUTES), floor=0.15)
    assert MINUTES[1000] <= span.start <= MINUTES[1040]


def test_what_is_usual_at_an_hour_is_not_unusual():
    at_night = MINUTES.hour.isin([2, 3])
    values = noise(3) + np.where(at_night, 0.6, 0.0)
    week = pd.Series(noise(4, 336) + np.where(HALF_HOURS.hour.isin([2, 3]), 0.6, 0.0), HALF_HOURS)
    assert len(unusual(pd.Series(values, MINUTES), floor=0.15)) == 1
    assert unusual(pd.Series(values, MINUTES), floor=0.15, week=week) == []
    values[MINUTES.hour == 3] -= 0.6
    (span,) = unusual(pd.Series(values, MINUTES), floor=0.15, week=week)
    assert (span.start.hour, span.end.hour) == (3, 3)
    assert span.worst < span.usual


def test_gaps_are_told_and_do_not_disturb():
    values = noise(5)
    values[300:330] = np.nan
    values[500] = np.nan
    series = pd.Series(values, MINUTES)
    assert unusual(series, floor=0.15) == []
    (span,) = missing(series)
    assert (span.start, span.end) == (MINUTES[300], MINUTES[329])
    assert unusual(pd.Series(np.full(1440, np.nan), MINUTES), floor=0.1) == []
    assert unusual(pd.Series([], pd.DatetimeIndex([], tz="UTC"), dtype="float64"), floor=0.1) == []
