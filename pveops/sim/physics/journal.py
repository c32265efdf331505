"""The system log of a node: lines that follow from seed and time, and what the cluster log says about the node."""

from __future__ import annotations

from datetime import UTC, datetime

from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.node import Node

SLOT_S = 30
_LINES = (
    ("pvestatd", "status update time ({seconds:.3f} seconds)"),
    ("systemd", "Started user@0.service - User Manager for UID 0."),
    ("pmxcfs", "[dcdb] notice: data verification successful"),
    ("pveproxy", "worker {number} finished"),
    ("pveproxy", "starting 1 worker(s)"),
    ("chronyd", "Selected source 192.0.2.1"),
    ("CRON", "(root) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"),
    ("smartd", "Device: /dev/sda [SAT], SMART Usage Attribute: 190 Airflow_Temperature_Cel changed from 65 to {small}"),
    ("corosync", "[KNET  ] pmtud: PMTUD completed for host: {small} link: 0 current link mtu: 1397"),
    ("pvescheduler", "jobs: checked schedules"),
    ("kernel", "vmbr0: port {small}(tap{number}i0) entered forwarding state"),
    ("postfix/qmgr", "{number:X}: removed"),
)


def _line(moment_s: float, node: str, tag: str, pid: int, text: str) -> str:
    moment = datetime.fromtimestamp(moment_s, UTC)
    return f"{moment:%b %d %H:%M:%S} {node} {tag}[{pid}]: {text}"


def _slot(cluster: Cluster, node: Node, slot: int) -> tuple[float, str]:
    raw = noise.digest(cluster.seed, "journal", node.name, slot)
    tag, text = _LINES[raw[0] % len(_LINES)]
    moment_s = slot * SLOT_S + raw[1] / 256 * SLOT_S
    filled = text.format(seconds=5 + raw[2] / 40, number=100 + raw[3] * 7, small=1 + raw[4] % 30)
    return moment_s, _line(moment_s, node.name, tag, 800 + raw[5], filled)


def lines(cluster: Cluster, node: Node, since_s: float, until_s: float) -> list[str]:
    """The lines of a node in (since, until], oldest first; both are seconds since the epoch."""
    slots = range(int(since_s // SLOT_S), int(until_s // SLOT_S) + 1)
    found = [_slot(cluster, node, slot) for slot in slots]
    found += [
        (float(row.time_s), _line(row.time_s, node.name, row.tag, row.pid, f"<{row.user}> {row.message}"))
        for row in cluster.log
        if row.node == node.name
    ]
    return [line for moment_s, line in sorted(found) if since_s < moment_s <= until_s]
