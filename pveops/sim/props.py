"""Property strings: ``local:1,format=qcow2`` and its relatives, as guest configurations use them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
_LIST = re.compile(r"[,;\s\0]+")


def split_list(text: str) -> list[str]:
    """The items of a list written with commas, semicolons, blanks or zero bytes."""
    return [item for item in _LIST.split(text) if item]


def read_props(text: str, default_key: str = "") -> dict[str, str]:
    """The keys and values of a property string that was verified before; the part without a key belongs to ``default_key``."""
    found: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if equals:
            found[key] = value
        elif part:
            found[default_key] = part
    return found


def write_props(values: Mapping[str, Any], default_key: str = "") -> str:
    """The property string: the value of ``default_key`` first and bare, then the others by name."""
    parts = [str(values[default_key])] if default_key in values else []
    parts += [f"{key}={values[key]}" for key in sorted(values) if key != default_key]
    return ",".join(parts)


def size_bytes(text: str) -> int:
    """Bytes of a disk size: ``32G``, ``512M``, ``1.5G``, ``1024``.

    Raises:
        ValueError: not a disk size.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no disk size")
    return int(float(match[1]) * _UNITS[match[2]])


def size_text(size: int) -> str:
    """The shortest exact form of a size in bytes: ``32G``, ``528M``, ``1000``."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
