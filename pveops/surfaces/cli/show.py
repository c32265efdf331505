"""Plans and proposals on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pveops.frames.display import moment
from pveops.model.codec import encode
from pveops.surfaces.cli.context import Output, out, print_json

if TYPE_CHECKING:
    from datetime import datetime

    from pveops.model.plan import Plan, Step
    from pveops.model.proposal import Preview, Proposal
    from pveops.model.rehearsal import Rehearsal
    from pveops.model.run import ProposalView, Run, StepState

_TIER = {"green": "green", "yellow": "yellow", "red": "bold red", "black": "bold reverse"}
_MARK = {"ok": "ok", "warn": "warning", "fail": "no", "unknown": "not known"}


def print_draft(plan: Plan, seen: Preview, output: Output) -> None:
    """A plan that is not proposed, with what a look at the cluster says."""
    if output is Output.JSON:
        print_json({"plan": encode(plan), "digest": plan.digest, "preview": encode(seen)})
        return
    console = out()
    console.print(Text(f"[draft] {plan.summary}", style="bold"))
    _print_plan(plan)
    _print_preview(seen)
    console.print(Text("Dry run: nothing was proposed, nothing was changed.", style="dim"))


def print_view(view: ProposalView, output: Output) -> None:
    """A proposal as it stands."""
    if output is Output.JSON:
        print_json(encode(view))
        return
    from pveops.app.handles import status_of
    from pveops.present.card import many
    from pveops.present.states import risk

    proposal, console = view.proposal, out()
    head = Text(f"[{status_of(view)}] ", style="bold")
    head.append(f"{proposal.id}  ")
    head.append(
        f"{proposal.tier.value.upper()} {risk(proposal.tier, many=many(proposal.plan, proposal.tier))['means']}",
        style=_TIER[proposal.tier.value],
    )
    if proposal.status.open:
        head.append(f"  expires {moment(proposal.expires, now=view.server_time)} UTC", style="dim")
    if proposal.simulated:
        head.append("  simulated cluster", style="dim")
    console.print(head)
    who = f"drafted by {proposal.author.partition(':')[2] or 'a person'}, asked by {proposal.requester}, {proposal.origin.surface} {proposal.origin.place}".strip()
    console.print(Text(f"{proposal.plan.summary} ({who})"))
    if view.run is None:
        _print_plan(proposal.plan)
        _print_preview(proposal.preview)
    else:
        _print_run(view, view.run)
    if proposal.rehearsal is not None:
        print_rehearsal(proposal.rehearsal, view.server_time)
    if proposal.reason:
        console.print(Text(f"  {proposal.reason}"))
    _print_votes(proposal)
    if view.audit:
        console.print(Text(f"  plan {proposal.digest[:8]}, {audit_span(view.audit)}, {proposal.correlation}", style="dim"))


def audit_span(seqs: tuple[int, ...]) -> str:
    """Where the ledger tells of it: ``audit 9``, ``audit 9 to 14``."""
    first, last = seqs[0], seqs[-1]
    return f"audit {first}" if first == last else f"audit {first} to {last}"


def _print_run(view: ProposalView, run: Run) -> None:
    console = out()
    if run.paused_by:
        console.print(Text(f"  paused by {run.paused_by}", style="yellow"))
    for step, state in steps_of(view):
        why = f"  {state.reason}" if state.reason else ""
        console.print(Text(f"  {state.phase.value:<11} {step.text}{why}"))
        if state.upid:
            console.print(Text(f"              {state.upid}", style="dim"))
    if run.status.ended and not run.undo and any(state.phase.good for state in run.steps):
        from pveops.present.card import no_way_back

        why = no_way_back(view.proposal.plan, run)
        console.print(Text(f"  undo: {f'none: {why}' if why else f'pveops proposals undo {view.proposal.id}'}", style="dim"))


def print_rehearsal(report: Rehearsal, now: datetime) -> None:
    """What a plan did on a simulated copy."""
    from pveops.present.rehearsed import rehearsal_lines

    console = out()
    for number, line in enumerate(rehearsal_lines(report, now)):
        console.print(Text(f"  {line}", style="" if number == 0 else "dim"))


def steps_of(view: ProposalView) -> list[tuple[Step, StepState]]:
    """Each step with how it stands, and after them those that are taken back."""
    if view.run is None:
        return []
    inverse = {step.key: step for step in view.proposal.plan.taken_back}
    return [*zip(view.proposal.plan.steps, view.run.steps, strict=True), *((inverse[state.key], state) for state in view.run.undo)]


def _print_votes(proposal: Proposal) -> None:
    """Who has approved, and how many more must."""
    if not proposal.status.open or proposal.needs < 2:
        return
    given = ", ".join(vote.person for vote in proposal.votes) or "nobody yet"
    text = f"  {proposal.needs - proposal.missing} of {proposal.needs} approvals given, by {given}; {proposal.missing} more must approve"
    out().print(Text(text))


def _print_plan(plan: Plan) -> None:
    console = out()
    first = {wave.steps[0]: wave.name for wave in plan.flow.waves} if plan.flow is not None else {}
    if plan.flow is not None:
        from pveops.present.steps import heading

        console.print(Text(f"  {heading(plan)}"))
    for number, step in enumerate(plan.steps, start=1):
        if step.key in first:
            console.print(Text(f"  {first[step.key]}", style="bold"))
        console.print(Text(f"  {number}  {step.text}" + (f"  ({step.note})" if step.note else "")))
        console.print(Text(f"     {step.call.text}", style="dim"))
    for change in plan.changes:
        console.print(Text(f"     {change.what}: {change.before} becomes {change.after}" + (f" ({change.by})" if change.by else "")))
    if plan.undo_text:
        console.print(Text(f"     undo: {plan.undo_text}", style="dim"))


def _print_preview(seen: Preview) -> None:
    console = out()
    for check in seen.checks:
        style = {"ok": "dim", "warn": "yellow", "fail": "red", "unknown": "magenta"}[check.result]
        console.print(Text(f"     {_MARK[check.result]}: {check.text}", style=style))
