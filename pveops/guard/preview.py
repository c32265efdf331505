"""A look at the live cluster before anything is sent: does what the plan assumes hold, and is there what it needs? Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pveops.base.clock import Clock
from pveops.base.errors import ApiError, Forbidden, PveopsError
from pveops.base.units import fmt_bytes
from pveops.guard.ports import Reader
from pveops.model.facts import Facts, compare
from pveops.model.plan import Fact, Need, Plan
from pveops.model.proposal import Check, Preview
from pveops.model.refs import GuestRef
from pveops.model.resources import Node

_GUEST_PATH = re.compile(r"^/nodes/(?P<node>[^/]+)/(?P<kind>qemu|lxc)/(?P<vmid>\d+)(?:/|$)")


def preview(plan: Plan, reader: Reader, *, clock: Clock, by: str) -> Preview:
    """Look at everything a plan assumes and needs. Nothing is written; a thing that cannot be read becomes an ``unknown`` check.

    Raises:
        TransportError: no endpoint of the cluster answers.
    """
    assumed = plan.assumed
    subjects = {fact.subject for fact in assumed} | set(plan.subjects)
    needs = tuple(dict.fromkeys(need for step in plan.steps for need in step.needs))
    facts = reader.facts(sorted(subjects | ({"cluster"} if any(need.kind == "quorum" for need in needs) else set())))
    checks = [*_assumptions(assumed, facts), *_needs(plan, needs, facts, reader)]
    return Preview(checks=tuple(checks), read_at=clock.now(), by=by)


def _assumptions(assumed: Iterable[Fact], facts: Facts) -> Iterable[Check]:
    """One check per subject where all holds, one per misfit where not."""
    good: dict[str, list[str]] = {}
    for fact in assumed:
        miss = compare(fact, facts)
        if miss is None:
            good.setdefault(fact.subject, []).extend(_words(fact))
        else:
            yield Check(name=fact.key, result="unknown" if miss.unknown else "fail", text=_sentence(miss.text))
    for subject, words in good.items():
        yield Check(name=subject, result="ok", text=f"{subject.replace('/', ' ')} is as planned: {', '.join(words) or 'unchanged'}")


def _words(fact: Fact) -> list[str]:
    """What a fact that holds says to people; technical ones say nothing."""
    if fact.field == "node":
        return [f"on {fact.value}"]
    if fact.field == "status":
        return [str(fact.value)]
    if fact.field == "lock":
        return ["not locked"] if fact.value is None else [f"locked ({fact.value})"]
    return ["configuration unchanged"] if fact.field == "digest" else []


def _needs(plan: Plan, needs: Iterable[Need], facts: Facts, reader: Reader) -> Iterable[Check]:
    nodes: dict[str, Node] | None = None
    for need in needs:
        try:
            if need.kind == "quorum":
                yield _quorum(facts)
            elif need.kind == "memory":
                if nodes is None:
                    nodes = {node.name: node for node in reader.nodes().rows}
                yield _memory(
                    need, nodes, sum(other.amount_bytes for other in needs if other.kind == "memory" and other.target == need.target)
                )
            elif need.kind == "migrate":
                yield _migration(need, reader, _ref(plan, need.subject))
            else:
                yield _snapshot(need, reader, _ref(plan, need.subject))
        except Forbidden as err:
            yield Check(name=need.kind, result="unknown", text=f"{need.kind} could not be checked: {err.message} {err.hint}".strip())
        except PveopsError as err:
            yield Check(name=need.kind, result="unknown", text=f"{need.kind} could not be checked: {err.message}")


def _quorum(facts: Facts) -> Check:
    if facts.values.get("cluster.quorate") is True:
        return Check(name="quorum", result="ok", text="the cluster has quorum")
    why = facts.why_unknown("cluster", "quorate")
    if why:
        return Check(name="quorum", result="unknown", text=f"quorum could not be read: {why}")
    return Check(name="quorum", result="fail", text="the cluster has no quorum, so Proxmox VE refuses every change")


def _memory(need: Need, nodes: dict[str, Node], together_bytes: int) -> Check:
    node = nodes.get(need.target)
    if node is None:
        return Check(name="memory", result="fail", text=f"there is no node called {need.target}")
    if node.status != "online":
        return Check(name="memory", result="fail", text=f"{need.target} is {node.status}")
    if node.maxmem_bytes is None or node.mem_bytes is None:
        return Check(name="memory", result="unknown", text=f"the memory of {need.target} is not readable for this token")
    free = node.maxmem_bytes - node.mem_bytes
    said = f"{need.target} has {fmt_bytes(free)} free for {fmt_bytes(together_bytes)}"
    if together_bytes > free:
        return Check(name="memory", result="fail", text=said)
    tight = (node.mem_bytes + together_bytes) / node.maxmem_bytes > 0.94
    return Check(name="memory", result="warn" if tight else "ok", text=f"{said}, which leaves it nearly full" if tight else said)


def _migration(need: Need, reader: Reader, ref: GuestRef | None) -> Check:
    if ref is None:
        return Check(name="migrate", result="unknown", text=f"the plan names no path of {need.subject}")
    try:
        said = reader.migrate_preconditions(ref, need.target)
    except Forbidden:
        raise
    except ApiError as err:
        if err.status == 501:
            return Check(name="migrate", result="unknown", text=f"this version does not say whether {ref.vmid} can move to {need.target}")
        return Check(
            name="migrate", result="fail", text=f"{ref.vmid} cannot move to {need.target}: {err.details.get('reason', err.message)}"
        )
    refused = _refusals(said, need.target)
    if refused:
        return Check(name="migrate", result="fail", text=f"{ref.vmid} cannot move to {need.target}: {refused}")
    disks = said.get("local_disks") or []
    if disks:
        return Check(
            name="migrate",
            result="warn",
            text=f"{ref.vmid} can move to {need.target}; {len(disks)} local disks are copied over the network",
        )
    return Check(name="migrate", result="ok", text=f"{ref.vmid} can move to {need.target}")


def _refusals(said: dict[str, object], target: str) -> str:
    """Why Proxmox VE would not move the guest there; empty where it would."""
    refused = said.get("not_allowed_nodes")
    why = refused.get(target) if isinstance(refused, dict) else None
    parts = [f"{key}: {value}" for key, value in why.items() if value] if isinstance(why, dict) else []
    local = said.get("local_resources")
    if isinstance(local, list) and local:
        parts.append(f"it uses local devices ({', '.join(map(str, local))})")
    allowed = said.get("allowed_nodes")
    if not parts and isinstance(allowed, list) and allowed and target not in allowed and not said.get("running"):
        parts.append("it is not among the nodes that can take it")
    return "; ".join(parts)


def _snapshot(need: Need, reader: Reader, ref: GuestRef | None) -> Check:
    if ref is None:
        return Check(name="snapshot", result="unknown", text=f"the plan names no path of {need.subject}")
    if reader.can_snapshot(ref):
        return Check(name="snapshot", result="ok", text=f"the storages of {ref.vmid} take snapshots")
    return Check(name="snapshot", result="fail", text=f"a storage of {ref.vmid} takes no snapshots")


def _ref(plan: Plan, subject: str) -> GuestRef | None:
    for step in plan.steps:
        match = _GUEST_PATH.match(step.call.path)
        if match and step.subject == subject:
            return GuestRef(int(match["vmid"]), "qemu" if match["kind"] == "qemu" else "lxc", match["node"])
    return None


def _sentence(text: str) -> str:
    return text.replace("guest/", "guest ").replace("node/", "node ").replace(".status", " status").replace(".lock", " lock")
