"""Checkpoints: the executor's signed word on how the ledger stood, small enough to be kept anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pveops.base.canon import canonical
from pveops.base.errors import AuditError
from pveops.base.secret import Secret

MARK = "pveops-checkpoint"
"""Stands before a checkpoint in a log line."""

_FORM = re.compile(rf"{MARK} (\{{[^\n]*?\}})(?=\s|$)")
_HEX = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement.

    Attributes:
        executor: whose ledger.
        at: when, by the executor's clock.
        size: how many records.
        root: the Merkle root over their hashes (RFC 6962), hexadecimal.
        head: the hash of the last record.
        key: the public key it is signed with.
        signature: Ed25519 over the canonical JSON of all the rest.
    """

    executor: str
    at: str
    size: int
    root: str
    head: str
    key: str
    signature: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """What is signed."""
        return {
            "executor": self.executor, "at": self.at, "size": self.size, "root": self.root, "head": self.head, "key": self.key, "v": 1,
        }  # fmt: skip

    @property
    def text(self) -> str:
        """One line of canonical JSON."""
        return canonical(self.body | {"signature": self.signature}).decode()

    @property
    def log_line(self) -> str:
        """How it stands in a log."""
        return f"{MARK} {self.text}"


def sign_checkpoint(private: Secret, *, executor: str, at: str, size: int, root: bytes, head: str) -> Checkpoint:
    """A checkpoint with the signature of this key."""
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private.reveal()))
    public = key.public_key().public_bytes_raw().hex()
    bare = Checkpoint(executor=executor, at=at, size=size, root=root.hex(), head=head, key=public)
    return parse_checkpoint(bare.body | {"signature": key.sign(canonical(bare.body)).hex()})


def parse_checkpoint(data: Any) -> Checkpoint:
    """The checkpoint in a JSON value. Its signature is not checked here.

    Raises:
        ValueError: there is none.
    """
    try:
        found = Checkpoint(
            executor=data["executor"], at=data["at"], size=data["size"], root=data["root"], head=data["head"], key=data["key"],
            signature=data["signature"],
        )  # fmt: skip
        texts = (found.executor, found.at, found.signature)
        fits = all(isinstance(text, str) for text in texts) and all(_HEX.match(text) for text in (found.root, found.head, found.key))
    except (KeyError, TypeError) as err:
        raise ValueError("no checkpoint") from err
    if not fits or type(found.size) is not int or found.size < 0 or data.get("v") != 1:
        raise ValueError("no checkpoint")
    return found


def check_checkpoint(one: Checkpoint, key: str) -> None:
    """Return if it carries the signature of this public key.

    Raises:
        AuditError: it does not.
    """
    try:
        if one.key != key:
            raise ValueError("another key")
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(one.signature), canonical(one.body))
    except (InvalidSignature, ValueError) as err:
        raise AuditError(
            f"The checkpoint of {one.at} over {one.size} records does not carry the signature of the executor's key {key[:8]}….",
            hint="It was changed, or another executor made it. Give the key that was written down at the beginning with --key.",
        ) from err


def checkpoints_in(text: str) -> Iterator[Checkpoint]:
    """All checkpoints in a text: lines of JSON, or log lines with anything around the mark."""
    for line in text.splitlines():
        marked = _FORM.search(line)
        try:
            yield parse_checkpoint(json.loads(marked[1] if marked else line))
        except ValueError:
            continue


def trusted(found: Iterable[Checkpoint], key: str) -> list[Checkpoint]:
    """The checkpoints, each with its signature checked.

    Raises:
        AuditError: one does not carry this key's signature.
    """
    checked = list(found)
    for one in checked:
        check_checkpoint(one, key)
    return checked
