"""Numbers as people read them: binary sizes, percentages, durations; and back from what people type.

Between number and unit stands a no-break space, thousands are parted by a thin no-break space, a minus is a true minus.
"""

from __future__ import annotations

import math
import re

NBSP = "\u00a0"
THIN = "\u202f"
MINUS = "\u2212"

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kKmMgGtTpP]?)(i?[bB])?\s*$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)")
_LONGEST_S = 100 * 366 * 86_400
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_bytes(text: str | int) -> int:
    """Bytes of a size as people write it: ``8G``, ``8 GiB``, ``512M`` (all binary, as in Proxmox VE), ``1024``.

    Raises:
        ValueError: not a size.
    """
    if isinstance(text, int):
        return text
    match = _SIZE.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a size; write 8G, 512M or a number of bytes")
    power = " KMGTP".index(match[2].upper() or " ")
    return int(float(match[1]) * 1024**power)


def parse_duration_s(text: str | float) -> float:
    """Seconds of a duration as people write it: ``90s``, ``1h``, ``1 h 30 min``, ``7d``.

    Raises:
        ValueError: not a duration.
    """
    if isinstance(text, (int, float)):
        seconds = float(text)
    else:
        rest = _DURATION.sub("", text).strip()
        parts = _DURATION.findall(text)
        if rest or not parts:
            raise ValueError(f"{text!r} is not a duration; write 90s, 15min, 1h or 7d")
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds <= _LONGEST_S:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def grouped(number: int) -> str:
    """``4 210``: thousands parted by a thin no-break space, from 1 000 up."""
    return f"{number:,}".replace(",", THIN).replace("-", MINUS)


def fmt_bytes(size_bytes: float | None, *, signed: bool = False) -> str:
    """``12.5 GiB``; below 10 one decimal, whole numbers of 100 or more; ``signed`` puts ``+`` or ``−`` in front."""
    if size_bytes is None or math.isnan(size_bytes):
        return "not known"
    sign = MINUS if size_bytes < 0 else "+" if signed and size_bytes > 0 else ""
    value, unit = abs(float(size_bytes)), 0
    while value >= 1023.95 and unit < len(_BINARY) - 1:
        value /= 1024
        unit += 1
    text = f"{value:.0f}" if unit == 0 or value >= 99.95 else f"{value:.1f}".removesuffix(".0")
    return f"{sign}{text}{NBSP}{_BINARY[unit]}"


def fmt_of(used_bytes: float, total_bytes: float) -> str:
    """``12.5 of 16 GiB``, both in the unit of the total."""
    total = fmt_bytes(total_bytes)
    number, unit = total.split(NBSP)
    used = used_bytes / 1024 ** _BINARY.index(unit)
    text = f"{used:.0f}" if used >= 99.95 else f"{used:.1f}".removesuffix(".0")
    return f"{text} of {number}{NBSP}{unit}"


def fmt_pct(fraction: float | None) -> str:
    """``96 %`` of a fraction (0.96); ``not known`` for none."""
    if fraction is None or math.isnan(fraction):
        return "not known"
    return f"{fraction * 100:.0f}{NBSP}%".replace("-", MINUS)


def fmt_duration(seconds: float | None) -> str:
    """``1 min 36 s``, ``41 d``, ``2.1 s``: two units at most, small ones with one decimal."""
    if seconds is None or math.isnan(seconds):
        return "not known"
    if seconds < 9.95 and seconds != int(seconds):
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NBSP}s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}{NBSP}min" + (f" {rest}{NBSP}s" if rest else "")
    if whole < 86400:
        hours, rest = divmod(whole, 3600)
        return f"{hours}{NBSP}h" + (f" {rest // 60}{NBSP}min" if rest >= 60 else "")
    return f"{whole // 86400}{NBSP}d"
