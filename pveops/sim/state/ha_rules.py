"""What the rules of high availability say about a resource: where it should run, with whom, and with whom not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from pveops.sim.props import split_list
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.sections import Row

NODES = "node-affinity"
RESOURCES = "resource-affinity"


def members(row: Row) -> list[str]:
    """The resources of a rule."""
    return split_list(str(row.get("resources", "")))


def node_priorities(row: Row) -> dict[str, int]:
    """The nodes of a rule (or of a group) with their priorities; a higher one is better."""
    found = {}
    for part in split_list(str(row.get("nodes", ""))):
        name, _, priority = part.partition(":")
        found[name] = int(priority or 0)
    return found


def rules_of(cluster: Cluster, sid: str, kind: str) -> Iterator[Row]:
    """The rules in force of one kind that name a resource."""
    for row in cluster.configs.ha_rules.rows.values():
        if row["type"] == kind and not row.get("disable") and sid in members(row):
            yield row


def companions(cluster: Cluster, sid: str, affinity: str) -> list[str]:
    """Managed resources that a resource must run with (``positive``) or apart from (``negative``)."""
    found = {one for row in rules_of(cluster, sid, RESOURCES) if row.get("affinity") == affinity for one in members(row)}
    return sorted(one for one in found - {sid} if one in cluster.ha and cluster.ha[one].state != "ignored")


def _guest_of(cluster: Cluster, sid: str) -> Guest | None:
    number = sid.rpartition(":")[2]
    guest = cluster.guests.get(int(number)) if number.isdigit() else None
    return guest if guest is not None and guest.sid == sid else None


def blocking(cluster: Cluster, sid: str, target: str) -> list[tuple[str, str]]:
    """Why a resource may not go to a node: resources in the way, each with the kind of rule that says so."""
    found = [(other, RESOURCES) for other in companions(cluster, sid, "negative") if _at(cluster, other) == target]
    row = next(rules_of(cluster, sid, NODES), None)
    if row is not None and row.get("strict") and target not in node_priorities(row):
        found.append((sid, NODES))
    return found


def _at(cluster: Cluster, sid: str) -> str:
    guest = _guest_of(cluster, sid)
    return guest.node if guest is not None else ""


def _may_run_on(cluster: Cluster, sid: str, here: str) -> list[str]:
    """Nodes that are right for a resource by its node rule alone; without failback also the one where it is."""
    nodes, strict = preferred_nodes(cluster, sid)
    if cluster.ha[sid].options.get("failback", 1):
        return nodes
    row = next(rules_of(cluster, sid, NODES), {})
    return [*nodes, here] if not strict or here in node_priorities(row) else nodes


def place_for(cluster: Cluster, sid: str, planned: Mapping[str, str]) -> str:
    """The node that a resource must move to for all rules to be kept; empty when it may stay, or when there is no such node.

    ``planned`` is where resources go that are on their way.
    """
    guest = _guest_of(cluster, sid)
    if guest is None or sid not in cluster.ha or cluster.ha[sid].state == "ignored":
        return ""
    apart = {planned.get(other) or _at(cluster, other) for other in companions(cluster, sid, "negative")}
    fit = [name for name in _may_run_on(cluster, sid, guest.node) if name not in apart]
    together = Counter(where for other in companions(cluster, sid, "positive") if (where := planned.get(other) or _at(cluster, other)))
    if together:
        leader = min({*together, guest.node}, key=lambda name: (-together[name] - (name == guest.node), name))
        fit = [leader] if leader in fit else fit
    if guest.node in fit or not fit:
        return ""
    crowd = Counter(one.node for one in cluster.guests.values())
    return min(fit, key=lambda name: (crowd[name], name))


def preferred_nodes(cluster: Cluster, sid: str) -> tuple[list[str], bool]:
    """The best nodes for a resource that are up, and whether it may run nowhere else; all nodes that are up when no rule names it."""
    online = [name for name, node in cluster.nodes.items() if node.online]
    row = next(rules_of(cluster, sid, NODES), None) or _group_of(cluster, sid)
    if row is None:
        return online, False
    priorities = {name: priority for name, priority in node_priorities(row).items() if name in online}
    strict = bool(row.get("strict") or row.get("restricted"))
    if not priorities:
        return ([] if strict else online), strict
    best = max(priorities.values())
    return [name for name, priority in priorities.items() if priority == best], strict


def _group_of(cluster: Cluster, sid: str) -> Row | None:
    """The group of a resource, as Proxmox VE 8 has them."""
    found = cluster.ha.get(sid)
    return cluster.configs.ha_groups.get(str(found.options.get("group", ""))) if found else None
