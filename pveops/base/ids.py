"""Short random ids that people read aloud: ``c-51f09a2e`` ties together what belongs to one click, ``p-8c41d2`` names a proposal."""

from __future__ import annotations

import re
import secrets

_FORMS = {"c": 8, "p": 6, "r": 6, "a": 32, "x": 16, "w": 8, "s": 8}
"""Kind to hexadecimal digits: correlation, proposal, run, approval (never guessed), executor, worker, standing rule."""

_ID = re.compile(r"^([a-z])-([0-9a-f]+)$")


def new_id(kind: str) -> str:
    """A fresh id of that kind (``c p r a x w s``)."""
    return f"{kind}-{secrets.token_hex(_FORMS[kind] // 2)}"


def is_id(text: str, kind: str) -> bool:
    """Whether the text has the form of an id of that kind."""
    match = _ID.match(text)
    return bool(match and match[1] == kind and len(match[2]) == _FORMS[kind])
