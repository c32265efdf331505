"""High availability: managed guests and the state of the manager."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.cluster import HaResource
from pveops.sim.state.digest import sha1_of
from pveops.sim.state.guest import Guest
from pveops.sim.state.ha_rules import blocking, companions
from pveops.sim.tasks import ha

api = Table()

_OPTIONS = ("comment", "failback", "group", "max_relocate", "max_restart", "auto-rebalance")


def _digest(call: Call) -> str:
    return sha1_of([(one.sid, one.state, sorted(one.options.items())) for one in call.cluster.ha.values()])


def _sid(call: Call) -> str:
    """The id with its kind in front: a bare number is looked up."""
    text = str(call.p["sid"])
    if not text.isdigit():
        return text
    guest = call.cluster.guests.get(int(text))
    return guest.sid if guest else f"vm:{text}"


def _row(call: Call, found: HaResource) -> dict[str, Any]:
    return {"sid": found.sid, "type": found.sid.split(":")[0], "state": found.state, "digest": _digest(call), **found.options}


def _guest(call: Call, sid: str) -> Guest | None:
    _, _, number = sid.partition(":")
    guest = call.cluster.guests.get(int(number)) if number.isdigit() else None
    return guest if guest and guest.sid == sid else None


def _find(call: Call) -> HaResource:
    found = call.cluster.ha.get(_sid(call))
    if found is None:
        raise failed(f"no such resource '{_sid(call)}'")
    return found


@api.reads("GET /cluster/ha/resources")
def resources(call: Call) -> list[dict[str, Any]]:
    """The guests that high availability manages."""
    wanted = call.p.get("type")
    return [_row(call, found) for found in call.cluster.ha.values() if wanted in (None, found.sid.split(":")[0])]


@api.reads("GET /cluster/ha/resources/{sid}")
def resource(call: Call) -> dict[str, Any]:
    """One managed guest."""
    return _row(call, _find(call))


@api.behaves("POST /cluster/ha/resources")
def create(call: Call) -> None:
    """Put a guest under management."""
    sid = _sid(call)
    if sid in call.cluster.ha:
        raise failed(f"create resource failed: resource ID '{sid}' already defined")
    guest = _guest(call, sid)
    if guest is None:
        raise failed(f"create resource failed: cannot add service '{sid}', the guest does not exist")
    if "group" in call.p and not call.world.old:
        raise failed("create resource failed: cannot create resource: ha groups have been migrated to rules")
    options = {key: call.p[key] for key in _OPTIONS if key in call.p}
    state = str(call.p.get("state", "started"))
    call.cluster.ha[sid] = HaResource(sid, state, options)
    call.cluster.generation += 1
    ha.follow(call.world.engine, call.cluster, guest.kind, guest.vmid, state)


@api.behaves("PUT /cluster/ha/resources/{sid}")
def update(call: Call) -> None:
    """Change what is wanted of a managed guest."""
    found = _find(call)
    if "digest" in call.p and call.p["digest"] != _digest(call):
        raise failed("update resource failed: detected modified configuration - file changed by other user? Try again.")
    for key in split_list(call.p.get("delete", "")):
        found.options.pop(key, None)
    found.options |= {key: call.p[key] for key in _OPTIONS if key in call.p}
    if "group" in call.p:
        ha.settle(call.world.engine, call.cluster, [found.sid], call.world.busy)
    if "state" in call.p:
        found.state = call.p["state"]
        if found.state == "disabled" and found.phase == "error":
            found.phase = ""
        guest = _guest(call, found.sid)
        if guest is not None:
            ha.follow(call.world.engine, call.cluster, guest.kind, guest.vmid, found.state)
    call.cluster.generation += 1


@api.behaves("DELETE /cluster/ha/resources/{sid}")
def delete(call: Call) -> None:
    """Take a guest out of management; it goes on as it is."""
    sid = _sid(call)
    if sid not in call.cluster.ha:
        raise failed(f"cannot delete service '{sid}', not HA managed!")
    del call.cluster.ha[sid]
    call.cluster.generation += 1


@api.behaves("POST /cluster/ha/resources/{sid}/migrate", "POST /cluster/ha/resources/{sid}/relocate")
def move(call: Call) -> dict[str, Any]:
    """Ask the manager to move a guest and whoever must stay with it; the moves are tasks of the node, later."""
    found = _find(call)
    guest, target = _guest(call, found.sid), str(call.p["node"])
    if target not in call.cluster.nodes:
        raise bad_parameter("node", f"no such cluster node '{target}'")
    if guest is None:
        raise failed(f"no such resource '{found.sid}'")
    if guest.node == target:
        raise failed(f"service '{found.sid}' already on node '{target}'")
    cluster = call.cluster
    answer: dict[str, Any] = {"sid": found.sid, "requested-node": target}
    barred = blocking(cluster, found.sid, target)
    if barred:
        return answer | {"blocking-resources": [{"sid": sid, "cause": cause} for sid, cause in barred]}
    together = companions(cluster, found.sid, "positive")
    for sid in (found.sid, *together):
        ha.send_to(call.world.engine, cluster, sid, target, call.world.busy)
    return answer | ({"comigrated-resources": together} if together else {})


@api.behaves("POST /cluster/ha/status/disarm-ha")
def disarm(call: Call) -> None:
    """Let go of the watchdogs of all nodes: nothing is fenced, restarted or moved until it is armed again."""
    call.cluster.ha_disarmed = str(call.p["resource-mode"])


@api.behaves("POST /cluster/ha/status/arm-ha")
def arm(call: Call) -> None:
    """Take charge again: what rules want elsewhere is moved now."""
    call.cluster.ha_disarmed = ""
    ha.settle(call.world.engine, call.cluster, list(call.cluster.ha), call.world.busy)


def _stamp(call: Call) -> str:
    return datetime.fromtimestamp(call.now_s, UTC).strftime("%a %b %e %H:%M:%S %Y")


def _service_row(call: Call, found: HaResource) -> dict[str, Any]:
    guest = _guest(call, found.sid)
    node = guest.node if guest else call.cluster.local_node
    state = found.state
    if state != "ignored" and len(call.cluster.nodes) == 1:
        state = "queued"
    elif found.phase:
        state = found.phase
    elif state == "started" and guest is not None and not guest.running:
        state = "request_start"
    elif state == "stopped" and guest is not None and guest.running:
        state = "request_stop"
    row: dict[str, Any] = {
        "id": f"service:{found.sid}",
        "sid": found.sid,
        "type": "service",
        "node": node,
        "state": state,
        "request_state": found.state,
        "status": f"{found.sid} ({node}, {state})",
        "max_relocate": found.options.get("max_relocate", 1),
        "max_restart": found.options.get("max_restart", 1),
    }
    if call.world.old:
        row |= {"group": found.options["group"]} if "group" in found.options else {}
    else:
        row["failback"] = found.options.get("failback", 1)
    if "comment" in found.options:
        row["comment"] = found.options["comment"]
    return row | ({"crm_state": state} if len(call.cluster.nodes) > 1 and state not in ("queued", "ignored") else {})


@api.reads("GET /cluster/ha/status/current")
def current(call: Call) -> list[dict[str, Any]]:
    """Quorum, master, fencing, the agents of the nodes, and the managed guests."""
    cluster = call.cluster
    online = sum(node.online for node in cluster.nodes.values())
    quorate = int(online * 2 > len(cluster.nodes))
    local = cluster.local_node
    rows: list[dict[str, Any]] = [
        {"id": "quorum", "type": "quorum", "node": local, "quorate": quorate, "status": "OK" if quorate else "No quorum on node"}
    ]
    if len(cluster.nodes) > 1:
        rows.append(
            {"id": "master", "type": "master", "node": local, "status": f"{local} (active, {_stamp(call)})", "timestamp": int(call.now_s)}
        )
    armed = "disarmed" if cluster.ha_disarmed else "armed" if cluster.ha and len(cluster.nodes) > 1 else "standby"
    text = "standby (CRM watchdog standby)" if armed == "standby" else armed
    if not call.world.old:
        rows.append({"id": "fencing", "type": "fencing", "node": local, "status": text, "armed-state": armed})
    if len(cluster.nodes) > 1:
        busy = {guest.node for sid in cluster.ha if (guest := _guest(call, sid)) is not None}
        for name, node in cluster.nodes.items():
            state = ("active" if name in busy else "idle") if node.online else "old timestamp - dead?"
            row = {"id": f"lrm:{name}", "type": "lrm", "node": name, "status": f"{name} ({state}, {_stamp(call)})"}
            rows.append(row | {"timestamp": int(call.now_s)})
    return rows + [_service_row(call, found) for found in cluster.ha.values()]


@api.reads("GET /cluster/ha/status/manager_status")
def manager_status(call: Call) -> dict[str, Any]:
    """The state of the manager as it keeps it itself."""
    cluster = call.cluster
    online = sum(node.online for node in cluster.nodes.values())
    quorum = {"node": cluster.local_node, "quorate": str(int(online * 2 > len(cluster.nodes)))}
    if len(cluster.nodes) == 1:
        return {"manager_status": {"node_status": {}}, "quorum": quorum}
    nodes = {name: "online" if node.online else "unknown" for name, node in cluster.nodes.items()}
    services = {
        sid: {"node": guest.node, "state": found.phase or found.state, "running": int(guest.running)}
        for sid, found in cluster.ha.items()
        if (guest := _guest(call, sid))
    }
    status = {"master_node": cluster.local_node, "node_status": nodes, "service_status": services, "timestamp": int(call.now_s)}
    return {"manager_status": status, "quorum": quorum}
