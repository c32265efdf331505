"""How much each wire call can hurt. One table over method and final path; what is not in it is BLACK."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pveops.model.plan import Plan, WireCall
from pveops.model.proposal import Tier

_GUEST = r"/nodes/(?P<node>[A-Za-z0-9-]+)/(?P<kind>qemu|lxc)/(?P<vmid>[1-9][0-9]{2,8})"
_SNAPSHOT = r"(?P<snapshot>[A-Za-z][A-Za-z0-9_-]{1,39})"


@dataclass(frozen=True, slots=True)
class Rule:
    """One call: its tier, the parameters it may carry, and those that raise it."""

    method: str
    path: re.Pattern[str]
    tier: Tier
    does: str
    params: frozenset[str] = frozenset()
    raises: dict[str, Tier] = field(default_factory=dict)

    def match(self, call: WireCall) -> bool:
        """Whether the rule is about this call."""
        return call.method == self.method and self.path.fullmatch(call.path) is not None


def _rule(method: str, path: str, tier: Tier, does: str, params: str = "", **raises: Tier) -> Rule:
    return Rule(method, re.compile(path), tier, does, frozenset(params.split()) | frozenset(raises), raises)


TABLE: tuple[Rule, ...] = (
    _rule("POST", f"{_GUEST}/status/start", Tier.YELLOW, "starts a guest", "timeout"),
    _rule("POST", f"{_GUEST}/status/shutdown", Tier.YELLOW, "asks a guest to shut down", "timeout", forceStop=Tier.RED),
    _rule("POST", f"{_GUEST}/status/reboot", Tier.YELLOW, "asks a guest to restart", "timeout"),
    _rule("POST", f"{_GUEST}/snapshot", Tier.YELLOW, "keeps the present state of a guest", "snapname description vmstate"),
    _rule("DELETE", f"{_GUEST}/snapshot/{_SNAPSHOT}", Tier.RED, "deletes a snapshot for good", "", force=Tier.BLACK),
    _rule(
        "POST",
        f"{_GUEST}/migrate",
        Tier.YELLOW,
        "moves a guest to another node",
        "target online restart with-local-disks timeout bwlimit",
        force=Tier.BLACK,
    ),
)


@dataclass(frozen=True, slots=True)
class Rating:
    """A tier and the sentence that explains it."""

    tier: Tier
    why: str


def rate_call(call: WireCall) -> Rating:
    """The tier of one call. Unknown calls and unknown parameters are BLACK."""
    rule = next((rule for rule in TABLE if rule.match(call)), None)
    if rule is None:
        return Rating(Tier.BLACK, f"{call.method} {call.path} is not in the table of known changes")
    rating = Rating(rule.tier, rule.does)
    for name, value in call.params:
        if name not in rule.params:
            return Rating(Tier.BLACK, f"the parameter {name} of {call.method} {call.path} is not in the table of known changes")
        raised = rule.raises.get(name)
        if raised is not None and value not in (0, "0", "") and raised.rank > rating.tier.rank:
            rating = Rating(raised, f"{rule.does}, with {name}={value}")
    return rating


def rate_plan(plan: Plan, *, bulk_targets: int, own_guests: Iterable[int] = ()) -> Rating:
    """The tier of a plan: its highest step, raised to RED from ``bulk_targets`` targets on, BLACK for guests that pveops runs on."""
    if not plan.steps:
        return Rating(Tier.BLACK, "a plan without steps")
    rating = max((rate_call(step.call) for step in (*plan.steps, *plan.taken_back)), key=lambda rated: rated.tier.rank)
    own = {f"guest/{vmid}" for vmid in own_guests}
    hit = sorted(own.intersection(plan.subjects))
    if hit:
        return Rating(Tier.BLACK, f"pveops itself runs on {', '.join(hit)}")
    misnamed = next((step for step in (*plan.steps, *plan.taken_back) if not _names_its_target(step.subject, step.call)), None)
    if misnamed is not None:
        return Rating(Tier.BLACK, f"step {misnamed.key} says {misnamed.subject} and calls {misnamed.call.path}")
    count = len(plan.subjects)
    if count >= bulk_targets and rating.tier.rank < Tier.RED.rank:
        return Rating(Tier.RED, f"{rating.why}, for {count} targets at once")
    return rating


def _names_its_target(subject: str, call: WireCall) -> bool:
    """Policy looks at subjects, the cluster at paths: both must mean the same guest."""
    match = re.match(_GUEST, call.path)
    return match is not None and subject == f"guest/{match['vmid']}"
