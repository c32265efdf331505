"""The report of a rehearsal: what came of it, how long it took, how full things are afterwards, what to mind, what the copy could not know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from pveops.base.clock import from_epoch_s
from pveops.base.units import fmt_bytes, fmt_duration, fmt_pct
from pveops.model.facts import Facts
from pveops.model.plan import Plan, Step
from pveops.model.rehearsal import Capacity, CapacityKind, Rehearsal, RehearsedStep
from pveops.model.run import Run, RunStatus, StepState
from pveops.twin.look import Row, Seen
from pveops.twin.paces import Pace, Paces

_FULL_MEMORY = 0.94
_FULL_STORAGE = 0.9
_LATE_S = 600.0
_MOST_TEXTS = 40
_NEVER_KNOWN = "What programs inside the guests make of it."

Places = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What happened on the stage: the run, the facts of its guests afterwards, what lay on the storages before and after (bytes)."""

    run: Run
    facts: Facts
    before: Places
    after: Places


def report(plan: Plan, seen: Seen, paces: Paces, played: Played, *, looked_at: datetime) -> Rehearsal:
    """Put it together."""
    run = played.run
    took_s = (run.ended - run.started).total_seconds() if run.ended and run.started else 0.0
    capacity = tuple(_capacity(plan, seen, played))
    return Rehearsal(
        plan_digest=plan.digest,
        outcome=run.status,
        text=_text(plan, run),
        took_s=round(took_s, 1),
        steps=tuple(_step(state) for state in run.steps),
        capacity=capacity,
        warnings=tuple(_warnings(plan, seen, run, capacity, took_s))[:_MOST_TEXTS],
        not_known=tuple(_not_known(plan, seen, paces))[:_MOST_TEXTS],
        looked_at=looked_at,
        reads=seen.reads,
    )


def _step(state: StepState) -> RehearsedStep:
    sent = state.started is not None and state.ended is not None
    took_s = round((state.ended - state.started).total_seconds(), 1) if sent and state.ended and state.started else None
    return RehearsedStep(key=state.key, phase=state.phase, took_s=took_s, reason=state.reason)


def _text(plan: Plan, run: Run) -> str:
    good, of = sum(step.phase.good for step in run.steps), len(run.steps)
    if run.status in (RunStatus.DONE, RunStatus.WARNED):
        return f"{good} of {of} in the simulated copy" + (", with warnings" if run.status is RunStatus.WARNED else "")
    current = run.current
    planned = next((step for step in plan.steps if current is not None and step.key == current.key), None)
    alone = planned is not None and current is not None and run.reason == current.reason
    what = f"{planned.text}: {run.reason}" if planned is not None and alone else run.reason
    return f"{good} of {of} in the simulated copy. {what}"


# -- capacity -----------------------------------------------------------------------------------------------------------


def _capacity(plan: Plan, seen: Seen, played: Played) -> Iterator[Capacity]:
    """Of what the plan touches: what was measured on the live cluster, moved as the guests moved on the stage."""
    memory: dict[str, float] = defaultdict(float)
    cpus: dict[str, float] = defaultdict(float)
    rows = {int(row["vmid"]): row for row in seen.rows("qemu", "lxc")}
    for subject in plan.subjects:
        kind, _, name = subject.partition("/")
        row = rows.get(int(name)) if kind == "guest" else None
        if row is None:
            continue
        node, status = played.facts.values.get(f"{subject}.node"), played.facts.values.get(f"{subject}.status")
        ran, runs = row.get("status") == "running", status in ("running", "paused")
        memory[str(row["node"])] -= _memory(row) if ran else 0
        cpus[str(row["node"])] -= _cpus(row) if ran else 0
        # what a guest that was only just started will use is not known: all of its memory is counted
        memory[str(node)] += (_memory(row) if ran else float(row.get("maxmem") or 0)) if runs else 0
        cpus[str(node)] += _cpus(row) if runs and ran else 0
    for row in sorted(seen.rows("node"), key=lambda row: str(row["node"])):
        yield from _of_node(row, memory, cpus)
    yield from _of_storages(seen, played)


def _memory(row: Row) -> float:
    return float(row.get("memhost") or row.get("mem") or row.get("maxmem") or 0)


def _cpus(row: Row) -> float:
    return float(row.get("cpu") or 0.0) * float(row.get("maxcpu") or 0)


def _of_node(row: Row, memory: Mapping[str, float], cpus: Mapping[str, float]) -> Iterator[Capacity]:
    name = str(row["node"])
    if name not in memory:
        return
    if row.get("maxmem") and row.get("mem") is not None:
        total = int(row["maxmem"])
        yield from _part("memory", name, row["mem"] / total, memory[name] / total, total)
    if row.get("maxcpu") and row.get("cpu") is not None:
        total = int(row["maxcpu"])
        yield from _part("cpu", name, float(row["cpu"]), cpus[name] / total, total)


