"""Pressure stall figures in percent, of guests and of nodes. Everything given is a fraction: one number, or one per moment."""

from __future__ import annotations

from typing import Any

IOWAIT_BASE = 0.002
IOWAIT_SHARE = 0.03
"""Waiting for disks: a base, and a share of the CPU use."""

IOWAIT_HAMMERED = 0.11
"""How much more of its time a node waits whose disks a guest keeps busy."""

QUEUE = (1.6, 2.9)
"""Requests (reads, writes) that wait for those disks on average."""


def _above(value: Any, level: float) -> Any:
    return (value - level + abs(value - level)) / 2


def of_guest(cpu: Any, lost: Any, waits: Any) -> dict[str, Any]:
    """What a process group shows: of its CPU use, what it loses to others, and for which part of the time it waits for disks."""
    some = _above(cpu, 0.55) * 40 + lost * 60
    return {
        "pressurecpusome": some,
        "pressurecpufull": some * 0.3,
        "pressureiosome": cpu * 1.6 + waits * 70,
        "pressureiofull": cpu * 1.1 + waits * 50,
        "pressurememorysome": cpu * 0,
        "pressurememoryfull": cpu * 0,
    }


def of_node(cpu: Any, lost: Any, hammered: Any) -> dict[str, Any]:
    """The same of a node: of its CPU use, what its guests lose to a noisy one, and for which part of the time its disks are kept busy."""
    return {
        "pressurecpusome": _above(cpu, 0.6) * 30 + lost * 50,
        "pressureiosome": cpu * 0.9 + hammered * 35,
        "pressureiofull": cpu * 0.6 + hammered * 24,
        "pressurememorysome": cpu * 0,
        "pressurememoryfull": cpu * 0,
    }


def iowait(cpu: Any, hammered: Any) -> Any:
    """For which part of the time a node waits for disks."""
    return IOWAIT_BASE + IOWAIT_SHARE * cpu + IOWAIT_HAMMERED * hammered
