"""Policy decisions by Cedar, behind our own verdict. Default deny, deny wins, and any doubt about the policy itself is a no."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import cedarpy

from pveops.base.errors import ConfigError
from pveops.guard.limits import Limits, parse_limits
from pveops.guard.principals import Principal
from pveops.model.proposal import Verdict

PlanAction = Literal["propose", "approve", "execute"]
Action = Literal[
    "propose", "approve", "execute", "deny", "withdraw", "rehearse", "stop", "resolve", "read", "read_audit", "kill_on", "kill_off", "manage", "standing",
    "break_glass",
]  # fmt: skip
SETS = ("homelab", "team", "strict")
"""Policy sets that come with pveops."""
MOST_APPROVALS = 5
"""No set may ask for more approvals than this."""
_KIND = {"person": "Person", "agent": "Agent", "runbook": "Runbook", "service": "Service", "autopilot": "Autopilot", "client": "Client"}
_THING = {"node": "Node", "storage": "Storage", "cluster": "Settings"}
_LIMITS = "limits.toml"
_MANY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What policy sees of a guest, node or storage. Nothing is optional: a missing attribute would make Cedar skip a rule."""

    subject: str
    kind: str
    name: str = ""
    node: str = ""
    pool: str = ""
    tags: tuple[str, ...] = ()
    protection: bool = False
    template: bool = False
    own: bool = False
    criticality: str = "normal"
    maintenance: bool = False
    calls: tuple[str, ...] = ()
    """What the plan does to it, as the table of changes names calls."""
    call_tier: str = "yellow"
    """The highest tier of those calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What policy sees of a plan, of the one who asks, and of the time.

    Attributes:
        targets: how many things it reaches, those included that it does not name.
        recent_targets: how many things this person changed lately on this cluster, these included.
        tainted: a model drafted it, or text from a cluster went into it.
        approvals: how many different people have approved it.
        in_window: whether a change window is open.
        frozen: whether changes are frozen.
        break_glass: whether this person has broken the glass.
        halted: whether the kill switch is on.
    """

    tool: str
    tier: str
    targets: int
    author: str
    by_requester: bool
    channel: str
    one_person: bool
    simulated: bool
    recent_targets: int = 0
    tainted: bool = False
    origin: str = ""
    approvals: int = 1
    in_window: bool = True
    frozen: bool = False
    break_glass: bool = False
    halted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a plug-in is asked after the policy said yes. It may say no, with a reason; it can never turn a no into a yes."""

    action: str
    principal: str
    kind: str
    cluster: str
    targets: tuple[Target, ...] = ()
    how: Circumstances | None = None


@dataclass(frozen=True, slots=True)
class Restriction:
    """A plug-in's word: ``ask`` returns why not, or nothing. Its name (distribution and version) is part of the policy's hash."""

    name: str
    ask: Callable[[Question], str | None]


@dataclass(frozen=True, slots=True)
class _Loaded:
    policies: cedarpy.PolicySet
    schema: cedarpy.Schema
    says: Mapping[str, Mapping[str, str]]
    """By policy id: its annotations, in the order of the files."""
    hash: str
    names: tuple[str, ...]
    limits: Limits


def shipped(name: str) -> str:
    """The text of a policy set that comes with pveops (``homelab``), or of the schema.

    Raises:
        ConfigError: there is no such set.
    """
    file = resources.files("pveops.guard").joinpath("policies").joinpath(name if "." in name else f"{name}.cedar")
    if not file.is_file():
        raise ConfigError(f"There is no policy set called {name}.", hint=f"Shipped: {', '.join(SETS)}.")
    return file.read_text(encoding="utf-8")


class Policy:
    """The policy files of one home, read anew whenever they change.

    A folder that is missing, empty, malformed, against the schema or writable by others gives ``deny`` to every question, with the reason.
    """

    def __init__(self, folder: Path, restrictions: Sequence[Restriction] = ()) -> None:
        self._folder = folder
        self._restrictions = tuple(restrictions)
        self._lock = threading.Lock()
        self._stamp: Any = None
        self._loaded: _Loaded | None = None
        self._fault = ""

    @property
    def hash(self) -> str:
        """SHA-256 over schema and policies as they stand now; empty where they are not usable."""
        loaded = self._current()
        return loaded.hash if loaded else ""

    @property
    def name(self) -> str:
        """The names of the files, for people."""
        loaded = self._current()
        return ", ".join(loaded.names) if loaded else "none usable"

    @property
    def fault(self) -> str:
        """Why there is no usable policy; empty where there is."""
        self._current()
        return self._fault

    @property
    def limits(self) -> Limits:
        """The limits as they stand now; the usual ones where there is no usable policy (nothing is allowed then)."""
        loaded = self._current()
        return loaded.limits if loaded else Limits()

    @property
    def rules(self) -> Mapping[str, Mapping[str, str]]:
        """Every rule's annotations by its id, in order; empty where there is no usable policy."""
        loaded = self._current()
        return loaded.says if loaded else {}

    def plan(self, action: PlanAction, who: Principal, targets: Sequence[Target], cluster: str, how: Circumstances) -> Verdict:
        """The verdict on a plan: ``deny`` if any target is denied, else ``confirm``."""
        if not targets:
            return Verdict(decision="deny", rule="no-target", text="A plan that touches nothing is not decided.")
        shared = {field.name: getattr(how, field.name) for field in fields(how)}
        questions = [(action, _uid(target), shared | {"calls": list(target.calls), "call_tier": target.call_tier}) for target in targets]
        verdict = self._decide(who, questions, [_entity(target, cluster) for target in targets], cluster)
        asked = Question(action=action, principal=who.name, kind=who.kind, cluster=cluster, targets=tuple(targets), how=how)
        return self._restricted(verdict, asked)

    def approvals(self, who: Principal, targets: Sequence[Target], cluster: str, how: Circumstances) -> tuple[int, str]:
        """How many different people must approve such a plan, and the sentence of the rule that says so.

        Whatever else stands in its way is left aside: that is told when it is put forward and when it is approved.
        """
        said = ""
        for number in range(1, MOST_APPROVALS + 1):
            verdict = self.plan("execute", who, targets, cluster, replace(how, approvals=number))
            if verdict.decision != "deny" or "counts" not in self.rules.get(verdict.rule, {}):
                return number, said
            said = verdict.text
        return MOST_APPROVALS + 1, said

    def simple(self, action: Action, who: Principal, cluster: str, *, by_requester: bool | None = None) -> Verdict:
        """The verdict on something that concerns a cluster as a whole."""
        context = {} if by_requester is None else {"by_requester": by_requester}
        verdict = self._decide(who, [(action, {"type": "Pveops::Cluster", "id": cluster}, context)], [], cluster)
        if action in ("kill_on", "deny", "withdraw", "stop"):
            return verdict  # what makes the world safer is nobody's to restrict
        return self._restricted(verdict, Question(action=action, principal=who.name, kind=who.kind, cluster=cluster))

    def _restricted(self, verdict: Verdict, asked: Question) -> Verdict:
        """A yes, unless a plug-in has a reason against it. A plug-in that fails has one."""
        if verdict.decision == "deny":
            return verdict
        for restriction in self._restrictions:
            try:
                reason = restriction.ask(asked)
            except Exception as err:  # noqa: BLE001 - somebody else's code: whatever it raises must end as a no
                reason = f"The plug-in {restriction.name} failed ({type(err).__name__})."
            if reason:
                return Verdict(decision="deny", rule=f"plugin:{restriction.name}", text=reason)
        return verdict

    def _decide(
        self, who: Principal, questions: Sequence[tuple[Action, Any, dict[str, Any]]], entities: list[dict[str, Any]], cluster: str
    ) -> Verdict:
        loaded = self._current()
        if loaded is None:
            return Verdict(
                decision="deny",
                rule="policy-unusable",
                text=f"There is no usable policy: {self._fault}. Nothing is allowed until it is mended.",
            )
        principal = {"type": f"Pveops::{_KIND[who.kind]}", "id": who.name}
        known = [
            *entities,
            {"uid": principal, "attrs": {}, "parents": _parents(who)},
            {"uid": {"type": "Pveops::Cluster", "id": cluster}, "attrs": {}, "parents": []},
        ]
        requests = [
            {"principal": principal, "action": {"type": "Pveops::Action", "id": action}, "resource": resource, "context": context}
            for action, resource, context in questions
        ]
        results = cedarpy.is_authorized_batch(requests, loaded.policies, json.dumps(known), loaded.schema)
        verdicts = [_verdict(result, loaded.says, who, action) for result, (action, _, _) in zip(results, questions, strict=True)]
        denied = [verdict for verdict in verdicts if verdict.decision == "deny"]
        # more approvals may lift a rule that counts: any other no is told first
        return min(denied, key=lambda verdict: "counts" in loaded.says.get(verdict.rule, {})) if denied else verdicts[0]

    def _current(self) -> _Loaded | None:
        with self._lock:
            try:
                stamp = _stamp(self._folder)
            except ConfigError as err:
                self._loaded, self._fault, self._stamp = None, err.message.rstrip("."), None
                return None
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._loaded, self._fault = _load(self._folder, self._restrictions), ""
                except ConfigError as err:
                    self._loaded, self._fault = None, err.message.rstrip(".")
            return self._loaded


