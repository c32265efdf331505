"""Canonical JSON: one object, one text, one digest. Plans, approvals and audit records are compared and signed through it."""

from __future__ import annotations

import hashlib
import json
from typing import Any


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
    _check(value, "$")
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
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
