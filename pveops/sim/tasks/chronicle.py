"""What a node writes into its journal, all of it: what it says all the time, what happened, and what scheduled and earlier tasks said.

The API and the telemetry read it here, so they tell the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from pveops.sim.physics import journal
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.journal import ERROR, INFO, WARNING, Event
from pveops.sim.state.node import Node
from pveops.sim.tasks.engine import Engine
from pveops.sim.tasks.schedule import Run, Schedule
from pveops.sim.tasks.task import Task

_LONGEST_TASK_S = 86400.0
_TAGS = {"aptupdate": "pveupdate", "vzdump": "pvescheduler"}


class Chronicle:
    """The journals of all nodes.

    Args:
        cluster: the state.
        engine: tasks that somebody started.
        schedule: tasks that nobody started.
        began_s: the moment (seconds since the epoch) from which on tasks write their lines themselves.
    """

    def __init__(self, cluster: Cluster, engine: Engine, schedule: Schedule, began_s: float) -> None:
        self._cluster = cluster
        self._engine = engine
        self._schedule = schedule
        self._began_s = began_s

    def events(self, node: Node, since_s: float, until_s: float) -> list[Event]:
        """The events of a node in (since, until], oldest first; both are seconds since the epoch."""
        found = [
            *journal.usual(self._cluster, node, since_s, until_s),
            *(event for event in self._of_tasks(node.name, since_s) if since_s < event.time_s <= until_s),
        ]
        if node.downs:
            found = [event for event in found if not any(down.at(event.time_s) for down in node.downs)]
        found += self._cluster.journal.between(since_s, until_s, node.name)
        return sorted(found, key=lambda event: event.time_s)

    def lines(self, node: Node, since_s: float, until_s: float) -> list[str]:
        """The same as text."""
        return [journal.line(event) for event in self.events(node, since_s, until_s)]

    def _of_tasks(self, node: str, since_s: float) -> Iterator[Event]:
        first_s = since_s - _LONGEST_TASK_S
        if since_s < self._began_s:
            for task in self._engine.on(node):
                if first_s <= task.start_s < self._began_s:
                    yield from _bounds(task, "pvedaemon")
        for task in self._schedule.tasks_since(node, first_s):
            if task.end_s is None or task.end_s > since_s:
                yield from _bounds(task, _TAGS.get(task.kind, "pvescheduler"))
        for run in self._schedule.runs_since(node, first_s):
            if run.end_s > since_s:
                yield from self._of_run(run, since_s)

    def _of_run(self, run: Run, since_s: float) -> Iterator[Event]:
        """What a backup says about each guest that it was not done with by then."""
        pid, now_s = self._schedule.task_of(run).pid, self._cluster.now_s
        for number in range(bisect_right(run.ends, since_s), bisect_right(run.begins, now_s)):
            vmid, begin_s, end_s = run.vmids[number], run.begins[number], run.ends[number]
            guest = self._cluster.past_guest(vmid)
            kind = guest.kind if guest is not None else "qemu"
            yield Event(begin_s, run.node, "pvescheduler", pid, INFO, f"INFO: Starting Backup of VM {vmid} ({kind})")
            if end_s > now_s:
                return
            if vmid in run.failures:
                text = f"ERROR: Backup of VM {vmid} failed - {run.failures[vmid]}"
                yield Event(end_s, run.node, "pvescheduler", pid, ERROR, text)
            else:
                seconds = int(max(end_s - begin_s, 1.0))
                text = f"INFO: Finished Backup of VM {vmid} ({seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d})"
                yield Event(end_s, run.node, "pvescheduler", pid, INFO, text)


def _bounds(task: Task, tag: str) -> Iterator[Event]:
    """The first and the last word about a task."""
    yield Event(task.start_s, task.node, tag, task.pid, INFO, f"<{task.user}> starting task {task.upid}")
    if task.end_s is not None:
        severity = {"ok": INFO, "warning": WARNING}.get(task.verdict, ERROR)
        yield Event(task.end_s, task.node, tag, task.pid, severity, f"<{task.user}> end task {task.upid} {task.status}")
