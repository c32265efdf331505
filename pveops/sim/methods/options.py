"""Options of the datacenter, and the members of the cluster."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.cluster_views import guest_visible
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import read_props, split_list
from pveops.sim.state.config import normal_tags

api = Table()

_OBJECTS = {
    "crs": "ha",
    "ha": "shutdown_policy",
    "migration": "type",
    "next-id": "",
    "notify": "",
    "replication": "type",
    "tag-style": "",
    "u2f": "",
    "user-tag-access": "",
    "webauthn": "",
}
_MAC_PREFIX = "BC:24:11"


def _shown(options: dict[str, Any]) -> dict[str, Any]:
    """Options as the API shows them: most property strings as objects."""
    shown: dict[str, Any] = {"mac_prefix": _MAC_PREFIX}
    for key, value in options.items():
        if key in _OBJECTS:
            shown[key] = read_props(str(value), _OBJECTS[key])
        elif key == "registered-tags":
            shown[key] = split_list(str(value))
        elif key == "description":
            shown[key] = f"{str(value).rstrip()}\n"
        else:
            shown[key] = value
    return shown


@api.reads("GET /cluster/options")
def options(call: Call) -> dict[str, Any]:
    """The options; without Sys.Audit only the tags that may be used."""
    visible = guest_visible(call)
    used = {tag for guest in call.cluster.guests.values() if guest.tags and visible(guest) for tag in split_list(guest.tags)}
    allowed = sorted(used | set(split_list(str(call.cluster.options.get("registered-tags", "")))))
    if not call.may("/", "Sys.Audit"):
        return {"allowed-tags": allowed}
    return _shown(call.cluster.options) | {"allowed-tags": allowed}


@api.behaves("PUT /cluster/options")
def update(call: Call) -> None:
    """Change options; deleting one that is not set is fine."""
    changes = {key: value for key, value in call.p.items() if key != "delete"}
    limits = read_props(str(changes.get("next-id", "")))
    lower, upper = limits.get("lower", "100"), limits.get("upper", "1000000")
    if int(lower) > int(upper):
        raise failed(f"lower ({lower}) <= upper ({upper}) boundary rule broken")
    if "registered-tags" in changes:
        changes["registered-tags"] = normal_tags(str(changes["registered-tags"]))
    for key in split_list(call.p.get("delete", "")):
        call.cluster.options.pop(key, None)
    call.cluster.options |= changes


@api.reads("GET /cluster/config/nodes")
def members(call: Call) -> list[dict[str, Any]]:
    """The members as corosync knows them; nothing on a single node."""
    if len(call.cluster.nodes) == 1:
        return []
    return [
        {"node": node.name, "name": node.name, "nodeid": str(node.nodeid), "quorum_votes": "1", "ring0_addr": node.ip}
        for node in call.cluster.nodes.values()
    ]


@api.reads("GET /cluster/config/totem")
def totem(call: Call) -> dict[str, Any] | None:
    """The totem section; nothing on a single node."""
    if len(call.cluster.nodes) == 1:
        return None
    return {
        "cluster_name": call.cluster.name,
        "config_version": str(len(call.cluster.nodes)),
        "interface": {"0": {"linknumber": "0"}},
        "ip_version": "ipv4-6",
        "link_mode": "passive",
        "secauth": "on",
        "version": "2",
    }


@api.reads("GET /cluster/config/apiversion")
def api_version(call: Call) -> str:
    """The version of the join protocol, as a text."""
    return "1"


@api.reads("GET /cluster/config/qdevice")
def qdevice(call: Call) -> dict[str, Any]:
    """The state of the quorum device; there is none."""
    return {}
