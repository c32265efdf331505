"""The commands that may run on a node, and nothing else. What is asked for is parsed into words first; every word must fit.

A usage line says what fits: plain words stand for themselves, ``{disk}`` for a word of that form, ``(cpu|io)`` for one of several, and what stands
in ``[ ]`` may be left out.
"""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Literal, get_args

from pveops.base.errors import InputError

Shape = Literal["json", "jsonl", "keys", "columns", "columns+", "tsv", "text"]
"""How output is read: ``columns`` are parted by blanks (``columns+``: below a header), ``tsv`` by tabs; ``keys`` are lines of a name and a value."""

_FORMS: dict[str, str] = {
    "disk": r"/dev/(?:sd[a-z]{1,3}|vd[a-z]|nvme\d{1,3}(?:n\d{1,3})?|disk/by-id/[A-Za-z0-9._:+-]{1,120})",
    "md": r"/dev/md\d{1,3}",
    "iface": r"[A-Za-z][A-Za-z0-9._]{0,14}",
    "pool": r"[A-Za-z][A-Za-z0-9_.:]{0,62}",
    "dataset": r"[A-Za-z][A-Za-z0-9_.:-]{0,62}(?:/[A-Za-z0-9_.:-]{1,64}){0,8}",
    "unit": r"[A-Za-z0-9][A-Za-z0-9@_.-]{0,80}",
    "vmid": r"[1-9]\d{2,8}",
    "count": r"[1-9]\d{0,3}",
    "few": r"[1-5]",
    "ago": r"-\d{1,5}(?:s|min|h|d)",
    "key": r"[a-z][a-z0-9_]*(?:\.[A-Za-z0-9_]+){1,6}",
}
_TOKEN = re.compile(r"(?P<open>\[)|(?P<shut>\])|[^\s\[\]]+")
_PIECE = re.compile(r"\{(?P<form>\w+)\}|\((?P<choice>[^()]+)\)|[^(){}]+")


@dataclass(frozen=True, slots=True)
class _Part:
    """One word of a usage line, or several that may be left out together."""

    pattern: re.Pattern[str] | None = None
    optional: tuple[_Part, ...] = ()


@dataclass(frozen=True)
class Command:
    """One allowed command: ``usage``, the ``shape`` of what it prints with the names of its ``columns``, and what it is for."""

    usage: str
    shape: Shape
    columns: tuple[str, ...]
    doc: str

    @cached_property
    def _parts(self) -> tuple[_Part, ...]:
        parts, rest = _parse(self.usage, 0)
        if rest != len(self.usage):
            raise ValueError(f"{self.usage}: a bracket too many")
        return parts

    def fits(self, words: tuple[str, ...]) -> bool:
        """Whether these words are this command."""
        return len(words) in _ends(self._parts, words, 0)

    @property
    def program(self) -> str:
        """Its first word."""
        return self.usage.split(None, 1)[0]


def _parse(usage: str, at: int) -> tuple[tuple[_Part, ...], int]:
    found: list[_Part] = []
    while at < len(usage):
        if usage[at].isspace():
            at += 1
            continue
        token = _TOKEN.match(usage, at)
        if token is None:
            raise ValueError(f"{usage}: cannot be read from {usage[at:]!r} on")
        at = token.end()
        if token["shut"]:
            return tuple(found), at
        if token["open"]:
            inner, at = _parse(usage, at)
            found.append(_Part(optional=inner))
        else:
            found.append(_Part(re.compile("".join(map(_pattern, _PIECE.finditer(token[0]))))))
    return tuple(found), at


def _pattern(piece: re.Match[str]) -> str:
    if piece["form"]:
        return f"(?:{_FORMS[piece['form']]})"
    return f"(?:{'|'.join(map(re.escape, piece['choice'].split('|')))})" if piece["choice"] else re.escape(piece[0])


def _ends(parts: tuple[_Part, ...], words: tuple[str, ...], at: int) -> frozenset[int]:
    """Where these parts can end when they begin at a word."""
    places = {at}
    for part in parts:
        if part.pattern is None:
            places |= {end for place in places for end in _ends(part.optional, words, place)}
        else:
            places = {place + 1 for place in places if place < len(words) and part.pattern.fullmatch(words[place])}
    return frozenset(places)


@cache
def commands() -> tuple[Command, ...]:
    """All of them, from ``commands.txt``."""
    text = resources.files("pveops.clients.ssh").joinpath("commands.txt").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        told, usage, doc = (cell.strip() for cell in line.split(" | "))
        shape, _, columns = told.partition(":")
        if shape not in get_args(Shape):
            raise ValueError(f"{line}: {shape} is no shape")
        found.append(Command(usage, shape, tuple(filter(None, columns.split(","))), doc))  # type: ignore[arg-type] # checked above
    return tuple(found)


def allowed(command: str) -> tuple[Command, tuple[str, ...]]:
    """The command of the list that this is, and its words.

    Raises:
        InputError: it cannot be parsed, or it is none of the list.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as err:
        raise InputError(f"{command!r} is no command line: {err}.", hint="Close the quote.") from err
    for one in commands():
        if one.fits(words):
            return one, words
    raise InputError(f"{command!r} is none of the {len(commands())} commands that may run on a node.", hint=_instead(words))


def _instead(words: tuple[str, ...]) -> str:
    near = [one.usage for one in commands() if words and one.program == words[0]]
    if not near and words:
        programs = sorted({one.program for one in commands()})
        near = difflib.get_close_matches(words[0], programs, n=3)
    told = f"Near it: {'; '.join(near[:4])}. " if near else ""
    return f"{told}`pveops ssh commands` lists them; what changes something is never among them."