def _uid(target: Target) -> dict[str, str]:
    """Guests, nodes, storages, and the settings of the cluster itself."""
    return {"type": f"Pveops::{_THING.get(target.subject.partition('/')[0], 'Guest')}", "id": target.subject}


def _parents(who: Principal) -> list[dict[str, str]]:
    roles = [{"type": "Pveops::Role", "id": role} for role in who.roles]
    return [*roles, *({"type": "Pveops::Group", "id": group} for group in who.groups)]


def _entity(target: Target, cluster: str) -> dict[str, Any]:
    attrs = {
        "kind": target.kind, "name": target.name, "node": target.node, "pool": target.pool, "tags": list(target.tags),
        "protection": target.protection, "template": target.template, "own": target.own, "criticality": target.criticality,
        "maintenance": target.maintenance,
    }  # fmt: skip
    return {
        "uid": _uid(target),
        "attrs": attrs,
        "parents": [{"type": "Pveops::Cluster", "id": cluster}],
    }


def _verdict(result: cedarpy.AuthzResult, says: Mapping[str, Mapping[str, str]], who: Principal, action: str) -> Verdict:
    ids = result.diagnostics.id_annotations_by_reason
    order = {rule: number for number, rule in enumerate(says)}
    named = [ids.get(reason, reason) for reason in result.diagnostics.reasons]
    rules = sorted(named, key=lambda rule: ("counts" in says.get(rule, {}), order.get(rule, len(order))))
    if result.diagnostics.errors:
        # Cedar skips a rule whose condition fails to evaluate, a forbid too: an answer with errors is no permission
        return Verdict(decision="deny", rule="policy-error", text=f"The policy could not be evaluated: {result.diagnostics.errors[0]}")
    if result.decision is not cedarpy.Decision.Allow:
        if not rules:
            return Verdict(
                decision="deny",
                rule="nothing-permits-it",
                text=f"No rule permits {who.name} ({who.kind}) to {action.replace('_', ' ')} this.",
            )
        said = says.get(rules[0], {})
        text = " ".join(part for part in (said.get("say", f"The rule {rules[0]} forbids it."), said.get("instead", "")) if part)
        return Verdict(decision="deny", rule=rules[0], text=text)
    rule = rules[0] if rules else "permitted"
    return Verdict(decision="confirm", rule=rule, text=says.get(rule, {}).get("say", ""))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{file} cannot be read ({err})") from err


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.cedar"))
    if not files:
        raise ConfigError(f"the folder {folder} holds no policy (*.cedar)")
    return files


