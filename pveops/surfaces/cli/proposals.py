"""``pveops proposals``: what is put forward, and deciding about it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from pveops.base.errors import InputError
from pveops.model.codec import encode
from pveops.model.messages import ResolveRequest
from pveops.model.phases import RunStatus
from pveops.surfaces.cli.context import Output, command, open_executor, open_ops, print_json, print_rows, say
from pveops.surfaces.cli.reads import OUTPUT, PROFILE
from pveops.surfaces.cli.show import print_rehearsal, print_view
from pveops.surfaces.cli.watch import follow

if TYPE_CHECKING:
    from pveops.model.run import ProposalView

proposals = typer.Typer(help="Proposed changes: look, approve, deny, watch.", no_args_is_help=True)
ID = typer.Argument(help="Id of the proposal, p-….")


@proposals.command("ls")
def ls(
    only_open: bool = typer.Option(False, "--open", help="Only what waits, runs, or needs a person."),
    limit: int = typer.Option(50, min=1, help="At most so many."),
    output: Output = OUTPUT,
) -> None:
    """List proposals, newest first."""
    from pveops.app.handles import status_of
    from pveops.present.words import count

    with command("proposals.ls"):
        views = open_executor().proposals(only_open=only_open, limit=limit)
        if output is Output.JSON:
            print_json([encode(view) for view in views])
            return
        rows = [
            {
                "proposal": view.proposal.id, "status": status_of(view), "risk": view.proposal.tier.value.upper(), "summary": view.proposal.plan.summary,
                "asked by": view.proposal.requester, "created": view.proposal.created,
            }
            for view in views
        ]  # fmt: skip
        if rows:
            print_rows(rows, tuple(rows[0]))
        say(f"{count(len(rows), 'proposal')}." if rows else "No proposals.", "dim")


@proposals.command("show")
def show(proposal: str = ID, output: Output = OUTPUT) -> None:
    """Show one proposal with its plan or its run."""
    with command("proposals.show"):
        print_view(open_executor().proposal(proposal), output)


@proposals.command("approve")
def approve(
    proposal: str = ID,
    yes: bool = typer.Option(False, "--yes", help="Do not ask again. For destructive proposals the phrase is asked all the same."),
    watch: bool = typer.Option(True, help="Wait and tell what becomes of it."),
    output: Output = OUTPUT,
) -> None:
    """Approve a proposal, signed with your key. It then runs."""
    with command("proposals.approve"):
        client = open_executor()
        view = client.proposal(proposal)
        print_view(view, output)
        if view.proposal.status.open and client.can_sign:
            _ask(view, yes=yes)
        after = client.approve(view, channel="cli").proposal
        say(f"Approved by {client.principal}.")
        if after.status.open:
            say(f"Nothing runs yet: {after.missing} more must approve {proposal}.")
        elif watch:
            raise typer.Exit(follow(client, proposal))


def _ask(view: ProposalView, *, yes: bool) -> None:
    """A destructive plan wants its id typed; anything else a yes.

    Raises:
        InputError: it was not given; nothing was approved.
    """
    red = view.proposal.tier.value == "red"
    if yes and not red:
        return
    wanted = f"approve {view.proposal.id}" if red else "yes"
    sys.stderr.write(f"Type {wanted!r} to confirm {view.proposal.plan.action}: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != wanted:
        raise InputError("Not confirmed. Nothing ran.", hint="The proposal still waits.")


@proposals.command("rehearse")
def rehearse(
    proposal: str = ID,
    profile: str = PROFILE,
    output: Output = OUTPUT,
) -> None:
    """Try a proposal on a simulated copy of the cluster and put the report beside it. The cluster itself is only read."""
    with command("proposals.rehearse"):
        handle = open_ops(profile).proposal(proposal)
        say("Looking at the cluster, then trying the plan on a simulated copy of it.", "dim")
        report = handle.rehearse()
        if output is Output.JSON:
            print_json(encode(report))
        else:
            print_rehearsal(report, report.at or report.looked_at)
        if report.outcome not in (RunStatus.DONE, RunStatus.WARNED):
            raise typer.Exit(5 if report.outcome is RunStatus.FAILED else 8)


def _add(verb: str, does: str, said: str) -> None:
    """A command that hands one word about a proposal to the executor, with a reason."""

    @proposals.command(verb, help=does)
    def tell(proposal: str = ID, reason: str = typer.Option("", help="Why; it is written down.")) -> None:
        with command(f"proposals.{verb}"):
            getattr(open_executor(), verb)(proposal, reason)
            say(said.format(proposal))


for _verb, _does, _said in (
    ("deny", "Say no to a proposal.", "{0} is denied. Nothing ran."),
    ("withdraw", "Take a proposal of your own back.", "{0} is withdrawn. Nothing ran."),
    ("stop", "Start no further step of a run. The step under way is not interrupted.", "{0}: no further step starts."),
    (
        "pause",
        "Start no further step until it is resumed. Steps under way are not interrupted; the run keeps its guests.",
        "{0} is paused; `pveops proposals resume {0}` lets it go on.",
    ),
    ("resume", "Let a paused run go on.", "{0} goes on."),
):
    _add(_verb, _does, _said)


@proposals.command("undo")
def undo(proposal: str = ID, output: Output = OUTPUT) -> None:
    """Propose the inverse of what a finished run did, on the state as it is now. It waits for its own approval."""
    with command("proposals.undo"):
        handle = open_ops(None).undo(proposal).propose()
        print_view(handle.view(), output)
        say(f"Confirm with: pveops proposals approve {handle.id}")


@proposals.command("watch")
def watch(proposal: str = ID, timeout_s: float = typer.Option(0.0, "--timeout-s", help="Give up waiting after so many seconds.")) -> None:
    """Tell what becomes of a proposal. The exit code says how it ended."""
    with command("proposals.watch"):
        raise typer.Exit(follow(open_executor(), proposal, timeout_s=timeout_s))


@proposals.command("resolve")
def resolve(
    proposal: str = ID,
    what: str = typer.Argument(help="look (look again), happened, not-happened, or close (leave it unknown)."),
    reason: str = typer.Option("", help="How you know; it is written down."),
) -> None:
    """Say what became of a step whose outcome is unknown."""
    said = what.replace("-", "_")
    with command("proposals.resolve"):
        if said not in ("look", "happened", "not_happened", "close"):
            raise InputError(f"{what!r} cannot be said about a step.", hint="Say look, happened, not-happened or close.")
        client = open_executor()
        client.resolve(proposal, ResolveRequest(what=said, reason=reason))  # type: ignore[arg-type]
        raise typer.Exit(follow(client, proposal, timeout_s=60.0))
