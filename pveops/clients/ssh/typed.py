"""What a command printed, as data: JSON objects, rows with names, or the text as it is."""

from __future__ import annotations

import json
import re
from typing import Any

from pveops.base.errors import NoAnswer
from pveops.clients.ssh.allowed import Command

Row = dict[str, Any]
_WHOLE = re.compile(r"-?\d{1,18}")
_BROKEN = re.compile(r"-?\d{1,15}\.\d{1,9}")


def data_of(command: Command, text: str) -> Any:
    """JSON objects, a list of rows, a mapping, or the text itself, as the command's shape says.

    Raises:
        NoAnswer: the output has not that shape.
    """
    try:
        match command.shape:
            case "json":
                return json.loads(text) if text.strip() else []
            case "jsonl":
                return [json.loads(line) for line in text.splitlines() if line.strip()]
            case "keys":
                return _keys(text)
            case "columns" | "columns+":
                lines = text.splitlines()[1 if command.shape == "columns+" else 0 :]
                return _rows([line.split(None, len(command.columns) - 1) for line in lines if line.strip()], command.columns)
            case "tsv":
                return _rows([line.split("\t") for line in text.splitlines() if line], command.columns)
            case "text":
                return text
    except ValueError as err:
        raise NoAnswer(
            f"`{command.usage}` printed something that cannot be read as {command.shape}: {err}.",
            hint="Look at it as it is: ops.ssh.run(…).text.",
        ) from err


def rows_of(data: Any) -> list[Row]:
    """The rows that are in some data: a list of objects, the first list inside an object, a mapping as name and value, lines of text."""
    if isinstance(data, str):
        return [{"line": line} for line in data.splitlines()]
    if isinstance(data, list):
        return [one if isinstance(one, dict) else {"value": one} for one in data]
    if isinstance(data, dict):
        inside = [value for value in data.values() if isinstance(value, list) and value and all(isinstance(one, dict) for one in value)]
        if len(inside) == 1:
            return inside[0]
        return [{"name": name, "value": value} for name, value in data.items()]
    return [{"value": data}]


def _keys(text: str) -> Row:
    """Lines of ``name: value``, ``name = value`` or ``name=value``; a name that comes again keeps its values in a list."""
    found: Row = {}
    for line in text.splitlines():
        name, parted, value = _parted(line)
        if not parted or not name:
            continue
        plain = _number(value.strip('"'))
        if name in found:
            found[name] = [*found[name], plain] if isinstance(found[name], list) else [found[name], plain]
        else:
            found[name] = plain
    return found


def _parted(line: str) -> tuple[str, str, str]:
    places = [place for place in (line.find(":"), line.find("=")) if place > 0]
    if not places:
        return "", "", ""
    return line[: min(places)].strip(), line[min(places)], line[min(places) + 1 :].strip()


def _rows(cells: list[list[str]], columns: tuple[str, ...]) -> list[Row]:
    short = next((row for row in cells if len(row) > len(columns)), None)
    if short is not None:
        raise ValueError(f"{len(short)} cells where {len(columns)} were expected")
    return [{name: _number(cell.strip()) for name, cell in zip(columns, row, strict=False)} for row in cells]


def _number(cell: str) -> str | int | float | None:
    """A whole or broken number; of ``12%`` the number; nothing for ``-``."""
    bare = cell.removesuffix("%")
    if _WHOLE.fullmatch(bare):
        return int(bare)
    if _BROKEN.fullmatch(bare):
        return float(bare)
    return None if cell == "-" else cell
