"""What is never done, however many approve: cutting off pveops itself, the cluster's last vote, the last good copy of a backup, the tags that guard a guest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pveops.base.errors import PveopsError
from pveops.guard.ports import Reader
from pveops.guard.table import rule_of
from pveops.guard.tiers import Rating, rate_call
from pveops.model.facts import Facts
from pveops.model.plan import Plan, Step
from pveops.model.proposal import Tier
from pveops.model.resources import Backup

GUARD_TAGS = ("pveops-critical", "pveops-frozen", "pveops-protected")
"""Tags that policies go by. Taking one off is RED."""

_DOWN = re.compile(r"/nodes/(?P<node>[^/]+)/(?:status|services/(?:corosync|pve-cluster)/(?:stop|restart))")
_VOLUME = re.compile(r"/nodes/[^/]+/storage/(?P<storage>[^/]+)/content/(?P<volume>.+)")
_IS_BACKUP = re.compile(r"(?:^|[:/])backup/")


def extra_subjects(plan: Plan, own_guests: Iterable[int]) -> tuple[str, ...]:
    """What must be read besides the plan's own subjects, so that ``protect`` can judge it."""
    nodes = any(step.subject.startswith("node/") for step in (*plan.steps, *plan.taken_back))
    return ("cluster", *(f"guest/{vmid}" for vmid in own_guests if nodes))


def reach(plan: Plan, facts: Facts) -> int:
    """How many targets a plan has when the guests of its nodes are counted too, where its call reaches all of them."""
    found = set(plan.subjects)
    for step in (*plan.steps, *plan.taken_back):
        if step.subject.startswith("node/") and rate_call(step.call).tier is not Tier.YELLOW:
            guests = facts.values.get(f"{step.subject}.guests")
            found.update(f"guest/{vmid}" for vmid in (guests if isinstance(guests, tuple) else ()))
    return len(found)


def protect(
    plan: Plan, facts: Facts, reader: Reader, *, own_guests: Sequence[int], own_nodes: Sequence[str], falling: Iterable[str] = ()
) -> Rating | None:
    """Why a plan must never run on this state, or what raises it; none where nothing does.

    Args:
        plan: the plan.
        facts: fresh, about the plan's subjects and ``extra_subjects``.
        reader: reads backups where the plan deletes one.
        own_guests: guests that pveops runs on.
        own_nodes: nodes that pveops runs on; those of its own guests are added.
        falling: nodes that other runs are taking down now.
    """
    homes = {str(facts.values.get(f"guest/{vmid}.node")) for vmid in own_guests} | set(own_nodes)
    for step in (*plan.steps, *plan.taken_back):
        node = step.subject.partition("/")[2] if step.subject.startswith("node/") else ""
        if node in homes and rate_call(step.call).tier.rank >= Tier.RED.rank:
            return Rating(Tier.BLACK, f"pveops itself runs on node {node}")
    return _votes(plan, facts, falling) or _copies(plan, reader) or _tags((*plan.steps, *plan.taken_back), facts)


def going_down(plan: Plan) -> tuple[str, ...]:
    """Nodes whose vote a plan takes away, at least for a while."""
    return tuple(dict.fromkeys(match["node"] for step in (*plan.steps, *plan.taken_back) if (match := _DOWN.fullmatch(step.call.path))))


def _votes(plan: Plan, facts: Facts, falling: Iterable[str]) -> Rating | None:
    down = set(going_down(plan))
    if not down:
        return None
    members, online = facts.values.get("cluster.nodes"), facts.values.get("cluster.online")
    if not isinstance(members, tuple) or not isinstance(online, tuple) or not members:
        return Rating(Tier.BLACK, "the members of the cluster could not be read, so nobody can tell whether it keeps its quorum")
    left, wanted = len(set(online) - down - set(falling)), len(members) // 2 + 1
    if left < wanted:
        return Rating(Tier.BLACK, f"without {', '.join(sorted(down))} {left} of {len(members)} nodes are left, and quorum takes {wanted}")
    return None


def _copies(plan: Plan, reader: Reader) -> Rating | None:
    gone: dict[str, Step] = {}
    for step in (*plan.steps, *plan.taken_back):
        match = _VOLUME.fullmatch(step.call.path)
        if match and step.call.method == "DELETE":
            volume = match["volume"] if ":" in match["volume"] else f"{match['storage']}:{match['volume']}"
            if _IS_BACKUP.search(volume):
                gone[volume] = step
    if not gone:
        return None
    try:
        answer = reader.backups()
    except PveopsError as err:
        return Rating(Tier.BLACK, f"the backups could not be read, so nobody can tell whether another copy is left ({err.message})")
    known = {backup.volid: backup for backup in answer.rows}
    for volume in gone:
        backup = known.get(volume)
        if backup is None or backup.vmid is None:
            return Rating(Tier.BLACK, f"{volume} is not among the backups that can be read")
        if _good(backup) and not any(
            other.vmid == backup.vmid and other.kind == backup.kind and _good(other) for other in answer.rows if other.volid not in gone
        ):
            return Rating(Tier.BLACK, f"{volume} is the last good backup of guest {backup.vmid}")
    return None


def _good(backup: Backup) -> bool:
    return backup.verified != "failed" and backup.size_bytes != 0


def _tags(steps: Iterable[Step], facts: Facts) -> Rating | None:
    for step in steps:
        rule = rule_of(step.call)
        if rule is None or not rule.template.endswith("/config") or "/snapshot/" in rule.template:
            continue
        params = dict(step.call.params)
        dropped = "tags" in re.split(r"[;,\s]+", str(params.get("delete", "")))
        if "tags" not in params and not dropped:
            continue
        have = facts.values.get(f"{step.subject}.tags")
        lost = set(GUARD_TAGS).intersection(have if isinstance(have, tuple) else ()) - set(
            re.split(r"[;,\s]+", str(params.get("tags", "")))
        )
        if lost:
            return Rating(Tier.RED, f"it takes {', '.join(sorted(lost))} off {step.subject.replace('/', ' ')}")
    return None
