"""Policy decisions by Cedar, behind our own verdict. Default deny, deny wins, and any doubt about the policy itself is a no."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import cedarpy

from pveops.base.errors import ConfigError
from pveops.guard.principals import Principal
from pveops.model.proposal import Verdict

Action = Literal[
    "propose", "approve", "execute", "deny", "withdraw", "rehearse", "stop", "resolve", "read", "read_audit", "kill_on", "kill_off"
]
_KIND = {"person": "Person", "agent": "Agent", "runbook": "Runbook", "service": "Service"}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What policy sees of a plan and the one who asks."""

    tool: str
    tier: str
    targets: int
    author: str
    by_requester: bool
    channel: str
    one_person: bool
    simulated: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    policies: cedarpy.PolicySet
    schema: cedarpy.Schema
    says: Mapping[str, Mapping[str, str]]
    """By policy id: its annotations."""
    hash: str
    names: tuple[str, ...]


def shipped(name: str) -> str:
    """The text of a policy set that comes with pveops (``homelab``), or of the schema.

    Raises:
        ConfigError: there is no such set.
    """
    file = resources.files("pveops.guard").joinpath("policies").joinpath(name if "." in name else f"{name}.cedar")
    if not file.is_file():
        raise ConfigError(f"There is no policy set called {name}.", hint="Shipped: homelab.")
    return file.read_text(encoding="utf-8")


class Policy:
    """The policy files of one home, read anew whenever they change.

    A folder that is missing, empty, malformed, against the schema or writable by others gives ``deny`` to every question, with the reason.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
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

    def plan(
        self, action: Literal["propose", "approve", "execute"], who: Principal, targets: Sequence[Target], cluster: str, how: Circumstances
    ) -> Verdict:
        """The verdict on a plan: ``deny`` if any target is denied, else ``confirm``."""
        if not targets:
            return Verdict(decision="deny", rule="no-target", text="A plan that touches nothing is not decided.")
        context = {
            "tool": how.tool, "tier": how.tier, "targets": how.targets, "author": how.author, "by_requester": how.by_requester,
            "channel": how.channel, "one_person": how.one_person, "simulated": how.simulated,
        }  # fmt: skip
        questions = [(action, {"type": "Pveops::Target", "id": target.subject}, context) for target in targets]
        return self._decide(who, questions, [_entity(target, cluster) for target in targets], cluster)

    def simple(self, action: Action, who: Principal, cluster: str, *, by_requester: bool | None = None) -> Verdict:
        """The verdict on something that concerns a cluster as a whole."""
        context = {} if by_requester is None else {"by_requester": by_requester}
        return self._decide(who, [(action, {"type": "Pveops::Cluster", "id": cluster}, context)], [], cluster)

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
            {"uid": principal, "attrs": {}, "parents": [{"type": "Pveops::Role", "id": role} for role in who.roles]},
            {"uid": {"type": "Pveops::Cluster", "id": cluster}, "attrs": {}, "parents": []},
        ]
        requests = [
            {"principal": principal, "action": {"type": "Pveops::Action", "id": action}, "resource": resource, "context": context}
            for action, resource, context in questions
        ]
        results = cedarpy.is_authorized_batch(requests, loaded.policies, json.dumps(known), loaded.schema)
        verdicts = [_verdict(result, loaded.says, who, action) for result, (action, _, _) in zip(results, questions, strict=True)]
        return next((verdict for verdict in verdicts if verdict.decision == "deny"), verdicts[0])

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
                    self._loaded, self._fault = _load(self._folder), ""
                except ConfigError as err:
                    self._loaded, self._fault = None, err.message.rstrip(".")
            return self._loaded


def _entity(target: Target, cluster: str) -> dict[str, Any]:
    attrs = {
        "kind": target.kind, "name": target.name, "node": target.node, "pool": target.pool, "tags": list(target.tags),
        "protection": target.protection, "template": target.template, "own": target.own,
    }  # fmt: skip
    return {
        "uid": {"type": "Pveops::Target", "id": target.subject},
        "attrs": attrs,
        "parents": [{"type": "Pveops::Cluster", "id": cluster}],
    }


def _verdict(result: cedarpy.AuthzResult, says: Mapping[str, Mapping[str, str]], who: Principal, action: str) -> Verdict:
    ids = result.diagnostics.id_annotations_by_reason
    rules = [ids.get(reason, reason) for reason in result.diagnostics.reasons]
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


def _files(folder: Path) -> list[Path]:
    try:
        if stat.S_IMODE(folder.stat().st_mode) & 0o022:
            raise ConfigError(f"others may write to {folder}")
        files = sorted(folder.glob("*.cedar"))
    except OSError as err:
        raise ConfigError(f"the folder {folder} cannot be read ({err.strerror})") from err
    if not files:
        raise ConfigError(f"the folder {folder} holds no policy (*.cedar)")
    return files


def _stamp(folder: Path) -> tuple[Any, ...]:
    stamps = []
    for file in _files(folder):
        status = file.stat()
        if stat.S_IMODE(status.st_mode) & 0o022:
            raise ConfigError(f"others may write to {file}")
        stamps.append((file.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(stamps)


def _load(folder: Path) -> _Loaded:
    schema_text = shipped("schema.cedarschema")
    texts = []
    files = _files(folder)
    for file in files:
        try:
            texts.append(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigError(f"{file} cannot be read ({err})") from err
    text = "\n".join(texts)
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
        hashed = hashlib.sha256(f"{schema_text}\0{text}".encode()).hexdigest()
        return _Loaded(
            cedarpy.PolicySet.from_str(text), cedarpy.Schema.from_str(schema_text), says, hashed, tuple(file.stem for file in files)
        )
    except ValueError as err:
        raise ConfigError(f"the policies in {folder} are malformed ({str(err).splitlines()[0]})") from err
