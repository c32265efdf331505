"""Follow a proposal on a terminal until nothing more happens by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pveops.base.errors import ExecutorUnavailable, PveopsError
from pveops.frames.display import moment
from pveops.surfaces.cli.context import say
from pveops.surfaces.cli.show import audit_span, steps_of

if TYPE_CHECKING:
    from pveops.clients.executor import ExecutorClient
    from pveops.model.run import ProposalView

AWAY_S = 20.0
"""How long an executor may be away while somebody watches."""
EXIT = {
    "done": 0,
    "warned": 0,
    "failed": 5,
    "unknown": 8,
    "stopped": 6,
    "closed": 8,
    "denied": 6,
    "withdrawn": 6,
    "expired": 6,
    "refused": 6,
    "waiting": 6,
}
"""Exit code by status; 6 means that nothing (more) ran."""


def follow(client: ExecutorClient, proposal_id: str, *, timeout_s: float = 0.0) -> int:
    """Tell each step as it happens; returns the exit code. ``timeout_s``: how long to wait in all, 0 for as long as it takes."""
    from pveops.app.handles import status_of

    deadline = time.monotonic() + timeout_s if timeout_s else None
    told: dict[str, str] = {}
    last = ""
    while True:
        view = _look(client, proposal_id)
        _tell(view, told)
        if not last and status_of(view) == "waiting":
            say(
                f"{proposal_id} waits for approval until {moment(view.proposal.expires, now=view.server_time)} UTC. Ctrl-C ends the watching only.",
                "dim",
            )
        last = status_of(view)
        if last not in ("waiting", "running") or (deadline and time.monotonic() >= deadline):
            break
        _wait(client)
    reason = (view.run.reason if view.run else "") or view.proposal.reason
    took = f", {audit_span(view.audit)}" if view.audit else ""
    say(f"{proposal_id} is {last}{took}. {reason}".rstrip(), "bold")
    return EXIT.get(last, 1)


def _tell(view: ProposalView, told: dict[str, str]) -> None:
    for step, state in steps_of(view):
        if told.get(step.key) != state.phase.value and state.phase.value != "pending":
            told[step.key] = state.phase.value
            say(f"  {state.phase.value:<11} {step.text}" + (f"  {state.reason}" if state.reason else ""))


def _look(client: ExecutorClient, proposal_id: str) -> ProposalView:
    """The proposal as it stands. An executor that is started again is waited for: the run goes on without us.

    Raises:
        ExecutorUnavailable: it stayed away.
    """
    deadline = time.monotonic() + AWAY_S
    told = False
    while True:
        try:
            return client.proposal(proposal_id)
        except ExecutorUnavailable as error:
            if time.monotonic() >= deadline:
                error.hint = f"{error.hint} Then look again: pveops proposals watch {proposal_id}"
                raise
            if not told:
                say("The executor does not answer; waiting for it.", "yellow")
                told = True
            time.sleep(0.5)


def _wait(client: ExecutorClient) -> None:
    try:
        after = max((event.seq for event in client.events(after=-1, wait_s=0)), default=0)
        client.events(after=after, wait_s=2.0)
    except PveopsError:
        time.sleep(1.0)  # whoever is away is told of by the next look
