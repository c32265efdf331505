"""The OSDs of Ceph: the tree of nodes and disks, and what can be done with each of them."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.state.ceph import OSDS_PER_NODE, VERSION, Ceph, Osd, ceph_of, degraded, is_up, used_bytes
from pveops.sim.tasks.engine import Body
from pveops.sim.tasks.task import Task

api = Table()

_DESTROY_S = 3.0
_TIB = 1024**4


def _row(call: Call, ceph: Ceph, osd: Osd) -> dict[str, Any]:
    up = is_up(call.cluster, osd)
    total = sum(one.size for one in ceph.osds.values() if one.inside) or 1
    used = min(used_bytes(call.cluster) * 3 * osd.size // total, osd.size) if osd.inside else 0
    return {
        "id": str(osd.number),
        "name": f"osd.{osd.number}",
        "type": "osd",
        "leaf": 1,
        "status": "up" if up else "down",
        "in": int(osd.inside),
        "reweight": float(osd.inside),
        "crush_weight": round(osd.size / _TIB, 5),
        "device_class": "ssd",
        "osdtype": "bluestore",
        "bytes_used": used,
        "total_space": osd.size,
        "percent_used": used / osd.size * 100 if osd.size else 0,
        "ceph_version_short": VERSION,
        "host": osd.node,
    }


@api.reads("GET /nodes/{node}/ceph/osd")
def tree(call: Call) -> dict[str, Any]:
    """The tree: root, nodes, OSDs; and the flags that are set."""
    ceph = ceph_of(call.cluster)
    hosts = []
    for number, name in enumerate(call.cluster.nodes, 2):
        leaves = [_row(call, ceph, osd) for osd in ceph.osds.values() if osd.node == name]
        hosts.append({"id": f"-{number + 1}", "name": name, "type": "host", "version": VERSION, "children": leaves})
    root = {"id": "-1", "name": "default", "type": "root", "children": hosts}
    return {"root": {"leaf": 0, "children": [root]}} | ({"flags": ",".join(sorted(ceph.flags))} if ceph.flags else {})


def _find(call: Call) -> tuple[Ceph, Osd]:
    ceph = ceph_of(call.cluster)
    found = ceph.osds.get(call.p["osdid"])
    if found is None or found.node != call.p["node"]:
        raise failed(f"OSD osd.{call.p['osdid']} does not exist on host '{call.p['node']}'")
    return ceph, found


@api.behaves("POST /nodes/{node}/ceph/osd/{osdid}/in", "POST /nodes/{node}/ceph/osd/{osdid}/out")
def put(call: Call) -> None:
    """Put data on an OSD again, or take it off."""
    _find(call)[1].inside = call.path.endswith("/in")


@api.behaves("POST /nodes/{node}/ceph/osd/{osdid}/scrub")
def scrub(call: Call) -> None:
    """Let an OSD check its data."""
    osd = _find(call)[1]
    if not is_up(call.cluster, osd):
        raise failed(f"osd.{osd.number} is not up")
    osd.scrubbed_s = call.now_s


@api.reads("GET /nodes/{node}/ceph/osd/{osdid}/metadata")
def metadata(call: Call) -> dict[str, Any]:
    """What an OSD says about itself."""
    _, osd = _find(call)
    node = call.cluster.nodes[osd.node]
    name = f"sd{'bcdefgh'[osd.number % OSDS_PER_NODE]}"
    facts = {"id": osd.number, "hostname": osd.node, "osd_objectstore": "bluestore", "version": VERSION, "encrypted": 0}
    addresses = dict.fromkeys(("back_addr", "front_addr", "hb_back_addr", "hb_front_addr"), f"[v2:{node.ip}:6800/1,v1:{node.ip}:6801/1]")
    more = {"osd_data": f"/var/lib/ceph/osd/ceph-{osd.number}", "mem_usage": 1_300_000_000 if is_up(call.cluster, osd) else 0}
    device = {"device": "block", "dev_node": f"/dev/{name}", "physical_device": name, "size": osd.size, "support_discard": 1, "type": "ssd"}
    return {"osd": facts | addresses | more, "devices": [device]}


@api.behaves("DELETE /nodes/{node}/ceph/osd/{osdid}")
def destroy(call: Call) -> str:
    """Remove an OSD that is out and stopped."""
    ceph, osd = _find(call)
    if osd.inside:
        raise failed(f"osd is still in use (in) - mark osd.{osd.number} out first")
    if is_up(call.cluster, osd):
        raise failed(f"osd is still running - stop osd.{osd.number} first")

    def work(task: Task) -> Body:
        task.say(f"destroy OSD osd.{osd.number}")
        yield _DESTROY_S
        if degraded(call.cluster, ceph) and len(ceph.osds) <= len(call.cluster.nodes):
            task.say("too few OSDs are left for all copies")
        del ceph.osds[osd.number]

    return call.fork("cephdestroyosd", f"osd.{osd.number}", work)
