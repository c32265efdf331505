"""The report of a rehearsal in the words that cards and terminals share."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pveops.base.units import fmt_bytes, fmt_duration, fmt_pct
from pveops.model.phases import RunStatus
from pveops.model.rehearsal import Capacity, Rehearsal
from pveops.present.words import clock, sentence

_LOOKS = {RunStatus.DONE: ("ok", "ok"), RunStatus.WARNED: ("warn", "warn"), RunStatus.FAILED: ("error", "error")}
_KINDS = {"memory": "memory", "cpu": "CPU", "storage": ""}


def rehearsal_view(report: Rehearsal | None, now: datetime) -> dict[str, Any] | None:
    """What the card shows of it; none where nobody rehearsed.

    ``short`` stands among the facts of the card, ``notes`` are what failed, warnings and what was not known, ``changes`` are before and after.
    """
    if report is None:
        return None
    tone, glyph = _LOOKS.get(report.outcome, ("unknown", "unknown"))
    good = report.outcome in (RunStatus.DONE, RunStatus.WARNED)
    notes = (
        []
        if good
        else [note("error" if tone == "error" else "unknown", report.outcome.value, report.text.partition(". ")[2] or report.text)]
    )
    notes += [note("warn", "warning", text) for text in report.warnings]
    notes += [note("unknown", "not known", text) for text in report.not_known]
    return {
        "tone": tone,
        "glyph": glyph,
        "word": report.outcome.value,
        "short": f"{report.good} of {len(report.steps)} in the simulated copy",
        "title": f"{_whose(report, now)} on a copy of {clock(report.looked_at, now)}; took {fmt_duration(report.took_s)} there",
        "changes": [change(part) for part in report.capacity],
        "notes": notes,
    }


def _whose(report: Rehearsal, now: datetime) -> str:
    return f"Rehearsed by {report.by} at {clock(report.at, now)}" if report.by else "Rehearsed"


def note(tone: str, word: str, text: str) -> dict[str, str]:
    """A line: its tone is its shape too."""
    return {"tone": tone, "glyph": tone, "word": word, "text": sentence(text)[:-1]}


def change(part: Capacity) -> dict[str, str]:
    """How full something is before and after."""
    by = part.after - part.before
    size = f"{by * part.total:+.1f} threads".replace("-", "\u2212") if part.kind == "cpu" else fmt_bytes(by * part.total, signed=True)
    what = f"{part.where} {_KINDS[part.kind]}".strip()
    return {"what": what, "before": fmt_pct(part.before), "after": fmt_pct(part.after), "by": size}


def rehearsal_lines(report: Rehearsal, now: datetime) -> list[str]:
    """The same as text."""
    view = rehearsal_view(report, now) or {}
    lines = [f"Rehearsed: {view['short']} ({view['word']})"]
    lines += [f"  {row['what']}: {row['before']} becomes {row['after']}, {row['by']}" for row in view["changes"]]
    lines += [f"  {row['word']}: {row['text']}" for row in view["notes"]]
    return [*lines, f"  {view['title']}"]
