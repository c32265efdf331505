"""What was collected of a cluster's log lines, as spans per source; and what of a question lies outside of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

from pveops.base.clock import from_epoch_s
from pveops.base.errors import ConfigError
from pveops.base.files import write_whole
from pveops.clients.logs.language import Both, Either, Is, Query
from pveops.model.resources import Gap

_AT_FIRST, _FURTHEST, _OVERLAP = timedelta(hours=1), timedelta(days=7), timedelta(seconds=60)
"""Without a time: so far back at first, so far at most, and so much is read again, since clocks differ and lines come late."""
_MOST = 500
"""So many spans of a source are kept, the newest."""
_JUST_NOW_MS = 300_000
"""What came after the last look, and no longer ago, is nothing that is missing."""
_NEAR_MS = 1000
CLUSTER_LOG = "cluster log"
Span = tuple[int, int]
"""From and until, Unix milliseconds."""
Spans = Mapping[str, Sequence[Span]]
"""By source: a node's journal, its tasks, the cluster's log."""


def journal_of(node: str) -> str:
    """What a node's journal is called."""
    return f"journal of {node}"


def tasks_of(node: str) -> str:
    """What the tasks of a node are called."""
    return f"tasks of {node}"


class Looked:
    """From when until when each source of a cluster was read, kept over restarts: what could not be read is read from there on the next time.

    Raises:
        ConfigError: what is kept there cannot be read.
    """

    def __init__(self, path: Path, cluster: str) -> None:
        self._path = path
        self._cluster = cluster
        self._all()

    def spans(self) -> Spans:
        """What was read; empty where nobody ever looked. A source that never answered has no span."""
        return self._all().get(self._cluster, {})

    def since(self, what: str, given: datetime | None, now: datetime) -> datetime:
        """From when to read: what is given, else where the first hole of the last days begins, at first an hour back."""
        if given is not None:
            return given
        ends = [until for _, until in self.spans().get(what, ())]
        if not ends:
            return now - _AT_FIRST
        first = next((until for until in ends if until >= _ms(now - _FURTHEST)), ends[-1])
        return max(from_epoch_s(first / 1000) - _OVERLAP, now - _FURTHEST)

    def note(self, read: Mapping[str, datetime], now: datetime, *, every: Collection[str] = ()) -> None:
        """These were read, each from then until now. ``every`` names all that there are: what is not among them is forgotten."""
        kept = self._all()
        mine = kept.get(self._cluster, {})
        mine = {what: mine.get(what, []) for what in every} if every else dict(mine)
        for what, began in ((what, began) for what, began in read.items() if began < now):
            mine[what] = joined([*mine.get(what, ()), (_ms(began), _ms(now))])[-_MOST:]
        write_whole(self._path, json.dumps({**kept, self._cluster: mine}).encode())

    def _all(self) -> dict[str, dict[str, list[Span]]]:
        try:
            found = json.loads(self._path.read_bytes()) if self._path.exists() else {}
            return {str(cluster): {str(what): _read(spans) for what, spans in mine.items()} for cluster, mine in found.items()}
        except (OSError, ValueError, TypeError, AttributeError) as err:
            raise ConfigError(f"Cannot read {self._path}: {err}.", hint="Remove it; name a --since that is long enough once.") from err


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same time as spans that do not touch, oldest first."""
    made: list[Span] = []
    for start, end in sorted(spans):
        if made and start <= made[-1][1] + _NEAR_MS:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def holes(spans: Sequence[Span], start_ms: int, end_ms: int, now_ms: int) -> tuple[Span, ...]:
    """What of a question, from then until then, was not read. The time to come, and the last minutes before ``now_ms``, are no hole."""
    end_ms = min(end_ms, now_ms)
    found: list[Span] = []
    at = start_ms
    for start, end in [*spans, (end_ms, end_ms)]:
        if min(start, end_ms) - at > _NEAR_MS:
            found.append((at, min(start, end_ms)))
        at = max(at, end)
    return tuple(hole for hole in found if hole[0] < now_ms - _JUST_NOW_MS)


def asked_of(query: Query, spans: Spans, nodes: Collection[str] = ()) -> list[str]:
    """Sources whose lines a question is about; with ``nodes`` only theirs."""
    hosts, sources = _only(query, "host"), _only(query, "source")

    def is_asked(what: str) -> bool:
        kind, _, node = what.partition(" of ")
        if sources is not None and {"journal": "journal", "tasks": "task"}.get(kind, "cluster") not in sources:
            return False
        return not node or ((hosts is None or node in hosts) and (not nodes or node in nodes))

    return [what for what in spans if is_asked(what)]


def gaps_of(missing: Mapping[str, Sequence[Span]], now_ms: int, total: int) -> Iterator[Gap]:
    """What is missing, in a sentence for each hole that sources share. ``total``: of so many sources that were asked."""
    alike: dict[tuple[Span, ...], list[str]] = defaultdict(list)
    for what, spans in missing.items():
        if spans:
            alike[tuple(spans)].append(what)
    for spans, whats in alike.items():
        few = ", ".join(whats[:3]) + (f" and {len(whats) - 3} more" if len(whats) > 3 else "")
        more = f" (and in {len(spans) - 1} later spans)" if len(spans) > 1 else ""
        hours = ceil((now_ms - spans[0][0]) / 3_600_000)
        yield Gap(
            what="log lines" if len(whats) == total else f"log lines: {few}",
            why=f"not collected from {_told(spans[0][0])} to {_told(spans[0][1])}{more}; run ops.logs.collect('{hours}h')",
        )


def _only(query: Query, field: str) -> set[str] | None:
    """The values that a field of every line that is asked for has one of; none where it may have any."""
    match query:
        case Is(named, value, glob) if named == field and not glob:
            return {str(value)}
        case Both(parts):
            found = [values for part in parts if (values := _only(part, field)) is not None]
            return set.intersection(*found) if found else None
        case Either(parts):
            each = [_only(part, field) for part in parts]
            return set().union(*(values for values in each if values is not None)) if None not in each else None
        case _:
            return None


def _read(spans: Any) -> list[Span]:
    if isinstance(spans, (int, float)):  # an earlier version knew only until when
        return [(round(spans * 1000), round(spans * 1000))]
    return [(int(start), int(end)) for start, end in spans]


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _told(time_ms: int) -> str:
    return f"{from_epoch_s(time_ms / 1000):%Y-%m-%d %H:%M} UTC"
