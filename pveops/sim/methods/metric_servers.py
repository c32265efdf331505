"""Where nodes send their metrics, and the metrics as one answer."""

from __future__ import annotations

from typing import Any

from pveops.sim.errors import died, failed
from pveops.sim.methods.cluster_views import broadcast
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.cluster import RASTER_S
from pveops.sim.state.sections import Options, Row

api = Table()

_OTEL = "headers max-body-size path protocol resource-attributes timeout verify-ssl compression"
_OPTIONS = {
    "graphite": Options("server", "port mtu proto timeout path disable"),
    "influxdb": Options(
        "server port",
        "mtu disable organization bucket token influxdbproto timeout max-body-size api-path-prefix verify-certificate",
    ),
    "opentelemetry": Options("server", "port disable " + " ".join(f"otel-{name}" for name in _OTEL.split())),
}
_MOST_GENERATIONS = 180


def _given(call: Call) -> Row:
    return {key: value for key, value in call.p.items() if key not in ("id", "type", "digest", "delete", "token")}


@api.reads("GET /cluster/metrics/server")
def servers(call: Call) -> list[dict[str, Any]]:
    """All metric servers."""
    rows = call.cluster.configs.metrics.rows
    return [
        {"id": name, "disable": row.get("disable", 0), "type": row["type"], "server": row["server"], "port": row.get("port")}
        for name, row in sorted(rows.items())
    ]


@api.reads("GET /cluster/metrics/server/{id}")
def server(call: Call) -> dict[str, Any]:
    """One metric server, without its secret."""
    row = call.cluster.configs.metrics.get(call.p["id"])
    if row is None:
        raise failed(f"status server entry '{call.p['id']}' does not exist")
    return dict(row)


@api.behaves("POST /cluster/metrics/server/{id}")
def create(call: Call) -> None:
    """A new metric server. Whether it answers is not tried: a simulation talks to nobody."""
    sections, name, given = call.cluster.configs.metrics, call.p["id"], _given(call)
    if name in sections:
        raise failed(f"Metric server '{name}' already exists")
    _OPTIONS[call.p["type"]].check(given, create=True)
    sections.rows[name] = {"type": call.p["type"], **given}


@api.behaves("PUT /cluster/metrics/server/{id}")
def update(call: Call) -> None:
    """Change a metric server."""
    sections, name, given = call.cluster.configs.metrics, call.p["id"], _given(call)
    sections.check_digest(call.p.get("digest"))
    row = sections.get(name)
    if row is None:
        raise failed(f"no such server '{name}'")
    options = _OPTIONS[row["type"]]
    options.check(given, create=False)
    changed = dict(row)
    options.delete(changed, given, split_list(call.p.get("delete", "")))
    sections.rows[name] = changed | given


@api.behaves("DELETE /cluster/metrics/server/{id}")
def delete(call: Call) -> None:
    """Remove a metric server."""
    sections, name = call.cluster.configs.metrics, call.p["id"]
    if name not in sections:
        raise died("cannot lookup undefined type!", "API2/Cluster/MetricServer.pm", 295)
    del sections.rows[name]


def _points(moment_s: int, ident: str, kind: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"id": ident, "metric": name, "timestamp": moment_s, "type": kind, "value": value} for name, value in values.items()]


@api.reads("GET /cluster/metrics/export")
def export(call: Call) -> dict[str, Any]:
    """What the last broadcast said, as metrics. History is as long as the last broadcast: the round-robin data hold the rest."""
    cluster, cast = call.cluster, broadcast(call)
    wanted = split_list(call.p.get("node-list", "")) or list(cluster.nodes)
    unknown = [name for name in wanted if name not in cluster.nodes]
    if unknown:
        raise failed(f"Requested node-list contains unknown nodes - {', '.join(unknown)}")
    if call.p.get("local-only"):
        wanted = [cluster.local_node]
    moment_s = cluster.raster_s
    if call.p.get("start-time", 0) >= moment_s or moment_s < call.now_s - RASTER_S * _MOST_GENERATIONS:
        return {"data": []}
    found: list[dict[str, Any]] = []
    for name in wanted:
        node = cluster.nodes[name]
        if not node.online or name not in cast.nodes:
            continue
        sample = cast.nodes[name]
        found += _points(moment_s, f"node/{name}", "gauge", {"cpu_current": sample.cpu, "cpu_max": node.cpus, "mem_used": sample.mem})
        found += _points(moment_s, f"node/{name}", "gauge", {"mem_total": node.memory, "uptime": int(moment_s - node.boot_s)})
        for guest in cluster.guests_on(name):
            found += _guest_points(moment_s, guest.ident, cast.samples.get(guest.vmid))
    return {"data": found}


def _guest_points(moment_s: int, ident: str, sample: Any) -> list[dict[str, Any]]:
    if sample is None:
        return []
    gauges = {"cpu_current": sample.cpu, "mem_used": sample.mem, "disk_used": sample.disk, "uptime": sample.uptime}
    counters = {"net_in": sample.netin, "net_out": sample.netout, "disk_read": sample.diskread, "disk_write": sample.diskwrite}
    return _points(moment_s, ident, "gauge", gauges) + _points(moment_s, ident, "derive", counters)
