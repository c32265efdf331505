"""Trying a policy out: cases with the answer that is expected, and a table of who may do what."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pveops.base.errors import ConfigError
from pveops.guard.policy import SETS, Action, Circumstances, Policy, Target
from pveops.guard.principals import Principal, Role
from pveops.model.proposal import PrincipalKind

_USUAL = Circumstances(
    tool="guest.migrate", tier="yellow", targets=1, author="person", by_requester=False, channel="card", one_person=False, simulated=False
)
_ROLE_OF: dict[str, Role] = {"person": "operator", "service": "viewer"}


class Case(BaseModel):
    """One question with its answer. What is not said is as usual: an operator, a YELLOW plan on one running guest, asked by somebody else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    action: Action = "approve"
    kind: PrincipalKind = "person"
    role: Role | None = None
    expect: Literal["yes", "no"]
    rule: str = ""
    """The rule that must say no; empty where any will do."""
    approvals: int = 0
    """How many approvals it must take; 0 where that is not asked."""
    plan: dict[str, Any] = {}
    """Circumstances that differ: tier, targets, by_requester, channel, one_person, tainted, in_window, frozen, break_glass, approvals …"""
    target: dict[str, Any] = {}
    """What differs of the guest: tags, protection, template, own, criticality, maintenance, calls, call_tier."""


def load_cases(text: str, where: str) -> tuple[Case, ...]:
    """Cases from TOML.

    Raises:
        ConfigError: malformed; the place is named.
    """
    try:
        return tuple(Case.model_validate(row) for row in tomllib.loads(text).get("case", []))
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(f"{where} is no valid TOML ({err}).") from err
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{where}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}.") from err


def shipped_cases(name: str) -> tuple[Case, ...]:
    """Cases that come with a set.

    Raises:
        ConfigError: there is no such set.
    """
    if name not in SETS:
        raise ConfigError(f"There is no policy set called {name}.", hint=f"Shipped: {', '.join(SETS)}.")
    text = resources.files("pveops.guard").joinpath("policies", "cases.toml").read_text(encoding="utf-8")
    rows = [row for row in tomllib.loads(text)["case"] if name in row.get("sets", SETS)]
    return tuple(Case.model_validate({key: value for key, value in row.items() if key != "sets"}) for row in rows)


def trial(policy: Policy, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """What the policy says to each case, beside what was expected."""
    rows = []
    for case in cases:
        who = _somebody(case.kind, case.role)
        target = _made(Target, Target(subject="guest/101", kind="qemu"), case.target, case.name)
        how = _made(Circumstances, _USUAL, case.plan, case.name)
        if case.action in ("propose", "approve", "execute"):
            verdict = policy.plan(case.action, who, [target], "lab", how)
        else:
            asks = case.action in ("deny", "withdraw", "stop", "resolve")
            verdict = policy.simple(case.action, who, "lab", by_requester=how.by_requester if asks else None)
        got = "no" if verdict.decision == "deny" else "yes"
        needs = policy.approvals(who, [target], "lab", how)[0] if case.approvals else 0
        fits = got == case.expect and case.rule in ("", verdict.rule) and needs == case.approvals
        expected = case.expect + (f" ({case.rule})" if case.rule else "") + (f", {case.approvals} approvals" if case.approvals else "")
        rows.append(
            {"case": case.name, "ok": fits, "expected": expected, "got": got + (f", {needs} approvals" if needs else ""), "rule": verdict.rule,
             "text": verdict.text}
        )  # fmt: skip
    return rows


def _made(cls: type[Any], usual: Any, changes: dict[str, Any], where: str) -> Any:
    try:
        return replace(usual, **{key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()})
    except TypeError as err:
        raise ConfigError(f"{where}: {cls.__name__} has no such field ({err}).") from err


def _somebody(kind: PrincipalKind, role: Role | None) -> Principal:
    return Principal(name="somebody", kind=kind, roles=(role or _ROLE_OF.get(kind, "proposer"),), token_sha256="")


def matrix(policy: Policy) -> list[dict[str, Any]]:
    """Who may propose and approve what: one row per kind of principal and tier."""
    rows = []
    target = Target(subject="guest/101", kind="qemu")
    for kind in ("person", "agent", "runbook", "service", "autopilot", "client"):
        for tier in ("yellow", "red", "black"):
            who, how = _somebody(kind, None), replace(_USUAL, tier=tier)
            row: dict[str, Any] = {"who": f"{kind} ({who.roles[0]})", "tier": tier}
            row["propose"] = _word(policy, "propose", who, target, replace(how, by_requester=True))
            row["approve own, card"] = _word(policy, "approve", who, target, replace(how, by_requester=True))
            row["approve own, alone in a terminal"] = _word(
                policy, "approve", who, target, replace(how, by_requester=True, one_person=True, channel="cli")
            )
            row["approve another's"] = _word(policy, "approve", who, target, how)
            needs = policy.approvals(who, [target], "lab", how)[0] if row["approve another's"] == "yes" else 0
            row["approvals"] = needs or "-"
            rows.append(row)
    return rows


def _word(policy: Policy, action: Literal["propose", "approve"], who: Principal, target: Target, how: Circumstances) -> str:
    return "no" if policy.plan(action, who, [target], "lab", how).decision == "deny" else "yes"
