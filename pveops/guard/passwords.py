"""Passwords, kept as argon2id hashes."""

from __future__ import annotations

import argon2
from argon2.exceptions import Argon2Error, InvalidHashError

from pveops.base.errors import InputError
from pveops.base.secret import Secret

SHORTEST = 10
_HASHER = argon2.PasswordHasher()
"""RFC 9106's second recommendation: 64 MiB, three passes, four lanes."""


def hash_password(password: Secret) -> str:
    """The hash, with its salt and cost in it.

    Raises:
        InputError: shorter than ten characters.
    """
    if len(password.reveal()) < SHORTEST:
        raise InputError(f"A password here has at least {SHORTEST} characters.", hint="Take a sentence.")
    return _HASHER.hash(password.reveal())


def is_password(kept: str, given: Secret) -> bool:
    """Whether this is the password; a damaged hash fits none."""
    try:
        return _HASHER.verify(kept, given.reveal())
    except (Argon2Error, InvalidHashError):
        return False
