"""One turn of a conversation: the model chooses, the loop reads or proposes. It can do nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from pveops.agent.ports import Model, Proposer
from pveops.base.errors import PveopsError
from pveops.model.run import ProposalView
from pveops.tools.ports import Ports
from pveops.tools.registry import Registry, ToolResult

_MOST_CALLS = 8


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one sentence, in the order it should be shown: words, findings, proposals, faults."""

    asked: str
    notice: str
    said: tuple[str, ...] = ()
    found: tuple[ToolResult, ...] = ()
    proposed: tuple[ProposalView, ...] = ()
    faults: tuple[PveopsError, ...] = field(default=())

    def __str__(self) -> str:
        """The turn as text, for where no notebook draws it."""
        waiting = (
            f"{view.proposal.id} ({view.proposal.tier.value.upper()}, {view.proposal.status}): {view.proposal.plan.summary}. "
            f"Look and decide: pveops proposals show {view.proposal.id}"
            for view in self.proposed
        )
        return "\n\n".join([*self.said, *waiting, *map(str, self.faults)]) or self.notice


def converse(text: str, *, model: Model, registry: Registry, ports: Ports, proposer: Proposer) -> Turn:
    """Let the model answer a sentence. A tool that reads is run; a tool that plans becomes a proposal and waits for a person.

    Faults are part of the turn, not raised: a conversation goes on after them.
    """
    reply = model.reply(text, list(registry))
    said = [reply.text] if reply.text else []
    found: list[ToolResult] = []
    proposed: list[ProposalView] = []
    faults: list[PveopsError] = []
    for call in reply.calls[:_MOST_CALLS]:
        try:
            tool = registry.get(call.tool)
            if tool.kind == "read":
                result = registry.read(call.tool, call.args, ports)
                found.append(result)
                said.append(result.text)
            else:
                plan = registry.plan(call.tool, call.args, ports)
                proposed.append(proposer.propose(plan, author=f"model:{model.name}"))
        except PveopsError as err:
            faults.append(err)
    return Turn(text, model.notice, tuple(said), tuple(found), tuple(proposed), tuple(faults))
