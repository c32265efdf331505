"""``ops.timeline``: what happened to a guest or a node, from everything that tells: tasks, changes, measurements, logs, alerts, proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from pveops.app import told
from pveops.app.handles import Executors
from pveops.app.logs import Logs
from pveops.app.metrics import Metrics
from pveops.base.errors import AmbiguousName, InputError, PveopsError, UnknownName
from pveops.base.together import each_of
from pveops.clients.cluster.read import Reader
from pveops.frames.timeline import Happened, timeline_frame
from pveops.model.resources import Gap, Guest
from pveops.tools.resolve import find_guest, find_node

_TASKS = 1000
_PROPOSALS = 500
_PATTERNS = 200


@dataclass(frozen=True, slots=True)
class Sources:
    """What tells. ``changes`` gives ``ops.diff``'s table of a span."""

    cluster: str
    reader: Reader
    metrics: Metrics
    logs: Logs
    executors: Executors
    changes: Callable[[datetime, datetime], pd.DataFrame]


@dataclass(slots=True)
class Subject:
    """What it is about: a guest and the nodes it was on, or a node."""

    guest: Guest | None
    nodes: dict[str, None] = field(default_factory=dict)
    away: bool = False
    """One of its nodes does not answer: the others tell what became of it."""

    @classmethod
    def find(cls, wanted: str | int, reader: Reader) -> Subject:
        """A guest by id or name, or else a node.

        Raises:
            UnknownName, AmbiguousName: nothing, or several things, are called that.
        """
        nodes = reader.nodes()
        try:
            guest = find_guest(wanted, reader.guests())
        except AmbiguousName:
            raise
        except InputError as err:
            try:
                node = find_node(str(wanted), nodes)
            except InputError:
                raise UnknownName(f"Neither a guest nor a node is called {wanted}.", hint=err.hint) from err
            return cls(None, {node.name: None}, node.status != "online")
        return cls(guest, {guest.node: None}, any(node.name == guest.node and node.status != "online" for node in nodes.rows))

    @property
    def label(self) -> str:
        """How people call it."""
        return self.guest.label if self.guest else next(iter(self.nodes))

    @property
    def key(self) -> str:
        """How plans name it."""
        return self.guest.ref.subject if self.guest else f"node/{next(iter(self.nodes))}"

    def names(self) -> set[str]:
        """What labels of a measurement may call it."""
        guest = self.guest
        own = {str(guest.vmid), f"{guest.kind}/{guest.vmid}", guest.name or ""} if guest else set()
        return (own | {name for node in self.nodes for name in (node, f"node/{node}")}) - {""}


Told = tuple[list[Happened], list[Gap]]


def timeline(subject: Subject, sources: Sources, start: datetime, end: datetime, now: datetime, *, collect: bool) -> pd.DataFrame:
    """All that happened to it in a span; with what is wrong ``now``, where the span ends there.

    Raises:
        TransportError: the cluster does not answer at all.
    """
    tasks, listed = _or_gap("tasks", each_of([subject], lambda one: _tasks(one, sources.reader, start, end), 1)[0])
    jobs: list[tuple[str, Callable[[], Told]]] = [
        ("configuration changes", lambda: _changes(subject, sources, start, end)),
        ("measurements", lambda: _metrics(subject, sources.metrics, start, end, now)),
        ("log lines", lambda: _logs(subject, sources.logs, start, end, collect=collect)),
        ("alerts", lambda: _alerts(subject, sources.metrics, start, end)),
        ("proposals", lambda: _proposals(subject, sources, start, end)),
    ]
    if end >= now:
        jobs.append(("the present state", lambda: _state(subject, sources.reader, now)))
    found = [_or_gap(what, got) for (what, _), got in zip(jobs, each_of(jobs, lambda job: job[1](), len(jobs)), strict=True)]
    rows = [*tasks, *(row for some, _ in found for row in some)]
    gaps = [*listed, *(gap for _, some in found for gap in some)]
    return timeline_frame(rows, gaps, subject=subject.label, nodes=list(subject.nodes), since=start, until=end)


def _or_gap(what: str, got: Told | PveopsError) -> Told:
    return ([], [Gap(what=what, why=f"{got.message} {got.hint}".strip())]) if isinstance(got, PveopsError) else got


def _tasks(subject: Subject, reader: Reader, start: datetime, end: datetime) -> Told:
    """Tasks of the guest, or all of the node; those that ended in the span count too. Nodes that the guest was on are learnt here."""
    vmid = subject.guest.vmid if subject.guest else None
    node = None if subject.guest else next(iter(subject.nodes))
    listed = reader.tasks(node=node, vmid=vmid, since=start - timedelta(days=1), limit=_TASKS)
    rows: list[Happened] = []
    for task in listed.rows:
        if task.started > end or (task.ended or end) < start:
            continue
        if subject.guest:
            subject.nodes[task.node] = None
        rows += told.task(task, subject.key)
    gaps = list(listed.gaps)
    if subject.guest:
        failed = reader.tasks(node=subject.guest.node, since=start, errors=True, limit=_TASKS)
        rows += [
            row for task in failed.rows if task.id != str(vmid) and task.started <= end for row in told.task(task, f"node/{task.node}")
        ]
        gaps += failed.gaps
    if len(listed.rows) == _TASKS:
        gaps.append(Gap(what="older tasks", why=f"the newest {_TASKS} were looked at"))
    return rows, gaps


