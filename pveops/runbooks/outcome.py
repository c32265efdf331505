"""How a runbook says how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

MIME = "application/vnd.pveops.outcome+json"
Ending = Literal["done", "warned", "not approved", "refused", "failed", "unknown", "no action"]
_BY_STATUS: dict[str, Ending] = {
    "done": "done", "warned": "warned", "failed": "failed", "unknown": "unknown", "closed": "unknown", "stopped": "failed", "running": "unknown",
    "waiting": "not approved", "denied": "not approved", "withdrawn": "not approved", "expired": "not approved", "refused": "refused",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a runbook: one word and one sentence."""

    ending: Ending
    text: str

    @classmethod
    def of(cls, status: str, text: str) -> Outcome:
        """From the status of a proposal (``done``, ``denied`` …)."""
        return cls(_BY_STATUS.get(status, "unknown"), text)

    def _repr_mimebundle_(self, **_wanted: Any) -> dict[str, Any]:
        return {MIME: {"ending": self.ending, "text": self.text}, "text/plain": f"{self.ending}: {self.text}"}


def outcome(ending: Ending, text: str) -> Outcome:
    """The outcome of this runbook; make it the last expression of the last cell.

    Raises:
        ValueError: no such ending.
    """
    if ending not in get_args(Ending):
        raise ValueError(f"{ending!r} is no ending; choose from {', '.join(get_args(Ending))}")
    return Outcome(ending, text)
