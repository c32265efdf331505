"""The binary form of Prometheus' remote read, against what anybody may put into it."""

import contextlib
import math
import struct

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import InputError
from pveops.clients.metrics.remote_read import matchers, request, series_of

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def sample(moment, value, *, spelled=False):
    double = b"" if struct.pack("<d", value) == bytes(8) and not spelled else b"\x09" + struct.pack("<d", value)
    return field(2, double + b"\x10" + varint(moment))


def answer(*series):
    body = b"".join(
        field(1, b"".join(field(1, field(1, key.encode()) + field(2, value.encode())) for key, value in labels.items()) + b"".join(samples))
        for labels, samples in series
    )
    return bytes(cramjam.snappy.compress_raw(field(1, body)))


TODAY = st.integers(1_600_000_000_000, 1_900_000_000_000)
ANY = st.integers(0, 2**62)
VALUES = st.one_of(st.just(0.0), st.floats(allow_nan=True, allow_infinity=True))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text("abc_", min_size=1, max_size=4), st.text(max_size=6), max_size=3),
            st.one_of(st.lists(st.tuples(TODAY, VALUES), max_size=8), st.lists(st.tuples(ANY, VALUES, st.booleans()), max_size=5)),
        ),
        max_size=4,
    )
)
def test_what_was_written_is_read(series):
    found = series_of(
        answer(*((labels, [sample(row[0], row[1], spelled=len(row) > 2 and row[2]) for row in rows]) for labels, rows in series))
    )
    assert len(found) == len(series)
    for one, (labels, rows) in zip(found, series, strict=True):
        assert one.labels == labels
        assert one.times_ms.tolist() == [row[0] for row in rows]
        np.testing.assert_array_equal(one.samples, np.array([row[1] for row in rows], dtype=float))


def test_a_marker_of_staleness_is_no_sample_and_nan_is_one():
    rows = [sample(1_700_000_000_000, 1.0), sample(1_700_000_060_000, STALE), sample(1_700_000_120_000, math.nan)]
    (one,) = series_of(answer(({}, rows)))
    assert one.times_ms.tolist() == [1_700_000_000_000, 1_700_000_120_000]


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_a_broken_answer_is_refused_or_read_but_never_a_crash(noise, cut):
    whole = cramjam.snappy.decompress_raw(answer(({"a": "b"}, [sample(1_700_000_000_000 + n, n % 2) for n in range(12)])))
    for content in (noise, bytes(cramjam.snappy.compress_raw(noise)), bytes(cramjam.snappy.compress_raw(bytes(whole)[:cut]))):
        with contextlib.suppress(ValueError):
            series_of(content)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("up", [("__name__", "=", "up")]),
        (' up { job = "a" , x!~"b.*" } ', [("__name__", "=", "up"), ("job", "=", "a"), ("x", "!~", "b.*")]),
        ('{__name__=~"pve_.+"}', [("__name__", "=~", "pve_.+")]),
        (r'm{a="q\"q\\",}', [("__name__", "=", "m"), ("a", "=", 'q"q\\')]),
    ],
)
def test_plain_selectors(selector, expected):
    assert matchers(selector) == expected
    assert request(selector, 0, 1)


@pytest.mark.parametrize(
    "selector", ["", "{}", "a b", "rate(x[5m])", "x[5m]", 'x{a="b}', "x{a=b}", "x{a=}", 'x{a="b" c="d"}', "1", "x + y"]
)
def test_anything_else_is_refused(selector):
    with pytest.raises(InputError, match="is no plain selector"):
        matchers(selector)
