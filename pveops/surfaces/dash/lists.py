"""The lists of the page: guests with search and pages, failed tasks, backups that are missing, what happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pveops.base.errors import PveopsError
from pveops.base.units import fmt_duration, grouped
from pveops.model.messages import Event
from pveops.model.resources import Backup, Guest
from pveops.model.tasks import Task
from pveops.present.words import clock, count
from pveops.surfaces.dash.blocks import Block, blank, guest_row, told_gaps
from pveops.surfaces.dash.look import Seen

PAGE_ROWS = 25
BACKUP_AGE = timedelta(days=7)
"""A guest whose last backup is older than this is listed."""
_MOST = 40
_STATES = ("all", "running", "stopped", "other")
_SORTS = {"vmid": lambda guest: guest.vmid, "name": lambda guest: (guest.name or "").lower(), "node": lambda guest: (guest.node, guest.vmid), "status": lambda guest: (guest.status, guest.vmid),
          "cpu": lambda guest: -(guest.cpu_fraction or 0), "mem": lambda guest: -((guest.mem_bytes or 0) / (guest.maxmem_bytes or 1))}  # fmt: skip


def guests_block(seen: Seen | None, fault: PveopsError | None, query: Mapping[str, Any]) -> Block:
    """One page of the guest table.

    Args:
        seen: the last look.
        fault: why there is none.
        query: ``q`` words that must all be found in id, name, node, tags or status; ``state``; ``sort``; ``page`` from 0.
    """
    if seen is None:
        return blank("guests", fault)
    asked = _asked(query)
    rows = seen.guests.rows
    counts = {state: sum(_in_state(guest, state) for guest in rows) for state in _STATES}
    found = sorted((guest for guest in rows if _in_state(guest, asked["state"]) and _fits(guest, asked["q"])), key=_SORTS[asked["sort"]])
    pages = max(1, -(-len(found) // PAGE_ROWS))
    page = min(asked["page"], pages - 1)
    shown = found[page * PAGE_ROWS : (page + 1) * PAGE_ROWS]
    state = "ok" if shown else "no_match" if rows else "empty"
    return {
        "state": state, "rows": [guest_row(guest) for guest in shown], "total": len(rows), "found": len(found), "page": page, "pages": pages, "counts": counts, "query": asked,
        "sub": count(len(rows), "guest") + (f". {told_gaps(seen.guests.gaps)}" if seen.guests.partial else ""), "partial": seen.guests.partial,
        "title": "No guests" if not rows else f"None of {grouped(len(rows))} guests match", "text": "The token sees no guest." if not rows else "",
    }  # fmt: skip


def _asked(query: Mapping[str, Any]) -> dict[str, Any]:
    page, state, sort = query.get("page"), query.get("state"), query.get("sort")
    return {
        "q": str(query.get("q") or "")[:80],
        "state": state if state in _STATES else "all",
        "sort": sort if sort in _SORTS else "vmid",
        "page": page if isinstance(page, int) and page > 0 else 0,
    }


def _in_state(guest: Guest, state: str) -> bool:
    if state == "all":
        return True
    if state in ("running", "stopped"):
        return guest.status == state and not guest.template
    return guest.template or guest.status not in ("running", "stopped")


def _fits(guest: Guest, words: str) -> bool:
    text = " ".join((str(guest.vmid), guest.name or "", guest.node, guest.status, guest.kind, guest.pool or "", *guest.tags)).lower()
    return all(word in text for word in words.lower().split())


def work_block(seen: Seen | None, fault: PveopsError | None, now: datetime) -> Block:
    """Failed tasks of the last 24 h, and guests without a recent backup."""
    if seen is None:
        return {"failed": blank("tasks", fault), "backups": blank("backups", fault)}
    names = {str(guest.vmid): guest.label for guest in seen.guests.rows}
    return {"failed": _failed(seen, names, now), "backups": _backups(seen, now)}


def _failed(seen: Seen, names: Mapping[str, str], now: datetime) -> Block:
    if isinstance(seen.failed, PveopsError):
        return blank("tasks", seen.failed)
    bad = [task for task in seen.failed.rows if task.outcome.kind in ("failed", "unknown")]
    rows = [
        {"at": clock(task.started, now), "node": task.node, "what": f"{task.type} {names.get(task.id, task.id)}".strip(), "why": task.outcome.text or "no exit text",
         "tone": "error" if task.outcome.kind == "failed" else "unknown", "upid": task.upid.text}
        for task in bad[:_MOST]
    ]  # fmt: skip
    sub = "last 24 h" + (f". {told_gaps(seen.failed.gaps)}" if seen.failed.partial else "")
    return {"state": "ok" if rows else "empty", "sub": sub, "partial": seen.failed.partial, "rows": rows, "count": len(bad),
            "title": "No task failed", "text": f"Searched: {seen.failed.source}, 24 h back."}  # fmt: skip


def _backups(seen: Seen, now: datetime) -> Block:
    if isinstance(seen.backups, PveopsError):
        return blank("backups", seen.backups)
    last: dict[int, Backup] = {}
    for backup in seen.backups.rows:
        kept = last.get(backup.vmid or 0)
        if backup.vmid is not None and backup.created and (kept is None or kept.created is None or backup.created > kept.created):
            last[backup.vmid] = backup
    guests = [guest for guest in seen.guests.rows if not guest.template]
    late = [guest for guest in guests if not _recent(last.get(guest.vmid), now)]
    late.sort(key=lambda guest: (last[guest.vmid].created if guest.vmid in last else datetime.min.replace(tzinfo=now.tzinfo), guest.vmid))
    rows = [
        {"guest": guest.label, "node": guest.node, "last": _age(last.get(guest.vmid), now, partial=seen.backups.partial)}
        for guest in late[:_MOST]
    ]
    sub = f"{count(len(seen.backups.rows), 'backup')}; listed: none in {BACKUP_AGE.days} d" + (
        f". {told_gaps(seen.backups.gaps)}" if seen.backups.partial else ""
    )
    title = (
        f"{count(len(seen.backups.rows), 'backup')}, every guest has one of the last {BACKUP_AGE.days} d" if guests else "No backups yet"
    )
    return {"state": "ok" if rows else "empty", "sub": sub, "partial": seen.backups.partial, "rows": rows, "count": len(late), "title": title,
            "text": f"{count(len(guests), 'guest')} looked at; searched: {seen.backups.source}."}  # fmt: skip


def _recent(backup: Backup | None, now: datetime) -> bool:
    return backup is not None and backup.created is not None and now - backup.created <= BACKUP_AGE


def _age(backup: Backup | None, now: datetime, *, partial: bool) -> str:
    if backup is None or backup.created is None:
        return "none seen" if partial else "never"
    return f"{fmt_duration((now - backup.created).total_seconds())} ago"


def feed_block(seen: Seen | None, events: Sequence[Event], now: datetime) -> Block:
    """What happened, newest first: what the executor announced, and tasks of the cluster."""
    tasks = () if seen is None or isinstance(seen.tasks, PveopsError) else seen.tasks.rows
    names = {str(guest.vmid): guest.label for guest in seen.guests.rows} if seen else {}
    dated = [*_told(events), *((task.started, _task(task, names)) for task in tasks)]
    dated.sort(key=lambda pair: pair[0], reverse=True)
    today = now.astimezone(UTC).date()
    items = [
        {
            "at": f"{when.astimezone(UTC):%H:%M:%S}",
            "day": "" if when.astimezone(UTC).date() == today else f"{when.astimezone(UTC):%Y-%m-%d}",
            **item,
        }
        for when, item in dated[:_MOST]
    ]
    state = "loading" if seen is None else "ok" if items else "empty"
    return {"state": state, "items": items, "title": "Nothing yet", "text": "Proposals, decisions and tasks appear here."}


def _told(events: Sequence[Event]) -> Iterable[tuple[datetime, Block]]:
    over = {event.proposal_id for event in events if event.kind.startswith("proposal.") and event.kind != "proposal.waiting"}
    for event in events:
        said = _EVENTS.get(event.kind)
        if said is not None:
            icon, text, below = said
            if event.kind == "proposal.waiting" and event.proposal_id in over:
                below = "{id}"  # it waits no longer; what became of it stands above
            words = {"actor": event.actor, "id": event.proposal_id, "text": event.text}
            yield (
                event.at,
                {
                    "kind": "proposals",
                    "icon": icon,
                    "who": event.actor if "{actor}" in text else "",
                    "text": text.removeprefix("{actor}").format(**words),
                    "sub": below.format(**words),
                },
            )


_EVENTS: Mapping[str, tuple[str, str, str]] = {
    "proposal.waiting": ("approvals", "{actor} asks: {text}", "{id}, waiting for approval"),
    "proposal.refused": ("approvals", "{actor} asked: {text}", "{id}, refused"),
    "proposal.approved": ("person", "{actor} confirmed {text}", "{id}"),
    "proposal.denied": ("person", "{actor} denied {id}", "{text}"),
    "proposal.withdrawn": ("person", "{actor} took back {id}", "{text}"),
    "proposal.expired": ("approvals", "{id} expired", "nothing ran"),
    "approval.refused": ("lock", "{actor} could not approve {id}", "{text}"),
    "run.ended": ("check", "{id} ended: {text}", ""),
    "kill.on": ("lock", "{actor} turned the kill switch on", "{text}"),
    "kill.off": ("lock", "{actor} lifted the kill switch", "{text}"),
}


def _task(task: Task, names: Mapping[str, str]) -> Block:
    tones = {"failed": "error", "warnings": "warn", "unknown": "unknown", "running": "info"}
    words = {
        "done": "done",
        "running": "running",
        "warnings": "done with warnings",
        "unknown": "unknown",
        "failed": f"failed: {task.outcome.text}",
    }
    took = f" in {fmt_duration(task.duration_s)}" if task.duration_s is not None and task.outcome.kind == "done" else ""
    return {
        "kind": "tasks", "icon": "task", "who": "", "text": f"{task.type} {names.get(task.id, task.id)} on {task.node}".replace("  ", " "),
        "sub": words[task.outcome.kind] + took, "tone": tones.get(task.outcome.kind, ""),
    }  # fmt: skip
