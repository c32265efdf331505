"""A plan: what would be done, step by step, as data. Preview, approval, audit, execution and undo all read this one object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pveops.model.codec import STRICT, digest_of

Scalar = str | int | bool | None
FieldValue = Scalar | tuple[str, ...]
Method = Literal["POST", "PUT", "DELETE"]
Op = Literal["is", "has", "lacks", "restarted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCall:
    """One call that changes something, exactly as it will be sent. Policy and tier are decided on this final path."""

    __pydantic_config__: ClassVar[Any] = STRICT

    method: Method
    path: str
    params: tuple[tuple[str, str | int], ...] = ()

    @property
    def text(self) -> str:
        """``POST /nodes/pve1/qemu/101/migrate  target=pve2 online=1``."""
        shown = " ".join(f"{key}={value}" for key, value in self.params)
        return f"{self.method} {self.path}" + (f"  {shown}" if shown else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A named field of the cluster's state and what it must be.

    ``subject`` is ``guest/101``, ``node/pve2``, ``storage/pve1/local`` or ``cluster``; ``op`` compares: ``is`` (equal), ``has`` and
    ``lacks`` (a list holds the text or not), ``restarted`` (it started after the intent was recorded). Never a counter.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    subject: str
    field: str
    op: Op = "is"
    value: FieldValue = None

    @property
    def key(self) -> str:
        """``guest/101.status``."""
        return f"{self.subject}.{self.field}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the expected diff, in words people read."""

    __pydantic_config__: ClassVar[Any] = STRICT

    what: str
    before: str
    after: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something a step needs that is no field of the assumed state: looked at in the preview, before anything is sent.

    ``memory``: ``amount_bytes`` free on the node ``target``. ``migrate``: Proxmox VE's own preconditions for moving ``subject`` to
    ``target``. ``snapshot``: the storages of ``subject`` can take one. ``quorum``: the cluster can write.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    kind: Literal["memory", "migrate", "snapshot", "quorum"]
    subject: str = "cluster"
    target: str = ""
    amount_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One wire call with what must hold before, what must hold after, and how to take it back.

    Attributes:
        key: ``s1``, ``s2`` …, unique in its plan.
        text: what it does: ``Migrate 231 web-12 to pve07``.
        note: what it means: ``live, no downtime``.
        subject: what it acts on: ``guest/231``.
        task_types: task types that this call may start, the direct one first; empty for a synchronous call.
        assumes: facts that must hold right before the call.
        expects: facts that must hold afterwards; the step is done only when they were read back.
        needs: what else the preview looks at.
        touches: fields of the subject that this call changes on purpose, so that a later step does not assume them.
        expected_s: rough duration in seconds, none where nobody can say.
        settle_s: how long after the end of the task the expectation may take, in seconds.
        undo: the inverse step, where one exists; ``no_undo`` says why not.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    key: str
    text: str
    note: str = ""
    subject: str
    call: WireCall
    task_types: tuple[str, ...] = ()
    assumes: tuple[Fact, ...] = ()
    expects: tuple[Fact, ...] = ()
    needs: tuple[Need, ...] = ()
    touches: tuple[str, ...] = ()
    expected_s: int | None = None
    settle_s: int = 30
    undo: Step | None = None
    no_undo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An intent turned into steps. Equal intents on equal state give equal plans, hence equal digests.

    Attributes:
        cluster: the profile's name of the cluster.
        tool: the tool that made it, ``guest.migrate``; several joined by ``+``.
        args: the arguments of the tool, as given.
        summary: ``Migrate 3 guests off pve03``.
        action: what the confirm button says after "Confirm": ``3 migrations``.
        steps: executed in this order.
        changes: the expected diff.
        undo_text: ``Migrate back, in reverse order``, or why there is no way back.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    cluster: str
    tool: str
    args: tuple[tuple[str, str], ...] = ()
    summary: str
    action: str
    steps: tuple[Step, ...]
    changes: tuple[Change, ...] = ()
    undo_text: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the whole plan."""
        return digest_of(self)

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the steps act on, in order, each once."""
        return tuple(dict.fromkeys(step.subject for step in self.steps))

    @property
    def assumed(self) -> tuple[Fact, ...]:
        """The facts that must hold before the first step, each once, sorted by key."""
        seen: dict[str, Fact] = {}
        for step in self.steps:
            for fact in step.assumes:
                seen.setdefault(f"{fact.key} {fact.op} {fact.value}", fact)
        return tuple(seen[key] for key in sorted(seen))


def then(first: Plan, second: Plan, *, summary: str) -> Plan:
    """One plan of two: the second's steps follow, and no longer assume what the first changes on purpose.

    Raises:
        ValueError: the plans are for different clusters.
    """
    if first.cluster != second.cluster:
        raise ValueError(f"one plan is for {first.cluster}, the other for {second.cluster}")
    touched = {f"{step.subject}.{name}" for step in first.steps for name in step.touches}
    moved = tuple(
        replace(step, key=f"s{len(first.steps) + number}", assumes=tuple(fact for fact in step.assumes if fact.key not in touched))
        for number, step in enumerate(second.steps, start=1)
    )
    return Plan(
        cluster=first.cluster,
        tool=f"{first.tool}+{second.tool}",
        args=first.args + second.args,
        summary=summary,
        action=f"{len(first.steps) + len(moved)} steps",
        steps=first.steps + moved,
        changes=first.changes + second.changes,
        undo_text="; ".join(text for text in (first.undo_text, second.undo_text) if text),
    )
