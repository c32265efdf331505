"""How a record is written. One line each, canonical JSON: ``{"hash":…,"prev":…,"record":{…},"seq":…}``.

``hash`` is the SHA-256 of the line without its ``hash`` member, ``prev`` the hash of the line before. Places are fixed, so a chain can be
walked on bytes alone. Lines of the first format (all members beside each other) are read for ever and never written again.
"""

from __future__ import annotations

import contextlib
import json
from binascii import hexlify
from hashlib import sha256
from typing import Any

import orjson

from pveops.base.canon import canonical, digest, is_plain

GENESIS = "0" * 64
"""``prev`` of the first record."""

_OPEN = b'{"hash":"'
_TO_PREV = b'","prev":"'
_TO_RECORD = b'","record":'
_SIGNED = 75
"""Where the part that is hashed goes on, after the opening brace and the hash."""


class Misfit(Exception):  # noqa: N818 - what was found, not a fault of ours
    """A line does not belong where it stands; the message says why."""


def write_record(record: dict[str, Any]) -> bytes:
    """The canonical JSON of a record; the quick writer writes the same bytes where it can write them at all.

    Raises:
        TypeError: a value has no canonical form.
    """
    if is_plain(record):
        with contextlib.suppress(TypeError):  # numbers above 64 bits, half a character
            return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    return canonical(record)


def write_line(record: bytes, *, seq: int, prev: str) -> tuple[bytes, str]:
    """The line of a record (its canonical JSON) and the line's hash."""
    body = b'{"prev":"%s","record":%s,"seq":%d}' % (prev.encode(), record, seq)
    made = sha256(body).hexdigest()
    return b'%s%s",%s\n' % (_OPEN, made.encode(), body[1:]), made


def is_first_format(raw: bytes) -> bool:
    """Whether the line is one of the first format."""
    return raw.startswith(b'{"actor":')


def check_line(raw: bytes, *, seq: int, prev: bytes) -> bytes:
    """The hash (64 hexadecimal digits) of the line that follows ``prev`` as number ``seq``.

    Raises:
        Misfit: the line is not whole, not canonical, was changed, or does not belong here.
    """
    made = hexlify(sha256(b"{" + raw[_SIGNED:-1]).digest())
    if raw.startswith(_OPEN + made + _TO_PREV + prev + _TO_RECORD) and raw.endswith(b',"seq":%d}\n' % seq) and _is_canonical(raw):
        return made
    if is_first_format(raw):
        return _check_first_format(raw, seq, prev)
    raise Misfit(_misplaced(raw, seq, prev, made))


def parse_line(raw: bytes) -> dict[str, Any]:
    """A record with its number and hashes, in one shape for both formats.

    Raises:
        Misfit: it is none.
    """
    try:
        data = json.loads(raw)
    except ValueError as err:
        raise Misfit("it is no JSON object" if raw.endswith(b"\n") else "its line was never finished") from err
    if not isinstance(data, dict):
        raise Misfit("it is no JSON object")
    record = data["record"] if isinstance(data.get("record"), dict) else data
    seq, made, prev = data.get("seq"), data.get("hash"), data.get("prev")
    if not isinstance(seq, int) or not isinstance(made, str) or not isinstance(prev, str) or not isinstance(record.get("kind"), str):
        raise Misfit("it lacks what every record has")
    return {**record, "seq": seq, "prev": prev, "hash": made}


def _misplaced(raw: bytes, seq: int, prev: bytes, made: bytes = b"") -> str:
    record = parse_line(raw)
    if record["seq"] != seq:
        return f"its number is {record['seq']} where {seq} belongs"
    if record["prev"] != prev.decode():
        return "it does not hold the hash of the record before it"
    if made and record["hash"] != made.decode():
        return "its content does not fit its hash"
    return "it is not written in canonical form"


def _is_canonical(raw: bytes) -> bool:
    try:
        if orjson.dumps(orjson.loads(raw), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) == raw:
            return True
        return canonical(json.loads(raw)) + b"\n" == raw  # numbers above 64 bits
    except (ValueError, TypeError):
        return False


def _check_first_format(raw: bytes, seq: int, prev: bytes) -> bytes:
    record = parse_line(raw)
    if record["seq"] != seq or record["prev"] != prev.decode():
        raise Misfit(_misplaced(raw, seq, prev))
    try:
        if digest({key: value for key, value in record.items() if key != "hash"}) != record["hash"]:
            raise Misfit("its content does not fit its hash")
        if canonical(record) + b"\n" != raw:
            raise Misfit("it is not written in canonical form")
    except TypeError as err:
        raise Misfit(str(err)) from err
    return str(record["hash"]).encode()