def _part(kind: CapacityKind, where: str, before: float, by: float, total: int) -> Iterator[Capacity]:
    found = Capacity(kind=kind, where=where, before=round(before, 4), after=round(max(before + by, 0.0), 4), total=total)
    if found.changed:
        yield found


def _of_storages(seen: Seen, played: Played) -> Iterator[Capacity]:
    live: dict[tuple[str, str], Row] = {}
    for row in seen.rows("storage"):
        live.setdefault((str(row["storage"]), "" if row.get("shared") else str(row["node"])), row)
    for key, row in sorted(live.items()):
        by, total = played.after.get(key, 0) - played.before.get(key, 0), int(row.get("maxdisk") or 0)
        if not total or row.get("disk") is None:
            continue
        yield from _part("storage", f"{key[0]} on {key[1]}" if key[1] else key[0], row["disk"] / total, by / total, total)


# -- warnings -----------------------------------------------------------------------------------------------------------


def _warnings(plan: Plan, seen: Seen, run: Run, capacity: Iterable[Capacity], took_s: float) -> Iterator[str]:
    for part in capacity:
        limit = {"memory": _FULL_MEMORY, "storage": _FULL_STORAGE}.get(part.kind)
        if limit is not None and part.after > limit and part.after > part.before:
            yield f"{part.where} would be {fmt_pct(part.after)} full ({part.kind}, {fmt_bytes(part.total)})."
    for step in run.steps:
        for line in step.log_tail:
            if line.startswith(("WARN: ", "WARNING: ")):
                yield f"{step.key}: {line.partition(': ')[2]}"
    yield from _coming_backups(seen, took_s)
    yield from _managed(plan, seen)


def _coming_backups(seen: Seen, took_s: float) -> Iterator[str]:
    """Backups lock the guests they read; one that begins before the plan is over gets in its way."""
    for row in seen.views.get("/cluster/backup", ()):
        begins_s = float(row.get("next-run") or 0)
        if row.get("enabled", 1) and 0 <= begins_s - seen.taken_s <= took_s + _LATE_S:
            yield f"The backup job {row.get('id')} begins at {from_epoch_s(begins_s):%H:%M} UTC and locks guests."


def _managed(plan: Plan, seen: Seen) -> Iterator[str]:
    managed = {str(row.get("sid", "")).partition(":")[2] for row in seen.views.get("/cluster/ha/resources", ())}
    copied = {str(row.get("guest")) for row in seen.views.get("/cluster/replication", ())}
    for step in plan.steps:
        vmid = step.subject.partition("/")[2]
        if vmid in managed:
            yield f"High availability manages {vmid}: it carries out the change at its own pace."
        if vmid in copied and step.call.path.endswith("/migrate"):
            yield f"{vmid} is replicated; its replication turns round when it moves."


# -- what the copy could not know ---------------------------------------------------------------------------------------


def _not_known(plan: Plan, seen: Seen, paces: Paces) -> Iterator[str]:
    kinds = {int(row["vmid"]): str(row["type"]) for row in seen.rows("qemu", "lxc")}
    told: set[str] = set()
    for step in plan.steps:
        for text in _assumed(step, kinds, paces):
            if text not in told:
                told.add(text)
                yield text
    for gap in seen.gaps:
        yield f"Not seen: {gap}"
    yield _NEVER_KNOWN


def _assumed(step: Step, kinds: Mapping[int, str], paces: Paces) -> Iterator[str]:
    name = step.subject.partition("/")[2]
    vmid = int(name) if name.isdigit() else 0
    verb, kind = step.call.path.rpartition("/")[2], kinds.get(vmid, "")
    restarts = verb == "reboot" or (verb == "migrate" and kind == "lxc" and ("restart", 1) in step.call.params)
    if verb == "start" or restarts:
        yield from _guess("start", vmid, paces.of(vmid, "start"))
    if verb == "shutdown" or restarts:
        yield from _guess("shutdown", vmid, paces.of(vmid, "shutdown"))
    if verb == "migrate" and kind == "qemu" and ("online", 1) in step.call.params:
        pace = paces.migration(vmid)
        if not pace.own:
            like = f"as for {pace.others} other guests" if pace.others else "which nothing here shows"
            yield f"How fast {vmid} would move: no past migration tells; {fmt_bytes(pace.value)}/s is assumed, {like}."


def _guess(thing: str, vmid: int, pace: Pace) -> Iterator[str]:
    if pace.own:
        return
    like = f"as for {pace.others} others of its kind" if pace.others else "which nothing here shows"
    yield f"How long {vmid} takes for a {thing}: no recent task tells; {fmt_duration(round(pace.value, 1))} is assumed, {like}."
