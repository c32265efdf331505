"""The language of log queries: a strict part of Lucene's, with one meaning on every store.

Words and phrases stand for adjacent words of a line; ``*`` and ``?`` may stand in a single word; ``field:value``, ranges, ``AND``, ``OR``,
``NOT`` and parentheses. Words beside each other must all be there. What other engines would guess at is refused with a suggestion.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from luqum import tree
from luqum.exceptions import ParseError
from luqum.parser import parser

from pveops.base.clock import from_iso
from pveops.base.errors import InputError
from pveops.model.logs import FIELDS, SEVERITIES, tokens

_ESCAPED = re.compile(r"\\(.)")
_WILD = re.compile(r"(?<!\\)[*?]")
_MOST = 200
"""No question of a person has more parts."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Every line."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """These words, next to each other, in the message."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A single word of the message that fits: ``*`` any characters, ``?`` one."""

    glob: str


@dataclass(frozen=True, slots=True)
class Is:
    """A field has this value, upper and lower case alike told apart; a text may hold ``*`` and ``?`` when ``glob``."""

    field: str
    value: str | int
    glob: bool = False


@dataclass(frozen=True, slots=True)
class Has:
    """A field is known."""

    field: str


@dataclass(frozen=True, slots=True)
class Within:
    """A number or time between bounds; ``None`` is no bound."""

    field: str
    low: int | None
    high: int | None
    with_low: bool = True
    with_high: bool = True


@dataclass(frozen=True, slots=True)
class Both:
    """All of them."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of them at least."""

    parts: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Without:
    """Not that."""

    part: Query


Query = Everything | Phrase | Pattern | Is | Has | Within | Both | Either | Without


@lru_cache(maxsize=256)
def parse(text: str) -> Query:
    """What a query means.

    Raises:
        InputError: it is not of the language; with what to write instead.
    """
    if not isinstance(text, str):
        raise InputError(f"A query is a text, not {text!r}.", hint="Write for example error AND host:pve1.")
    if not text.strip():
        return Everything()
    try:
        found = parser.parse(text)
    except (ParseError, ArithmeticError) as err:  # `a~.` and `a^.`: numbers that Decimal refuses
        hint = 'Check quotes and parentheses; put what holds : / [ ] or quotes into "…".'
        raise InputError(
            f"The query {text!r} cannot be read: {str(err).rstrip(' !.') if isinstance(err, ParseError) else 'a number is broken'}.",
            hint=hint,
        ) from err
    if sum(1 for _ in _walk(found)) > _MOST:
        raise InputError(f"The query has more than {_MOST} parts.", hint="Ask in several queries.")
    return _query(found, "message")


def _walk(node: Any) -> Any:
    yield node
    for child in node.children:
        yield from _walk(child)


def _query(node: Any, field: str) -> Query:
    for kind, read in _READERS:
        if isinstance(node, kind):
            found: Query = read(node, field)
            return found
    raise _refused(node)


def _search_field(node: Any, field: str) -> Query:
    name = node.name
    if field != "message" or name not in FIELDS:
        near = get_close_matches(name, FIELDS, 1)
        meant = f"Did you mean {near[0]}? " if near else ""
        raise InputError(
            f"There is no field called {name}.", hint=f'{meant}Fields: {", ".join(FIELDS)}. For the text itself write "{node}".'
        )
    return _query(node.expr, name)


def _both(node: Any, field: str) -> Query:
    _no_mix(node, tree.OrOperation)
    return Both(tuple(_query(part, field) for part in node.children))


def _either(node: Any, field: str) -> Query:
    _no_mix(node, tree.AndOperation, tree.UnknownOperation)
    return Either(tuple(_query(part, field) for part in node.children))


def _no_mix(node: Any, *others: type) -> None:
    if any(isinstance(part, others) for part in node.children):
        raise InputError(f"{str(node)!r} mixes AND and OR.", hint="Set parentheses: a AND (b OR c).")


def _side_by_side(node: Any, field: str) -> Query:
    for part in node.children:
        if isinstance(part, tree.Word) and part.value in ("&&", "||", "and", "or", "not"):
            right = {"&&": "AND", "||": "OR"}.get(part.value, part.value.upper())
            raise InputError(f"{part.value} is no operator here.", hint=f'Write {right}, or "{part.value}" for the word itself.')
    return _both(node, field)


def _without(node: Any, field: str) -> Query:
    return Without(_query(node.children[0], field))


def _inside(node: Any, field: str) -> Query:
    return _query(node.children[0], field)


