"""Brings log lines of a cluster and of files into a store: what was read, what was new, what could not be read and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pveops.app.looked import CLUSTER_LOG, Looked, journal_of, tasks_of
from pveops.base.clock import from_epoch_s
from pveops.base.errors import Forbidden, PveopsError, TransportError
from pveops.base.files import OwnerLock
from pveops.base.together import each_of
from pveops.clients.logs.files import FollowedFile, Places
from pveops.clients.logs.journal import cluster_lines, node_lines, task_lines
from pveops.clients.logs.language import Both, Either, Is, Phrase, Query
from pveops.model.logs import Counts, Found, LogLine

if TYPE_CHECKING:
    import pandas as pd

    from pveops.base.clock import Clock
    from pveops.clients.cluster.read import Reader
    from pveops.model.tasks import Task
    from pveops.settings.home import Home

_AT_ONCE = 4
_TASKS = 2000
_LINES = 5000
_NEWEST = 500
"""The cluster tells so many lines of its own log at most."""
_LONGEST_TASK = timedelta(days=1)
"""Proxmox VE lists tasks by their start: what started earlier and ended since is looked for so far back."""
_ENDED = Both((Is("source", "task"), Either(tuple(Phrase(("task", word)) for word in ("ok", "error", "warnings")))))


class Store(Protocol):
    """What keeps lines."""

    @property
    def source(self) -> str:
        """Who answers, for people."""
        ...

    def add(self, lines: Sequence[LogLine]) -> int:
        """Keep lines; returns how many were new."""
        ...

    def search(self, query: Query, start_ms: int, end_ms: int, limit: int = 500) -> Found:
        """Lines that are asked for, newest first."""
        ...

    def count(self, query: Query, start_ms: int, end_ms: int, step_ms: int, by: str = "") -> Counts:
        """How many per step."""
        ...


Row = dict[str, Any]


def collect(
    store: Store, reader: Reader, looked: Looked, given: datetime | None, now: datetime, *, only: Iterable[str] = ()
) -> pd.DataFrame:
    """Journals of nodes, the cluster's log, logs of tasks: ``what lines new why``.

    Args:
        store: where lines go.
        reader: the cluster.
        looked: from when until when each of them was read.
        given: from when; by default from where the last look ended.
        now: until when.
        only: these nodes; by default all.

    Raises:
        TransportError: the cluster does not answer at all, or the store takes no lines.
    """
    wire = reader.wire
    last = int(now.timestamp()) + 60
    everywhere = [node.name for node in reader.nodes().rows]
    nodes = [node for node in everywhere if node in only or not only]
    began = {what: looked.since(what, given, now) for node in nodes for what in (journal_of(node), tasks_of(node))}
    jobs: list[tuple[str, Callable[[], list[LogLine]]]] = [(CLUSTER_LOG, lambda: cluster_lines(wire, _NEWEST))]
    jobs += [(journal_of(node), partial(node_lines, wire, node, int(began[journal_of(node)].timestamp()), last)) for node in nodes]
    found = each_of(jobs, lambda job: job[1](), _AT_ONCE)
    rows = [_told(store, what, lines) for (what, _), lines in zip(jobs, found, strict=True)]
    tasks = _collect_tasks(store, reader, min((began[tasks_of(node)] for node in nodes), default=now), now, set(nodes))
    read = {journal_of(node): began[journal_of(node)] for node in nodes if _fine(rows, journal_of(node))}
    if all(row["why"] is None for row in tasks):
        read |= {tasks_of(node): began[tasks_of(node)] for node in nodes}
    if not isinstance(found[0], PveopsError):
        read[CLUSTER_LOG] = _reaches(found[0], min(began.values(), default=now))
    every = [CLUSTER_LOG, *(what for node in everywhere for what in (journal_of(node), tasks_of(node)))]
    looked.note(read, now, every=every)
    rows += tasks
    return _report(rows, store.source)


def _reaches(lines: Sequence[LogLine], since: datetime) -> datetime:
    """From when on the cluster's log is there: it is told whole, or its newest lines."""
    oldest = from_epoch_s(min((line.time_ms for line in lines), default=0) / 1000)
    return oldest if len(lines) >= _NEWEST else min(since, oldest) if lines else since


