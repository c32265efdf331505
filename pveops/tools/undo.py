"""The inverse of what a run did, as a new plan on fresh state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pveops.base.errors import InputError
from pveops.model.facts import mismatches
from pveops.model.plan import Change, Fact, Flow, Plan, Step, Wave
from pveops.tools.ports import Ports

_ASSUMED = ("node", "kind", "status", "lock", "template", "digest", "snapshots", "hastate", "tags", "protection")

_AGAIN = "what was taken back can be proposed again"


def undo_plan(plan: Plan, done: Sequence[str], ports: Ports) -> Plan:
    """A plan that takes back the steps ``done`` (keys) of a plan, last first.

    Raises:
        InputError: nothing was done, a step has no inverse, or the state is no longer the one that the step left behind.
    """
    steps = [step for step in plan.steps if step.key in done]
    if not steps:
        raise InputError("Nothing of this ran, so there is nothing to take back.")
    without = [step for step in steps if step.undo is None]
    if without:
        said = "; ".join(f"{step.text}: {step.no_undo or 'no inverse is known'}" for step in without)
        raise InputError(f"This cannot be taken back. {said}.")
    facts = ports.reader.facts(plan.subjects)
    last = {step.subject: step for step in steps}
    moved = [miss for step in last.values() for miss in mismatches(tuple(fact for fact in step.expects if fact.op != "restarted"), facts)]
    if moved:
        raise InputError(
            f"The state is no longer what it was afterwards: {'; '.join(miss.text for miss in moved)}.",
            hint="Look at the guest and decide anew.",
        )
    undone: list[Step] = []
    seen: set[str] = set()
    for number, step in enumerate(reversed(steps), start=1):
        assumed: tuple[Fact, ...] = ()
        if step.subject not in seen:
            names = [name for name in _ASSUMED if f"{step.subject}.{name}" in facts.values]
            assumed = tuple(Fact(subject=step.subject, field=name, value=facts.values[f"{step.subject}.{name}"]) for name in names)
            seen.add(step.subject)
        undone.append(replace(_held(_inverse(step), assumed), key=f"s{number}", assumes=assumed, no_undo=_AGAIN))
    count = len(undone)
    flow = plan.flow and Flow(
        waves=(Wave(name="wave 1", steps=tuple(step.key for step in undone)),),
        at_once=plan.flow.at_once,
        per_node=plan.flow.per_node,
        may_fail_pct=plan.flow.may_fail_pct,
        after=tuple(last_word(undone)),
    )
    return Plan(
        cluster=plan.cluster,
        tool=f"{plan.tool}.undo",
        args=plan.args,
        summary=undone[0].text if count == 1 else f"Take back: {plan.summary}",
        action="undo" if count == 1 else f"undo of {count} steps",
        steps=tuple(undone),
        changes=tuple(Change(what=change.what, before=change.after, after=change.before) for change in plan.changes if not change.by),
        undo_text="Propose the same again",
        flow=flow,
    )


def last_word(steps: Sequence[Step]) -> list[Fact]:
    """What the steps leave behind, where a later one on the same field has the last word."""
    left = {fact.key: fact for step in steps for fact in step.expects if fact.op == "is"}
    return list(left.values())


def _held(step: Step, assumed: Sequence[Fact]) -> Step:
    """A change of the configuration, held to the version of it that was read just now."""
    digest = next((fact.value for fact in assumed if fact.field == "digest"), None)
    if digest is None or not step.call.path.endswith("/config"):
        return step
    return replace(step, call=replace(step.call, params=(*step.call.params, ("digest", str(digest)))))


def _inverse(step: Step) -> Step:
    if step.undo is None:
        raise InputError(f"{step.text} cannot be taken back.")
    return step.undo
