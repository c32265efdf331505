"""How much was done lately, and whether more may be. Counted in the store, so that a restart forgets nothing; always told as a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from pveops.base.clock import Clock
from pveops.base.errors import Denied
from pveops.guard.limits import Limits
from pveops.model.plan import Plan

_HOUR_S, _DAY_S = 3600, 86_400
RATE_S = 60.0
"""The minute of ``rate.proposals_per_minute``."""


class Memory(Protocol):
    """Durable counters and notes."""

    def targets(self, cluster: str, people: Iterable[str], *, since_s: int) -> set[str]:
        """What these people asked for or approved since a time (Unix seconds)."""
        ...

    def steps(self, cluster: str, *, since_s: int, requester: str | None = None, standing: str | None = None) -> int:
        """Steps since a time: of one requester, of one standing rule, or (``standing=""``) of all standing rules."""
        ...

    def spend(self, rows: Iterable[dict[str, Any]], check: Callable[[], None], *, forget_before_s: int) -> None:
        """Write usage down if ``check`` lets it, with nobody else spending in between, and drop what is older."""
        ...

    def note(self, kind: str, name: str) -> dict[str, Any] | None:
        """A note."""
        ...

    def notes(self, kind: str) -> dict[str, dict[str, Any]]:
        """All notes of a kind by name."""
        ...

    def keep(self, kind: str, name: str, body: dict[str, Any] | None) -> None:
        """Write a note, or with none drop it."""
        ...


class Budget:
    """Counts and refuses."""

    def __init__(self, memory: Memory, clock: Clock) -> None:
        self.memory = self._memory = memory
        self._clock = clock
        self._asked: dict[str, list[float]] = {}

    def recent(self, cluster: str, people: Iterable[str], limits: Limits) -> set[str]:
        """Targets of these people within the window of the blast radius."""
        return self._memory.targets(cluster, people, since_s=self._ago(limits.blast.window_s))

    def ask(self, who: str, limits: Limits) -> str:
        """Why this principal may not put forward one more now; empty where it may, and then it counts."""
        now = self._clock.monotonic_s()
        recent = self._asked[who] = [at for at in self._asked.get(who, []) if at > now - RATE_S]
        if len(recent) >= limits.rate.proposals_per_minute:
            return f"{who} has put forward {len(recent)} proposals within a minute, and the limit is {limits.rate.proposals_per_minute}."
        recent.append(now)
        return ""

    def recall(self, made: Iterable[tuple[str, datetime]]) -> None:
        """Count what was put forward (by whom, when) before this process began. A time to come counts as now."""
        now, now_s = self._clock.now(), self._clock.monotonic_s()
        for who, at in made:
            self._asked.setdefault(who, []).append(now_s - max(0.0, (now - at).total_seconds()))

    def spend(
        self, plan: Plan, *, proposal_id: str, requester: str, approver: str, standing: str, targets: Sequence[str], limits: Limits,
        running: Sequence[Plan], most_standing: tuple[int, int] | None = None,
    ) -> None:  # fmt: skip
        """Count a run that is about to be let go.

        Args:
            plan: its plan.
            proposal_id: for the record.
            requester: the person who asked.
            approver: the person who approved last, or who signed the standing rule.
            standing: the standing rule's id; empty where a person approved.
            targets: what it reaches, what it does not name included.
            limits: those in force.
            running: plans of this cluster that are under way.
            most_standing: steps that the rule may take in an hour and in a day.

        Raises:
            Denied: one more would be too much; ``details['rule']`` names the limit. Nothing is counted.
        """
        now_s = int(self._clock.now().timestamp())
        on = dict(Counter(step.subject for step in plan.steps))
        rows = [
            {"at_s": now_s, "cluster": plan.cluster, "requester": requester, "approver": approver, "standing": standing,
             "proposal_id": proposal_id, "target": target, "steps": on.get(target, 0)}
            for target in dict.fromkeys((*plan.subjects, *targets))
        ]  # fmt: skip

        def check() -> None:
            self._rate(plan, requester, limits)
            if standing:
                self._standing(plan, standing, limits, most_standing or (0, 0))
            _concurrency(plan, limits, running)

        self._memory.spend(rows, check, forget_before_s=now_s - 2 * _DAY_S)

    def _rate(self, plan: Plan, requester: str, limits: Limits) -> None:
        most, had = limits.rate.changes_per_hour, self._memory.steps(plan.cluster, since_s=self._ago(_HOUR_S), requester=requester)
        if had + len(plan.steps) > most:
            raise _too_much("limit-rate", f"{requester} has changed {plan.cluster} {had} times within an hour, and the limit is {most}")

    def _standing(self, plan: Plan, standing: str, limits: Limits, most: tuple[int, int]) -> None:
        for span_s, of_rule, of_all, words in (
            (_HOUR_S, most[0], limits.autopilot.changes_per_hour, "an hour"),
            (_DAY_S, most[1], limits.autopilot.changes_per_day, "a day"),
        ):
            since_s = self._ago(span_s)
            had, had_all = (self._memory.steps(plan.cluster, since_s=since_s, standing=name) for name in (standing, ""))
            if had + len(plan.steps) > of_rule:
                raise _too_much(
                    "limit-standing-rule", f"{standing} has been used for {had} steps within {words}, and its budget is {of_rule}"
                )
            if had_all + len(plan.steps) > of_all:
                raise _too_much(
                    "limit-autopilot", f"standing rules have been used for {had_all} steps within {words}, and the limit is {of_all}"
                )

    def _ago(self, seconds: int) -> int:
        return int((self._clock.now() - timedelta(seconds=seconds)).timestamp())


def _concurrency(plan: Plan, limits: Limits, running: Sequence[Plan]) -> None:
    for what, most in (("node", limits.concurrency.per_node), ("storage", limits.concurrency.per_storage)):
        busy = Counter(name for other in running for name in _touched(other, what))
        for name in sorted(_touched(plan, what)):
            if busy[name] >= most:
                raise _too_much(f"limit-{what}", f"{busy[name]} runs are under way on {what} {name}, and the limit is {most}")


def _touched(plan: Plan, what: str) -> set[str]:
    return {name for step in plan.steps for name in (step.nodes if what == "node" else step.storages)}


def _too_much(rule: str, text: str) -> Denied:
    return Denied(f"{text}. Nothing ran.", hint="Wait, or let an operator change limits.toml.", details={"rule": rule})
