"""Values as Proxmox VE writes them: numbers that may be texts, booleans that are 1, lists in one text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_DISK = re.compile(r"^(?:(?:scsi|virtio|ide|sata|efidisk|tpmstate|mp|unused)\d+|rootfs)$")


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


def volumes_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Volume ids of a guest's disks, without CD drives and cloud-init drives."""
    found = []
    for key, value in config.items():
        text = str(value)
        if _DISK.match(key) and "media=cdrom" not in text and not text.startswith(("none", "/")):
            found.append(text.partition(",")[0])
    return tuple(sorted(found))
