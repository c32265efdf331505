"""What cards need from the outside: the executor under one principal's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pveops.model.messages import Event, ResolveRequest
from pveops.model.plan import Plan
from pveops.model.proposal import Preview
from pveops.model.run import ProposalView

Show = Callable[[dict[str, Any], list[str]], None]
"""Puts a payload (``v now_ms cards``; empty: as it was) and the acknowledged messages on the screen; called from any thread."""

Redraft = Callable[[str], ProposalView]
"""Drafts something from a proposal (the same again, its inverse) on fresh state and puts it forward."""


class Decider(Protocol):
    """The executor. Every method raises ``ExecutorUnavailable`` when nobody answers, and what the guard says when it says no."""

    principal: str

    @property
    def can_sign(self) -> bool:
        """Whether this principal has a key to sign approvals with."""
        ...

    def proposal(self, proposal_id: str) -> ProposalView:
        """One proposal."""
        ...

    def preview(self, plan: Plan) -> Preview:
        """A look at the cluster for a plan; nothing is written."""
        ...

    def approve(self, view: ProposalView, *, channel: str) -> ProposalView:
        """Approve exactly what was shown."""
        ...

    def deny(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Say no."""
        ...

    def withdraw(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Take back."""
        ...

    def stop(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Start no further step."""
        ...

    def pause(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Start no further step until it is resumed."""
        ...

    def resume(self, proposal_id: str, reason: str = "") -> ProposalView:
        """Go on after a pause."""
        ...

    def resolve(self, proposal_id: str, request: ResolveRequest) -> ProposalView:
        """A person's word on an unknown outcome."""
        ...

    def events(self, *, after: int, wait_s: float = 20.0) -> Sequence[Event]:
        """Events after a sequence number; a negative number means the last so many."""
        ...

    def audit(self, *, proposal: str = "", limit: int = 100) -> Sequence[Mapping[str, Any]]:
        """Audit records, newest last."""
        ...
