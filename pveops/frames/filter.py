"""A small strict language over tables: ``status:stopped tag:prod mem>8G -name:test-*``. One meaning for DataFrames, tools and the command line.

All terms must hold. ``field:value`` compares texts (``*`` and ``?`` stand for anything, commas for "or", quotes take all signs as they are,
``none`` is an absent value), ``field>number`` compares numbers with their unit, a bare word is the name or id, and ``-`` or ``not`` in front
turns a term round. A number that is not known fits neither a term nor its opposite.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pveops.base.errors import InputError, UnknownName
from pveops.base.moments import parse_moment
from pveops.base.units import parse_bytes, parse_duration_s
from pveops.model.resources import Gap

Kind = Literal["text", "parts", "number", "flag", "time"]

_TOKEN = re.compile(r'(?:"[^"]*"|[^\s"])+')
_TERM = re.compile(r"^([A-Za-z][A-Za-z0-9_]*)(:|>=|<=|!=|>|<|=)(.*)$", re.DOTALL)
_VALUE = re.compile(r'"[^"]*"|[^,"]+')
_NUMBER = re.compile(r"^-?\d+(?:\.\d+)?$")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ":": operator.eq, "=": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_UNITS = ("_bytes_per_s", "_bytes", "_fraction", "_s", "_days")
_HAS = {"mem": "maxmem_bytes", "disk": "maxdisk_bytes"}
"""What these mean with a size: what a guest or node has, not what it uses."""
_ALIASES = {"tag": "tags", "id": "vmid", "type": "kind"}
_PARTED = frozenset({"tags", "content"})
_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
Choices = Mapping[str, tuple[str, ...]]
_CHOICES: Mapping[str, Choices] = {
    "guests": {"kind": ("qemu", "lxc"), "status": ("running", "stopped", "paused", "suspended", "unknown")},
    "nodes": {"status": ("online", "offline", "unknown")},
    "storage": {"status": ("available", "unknown")},
    "tasks": {"outcome": ("running", "done", "warnings", "failed", "unknown")},
    "backups": {"kind": ("qemu", "lxc"), "verified": ("ok", "failed")},
}
"""By table and column, where only these words can stand: another one is a slip."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one column."""

    column: str
    test: Callable[[Any], bool]
    negated: bool = False
    needs_value: bool = False
    """Whether an absent value leaves it open."""

    def holds(self, value: Any) -> bool | None:
        """Whether a value fits; ``None`` where that is not known."""
        if value is None and self.needs_value:
            return None
        return self.test(value) is not self.negated


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter that was understood."""

    text: str
    terms: tuple[Term, ...]

    def holds(self, row: Mapping[str, Any]) -> bool | None:
        """Whether a row fits; ``None`` where a value that decides it is not known."""
        found = [term.holds(row[term.column]) for term in self.terms]
        return False if False in found else None if None in found else True

    def sift(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], tuple[Gap, ...]]:
        """Places of the rows that fit, and what could not be decided."""
        found = [self.holds(row) for row in rows]
        return [place for place, fits in enumerate(found) if fits], self._gaps(rows, found)

    def _gaps(self, rows: Sequence[Mapping[str, Any]], found: Sequence[bool | None]) -> tuple[Gap, ...]:
        count: dict[str, int] = {}
        for row, fits in zip(rows, found, strict=True):
            if fits is None:
                for name in {term.column for term in self.terms if term.needs_value and row[term.column] is None}:
                    count[name] = count.get(name, 0) + 1
        return tuple(Gap(what=f"{number} rows", why=f"their {name} is not known") for name, number in sorted(count.items()))


@dataclass(frozen=True, slots=True)
class _Table:
    """What terms are read against."""

    columns: Mapping[str, Kind]
    choices: Choices
    now: datetime


def parse_filter(text: str, columns: Mapping[str, Kind], *, table: str = "", now: datetime | None = None) -> Filter:
    """A filter over a table with these columns; of tables that are known by name it is also known which words can stand where.

    Raises:
        UnknownName: there is no such field; those that sound like it are offered.
        InputError: a term cannot be read, or compares what cannot be compared.
    """
    if not isinstance(text, str):
        raise InputError(f"A filter is a text, not {text!r}.", hint="Write for example status:stopped tag:prod mem>8G.")
    if text.count('"') % 2:
        raise InputError(f"A quote in {text!r} is not closed.")
    over = _Table(columns, _CHOICES.get(table, {}), now or datetime.now(UTC))
    terms: list[Term] = []
    turned = False
    for token in _TOKEN.findall(text):
        if token.lower() in ("and", "or"):
            raise InputError(
                f"{token!r} has no meaning here: all terms must hold.", hint="For one or the other write commas: status:stopped,paused."
            )
        if token.lower() == "not":
            if turned:
                raise InputError("Two not in a row.")
            turned = True
            continue
        terms.append(_term(token.removeprefix("-"), over, negated=turned is not token.startswith("-")))
        turned = False
    if turned:
        raise InputError("Nothing follows not.")
    return Filter(text, tuple(terms))


def kinds_of(columns: Iterable[tuple[str, str]]) -> dict[str, Kind]:
    """Kinds of columns from pairs of name and dtype."""
    return {name: _kind(name, dtype.lower()) for name, dtype in columns}


def _kind(name: str, dtype: str) -> Kind:
    if dtype.startswith("datetime"):
        return "time"
    if dtype.startswith("bool"):
        return "flag"
    if dtype.startswith(("int", "float", "uint")):
        return "number"
    return "parts" if name in _PARTED else "text"


def _term(token: str, over: _Table, *, negated: bool) -> Term:
    match = _TERM.match(token)
    if match is None:
        return _bare(token, over, negated=negated)
    field, op, rest = match.groups()
    values = _values(rest, f"Write {field}{op}value, without blanks around {op}.")
    column = _column(field, values, over.columns, token)
    kind = over.columns[column]
    negated = negated is not (op == "!=")
    if kind in ("text", "parts") or (op in (":", "=", "!=") and values == ["none"]):
        return _text_term(column, kind, op, values, over.choices.get(column, ()), negated=negated)
    if len(values) > 1 and op not in (":", "=", "!="):
        raise InputError(f"{token!r} compares with several values.", hint=f"Commas go with {field}:1,2 only.")
    read = _readers(column, field, op, kind, over.now)
    wanted = tuple(read(value.strip('"')) for value in values)
    compare = operator.eq if op == "!=" else _COMPARE[op]
    return Term(column, lambda value: any(compare(value, one) for one in wanted), negated, needs_value=True)


def _bare(token: str, over: _Table, *, negated: bool) -> Term:
    if not token.strip('"'):
        raise InputError("A sign stands alone.", hint="Write -tag:prod or not tag:prod.")
    if token[0] in ":<>=!":
        raise InputError(f"{token!r} lacks its field.", hint="Write terms without blanks: mem>8G.")
    column = "vmid" if token.replace(",", "").isdigit() and "vmid" in over.columns else "name"
    if column not in over.columns:
        raise InputError(f"{token!r} is no term, and this table has no names.", hint=f"Write field:value. Fields: {_known(over.columns)}.")
    return _text_term(column, "text", ":", _values(token, "Write names without commas at their ends."), (), negated=negated)


def _values(text: str, hint: str) -> list[str]:
    found = _VALUE.findall(text)
    if not found or ",".join(found) != text:
        raise InputError(f"{text!r} is no value." if text else "A value is missing.", hint=hint)
    return found


def _text_term(column: str, kind: Kind, op: str, values: Sequence[str], choices: tuple[str, ...], *, negated: bool) -> Term:
    if op not in (":", "=", "!="):
        raise InputError(f"{column} is a text, so {op} has no meaning.", hint=f"Write {column}:value.")
    patterns = [None if value.lower() == "none" else _pattern(column, value, choices) for value in values]

    def test(value: Any) -> bool:
        parts = [] if value is None else str(value).split(";") if kind == "parts" else [str(value)]
        return any(not parts if one is None else any(one.fullmatch(part) for part in parts) for one in patterns)

    return Term(column, test, negated)


def _pattern(column: str, value: str, choices: tuple[str, ...]) -> re.Pattern[str]:
    plain = value.strip('"')
    if value.startswith('"'):
        return re.compile(re.escape(plain), re.IGNORECASE | re.DOTALL)
    if choices and not set(plain) & set("*?") and plain.lower() not in choices:
        near = difflib.get_close_matches(plain.lower(), choices, n=1, cutoff=0.5)
        raise InputError(
            f"{column} is never {plain!r}.", hint=f"Did you mean {near[0]}?" if near else f"It is one of {', '.join(choices)}."
        )
    return re.compile(re.escape(plain).replace(r"\*", ".*").replace(r"\?", "."), re.IGNORECASE | re.DOTALL)


def _column(field: str, values: Sequence[str], columns: Mapping[str, Kind], token: str) -> str:
    """The column that is meant: by its whole name, by its name without the unit, or by what the unit of the value says."""
    if field in columns:
        return field
    if _ALIASES.get(field) in columns:
        return _ALIASES[field]
    fitting = [name for name in columns if _stem(name) == field]
    if field in _HAS and _HAS[field] in columns:
        fitting = [name for name in fitting if not name.endswith("_bytes")] + [_HAS[field]]
    if not fitting:
        near = difflib.get_close_matches(field, {*columns, *map(_stem, columns), *_ALIASES}, n=3, cutoff=0.5)
        raise UnknownName(
            f"There is no field {field} in this table.",
            hint=f"Did you mean {' or '.join(near[:2])}?" if near else f"Fields: {_known(columns)}.",
        )
    if list(values) == ["none"]:
        return fitting[0]
    share = all(value.endswith("%") for value in values)
    chosen = [name for name in fitting if name.endswith("_fraction") is share]
    if len(chosen) != 1 or (columns[chosen[0]] == "number" and any(_NUMBER.match(value) for value in values)):
        examples = {"_fraction": "80%", "_s": "7d", "_bytes": "8G", "_bytes_per_s": "10M", "_days": "30d"}
        ways = " or ".join(f"{field}>{examples[_unit(name)]}" for name in fitting if _unit(name) in examples)
        raise InputError(f"{token!r} does not say in which unit.", hint=f"Write {ways}.")
    return chosen[0]


def _readers(column: str, field: str, op: str, kind: Kind, now: datetime) -> Callable[[str], Any]:
    """How a value of that column is read."""
    unit = _unit(column)

    def number(text: str) -> Any:
        try:
            if kind == "time":
                return _time(text, field, op, now)
            if kind == "flag":
                return _FLAGS[text.lower()]
            if text.endswith("%") and unit == "_fraction":
                return float(text[:-1]) / 100
            if _NUMBER.match(text):
                return float(text)
            if unit in ("_bytes", "_bytes_per_s"):
                return parse_bytes(text)
            if unit == "_s":
                return parse_duration_s(text)
            return parse_duration_s(text) / 86_400 if unit == "_days" else float(text)
        except InputError:
            raise
        except (ValueError, KeyError) as err:
            wanted = {"flag": "yes or no", "time": 'a time like 2026-11-21T14:00Z or "7d ago"'}.get(kind)
            wanted = wanted or {"_bytes": "a size like 8G", "_bytes_per_s": "a size like 8M", "_fraction": "a share like 80%"}.get(unit)
            wanted = wanted or ("a duration like 7d" if unit in ("_s", "_days") else "a number")
            raise InputError(f"{field} is compared with {wanted}, not {text!r}.") from err

    return number


def _time(text: str, field: str, op: str, now: datetime) -> datetime:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        text += "T00:00:00+00:00"
    elif text[:1].isdigit() and not text.endswith("ago") and "-" not in text:
        raise InputError(f"{field}{op}{text} can be read in two ways.", hint=f'Write {field}{op}"{text} ago" for what was then.')
    return parse_moment(text, now)


def _unit(column: str) -> str:
    return next((unit for unit in _UNITS if column.endswith(unit)), "")


def _stem(column: str) -> str:
    return column.removesuffix(_unit(column)) if _unit(column) else column


def _known(columns: Iterable[str]) -> str:
    return ", ".join(sorted({_stem(name) for name in columns}))
