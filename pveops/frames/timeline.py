"""What happened, from everywhere, as one table in the order of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from pveops.base.clock import iso
from pveops.frames import accessor as _accessor  # noqa: F401 - every table gets `.pve`
from pveops.model.logs import SEVERITIES

if TYPE_CHECKING:
    from pveops.model.resources import Gap

KINDS = ("task", "config", "metric", "log", "alert", "proposal", "state")
"""Where a row comes from; the lanes of the plot, from the top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One thing that happened. ``severity`` is a name of syslog's; ``ref`` leads further: a task id, a proposal, a query."""

    time: datetime
    kind: str
    source: str
    severity: str
    subject: str
    text: str
    ref: str = ""


def timeline_frame(rows: Iterable[Happened], gaps: Iterable[Gap], **attrs: Any) -> pd.DataFrame:
    """``time kind source severity subject text ref``, oldest first. ``.attrs``: ``complete``, ``gaps``, ``counts`` per kind, and what is given."""
    ordered = sorted(rows, key=lambda row: (row.time, KINDS.index(row.kind), row.text))
    found: Mapping[str, Any] = {
        "time": pd.Series(pd.to_datetime([row.time for row in ordered], utc=True)).astype("datetime64[ns, UTC]"),
        "kind": pd.Categorical([row.kind for row in ordered], categories=KINDS),
        "source": pd.array([row.source for row in ordered], dtype="string"),
        "severity": pd.Categorical([row.severity for row in ordered], categories=SEVERITIES, ordered=True),
        "subject": pd.array([row.subject for row in ordered], dtype="string"),
        "text": pd.array([row.text for row in ordered], dtype="string"),
        "ref": pd.array([row.ref or None for row in ordered], dtype="string"),
    }
    frame = pd.DataFrame(found)
    told = [{"what": gap.what, "why": gap.why, "needs": gap.needs} for gap in {one.what: one for one in gaps}.values()]
    counts = {kind: int((frame["kind"] == kind).sum()) for kind in KINDS}
    plain = {key: iso(value) if isinstance(value, datetime) else value for key, value in attrs.items()}
    frame.attrs.update(table="timeline", complete=not told, gaps=told, counts=counts, **plain)
    return frame