def _word(node: Any, field: str) -> Query:
    text = node.value
    if text == "*":
        return Everything() if field == "message" else Has(field)
    if text.startswith("!"):
        raise InputError(f"{text} is no word.", hint=f"Write NOT {text[1:]}.")
    wild = bool(_WILD.search(text))
    if FIELDS[field] == "text":
        return _wild_word(text) if wild else _phrase(_ESCAPED.sub(r"\1", text))
    if FIELDS[field] == "word":
        return Is(field, text if wild else _ESCAPED.sub(r"\1", text), glob=wild)
    if wild:
        raise InputError(f"{field}:{text} asks for a pattern in a {FIELDS[field]}.", hint=f"Write {field}:[low TO high].")
    return _exactly(field, _value(field, text))


def _exactly(field: str, value: int) -> Query:
    return Is(field, value) if FIELDS[field] == "number" else Within(field, value, value)


def _wild_word(text: str) -> Query:
    glob = text.lower()
    if not all(character in "*?" or tokens(character) for character in glob):
        raise InputError(f"{text} is a pattern over several words.", hint="Patterns stand in one word; join words with AND.")
    return Pattern(glob)


def _quoted(node: Any, field: str) -> Query:
    text = _ESCAPED.sub(r"\1", node.value[1:-1])
    if FIELDS[field] == "text":
        return _phrase(text)
    if not text:
        raise InputError(f'{field}:"" asks for nothing.', hint=f"Write NOT {field}:* for lines without one.")
    return Is(field, text) if FIELDS[field] == "word" else _exactly(field, _value(field, text))


def _phrase(text: str) -> Query:
    words = tuple(tokens(text))
    if not words:
        raise InputError(f"{text!r} holds no word to look for.", hint="Words are letters, digits and _.")
    return Phrase(words)


def _range(node: Any, field: str) -> Query:
    low, high = (None if bound.value == "*" else _value(field, bound.value) for bound in (node.low, node.high))
    return Within(field, low, high, node.include_low, node.include_high)


def _from(node: Any, field: str) -> Query:
    return Within(field, _value(field, node.a.value), None, with_low=node.include)


def _to(node: Any, field: str) -> Query:
    return Within(field, None, _value(field, node.a.value), with_high=node.include)


def _value(field: str, given: str) -> int:
    text = _ESCAPED.sub(r"\1", given).strip('"')
    kind = FIELDS[field]
    if kind in ("text", "word"):
        raise InputError(f"A range of {field} has no meaning.", hint="Ranges are for severity, vmid and time.")
    if kind == "time":
        try:
            return int(from_iso(text if "T" in text else f"{text}T00:00+00:00").timestamp() * 1000)
        except ValueError as err:
            raise InputError(f"{text!r} is no time with a zone.", hint='Write "2026-11-21T14:00:00Z".') from err
    if field == "severity" and text in SEVERITIES:
        return SEVERITIES.index(text)
    if not re.fullmatch(r"-?\d{1,18}", text):
        names = f" or one of {', '.join(SEVERITIES)}" if field == "severity" else ""
        raise InputError(f"{text!r} is no {field}.", hint=f"Write a number{names}.")
    return int(text)


def _refused(node: Any) -> InputError:
    why = {
        tree.Regex: ("A regular expression", 'Use * and ? in a word; put a path into quotes: "/etc/pve".'),
        tree.Fuzzy: ("A fuzzy word", "Use * and ? in a word."),
        tree.Proximity: ("Words near each other", 'Use a phrase "…", or AND.'),
        tree.Boost: ("A weight", "Leave it out: lines come by time, not by weight."),
    }
    what, hint = next((words for kind, words in why.items() if isinstance(node, kind)), (str(node), "See docs/logs.md."))
    return InputError(f"{what} ({node}) has not the same meaning on every store.", hint=hint)


_READERS: tuple[tuple[Any, Any], ...] = (
    (tree.SearchField, _search_field),
    (tree.UnknownOperation, _side_by_side),
    (tree.AndOperation, _both),
    (tree.OrOperation, _either),
    ((tree.Not, tree.Prohibit), _without),
    ((tree.Group, tree.FieldGroup, tree.Plus), _inside),
    (tree.Phrase, _quoted),
    (tree.Word, _word),
    (tree.Range, _range),
    (tree.From, _from),
    (tree.To, _to),
)


def moment_ms(moment: datetime) -> int:
    """Unix milliseconds."""
    return round(moment.timestamp() * 1000)
