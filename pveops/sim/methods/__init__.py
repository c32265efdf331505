"""Handlers, one small function per API method, grouped by what they are about."""

from __future__ import annotations

from pveops.sim.methods import (
    access,
    access_rights,
    acme,
    agent,
    agent_actions,
    backup,
    bulk,
    ceph,
    ceph_osds,
    certificates,
    cloudinit,
    cluster_jobs,
    cluster_views,
    consoles,
    cpu_models,
    firewall_options,
    firewall_rules,
    firewall_sets,
    guest_config,
    guest_disks,
    guest_lifecycle,
    guest_migrate,
    guest_power,
    guest_snapshots,
    guest_status,
    ha,
    ha_rules,
    mapping,
    metric_servers,
    node_details,
    node_power,
    nodes,
    notifications,
    options,
    pools,
    realms,
    replication,
    rrd,
    sdn_addresses,
    sdn_apply,
    sdn_objects,
    second_factors,
    storage,
    storage_config,
    storage_upload,
    tasks,
    version,
)
from pveops.sim.methods.table import Entry

_MODULES = (
    access,
    access_rights,
    acme,
    agent,
    agent_actions,
    backup,
    bulk,
    ceph,
    ceph_osds,
    cloudinit,
    certificates,
    cluster_jobs,
    consoles,
    cluster_views,
    cpu_models,
    firewall_options,
    firewall_rules,
    firewall_sets,
    guest_config,
    guest_disks,
    guest_lifecycle,
    guest_migrate,
    guest_power,
    guest_snapshots,
    guest_status,
    ha,
    ha_rules,
    mapping,
    metric_servers,
    node_details,
    node_power,
    nodes,
    notifications,
    options,
    pools,
    realms,
    replication,
    rrd,
    sdn_addresses,
    sdn_apply,
    sdn_objects,
    second_factors,
    storage,
    storage_config,
    storage_upload,
    tasks,
    version,
)


def handlers() -> dict[tuple[str, str], Entry]:
    """Every handler by verb and path template.

    Raises:
        ValueError: two modules answer the same method.
    """
    found: dict[tuple[str, str], Entry] = {}
    for module in _MODULES:
        twice = found.keys() & module.api.entries.keys()
        if twice:
            raise ValueError(f"answered twice: {sorted(twice)}")
        found.update(module.api.entries)
    return found