def _stamp(folder: Path) -> tuple[Any, ...]:
    """What tells whether the files have changed. Every question asks it first, so it reads the folder once."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.stat()) for entry in entries if entry.name.endswith(".cedar") or entry.name == _LIMITS)
            modes = [(str(folder), folder.stat().st_mode), *((str(folder / name), status.st_mode) for name, status in found)]
    except OSError as err:
        raise ConfigError(f"the folder {folder} cannot be read ({err.strerror})") from err
    for name, mode in modes:
        if stat.S_IMODE(mode) & 0o022:
            raise ConfigError(f"others may write to {name}")
    return tuple((name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found)


def _load(folder: Path, restrictions: Sequence[Restriction]) -> _Loaded:
    schema_text = shipped("schema.cedarschema")
    files = _files(folder)
    text = "\n".join(_read(file) for file in files)
    limits_file = folder / _LIMITS
    limits_text = _read(limits_file) if limits_file.exists() else ""
    if len(text) > _MANY_BYTES:
        raise ConfigError(f"the policies in {folder} are larger than 1 MiB")
    if not text.strip():
        raise ConfigError(f"the policies in {folder} are empty")
    try:
        checked = cedarpy.validate_policies(text, schema_text)
        if not checked.validation_passed:
            raise ConfigError(f"the policies in {folder} are not valid ({checked.errors[0]})")
        annotations = json.loads(cedarpy.policies_to_json_str(text)).get("staticPolicies", {}).values()
        says = {notes["id"]: notes for policy in annotations if (notes := policy.get("annotations") or {}).get("id")}
        parts = (schema_text, text, limits_text, *(restriction.name for restriction in restrictions))
        hashed = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        names = (*(file.stem for file in files), *(restriction.name for restriction in restrictions))
        limits = parse_limits(limits_text, str(limits_file))
        return _Loaded(cedarpy.PolicySet.from_str(text), cedarpy.Schema.from_str(schema_text), says, hashed, names, limits)
    except ValueError as err:
        raise ConfigError(f"the policies in {folder} are malformed ({str(err).splitlines()[0]})") from err