def _collect_tasks(store: Store, reader: Reader, since: datetime, now: datetime, nodes: set[str]) -> list[Row]:
    """Logs of tasks that ran since then; one that was read to its end is not read again."""
    try:
        listed = reader.tasks(since=since - _LONGEST_TASK, limit=_TASKS)
    except PveopsError as err:
        return [_told(store, "task logs", err)]
    span_ms = (round((since - _LONGEST_TASK).timestamp() * 1000), round(now.timestamp() * 1000) + 86_400_000)
    done = {line.task for line in store.search(_ENDED, *span_ms, 10 * _TASKS).lines}
    wanted = [
        task for task in listed.rows if task.node in nodes and task.upid.text not in done and (task.ended is None or task.ended >= since)
    ]
    found = each_of(wanted, lambda task: _log_of(reader, task), _AT_ONCE)
    lines = [line for log in found if not isinstance(log, PveopsError) for line in log]
    rows = [_told(store, "task logs", lines)]
    rows += [_told(store, f"log of {task.upid}", log) for task, log in zip(wanted, found, strict=True) if isinstance(log, PveopsError)]
    rows += [{"what": gap.what, "lines": None, "new": None, "why": gap.why, "needs": gap.needs} for gap in listed.gaps]
    if len(listed.rows) == _TASKS:
        rows.append({"what": "older tasks", "lines": None, "new": None, "why": f"more than {_TASKS} tasks ran", "needs": ""})
    return rows


def _fine(rows: Iterable[Row], what: str) -> bool:
    return any(row["what"] == what and row["why"] is None for row in rows)


def _log_of(reader: Reader, task: Task) -> list[LogLine]:
    texts, total = reader.task_log(task.upid, limit=_LINES)
    while len(texts) < total:
        more, total = reader.task_log(task.upid, start=len(texts), limit=_LINES)
        if not more:
            break
        texts += more
    return list(task_lines(task, texts))


class Files:
    """Log files that are read into a store. One process of a home does so at a time.

    Raises:
        ConfigError: another process does, or the places that were reached cannot be read.
    """

    def __init__(self, store: Store, home: Home, paths: Sequence[Path], host: str, clock: Clock) -> None:
        self._store = store
        self._lock = OwnerLock(home.root / "logplaces.lock", "Reading log files")
        self._lock.acquire()
        places = Places(home.root / "logplaces.json")
        self._files = [FollowedFile(path, places, store.add, host=host, clock=clock) for path in paths]

    def close(self) -> None:
        """Let the files go."""
        for file in self._files:
            file.close()
        self._lock.release()

    def look(self) -> pd.DataFrame:
        """Read what is new in each: ``what lines new why``.

        Raises:
            TransportError: the store takes no lines.
        """
        rows: list[Row] = []
        for file in self._files:
            (found,) = each_of([file], FollowedFile.look, 1)
            if isinstance(found, TransportError):
                raise found
            why, needs = (found.message, "") if isinstance(found, PveopsError) else (" ".join(file.missed) or None, "")
            lines, new = (None, None) if isinstance(found, PveopsError) else found
            file.missed.clear()
            rows.append({"what": file.name, "lines": lines, "new": new, "why": why, "needs": needs})
        return _report(rows, self._store.source)


def _told(store: Store, what: str, lines: Any) -> Row:
    if isinstance(lines, PveopsError):
        return {
            "what": what,
            "lines": None,
            "new": None,
            "why": lines.message,
            "needs": "Sys.Syslog" if isinstance(lines, Forbidden) else "",
        }
    return {"what": what, "lines": len(lines), "new": store.add(lines), "why": None, "needs": ""}


def _report(rows: Sequence[Mapping[str, Any]], source: str) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - loaded when the first table is made

    frame = pd.DataFrame(rows, columns=["what", "lines", "new", "why", "needs"]).astype({"lines": "Int64", "new": "Int64", "why": "string"})
    gaps = [{"what": row["what"], "why": row["why"], "needs": row["needs"]} for row in rows if row["why"]]
    frame.attrs.update(table="collected", source=source, complete=not gaps, gaps=gaps)
    return frame.drop(columns="needs")
