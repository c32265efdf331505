"""Canonical JSON: one object, one text, one digest. Plans, approvals and audit records are compared and signed through it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

_WRITE = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_TEXT, _ROWS, _PLAIN = frozenset({str}), frozenset({list, tuple}), frozenset({str, int, bool, type(None)})


def is_plain(value: Any) -> bool:
    """Whether this is surely JSON of texts, whole numbers, truths, lists and objects; a quick look, and false is a reason to look closely."""
    kind = type(value)
    if kind is dict:
        return _TEXT.issuperset(map(type, value)) and _are_plain(value.values())
    return kind in _PLAIN or (kind in _ROWS and _are_plain(value))


def _are_plain(values: Collection[Any]) -> bool:
    return _PLAIN.issuperset(map(type, values)) or all(map(is_plain, values))


def _check(value: Any, where: str) -> None:
    if value is None or isinstance(value, (bool, int, str)):
        return
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: the key {key!r} is no text")
            _check(item, f"{where}.{key}")
        return
    raise TypeError(f"{where}: {type(value).__name__} has no canonical form (numbers with a fraction are written in a smaller unit)")


def canonical(value: Any) -> bytes:
    """The canonical JSON of ``value`` as UTF-8: sorted keys, no white space, whole numbers only.

    Raises:
        TypeError: a value without one canonical form (a float, a date, a set, a key that is no text).
    """
    if not is_plain(value):
        _check(value, "$")
    try:
        return _WRITE(value).encode()
    except UnicodeEncodeError as err:
        raise TypeError(f"$: {err.reason}: text with a lone surrogate has no canonical form") from err


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 lower-case hexadecimal digits.

    Raises:
        TypeError: as ``canonical``.
    """
    return hashlib.sha256(canonical(value)).hexdigest()


def short(hexdigest: str) -> str:
    """The first eight digits in two groups, for people: ``e41b 9a07``."""
    return f"{hexdigest[:4]} {hexdigest[4:8]}"
