"""Small words that every surface says alike: times, counts, spans of text, what a step acts on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pveops.base.units import NBSP, fmt_duration, grouped
from pveops.model.plan import Plan, Step

Span = dict[str, str]
"""A piece of a line: ``t`` the text; ``s`` how it looks: absent (plain), ``b`` (strong), ``q`` (quiet), ``m`` (monospaced)."""

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NODE = re.compile(r"^/nodes/([^/]+)/")
_AFTER_A_NAME = {"to", "as", "back", "of", "on", "with"}


def span(text: str, style: str = "") -> Span:
    """A piece of a line."""
    return {"t": text, "s": style} if style else {"t": text}


def plain(spans: Sequence[Span]) -> str:
    """The text of a line."""
    return "".join(piece["t"] for piece in spans)


def clock(when: datetime | None, now: datetime, *, zone: bool = False) -> str:
    """``14:32:07`` today, else ``2026-11-20 14:32``, in UTC; ``zone`` says so. An absent time is ``never``."""
    if when is None:
        return "never"
    when = when.astimezone(UTC)
    text = when.strftime("%H:%M:%S") if when.date() == now.astimezone(UTC).date() else when.strftime("%Y-%m-%d %H:%M")
    return f"{text}{NBSP}UTC" if zone else text


def took(start: datetime | None, end: datetime | None) -> str:
    """How long it took; empty where one end is not known."""
    return "" if start is None or end is None else fmt_duration(max(0.0, (end - start).total_seconds()))


def count(number: int, noun: str, plural: str = "") -> str:
    """``3 guests``, ``1 guest``."""
    return f"{grouped(number)} {noun if number == 1 else plural or noun + 's'}"


def small(number: int) -> str:
    """``one`` to ``ten``, then figures."""
    return _SMALL[number] if number < len(_SMALL) else grouped(number)


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def steps_named(numbers: Sequence[int]) -> str:
    """``step 2``, ``steps 2 and 3``, ``steps 2 to 5``."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"steps {numbers[0]} to {numbers[-1]}"
    return f"step{'s' if len(numbers) > 1 else ''} {listed([str(number) for number in numbers])}"


def sentence(text: str) -> str:
    """With a capital first and a full stop last; a name like ``pve09`` or ``p-8c41`` keeps its small letter."""
    text = text.strip()
    if not text:
        return ""
    word = text.split(maxsplit=1)[0].rstrip(".,;:")
    first = text[0].upper() if word.isalpha() else text[0]
    return first + text[1:] + ("" if text[-1] in ".!?…" else ".")


def digest_short(digest: str) -> str:
    """The first eight digits of a digest, in two groups: ``e41b 9a07``."""
    return f"{digest[:4]} {digest[4:8]}"


def emphasised(text: str, subject: str) -> list[Span]:
    """A step's text with what it acts on set off: ``Migrate **231 web-12** to pve07``."""
    _, _, name = subject.rpartition("/")
    match = re.search(rf"(?<!\S){re.escape(name)}(?:\s+(?P<next>\S+))?(?!\S)", text) if name else None
    if match is None:
        return [span(text)]
    end = match.end() if match["next"] and match["next"] not in _AFTER_A_NAME else match.start() + len(name)
    pieces = [span(text[: match.start()]), span(text[match.start() : end], "b"), span(text[end:])]
    return [piece for piece in pieces if piece["t"]]


def node_of(step: Step) -> str:
    """The node that a step's call goes to."""
    match = _NODE.match(step.call.path)
    return match[1] if match else "the cluster"


def reach(plan: Plan) -> str:
    """``3 guests on 1 node, one restarts``."""
    guests = [subject for subject in plan.subjects if subject.startswith("guest/")]
    nodes = {node_of(step) for step in plan.steps}
    text = f"{count(len(guests) or len(plan.subjects), 'guest' if guests else 'target')} on {count(len(nodes), 'node')}"
    restarts = sum(step.call.path.endswith("/reboot") or ("restart", 1) in step.call.params for step in plan.steps)
    stops = sum(step.call.path.endswith("/shutdown") for step in plan.steps)
    if restarts:
        text += f", {small(restarts)} restart{'s' if restarts == 1 else ''}"
    if stops:
        text += f", {small(stops)} {'is' if stops == 1 else 'are'} shut down"
    return text


def kv(key: str, *value: Span | str, tone: str = "", glyph: str = "") -> dict[str, Any]:
    """A key with its value, as the card lists them; a status has tone and shape."""
    spans = [span(piece) if isinstance(piece, str) else piece for piece in value]
    return {"k": key, "v": spans, "tone": tone, "glyph": glyph} if tone else {"k": key, "v": spans}
