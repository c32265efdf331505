"""Named queries: what operators ask of a metrics server, in the names of prometheus-pve-exporter and of the node exporter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pveops.base.errors import InputError, UnknownName


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A PromQL expression with its unit; ``$window`` is filled in, ``$guest`` and ``$node`` narrow it."""

    name: str
    unit: str
    doc: str
    expression: str


_QUERIES = (
    NamedQuery("guest.cpu", "fraction", "CPU in use of a guest, share of its cores", 'pve_cpu_usage_ratio{id="$guest"}'),
    NamedQuery("guest.mem", "bytes", "memory in use of a guest", 'pve_memory_usage_bytes{id="$guest"}'),
    NamedQuery("guest.disk", "bytes", "root disk in use of a guest (containers)", 'pve_disk_usage_bytes{id="$guest"}'),
    NamedQuery("guest.netin", "bytes_per_s", "received by a guest", 'rate(pve_network_receive_bytes{id="$guest"}[$window])'),
    NamedQuery("guest.netout", "bytes_per_s", "sent by a guest", 'rate(pve_network_transmit_bytes{id="$guest"}[$window])'),
    NamedQuery("guest.diskread", "bytes_per_s", "read from disk by a guest", 'rate(pve_disk_read_bytes{id="$guest"}[$window])'),
    NamedQuery("guest.diskwrite", "bytes_per_s", "written to disk by a guest", 'rate(pve_disk_write_bytes{id="$guest"}[$window])'),
    NamedQuery("node.cpu", "fraction", "CPU in use of a node", 'pve_cpu_usage_ratio{id="node/$node"}'),
    NamedQuery("node.mem", "bytes", "memory in use of a node", 'pve_memory_usage_bytes{id="node/$node"}'),
    NamedQuery("guests.busiest", "fraction", "the ten guests with most CPU in use", 'topk(10, pve_cpu_usage_ratio{id=~"(qemu|lxc)/.+"})'),
    NamedQuery("guests.running", "guests", "how many guests run, by node", 'sum by (node) (pve_up{id=~"(qemu|lxc)/.+"} * on (id) group_left (node) pve_guest_info)'),
    NamedQuery("nodes.up", "flag", "which nodes are up", 'pve_up{id=~"node/.+"}'),
    NamedQuery("storage.used", "fraction", "share in use of each storage", 'pve_disk_usage_bytes{id=~"storage/.+"} / pve_disk_size_bytes{id=~"storage/.+"}'),
    NamedQuery("storage.bytes", "bytes", "in use of one storage", 'pve_disk_usage_bytes{id="$storage"}'),
    NamedQuery("storage.fill", "bytes_per_s", "how fast each storage fills, over a day", 'deriv(pve_disk_usage_bytes{id=~"storage/.+"}[1d])'),
    NamedQuery("nodes.load", "load", "load of the last minute", "node_load1"),
    NamedQuery("nodes.temperature", "celsius", "temperatures of the hardware", "node_hwmon_temp_celsius"),
)  # fmt: skip
QUERIES: Mapping[str, NamedQuery] = {query.name: query for query in _QUERIES}


def filled(name: str, *, window: str = "5m", **subject: str) -> str:
    """The expression of a named query.

    Raises:
        UnknownName: there is none of that name.
        InputError: it needs a guest or a node, or the window is none.
    """
    query = QUERIES.get(name)
    if query is None:
        raise UnknownName(f"There is no query called {name}.", hint=f"Known: {', '.join(sorted(QUERIES))}.")
    expression = query.expression
    for key, value in {"window": window, **subject}.items():
        if not value.replace("/", "").replace("-", "").replace(".", "").isalnum():
            raise InputError(f"{value!r} cannot stand in a query.")
        expression = expression.replace(f"${key}", value)
    if "$" in expression:
        missing = expression.split("$", 1)[1].split('"')[0].split("]")[0]
        raise InputError(f"The query {name} needs a {missing}.", hint=f"Write ops.metrics.named({name!r}, {missing}=…).")
    return expression
