"""A plan: what would be done, step by step, as data. Preview, approval, audit, execution and undo all read this one object."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pveops.base.canon import digest
from pveops.model.codec import STRICT, encode

Scalar = str | int | bool | None
FieldValue = Scalar | tuple[str, ...]
Method = Literal["POST", "PUT", "DELETE"]
Op = Literal["is", "has", "lacks", "restarted"]
MOST_AT_ONCE = 32
_NODE = re.compile(r"^/nodes/(?P<node>[A-Za-z0-9-]+)(?:/|$)")
_STORAGE = re.compile(r"^/nodes/[^/]+/storage/(?P<storage>[^/]+)/")
_STORAGE_PARAMETERS = ("storage", "targetstorage", "target-storage", "statestorage")


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

    @property
    def node(self) -> str:
        """The node that the call goes to; empty where it goes to none."""
        match = _NODE.match(self.call.path)
        return match["node"] if match else ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that have work with it: a migration has two."""
        target = dict(self.call.params).get("target")
        return tuple(dict.fromkeys(name for name in (self.node, str(target or "")) if name))

    @property
    def storages(self) -> tuple[str, ...]:
        """The storages that the call names."""
        match, params = _STORAGE.match(self.call.path), dict(self.call.params)
        named = [str(params[key]) for key in _STORAGE_PARAMETERS if params.get(key)]
        return tuple(dict.fromkeys([*([match["storage"]] if match else []), *named]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """Steps that may be under way together: all of them are settled before the next wave begins. The first is often a canary."""

    __pydantic_config__: ClassVar[Any] = STRICT

    name: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How the steps of a plan are carried out. A plan without one runs its steps one after the other and stops at the first that fails.

    Steps on the same subject always keep their order: one whose forerunner failed is not started.

    Attributes:
        waves: every step of the plan, once, in the order of the plan.
        at_once: so many steps may be under way together.
        per_node: so many of them on one node (a migration is on two).
        may_fail_pct: no further step begins when more than this share of the steps of the waves begun so far went wrong, in percent.
        deadline_s: no step begins later than so many seconds after the approval; 0 for no such limit.
        take_back: when too many steps failed, those that are done are taken back by their inverse, last first.
        before: what must hold before each wave begins.
        after: what must hold at the end; the run is done only when it was read.
    """

    __pydantic_config__: ClassVar[Any] = STRICT

    waves: tuple[Wave, ...]
    at_once: int = 1
    per_node: int = 1
    may_fail_pct: int = 0
    deadline_s: int = 0
    take_back: bool = False
    before: tuple[Fact, ...] = ()
    after: tuple[Fact, ...] = ()

    def fault(self, keys: tuple[str, ...]) -> str:
        """Why this cannot be the flow of a plan with these steps; empty where it can."""
        if tuple(key for wave in self.waves for key in wave.steps) != keys:
            return "its waves do not hold every step once, in the order of the plan"
        if not all(wave.steps for wave in self.waves):
            return "a wave is empty"
        if not 1 <= self.at_once <= MOST_AT_ONCE or self.per_node < 1:
            return f"1 to {MOST_AT_ONCE} steps run at once, and at least one on a node"
        if not 0 <= self.may_fail_pct <= 100 or self.deadline_s < 0:
            return "a share is 0 to 100 percent, and a deadline is not in the past"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An intent turned into steps. Equal intents on equal state give equal plans, hence equal digests.

    Attributes:
        cluster: the profile's name of the cluster.
        tool: the tool that made it, ``guest.migrate``; several joined by ``+``.
        args: the arguments of the tool, as given.
        summary: ``Migrate 3 guests off pve03``.
        action: what the confirm button says after "Confirm": ``3 migrations``.
        steps: executed in this order, or as ``flow`` says.
        changes: the expected diff.
        undo_text: ``Migrate back, in reverse order``, or why there is no way back.
        flow: waves, limits and checks; none for one step after the other.
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
    flow: Flow | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the whole plan. A flow that is not there is left out: older plans keep their digest."""
        return digest({key: value for key, value in encode(self).items() if key != "flow" or value is not None})

    @property
    def taken_back(self) -> tuple[Step, ...]:
        """The inverse steps that this plan may carry out by itself when it fails."""
        return tuple(step.undo for step in self.steps if step.undo is not None) if self.flow is not None and self.flow.take_back else ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the steps act on, in order, each once."""
        return tuple(dict.fromkeys(step.subject for step in self.steps))

    @property
    def waves(self) -> tuple[Wave, ...]:
        """The waves; each step is one of its own where nothing else is said."""
        return self.flow.waves if self.flow is not None else tuple(Wave(name="", steps=(step.key,)) for step in self.steps)

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
        flow=_joined(first, second, moved),
    )


def _joined(first: Plan, second: Plan, moved: tuple[Step, ...]) -> Flow | None:
    """The flow of two plans in a row: the stricter limit of both, and what must hold at the end of the second."""
    if first.flow is None and second.flow is None:
        return None
    one, two = (plan.flow or Flow(waves=plan.waves) for plan in (first, second))
    renamed = dict(zip((step.key for step in second.steps), (step.key for step in moved), strict=True))
    later = tuple(replace(wave, steps=tuple(renamed[key] for key in wave.steps)) for wave in two.waves)
    return Flow(
        waves=one.waves + later,
        at_once=min(one.at_once, two.at_once),
        per_node=min(one.per_node, two.per_node),
        may_fail_pct=min(one.may_fail_pct, two.may_fail_pct),
        deadline_s=one.deadline_s + two.deadline_s if one.deadline_s and two.deadline_s else 0,
        take_back=one.take_back and two.take_back,
        before=tuple(dict.fromkeys(one.before + two.before)),
        after=two.after,
    )