def _changes(subject: Subject, sources: Sources, start: datetime, end: datetime) -> Told:
    frame = sources.changes(start, end)
    vmid = subject.guest.vmid if subject.guest else None
    rows = [told.change(row) for row in _records(frame) if told.concerns(row, vmid, set(subject.nodes))]
    return rows, _gaps_of(frame)


def _metrics(subject: Subject, metrics: Metrics, start: datetime, end: datetime, now: datetime) -> Told:
    rows: list[Happened] = []
    gaps: list[Gap] = []
    for one in _measured(subject, metrics):
        some, missing = told.measurements(one, start, end, now)
        rows += some
        gaps += missing
    return rows, gaps


def _measured(subject: Subject, metrics: Metrics) -> Iterator[Any]:
    if subject.guest:
        yield metrics.guest(subject.guest.vmid)
    for node in subject.nodes:
        yield metrics.node(node)


def _logs(subject: Subject, logs: Logs, start: datetime, end: datetime, *, collect: bool) -> Told:
    """New and bursting patterns, bad words, and whatever names the guest; tasks tell of themselves."""
    gaps: list[Gap] = []
    nodes = () if subject.away else subject.nodes
    if collect:
        gaps += _gaps_of(logs.collect(start - (end - start), nodes=nodes))
    hosts = "*" if subject.away else " OR ".join(f'host:"{node}"' for node in subject.nodes)
    about = f"vmid:{subject.guest.vmid}" if subject.guest else ""
    query = f"({hosts}{f' OR {about}' if about else ''}) AND (NOT source:task OR severity:<=warning)"
    frame = logs.patterns(query, start, end, limit=_PATTERNS, nodes=nodes)
    own = set(logs.patterns(about, start, end, limit=_PATTERNS)["example"]) if about else set()
    rows = [row for one in _records(frame) if (row := told.pattern(one, subject.key, own=one["example"] in own))]
    return rows, [*gaps, *_gaps_of(frame)]


def _alerts(subject: Subject, metrics: Metrics, start: datetime, end: datetime) -> Told:
    if metrics.backend == "PVE RRD":
        return [], [Gap(what="alerts", why="no Prometheus is set")]
    frame = metrics.query('ALERTS{alertstate="firing"}', start, end, 60)
    return list(told.alerts(frame, subject.names(), subject.key, metrics.backend)), _gaps_of(frame)


def _proposals(subject: Subject, sources: Sources, start: datetime, end: datetime) -> Told:
    views = sources.executors.client(start=False).proposals(limit=_PROPOSALS)
    wanted = {subject.key, *(f"node/{node}" for node in subject.nodes)}
    mine = [view for view in views if view.proposal.plan.cluster == sources.cluster and wanted & set(told.touched(view.proposal.plan))]
    rows = [row for view in mine for row in told.proposal(view, subject.key) if start <= row.time <= end]
    gaps = [Gap(what="older proposals", why=f"the newest {_PROPOSALS} were looked at")] if len(views) == _PROPOSALS else []
    return rows, gaps


def _state(subject: Subject, reader: Reader, now: datetime) -> Told:
    """What is wrong at this moment."""
    nodes, guests, storages = reader.resources()
    own = [node for node in nodes.rows if node.name in subject.nodes]
    rows = [_now(now, "info" if node.status == "online" else "err", f"node/{node.name}", f"the node is {node.status}") for node in own]
    if not reader.cluster_status().quorate:
        rows.append(_now(now, "crit", "cluster", "the cluster has no quorum: nothing can be changed"))
    up = {node.name for node in own if node.status == "online"}
    silent = [row for row in storages.rows if row.node in up and row.status != "available"]
    rows += [_now(now, "err", f"storage/{row.name}", f"storage {row.name} does not answer on {row.node}") for row in silent]
    for guest in guests.rows:
        if subject.guest and guest.vmid == subject.guest.vmid:
            rows += _of_guest(now, guest)
    return rows, []


def _of_guest(now: datetime, guest: Guest) -> Iterable[Happened]:
    yield _now(now, "info" if guest.status == "running" else "notice", guest.ref.subject, f"{guest.status} on {guest.node}")
    if guest.lock:
        yield _now(now, "warning", guest.ref.subject, f"locked ({guest.lock})")
    if guest.hastate and guest.hastate not in ("started", "stopped", "ignored"):
        yield _now(now, "warning", guest.ref.subject, f"HA says {guest.hastate}")


def _now(time: datetime, severity: str, subject: str, text: str) -> Happened:
    return Happened(time=time, kind="state", source="cluster", severity=severity, subject=subject, text=text)


def _gaps_of(frame: pd.DataFrame) -> list[Gap]:
    return [Gap(what=gap["what"], why=gap["why"], needs=gap.get("needs", "")) for gap in frame.attrs.get("gaps", [])]


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
