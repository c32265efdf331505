"""What operators ask, as read tools: ``ask.backup-truth``, ``ask.n-plus-one`` …; in Python ``ops.ask.backup_truth()``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from pveops.answers import backups, certificates, disks, drift, forecast, room, snapshots, survive, usage, volumes
from pveops.answers.look import Look
from pveops.base.errors import InputError
from pveops.base.units import fmt_bytes, fmt_duration, fmt_pct, parse_duration_s
from pveops.frames.columns import Table
from pveops.model.resources import Answer, Gap
from pveops.tools.ports import Ports
from pveops.tools.registry import Args, NoArgs, Tool, ToolResult, result_of

Rows = Sequence[Mapping[str, Any]]
_FAR_DAYS = 366
"""What is full later than that is not named in the sentence."""


class SinceArgs(Args):
    """Since when."""

    since: Annotated[str, Field(description="How long ago: 24h, 7d")] = "7d"


class PastArgs(Args):
    """How far back tasks are read."""

    past: Annotated[str, Field(description="How far back backup tasks are read for what failed: 2d, 14d")] = "8d"


class OlderArgs(Args):
    """Older than what."""

    older_than: Annotated[str, Field(description="Age: 24h, 14d")] = "14d"


class PromiseArgs(Args):
    """How much is too much."""

    cpus_per_thread: Annotated[
        float, Field(gt=0, le=64, description="Cores of running guests per thread of a node, above which it is over")
    ] = 4.0


class LossArgs(Args):
    """How careful to be."""

    reserve_pct: Annotated[float, Field(ge=0, le=90, description="Share of each node's memory that must stay free, in percent")] = 5.0
    devices: Annotated[bool, Field(description="Ask each running guest for devices that are passed through (one request each)")] = True


class WindowArgs(Args):
    """Over which time."""

    window: Annotated[str, Field(description="How far back measurements are looked at: 7d, 30d, 365d")] = "30d"


class IdleArgs(Args):
    """What counts as idle."""

    window: Annotated[str, Field(description="How far back measurements are looked at: 7d, 30d")] = "7d"
    cpu_pct: Annotated[float, Field(gt=0, le=100, description="CPU that it stayed below 95 % of the time, in percent of its cores")] = 3.0
    net: Annotated[float, Field(gt=0, description="Bytes per second, received and sent, that it stayed below in the middle")] = 2048.0


class DiskArgs(Args):
    """Over which time."""

    window: Annotated[str, Field(description="How far back growth is looked for; a journal of Proxmox VE often holds two days only")] = "2d"


class WithinArgs(Args):
    """What counts as soon."""

    within: Annotated[str, Field(description="What counts as soon: 14d, 30d")] = "30d"


class DriftArgs(Args):
    """Which nodes."""

    nodes: Annotated[str, Field(description="Nodes, parted by commas; all when none is named")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question: how it is asked, how its rows read, and one sentence about them."""

    name: str
    title: str
    doc: str
    args: type[Args]
    ask: Callable[[Any, Look], Answer[Any]]
    table: Table
    said: Callable[[Rows], str]
    none: str
    privileges: tuple[str, ...]
    first: Callable[[Iterable[Gap]], str] = lambda _gaps: ""
    """What must be said before the sentence, because it makes it smaller."""

    @property
    def tool(self) -> Tool:
        """The read tool."""

        def run(args: Args, ports: Ports) -> ToolResult:
            answer = self.ask(args, Look(ports.reader, ports.clock, ports.metrics))
            rows = self.table.rows(answer.rows)
            first = self.first(answer.gaps)
            return result_of(answer, rows, text=first + self.said(rows) if rows else "", none=first + self.none, order=self.table.order)

        name = f"ask.{self.name.replace('_', '-')}"
        return Tool(name=name, kind="read", title=self.title, doc=self.doc, args=self.args, run=run, privileges=self.privileges)


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration_s(text)
    except ValueError as err:
        raise InputError(f"{err}.") from err
    if seconds <= 0:
        raise InputError(f"{text} is no time that has passed.", hint="Write 24h or 7d.")
    return seconds


