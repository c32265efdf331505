"""Round-robin data of nodes, guests and storages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pveops.sim.errors import RefusedError, failed
from pveops.sim.methods.table import Call, Table

if TYPE_CHECKING:
    from pveops.sim.physics import rrd

api = Table()


def _rrd() -> Any:
    from pveops.sim.physics import rrd as module  # noqa: PLC0415 - numpy takes long to import; the cluster is ready before it is needed

    return module


_NINE_ONLY = re.compile(r"memhost|memavailable|arcsize|pressure.*")


def _span(call: Call) -> Any:
    """Step and number of rows of the time frame."""
    module = _rrd()
    return (module.OLD_SPANS if call.world.old else module.SPANS)[call.p["timeframe"]]


def _told(call: Call, rows: rrd.Rows) -> rrd.Rows:
    """What the version keeps."""
    if call.world.old:
        return [{key: value for key, value in row.items() if not _NINE_ONLY.fullmatch(key)} for row in rows]
    return rows


def _missing(call: Call, kind: str, rest: object) -> RefusedError:
    file = f"{'pve2' if call.world.old else 'pve'}-{kind}{'' if call.world.old else '-9.0'}/{rest}"
    return failed(f"RRD error: opening '/var/lib/rrdcached/db/{file}': No such file or directory")


@api.reads("GET /nodes/{node}/qemu/{vmid}/rrddata", "GET /nodes/{node}/lxc/{vmid}/rrddata")
def guest(call: Call) -> rrd.Rows:
    """Data of a guest; there is none before the first broadcast after its creation."""
    module = _rrd()
    found = call.cluster.guests.get(call.p["vmid"])
    if found is None or found.created_s > call.cluster.raster_s:
        raise _missing(call, "vm", call.p["vmid"])
    rows: rrd.Rows = module.guest_rows(
        call.world.load,
        found,
        call.node,
        _span(call),
        call.now_s,
        peak=call.p.get("cf") == "MAX",
        nodes=call.cluster.nodes.values(),
    )
    return _told(call, rows)


@api.reads("GET /nodes/{node}/rrddata")
def node(call: Call) -> rrd.Rows:
    """Data of a node."""
    module, world = _rrd(), call.world
    span = _span(call)
    rows: rrd.Rows = module.node_rows(call.cluster, world.load, world.space, call.node, span, call.now_s, peak=call.p.get("cf") == "MAX")
    return _told(call, rows)


@api.reads("GET /nodes/{node}/storage/{storage}/rrddata")
def storage(call: Call) -> rrd.Rows:
    """Data of a storage as the node sees it."""
    module = _rrd()
    found = call.cluster.storages.get(call.p["storage"])
    if found is None or not found.enabled or not found.on_node(call.p["node"]):
        raise _missing(call, "storage", f"{call.p['node']}/{call.p['storage']}")
    rows: rrd.Rows = module.storage_rows(call.world.space, found, call.node, _span(call), call.now_s)
    return rows
