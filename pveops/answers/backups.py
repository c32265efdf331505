"""Backups: what is really there for each guest, on all storages, and who has none that is young enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pveops.answers.look import Look
from pveops.answers.vzdump import Attempt, attempts_of
from pveops.base.errors import PveopsError
from pveops.frames.columns import Column, Table
from pveops.model.refs import GuestKind
from pveops.model.resources import Answer, Backup, Gap, Guest

Verdict = Literal["good", "failing", "bad", "none", "hidden"]
_HIDDEN = "backups of "
_LOG_LINES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestBackups:
    """What there is of one guest. Times are UTC, sizes bytes."""

    vmid: int
    name: str | None
    kind: GuestKind
    node: str
    verdict: Verdict
    last_good: datetime | None
    age_s: float | None
    storage: str | None
    verified: str | None
    size_bytes: int | None
    copies: int
    storages: str | None
    in_job: bool | None
    last_failed: datetime | None
    why: str | None


BACKUP_TRUTH = Table(
    "backup_truth",
    "vmid",
    (
        Column("vmid", "Int64", "guest", lambda row: row.vmid),
        Column("name", "string", "its name", lambda row: row.name),
        Column("node", "string", "node it is on", lambda row: row.node),
        Column(
            "verdict", "string",
            "good; failing (there is one, but the last attempt failed); bad (none that verifies); none; hidden (none seen, and not all could be seen)",
            lambda row: row.verdict,
        ),
        Column("last_good", "datetime64[ns, UTC]", "youngest archive that counts: whole, and not found bad by verification", lambda row: row.last_good),
        Column("age_s", "Float64", "its age, seconds", lambda row: row.age_s),
        Column("storage", "string", "where it lies", lambda row: row.storage),
        Column("verified", "string", "ok where the backup server has verified it", lambda row: row.verified),
        Column("size_bytes", "Int64", "its size, bytes", lambda row: row.size_bytes),
        Column("copies", "Int64", "archives that count, on all storages", lambda row: row.copies),
        Column("storages", "string", "where they lie, parted by ;", lambda row: row.storages),
        Column("in_job", "boolean", "whether a backup job takes it", lambda row: row.in_job),
        Column("last_failed", "datetime64[ns, UTC]", "start of the last attempt, where that failed", lambda row: row.last_failed),
        Column("why", "string", "what that attempt said, or why nothing is known", lambda row: row.why),
        Column("kind", "string", "qemu or lxc", lambda row: row.kind),
    ),
)  # fmt: skip
NO_BACKUP_SINCE = Table("no_backup_since", "vmid", BACKUP_TRUTH.columns)


def judge(
    guests: Iterable[Guest],
    archives: Iterable[Backup],
    attempts: Iterable[Attempt],
    *,
    now: datetime,
    unseen: Callable[[Guest], str],
    unassigned: frozenset[int] | None,
) -> list[GuestBackups]:
    """What there is of each guest.

    Args:
        guests: all of them.
        archives: of all storages that could be read.
        attempts: those of tasks that did not simply end well, in any order.
        now: what ages are counted to.
        unseen: why archives of a guest may exist that were not seen; empty where all were.
        unassigned: guests that no backup job takes; none where that is not known.
    """  # fmt: skip
    broken = {attempt.archive for attempt in attempts if not attempt.ok and attempt.archive}
    by: dict[int, list[Backup]] = {}
    for archive in archives:
        if archive.vmid is not None:
            by.setdefault(archive.vmid, []).append(archive)
    tried: dict[int, Attempt] = {}
    for attempt in attempts:
        if attempt.vmid not in tried or attempt.started > tried[attempt.vmid].started:
            tried[attempt.vmid] = attempt
    return [
        _one(guest, by.get(guest.vmid, []), tried.get(guest.vmid), broken, now=now, unseen=unseen(guest),
             in_job=None if unassigned is None else guest.vmid not in unassigned)
        for guest in guests
    ]  # fmt: skip


def _one(
    guest: Guest, archives: Sequence[Backup], last: Attempt | None, broken: set[str], *, now: datetime, unseen: str, in_job: bool | None
) -> GuestBackups:
    whole = [
        one for one in archives if one.created is not None and one.size_bytes != 0 and one.volid.rpartition("backup/")[2] not in broken
    ]
    good = sorted((one for one in whole if one.verified != "failed"), key=lambda one: one.created or now)
    best = good[-1] if good else None
    created = best.created if best else None
    failed = last if last is not None and not last.ok and (created is None or last.started > created) else None
    verdict: Verdict = "failing" if best and failed else "good" if best else "hidden" if unseen else "bad" if archives else "none"
    if failed:
        why: str | None = failed.text
    elif best:
        why = last.text if last is not None and created is not None and last.started >= created - timedelta(days=1) else None
    else:
        why = unseen or ("the verification of every archive failed" if archives else None)
    return GuestBackups(
        vmid=guest.vmid, name=guest.name, kind=guest.kind, node=guest.node, verdict=verdict, last_good=created,
        age_s=(now - created).total_seconds() if created else None, storage=best.storage if best else None, verified=best.verified if best else None,
        size_bytes=best.size_bytes if best else None, copies=len(good), storages=";".join(sorted({one.storage for one in good})) or None,
        in_job=in_job, last_failed=failed.started if failed else None, why=why,
    )  # fmt: skip


def without_since(rows: Iterable[GuestBackups], oldest: datetime) -> list[GuestBackups]:
    """Those that surely have no good backup since then, the oldest first; hidden ones are not called missing."""
    late = [row for row in rows if row.verdict != "hidden" and (row.last_good is None or row.last_good < oldest)]
    return sorted(late, key=lambda row: (row.last_good is not None, row.last_good, row.vmid))


def hidden_first(gaps: Iterable[Gap]) -> str:
    """How many guests nobody could look at, as the first words about the others; empty where all were seen."""
    named = [gap.what.removeprefix(_HIDDEN) for gap in gaps if gap.what.startswith(_HIDDEN)]
    return f"Of {named[0]} it is not known: their backups could not be seen. Of the others: " if named else ""


def backup_truth(look: Look, *, past_s: float) -> Answer[GuestBackups]:
    """What there is of every guest: archives of all storages, what the backup tasks of the last ``past_s`` seconds said of each guest, and jobs.

    One request per storage that keeps backups (per node where it is not shared), one per node for tasks, one per task that did not simply end well.
    """
    _, guests, storages = look.lists()
    found = look.cluster.backups()
    look.count("/cluster/resources")
    look.count(
        "/nodes/{node}/storage/{storage}/content",
        len({(row.name, "" if row.shared else row.node) for row in storages if "backup" in row.content}),
    )
    look.add(*found.gaps)
    unassigned = look.try_get("/cluster/backup-info/not-backed-up", "which guests no backup job takes")
    rows = judge(
        guests, found.rows, _attempts(look, guests, past_s), now=look.now, unseen=_unseen(look, found.gaps),
        unassigned=None if unassigned is None else frozenset(int(row["vmid"]) for row in unassigned),
    )  # fmt: skip
    hidden = [row for row in rows if row.verdict == "hidden"]
    if hidden:
        names = ", ".join(str(row.vmid) for row in hidden[:10]) + (" …" if len(hidden) > 10 else "")
        look.add(Gap(what=f"{_HIDDEN}{len(hidden)} guests ({names})", why=hidden[0].why or "they may exist where nothing could be seen"))
    order = {"none": 0, "bad": 1, "failing": 2, "hidden": 3, "good": 4}
    return look.answer(sorted(rows, key=lambda row: (order[row.verdict], -(row.age_s or 0), row.vmid)))


def no_backup_since(look: Look, *, since_s: float) -> Answer[GuestBackups]:
    """Guests without a good backup in the last ``since_s`` seconds."""
    truth = backup_truth(look, past_s=max(since_s, 2 * 86_400.0))
    late = without_since(truth.rows, look.now - timedelta(seconds=since_s))
    return look.answer(late)


def _unseen(look: Look, gaps: Sequence[Gap]) -> Callable[[Guest], str]:
    """Why archives of a guest may exist that nobody showed us: a storage that did not answer, or a privilege on the guest."""
    places = "; ".join(f"{gap.what}: {gap.why}" for gap in gaps if gap.what.startswith("backups in"))
    every = look.cluster.may("VM.Backup", "/vms")

    def why(guest: Guest) -> str:
        if places:
            return places
        pool = f"/pool/{guest.pool}" if guest.pool else ""
        if every or look.cluster.may("VM.Backup", f"/vms/{guest.vmid}") or (pool and look.cluster.may("VM.Backup", pool)):
            return ""
        return f"the token lacks VM.Backup on /vms/{guest.vmid}, so Proxmox VE shows none of its archives"

    return why


def _attempts(look: Look, guests: Sequence[Guest], past_s: float) -> list[Attempt]:
    """What backup tasks that did not simply end well said of each guest."""
    try:
        tasks = look.cluster.tasks(since=look.now - timedelta(seconds=past_s), limit=10_000)
    except PveopsError as err:
        look.failed("backup tasks", err)
        return []
    look.count("/cluster/resources")
    look.count("/nodes/{node}/tasks", len({guest.node for guest in guests}))
    look.add(*tasks.gaps)
    ours = [task for task in tasks.rows if task.type == "vzdump" and task.outcome.kind not in ("done", "running")]
    logs = look.each(
        ours,
        lambda task: look.cluster.task_log(task.upid, limit=_LOG_LINES)[0],
        lambda task: f"log of {task.upid}",
        "/nodes/{node}/tasks/{upid}/log",
    )
    on: Mapping[str, list[int]] = {
        node: [guest.vmid for guest in guests if guest.node == node] for node in {guest.node for guest in guests}
    }
    return [attempt for task in ours if task in logs for attempt in attempts_of(task, logs[task], on.get(task.node, []))]