def _who(row: Mapping[str, Any]) -> str:
    return f"{row['vmid']} {row['name']}" if row.get("name") else str(row["vmid"])


def _where(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]} on {row['node']}" if row.get("node") else str(row[name])


def _list(parts: Sequence[str], most: int = 6) -> str:
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def _counted(rows: Rows, column: str, verdicts: Mapping[str, Callable[[Mapping[str, Any]], str]]) -> str:
    """``2 failing (113 web-3: …), 31 good``: how many of each, with names where there is something to say."""
    counts = Counter(str(row[column]) for row in rows)
    said = []
    for verdict, count in counts.items():
        named = [text for row in rows if row[column] == verdict and (text := verdicts[verdict](row))] if verdict in verdicts else []
        said.append(f"{count} {verdict}" + (f" ({_list(named)})" if named else ""))
    return ", ".join(said)


def _said_truth(rows: Rows) -> str:
    told = {"failing": lambda row: f"{_who(row)}: {row['why']}", "bad": _who, "none": _who, "hidden": _who}
    return f"Backups of {len(rows)} guests: {_counted(rows, 'verdict', told)}."


def _said_since(rows: Rows) -> str:
    named = [f"{_who(row)} ({'never' if row['age_s'] is None else fmt_duration(row['age_s'])})" for row in rows]
    return f"{len(rows)} guests without a good backup since then: {_list(named)}."


def _said_snapshots(rows: Rows) -> str:
    named = [f"{_who(row)}: {row['snapshot']} ({fmt_duration(row['age_s'])})" for row in rows]
    return f"{len(rows)} old snapshots on {len({row['vmid'] for row in rows})} guests: {_list(named)}."


def _said_promises(rows: Rows) -> str:
    def share(row: Mapping[str, Any]) -> str:
        if row["about"] == "storage":
            return f"{_where(row, 'name')} {fmt_pct(row['disk_promised_fraction'])} of its disk"
        return (
            f"{row['name']} {fmt_pct(row['mem_promised_fraction'])} of its memory, {row['cpu_promised_fraction'] or 0:.1f} cores per thread"
        )

    return f"{len(rows)} nodes and storages: {_counted(rows, 'verdict', {'over': share})}."


def _said_loss(rows: Rows) -> str:
    bad = [f"{row['node']}: {_list(str(row['why']).split('; '), 2)}" for row in rows if row["survives"] is False]
    unsure = [f"{row['node']}: {row['why']}" for row in rows if row["survives"] is None]
    if bad:
        return f"The cluster does not survive the loss of {len(bad)} of {len(rows)} nodes. {'. '.join(bad)}."
    return f"Not sure about {_list(unsure)}." if unsure else f"The cluster survives the loss of any one of {len(rows)} nodes."


def _said_forecast(rows: Rows) -> str:
    def growing(row: Mapping[str, Any]) -> str:
        low, high = row["to_full_low_days"], row["to_full_high_days"]
        if row["to_full_days"] is None or row["to_full_days"] > _FAR_DAYS:
            return ""
        return f"{_where(row, 'storage')} full in {row['to_full_days']:.0f} d ({0 if low is None else low:.0f} to {'never' if high is None else f'{high:.0f}'})"

    def jumped(row: Mapping[str, Any]) -> str:
        return f"{_where(row, 'storage')}: {row['why']}"

    near = [f"{_where(row, 'storage')} ({fmt_pct(row['used_fraction'])})" for row in rows if row["near_full"]]
    told = {"growing": growing, "jumped": jumped, "full": lambda row: _where(row, "storage")}
    return f"{len(rows)} storages: {_counted(rows, 'verdict', told)}." + (f" Nearly full now: {_list(near)}." if near else "")


