"""Ceph as far as its clients see it: monitors and OSDs of the nodes, pools, flags, and the health that follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pveops.sim.errors import failed
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node

OSDS_PER_NODE = 2
FLAGS = {
    "nobackfill": "Backfilling of PGs is suspended.",
    "nodeep-scrub": "Deep scrubbing is disabled.",
    "nodown": "OSDs that fail are not marked down.",
    "noin": "OSDs that were marked out are not marked in when they start.",
    "noout": "OSDs that are down are not marked out.",
    "norebalance": "Rebalancing of PGs is suspended.",
    "norecover": "Recovery of PGs is suspended.",
    "noscrub": "Scrubbing is disabled.",
    "notieragent": "Cache tiering is suspended.",
    "noup": "OSDs may not start.",
    "pause": "Reads and writes are paused.",
}
VERSION = "19.2.3"


@dataclass(slots=True)
class Osd:
    """A disk of a node under Ceph. ``inside`` is whether data is put on it, ``stopped`` whether somebody stopped its service."""

    number: int
    node: str
    size: int
    inside: bool = True
    stopped: bool = False
    scrubbed_s: float = 0.0


@dataclass(slots=True)
class Ceph:
    """The state of Ceph in a cluster."""

    fsid: str
    osds: dict[int, Osd]
    pools: dict[str, dict[str, Any]]
    flags: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    """Services that somebody stopped, such as ``mon.pve2``."""
    next_pool: int = 3


def ceph_of(cluster: Cluster) -> Ceph:
    """Ceph of the cluster; it has one when a storage stands on it.

    Raises:
        RefusedError: 500, the programs are not installed.
    """
    known: Ceph | None = cluster.configs.ceph
    if known is not None:
        return known
    storages = [storage for storage in cluster.storages.values() if storage.kind in ("rbd", "cephfs")]
    if not storages:
        raise failed("binary not installed: /usr/bin/ceph-mon")
    count = len(cluster.nodes) * OSDS_PER_NODE
    size = max(storage.total for storage in storages) * 3 // count
    names = [name for name in cluster.nodes for _ in range(OSDS_PER_NODE)]
    pools = {".mgr": pool_options(1, pg_num=1, application="mgr")}
    for number, storage in enumerate(storages, 2):
        pools[str(storage.options.get("pool", storage.name))] = pool_options(number, pg_num=128)
    osds = {number: Osd(number, name, size) for number, name in enumerate(names)}
    made = cluster.configs.ceph = Ceph(noise.uuid_text(cluster.seed, "ceph"), osds, pools, next_pool=len(pools) + 1)
    return made


def pool_options(number: int, *, pg_num: int, application: str = "rbd", size: int = 3, min_size: int = 2) -> dict[str, Any]:
    """A pool as it is when nobody asks for more."""
    return {
        "pool": number,
        "size": size,
        "min_size": min_size,
        "pg_num": pg_num,
        "pg_autoscale_mode": "on",
        "crush_rule": 0,
        "application": application,
    }


def is_up(cluster: Cluster, osd: Osd) -> bool:
    """Whether an OSD answers: its service runs on a node that is there."""
    node: Node | None = cluster.nodes.get(osd.node)
    return node is not None and node.online and not osd.stopped


def monitors_up(cluster: Cluster, ceph: Ceph) -> list[str]:
    """The nodes whose monitor answers; every node has one, up to five."""
    return [name for name in list(cluster.nodes)[:5] if cluster.nodes[name].online and f"mon.{name}" not in ceph.stopped]


def used_bytes(cluster: Cluster) -> int:
    """What all images on Ceph take, before copies."""
    storages = (storage for storage in cluster.storages.values() if storage.kind in ("rbd", "cephfs"))
    return sum(
        int(volume.size * volume.used_fraction) for storage in storages for place in storage.volumes.values() for volume in place.values()
    )


def checks(cluster: Cluster, ceph: Ceph) -> dict[str, str]:
    """What is not as it should be: the name of each check with its words."""
    down = [osd for osd in ceph.osds.values() if not is_up(cluster, osd)]
    found = {}
    if down:
        found["OSD_DOWN"] = f"{len(down)} osds down"
        found["PG_DEGRADED"] = f"Degraded data redundancy: {degraded(cluster, ceph)} pgs degraded"
    quorum, known = len(monitors_up(cluster, ceph)), len(list(cluster.nodes)[:5])
    if quorum < known:
        found["MON_DOWN"] = f"{known - quorum}/{known} mons down"
    if ceph.flags:
        found["OSDMAP_FLAGS"] = f"{','.join(sorted(ceph.flags))} flag(s) set"
    return found


def placement_groups(ceph: Ceph) -> int:
    """All placement groups of all pools."""
    return sum(int(pool["pg_num"]) for pool in ceph.pools.values())


def degraded(cluster: Cluster, ceph: Ceph) -> int:
    """Placement groups that lack a copy because an OSD is down."""
    down = sum(not is_up(cluster, osd) for osd in ceph.osds.values())
    return min(placement_groups(ceph), placement_groups(ceph) * 3 * down // max(len(ceph.osds), 1))
