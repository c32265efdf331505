"""How a line of any source becomes one of ours: secrets taken out, cut to size, the guest and the task that it names found, its time read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pveops.base.redact import redact
from pveops.model.logs import LogLine

_UPID = r"UPID:[A-Za-z0-9-]+(?::[0-9A-F]{8,9}){3}:\w+:"
_VMID = re.compile(rf"\b(?:VM|CT|vmid|guest) (?P<vmid>\d{{3,9}})\b|{_UPID}(?P<task>\d{{3,9}}):")
_TASK = re.compile(rf"{_UPID}[^:\s/]*:[^:\s/]+:")
_AFTER_TIME = r" (?P<host>\S+) (?P<unit>[^\s:\[]+)(?:\[\d+\])?: ?(?P<message>.*)$"
_SHORT = re.compile(rf"^(?P<when>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d){_AFTER_TIME}", re.DOTALL)
_ISO = re.compile(rf"^(?P<when>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)){_AFTER_TIME}", re.DOTALL)
_ACCESS = re.compile(r"\[(?P<when>\d\d/(?:\d\d|[A-Z][a-z]{2})/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]")
_LONGEST = 16_000


def made(
    *, time_ms: int, host: str, unit: str, message: str, source: str, mark: str, severity: int = 6, vmid: int | None = None, task: str = ""
) -> LogLine:
    """A line to be kept. Where ``vmid`` or ``task`` is not given it is what the message names."""
    text = redact(message)[:_LONGEST]
    return LogLine(
        time_ms=time_ms,
        host=host,
        unit=unit,
        message=text,
        severity=severity,
        vmid=about(text) if vmid is None else vmid,
        source=source,
        mark=mark,
        task=task or task_of(text),
    )


def about(message: str) -> int | None:
    """The guest that a message is about, where it says so."""
    match = _VMID.search(message)
    return int(match["vmid"] or match["task"]) if match else None


def task_of(message: str) -> str:
    """The task that a message names, or nothing."""
    if "UPID:" not in message:
        return ""
    match = _TASK.search(message)
    return match[0] if match else ""


class Parts(NamedTuple):
    """A line of text, taken apart; what it does not tell is nothing."""

    time_ms: int | None
    host: str
    unit: str
    message: str


def taken_apart(text: str, *, ahead_s: int, until_s: int) -> Parts:
    """A line as journals, syslog daemons and web servers write them.

    Args:
        text: the line.
        ahead_s: times without a zone are so far ahead of UTC, seconds.
        until_s: a time without a year is not later than a day after this, Unix seconds.
    """
    if match := _SHORT.match(text):
        return Parts(short_time_ms(match["when"], ahead_s, until_s), match["host"], match["unit"], match["message"])
    if match := _ISO.match(text):
        return Parts(iso_ms(match["when"]), match["host"], match["unit"], match["message"])
    match = _ACCESS.search(text)
    return Parts(_access_ms(match["when"]) if match else None, "", "", text)


def short_time_ms(when: str, ahead_s: int, until_s: int) -> int:
    """``Nov  1 03:12:07`` as Unix milliseconds; as ``taken_apart``."""
    latest = datetime.fromtimestamp(until_s + ahead_s, UTC) + timedelta(days=1)
    for year in (latest.year, latest.year - 1):
        try:
            moment = datetime.strptime(f"{year} {when}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            continue  # 29 February of another year
        if moment <= latest:
            return int(moment.timestamp() - ahead_s) * 1000
    return until_s * 1000


def iso_ms(when: str) -> int | None:
    """An ISO time with its zone as Unix milliseconds."""
    try:
        return round(datetime.fromisoformat(when).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _access_ms(when: str) -> int | None:
    shape = "%d/%m/%Y:%H:%M:%S %z" if when[3].isdigit() else "%d/%b/%Y:%H:%M:%S %z"
    try:
        return round(datetime.strptime(when, shape).timestamp() * 1000)  # noqa: DTZ007 - %z is in both shapes
    except ValueError:
        return None
