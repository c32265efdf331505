"""Log lines in Elasticsearch 8: for many machines and hundreds of millions of lines. The only module that knows elasticsearch-py.

Lines go into indices ``NAME-YYYY.MM`` under their ``uid``, so a line that arrives twice is one. Words are cut by us before they are sent, so a
query means the same here and in the embedded store.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from elasticsearch import ApiError as ElasticApiError
from elasticsearch import ConnectionError as ElasticConnectionError
from elasticsearch import ConnectionTimeout, Elasticsearch, UnsupportedProductError
from elasticsearch.helpers import streaming_bulk

from pveops.base.errors import ConfigError, NoAnswer, TransportError, Unreachable
from pveops.base.redact import redact
from pveops.base.secret import Secret
from pveops.clients.logs.language import Both, Either, Everything, Has, Is, Pattern, Phrase, Query, Within, Without
from pveops.model.logs import Counts, Found, LogLine, tokens

T = TypeVar("T")
_BULK = 2000
_PAGE = 10_000
"""The server gives no more hits at once."""
_TOP = 1000
"""A count by a field tells so many of its values apart."""
_FIELDS = ("time_ms", "host", "unit", "severity", "vmid", "source", "mark", "message", "task")
_KEYWORD = {"type": "keyword", "ignore_above": 8000}
_MAPPING: dict[str, Any] = {
    "dynamic": False,
    "_source": {"excludes": ["tokens"]},
    "properties": {
        "time_ms": {"type": "date", "format": "epoch_millis"},
        "host": _KEYWORD,
        "unit": _KEYWORD,
        "source": _KEYWORD,
        "task": _KEYWORD,
        "uid": _KEYWORD,
        "severity": {"type": "short"},
        "vmid": {"type": "long"},
        "mark": {"type": "keyword", "index": False, "doc_values": False},
        "message": {"type": "keyword", "index": False, "doc_values": False},
        "tokens": {"type": "text", "analyzer": "whitespace", "norms": False},
    },
}


class ElasticLogs:
    """Log lines in an Elasticsearch.

    Args:
        url: ``https://host:9200``.
        name: how its indices begin.
        user, password: or ``api_key``: where the server asks for one.
        ca: a PEM file to check the certificate with.
        timeout_s: for one request.

    Raises:
        ConfigError: the server is no Elasticsearch 8 (OpenSearch and 7.x are not supported), or refuses us.
        TransportError: it gives no usable answer.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "pveops-logs",
        user: str = "",
        password: Secret | None = None,
        api_key: Secret | None = None,
        ca: Path | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        options: dict[str, Any] = {"request_timeout": timeout_s, "max_retries": 0, "retry_on_timeout": False}
        if password is not None:
            options["basic_auth"] = (user, password.reveal())
        if api_key is not None:
            options["api_key"] = api_key.reveal()
        if ca is not None:
            options["ca_certs"] = str(ca)
        try:
            self._client = Elasticsearch(url, **options)
        except ValueError as err:
            raise ConfigError(f"{redact(url)!r} is no address of an Elasticsearch: {err}.", hint="Write https://host:9200.") from err
        weakref.finalize(self, self._client.close)
        self._url = url
        self._name = name
        self._ask(lambda: self._client.cluster.health(timeout="10s"))
        self._ask(self._prepare)

    @property
    def source(self) -> str:
        """Who answers, for people."""
        return f"Elasticsearch {self._url} ({self._name}-*)"

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def add(self, lines: Sequence[LogLine]) -> int:
        """Keep lines; returns how many were not known yet. Lines are there for a search after a moment (``settle``).

        Raises:
            TransportError: the server did not take some of them; all may be sent again.
        """
        return self._ask(lambda: self._bulk(lines))

    def settle(self) -> None:
        """Wait until all lines that were added can be found."""
        self._ask(lambda: self._client.indices.refresh(index=f"{self._name}-*"))

    def search(self, query: Query, start_ms: int, end_ms: int, limit: int = 500) -> Found:
        """Lines of a span (from ``start_ms``, before ``end_ms``) that are asked for, newest first."""
        most = min(limit, _PAGE)
        answer = self._page(query, start_ms, end_ms, most, None)
        hits, total = answer["hits"]["hits"], int(answer["hits"]["total"]["value"])
        while len(hits) % _PAGE == 0 and len(hits) < min(limit, total):
            page = self._page(query, start_ms, end_ms, min(limit - len(hits), _PAGE), hits[-1]["sort"])["hits"]["hits"]
            if not page:
                break
            hits += page
        return Found(lines=tuple(_line(hit["_source"]) for hit in hits), total=total, source=self.source)

    def _page(self, query: Query, start_ms: int, end_ms: int, size: int, after: list[Any] | None) -> Any:
        body: dict[str, Any] = {
            "query": _spanned(query, start_ms, end_ms),
            "size": size,
            "sort": [{"time_ms": "desc"}, {"uid": "asc"}],
            "track_total_hits": after is None,
        }
        if after is not None:
            body["search_after"] = after
        answer = self._ask(lambda: self._client.search(index=f"{self._name}-*", **body))
        self._whole(answer)
        return answer

    def count(self, query: Query, start_ms: int, end_ms: int, step_ms: int, by: str = "") -> Counts:
        """How many lines were asked for per step, in all or by ``severity``, ``host``, ``unit`` or ``source``."""
        steps = max(0, -(-(end_ms - start_ms) // step_ms))
        offset = start_ms % step_ms
        histogram = {"date_histogram": {"field": "time_ms", "fixed_interval": f"{step_ms}ms", "offset": f"{offset}ms", "min_doc_count": 1}}
        inner = {"steps": histogram}
        aggregations = {"by": {"terms": {"field": by, "size": _TOP}, "aggs": inner}} if by else inner
        answer = self._ask(
            lambda: self._client.search(index=f"{self._name}-*", query=_spanned(query, start_ms, end_ms), size=0, aggs=aggregations)
        )
        self._whole(answer)
        found = answer.get("aggregations") or {}
        groups = (
            {str(bucket["key"]): bucket["steps"] for bucket in found.get("by", {}).get("buckets", [])}
            if by
            else {"": found.get("steps", {})}
        )
        counts = {}
        for key in sorted(groups):
            row = [0] * steps
            for bucket in groups[key].get("buckets", []):
                row[(int(bucket["key"]) - start_ms) // step_ms] = int(bucket["doc_count"])
            counts[key] = tuple(row)
        return Counts(start_ms=start_ms, step_ms=step_ms, counts=counts, by=by, source=self.source)

    def _prepare(self) -> None:
        self._client.indices.put_index_template(
            name=self._name, index_patterns=[f"{self._name}-*"], template={"settings": {"number_of_replicas": 0}, "mappings": _MAPPING}
        )
        if self._client.indices.exists(index=f"{self._name}-*", allow_no_indices=False):
            self._client.indices.put_mapping(index=f"{self._name}-*", properties=_MAPPING["properties"])  # indices of an earlier version

    def _bulk(self, lines: Sequence[LogLine]) -> int:
        new = 0
        actions = ({"_op_type": "create", "_index": self._index(line), "_id": line.uid, "_source": _document(line)} for line in lines)
        for fine, item in streaming_bulk(self._client, actions, chunk_size=_BULK, raise_on_error=False):
            answer = item["create"]
            if not fine and answer["status"] != 409:  # 409: the line is known
                raise TransportError(
                    f"{self._url} did not take a line: {str(answer.get('error'))[:300]}.", hint="All lines may be sent again."
                )
            new += fine
        return new

    def _index(self, line: LogLine) -> str:
        return f"{self._name}-{datetime.fromtimestamp(line.time_ms / 1000, UTC):%Y.%m}"

    def _whole(self, answer: Any) -> None:
        failed = answer["_shards"]["failed"]
        if failed or answer.get("timed_out"):
            raise TransportError(f"{self._url} answered for a part of its shards only ({failed} failed).", hint="Look at its health.")

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except UnsupportedProductError as err:
            raise ConfigError(
                f"{self._url} is no Elasticsearch 8.",
                hint="OpenSearch and Elasticsearch 7 are not supported; the embedded store needs no server.",
            ) from err
        except ConnectionTimeout as err:
            raise NoAnswer(f"{self._url} did not answer in time.", hint="Ask for a shorter span, or look at its load.") from err
        except ElasticConnectionError as err:
            raise Unreachable(f"{self._url} gives no connection.", hint="Is Elasticsearch up, and the address right?") from err
        except ElasticApiError as err:
            if err.status_code in (401, 403):
                raise ConfigError(f"{self._url} refuses us ({err.status_code}).", hint="Check user, password or API key.") from err
            raise TransportError(
                f"{self._url} answered {err.status_code}: {redact(str(err.message))[:300]}.", hint="Look at its log."
            ) from err


def _document(line: LogLine) -> dict[str, Any]:
    fields = {name: getattr(line, name) for name in _FIELDS}
    return {
        **{name: value for name, value in fields.items() if value not in (None, "")},
        "uid": line.uid,
        "tokens": " ".join(tokens(line.message)),
    }


def _line(source: Mapping[str, Any]) -> LogLine:
    return LogLine(
        time_ms=int(source["time_ms"]),
        host=source.get("host", ""),
        unit=source.get("unit", ""),
        severity=int(source.get("severity", 6)),
        vmid=source.get("vmid"),
        source=source.get("source", ""),
        mark=source.get("mark", ""),
        message=source.get("message", ""),
        task=source.get("task", ""),
    )


def _spanned(query: Query, start_ms: int, end_ms: int) -> dict[str, Any]:
    return {"bool": {"filter": [{"range": {"time_ms": {"gte": start_ms, "lt": end_ms}}}, dsl(query)]}}


def dsl(query: Query) -> dict[str, Any]:
    """A query in the terms of Elasticsearch."""
    match query:
        case Both(parts):
            return {"bool": {"filter": [dsl(part) for part in parts]}}
        case Either(parts):
            return {"bool": {"should": [dsl(part) for part in parts], "minimum_should_match": 1}}
        case Without(part):
            return {"bool": {"must_not": [dsl(part)]}}
        case Phrase(words):
            return {"match_phrase": {"tokens": " ".join(words)}} if len(words) > 1 else {"term": {"tokens": words[0]}}
        case Pattern(glob):
            return {"wildcard": {"tokens": {"value": glob}}}
        case Has(field):
            return {"exists": {"field": _name(field)}}
        case Is(field, value, glob):
            return {"wildcard": {field: {"value": value}}} if glob else {"term": {field: value}}
        case Within():
            bounds = {("gte" if query.with_low else "gt"): query.low, ("lte" if query.with_high else "lt"): query.high}
            return {"range": {_name(query.field): {key: bound for key, bound in bounds.items() if bound is not None}}}
        case Everything():
            return {"match_all": {}}


def _name(field: str) -> str:
    return "time_ms" if field == "time" else field
