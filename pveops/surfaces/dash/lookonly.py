"""The executor for a page that no gate guards: everything can be seen, nothing decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from pveops.base.errors import Denied
from pveops.model.messages import Event
from pveops.model.plan import Plan
from pveops.model.proposal import Preview
from pveops.model.run import ProposalView
from pveops.present.ports import Decider


class LookOnly:
    """Wraps a decider. Whatever would change something is refused before it is asked."""

    principal = "this page"
    can_sign = False

    def __init__(self, decider: Decider) -> None:
        self._decider = decider

    def proposal(self, proposal_id: str) -> ProposalView:
        """One proposal."""
        return self._decider.proposal(proposal_id)

    def preview(self, plan: Plan) -> Preview:
        """A look at the cluster; nothing is written."""
        return self._decider.preview(plan)

    def events(self, *, after: int, wait_s: float = 20.0) -> Sequence[Event]:
        """The executor's events."""
        return self._decider.events(after=after, wait_s=wait_s)

    def audit(self, *, proposal: str = "", limit: int = 100) -> Sequence[Mapping[str, Any]]:
        """Audit records."""
        return self._decider.audit(proposal=proposal, limit=limit)

    def _refuse(self, *_given: object, **_named: object) -> NoReturn:
        raise Denied(
            "This page is served without sign-in, so it decides nothing. Nothing ran.",
            hint="Start it with `pveops up`.",
            details={"rule": "page-without-gate"},
        )

    approve = deny = withdraw = stop = pause = resume = resolve = _refuse
