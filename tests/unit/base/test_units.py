import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.units import (
    MINUS,
    NBSP,
    fmt_bytes,
    fmt_duration,
    fmt_of,
    fmt_pct,
    grouped,
    parse_bytes,
    parse_duration_s,
)


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 << 30), ("8 GiB", 8 << 30), ("512M", 512 << 20), ("1024", 1024), (7, 7), ("1.5k", 1536), ("2TB", 2 << 40)]
)
def test_sizes_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "8 G i B", "-1G", "many", "8X"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write 8G"):
        parse_bytes(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h", 3600), ("1 h 30 min", 5400), ("7d", 604800), ("250ms", 0.25), (5, 5.0)])
def test_durations_as_people_write_them(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1", "1h later"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="write 90s"):
        parse_duration_s(text)


@pytest.mark.parametrize("text", ["999999d", "9999999999w", float("inf"), float("nan")])
def test_what_nobody_can_mean_is_refused(text):
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration_s(text)


def test_numbers_read_as_the_look_wants():
    assert fmt_bytes(12.5 * 2**30) == f"12.5{NBSP}GiB"
    assert fmt_bytes(-45 << 30, signed=True) == f"{MINUS}45{NBSP}GiB"
    assert fmt_bytes(23 << 30, signed=True) == f"+23{NBSP}GiB"
    assert fmt_bytes(None) == "not known"
    assert fmt_bytes(1023.99 * 1024) == f"1{NBSP}MiB"
    assert fmt_of(12.5 * 2**30, 16 << 30) == f"12.5 of 16{NBSP}GiB"
    assert fmt_pct(0.96) == f"96{NBSP}%"
    assert fmt_pct(None) == "not known"
    assert fmt_duration(96) == f"1{NBSP}min 36{NBSP}s"
    assert fmt_duration(2.1) == f"2.1{NBSP}s"
    assert fmt_duration(3 * 3600 + 300) == f"3{NBSP}h 5{NBSP}min"
    assert fmt_duration(41 * 86400) == f"41{NBSP}d"
    assert fmt_duration(7200) == f"2{NBSP}h"
    assert fmt_duration(None) == "not known"
    assert grouped(4210) == "4\u202f210"


@given(st.integers(0, 1 << 59))
def test_a_size_reads_back_within_its_rounding(size):
    shown = fmt_bytes(size)
    number, unit = shown.split(NBSP)
    assert abs(parse_bytes(f"{number}{unit}") - size) <= max(1, size * 0.06)


@given(st.floats(0, 1e9))
def test_every_duration_has_one_or_two_units(seconds):
    assert 1 <= len(fmt_duration(seconds).split(" ")) <= 2
