"""How long the things of one guest take: as long as was seen of it, else as long as such things take. All results are simulated seconds."""

from __future__ import annotations

from pveops.sim.physics import transfer
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest


def start_seconds(cluster: Cluster, guest: Guest) -> float:
    """From the task to the running process."""
    return guest.paces.get("start_s") or transfer.start_seconds(guest.kind, cluster.seed, guest.vmid)


def shutdown_seconds(cluster: Cluster, guest: Guest) -> float:
    """From the request to power off."""
    return guest.paces.get("shutdown_s") or transfer.shutdown_seconds(guest.kind, guest.profile, cluster.seed, guest.vmid)


def live_migration(cluster: Cluster, guest: Guest, memory: int, busy: float, bandwidth: float) -> transfer.LiveMigration:
    """Its memory over the network: ``busy`` is its CPU use as a fraction, ``bandwidth`` bytes per second."""
    return transfer.live_migration(memory, busy, bandwidth, cluster.seed, guest.vmid, known_rate=guest.paces.get("migration_bytes_s"))
