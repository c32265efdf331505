"""Chance that is always the same: numbers that follow from the seed and from what they are for."""

from __future__ import annotations

import hashlib


def digest(seed: int, *parts: object) -> bytes:
    """64 bytes that depend on the seed and the parts only."""
    text = "\x1f".join(str(part) for part in (seed, *parts))
    return hashlib.blake2b(text.encode()).digest()


def unit(seed: int, *parts: object) -> float:
    """A number in [0, 1)."""
    return int.from_bytes(digest(seed, *parts)[:7], "big") / 2**56


def between(low: float, high: float, seed: int, *parts: object) -> float:
    """A number in [low, high)."""
    return low + (high - low) * unit(seed, *parts)


def whole(low: int, high: int, seed: int, *parts: object) -> int:
    """A whole number from low to high, both included."""
    return low + int(unit(seed, *parts) * (high - low + 1))


def uuid_text(seed: int, *parts: object) -> str:
    """A text in the form of a random UUID."""
    raw = digest(seed, "uuid", *parts)[:16].hex()
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:32]}"


def mac_text(seed: int, *parts: object) -> str:
    """A MAC address with the prefix of Proxmox."""
    tail = digest(seed, "mac", *parts)[:3].hex().upper()
    return f"BC:24:11:{tail[:2]}:{tail[2:4]}:{tail[4:6]}"
