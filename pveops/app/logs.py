"""``ops.logs``: log lines of the cluster, in an Elasticsearch where one is set, else in a file of ``PVEOPS_HOME``. One language for both."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pveops.app.asked import extra, fitting_step_ms, moment_of, seconds_of, span_ms
from pveops.base.errors import Forbidden, InputError, PveopsError
from pveops.base.moments import Moment

if TYPE_CHECKING:
    import pandas as pd

    from pveops.base.clock import Clock
    from pveops.clients.cluster.read import Reader
    from pveops.clients.logs.elastic import ElasticLogs
    from pveops.clients.logs.embedded import EmbeddedLogs
    from pveops.settings.profile import Target

_STEPS_S = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 86_400, 604_800)
_BARS = 120
"""Without a step, about so many are counted at most."""
_AT_ONCE = 4
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
        """Lines that are asked for, newest first: ``time host unit severity vmid message source``. docs/logs.md tells the language.

        Raises:
            InputError: the query or the span is none; with what to write instead.
            TransportError, ConfigError: the store gives no usable answer.
        """
        store = self._store()
        from pveops.clients.logs.language import parse  # noqa: PLC0415 - its parser is built when the first query is asked
        from pveops.frames.logs import lines_frame  # noqa: PLC0415

        if not 1 <= limit <= 10_000:
            raise InputError(f"{limit} lines cannot be shown.", hint="Ask for 1 to 10000, or count with .histogram().")
        return lines_frame(store.search(parse(query), *span_ms(since, until, self._clock), limit))

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
        return counts_frame(store.count(parse(query), start_ms - start_ms % step_ms, end_ms, step_ms, by))

    def around(self, event: Moment, query: str = "", *, minutes: float = 5, limit: int = 500) -> pd.DataFrame:
        """Lines shortly before and after a time. Raises as ``search``."""
        moment = moment_of(event, self._clock)
        return self.search(query, moment - timedelta(minutes=minutes), moment + timedelta(minutes=minutes), limit=limit)

    def collect(self, since: Moment = "1h") -> pd.DataFrame:
        """Read the journal of every node and the cluster's log into the store: ``what lines new why``; a line known already is not kept twice.

        What cannot be read is a row with ``why``, and ``.attrs['complete']`` is False.

        Raises:
            TransportError: the cluster does not answer at all, or the store takes no lines.
        """
        store = self._store()
        import pandas as pd  # noqa: PLC0415

        from pveops.clients.logs.journal import cluster_lines, node_lines  # noqa: PLC0415

        wire = self._reader.wire
        first, last = int(moment_of(since, self._clock).timestamp()), int(self._clock.now().timestamp()) + 60
        nodes = self._reader.nodes().rows
        jobs: list[tuple[str, Any]] = [("cluster log", lambda: cluster_lines(wire))]
        jobs += [(f"journal of {node.name}", lambda name=node.name: node_lines(wire, name, first, last)) for node in nodes]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda job: _attempt(job[1]), jobs))
        rows: list[dict[str, Any]] = []
        for (what, _), lines in zip(jobs, found, strict=True):
            if isinstance(lines, PveopsError):
                rows.append({"what": what, "lines": None, "new": None, "why": lines.message, "needs": _needs(lines)})
            else:
                rows.append({"what": what, "lines": len(lines), "new": store.add(lines), "why": None, "needs": ""})
        frame = pd.DataFrame(rows).astype({"lines": "Int64", "new": "Int64"})
        gaps = [{"what": row["what"], "why": row["why"], "needs": row["needs"]} for row in rows if row["why"]]
        frame.attrs.update(table="collected", source=store.source, complete=not gaps, gaps=gaps)
        return frame.drop(columns="needs")

    def tail(self, query: str = "", *, every_s: float = 5.0, seconds: float = 60.0) -> Iterator[str]:
        """New lines as they come, for so many seconds: reads the cluster every ``every_s`` seconds and yields lines as text. Raises as ``search``."""
        store = self._store()
        from pveops.clients.logs.language import parse  # noqa: PLC0415

        wanted = parse(query)
        end = self._clock.monotonic_s() + seconds
        since = self._clock.now()
        known: set[str] = set()
        while True:
            self.collect(since - timedelta(seconds=2 * every_s))
            found = store.search(wanted, int(since.timestamp() * 1000), int(self._clock.now().timestamp() * 1000) + 60_000, 10_000)
            for line in reversed(found.lines):
                if line.uid not in known:
                    known.add(line.uid)
                    yield f"{datetime.fromtimestamp(line.time_ms / 1000).astimezone():%H:%M:%S} {line.host} {line.unit}: {line.message}"
            if self._clock.monotonic_s() + every_s > end:
                return
            self._clock.sleep_s(every_s)

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


def _attempt(read: Any) -> Any:
    try:
        return read()
    except PveopsError as err:
        return err


def _needs(err: PveopsError) -> str:
    return "Sys.Syslog" if isinstance(err, Forbidden) else ""
