"""Inert HTML: for exports, mails and front ends without widgets. Everything that comes from outside is escaped; there are no buttons."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pveops.base.errors import PveopsError
from pveops.frames.display import heading, numeric, shown
from pveops.model.proposal import Preview
from pveops.model.resources import Gap
from pveops.present.text import TurnLike, columns_of, gap_text
from pveops.present.tokens import icons, static, unscripted_css
from pveops.present.words import clock, sentence
from pveops.tools.registry import ToolResult

Node = str
_VOID = frozenset({"br", "hr"})
_LONG = 48
"""Longer texts are broken into lines."""
_MOST_ROWS = 200
_CHECK = {"ok": ("ok", "ok"), "warn": ("warn", "warn"), "fail": ("error", "error"), "unknown": ("unknown", "unknown")}
_STATUS = {"ok": ("ok", "ok"), "partial": ("partial", "partial"), "no_data": ("", "pending"), "error": ("error", "error")}


def text(value: object) -> Node:
    """Escaped text."""
    return html.escape(str(value), quote=True)


def el(tag: str, *children: Node, **attributes: str | bool | None) -> Node:
    """An element. Children are HTML already (see ``text``); attribute values are escaped here; ``class_`` is ``class``."""
    parts = [tag]
    for name, value in attributes.items():
        if value in (None, False, ""):
            continue
        key = name.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{html.escape(str(value), quote=True)}"')
    opening = f"<{' '.join(parts)}>"
    return opening if tag in _VOID else f"{opening}{''.join(children)}</{tag}>"


def glyph(name: str, tone: str = "") -> Node:
    """A status shape; hidden from screen readers, which read the word beside it."""
    return _svg("glyph", name, f"g {tone}".strip(), "0 0 14 14")


def icon(name: str) -> Node:
    """An icon."""
    return _svg("icon", name, "i s", "0 0 16 16") if name else ""


def _svg(kind: str, name: str, class_: str, box: str) -> Node:
    shapes = "".join(el(tag, **{key: str(value) for key, value in attributes.items()}) for tag, attributes in _shapes(kind, name))
    return f'<svg class="{class_}" viewBox="{box}" aria-hidden="true">{shapes}</svg>'


def _shapes(kind: str, name: str) -> Iterable[tuple[str, dict[str, str]]]:
    return ((tag, dict(attributes)) for tag, attributes in icons()[kind][name])


@lru_cache(maxsize=1)
def style() -> Node:
    """The style of everything here, for once per document or output. It touches nothing outside ``.pv``."""
    return f"<style>{unscripted_css()}{static('frame.css').decode()}.pv.pv{{{static('look.css').decode()}}}</style>"


def page(*parts: Node) -> Node:
    """Parts with the style they need."""
    return style() + el("div", *parts, class_="pv inert")


def spans(pieces: Sequence[Mapping[str, str]]) -> Node:
    """A line of spans."""
    tags = {"b": ("b", "m"), "q": ("span", "t3"), "m": ("span", "mono")}
    return "".join(
        el(tags[piece["s"]][0], text(piece["t"]), class_=tags[piece["s"]][1]) if "s" in piece else text(piece["t"]) for piece in pieces
    )


def card_html(card: Mapping[str, Any]) -> Node:
    """A card in the state it was saved in, without anything to press."""
    right = card["right"]
    when = f"expires {right['at']}" if "countdown_s" in right else right["text"]
    head = el(
        "div",
        el("span", glyph(card["glyph"]), text(card["word"]), class_=f"st {card['tone']}"),
        _risk(card["risk"]),
        el("span", text(card["id"] or "draft"), class_="mono t3"),
        _simulated(card),
        el("span", text(when), class_="sp t2"),
        class_="chd",
    )
    body = [
        el("h3", text(card["title"])),
        el("p", icon(card["lead_icon"]), " " if card["lead_icon"] else "", spans(card["lead"]), class_="lead"),
    ]
    if card["note"]:
        body.append(
            el(
                "div",
                el("b", text(card["note"]["strong"]), class_="m"),
                " ",
                text(card["note"]["text"]),
                class_=f"sec note {card['note']['tone']}",
            )
        )
    body += [
        _steps(card),
        _changes(card["changes"]),
        _checks(card),
        _facts(card["facts"]),
        _rehearsal(card["rehearsal"]),
        _message(card["message"]),
        _record(card["record"]),
    ]
    foot = el("div", *(el("span", spans(piece)) for piece in card["foot"]), class_="foot")
    return el(
        "section",
        head,
        el("div", *body, class_="cb0"),
        foot,
        class_="card",
        data_s=card["state"],
        aria_label=f"{card['title']}, {card['word']}",
    )


def _simulated(card: Mapping[str, Any]) -> Node:
    return el("span", text("simulated cluster"), class_="chip") if card["simulated"] else ""


def _risk(risk: Mapping[str, Any]) -> Node:
    bars = "".join(el("b", class_="f" if number < int(risk["steps"]) else None) for number in range(4))
    return el(
        "span",
        el("span", bars, class_="steps4", aria_hidden="true"),
        text(risk["word"]),
        " ",
        el("i", text(risk["means"])),
        class_=f"risk {risk['tier']}",
    )


def _section(title: str, *inner: Node) -> Node:
    return el("div", el("h4", text(title)) if title else "", *inner, class_="sec")


def _steps(card: Mapping[str, Any]) -> Node:
    if not card["steps"]:
        return ""
    return _section(card["steps_title"], el("ol", *(_step(row) for row in card["steps"]), class_="stp"))


def _step(row: Mapping[str, Any]) -> Node:
    mark = glyph(row["glyph"], row["tone"]) if row.get("glyph") else text(row["n"])
    said = el("span", text(f"{row['word']}: "), class_="vh") if row.get("word") else ""
    note = el("span", text(f" {row['note']}"), class_="t3") if row.get("note") else ""
    parts = [el("span", mark, class_="no"), el("span", said, spans(row["text"]), note), el("span", text(row.get("right", "")), class_="e")]
    if row.get("call"):
        parts.append(el("span", el("span", text(row["verb"]), class_="verb"), " ", text(row["call"]), class_="w"))
    if row.get("log"):
        parts.append(el("div", "<br>".join(text(line) for line in row["log"]), class_="log"))
    return el("li", *parts)


def _changes(changes: Sequence[Mapping[str, str]], title: str = "Expected change") -> Node:
    rows = [
        el(
            "tr",
            el("td", text(change["what"])),
            el("td", text(change["before"]), class_="old r"),
            el("td", icon("chevron-right"), class_="ar", aria_label="becomes"),
            el("td", text(change["after"]), class_="new"),
            el("td", text(change["by"]), class_="t3 sm r"),
        )
        for change in changes
    ]
    return _section(title, el("div", el("table", el("tbody", *rows), class_="df"), class_="box")) if rows else ""


def _checks(card: Mapping[str, Any]) -> Node:
    items = [
        el("li", glyph(check["glyph"], check["tone"]), el("span", el("span", text(f"{check['word']}: "), class_="vh"), text(check["text"])))
        for check in card["checks"]
    ]
    return _section(card["checks_title"], el("ul", *items, class_="ck")) if items else ""


def _rehearsal(report: Mapping[str, Any] | None) -> Node:
    if report is None:
        return ""
    items = [
        el("li", glyph(row["glyph"], row["tone"]), el("span", el("span", text(f"{row['word']}: "), class_="vh"), text(row["text"])))
        for row in report["notes"]
    ]
    return _section(report["title"], _changes(report["changes"], ""), el("ul", *items, class_="ck one") if items else "")


def _facts(facts: Sequence[Mapping[str, Any]]) -> Node:
    pairs = "".join(el("dt", text(fact["k"])) + _value(fact) for fact in facts)
    return el("dl", pairs, class_="kv sec") if pairs else ""


def _value(fact: Mapping[str, Any]) -> Node:
    if not fact.get("tone"):
        return el("dd", spans(fact["v"]))
    return el("dd", el("span", glyph(fact["glyph"], fact["tone"]), spans(fact["v"]), class_=f"st {fact['tone']}"))


def _message(message: Mapping[str, str] | None) -> Node:
    if not message:
        return ""
    words = " ".join(message[key] for key in ("text", "hint") if message[key])
    return el("div", text(words), " ", el("span", text(message["correlation"]), class_="mono"), class_=f"sec note {message['tone']}")


def _record(rows: Sequence[Mapping[str, str]]) -> Node:
    lines = [
        el("tr", *(el("td", text(row[key]), class_="mono t3" if key == "seq" else None) for key in ("seq", "at", "kind", "actor", "text")))
        for row in rows
    ]
    return _section("Record", el("div", el("table", el("tbody", *lines), class_="df"), class_="box")) if lines else ""


def table_html(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    caption: str = "",
    most_rows: int = _MOST_ROWS,
    names: bool = False,
    count: int = 0,
) -> Node:
    """Records as a table; figures to the right, absent values empty, long tables cut and said so.

    Args:
        columns: in order.
        rows: by column.
        caption: for those who do not see it.
        most_rows: the others are only counted.
        names: head the columns with the names that code uses.
        count: how many rows there are, where ``rows`` are only the first.
    """
    head = el(
        "tr", *(el("th", text(name if names else heading(name)), scope="col", class_="r" if numeric(name) else None) for name in columns)
    )
    body = [el("tr", *(_cell(name, shown(name, row.get(name))) for name in columns)) for row in rows[:most_rows]]
    total = max(count, len(rows))
    more = el("p", text(f"… and {total - most_rows} more rows."), class_="t3 sm") if total > most_rows else ""
    label = el("caption", text(caption), class_="vh") if caption else ""
    return el("div", el("table", label, el("thead", head), el("tbody", *body), class_="c"), class_="box scroll") + more


def _cell(name: str, said: str) -> Node:
    return el("td", text(said), class_="r" if numeric(name) else "w" if len(said) > _LONG else None)


def result_html(result: ToolResult) -> Node:
    """What a read tool found: the sentence, the table, what was not seen, where and when was looked."""
    tone, shape = _STATUS[result.status]
    columns = columns_of(result)
    parts = [el("p", glyph(shape, tone) + " " if result.status != "ok" else "", text(result.text), class_="said")]
    if columns and result.rows:
        parts.append(table_html(columns, result.rows, caption=result.text))
    parts += [gap_html(gap) for gap in result.gaps]
    parts.append(el("p", text(f"Searched {result.searched} at {clock(result.read_at, result.read_at, zone=True)}"), class_="t3 sm"))
    return el("div", *parts, class_="result")


def gap_html(gap: Gap) -> Node:
    """Something that was not seen."""
    return el("p", glyph("partial", "partial"), " ", text(gap_text(gap)), class_="sm partial")


def preview_html(preview: Preview) -> Node:
    """What a look before a change found."""
    head = "It would work now." if preview.ok else "It would not work now."
    items = [el("li", glyph(_CHECK[check.result][1], _CHECK[check.result][0]), el("span", el("span", text(f"{check.result}: "), class_="vh"), text(sentence(check.text)[:-1])))
             for check in preview.checks]  # fmt: skip
    when = el(
        "p",
        text(f"Checked at {clock(preview.read_at, preview.read_at, zone=True)} by the {preview.by}. Nothing was written."),
        class_="t3 sm",
    )
    return el("div", el("p", text(head), class_="b"), el("ul", *items, class_="ck"), when, class_="result")


def error_html(err: PveopsError) -> Node:
    """One paragraph: what happened, what to do, the id to ask about."""
    tail = " ".join(part for part in (err.hint,) if part)
    return el(
        "p", glyph("error", "error"), " ", el("b", text(sentence(err.message)), class_="m"), " ", text(tail), " ",
        el("span", text(err.correlation), class_="mono t3"), class_="note error", role="alert",
    )  # fmt: skip


def words_html(turn: TurnLike) -> Node:
    """A turn without its proposals: notice, words, findings, faults."""
    found = {result.text for result in turn.found}
    parts = [el("p", text(turn.notice), class_="t3 sm")] if turn.notice else []
    parts += [el("p", text(said), class_="said") for said in turn.said if said not in found]
    parts += [result_html(result) for result in turn.found]
    parts += [error_html(err) for err in turn.faults]
    return el("div", *parts, class_="turn")


def turn_html(turn: TurnLike, cards: Iterable[Mapping[str, Any]]) -> Node:
    """A whole turn, inert."""
    return words_html(turn) + "".join(card_html(card) for card in cards)
