"""Queries to a Prometheus as arrays: any span in any step, decoded without an object per sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from pveops.base.errors import InputError, TransportError
from pveops.clients.metrics import remote_read
from pveops.clients.metrics.http import MetricsHttp
from pveops.model.matrix import Matrix, Raw, RawSeries, Vector

_POINTS = 11_000
"""Prometheus refuses more points per series in one answer."""
_MOST_POINTS = 2_000_000

Floats = npt.NDArray[np.float64]


class _Series(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: list[tuple[float, float]] = []


class _WordSeries(msgspec.Struct, gc=False):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Item(msgspec.Struct, gc=False):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct, rename={"kind": "resultType"}):
    kind: str
    result: msgspec.Raw


class _Body(msgspec.Struct):
    data: _Data
    warnings: list[str] = []


_BODY = msgspec.json.Decoder(_Body)
_PLAIN = msgspec.json.Decoder(list[_Series], strict=False)
_WORDS = msgspec.json.Decoder(list[_WordSeries])
_ITEMS = msgspec.json.Decoder(list[_Item])
_SCALAR = msgspec.json.Decoder(tuple[float, str])


class Prometheus:
    """One Prometheus, or what speaks its query API. Every method may raise ``TransportError``, and ``InputError`` for a refused expression."""

    def __init__(self, http: MetricsHttp) -> None:
        self._http = http

    @property
    def url(self) -> str:
        """Its address."""
        return self._http.url

    @property
    def source(self) -> str:
        """Who answers, for people."""
        return f"Prometheus {self.url}"

    def instant(self, expression: str, at_ms: int | None = None) -> Vector:
        """The value of an expression at one time (Unix milliseconds), by default now. A scalar is one series without labels."""
        params = {"query": expression, **({"time": _time(at_ms)} if at_ms is not None else {})}
        body = self._body("/api/v1/query", params)
        kind, raw = body.data.kind, body.data.result
        if kind == "scalar":
            when, text = self._decoded(_SCALAR, raw)
            items = [_Item(metric={}, value=(when, text))]
        elif kind == "vector":
            items = self._decoded(_ITEMS, raw)
        else:
            raise InputError(f"{expression!r} gives a {kind}, not one value per series.", hint="Ask for a span with .query() or .raw().")
        when_ms = at_ms if at_ms is not None else round(items[0].value[0] * 1000) if items else 0
        return Vector(
            source=self.source,
            expression=expression,
            at_ms=when_ms,
            labels=tuple(item.metric for item in items),
            samples=np.array([item.value[1] for item in items], dtype=np.float64),
            warnings=tuple(body.warnings),
        )

    def range(self, expression: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        """An expression over a span, both ends included, in as many requests as the server needs. Times are Unix milliseconds.

        Raises:
            InputError: the span is empty, the step is none, or there would be more than 2,000,000 points per series.
        """
        if step_ms <= 0 or end_ms < start_ms:
            raise InputError("A query needs a start before its end and a step above zero.")
        count = (end_ms - start_ms) // step_ms + 1
        if count > _MOST_POINTS:
            raise InputError(f"That would be {count} points per series.", hint="Take a wider step or a shorter span.")
        times = start_ms + step_ms * np.arange(count, dtype=np.int64)
        found: dict[tuple[tuple[str, str], ...], Floats] = {}
        labels: list[Mapping[str, str]] = []
        warnings: dict[str, None] = {}
        for first in range(0, count, _POINTS):
            last = min(first + _POINTS, count) - 1
            for series in self._piece(expression, int(times[first]), int(times[last]), step_ms, warnings):
                key = tuple(sorted(series.metric.items()))
                row = found.get(key)
                if row is None:
                    row = found[key] = np.full(count, np.nan)
                    labels.append(series.metric)
                moments, values = _columns(series)
                row[np.rint((moments * 1000 - start_ms) / step_ms).astype(np.int64)] = values
        values = np.vstack(list(found.values())) if found else np.empty((0, count))
        return Matrix(
            source=self.source,
            expression=expression,
            step_ms=step_ms,
            times_ms=times,
            labels=tuple(labels),
            samples=values,
            warnings=tuple(warnings),
        )

    def raw(self, selector: str, start_ms: int, end_ms: int) -> Raw:
        """Series as they were scraped, by a plain selector (``name{label="x"}``), both ends included.

        Raises:
            InputError: it is no plain selector.
        """
        request = remote_read.request(selector, start_ms, end_ms)
        answer = self._http.post("/api/v1/read", request, remote_read.HEADERS)
        try:
            series = remote_read.series_of(answer)
        except ValueError as err:
            raise TransportError(f"{self.url} sent a broken answer to a remote read ({err}).", hint="Try again, or use .query().") from err
        return Raw(source=f"{self.source} (remote read)", expression=selector, series=_in_order(series))

    def _piece(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, warnings: dict[str, None]
    ) -> list[_Series] | list[_WordSeries]:
        params = {"query": expression, "start": _time(start_ms), "end": _time(end_ms), "step": _time(step_ms)}
        body = self._body("/api/v1/query_range", params)
        warnings.update(dict.fromkeys(body.warnings))
        try:
            return _PLAIN.decode(body.data.result)
        except msgspec.ValidationError:  # an infinite value is written as a word that is no JSON number
            return list(self._decoded(_WORDS, body.data.result))

    def _body(self, path: str, params: Mapping[str, str]) -> _Body:
        body: _Body = self._decoded(_BODY, self._http.ask(path, params))
        return body

    def _decoded(self, decoder: Any, content: Any) -> Any:
        try:
            return decoder.decode(content)
        except msgspec.DecodeError as err:
            raise TransportError(f"{self.url} sent no answer of a Prometheus ({err}).", hint="Is the address right?") from err


def _columns(series: _Series | _WordSeries) -> tuple[Floats, Floats]:
    moments, values = zip(*series.values, strict=True)
    return np.array(moments, dtype=np.float64), np.array(values, dtype=np.float64)


def _in_order(series: list[RawSeries]) -> tuple[RawSeries, ...]:
    return tuple(sorted(series, key=lambda one: sorted(one.labels.items())))


def _time(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
