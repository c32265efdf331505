"""A cluster in memory for tests of the guard: it does what it is told, and fails how it is told. Not a simulation: see ``pveops.sim`` for that."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pveops.base.clock import from_epoch_s
from pveops.base.errors import PveopsError
from pveops.model.facts import Facts
from pveops.model.plan import FieldValue, WireCall
from pveops.model.refs import GuestRef
from pveops.model.resources import Answer, Backup, Node
from pveops.model.tasks import Outcome, Task, Upid
from pveops.testing.build import GUEST

_PATH = re.compile(r"^/nodes/(?P<node>[^/]+)/qemu/(?P<vmid>\d+)/(?P<verb>.+)$")
TOKEN_ID = "operator@pve!act"  # noqa: S105 - a name, no secret


class StepClock:
    """A clock that moves only when it is told to, or slept on."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 11, 21, 14, 32, 7, tzinfo=UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        """The time."""
        return self._now

    def monotonic_s(self) -> float:
        """Seconds since the start."""
        return self._monotonic

    def sleep_s(self, seconds: float) -> None:
        """Move on."""
        self.tick(seconds)

    def wait_s(self, event: threading.Event, seconds: float) -> bool:
        """Move on, without waiting."""
        if not event.is_set():
            self.tick(seconds)
        return event.is_set()

    def tick(self, seconds: float) -> None:
        """Move on."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        """What an administrator may do to a wall clock."""
        self._now -= timedelta(seconds=seconds)


@dataclass(slots=True)
class FakeTask:
    """A task: how it ends, what it writes, and what it does to its guest."""

    upid: Upid
    token: str
    exit_text: str = "OK"
    lines: tuple[str, ...] = ()
    polls_left: int = 0


@dataclass(slots=True)
class FakeCluster:
    """Reader and writer in one.

    ``broken``: by method name, an error that is raised instead (taken off the list at each call where it is one).
    ``on_send``: called with each call that arrives; may change things or raise.
    """

    name: str = "lab"
    clock: StepClock = field(default_factory=StepClock)
    guests: dict[int, dict[str, FieldValue]] = field(default_factory=lambda: {101: dict(GUEST), 102: dict(GUEST), 103: dict(GUEST)})
    nodes_status: dict[str, str] = field(default_factory=lambda: {"pve1": "online", "pve2": "online", "pve3": "online"})
    quorate: bool = True
    received: list[WireCall] = field(default_factory=list)
    tasks: dict[str, FakeTask] = field(default_factory=dict)
    broken: dict[str, list[PveopsError] | PveopsError] = field(default_factory=dict)
    on_send: Callable[[WireCall], None] | None = None
    backup_rows: list[Backup] = field(default_factory=list)
    next_exit: str = "OK"
    next_polls: int = 0
    no_effect: bool = False
    redeem: Callable[[object, WireCall], None] | None = None
    timeout_s: float = 0.05
    ha: str = ""
    """The type of task that a call starts instead: it files an order. The real work begins when the task list is asked for the second time."""
    child_exit: str = "OK"
    orders: list[tuple[WireCall, int]] = field(default_factory=list)
    """Calls that wait for the manager, and how often the list was asked since."""
    _last: Upid | None = None

    @property
    def reader(self) -> FakeCluster:
        """Itself."""
        return self

    @property
    def writer(self) -> FakeCluster:
        """Itself."""
        return self

    @property
    def token_id(self) -> str:
        """Who we are."""
        return TOKEN_ID

    def _fail(self, method: str) -> None:
        planned = self.broken.get(method)
        if isinstance(planned, list):
            if planned:
                raise planned.pop(0)
        elif planned is not None:
            raise planned

    def simulated(self) -> bool:
        """Nothing of it is real."""
        return True

    def version(self) -> str:
        """A version text."""
        self._fail("version")
        return "9.2-fake"

    def facts(self, subjects: Iterable[str], *, at_most_old_s: float = 0.0) -> Facts:
        """As they are."""
        self._fail("facts")
        values: dict[str, FieldValue] = {"cluster.quorate": self.quorate, "cluster.nodes": tuple(self.nodes_status)}
        values["cluster.online"] = tuple(name for name, status in self.nodes_status.items() if status == "online")
        values.update({f"node/{name}.status": status for name, status in self.nodes_status.items()})
        missing = set()
        for subject in subjects:
            kind, _, name = subject.partition("/")
            if kind == "guest" and int(name) in self.guests:
                values.update({f"{subject}.{key}": value for key, value in self.guests[int(name)].items()})
            elif kind == "node" and name in self.nodes_status:
                values[f"{subject}.guests"] = tuple(str(vmid) for vmid, guest in self.guests.items() if guest["node"] == name)
            elif kind in ("node", "guest"):
                missing.add(subject)
        return Facts(values=values, missing=frozenset(missing), read_at=self.clock.now())

    def nodes(self) -> Answer[Node]:
        """Nodes with a third of their memory in use."""
        self._fail("nodes")
        rows = tuple(
            Node(name=name, status="online" if status == "online" else "offline", mem_bytes=16 << 30, maxmem_bytes=48 << 30)
            for name, status in self.nodes_status.items()
        )
        return Answer(rows=rows, read_at=self.clock.now(), source="fake")

    def backups(self) -> Answer[Backup]:
        """Those that a test put there."""
        self._fail("backups")
        return Answer(rows=tuple(self.backup_rows), read_at=self.clock.now(), source="fake")

    def node_time_s(self, node: str, *, at_most_old_s: float = 0.0) -> int:
        """Our clock is theirs."""
        self._fail("node_time_s")
        return int(self.clock.now().timestamp())

    def migrate_preconditions(self, ref: GuestRef, target: str) -> dict[str, Any]:
        """Everything may move everywhere."""
        self._fail("migrate_preconditions")
        return {"running": 1, "allowed_nodes": [target], "local_disks": [], "local_resources": []}

    def can_snapshot(self, ref: GuestRef) -> bool:
        """Yes."""
        self._fail("can_snapshot")
        return True

    def task_outcome(self, upid: Upid) -> Outcome:
        """Runs for a few polls, then ends."""
        self._fail("task_outcome")
        task = self.tasks[upid.text]
        if task.polls_left > 0:
            task.polls_left -= 1
            return Outcome("running")
        return Outcome.of("stopped", task.exit_text)

    def task_log(self, upid: Upid, *, start: int = 0, limit: int = 500) -> tuple[tuple[str, ...], int]:
        """Its lines."""
        self._fail("task_log")
        lines = self.tasks[upid.text].lines
        return lines[start : start + limit], len(lines)

    def node_tasks(self, node: str, *, since_s: int) -> Sequence[Task]:
        """All that started since."""
        self._fail("node_tasks")
        waiting, self.orders = self.orders, []
        for call, asked in waiting:
            if f"/nodes/{node}/" not in call.path:
                self.orders.append((call, asked))
            elif asked:
                order, self.ha, self.next_exit = self.ha, "", self.child_exit
                self.start_task(call, token="root")  # noqa: S106 - a name, no secret
                self.ha, self.next_exit = order, "OK"
            else:
                self.orders.append((call, asked + 1))
        return [
            Task(
                upid=task.upid, node=task.upid.node, type=task.upid.type, id=task.upid.id, user=task.upid.user.partition("!")[0],
                token=task.token, started=from_epoch_s(task.upid.starttime_s), ended=None, outcome=Outcome("running"),
            )
            for task in self.tasks.values()
            if task.upid.node == node and task.upid.starttime_s >= since_s
        ]  # fmt: skip

    def prepare(self) -> None:
        """Nothing to open."""

    def send(self, call: WireCall, grant: object) -> FakeCluster:
        """Take a call: do it, and start a task for it."""
        if self.redeem is not None:
            self.redeem(grant, call)
        self._fail("send_before")
        self.received.append(call)
        if self.on_send is not None:
            self.on_send(call)
        upid = self.start_task(call)
        self._fail("send_after")
        self._last = upid
        return self

    @property
    def upid(self) -> Upid | None:
        """The task of the last call."""
        return self._last

    def start_task(self, call: WireCall, *, token: str = "act") -> Upid:  # noqa: S107 - a name, no secret
        """The task that a call starts, with its effect done at once."""
        match = _PATH.match(call.path)
        if match is None:
            raise AssertionError(f"the fake cluster does not know {call.path}")
        vmid, verb, params = int(match["vmid"]), match["verb"], dict(call.params)
        kind = self.ha or {"migrate": "qmigrate", "snapshot": "qmsnapshot"}.get(verb, f"qm{verb.removeprefix('status/')}")
        if self.ha:
            self.orders.append((call, 0))
        text = f"UPID:{match['node']}:{len(self.tasks) + 1:08X}:0000ABCD:{int(self.clock.now().timestamp()):08X}:{kind}:{vmid}:operator@pve!{token}:"
        upid = Upid.parse(text)
        self.tasks[text] = FakeTask(upid, token, self.next_exit, ("starting", "TASK OK"), self.next_polls)
        if not self.ha and not self.no_effect and self.next_exit.startswith(("OK", "WARNINGS")):
            self._effect(self.guests[vmid], verb, params)
        return upid

    def _effect(self, guest: dict[str, FieldValue], verb: str, params: dict[str, str | int]) -> None:
        if verb == "migrate":
            guest["node"] = str(params["target"])
        elif verb == "snapshot":
            have = guest["snapshots"]
            guest["snapshots"] = (*(have if isinstance(have, tuple) else ()), str(params["snapname"]))
        elif verb == "status/shutdown":
            guest.update(status="stopped", booted_s=None)
        else:
            guest.update(status="running", booted_s=int(self.clock.now().timestamp()))
