"""What each source of ``ops.timeline`` tells, as rows of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pveops.base.errors import PveopsError
from pveops.base.units import fmt_duration
from pveops.frames.display import heading, shown
from pveops.frames.timeline import Happened
from pveops.frames.unusual import Span, missing, unusual
from pveops.model.logs import SEVERITIES
from pveops.model.phases import StepPhase
from pveops.model.resources import Gap

if TYPE_CHECKING:
    import pandas as pd

    from pveops.app.metrics import SubjectMetrics
    from pveops.model.plan import Plan
    from pveops.model.run import ProposalView
    from pveops.model.tasks import Task

_OUTCOMES = {"failed": "err", "unknown": "warning", "warnings": "warning", "running": "info", "done": "info"}
_OF_A_TASK = re.compile(r"(?:starting|end) task UPID:")
_LONGEST = 300
_FLOORS = {"cpu_fraction": 0.15, "iowait_fraction": 0.1}
_LOAD = 0.25
"""Of a load, per thread."""
_RATE_FLOOR = 1 << 20
_PART_OF = {
    "mem_bytes": "maxmem_bytes",
    "memused_bytes": "memtotal_bytes",
    "rootused_bytes": "roottotal_bytes",
    "swapused_bytes": "swaptotal_bytes",
}
_SHARE = 0.08
"""A change of memory or disk by less than this share of the whole is none."""
_WINDOW_S = 86_400.0


def task(one: Task, subject: str) -> Iterator[Happened]:
    """A task: its start, and its end where that is news."""
    who = f"{one.user}!{one.token}" if one.token else one.user
    took = f" after {fmt_duration(one.duration_s)}" if one.duration_s is not None else ""
    told = {"running": "still runs", "done": f"done{took}"}.get(one.outcome.kind, f"{one.outcome.kind}{took}: {one.outcome.text}")
    what = f"{one.type} {one.id}".strip()
    bad = one.outcome.kind in ("failed", "warnings", "unknown")
    yield Happened(time=one.started, kind="task", source=one.node, severity="info" if bad else _OUTCOMES[one.outcome.kind], subject=subject,
                   text=f"{what} by {who}: {told}", ref=one.upid.text)  # fmt: skip
    if bad and one.ended is not None:
        yield Happened(time=one.ended, kind="task", source=one.node, severity=_OUTCOMES[one.outcome.kind], subject=subject,
                       text=f"{what} {one.outcome.kind}: {one.outcome.text}", ref=one.upid.text)  # fmt: skip


def concerns(row: Mapping[str, Any], vmid: int | None, nodes: Collection[str]) -> bool:
    """Whether a change is about the guest, or about one of the nodes and their storages."""
    if vmid is not None and row["vmid"] == vmid:
        return True
    return row["what"] in ("node", "storage", "disks") and (row["node"] in nodes or row["name"] in nodes)


def change(row: Mapping[str, Any]) -> Happened:
    """A row of ``ops.diff``."""
    about = f"guest/{row['vmid']}" if _known(row["vmid"]) else f"{row['what']}/{row['name']}"
    field = f" {row['field']}" if _known(row["field"]) else ""
    values = f": {row['before'] if _known(row['before']) else '(none)'} → {row['after'] if _known(row['after']) else '(none)'}"
    by = f", by {row['by']}" if _known(row["by"]) else ""
    bad = str(row["after"]) in ("offline", "unknown")
    return Happened(time=row["time"], kind="config", source="inventory", severity="err" if bad else "notice", subject=about,
                    text=f"{row['what']}{field} {row['change']}{values}{by}"[:_LONGEST], ref=row["upid"] if _known(row["upid"]) else "")  # fmt: skip


def measurements(one: SubjectMetrics, start: datetime, end: datetime, now: datetime) -> tuple[list[Happened], list[Gap]]:
    """Where measurements of a guest or node left what is usual for it, and where there are none."""
    window_s = max(_WINDOW_S, (now - start).total_seconds())
    try:
        frame = one.all(window_s)
        week = one.all(7 * _WINDOW_S) if window_s <= _WINDOW_S else frame
    except PveopsError as err:
        return [], [Gap(what=f"measurements of {one.label}", why=err.message)]
    rows: list[Happened] = []
    for column in frame.columns:
        floor = _floor(column, frame)
        if floor is None:
            continue
        spans = unusual(frame[column], floor=floor, week=week.get(column))
        rows += [_left(span, column, one, frame) for span in spans if _within(span, start, end)]
    if "cpu_fraction" in frame:
        rows += [_silence(span, one, frame) for span in missing(frame["cpu_fraction"]) if _within(span, start, end)]
        return rows, []
    return rows, [Gap(what=f"measurements of {one.label}", why="Proxmox VE has none")]


def _floor(column: str, frame: pd.DataFrame) -> float | None:
    if column.endswith("_bytes_per_s"):
        return max(
            float(_RATE_FLOOR), 2.0 * float(frame[column].fillna(0.0).median())
        )  # rates come in waves: three times the usual is news
    whole = _PART_OF.get(column)
    if whole and whole in frame and frame[whole].notna().any():
        return max(1.0, _SHARE * float(frame[whole].max()))
    if column == "loadavg" and "cpus" in frame and frame["cpus"].notna().any():
        return max(2.0, _LOAD * float(frame["cpus"].max()))
    return _FLOORS.get(column)


def _within(span: Span, start: datetime, end: datetime) -> bool:
    return bool(span.end >= start and span.start <= end)


def _left(span: Span, column: str, one: SubjectMetrics, frame: pd.DataFrame) -> Happened:
    lasted = (span.end - span.start).total_seconds()
    goes_on = span.end >= frame.index.max() - timedelta(minutes=5)
    worst, usual = (shown(column, value if "_" in column else float(f"{value:.3g}")) for value in (span.worst, span.usual))
    text = f"{heading(column)} {worst} instead of {usual}, for {fmt_duration(lasted)}"
    return Happened(time=span.start.to_pydatetime(), kind="metric", source=str(frame.attrs.get("source", "")), severity="warning",
                    subject=one.subject, text=f"{one.label}: {text}{', and it goes on' if goes_on else ''}", ref=column)  # fmt: skip


def _silence(span: Span, one: SubjectMetrics, frame: pd.DataFrame) -> Happened:
    lasted = fmt_duration((span.end - span.start).total_seconds())
    return Happened(time=span.start.to_pydatetime(), kind="metric", source=str(frame.attrs.get("source", "")), severity="warning",
                    subject=one.subject, text=f"{one.label}: not measured for {lasted}: it did not run, or its node told nothing")  # fmt: skip


def pattern(row: Mapping[str, Any], subject: str, *, own: bool) -> Happened | None:
    """A row of ``ops.logs.patterns``, where it is worth telling."""
    example, severity = str(row["example"]), str(row["severity"])
    if _OF_A_TASK.search(example):
        return None
    bad = bool(row["trouble"]) or SEVERITIES.index(severity) <= SEVERITIES.index("err")
    new = row["new"] is True or (_known(row["new"]) and bool(row["new"]))
    if not (own or row["burst"] or (bad and (new or row["lines"] > 2 * row["before"]))):
        return None
    worse = (
        severity if SEVERITIES.index(severity) < SEVERITIES.index("warning") else "warning" if bad else "notice" if row["burst"] else "info"
    )
    times = f" ({row['lines']} lines until {row['last']:%H:%M:%S})" if row["lines"] > 1 else ""
    marks = "".join(f"[{word}] " for word, is_so in (("new", new), ("burst", row["burst"])) if is_so)
    unit = f"{row['unit']}: " if _known(row["unit"]) else ""
    return Happened(time=row["first"].to_pydatetime(), kind="log", source=str(row["hosts"]), severity=worse,
                    subject=subject if own else f"node/{row['hosts']}" if " " not in str(row["hosts"]) else "cluster", text=f"{marks}{unit}{example[:_LONGEST]}{times}",
                    ref=str(row["pattern"]))  # fmt: skip


def alerts(frame: pd.DataFrame, names: Collection[str], subject: str, source: str) -> Iterator[Happened]:
    """Alerts that fired, from when they did; those whose labels name the subject."""
    for column, labels in frame.attrs["labels"].items():
        told = {value.split(":", maxsplit=1)[0] for value in labels.values()} | set(labels.values())
        firing = frame[column].notna()
        if not told & set(names) or not firing.any():
            continue
        begins = frame.index[firing & ~firing.shift(fill_value=False)]
        severity = {"critical": "crit", "page": "crit", "error": "err", "info": "info", "none": "info"}.get(
            labels.get("severity", ""), "warning"
        )
        rest = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if key not in ("__name__", "alertname", "alertstate"))
        for begin in begins:
            yield Happened(time=begin.to_pydatetime(), kind="alert", source=source, severity=severity, subject=subject,
                           text=f"{labels.get('alertname', 'alert')} fires ({rest})", ref=labels.get("alertname", ""))  # fmt: skip


def touched(plan: Plan) -> Iterator[str]:
    """What a plan acts on or sends something to: subjects, and nodes in its paths."""
    yield from plan.subjects
    yield from (f"node/{step.node}" for step in plan.steps if step.node)


def proposal(view: ProposalView, subject: str) -> Iterator[Happened]:
    """A proposal: put forward, begun, each step that went wrong, ended."""
    one, run = view.proposal, view.run

    def at(time: datetime, severity: str, text: str) -> Happened:
        return Happened(time=time, kind="proposal", source="executor", severity=severity, subject=subject, text=text, ref=one.id)

    yield at(one.created, "notice", f"{one.requester} asks: {one.plan.summary} ({one.status})")
    if run is None or run.started is None:
        return
    yield at(run.started, "notice", f"begun: {one.plan.summary}, approved by {run.approved_by or 'nobody known'}")
    for step in run.steps:
        if step.ended is not None and step.phase in (StepPhase.FAILED, StepPhase.UNKNOWN, StepPhase.WARNED):
            yield at(
                step.ended,
                "err" if step.phase is StepPhase.FAILED else "warning",
                f"{step.key} {step.phase}: {step.reason or step.exit_text}",
            )
    if run.ended is not None:
        yield at(
            run.ended, "notice" if run.status in ("done", "warned") else "err", f"{run.status}: {one.plan.summary} {run.reason}".strip()
        )


def _known(value: Any) -> bool:
    return value is not None and value == value and str(value) != "<NA>"  # noqa: PLR0124 - NaN is not itself
