"""Lines that differ in names and numbers only, found as one pattern. The only module that knows drain3 (its maintained edition, ``drain3-improved``)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from drain3.drain import Drain, LogCluster

from pveops.model.logs import LogLine

_MASKS = re.compile(
    r"(?P<task>UPID:[A-Za-z0-9-]+(?::[0-9A-F]{8,9}){3}:\w+:[^:\s/]*:[^:\s/]+:)"
    r"|(?P<uuid>\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b)"
    r"|(?P<mac>\b(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?|\b\d\d:\d\d:\d\d(?:\.\d+)?\b)"
    r"|(?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\b(?:[0-9a-fA-F]{1,4}:){3,7}:?[0-9a-fA-F]{1,4}\b|::ffff:\S+)"
    r"|(?P<hex>\b0x[0-9a-fA-F]+\b|\b[0-9a-f]{16,}\b)"
    r"|(?P<n>(?<![A-Za-z_])-?\d+(?:[.,]\d+)*(?=\b|[A-Za-z%]))"
)
_TROUBLE = re.compile(
    r"(?i)\b(?:errors?|fail(?:ed|ure|ures|ing|s)?|fault(?:ed|y|s)?|degraded|panic|oom|out of memory|killed|timed? ?out|unreachable|unreadable|refused|"
    r"no quorum|lost|left|(?:is|link) down|offline|corrupt(?:ed|ion)?|full|no space left|denied|prefail\w*|reallocated\w*|hung|fenc\w+|emergency|critical)\b"
)
_MOST = 5000
"""So many patterns are told apart; lines of a log that has more are all different anyway."""
_MINUTE_MS = 60_000


@dataclass(slots=True, kw_only=True)
class Mined:
    """A pattern, and the lines that follow it. ``trouble``: it speaks of some. ``before`` counts lines before the span; all else is of the span (times in Unix milliseconds)."""

    cluster: LogCluster
    unit: str
    lines: int = 0
    before: int = 0
    first_ms: int = 0
    last_ms: int = 0
    severity: int = 7
    trouble: bool = False
    example: str = ""
    hosts: set[str] = field(default_factory=set)
    minutes: Counter[int] = field(default_factory=Counter)

    @property
    def pattern(self) -> str:
        """What the lines have in common; ``<…>`` stands for what differs."""
        return " ".join(self.cluster.log_template_tokens[1:])

    @property
    def peak(self) -> tuple[int, int]:
        """The minute with the most lines (Unix milliseconds), and how many those are."""
        minute, lines = min(self.minutes.items(), key=lambda item: (-item[1], item[0]))
        return minute * _MINUTE_MS, lines


def masked(message: str) -> str:
    """A message with its numbers, addresses, times and ids taken out: ``VM <n> on <ip>``."""
    return _MASKS.sub(lambda match: f"<{match.lastgroup}>", message)


def mined(lines: Iterable[LogLine], start_ms: int, end_ms: int) -> list[Mined]:
    """The patterns of lines (newest first); those of ``start_ms`` to ``end_ms`` are described, those before are counted."""
    drain = Drain(depth=4, sim_th=0.5, max_children=100, max_clusters=None)
    known: dict[tuple[str, str], LogCluster | None] = {}
    found: dict[int, Mined] = {}
    for line in lines:
        key = (line.unit, masked(line.message))
        if key not in known:
            known[key] = _cluster(drain, *key)
        cluster = known[key]
        if cluster is None:
            continue
        one = found.get(cluster.cluster_id)
        if one is None:
            one = found[cluster.cluster_id] = Mined(cluster=cluster, unit=line.unit, trouble="|" in cluster.log_template_tokens[0])
        if line.time_ms < start_ms:
            one.before += 1
        else:
            _tell(one, line)
    return [one for one in found.values() if one.lines]


def _cluster(drain: Drain, unit: str, text: str) -> LogCluster | None:
    """Its first word is who wrote it, and the words of trouble in it: what tells of trouble is no variant of what does not."""
    words = "|".join(sorted({word.lower().replace(" ", "_") for word in _TROUBLE.findall(text)}))
    head = f"{unit.replace(' ', '_') or '-'}{f'|{words}' if words else ''}"
    return drain.add_log_message(f"{head} {text}")[0] if len(drain.clusters) < _MOST else None


def _tell(one: Mined, line: LogLine) -> None:
    if not one.lines:
        one.last_ms = line.time_ms
    one.lines += 1
    one.first_ms, one.example = line.time_ms, line.message
    one.severity = min(one.severity, line.severity)
    one.hosts.add(line.host)
    one.minutes[line.time_ms // _MINUTE_MS] += 1
