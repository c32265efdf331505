"""What the log of a backup task says of each guest: the task's own end speaks for none of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pveops.model.tasks import Task

_BEGIN = re.compile(r"^INFO: Starting Backup of VM (\d+)")
_ARCHIVE = re.compile(r"creating (?:vzdump|Proxmox Backup Server) archive '([^']+)'")
_DONE = re.compile(r"^INFO: Finished Backup of VM (\d+)")
_FAILED = re.compile(r"^ERROR: Backup of VM (\d+) failed(?: - (.*))?$")
_COMMAND = re.compile(r"^INFO: starting new backup job: (vzdump.*)$")
_LAST = re.compile(r"^TASK ERROR: (.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One guest in one backup task. ``ok`` also with warnings, which ``text`` then holds; ``archive`` as the storage names it."""

    vmid: int
    started: datetime
    ok: bool
    text: str = ""
    archive: str = ""


def attempts_of(task: Task, lines: Iterable[str], on_node: Sequence[int]) -> list[Attempt]:
    """What happened to each guest. A task that failed before its first guest is an attempt for all that it was meant for.

    Args:
        task: the task; one that lost its worker has no last line.
        lines: its whole log.
        on_node: guests of that node, for jobs that name none.
    """
    found: dict[int, Attempt] = {}
    current, command, ended = 0, "", ""
    for line in lines:
        if match := _BEGIN.match(line):
            current = int(match[1])
            found[current] = Attempt(vmid=current, started=task.started, ok=False, text="it broke off in the middle")
        elif current and (match := _ARCHIVE.search(line)):
            found[current] = replace(found[current], archive=match[1])
        elif match := _FAILED.match(line):
            vmid = int(match[1])
            before = found.get(vmid, Attempt(vmid=vmid, started=task.started, ok=False))
            found[vmid], current = replace(before, ok=False, text=(match[2] or "it failed").strip()), 0
        elif match := _DONE.match(line):
            vmid = int(match[1])
            before = found.get(vmid, Attempt(vmid=vmid, started=task.started, ok=True))
            warned = before.text if before.text.startswith("warning: ") else ""
            found[vmid], current = replace(before, ok=True, text=warned), 0
        elif current and line.startswith("WARN: "):
            found[current] = replace(found[current], text=f"warning: {line.removeprefix('WARN: ').strip()}")
        elif match := _COMMAND.match(line):
            command = match[1]
        elif match := _LAST.match(line):
            ended = match[1]
    if found or task.outcome.ok:
        return list(found.values())
    text = ended or task.outcome.text
    return [Attempt(vmid=vmid, started=task.started, ok=False, text=text) for vmid in _meant(task, command, on_node)]


def _meant(task: Task, command: str, on_node: Sequence[int]) -> list[int]:
    """The guests a task was for: its own id, those its command names, or all of the node without the excluded."""
    if task.id.isdigit():
        return [int(task.id)]
    try:
        words = shlex.split(command)[1:]
    except ValueError:
        words = command.split()[1:]
    options = {words[place].lstrip("-"): words[place + 1] for place in range(len(words) - 1) if words[place].startswith("--")}
    named = [int(word) for word in [*_leading(words), *options.get("vmid", "").split(",")] if word.isdigit()]
    if named:
        return [vmid for vmid in named if vmid in on_node]
    excluded = set(options.get("exclude", "").split(","))
    return [vmid for vmid in on_node if str(vmid) not in excluded]


def _leading(words: Sequence[str]) -> list[str]:
    kept = []
    for word in words:
        if word.startswith("-"):
            break
        kept.append(word)
    return kept
