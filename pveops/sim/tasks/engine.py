"""Runs tasks. The body of a task is a generator: it yields how many seconds pass before it goes on, writes its log, and changes state as it goes.

Nothing ticks: the next step of each task stands in the agenda of the cluster and happens at its moment of simulated time, in order,
when somebody next looks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import islice

from pveops.sim.errors import RefusedError
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.identity import Principal
from pveops.sim.tasks.task import Task, jiffies

Body = Generator[float, None, None]
Work = Callable[[Task], Body]

FORK_S = 0.04
"""From the answer of the API to the first step of the worker."""

_KEPT_PER_NODE = 1500


class StoppedError(Exception):
    """Thrown into a body when somebody stops its task; its ``finally`` parts put things in order."""


class Engine:
    """All tasks that were started in this cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tasks: dict[str, dict[str, Task]] = {}
        self._bodies: dict[str, Body] = {}
        self._left: list[Body] = []
        """Work of tasks that died: nothing of it is put in order, so nothing of it may be closed."""

    def spawn(self, node: str, kind: str, about: str, who: Principal, work: Work) -> Task:
        """Start a task; its first step happens a moment later."""
        cluster = self._cluster
        where = cluster.nodes[node]
        now_s = cluster.now_s
        shown_s = now_s + where.skew_s
        task = Task(node, where.take_pid(), jiffies(where.boot_s, now_s), shown_s, kind, about, who.name)
        self.add(task)
        self._bodies[task.upid] = work(task)
        cluster.note(node, who.name, f"starting task {task.upid}")
        cluster.agenda.add(now_s + FORK_S, lambda: self._step(task))
        dying = cluster.ills.dying_task(node, kind, now_s)
        if dying is not None:
            dying.left -= 1
            cluster.agenda.add(now_s + dying.after_s, lambda: self.die(task))
        return task

    def add(self, task: Task) -> None:
        """Take a task into the list of its node, as it is."""
        tasks = self._tasks.setdefault(task.node, {})
        tasks[task.upid] = task
        if len(tasks) > _KEPT_PER_NODE:
            for upid in list(islice((upid for upid, old in tasks.items() if not old.running), 100)):
                del tasks[upid]

    def _step(self, task: Task) -> None:
        body = self._bodies.get(task.upid)
        if body is None:
            return
        try:
            wait_s = next(body)
        except StopIteration:
            self._finish(task, f"WARNINGS: {task.warnings}" if task.warnings else "OK")
        except RefusedError as err:
            self._finish(task, err.reason)
        else:
            self._cluster.agenda.add(self._cluster.now_s + wait_s, lambda: self._step(task))

    def _finish(self, task: Task, status: str) -> None:
        self._bodies.pop(task.upid, None)
        task.end_s = self._cluster.now_s + self._cluster.nodes[task.node].skew_s
        task.status = status
        last = f"TASK {status}" if status == "OK" or status.startswith("WARNINGS: ") else f"TASK ERROR: {status}"
        task.say(last)
        self._cluster.note(task.node, task.user, f"end task {task.upid} {status}")

    def stop(self, task: Task) -> None:
        """Stop a running task; one that has ended stays as it is."""
        body = self._bodies.get(task.upid)
        if body is None:
            return
        try:
            body.throw(StoppedError())
        except (StoppedError, StopIteration):
            pass
        except RefusedError as err:
            task.say(err.reason)
        body.close()
        self._finish(task, "interrupted by signal")

    def die(self, task: Task) -> None:
        """The process of a running task is gone: no last line, no order, locks stay where they are."""
        body = self._bodies.pop(task.upid, None)
        if body is None:
            return
        self._left.append(body)
        task.end_s = self._cluster.now_s + self._cluster.nodes[task.node].skew_s
        task.status = "unexpected status"
        self._cluster.note(task.node, task.user, f"end task {task.upid} unexpected status")

    def die_on(self, node: str) -> None:
        """All running tasks of a node die with it."""
        for task in self.on(node):
            self.die(task)

    def find(self, node: str, upid: str) -> Task | None:
        """The task of that id."""
        return self._tasks.get(node, {}).get(upid)

    def on(self, node: str) -> list[Task]:
        """The tasks of a node, oldest first."""
        return list(self._tasks.get(node, {}).values())
