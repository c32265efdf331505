"""What the programs of a node write all the time: lines that follow from seed and time. What happens is told by the journal of the cluster."""

from __future__ import annotations

from datetime import UTC, datetime

from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.journal import INFO, Event
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


def line(event: Event) -> str:
    """An event as text, as the files of syslog show it."""
    moment = datetime.fromtimestamp(event.time_s, UTC)
    return f"{moment:%b %d %H:%M:%S} {event.node} {event.tag}[{event.pid}]: {event.message}"


def _slot(cluster: Cluster, node: Node, slot: int) -> Event:
    raw = noise.digest(cluster.seed, "journal", node.name, slot)
    tag, text = _LINES[raw[0] % len(_LINES)]
    moment_s = slot * SLOT_S + raw[1] / 256 * SLOT_S
    filled = text.format(seconds=5 + raw[2] / 40, number=100 + raw[3] * 7, small=1 + raw[4] % 30)
    return Event(moment_s, node.name, tag, 800 + raw[5], INFO, filled)


def usual(cluster: Cluster, node: Node, since_s: float, until_s: float) -> list[Event]:
    """What a node writes all the time, in (since, until]; both are seconds since the epoch."""
    slots = range(int(since_s // SLOT_S), int(until_s // SLOT_S) + 1)
    found = (_slot(cluster, node, slot) for slot in slots)
    return [event for event in found if since_s < event.time_s <= until_s and _could_write(node, event)]


def _could_write(node: Node, event: Event) -> bool:
    """Whether the node had power, and the program ran."""
    moment_s = event.time_s
    if any(down.at(moment_s) for down in node.downs):
        return False
    if event.tag == "pvestatd" and any(gap.at(moment_s) for gap in node.gaps):
        return False
    return not any(quiet.tag == event.tag and quiet.at(moment_s) for quiet in node.quiets)
