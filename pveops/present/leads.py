"""One sentence per state: what happened, what it means. "Nothing ran" is always said when it is true."""

from __future__ import annotations

from datetime import datetime

from pveops.base.units import fmt_duration
from pveops.model.plan import Fact, Plan, Step
from pveops.model.proposal import ProposalStatus
from pveops.model.run import ProposalView, Run, StepPhase, StepState
from pveops.present.states import State
from pveops.present.words import Span, clock, emphasised, listed, node_of, plain, sentence, small, span, steps_named

_SURFACES = {
    "lab": "a notebook",
    "python": "Python",
    "chat": "the chat",
    "cli": "a terminal",
    "dashboard": "the page",
    "runbook": "a runbook",
}


def lead(view: ProposalView, state: State, now: datetime) -> list[Span]:
    """The line under the title."""
    proposal, run = view.proposal, view.run
    if state in ("waiting", "refused") or (run is None and state not in ("expired", "denied", "withdrawn", "running")):
        return origin(view, now)
    if state == "expired":
        minutes = fmt_duration((proposal.expires - proposal.created).total_seconds())
        return [span(f"Nobody decided within {minutes}. Nothing ran.")]
    if state == "denied":
        why = f": {proposal.reason.rstrip('.')}" if proposal.reason else ""
        return [span("Denied by "), span(proposal.decided_by, "b"), span(f" at {clock(proposal.decided_at, now)}{why}. Nothing ran.")]
    if state == "withdrawn":
        return [span(proposal.decided_by, "b"), span(f" took it back at {clock(proposal.decided_at, now)}. Nothing ran.")]
    if state == "running" or run is None:
        return [span("Confirmed by "), span(proposal.decided_by, "b"), span(f" at {clock(proposal.decided_at, now)}")]
    if state == "used":
        return _used(view, run, now)
    return [span(_outcome(proposal.plan, run, state, now))]


def origin(view: ProposalView, now: datetime) -> list[Span]:
    """Who drafted it, who asked, where and when."""
    proposal = view.proposal
    kind, _, name = proposal.author.partition(":")
    place = proposal.origin.place or _SURFACES.get(proposal.origin.surface, proposal.origin.surface)
    where = f" in {place}" if place else ""
    asked = [span(proposal.requester, "b"), span(f"{where} at {clock(proposal.created, now)}")]
    if kind == "person":
        return [span("Drafted by "), *asked]
    return [span(f"Drafted by the model {name}, asked by " if kind == "model" else f"Drafted by the {kind} {name}, asked by "), *asked]


def origin_icon(view: ProposalView) -> str:
    """The icon of who drafted it."""
    return {"model": "model", "runbook": "runbook"}.get(view.proposal.author.partition(":")[0], "person")


def _used(view: ProposalView, run: Run, now: datetime) -> list[Span]:
    how = {
        "done": "done",
        "warned": "done with warnings",
        "failed": "failed",
        "stopped": "stopped",
        "closed": "closed with an unknown outcome",
    }
    ended = how.get(run.status.value, run.status.value)
    return [
        span("Running this cell again confirms nothing. This proposal was approved by "),
        span(run.approved_by or view.proposal.decided_by, "b"),
        span(f" and ended {ended} at {clock(run.ended, now)}."),
    ]


def _outcome(plan: Plan, run: Run, state: State, now: datetime) -> str:
    good = [number for number, step in enumerate(run.steps, start=1) if step.phase.good]
    if state in ("done", "warned"):
        text = read_back(plan, run)
        warned = sum(step.phase is StepPhase.WARNED for step in run.steps)
        return f"{text} {sentence(f'{small(warned)} task' + ('s' if warned > 1 else '') + ' ended with a warning')}" if warned else text
    if state == "stopped":
        rest = [number for number, step in enumerate(run.steps, start=1) if step.phase is StepPhase.SKIPPED]
        after = f" after step {good[-1]}" if good else " before its first step. Nothing ran"
        left = f" {sentence(f'{steps_named(rest)} ' + ('was' if len(rest) == 1 else 'were') + ' not started')}" if rest else ""
        return f"Stopped by {run.stop_asked_by or 'a person'}{after}.{left}"
    number, step, planned = _trouble(plan, run)
    if state == "unknown":
        text = sentence(step.reason or f"{node_of(planned)} took the request but never answered. We did not send it again")
        return text if step.upid or "did not send it again" in text else f"{text} We did not send it again."
    if state == "closed":
        return f"{sentence(run.reason or 'closed')[:-1]} at {clock(run.ended, now)}. What became of step {number} is not known."
    if state == "undone":
        return (
            f"Step {number} failed, so {steps_named(good) if good else 'what was done'} {'was' if len(good) == 1 else 'were'} taken back."
        )
    return _failed(plan, run, good, number, step)


