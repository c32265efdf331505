"""``ops.logs``: log lines of the cluster, in an Elasticsearch where one is set, else in a file of ``PVEOPS_HOME``. One language for both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING

from pveops.app.asked import extra, fitting_step_ms, moment_of, seconds_of, span_ms
from pveops.app.events import span_of
from pveops.base.clock import from_epoch_s
from pveops.base.errors import InputError
from pveops.base.moments import Moment

if TYPE_CHECKING:
    import pandas as pd

    from pveops.app.collecting import Files
    from pveops.app.events import Event
    from pveops.app.looked import Looked, Span
    from pveops.base.clock import Clock
    from pveops.clients.cluster.read import Reader
    from pveops.clients.logs.elastic import ElasticLogs
    from pveops.clients.logs.embedded import EmbeddedLogs
    from pveops.clients.logs.language import Query
    from pveops.clients.logs.receiver import Receiver
    from pveops.settings.profile import Target

_STEPS_S = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 86_400, 604_800)
_BARS = 120
"""Without a step, about so many are counted at most."""
_MINED = 100_000
_BY = ("severity", "host", "unit", "source")


class Logs:
    """Log lines of one cluster. Times are ``"2h"`` (ago), ``"now"``, ISO times with a zone, or aware datetimes."""

    def __init__(self, target: Target, reader: Reader, clock: Clock) -> None:
        self._target = target
        self._reader = reader
        self._clock = clock
        self._opened: EmbeddedLogs | ElasticLogs | None = None

    @property
    def backend(self) -> str:
        """Where the lines are."""
        return self._store().source

    def search(self, query: str = "", since: Moment = "2h", until: Moment = "now", *, limit: int = 500) -> pd.DataFrame:
        """Lines that are asked for, newest first: ``time host unit severity vmid message source task``. docs/logs.md tells the language.

        Raises:
            InputError: the query or the span is none; with what to write instead.
            TransportError, ConfigError: the store gives no usable answer.
        """
        store = self._store()
        from pveops.clients.logs.language import parse  # noqa: PLC0415 - its parser is built when the first query is asked
        from pveops.frames.logs import lines_frame  # noqa: PLC0415

        if not 1 <= limit <= 10_000:
            raise InputError(f"{limit} lines cannot be shown.", hint="Ask for 1 to 10000, or count with .histogram().")
        span, wanted = span_ms(since, until, self._clock), parse(query)
        return self._unread(lines_frame(store.search(wanted, *span, limit)), wanted, span)

    def histogram(
        self, query: str = "", since: Moment = "24h", until: Moment = "now", *, step: str | float | None = None, by: str = ""
    ) -> pd.DataFrame:
        """How many lines are asked for per step, in all or ``by`` ``severity``, ``host``, ``unit`` or ``source``. Raises as ``search``."""
        store = self._store()
        from pveops.clients.logs.language import parse  # noqa: PLC0415
        from pveops.frames.logs import counts_frame  # noqa: PLC0415

        if by and by not in _BY:
            raise InputError(f"Lines are not counted by {by}.", hint=f"Known: {', '.join(_BY)}.")
        start_ms, end_ms = span_ms(since, until, self._clock)
        step_ms = round(seconds_of(step) * 1000) if step is not None else fitting_step_ms(end_ms - start_ms, _STEPS_S, _BARS)
        if step_ms <= 0 or (end_ms - start_ms) / step_ms > 100_000:
            raise InputError("That step is too narrow for the span.", hint="Leave it out, or take a wider one.")
        wanted = parse(query)
        counts = store.count(wanted, start_ms - start_ms % step_ms, end_ms, step_ms, by)
        missing = self._missing(wanted, (counts.start_ms, end_ms))
        # the last step may reach beyond what was asked
        unread = [(start, end + step_ms if end == end_ms else end) for spans in missing.values() for start, end in spans]
        return self._unread(counts_frame(counts, unread), wanted, (start_ms, end_ms))

    def patterns(
        self, query: str = "", since: Moment = "24h", until: Moment = "now", *, limit: int = 100, nodes: Iterable[str] = ()
    ) -> pd.DataFrame:
        """Lines that differ in numbers and names only, as one row each: new ones first, then those that speak of trouble, bursts, the most.

        ``pattern lines before new burst first last peak severity trouble unit hosts example``: ``before`` counts the span of the same length before, ``peak`` is
        the minute with the most. At most the newest 100,000 lines of both spans are looked at; ``.attrs`` says when there were more.
        With ``nodes``, what was not collected of other nodes is nothing that is missing.

        Raises:
            InputError, TransportError, ConfigError: as ``search``; ConfigError also where the extra is not installed.
        """
        store = self._store()
        from pveops.clients.logs.language import parse  # noqa: PLC0415
        from pveops.frames.logs import patterns_frame  # noqa: PLC0415

        with extra("logs"):
            from pveops.clients.logs.patterns import mined  # noqa: PLC0415 - its library is loaded when the first pattern is asked for
        start_ms, end_ms = span_ms(since, until, self._clock)
        wanted = parse(query)
        found = store.search(wanted, 2 * start_ms - end_ms, end_ms, _MINED)
        known = store.count(parse(""), 2 * start_ms - end_ms, start_ms, end_ms - start_ms)
        before = self._missing(wanted, (2 * start_ms - end_ms, start_ms), nodes)
        compared = any(map(sum, known.counts.values())) and not any(before.values())
        frame = patterns_frame(found, mined(found.lines, start_ms, end_ms), compared=compared, limit=limit)
        return self._unread(frame, wanted, (start_ms, end_ms), nodes)

    def around(self, event: Event, query: str = "", *, minutes: float = 5, limit: int = 500) -> pd.DataFrame:
        """Lines from shortly before until shortly after an event: a time, a task id, a row of ``ops.tasks()`` or ``ops.timeline()``. Raises as ``search``.

        For a task the span is all of its life; its own lines are those with its id as ``task``.
        """
        began, ended = span_of(event, self._reader, self._clock)
        return self.search(query, began - timedelta(minutes=minutes), ended + timedelta(minutes=minutes), limit=limit)

    def collect(self, since: Moment | None = None, *, nodes: Iterable[str] = ()) -> pd.DataFrame:
        """Read journals of nodes (all by default), the cluster's log and logs of tasks into the store: ``what lines new why``.

        Without ``since`` each of them is read from where the last look ended (an hour back at first, seven days at most), so that what did not answer
        then is made up for. A line known already is not kept twice. What cannot be read is a row with ``why``, and ``.attrs['complete']`` is False.

        Raises:
            TransportError: the cluster does not answer at all, or the store takes no lines.
        """
        store = self._store()
        from pveops.app.collecting import collect  # noqa: PLC0415

        given = None if since is None else moment_of(since, self._clock)
        return collect(store, self._reader, self._looked(), given, self._clock.now(), only=tuple(nodes))

    def files(self, *paths: str | Path) -> Files:
        """Log files of this machine, to be read into the store: ``.look()`` reads what is new since the last look, whoever looked then.

        A file that was moved aside is read to its end first; what may be missing is said in ``why``.

        Raises:
            ConfigError: another process reads files into the store of this home.
        """
        store = self._store()
        from pveops.app.collecting import Files  # noqa: PLC0415

        return Files(store, self._target.home.make(), [Path(path) for path in paths], gethostname(), self._clock)

    def receiver(self, say: Callable[[str], None]) -> Receiver:
        """A syslog server that keeps what comes; ``say`` is told what people must know."""
        store = self._store()
        from pveops.clients.logs.receiver import Receiver  # noqa: PLC0415

        return Receiver(store.add, self._clock, say)

    def tail(self, query: str = "", *, every_s: float = 5.0, seconds: float = 60.0) -> Iterator[str]:
        """New lines as they come, for so many seconds: reads the cluster every ``every_s`` seconds, at the end once more, and yields lines as text.

        Times are UTC. What cannot be read is a line that begins with ``Partial:``, once. Raises as ``search``.
        """
        store = self._store()
        from pveops.clients.logs.language import parse  # noqa: PLC0415

        wanted = parse(query)
        end = self._clock.monotonic_s() + seconds
        since = self._clock.now()
        known: set[str] = set()
        while True:
            report = self.collect(since - timedelta(seconds=2 * every_s))
            for gap in report.attrs["gaps"]:
                text = f"Partial: {gap['what']}: {gap['why']}"
                if text not in known:
                    known.add(text)
                    yield text
            found = store.search(wanted, int(since.timestamp() * 1000), int(self._clock.now().timestamp() * 1000) + 60_000, 10_000)
            for line in reversed(found.lines):
                if line.uid not in known:
                    known.add(line.uid)
                    yield f"{from_epoch_s(line.time_ms / 1000):%H:%M:%SZ} {line.host} {line.unit}: {line.message}"
            left_s = end - self._clock.monotonic_s()
            if left_s <= 0:
                return
            self._clock.sleep_s(min(every_s, left_s))

    def _looked(self) -> Looked:
        """What was collected into the store that is asked."""
        from pveops.app.looked import Looked  # noqa: PLC0415 - the language it reads is loaded with the first query

        name, path = self._target.name, self._target.home.make().root / "loglooked.json"
        return Looked(path, f"{name} in {self._store().source}" if self._target.elasticsearch_url else name)

    def _missing(self, query: Query, span: tuple[int, int], nodes: Iterable[str] = ()) -> dict[str, tuple[Span, ...]]:
        """By source that is asked: what of the span was never collected. Of an Elasticsearch that only others fill nothing is known."""
        from pveops.app.looked import CLUSTER_LOG, asked_of, holes  # noqa: PLC0415

        spans = self._looked().spans()
        if not spans and not self._target.elasticsearch_url:
            spans = dict.fromkeys((CLUSTER_LOG, "journal", "tasks"), ())
        now_ms = round(self._clock.now().timestamp() * 1000)
        return {what: holes(spans[what], *span, now_ms) for what in asked_of(query, spans, tuple(nodes))}

    def _unread(self, frame: pd.DataFrame, query: Query, span: tuple[int, int], nodes: Iterable[str] = ()) -> pd.DataFrame:
        """A table that says what of its span was never collected."""
        from pveops.app.looked import gaps_of  # noqa: PLC0415

        missing = self._missing(query, span, nodes)
        found = gaps_of(missing, round(self._clock.now().timestamp() * 1000), len(missing))
        gaps = [*frame.attrs["gaps"], *map(asdict, found)]
        frame.attrs.update(gaps=gaps, complete=not gaps)
        return frame

    def _store(self) -> EmbeddedLogs | ElasticLogs:
        if self._opened is None:
            url = self._target.elasticsearch_url
            with extra("logs"):
                if url:
                    from pveops.clients.logs.elastic import ElasticLogs  # noqa: PLC0415 - a large library

                    login = self._target.elasticsearch_login()
                    self._opened = ElasticLogs(url, user=login[0], password=login[1], ca=self._target.elasticsearch_ca)
                else:
                    from pveops.clients.logs.embedded import EmbeddedLogs  # noqa: PLC0415

                    self._opened = EmbeddedLogs(self._target.home.make().root / "loglines.db")
        return self._opened
