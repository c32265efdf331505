"""Events of a journal in the forms in which logs travel: RFC 5424, JSON documents, bulk requests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import orjson

from pveops.sim.state.journal import Event

_KERNEL, _MAIL, _DAEMON, _AUTH, _CRON = 0, 2, 3, 4, 9
_FACILITIES = {_KERNEL: "kernel", _MAIL: "mail", _DAEMON: "system", _AUTH: "security/authorization", _CRON: "clock"}
_OF_TAG = {"kernel": _KERNEL, "postfix/qmgr": _MAIL, "sshd": _AUTH, "systemd-logind": _AUTH, "CRON": _CRON}
_LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_LONGEST_NAME = 48


def facility(event: Event) -> int:
    """Which part of the system wrote it, as syslog counts them."""
    return _OF_TAG.get(event.tag, _DAEMON)


def priority(event: Event) -> int:
    """Facility and severity in one number."""
    return facility(event) * 8 + event.severity


def moment(event: Event) -> str:
    """When it was written, UTC with microseconds."""
    return datetime.fromtimestamp(event.time_s, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rfc5424(event: Event) -> bytes:
    """A syslog message; what was several lines is one."""
    name = event.tag[:_LONGEST_NAME] or "-"
    text = " ".join(event.message.splitlines())
    return f"<{priority(event)}>1 {moment(event)} {event.node} {name} {event.pid or '-'} - - {text}".encode()


def document(event: Event, cluster: str) -> dict[str, Any]:
    """A JSON document in the fields of the Elastic Common Schema."""
    code = facility(event)
    return {
        "@timestamp": moment(event),
        "message": event.message,
        "ecs": {"version": "8.11.0"},
        "event": {"dataset": "pve.journal"},
        "host": {"name": event.node},
        "labels": {"cluster": cluster, "simulated": "true"},
        "log": {
            "level": _LEVELS[event.severity],
            "syslog": {
                "facility": {"code": code, "name": _FACILITIES[code]},
                "priority": priority(event),
                "severity": {"code": event.severity, "name": _LEVELS[event.severity]},
            },
        },
        "process": {"name": event.tag, "pid": event.pid},
    }


def ident(event: Event) -> str:
    """An id that follows from the event: what is sent twice is stored once."""
    return blake2b("\x1f".join(map(str, event)).encode(), digest_size=15).hexdigest()


def json_lines(events: Iterable[Event], cluster: str) -> bytes:
    """Documents, one per line."""
    return b"".join(orjson.dumps(document(event, cluster), option=orjson.OPT_APPEND_NEWLINE) for event in events)


def bulk(events: Iterable[Event], cluster: str, index: str) -> bytes:
    """The body of a bulk request that creates each document once."""
    rows = []
    for event in events:
        rows.append(orjson.dumps({"create": {"_index": index, "_id": ident(event)}}, option=orjson.OPT_APPEND_NEWLINE))
        rows.append(orjson.dumps(document(event, cluster), option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(rows)
