"""What the machine needs to know of a plan, and which steps' turn has come. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pveops.model.plan import Flow, Plan
from pveops.model.run import Run, StepPhase, StepState


@dataclass(frozen=True, slots=True)
class Course:
    """A plan as the machine sees it: keys, whom they act on, in which order."""

    waves: tuple[tuple[str, ...], ...]
    subject: Mapping[str, str]
    nodes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    storages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    inverse: Mapping[str, str] = field(default_factory=dict)
    """The key of the inverse step, of every step that has one."""
    flow: Flow = field(default_factory=lambda: Flow(waves=()))

    @classmethod
    def of(cls, plan: Plan) -> Course:
        """The course of a plan."""
        return cls(
            waves=tuple(wave.steps for wave in plan.waves),
            subject={step.key: step.subject for step in plan.steps},
            nodes={step.key: step.nodes for step in plan.steps},
            storages={step.key: step.storages for step in plan.steps},
            inverse={step.key: step.undo.key for step in plan.steps if step.undo is not None},
            flow=plan.flow or Flow(waves=()),
        )

    @classmethod
    def plain(cls, keys: tuple[str, ...]) -> Course:
        """Steps one after the other."""
        return cls(waves=tuple((key,) for key in keys), subject={key: key for key in keys})

    def too_many(self, run: Run) -> str:
        """Why no further step begins, where too many went wrong; empty where they did not."""
        bad = [step for step in run.steps if step.phase is StepPhase.FAILED or step.phase is StepPhase.UNKNOWN]
        begun = sum(len(keys) for keys in self.waves[: run.wave + 1])
        if not bad or len(bad) * 100 <= self.flow.may_fail_pct * begun:
            return ""
        if len(bad) == 1:
            return bad[0].reason
        return f"{len(bad)} of {begun} steps went wrong, the first: {bad[0].reason}"

    def left_out(self, run: Run) -> Run:
        """The run without the steps whose forerunner on the same subject failed."""
        if not any(step.phase is StepPhase.FAILED or step.phase is StepPhase.SKIPPED for step in run.steps):
            return run
        failed: set[str] = set()
        steps: list[StepState] = []
        for step in run.steps:
            subject = self.subject[step.key]
            left_out = step.phase is StepPhase.PENDING and subject in failed
            if step.phase in (StepPhase.FAILED, StepPhase.SKIPPED):
                failed.add(subject)
            why = "the step before it on the same target failed"
            steps.append(replace(step, phase=StepPhase.SKIPPED, picked=False, reason=why) if left_out else step)
        return replace(run, steps=tuple(steps))

    def next_wave(self, run: Run) -> bool:
        """Whether the wave that has begun is settled and another one follows."""
        if run.wave + 1 >= len(self.waves):
            return False
        by_key = {step.key: step for step in run.steps}
        return run.wave < 0 or all(by_key[key].phase.settled for key in self.waves[run.wave])

    def pick(self, run: Run) -> Run:
        """The run with every step marked whose turn has come: in plan order, within the limits of the plan and of the policy."""
        wave = set(self.waves[run.wave])
        busy = [step for step in run.steps if step.picked or step.phase.working]
        places = _Places(self, run)
        for step in busy:
            places.take(step.key)
        if places.full:
            return run
        held = {self.subject[step.key] for step in busy}
        picked: set[str] = set()
        for step in run.steps:
            subject = self.subject[step.key]
            if step.phase is StepPhase.PENDING and not step.picked and step.key in wave:
                if subject not in held and places.room(step.key):
                    picked.add(step.key)
                    places.take(step.key)
                held.add(subject)
            elif step.phase is StepPhase.UNKNOWN:
                held.add(subject)
        if not picked:
            return run
        return replace(run, steps=tuple(replace(step, picked=True) if step.key in picked else step for step in run.steps))


class _Places:
    """What is under way: in all, on each node, with each storage."""

    def __init__(self, course: Course, run: Run) -> None:
        flow = course.flow
        self._course = course
        self._limited = bool(flow.waves)
        self._left = flow.at_once
        self._per_node = min(flow.per_node, run.per_node or flow.per_node)
        self._per_storage = run.per_storage
        self._nodes: Counter[str] = Counter()
        self._storages: Counter[str] = Counter()

    def take(self, key: str) -> None:
        """A step is under way."""
        self._left -= 1
        self._nodes.update(self._course.nodes.get(key, ()))
        self._storages.update(self._course.storages.get(key, ()))

    @property
    def full(self) -> bool:
        """Whether none may be, wherever it is."""
        return self._limited and self._left <= 0

    def room(self, key: str) -> bool:
        """Whether one more may be."""
        if not self._limited:
            return True
        if self.full or any(self._nodes[node] >= self._per_node for node in self._course.nodes.get(key, ())):
            return False
        return not self._per_storage or all(self._storages[name] < self._per_storage for name in self._course.storages.get(key, ()))
