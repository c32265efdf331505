"""A rehearsal that somebody wants to put beside a proposal: is it of this plan, and does it have the form of a report?

The executor did not see it happen. It says who brought it, and that is what a person weighs.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from pveops.base.errors import Forged, InputError
from pveops.model.proposal import Proposal
from pveops.model.rehearsal import Rehearsal
from pveops.model.run import RunStatus

_MOST_ROWS = 200
_MOST_TEXTS = 60
_LONGEST_TEXT = 600
_LONGEST_S = 7 * 86_400.0
_CLOCKS = timedelta(minutes=5)


def check_rehearsal(report: Rehearsal, proposal: Proposal, *, now: datetime) -> None:
    """Return if the report can stand beside the proposal.

    Raises:
        Forged: it is of another plan.
        InputError: it has not the form of a report.
    """
    if report.plan_digest != proposal.digest:
        raise Forged(
            f"This rehearsal is of another plan than that of {proposal.id}.", hint="Rehearse this one.", details={"proposal": proposal.id}
        )
    planned = [step.key for step in proposal.plan.steps]
    if [step.key for step in report.steps] != planned:
        raise InputError("The rehearsal has other steps than the plan.", hint="Rehearse it again.")
    if report.outcome in (RunStatus.DONE, RunStatus.WARNED) and report.good != len(planned):
        raise InputError("The rehearsal is said to have gone well, but not all its steps have.", hint="Rehearse it again.")
    texts = [
        report.text,
        *report.warnings,
        *report.not_known,
        *(step.reason for step in report.steps),
        *(part.where for part in report.capacity),
    ]
    if any(len(text) > _LONGEST_TEXT for text in texts) or max(len(report.warnings), len(report.not_known)) > _MOST_TEXTS:
        raise InputError(f"The rehearsal says too much: {_MOST_TEXTS} texts of {_LONGEST_TEXT} characters are the most.")
    numbers = [part for row in report.capacity for part in (row.before, row.after)]
    if len(report.capacity) > _MOST_ROWS or not all(math.isfinite(number) and 0 <= number <= 100 for number in numbers):
        raise InputError("The capacities of the rehearsal cannot be.", hint="Rehearse it again.")
    spans = [report.took_s, *(step.took_s for step in report.steps if step.took_s is not None)]
    if not all(math.isfinite(span) and 0 <= span <= _LONGEST_S for span in spans):
        raise InputError("The durations of the rehearsal cannot be.", hint="Rehearse it again.")
    if report.looked_at.tzinfo is None or report.looked_at > now + _CLOCKS:
        raise InputError("The rehearsal is from the future.", hint="Check the clocks, then rehearse it again.")
