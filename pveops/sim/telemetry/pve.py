"""The cluster in the names of prometheus-pve-exporter (3.10): one page from what the API answers, so both tell the same of the same moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pveops.sim.telemetry.families import Family, Kind, labels

Ask = Callable[[str], Any]
"""Gives the data of a GET of the API, as somebody who may see everything."""

Row = dict[str, Any]

_KINDS = "(for types 'node', 'qemu' and 'lxc')"
_SINCE = "since it was started. (for types 'qemu' and 'lxc')"

FIGURES: tuple[tuple[str, str, Kind, str], ...] = (
    ("maxdisk", "pve_disk_size_bytes", "gauge", "Size of a storage, or of the root image of a guest, in bytes"),
    ("disk", "pve_disk_usage_bytes", "gauge", "Used part of a storage, or of the root image of a guest, in bytes"),
    ("maxmem", "pve_memory_size_bytes", "gauge", f"Memory in bytes {_KINDS}"),
    ("mem", "pve_memory_usage_bytes", "gauge", f"Used memory in bytes {_KINDS}"),
    ("netout", "pve_network_transmit_bytes", "gauge", f"Bytes sent by the guest {_SINCE} Deprecated: use the counter."),
    ("netin", "pve_network_receive_bytes", "gauge", f"Bytes received by the guest {_SINCE} Deprecated: use the counter."),
    ("diskwrite", "pve_disk_write_bytes", "gauge", f"Bytes written by the guest {_SINCE} Deprecated: use the counter."),
    ("diskread", "pve_disk_read_bytes", "gauge", f"Bytes read by the guest {_SINCE} Deprecated: use the counter."),
    ("cpu", "pve_cpu_usage_ratio", "gauge", f"Use of the CPUs as a fraction {_KINDS}"),
    ("maxcpu", "pve_cpu_usage_limit", "gauge", f"Number of CPUs {_KINDS}"),
    ("uptime", "pve_uptime_seconds", "gauge", f"Seconds since the start {_KINDS}"),
    ("shared", "pve_storage_shared", "gauge", "Whether the nodes share the storage"),
    ("netout", "pve_network_transmit_bytes_total", "counter", f"Bytes sent by the guest {_SINCE}"),
    ("netin", "pve_network_receive_bytes_total", "counter", f"Bytes received by the guest {_SINCE}"),
    ("diskwrite", "pve_disk_written_bytes_total", "counter", f"Bytes written by the guest {_SINCE}"),
    ("diskread", "pve_disk_read_bytes_total", "counter", f"Bytes read by the guest {_SINCE}"),
)
"""Key in the view of the cluster, name, kind, what it is."""

_HA_GUEST = (
    "stopped", "request_stop", "request_start", "request_start_balance", "started", "fence", "recovery", "migrate", "relocate", "freeze", "error",
)  # fmt: skip
_HA_NODE = ("online", "maintenance", "unknown", "fence", "gone")
_LOCKS = ("backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete", "suspended", "suspending")
_STATES = {"node": _HA_NODE, "qemu": _HA_GUEST, "lxc": _HA_GUEST}
_GUEST = ("id", "node", "name", "type", "template", "tags")
_SUBSCRIPTION = ("new", "notfound", "active", "invalid", "expired", "suspended")
_REPLICATION = (
    ("duration", "pve_replication_duration_seconds", "Seconds that the last replication took"),
    ("last_sync", "pve_replication_last_sync_timestamp_seconds", "When the last replication that went well began"),
    ("last_try", "pve_replication_last_try_timestamp_seconds", "When the last replication began"),
    ("next_sync", "pve_replication_next_sync_timestamp_seconds", "When the next replication is due"),
    ("fail_count", "pve_replication_failed_syncs", "How many replications have failed since the last that went well"),
)


CLUSTER_PATHS = ("/cluster/status", "/cluster/resources", "/version", "/cluster/backup-info/not-backed-up")
"""What ``cluster`` asks for."""


def cluster(ask: Ask) -> Iterator[Family]:
    """The families about the cluster: status, resources, versions, backup coverage."""
    status: list[Row] = ask("/cluster/status")
    rows: list[Row] = ask("/cluster/resources")
    yield Family("pve_up", "gauge", "Whether a node, guest or storage runs, or the cluster has quorum", list(_up(status, rows)))
    yield from resources(rows)
    nodes = [row for row in status if row["type"] == "node"]
    info = [(labels(**{key: row[key] for key in ("id", "level", "name", "nodeid")}), 1) for row in nodes]
    yield Family("pve_node_info", "gauge", "Members of the cluster", info)
    name = status[0]["name"]
    for row in status:
        if row["type"] == "cluster":
            shown = labels(id=f"cluster/{row['name']}", version=row["version"], nodes=row["nodes"], quorate=row["quorate"])
            yield Family("pve_cluster_info", "gauge", "The cluster", [(shown, 1)])
    version = {key: value for key, value in ask("/version").items() if key in ("release", "repoid", "version")}
    yield Family("pve_version_info", "gauge", "Version of Proxmox VE", [(labels(**version), 1)])
    bare: list[Row] = ask("/cluster/backup-info/not-backed-up")
    yield Family("pve_not_backed_up_total", "gauge", "How many guests no backup job takes", [(labels(id=f"cluster/{name}"), len(bare))])
    missed = [(labels(id=f"{row['type']}/{row['vmid']}"), 1) for row in bare]
    yield Family("pve_not_backed_up_info", "gauge", "Guests that no backup job takes", missed)


def _up(status: list[Row], rows: list[Row]) -> Iterator[tuple[str, float]]:
    for row in status:
        if row["type"] == "node":
            yield labels(id=row["id"]), row["online"]
        else:
            yield labels(id=f"cluster/{row['name']}"), row["quorate"]
    for row in rows:
        if row["type"] in ("qemu", "lxc"):
            yield f'id="{row["id"]}"', int(row["status"] == "running")
    for row in rows:
        if row["type"] == "storage":
            yield labels(id=row["id"]), int(row["status"] == "available")


def resources(rows: list[Row]) -> Iterator[Family]:
    """What the view of the cluster says about nodes, guests and storages."""
    named = [(f'id="{row["id"]}"', row) for row in rows]
    for key, name, kind, about in FIGURES:
        yield Family(name, kind, about, _column(named, key))
    yield Family("pve_ha_state", "gauge", "Which state high availability sees", _states(named, "hastate", _STATES))
    yield Family("pve_lock_state", "gauge", "Which lock is on the configuration", _states(named, "lock", {"qemu": _LOCKS, "lxc": _LOCKS}))
    guests = ((labels(**{key: row.get(key, "") for key in _GUEST}), 1) for _, row in named if row["type"] in ("qemu", "lxc"))
    yield Family("pve_guest_info", "gauge", "Guests", guests)
    yield Family("pve_storage_info", "gauge", "Storages", (_storage(row) for _, row in named if row["type"] == "storage"))


def _column(named: list[tuple[str, Row]], key: str) -> Iterator[tuple[str, float]]:
    return ((head, row[key]) for head, row in named if key in row)


def _states(named: list[tuple[str, Row]], key: str, known: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, float]]:
    tails = {kind: [(state, f',state="{state}"') for state in states] for kind, states in known.items()}
    for head, row in named:
        found = row.get(key)
        for state, tail in tails.get(row["type"], ()):
            yield head + tail, 1 if state == found else 0


def _storage(row: Row) -> tuple[str, float]:
    content = ",".join(sorted(str(row.get("content", "")).split(",")))
    return labels(id=row["id"], node=row["node"], storage=row["storage"], plugintype=row["plugintype"], content=content), 1


def node(ask: Ask) -> Iterator[Family]:
    """The families about the node that is asked: subscription, start at boot, replication."""
    name = next(row["name"] for row in ask("/cluster/status") if row["type"] == "node" and row["local"])
    ident = f"node/{name}"
    found: Row = ask(f"/nodes/{name}/subscription")
    level, status = found.get("level", "unknown"), found.get("status", "unknown")
    yield Family("pve_subscription_info", "gauge", "Subscription of the node", [(labels(id=ident, level=level), 1)])
    states = [(labels(id=ident, status=state), int(state == status)) for state in _SUBSCRIPTION]
    yield Family("pve_subscription_status", "gauge", "Which status the subscription has", states)
    onboot = [
        (labels(id=f"{kind}/{row['vmid']}", node=name, type=kind), int(config["onboot"]))
        for kind in ("qemu", "lxc")
        for row in ask(f"/nodes/{name}/{kind}")
        if "onboot" in (config := ask(f"/nodes/{name}/{kind}/{row['vmid']}/config"))
    ]
    yield Family("pve_onboot_status", "gauge", "Whether a guest starts with its node", onboot)
    yield from _replication(ask, name)


def _replication(ask: Ask, name: str) -> Iterator[Family]:
    jobs: list[Row] = ask(f"/nodes/{name}/replication")
    states = [(labels(id=job["id"]), ask(f"/nodes/{name}/replication/{job['id']}/status")) for job in jobs]
    for key, metric, about in _REPLICATION:
        yield Family(metric, "gauge", about, _column(states, key))
    info = [
        labels(id=job["id"], type=job["type"], source=f"node/{job['source']}", target=f"node/{job['target']}", guest=f"{job['vmtype']}/{job['guest']}")
        for job in jobs
    ]  # fmt: skip
    yield Family("pve_replication_info", "gauge", "Replication jobs", [(head, 1) for head in info])
