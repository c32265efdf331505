"""How far replication has come: what the runs of a job, by its schedule, have brought over. Nothing runs; it follows from time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from pveops.sim.calendar import events_between
from pveops.sim.state import noise
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.ills import Lagging

_DAY_S = 86400.0
_USUAL_S = 900.0
_TIMEOUT = "command 'zfs send' failed: got timeout"


class Replicated(NamedTuple):
    """Moments are seconds since the epoch, 0 for never; ``duration_s`` is that of the last whole run."""

    last_sync_s: float
    last_try_s: float
    duration_s: float
    fail_count: int = 0
    error: str = ""


def on_zfs(cluster: Cluster, job: dict[str, Any]) -> bool:
    """Whether data of a job can travel: all disks of its guest are on ZFS."""
    guest = cluster.guests.get(int(str(job["id"]).split("-")[0]))
    disks = [disk for disk in guest.disks() if disk.storage in cluster.storages] if guest is not None else []
    return bool(disks) and all(cluster.storages[disk.storage].kind == "zfspool" for disk in disks)


def state(cluster: Cluster, job: dict[str, Any], now_s: float) -> Replicated | None:
    """How far a job on ZFS has come; nothing for one that cannot run."""
    if job.get("disable") or job.get("remove_job") or not on_zfs(cluster, job):
        return None
    made_s = float(job.get("made_s", 0.0))
    lag = next((one for one in reversed(cluster.ills.lagging) if one.job == job["id"] and one.since_s <= now_s), None)
    schedule = str(job.get("schedule") or "*/15")
    first_s = max(made_s, lag.until_s if lag is not None and not lag.at(now_s) else 0.0, now_s - 2 * _DAY_S)
    events = [] if lag is not None and lag.at(now_s) else list(events_between(schedule, first_s, now_s))
    if events or lag is None:
        seconds = noise.between(2.0, 9.0, cluster.seed, "replication", job["id"])
        done = [moment_s for moment_s in events if moment_s + seconds <= now_s]
        return Replicated(done[-1] if done else made_s, events[-1] if events else made_s, seconds)
    return _lagging(lag, schedule, min(now_s, lag.until_s))


def _lagging(lag: Lagging, schedule: str, now_s: float) -> Replicated:
    """Runs one after the other, each as long as several intervals; every other one gives up."""
    events = list(events_between(schedule, lag.since_s - 2 * _DAY_S, lag.since_s))
    interval_s = min((later - earlier for earlier, later in pairwise(events)), default=_USUAL_S)
    long_s = interval_s * lag.slower
    whole = int((now_s - lag.since_s) // long_s)
    begun_s = lag.since_s + whole * long_s
    if whole == 0:
        return Replicated(events[-1] if events else 0.0, begun_s, long_s)
    gave_up = whole % 2 == 0
    good_s = lag.since_s + (whole - (2 if gave_up else 1)) * long_s
    return Replicated(good_s, begun_s, long_s, int(gave_up), _TIMEOUT if gave_up else "")
