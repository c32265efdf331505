"""What the parts of the cluster page show, as plain JSON made from one look. Numbers and words are ready to be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pveops.base.errors import PveopsError
from pveops.base.units import fmt_bytes, fmt_duration, fmt_of, fmt_pct, grouped
from pveops.model.messages import ExecutorInfo
from pveops.model.resources import Gap, Guest, Node, Storage
from pveops.present.tokens import tokens
from pveops.present.words import clock, count, listed, sentence
from pveops.surfaces.dash.look import Seen

Block = dict[str, Any]
_SPARK_POINTS = 60
_WORST = {"": 0, "warn": 1, "error": 2}


def tone_of(kind: str, fraction: float | None) -> str:
    """``warn`` or ``error`` beyond the limits of the token file; grey below."""
    if fraction is None:
        return ""
    warn, error = tokens()["threshold"][kind]
    return "error" if fraction >= error else "warn" if fraction >= warn else ""


def share(part: float | None, whole: float | None) -> float | None:
    """Part of a whole; none where one of them is not known."""
    return part / whole if part is not None and whole else None


def meter(kind: str, fraction: float | None) -> Block:
    """A bar with its figure."""
    return {
        "pct": None if fraction is None else round(fraction * 100, 1),
        "text": fmt_pct(fraction) if fraction is not None else "?",
        "tone": tone_of(kind, fraction),
    }


def is_old(read_at: datetime | None, now: datetime, refresh_s: float) -> bool:
    """Whether what was read last is older than a few refreshes."""
    return read_at is not None and (now - read_at).total_seconds() > tokens()["threshold"]["stale_after_refreshes"] * refresh_s


def bar_block(
    seen: Seen | None,
    *,
    now: datetime,
    read_at: datetime | None,
    fault: PveopsError | None,
    principal: str,
    can_confirm: bool,
    refresh_s: float,
) -> Block:
    """The app bar: cluster, whether what is seen is live, whether actions are allowed, who looks."""
    old = is_old(read_at, now, refresh_s)
    live = {"glyph": "ok", "tone": "ok", "text": f"Live, {clock(read_at, now, zone=True)}"}
    if read_at is None:
        live = (
            {"glyph": "pending", "tone": "t3", "text": "Reading"}
            if fault is None
            else {"glyph": "error", "tone": "error", "text": "Not reachable"}
        )
    elif fault is not None or old:
        live = {"glyph": "stale", "tone": "stale", "text": f"As of {clock(read_at, now, zone=True)}"}
    return {
        "cluster": seen.cluster if seen else "",
        "simulated": bool(seen and seen.simulated),
        "live": live,
        "actions": _actions(seen.executor if seen else None, can_confirm=can_confirm),
        "principal": principal,
        "role": "may confirm here" if can_confirm else "looks only",
    }


def _actions(executor: ExecutorInfo | PveopsError | None, *, can_confirm: bool) -> Block:
    if executor is None:
        return {"icon": "lock", "tone": "t3", "text": "Executor not asked yet"}
    if isinstance(executor, PveopsError):
        return {"icon": "lock", "tone": "warn", "text": "No executor"}
    if executor.kill.on:
        return {"icon": "lock", "tone": "error", "text": "Kill switch on"}
    return {"icon": "lock", "tone": "", "text": "Actions allowed" if can_confirm else "Look only"}


def nav_block(seen: Seen | None, *, waiting: int, stale: bool = False) -> Block:
    """Links within the page, and how the connections are."""
    online = sum(node.status == "online" for node in seen.nodes.rows) if seen else 0
    total = len(seen.nodes.rows) if seen else 0
    shape = "pending" if not seen else "stale" if stale else "ok" if online == total else "partial"
    links = [
        {
            "name": "Proxmox VE",
            "glyph": shape,
            "tone": shape if shape != "pending" else "t3",
            "text": f"{online} of {total}" if seen else "…",
        }
    ]
    executor = seen.executor if seen else None
    if isinstance(executor, ExecutorInfo):
        doing = count(executor.running, "run") if executor.running else "idle"
        links.append(
            {
                "name": "Executor",
                "glyph": "error" if executor.kill.on else "ok",
                "tone": "error" if executor.kill.on else "ok",
                "text": "halted" if executor.kill.on else doing,
            }
        )
    elif seen:
        links.append({"name": "Executor", "glyph": "warn", "tone": "warn", "text": "not running"})
    return {"waiting": waiting, "links": links}


def top_block(seen: Seen | None, fault: PveopsError | None, *, now: datetime, read_at: datetime | None) -> Block:
    """The strip of facts, and the banners: only from what was really seen."""
    if seen is None:
        return {"state": "error" if fault else "loading", "facts": [], "banners": _fault_banner(fault, now, None)}
    return {"state": "ok", "facts": _facts(seen), "banners": [*_fault_banner(fault, now, read_at), *_banners(seen, now)]}


def _facts(seen: Seen) -> list[Block]:
    nodes, guests = seen.nodes.rows, [guest for guest in seen.guests.rows if not guest.template]
    online = [node for node in nodes if node.status == "online"]
    threads = sum(node.cpus or 0 for node in online)
    busy = sum((node.cpu_fraction or 0) * (node.cpus or 0) for node in online)
    used, memory = sum(node.mem_bytes or 0 for node in online), sum(node.maxmem_bytes or 0 for node in online)
    away = {node.name for node in nodes if node.status == "offline"}
    running = sum(guest.status == "running" and guest.node not in away for guest in guests)
    facts = [
        _fact("Nodes", f"{len(online)} of {len(nodes)}", glyph="" if len(online) == len(nodes) else "partial"),
        _fact("Guests", f"{grouped(running)} running", f"of {grouped(len(guests))}"),
    ]
    if not isinstance(seen.status, PveopsError):
        votes = f"{sum(up for _, up in seen.status.nodes)} of {count(len(seen.status.nodes), 'vote')}" if seen.status.name else "one node"
        facts.append(
            _fact(
                "Quorum",
                votes if seen.status.quorate else "lost",
                tone="" if seen.status.quorate else "error",
                glyph="" if seen.status.quorate else "error",
            )
        )
    managed = sum(guest.hastate is not None for guest in guests)
    if managed:
        facts.append(_fact("HA", count(managed, "service")))
    facts += [
        _fact("CPU", fmt_pct(share(busy, threads)), f"of {grouped(threads)}"),
        _fact("Memory", fmt_pct(share(used, memory)), f"of {fmt_bytes(memory)}"),
    ]
    if not isinstance(seen.tasks, PveopsError):
        facts.append(_fact("Running tasks", grouped(sum(task.outcome.kind == "running" for task in seen.tasks.rows))))
    return facts


def _fact(name: str, value: str, of: str = "", *, tone: str = "", glyph: str = "") -> Block:
    return {"k": name, "v": value, "of": of, "tone": tone, "glyph": glyph}


def _banner(tone: str, title: str, text: str, *, correlation: str = "") -> Block:
    return {"tone": tone, "title": title, "text": text, "correlation": correlation}


def _fault_banner(fault: PveopsError | None, now: datetime, read_at: datetime | None) -> list[Block]:
    if fault is None:
        return []
    told = f" What you see is as of {clock(read_at, now)}. We ask again every 10 s." if read_at else " We ask again every 10 s."
    return [
        _banner(
            "error", "The cluster cannot be read", f"{sentence(fault.message)} {fault.hint}".strip() + told, correlation=fault.correlation
        )
    ]


def _banners(seen: Seen, now: datetime) -> Iterable[Block]:
    if not isinstance(seen.status, PveopsError) and not seen.status.quorate:
        yield _banner("error", "The cluster has no quorum", "Proxmox VE refuses every change until enough nodes are back.")
    for node in seen.nodes.rows:
        if node.status != "online":
            there = [guest for guest in seen.guests.rows if guest.node == node.name and not guest.template]
            what = (
                f"{count(len(there), 'guest')} {'was' if len(there) == 1 else 'were'} there; what they do now is not known."
                if there
                else "No guest was there."
            )
            yield _banner("error", f"{node.name} is {node.status}", what)
    yield from _executor_banners(seen.executor, now)
    online = {node.name for node in seen.nodes.rows if node.status == "online"}
    for name in sorted({row.name for row in seen.storages.rows if row.status != "available" and row.node in online}):
        silent = sorted(row.node for row in seen.storages.rows if row.name == name and row.status != "available" and row.node in online)
        yield _banner("error", f"Storage {name} is not available", f"It does not answer on {', '.join(silent)}.")
    full = [row for row in storage_rows(seen) if row["used"]["tone"]]
    for row in full:
        yield _banner(
            row["used"]["tone"], f"Storage {row['name']} is {row['used']['text']} full", f"{row['capacity']} in use{row['where']}."
        )
    gaps = [gap for answer in (seen.nodes, seen.guests, seen.storages) for gap in answer.gaps]
    if gaps:
        yield _banner("partial", "Some of the cluster was not readable", told_gaps(gaps))


def _executor_banners(executor: ExecutorInfo | PveopsError, now: datetime) -> Iterable[Block]:
    if isinstance(executor, PveopsError):
        yield _banner(
            "warn",
            "The executor does not answer",
            f"{sentence(executor.message)} {executor.hint} Until then nothing can be changed.",
            correlation=executor.correlation,
        )
    elif executor.kill.on:
        since = f" since {clock(executor.kill.since, now)}" if executor.kill.since else ""
        yield _banner(
            "error",
            f"The kill switch is on{since}",
            f"{sentence(executor.kill.why) or 'No reason was given.'} Nothing is written until an operator lifts it: pveops kill off --why …",
        )
    elif executor.unknown:
        yield _banner(
            "unknown",
            f"{count(executor.unknown, 'run')} with an unknown outcome",
            "A person must decide; see the cards below. Their guests are locked for new proposals.",
        )


def told_gaps(gaps: Sequence[Gap]) -> str:
    """What was not seen, and which privilege would show it."""
    told = {f"{gap.what}: {gap.why.rstrip('.')}" + (f" (needs {gap.needs})" if gap.needs else "") for gap in gaps}
    return sentence("; ".join(sorted(told)))


def nodes_block(seen: Seen | None, fault: PveopsError | None) -> Block:
    """Node cards: troubled ones keep their place, sorted by name."""
    if seen is None:
        return _blank("nodes", fault)
    guests: dict[str, int] = {}
    for guest in seen.guests.rows:
        guests[guest.node] = guests.get(guest.node, 0) + (not guest.template)
    items = [_node(node, guests.get(node.name, 0), seen.cpu_hour.get(node.name, ())) for node in seen.nodes.rows]
    return {
        "state": "ok" if items else "empty",
        "sub": "CPU line: last hour",
        "items": items,
        "title": "No nodes",
        "text": "The cluster lists no node for this token.",
    }


def _node(node: Node, guests: int, cpu_hour: Sequence[float | None]) -> Block:
    bars = {
        "cpu": meter("cpu", node.cpu_fraction),
        "mem": meter("memory", share(node.mem_bytes, node.maxmem_bytes)),
        "disk": meter("disk", share(node.disk_bytes, node.maxdisk_bytes)),
    }
    tone = max((bar["tone"] for bar in bars.values()), key=_WORST.__getitem__)
    made: Block = {
        "name": node.name,
        "guests": count(guests, "guest"),
        "up": f"up {fmt_duration(node.uptime_s)}" if node.uptime_s else "",
        **bars,
    }
    if node.status != "online":
        return made | {
            "tone": "unknown",
            "glyph": "unknown",
            "word": node.status,
            "note": f"{sentence(count(guests, 'guest') + (' was' if guests == 1 else ' were') + ' there')} Nothing newer is known.",
            "spark": [],
        }
    points = [None if value is None else round(value, 4) for value in cpu_hour[-_SPARK_POINTS:]]
    return made | {
        "tone": tone or "ok",
        "glyph": tone or "ok",
        "word": {"": "ok", "warn": "near a limit", "error": "over a limit"}[tone],
        "note": "",
        "spark": points,
    }


def storage_rows(seen: Seen) -> list[Block]:
    """One row per storage; one that each node has for itself shows its fullest."""
    by: dict[str, list[Storage]] = {}
    for storage in seen.storages.rows:
        by.setdefault(storage.name, []).append(storage)
    return sorted((_storage(name, found) for name, found in by.items()), key=lambda row: (-(row["used"]["pct"] or 0), row["name"]))


def _storage(name: str, found: list[Storage]) -> Block:
    fullest = max(found, key=lambda one: share(one.used_bytes, one.total_bytes) or -1.0)
    shared = fullest.shared
    fraction = share(fullest.used_bytes, fullest.total_bytes)
    away = [one.node for one in found if one.status != "available"]
    nodes = "shared" if shared else count(len(found), "node")
    kind = f"{fullest.type or 'unknown type'}, {nodes}" + (
        f", fullest {fullest.node}" if not shared and len(found) > 1 and fraction is not None else ""
    )
    tone = tone_of("disk", fraction)
    glyph = "unknown" if len(away) == len(found) else "partial" if away and not shared else tone or "ok"
    capacity = "not known" if fullest.used_bytes is None or not fullest.total_bytes else fmt_of(fullest.used_bytes, fullest.total_bytes)
    return {
        "name": name, "type": kind, "used": meter("disk", fraction), "capacity": capacity, "glyph": glyph, "tone": glyph if glyph != "ok" else "ok",
        "word": f"not available on {listed(away)}" if away else "", "content": ", ".join(fullest.content), "where": "" if shared else f" on {fullest.node}",
    }  # fmt: skip


def storage_block(seen: Seen | None, fault: PveopsError | None) -> Block:
    """The storage table."""
    if seen is None:
        return _blank("storage", fault)
    rows = storage_rows(seen)
    sub = count(len(rows), "storage", "storages")
    if seen.storages.partial:
        sub += f". {told_gaps(seen.storages.gaps)}"
    return {
        "state": "ok" if rows else "empty",
        "sub": sub,
        "partial": seen.storages.partial,
        "rows": rows,
        "title": "No storage",
        "text": "The token sees no storage.",
    }


def _blank(what: str, fault: PveopsError | None) -> Block:
    """A part that has nothing to show yet, or never will without help."""
    if fault is None:
        return {"state": "loading", "text": "Reading the cluster"}
    return {
        "state": "error",
        "title": f"Cannot read {what}",
        "text": f"{sentence(fault.message)} {fault.hint}".strip(),
        "correlation": fault.correlation,
    }


blank = _blank

_GUEST_GLYPHS: Mapping[str, tuple[str, str]] = {
    "running": ("ok", "ok"),
    "stopped": ("pending", "t3"),
    "paused": ("wait", "info"),
    "suspended": ("wait", "info"),
}


def guest_row(guest: Guest) -> Block:
    """One guest as the table shows it."""
    glyph, tone = _GUEST_GLYPHS.get(guest.status, ("unknown", "unknown"))
    running = guest.status == "running"
    return {
        "vmid": guest.vmid, "name": guest.name or "", "kind": "template" if guest.template else "VM" if guest.kind == "qemu" else "container", "node": guest.node,
        "status": guest.status, "glyph": "none" if guest.template else glyph, "tone": "t3" if guest.template else tone,
        "cpu": meter("cpu", guest.cpu_fraction) if running else None, "mem": meter("memory", share(guest.mem_bytes, guest.maxmem_bytes)) if running else None,
        "up": fmt_duration(guest.uptime_s) if running and guest.uptime_s else "", "tags": list(guest.tags), "lock": guest.lock or "", "ha": guest.hastate or "",
    }  # fmt: skip
