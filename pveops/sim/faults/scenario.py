"""Scenario files: faults with the moments at which they begin, in TOML."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pveops.base.errors import ConfigError, InputError

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)?")
_SECONDS = {None: 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_OWN_KEYS = ("kind", "at", "for")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One fault of a scenario. ``at_s`` counts from its start, ``lasts_s`` is infinite when somebody has to put it right; simulated seconds."""

    kind: str
    given: Mapping[str, Any]
    at_s: float = 0.0
    lasts_s: float = math.inf


def seconds(text: object) -> float:
    """A span of time: a number of seconds, or a text as ``90s``, ``10min``, ``2h``, ``1d``.

    Raises:
        InputError: it is none.
    """
    match = _SPAN.fullmatch(str(text).strip()) if not isinstance(text, bool) else None
    if match is None:
        raise InputError(f"{text!r} is no span of time.", hint="Write seconds, or for example 90s, 10min, 2h, 1d.")
    return float(match[1]) * _SECONDS[match[2]]


def parse(document: Mapping[str, Any], where: str) -> list[Step]:
    """The steps of a scenario.

    Raises:
        InputError: something in it is not what it should be, with its place.
    """
    unknown = [key for key in document if key not in ("name", "description", "fault")]
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]!r}.", hint="A scenario has name, description and [[fault]] tables.")
    tables = document.get("fault")
    if not isinstance(tables, list) or not tables:
        raise InputError(f"{where} has no [[fault]] table.", hint='Write for example [[fault]], kind = "node-down", at = "10min".')
    steps = []
    for number, table in enumerate(tables, 1):
        if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
            raise InputError(f"{where}: fault {number} has no kind.", hint="`pveops sim fault kinds` lists them.")
        try:
            given = {key: value for key, value in table.items() if key not in _OWN_KEYS}
            lasts_s = seconds(table["for"]) if "for" in table else math.inf
            steps.append(Step(kind=table["kind"], given=given, at_s=seconds(table.get("at", 0)), lasts_s=lasts_s))
        except InputError as err:
            raise InputError(f"{where}: fault {number} ({table['kind']}): {err.message}", hint=err.hint) from err
    return steps


def document(path: Path) -> dict[str, Any]:
    """The content of a scenario file, not checked yet.

    Raises:
        ConfigError: it cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"Cannot read the scenario {path}: {err}.", hint="Name a TOML file.") from err
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"The scenario {path} is no TOML: {err}.", hint="See docs/faults.md for an example.") from err


def read(path: Path) -> list[Step]:
    """The steps of a scenario file.

    Raises:
        ConfigError: it cannot be read or is no TOML.
        InputError: it says something that cannot be.
    """
    return parse(document(path), path.name)
