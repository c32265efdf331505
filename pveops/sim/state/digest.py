"""Digests of configuration: 40 hexadecimal digits that change whenever the content changes."""

from __future__ import annotations

import hashlib


def sha1_of(content: object) -> str:
    """The digest of any plain content."""
    return hashlib.sha1(repr(content).encode(), usedforsecurity=False).hexdigest()
