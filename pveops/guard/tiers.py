"""How much each wire call can hurt. One table over method and final path; what is not in it is BLACK."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pveops.guard.table import TABLE, rule_of
from pveops.model.plan import Plan, WireCall
from pveops.model.proposal import Tier

__all__ = ["TABLE", "Rating", "rate_call", "rate_plan", "subject_of"]

_GUEST = re.compile(r"/nodes/[^/]+/(?:qemu|lxc)/(?P<vmid>[0-9]+)(?:/.*)?")
_STORAGE = re.compile(r"/nodes/(?P<node>[^/]+)/storage/(?P<storage>[^/]+)/.*")
_JOB = re.compile(r"/(?:nodes/[^/]+|cluster)/replication/(?P<vmid>[0-9]+)-[0-9]+(?:/.*)?")
_MANAGED = re.compile(r"/cluster/ha/resources(?:/(?P<sid>[^/]+)(?:/.*)?)?")
_NODE = re.compile(r"/nodes/(?P<node>[^/]+)/.*")
_MAKES = re.compile(r"/nodes/[^/]+/(?:qemu|lxc|vzdump)")
_SID = re.compile(r"(?:(?:vm|ct):)?(?P<vmid>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Rating:
    """A tier and the sentence that explains it."""

    tier: Tier
    why: str


def rate_call(call: WireCall) -> Rating:
    """The tier of one call. Unknown calls and unknown parameters are BLACK."""
    rule = rule_of(call)
    if rule is None:
        return Rating(Tier.BLACK, f"{call.method} {call.path} is not in the table of known changes")
    rating = Rating(rule.tier, rule.does)
    for name, value in call.params:
        try:
            asked = rule.of_parameter(name, value)
        except KeyError:
            return Rating(Tier.BLACK, f"the parameter {name} of {call.method} {call.path} is not in the table of known changes")
        if asked is not None and asked.rank > rating.tier.rank:
            rating = Rating(asked, f"{rule.does}, with {name}={value}")
    return rating


def rate_plan(plan: Plan, *, bulk_targets: int, own_guests: Iterable[int] = (), reach: int = 0) -> Rating:
    """The tier of a plan: its highest step, raised to RED from ``bulk_targets`` targets on, BLACK for guests that pveops runs on.

    Args:
        plan: the plan.
        bulk_targets: from how many targets on a plan is RED.
        own_guests: guests that pveops itself runs on.
        reach: how many targets it has when those are counted that it does not name (guests of a node); 0 where nobody counted.
    """
    if not plan.steps:
        return Rating(Tier.BLACK, "a plan without steps")
    rating = max((rate_call(step.call) for step in (*plan.steps, *plan.taken_back)), key=lambda rated: rated.tier.rank)
    own = {f"guest/{vmid}" for vmid in own_guests}
    hit = sorted(own.intersection(plan.subjects))
    if hit:
        return Rating(Tier.BLACK, f"pveops itself runs on {', '.join(hit)}")
    misnamed = next((step for step in (*plan.steps, *plan.taken_back) if subject_of(step.call) != step.subject), None)
    if misnamed is not None:
        return Rating(Tier.BLACK, f"step {misnamed.key} says {misnamed.subject} and calls {misnamed.call.path}")
    count = max(len(plan.subjects), reach)
    if count >= bulk_targets and rating.tier.rank < Tier.RED.rank:
        return Rating(Tier.RED, f"{rating.why}, for {count} targets at once")
    return rating


def subject_of(call: WireCall) -> str:
    """What a call acts on, by its path: policy looks at subjects, the cluster at paths, and both must mean the same. Empty where it names none."""
    path, params = call.path, dict(call.params)
    if match := _GUEST.fullmatch(path) or _JOB.fullmatch(path):
        return f"guest/{match['vmid']}"
    if match := _MANAGED.fullmatch(path):
        return _guest(_SID, match["sid"] or str(params.get("sid", "")))
    if _MAKES.fullmatch(path):
        return _guest(re.compile(r"(?P<vmid>[0-9]+)"), str(params.get("vmid", "")))
    if path == "/cluster/replication":
        return _guest(re.compile(r"(?P<vmid>[0-9]+)-[0-9]+"), str(params.get("id", "")))
    if match := _STORAGE.fullmatch(path):
        return f"storage/{match['node']}/{match['storage']}"
    if match := _NODE.fullmatch(path):
        return f"node/{match['node']}"
    return "cluster"


def _guest(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.fullmatch(text)
    return f"guest/{match['vmid']}" if match else ""
