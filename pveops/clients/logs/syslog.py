"""Syslog messages: RFC 5424 and the older form of RFC 3164, and how they are cut out of a stream (RFC 6587)."""

from __future__ import annotations

import re

from pveops.clients.logs.made import iso_ms, made, short_time_ms
from pveops.model.logs import LogLine

_PRI = re.compile(r"^<(?P<pri>\d{1,3})>")
_NEW = re.compile(
    r"1 (?P<when>\S+) (?P<host>\S+) (?P<unit>\S+) (?P<pid>\S+) (?P<kind>\S+) (?P<data>-|(?:\[(?:\\.|\"(?:\\.|[^\"\\])*\"|[^\]\\\"])*\])+) ?"
)
_OLD = re.compile(r"(?P<when>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?:(?P<host>[^\s:\[\]]+) )?(?P<unit>[^\s:\[]{1,64})(?:\[[^\]]*\])?: ?")
_SEQUENCE = re.compile(r'\[meta [^\]]*\bsequenceId="(?P<number>\d+)"')
_USER_NOTICE, _MOST = 13, 191
MOST_BYTES = 65_536
"""A longer message is none: its sender does not speak syslog."""


class BadFrameError(ValueError):
    """What comes is no syslog."""


def message_of(raw: bytes, *, peer: str, mark: str, at_ms: int, ahead_s: int) -> LogLine:
    """A message as a line; what is in neither form is kept whole.

    Args:
        raw: the message, without its framing.
        peer: who sent it; the host of a message that names none.
        mark: what tells it apart from others that are equal.
        at_ms: when it came; the time of a message that tells none.
        ahead_s: times without a zone are so far ahead of UTC, seconds.
    """
    text = raw.decode("utf-8", "replace").strip("\r\n\x00")
    match = _PRI.match(text)
    match = match if match and int(match["pri"]) <= _MOST else None
    priority = int(match["pri"]) if match else _USER_NOTICE
    rest = text[match.end() :] if match else text
    found = _NEW.match(rest) if match else None
    if found:
        time_ms = iso_ms(found["when"])
        number = _SEQUENCE.search(found["data"])
        if number:  # its sender counts: sent again, it is the same
            mark = f"{found['host']} {found['unit']} {found['pid']} {number['number']}"
    else:
        found = _OLD.match(rest)
        time_ms = short_time_ms(found["when"], ahead_s, at_ms // 1000) if found else None
    host, unit = (found["host"] or peer, found["unit"]) if found else (peer, "")
    return made(
        time_ms=at_ms if time_ms is None else time_ms,
        host=peer if host == "-" else host,
        unit="" if unit == "-" else unit,
        message=(rest[found.end() :] if found else rest).removeprefix("\ufeff"),
        severity=priority & 7,
        source="syslog",
        mark=mark,
    )


class Frames:
    """Cuts a stream into messages: each with its length before it, or each ended by a line feed or NUL, as the first byte of each tells."""

    def __init__(self) -> None:
        self._rest = b""

    def fed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now.

        Raises:
            BadFrameError: a length is none, or a message is longer than ``MOST_BYTES``.
        """
        self._rest += data
        found: list[bytes] = []
        while self._rest:
            size = self._counted() if b"1" <= self._rest[:1] <= b"9" else self._ended()
            if not size:
                break
            start, end = size
            if self._rest[start:end].strip(b"\r\n\x00"):
                found.append(self._rest[start:end])
            self._rest = self._rest[end:]
        return found

    def left(self) -> list[bytes]:
        """What is left when the stream ends: the last message may have no end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest.startswith(b"<") else []

    def _counted(self) -> tuple[int, int] | None:
        digits, blank, _ = self._rest[:7].partition(b" ")
        if not blank and len(self._rest) < 7 and digits.isdigit():
            return None
        if not blank or not digits.isdigit() or int(digits) > MOST_BYTES:
            raise BadFrameError(f"{self._rest[:20]!r} is no length of a message")
        end = len(digits) + 1 + int(digits)
        return (len(digits) + 1, end) if len(self._rest) >= end else None

    def _ended(self) -> tuple[int, int] | None:
        ends = [at for at in (self._rest.find(b"\n"), self._rest.find(b"\x00")) if at >= 0]
        if not ends and len(self._rest) > MOST_BYTES:
            raise BadFrameError(f"a message of more than {MOST_BYTES} bytes")
        return (0, min(ends) + 1) if ends else None