def _said_rightsize(rows: Rows) -> str:
    saved = sum(max(0, row["mem_saved_bytes"] or 0) for row in rows if row["mem"] == "too large")
    small = [f"{_who(row)} ({' and '.join(what for what in ('cpu', 'mem') if row[what] == 'too small')})" for row in rows
             if "too small" in (row["cpu"], row["mem"])]  # fmt: skip
    large = sum("too large" in (row["cpu"], row["mem"]) for row in rows)
    text = f"Of {len(rows)} running guests {large} have more than they need ({fmt_bytes(saved)} of memory)"
    return text + (f"; too small: {_list(small)}." if small else "; none has too little.")


def _said_idle(rows: Rows) -> str:
    held = sum(row["maxmem_bytes"] or 0 for row in rows)
    return f"{len(rows)} guests run and do nothing ({fmt_bytes(held)} of memory): {_list([_who(row) for row in rows])}."


def _said_orphans(rows: Rows) -> str:
    held = sum(row["size_bytes"] or 0 for row in rows)
    named = [f"{row['volid']}{' on ' + row['node'] if row['node'] else ''} ({row['why']})" for row in rows]
    return f"{len(rows)} disks that no guest uses, {fmt_bytes(held)}: {_list(named)}."


def _said_disks(rows: Rows) -> str:
    def grew(row: Mapping[str, Any]) -> str:
        return f"{row['path']} on {row['node']}: {row['grew']}"

    def has(row: Mapping[str, Any]) -> str:
        return f"{row['path']} on {row['node']}: {row['reallocated'] or 0} reallocated, {row['pending'] or 0} pending"

    told = {"getting worse": grew, "failed": has, "damaged": has, "worn": lambda row: f"{row['path']} on {row['node']}"}
    return f"{len(rows)} disks: {_counted(rows, 'verdict', told)}."


def _said_certificates(rows: Rows) -> str:
    def left(row: Mapping[str, Any]) -> str:
        return f"{row['file']} of {row['node']} in {row['left_days']:.1f} d"

    def gone(row: Mapping[str, Any]) -> str:
        return f"{row['file']} of {row['node']}"

    text = f"{len(rows)} certificates: {_counted(rows, 'verdict', {'soon': left, 'expired': gone})}"
    return f"{text}; the next one ends in {rows[0]['left_days']:.0f} d." if rows[0]["left_days"] is not None else f"{text}."


