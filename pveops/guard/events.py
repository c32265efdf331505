"""What happens to a run. The journal is a list of these; a run is what they add up to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pveops.model.codec import STRICT

EventKind = Literal[
    "opened",  # approved; the approval is spent
    "checked",  # the step may run: switch, plan, policy and state are as approved
    "barred",  # it may not; nothing was sent
    "intended",  # about to send: on disk and in the ledger before the request leaves
    "answered",  # Proxmox VE took it (upid, or none for a synchronous call)
    "refused",  # Proxmox VE said no, or no connection was made: nothing was done
    "no_answer",  # sent, or maybe sent; no whole answer
    "adopted",  # exactly one task fits the intent
    "not_found",  # none, or several, or the list cannot be read
    "child_found",  # the real work of a request that only filed an order: a task of its own
    "task_ended",
    "task_lost",  # the task can no longer be asked about
    "observed",  # the expectation holds
    "not_observed",  # it does not hold in time
    "unreadable",  # it could not be read back
    "stop_asked",
    "pause_asked",
    "resumed",
    "deadline",  # the time in which steps may begin is over
    "gate_open",  # what must hold before the next wave holds
    "gate_shut",
    "verified",  # what must hold at the end holds
    "not_verified",
    "look",  # look again: by itself or by a person
    "happened",  # a person says so
    "not_happened",
    "closed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    """One thing that happened.

    Attributes:
        at: by the executor's clock.
        step: the step's key; empty for the run as a whole.
        actor: the principal, for what people do.
        text: the reason or exit text, in words.
        upid: the task.
        node_s: the node's own clock at the intent, Unix seconds.
        warned: the task ended with warnings.
        unsure: the task ended in a way that tells nothing about its work.
        lines: last lines of the task's log, or where was looked.
        retry: whether the executor looks again by itself.
        per_node, per_storage: with ``opened``, most steps under way on one node and with one storage, by the limits in force; 0 for no such limit.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    kind: EventKind
    at: datetime
    step: str = ""
    actor: str = ""
    text: str = ""
    upid: str = ""
    node_s: int | None = None
    ok: bool = True
    warned: bool = False
    unsure: bool = False
    lines: tuple[str, ...] = ()
    retry: bool = False
    per_node: int = 0
    per_storage: int = 0
