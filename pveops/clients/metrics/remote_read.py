"""Prometheus' remote read: raw samples in a compact binary form, ten times cheaper than JSON for both sides.

The messages are those of ``prompb/remote.proto`` and ``prompb/types.proto`` of Prometheus; only the few fields that we need are read, straight
into arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import cramjam
import numpy as np
import numpy.typing as npt

from pveops.base.errors import InputError
from pveops.model.matrix import RawSeries

HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "Accept-Encoding": "snappy",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}
_STALE_BITS = 0x7FF0000000000002
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SELECTOR = re.compile(rf"^\s*(?P<name>{_NAME})?\s*(?:\{{(?P<inside>.*)\}})?\s*$", re.DOTALL)
_MATCHER = re.compile(r'\s*(?P<label>[a-zA-Z_][a-zA-Z0-9_]*)\s*(?P<kind>=~|!~|!=|=)\s*"(?P<value>(?:[^"\\\n]|\\.)*)"\s*(?:,|$)')
_KINDS = {"=": 0, "!=": 1, "=~": 2, "!~": 3}
_ESCAPES = {"\\": "\\", '"': '"', "n": "\n", "t": "\t", "'": "'"}

Matcher = tuple[str, str, str]
Bytes = memoryview
Times = npt.NDArray[np.int64]


def matchers(selector: str) -> list[Matcher]:
    """``(label, operator, value)`` of each condition of a plain selector.

    Raises:
        InputError: anything else than ``name{label="value", …}``.
    """
    match = _SELECTOR.match(selector)
    inside = match["inside"] if match else None
    found: list[Matcher] = [("__name__", "=", match["name"])] if match and match["name"] else []
    at = 0
    while match and inside and at < len(inside.rstrip()):
        part = _MATCHER.match(inside, at)
        if part is None:
            match = None
            break
        found.append((part["label"], part["kind"], re.sub(r"\\(.)", lambda hit: _ESCAPES.get(hit[1], hit[0]), part["value"])))
        at = part.end()
    if match is None or not found:
        raise InputError(
            f"{selector!r} is no plain selector, and raw samples are read by one.",
            hint='Write name{label="value"}; for functions and operators use .query().',
        )
    return found


def request(selector: str, start_ms: int, end_ms: int) -> bytes:
    """The body of a remote read of all samples of a selector, both ends included (Unix milliseconds).

    Raises:
        InputError: it is no plain selector.
    """
    query = _number(1, start_ms) + _number(2, end_ms)
    for label, kind, value in matchers(selector):
        query += _text(3, _number(1, _KINDS[kind]) + _text(2, label.encode()) + _text(3, value.encode()))
    return bytes(cramjam.snappy.compress_raw(_text(1, query)))


def series_of(answer: bytes) -> list[RawSeries]:
    """The series of an answer.

    Raises:
        ValueError: it is none.
    """
    try:
        body = memoryview(bytes(cramjam.snappy.decompress_raw(answer)))
    except cramjam.DecompressionError as err:
        raise ValueError(str(err)) from err
    known: dict[bytes, Times] = {}
    try:
        return [_series(one, known) for result in _parts(body, 1) for one in _parts(result, 1)]
    except IndexError as err:
        raise ValueError("it ends in the middle") from err


def _series(body: Bytes, known: dict[bytes, Times]) -> RawSeries:
    labels: dict[str, str] = {}
    start = None
    at = 0
    while at < len(body) and start is None:
        key, after = _varint(body, at)
        if key == 0x12:
            start = at
            break
        size, after = _varint(body, after)
        if key == 0x0A:
            name, value = (bytes(next(_parts(body[after : after + size], field), b"")).decode() for field in (1, 2))
            labels[name] = value
        at = after + size
    times, values = _samples(body[start:], known) if start is not None else (np.empty(0, np.int64), np.empty(0, np.float64))
    fresh = values.view(np.uint64) != np.uint64(_STALE_BITS)
    if fresh.all():
        return RawSeries(labels=labels, times_ms=times, samples=values)
    return RawSeries(labels=labels, times_ms=times[fresh], samples=values[fresh])


def _samples(body: Bytes, known: dict[bytes, Times]) -> tuple[Times, npt.NDArray[np.float64]]:
    """Samples of today: ``12 10 09 (double) 10 (6 bytes of time)``; a zero is left out by the format, then ``12 07 10 (6 bytes)``."""
    raw = bytes(body)
    content = np.frombuffer(raw, dtype=np.uint8)
    size = len(raw)
    if size % 18 == 0 and raw[1::18].count(16) * 18 == size:  # no zero among them: each begins where the one before ends
        table = content.reshape(-1, 18)
        if (table[:, (0, 2, 11)] == (0x12, 0x09, 0x10)).all():
            return _times(table[:, 12:].tobytes(), known), np.ascontiguousarray(table[:, 3:11]).view("<f8").reshape(-1)
    first = _starts(raw)
    long = content[first + 1] == 16
    key = np.where(long, content[first + 2] == 0x09, content[first + 2] == 0x10)
    if (
        first[-1] + content[first[-1] + 1] + 2 != len(raw)
        or not (key & (content[first] == 0x12) & (long | (content[first + 1] == 7))).all()
    ):
        return _samples_one_by_one(body)
    moment = first + np.where(long, 12, 3)
    if not (content[moment - 1] == 0x10).all():
        return _samples_one_by_one(body)
    values = np.zeros(len(first))
    values[long] = np.ascontiguousarray(content[first[long, None] + np.arange(3, 11)]).view("<f8").reshape(-1)
    return _times(content[moment[:, None] + np.arange(6)].tobytes(), known), values


def _times(raw: bytes, known: dict[bytes, Times]) -> Times:
    """Times of 6 bytes each; series of one target share theirs, so each set is decoded once."""
    times = known.get(raw)
    if times is None:
        low = (np.frombuffer(raw, dtype=np.uint8).reshape(-1, 6) & 0x7F).astype(np.int64)
        times = known[raw] = low @ (np.int64(1) << np.arange(0, 42, 7, dtype=np.int64))
        times.setflags(write=False)
    return times


def _starts(raw: bytes) -> npt.NDArray[np.int64]:
    """Where each sample begins."""
    starts, at = [], 0
    while at < len(raw):
        starts.append(at)
        at += raw[at + 1] + 2
    return np.array(starts, dtype=np.int64)


def _samples_one_by_one(body: Bytes) -> tuple[Times, npt.NDArray[np.float64]]:
    times: list[int] = []
    values: list[float] = []
    for sample in _parts(body, 2):
        moment, value, at = 0, 0.0, 0
        while at < len(sample):
            key = sample[at]
            if key == 0x09:
                value = float(np.frombuffer(sample[at + 1 : at + 9], dtype="<f8")[0])
                at += 9
            elif key == 0x10:
                moment, at = _varint(sample, at + 1)
            else:
                at = _skip(sample, at)
        times.append(moment)
        values.append(value)
    return np.array(times, dtype=np.int64), np.array(values, dtype=np.float64)


def _parts(body: Bytes, field: int) -> Iterator[Bytes]:
    """The embedded messages or texts of one field, in order."""
    at, wanted = 0, field << 3 | 2
    while at < len(body):
        key, after = _varint(body, at)
        if key != wanted:
            at = _skip(body, at)
            continue
        size, after = _varint(body, after)
        if after + size > len(body):
            raise IndexError(at)
        yield body[after : after + size]
        at = after + size


def _skip(body: Bytes, at: int) -> int:
    key, at = _varint(body, at)
    kind = key & 7
    if kind == 0:
        return _varint(body, at)[1]
    if kind == 2:
        size, at = _varint(body, at)
        return at + size
    if kind in (1, 5):
        return at + (8 if kind == 1 else 4)
    raise ValueError(f"a field of kind {kind}")


def _varint(body: Bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")


def _number(field: int, value: int) -> bytes:
    return _encoded(field << 3) + _encoded(value & (1 << 64) - 1)


def _text(field: int, content: bytes) -> bytes:
    return _encoded(field << 3 | 2) + _encoded(len(content)) + content


def _encoded(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)