def _said_drift(rows: Rows) -> str:
    named = [
        f"{row['node']} {row['topic']} {row['item']}: {row['value']}" + (f", others {row['most']}" if row["most"] else "") for row in rows
    ]
    return f"{len(rows)} differences: {'; '.join(named[:6])}{f' and {len(named) - 6} more' if len(named) > 6 else ''}."


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_DISKS = ("Datastore.Audit", "Datastore.AllocateSpace", "VM.Config.Disk")
_ARCHIVES = ("Datastore.AllocateSpace", "VM.Backup", "VM.Audit", "Sys.Audit")
QUESTIONS = (
    Question(
        name="backup_truth", title="Backups as they really are", args=PastArgs, table=backups.BACKUP_TRUTH, said=_said_truth, privileges=_ARCHIVES,
        doc="What backups there really are of each guest, on all storages: the last good one, its age, whether it was verified, and whether the last attempt failed.",
        ask=lambda args, look: backups.backup_truth(look, past_s=_seconds(args.past)), none="There is no guest.",
    ),
    Question(
        name="no_backup_since", title="Guests without a backup", args=SinceArgs, table=backups.NO_BACKUP_SINCE, said=_said_since, privileges=_ARCHIVES,
        doc="Guests that have no good backup since then. Guests whose backups could not be seen are named as not seen, not as missing.",
        ask=lambda args, look: backups.no_backup_since(look, since_s=_seconds(args.since)), none="Every guest whose backups could be seen has a good one since then.",
        first=backups.hidden_first,
    ),
    Question(
        name="snapshots_older_than", title="Old snapshots", args=OlderArgs, table=snapshots.SNAPSHOTS_OLDER_THAN, said=_said_snapshots,
        doc="Snapshots that are older than that, the oldest first.", privileges=("VM.Audit",), none="No snapshot is that old.",
        ask=lambda args, look: snapshots.snapshots_older_than(look, older_s=_seconds(args.older_than)),
    ),
    Question(
        name="overcommit", title="What was promised", args=PromiseArgs, table=room.OVERCOMMIT, said=_said_promises, none="There is no node.",
        doc="Cores and memory of running guests against their node, sizes of disks against their storage.",
        privileges=("VM.Audit", "Sys.Audit", *_DISKS), ask=lambda args, look: room.overcommit(look, cpus_per_thread=args.cpus_per_thread),
    ),
    Question(
        name="n_plus_one", title="Loss of a node", args=LossArgs, table=survive.N_PLUS_ONE, said=_said_loss, none="No node is online.",
        doc="Does the cluster survive the loss of each node: would its guests find memory elsewhere, and which cannot move (local disks, devices, rules)?",
        privileges=("VM.Audit", "Sys.Audit", "Datastore.Audit"),
        ask=lambda args, look: survive.n_plus_one(look, reserve_fraction=args.reserve_pct / 100, devices=args.devices),
    ),
    Question(
        name="capacity_forecast", title="When storages are full", args=WindowArgs, table=forecast.CAPACITY_FORECAST, said=_said_forecast,
        doc="When each storage is full if it goes on as it did, with an interval; says so where it does not grow.", privileges=("Datastore.Audit",),
        none="There is no storage.", ask=lambda args, look: forecast.capacity_forecast(look, window_s=_seconds(args.window)),
    ),
    Question(
        name="rightsize", title="Guests of the wrong size", args=WindowArgs, table=usage.RIGHTSIZE, said=_said_rightsize, none="No guest runs.",
        doc="What running guests had in use at most, and what that would take.", privileges=("VM.Audit",),
        ask=lambda args, look: usage.rightsize(look, window_s=_seconds(args.window)),
    ),
    Question(
        name="idle_guests", title="Idle guests", args=IdleArgs, table=usage.IDLE_GUESTS, said=_said_idle, none="No running guest is idle.",
        doc="Running guests that did nothing for days.", privileges=("VM.Audit",),
        ask=lambda args, look: usage.idle_guests(look, window_s=_seconds(args.window), cpu_fraction=args.cpu_pct / 100, bytes_per_s=args.net),
    ),
    Question(
        name="orphaned_disks", title="Orphaned disks", args=NoArgs, table=volumes.ORPHANED_DISKS, said=_said_orphans, none="Every disk that could be seen has its guest.",
        doc="Disks that no guest uses: of guests that are gone, left over from moves, not in a configuration, or unused.",
        privileges=("VM.Audit", *_DISKS), ask=lambda _args, look: volumes.orphaned_disks(look),
    ),
    Question(
        name="disk_health_trend", title="Health of disks", args=DiskArgs, table=disks.DISK_HEALTH_TREND, said=_said_disks, none="No disk is listed.",
        doc="SMART counters of every physical disk, and whether they grow.", privileges=("Sys.Audit", "Sys.Syslog"),
        ask=lambda args, look: disks.disk_health_trend(look, window_s=_seconds(args.window)),
    ),
    Question(
        name="certificate_expiry", title="Ends of certificates", args=WithinArgs, table=certificates.CERTIFICATE_EXPIRY, said=_said_certificates,
        doc="When the certificates of the nodes end.", privileges=("Sys.Audit",), none="No node shows a certificate.",
        ask=lambda args, look: certificates.certificate_expiry(look, within_s=_seconds(args.within)),
    ),
    Question(
        name="drift_between", title="Differences of nodes", args=DriftArgs, table=drift.DRIFT_BETWEEN, said=_said_drift,
        doc="In what nodes differ that should be alike: packages, kernels, resolvers, clocks, subscriptions, network, services.",
        privileges=("Sys.Audit",), none="The nodes are alike in all that was compared.",
        ask=lambda args, look: drift.drift_between(look, names=_names(args.nodes)),
    ),
)  # fmt: skip
ANSWERS: Mapping[str, Question] = {question.name: question for question in QUESTIONS}
ASK_TOOLS = tuple(question.tool for question in QUESTIONS)
