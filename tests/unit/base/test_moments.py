from datetime import UTC, datetime, timedelta, timezone

import pytest

from pveops.base.moments import parse_moment

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("now", NOW),
        ("2h", NOW - timedelta(hours=2)),
        ("1h 30min ago", NOW - timedelta(minutes=90)),
        ("2026-03-01T10:00Z", NOW - timedelta(hours=2)),
        ("2026-03-01T11:00+01:00", NOW - timedelta(hours=2)),
        (NOW.timestamp(), NOW),
        ("today", NOW.replace(hour=0)),
        ("yesterday", NOW.replace(hour=0) - timedelta(days=1)),
        (datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))), NOW),
    ],
)
def test_times_as_people_write_them(given, meant):
    assert parse_moment(given, NOW) == meant
    assert parse_moment(given, NOW).tzinfo is UTC


@pytest.mark.parametrize(
    "given", ["", "tomorrow", "2h x", "-1h", "2026-13-01T00:00Z", 5, -1.0, 1e18, float("nan"), float("inf"), None, ("2h",)]
)
def test_what_is_no_time_is_refused(given):
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(given, NOW)


def test_a_span_beyond_all_reason_is_refused_and_not_an_overflow():
    for given in ("999999d", "99999999999999999999w", "1e9d"):
        with pytest.raises(ValueError, match=r"longer than a hundred years|is no time"):
            parse_moment(given, NOW)


@pytest.mark.parametrize("given", [NOW.replace(tzinfo=None), "2026-03-01T10:00", "2026-03-01"])
def test_a_time_without_a_zone_is_refused(given):
    with pytest.raises(ValueError, match="has no time zone"):
        parse_moment(given, NOW)
