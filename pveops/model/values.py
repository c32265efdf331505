"""Values as Proxmox VE writes them: numbers that may be texts, booleans that are 1, lists in one text."""

from __future__ import annotations

import math
import re
from typing import Any


def whole(value: Any) -> int | None:
    """A whole number from what may be a number, digits in a text, or nothing."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None


def fraction(value: Any) -> float | None:
    """A float, or none."""
    try:
        number = None if value is None else float(value)
    except (TypeError, ValueError):
        return None
    return number if number is not None and math.isfinite(number) else None


def flag(value: Any) -> bool:
    """Proxmox VE's booleans: 1, "1" and true."""
    return value in (1, "1", True)


def words(value: Any) -> tuple[str, ...]:
    """Parts of a list that is written with ``;`` or ``,`` or blanks, sorted."""
    return tuple(sorted(part for part in re.split(r"[;,\s]+", str(value or "")) if part))
