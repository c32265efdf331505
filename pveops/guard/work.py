"""A run in our hands, and the hands: as many threads as its plan lets work at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from pveops.guard.course import Course
from pveops.guard.machine import Command
from pveops.guard.ports import Cluster
from pveops.model.plan import Step
from pveops.model.proposal import Proposal
from pveops.model.run import Run, StepState


@dataclass(slots=True)
class Work:
    """A run in our hands."""

    run: Run
    proposal: Proposal
    cluster: Cluster
    seen: int
    """Events of its journal that ``run`` is made of."""
    course: Course = field(init=False)
    planned: dict[str, Step] = field(init=False)
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while an event is added: a person's word and several steps may come at once."""
    todo: list[Command] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    """Steps that a thread works on; the empty name stands for the run as a whole."""
    moved: threading.Condition = field(init=False)
    intended_s: dict[str, float] = field(default_factory=dict)
    """When the intent of a step was on disk, by our monotonic clock."""
    over: bool = False
    """Nothing further is begun in this process: it ends, or the run is another worker's."""

    def __post_init__(self) -> None:
        plan = self.proposal.plan
        self.course = Course.of(plan)
        self.planned = {step.key: step for step in (*plan.steps, *plan.taken_back)}
        self.moved = threading.Condition(self.lock)

    def step(self, key: str) -> tuple[Step, StepState]:
        """A step as planned and as it stands."""
        return self.planned[key], next(state for state in self.run.steps + self.run.undo if state.key == key)


class Crew:
    """Carries out commands of one run until none is left. One thread per step at a time."""

    def __init__(self, work: Work, do: Callable[[Command], Iterable[Command] | None], pool: Callable[[], ThreadPoolExecutor]) -> None:
        self._work = work
        self._do = do
        self._pool = pool
        self._helpers: list[Future[None]] = []

    def carry(self, commands: Iterable[Command]) -> None:
        """Work in the calling thread, with helpers where several steps may go on at once."""
        with self._work.lock:
            self._work.todo = list(commands)
        try:
            self._drain()
        finally:
            wait(self._helpers)
        for helper in self._helpers:
            helper.result()

    def _drain(self) -> None:
        work = self._work
        while True:
            with work.lock:
                command = self._next()
            while command is not None:
                command = self._one(command)
            with work.lock:
                if work.over or not (work.todo or work.busy):
                    return

    def _one(self, command: Command) -> Command | None:
        """Carry out one command; returns the request that must follow its intent at once, whatever else happens meanwhile."""
        work = self._work
        more: list[Command] = []
        over = True
        try:
            found = self._do(command)
            over, more = found is None, list(found or ())
        finally:
            with work.lock:
                at_once = next((other for other in more if other.kind == "send" and other.step == command.step), None)
                work.todo.extend(other for other in more if other is not at_once)
                work.over = work.over or over
                if at_once is None:
                    work.busy.discard(command.step)
                work.moved.notify_all()
        return at_once

    def _next(self) -> Command | None:
        """A command whose step nobody works on; waits while others work. Holds the lock."""
        work = self._work
        while not work.over:
            found = next((index for index, command in enumerate(work.todo) if command.step not in work.busy), None)
            if found is not None:
                command = work.todo.pop(found)
                work.busy.add(command.step)
                if any(other.step not in work.busy for other in work.todo):
                    self._helpers.append(self._pool().submit(self._drain))
                return command
            if not work.busy:
                return None
            work.moved.wait(1.0)
        return None
