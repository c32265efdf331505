"""What a query means for one line, in Python: for live lines, and as the measure of the stores."""

from __future__ import annotations

import re
from functools import lru_cache

from pveops.clients.logs.language import Both, Either, Everything, Has, Is, Pattern, Phrase, Query, Within, Without
from pveops.model.logs import LogLine, tokens


def matches(query: Query, line: LogLine) -> bool:
    """Whether a line is one of those that are asked for."""
    match query:
        case Everything():
            return True
        case Both(parts):
            return all(matches(part, line) for part in parts)
        case Either(parts):
            return any(matches(part, line) for part in parts)
        case Without(part):
            return not matches(part, line)
        case Phrase(words):
            return _phrase_in(words, tuple(tokens(line.message)))
        case Pattern(glob):
            fits = glob_pattern(glob)
            return any(fits.fullmatch(word) for word in tokens(line.message))
        case Has(field):
            return _value(line, field) not in (None, "")
        case Is(field, value, glob):
            own = _value(line, field)
            return bool(glob_pattern(str(value)).fullmatch(str(own or ""))) if glob else own == value
        case Within():
            return _within(query, _value(line, query.field))


@lru_cache(maxsize=512)
def glob_pattern(glob: str) -> re.Pattern[str]:
    r"""A pattern with ``*`` and ``?`` (``\\`` before a character takes its meaning away) as a regular expression."""
    parts = re.findall(r"\\.|.", glob, re.DOTALL)
    return re.compile("".join({"*": ".*", "?": "."}.get(part) or re.escape(part.removeprefix("\\") or "\\") for part in parts), re.DOTALL)


def _value(line: LogLine, field: str) -> str | int | None:
    found: str | int | None = getattr(line, "time_ms" if field == "time" else field)
    return found


def _phrase_in(words: tuple[str, ...], text: tuple[str, ...]) -> bool:
    size = len(words)
    return any(text[at : at + size] == words for at in range(len(text) - size + 1))


def _within(query: Within, value: str | int | None) -> bool:
    if not isinstance(value, int):
        return False
    above = query.low is None or value > query.low or (query.with_low and value == query.low)
    below = query.high is None or value < query.high or (query.with_high and value == query.high)
    return above and below