def _failed(plan: Plan, run: Run, good: list[int], number: int, step: StepState) -> str:
    which = f"Step {number} failed" if len(plan.steps) > 1 else "It failed"
    reason = (step.reason or "no reason was given").rstrip(". ")
    text = f"{which}. {reason}." if reason[0].isupper() else f"{which}: {reason}."
    rest = [index for index, other in enumerate(run.steps, start=1) if other.phase is StepPhase.SKIPPED]
    if good:
        text += f" {sentence(f'{steps_named(good)} ' + ('is' if len(good) == 1 else 'are') + ' done')}"
    if rest:
        text += f" {sentence(f'{steps_named(rest)} ' + ('was' if len(rest) == 1 else 'were') + ' not started')}"
    return f"{text} Nothing ran." if nothing_ran(run, plan) else text


def nothing_ran(run: Run, plan: Plan) -> bool:
    """Whether it is certain that no step changed anything: none is done, and the failed one was never sent, or was refused at once."""
    if any(step.phase.good or step.phase is StepPhase.UNKNOWN for step in run.steps):
        return False
    _, step, planned = _trouble(plan, run)
    if step.reason.endswith("Nothing was sent."):
        return True
    refused_at_once = bool(planned.task_types) and not step.upid and not step.looked and not step.exit_text
    return step.phase is StepPhase.FAILED and refused_at_once and "says that" not in step.reason and "task ended" not in step.reason


def _trouble(plan: Plan, run: Run) -> tuple[int, StepState, Step]:
    """The step that stopped the run: its number, its state, its plan."""
    index = next((index for index, step in enumerate(run.steps) if not step.phase.good), len(run.steps) - 1)
    return index + 1, run.steps[index], plan.steps[index]


def read_back(plan: Plan, run: Run) -> str:
    """What was read after the work, in words."""
    if len(plan.steps) > 1:
        return f"{sum(step.phase.good for step in run.steps)} of {len(plan.steps)} steps read back."
    step = plan.steps[0]
    name = plain([piece for piece in emphasised(step.text, step.subject) if piece.get("s") == "b"]) or step.subject.replace("/", " ")
    facts = [said for fact in step.expects if (said := _fact(fact))]
    return f"Read back: {name} {listed(facts)}." if facts else "Read back."


def _fact(fact: Fact) -> str:
    if fact.op == "restarted":
        return "was restarted"
    value = str(fact.value)
    if fact.field == "snapshots":
        return f"has the snapshot {value}" if fact.op == "has" else f"no longer has the snapshot {value}"
    if fact.op != "is":
        return ""
    return {"node": f"is on {value}", "status": f"is {value}"}.get(fact.field, f"has {fact.field} {value}")


def note(view: ProposalView, state: State) -> dict[str, str] | None:
    """The box that explains a refusal."""
    proposal = view.proposal
    if state != "refused":
        return None
    first, _, rest = proposal.reason.partition(". ")
    strong = sentence(first or "This was refused")
    text = rest.strip()
    ran = "" if "Nothing ran." in proposal.reason else "Nothing ran."
    return {"tone": "error", "strong": strong, "text": " ".join(part for part in (text, ran) if part)}


def settled(view: ProposalView) -> bool:
    """Whether nothing more happens to a proposal by itself or by a decision."""
    if view.proposal.status is ProposalStatus.APPROVED:
        return view.run is not None and view.run.status.ended
    return not view.proposal.status.open


def settled_at(view: ProposalView) -> datetime:
    """When a settled proposal was settled."""
    run = view.run
    return (run.ended if run is not None else None) or view.proposal.decided_at or view.proposal.expires
