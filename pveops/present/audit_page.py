"""The audit ledger as one readable page that asks nobody for anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pveops.present.html import Node, el, page, table_html, text
from pveops.present.words import clock

_HEADS = {"seq": "No.", "at": "When", "who": "Who", "kind": "Record", "what": "What", "why": "Why", "proposal": "Proposal", "model": "Model",
          "prompt_sha256": "Prompt", "correlation": "Correlation", "hash": "Hash"}  # fmt: skip
_DIGITS = 8


def audit_page(rows: Sequence[Mapping[str, Any]], *, source: str, verdict: str, whole: bool, now: datetime) -> Node:
    """Rows of the ledger as a document.

    Args:
        rows: as ``guard.audit.query.rows`` gives them.
        source: where they are from.
        verdict: what verification says about the ledger they are from.
        whole: whether it is good.
        now: when the page was made.
    """
    shown = [{_HEADS[name]: _cell(name, value) for name, value in row.items()} for row in rows]
    table = (
        table_html(tuple(_HEADS.values()), shown, caption="Audit records", most_rows=len(shown)) if shown else el("p", text("No records."))
    )
    body = page(
        el("h1", text("Audit ledger")),
        el("p", text(verdict), class_="said" if whole else "sec note error"),
        table,
        el("p", text(f"{len(rows)} records of {source}, exported at {clock(now, now, zone=True)}."), class_="t3 sm"),
    )
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Audit ledger</title>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _cell(name: str, value: Any) -> Any:
    if name in ("hash", "prompt_sha256"):
        return str(value)[:_DIGITS]
    if name == "at":
        return str(value).replace("T", " ").replace("Z", " UTC")
    return value
