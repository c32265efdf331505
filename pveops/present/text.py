"""The same things as text: for terminals, and wherever no widgets run. Says where a person can decide instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pveops.frames.display import heading, numeric, shown
from pveops.model.proposal import Preview
from pveops.present.words import clock, plain, sentence

if TYPE_CHECKING:
    from datetime import datetime

    from pveops.base.errors import PveopsError
    from pveops.model.resources import Gap
    from pveops.model.run import ProposalView
    from pveops.tools.registry import ToolResult

_WIDEST = 36
_MOST_ROWS = 40


class TurnLike(Protocol):
    """One turn of a conversation, as any agent gives it."""

    @property
    def notice(self) -> str:
        """What to know about who answers."""
        ...

    @property
    def said(self) -> Sequence[str]:
        """Words."""
        ...

    @property
    def found(self) -> Sequence[ToolResult]:
        """Findings."""
        ...

    @property
    def proposed(self) -> Sequence[ProposalView]:
        """Proposals that wait."""
        ...

    @property
    def faults(self) -> Sequence[PveopsError]:
        """What went wrong."""
        ...


def card_text(card: Mapping[str, Any]) -> str:
    """A card of ``card_view`` or ``draft_view``."""
    right = card["right"]
    when = f"expires {right['at']}" if "countdown_s" in right else right["text"]
    risk = f"{card['risk']['word']} {card['risk']['means']}"
    simulated = "simulated cluster" if card["simulated"] else ""
    head = "  ".join(part for part in (f"[{card['state']}]", card["id"], risk, simulated, when) if part)
    lines = [head, card["title"], f"  {card['text_lead']}"]
    if card["note"]:
        lines.append(f"  {card['note']['strong']} {card['note']['text']}".rstrip())
    lines += _steps(card["steps"])
    lines += [f"  {change['what']}: {change['before']} > {change['after']}  {change['by']}".rstrip() for change in card["changes"]]
    lines += [f"  {check['word']}: {check['text']}" for check in card["checks"]]
    lines += [f"  {fact['k']}: {plain(fact['v'])}" for fact in card["facts"]]
    lines += _rehearsal(card["rehearsal"])
    if card["message"]:
        lines.append(
            "  " + " ".join(part for part in (card["message"]["text"], card["message"]["hint"], card["message"]["correlation"]) if part)
        )
    return "\n".join([*lines, *_elsewhere(card)])


def _steps(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [(str(row["n"]), row.get("word", ""), plain(row["text"]), row.get("note", ""), row.get("right", "")) for row in rows]
    widths = [max((len(cell[index]) for cell in cells), default=0) for index in range(5)]
    lines = []
    for row, cell in zip(rows, cells, strict=True):
        lines.append("  " + "  ".join(part.ljust(width) for part, width in zip(cell, widths, strict=True) if width).rstrip())
        if row.get("call"):
            lines.append(f"     {row['verb']} {row['call']}")
        lines += [f"       | {line}" for line in row.get("log", ())]
    return lines


def _rehearsal(report: Mapping[str, Any] | None) -> list[str]:
    if report is None:
        return []
    lines = [f"  {report['title']}"]
    lines += [f"    {change['what']}: {change['before']} > {change['after']}  {change['by']}" for change in report["changes"]]
    return lines + [f"    {row['word']}: {row['text']}" for row in report["notes"]]


def _elsewhere(card: Mapping[str, Any]) -> list[str]:
    command = {"waiting": "Confirm elsewhere: pveops proposals approve", "running": "Follow it: pveops proposals watch",
               "unknown": "Decide elsewhere: pveops proposals show"}.get(card["state"])  # fmt: skip
    return [f"{command} {card['id']}"] if command else []


def result_text(result: ToolResult, *, most_rows: int = _MOST_ROWS) -> str:
    """What a read tool found, with its gaps and where it looked."""
    lines = [result.text]
    columns = columns_of(result)
    if columns and not (len(result.rows) == 1 and len(columns) < 2):
        table = [[heading(name) for name in columns]]
        table += [[_cut(shown(name, row.get(name))) for name in columns] for row in result.rows[:most_rows]]
        lines += aligned(table, [numeric(name) for name in columns])
    if len(result.rows) > most_rows:
        lines.append(f"… and {len(result.rows) - most_rows} more.")
    lines += [gap_text(gap) for gap in result.gaps]
    lines.append(f"Searched: {result.searched} at {clock(result.read_at, result.read_at, zone=True)}")
    return "\n".join(line for line in lines if line)


def columns_of(result: ToolResult) -> list[str]:
    """The columns worth showing: not the empty ones, and no bytes in use where their share stands beside them."""
    order = list(result.order) or list(result.rows[0] if result.rows else ())
    told = {f"{name.removesuffix('_fraction')}_bytes" for name in order if name.endswith("_fraction")}
    return [name for name in order if name not in told and any(row.get(name) not in (None, "") for row in result.rows)]


def aligned(table: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows of cells as lines, in columns; figures to the right."""
    widths = [max(len(row[index]) for row in table) for index in range(len(right))]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in table
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def gap_text(gap: Gap) -> str:
    """What is missing and why: ``Not seen: some guests, because the token may not see all of them. Needs VM.Audit on /vms``."""
    needs = f" Needs {gap.needs}." if gap.needs else ""
    return f"Not seen: {gap.what}, because {gap.why.rstrip('.')}.{needs}"


def preview_text(preview: Preview) -> str:
    """What a look before a change found."""
    order = {"fail": 0, "unknown": 1, "warn": 2, "ok": 3}
    checks = sorted(preview.checks, key=lambda check: order[check.result])
    head = "It would work now." if preview.ok else "It would not work now."
    lines = [f"{head} Checked at {clock(preview.read_at, preview.read_at, zone=True)} by the {preview.by}; nothing was written."]
    return "\n".join([*lines, *aligned([["", check.result, sentence(check.text)[:-1]] for check in checks], [False] * 3)])


def error_text(err: PveopsError) -> str:
    """One paragraph: what happened, what to do, the id to ask about."""
    lead = f"{err.kind}: {sentence(err.message)}"
    return " ".join(part for part in (lead, err.hint, err.correlation) if part)


def turn_text(turn: TurnLike, cards: Iterable[Mapping[str, Any]]) -> str:
    """A turn: notice, words, findings, proposals, faults. ``cards`` are those of its proposals."""
    found = [result_text(result) for result in turn.found]
    said = [text for text in turn.said if text not in {result.text for result in turn.found}]
    blocks = [turn.notice, *said, *found, *(card_text(card) for card in cards), *(error_text(err) for err in turn.faults)]
    return "\n\n".join(block for block in blocks if block)


def frame_caption(attrs: Mapping[str, Any], now: datetime) -> str:
    """What a table's own repr does not say: what is missing from it. Empty for a complete one."""
    gaps = attrs.get("gaps") or []
    told = "; ".join(f"{gap['what']} ({gap['why']}{', needs ' + gap['needs'] if gap.get('needs') else ''})" for gap in gaps)
    return f"Partial at {attrs.get('read_at') or clock(now, now)}. Not seen: {told}." if told else ""
