"""What the loop needs: a model that chooses, and a place to put plans forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pveops.model.plan import Plan
from pveops.model.run import ProposalView
from pveops.tools.registry import Tool


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to use a tool. The registry checks the arguments; the loop decides what becomes of it."""

    tool: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What a model answers: words, tool calls, or both."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()


class Model(Protocol):
    """Chooses tools for a sentence. It never gets a writer, and cannot approve."""

    @property
    def name(self) -> str:
        """``offline-grammar``, or the name of a language model; recorded as the author of its plans."""
        ...

    @property
    def notice(self) -> str:
        """What people should know about this model before they read its answer."""
        ...

    def reply(self, text: str, tools: Sequence[Tool]) -> ModelReply:
        """Choose."""
        ...


class Proposer(Protocol):
    """Puts plans forward under the asking person's name."""

    def propose(self, plan: Plan, *, author: str) -> ProposalView:
        """Put a plan forward. Raises ``ExecutorUnavailable`` or what the guard says."""
        ...
