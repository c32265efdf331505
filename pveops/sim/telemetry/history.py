"""What telemetry would have said in past weeks: the same families, from the same curves, one day at a time.

Prometheus takes samples of the past from files only. It reads such a file once per two hours that it spans, hence one file per day.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pveops.sim.physics.curves import DAY_S
from pveops.sim.physics.load import Load
from pveops.sim.physics.overlay import Floats
from pveops.sim.physics.track import counted, runs_of
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.journal import Event
from pveops.sim.telemetry import machines, node
from pveops.sim.telemetry.families import Family, Value, labels, timed
from pveops.sim.telemetry.figures import Figures, through_time
from pveops.sim.telemetry.pve import FIGURES
from pveops.sim.telemetry.web import NODE_PORT
from pveops.sim.world import World

_SHARE_DIGITS = 6
_SAID = {name: (kind, about) for _, name, kind, about in FIGURES}
_OLD = frozenset({"pve_network_transmit_bytes", "pve_network_receive_bytes", "pve_disk_write_bytes", "pve_disk_read_bytes"})
"""Names that the exporter keeps for old pages only."""

_COUNTED = {
    "pve_network_transmit_bytes_total": "net_out",
    "pve_network_receive_bytes_total": "net_in",
    "pve_disk_written_bytes_total": "disk_write",
    "pve_disk_read_bytes_total": "disk_read",
}

Samples = dict[str, list[tuple[str, Value]]]


class Day(NamedTuple):
    """A day (or a part of one) with its moments, seconds since the epoch."""

    name: str
    times: Floats


def days(end_s: float, count: float, step_s: int) -> Iterator[Day]:
    """The days before a moment; moments are whole steps. ``count`` is how many days."""
    first = int((end_s - count * DAY_S) // step_s) + 1
    times = np.arange(first, int(end_s // step_s) + 1, dtype=np.float64) * step_s
    numbers = times // DAY_S
    for number in np.unique(numbers):
        moment = np.datetime64(int(number), "D")
        yield Day(str(moment), times[numbers == number])


def metrics(world: World, day: Day, *, all_cpus: bool) -> Iterator[str]:
    """A file for ``promtool tsdb create-blocks-from openmetrics``, in pieces."""
    stamps = [f"{moment:.0f}" for moment in day.times.tolist()]
    figures = {name: through_time(world.cluster, world.load, one, day.times) for name, one in world.cluster.nodes.items()}
    place = labels(job="pve", instance=world.cluster.name)
    for family in _cluster(world, day.times, figures):
        yield from timed(family, stamps, place)
    for family in _machines(world, figures, all_cpus=all_cpus):
        yield from timed(family, stamps)
    yield "# EOF\n"


def events(world: World, day: Day, since_s: float) -> list[Event]:
    """The log lines of all nodes from a moment until the last of the day."""
    found = [event for one in world.cluster.nodes.values() for event in world.chronicle.events(one, since_s, float(day.times[-1]))]
    return sorted(found, key=lambda event: event.time_s)


def _cluster(world: World, times: Floats, figures: dict[str, Figures]) -> Iterator[Family]:
    """What the exporter of the cluster would have said, without states of locks and of high availability."""
    cluster, found = world.cluster, Samples()
    for name, one in figures.items():
        machine = cluster.nodes[name]
        root = np.array([float(world.space.root(machine, moment).used) for moment in times.tolist()])
        values: dict[str, Value] = {
            "pve_up": 1,
            "pve_disk_size_bytes": machine.root_total,
            "pve_disk_usage_bytes": root,
            "pve_memory_size_bytes": machine.memory,
            "pve_memory_usage_bytes": one.mem,
            "pve_cpu_usage_ratio": one.cpu.round(_SHARE_DIGITS),
            "pve_cpu_usage_limit": machine.cpus,
            "pve_uptime_seconds": np.floor(times - one.boot_s),
        }
        _add(found, labels(id=f"node/{name}"), values)
    for guest in cluster.guests.values():
        _add(found, f'id="{guest.ident}"', _guest(cluster, world.load, guest, times))
    _storages(world, times, found)
    for name, (kind, about) in {"pve_up": ("gauge", "Whether it runs"), **_SAID}.items():
        if name not in _OLD:
            yield Family(name, "counter" if kind == "counter" else "gauge", about, found.get(name, []))
    info = [
        labels(id=guest.ident, node=guest.node, name=guest.name, type=guest.kind, template=guest.template, tags=guest.tags)
        for guest in cluster.guests.values()
    ]
    yield Family("pve_guest_info", "gauge", "Guests", [(head, 1) for head in info])


def _add(found: Samples, head: str, values: dict[str, Value]) -> None:
    for name, value in values.items():
        found.setdefault(name, []).append((head, value))


def _guest(cluster: Cluster, load: Load, guest: Guest, times: Floats) -> dict[str, Value]:
    """A guest through time: absent before it was made, zeros while it did not run."""
    index = np.full(times.shape, guest.index, np.int64)
    ran, since, area = counted(load, guest, runs_of(guest), times)
    cpu = np.minimum(load.shape(index, times) * load.parameter("cpu", index), 1.0)
    disk = guest.maxdisk * load.disk_fraction(index, times) if guest.kind == "lxc" else np.zeros(times.shape)
    values: dict[str, Floats] = {
        "pve_up": ran.astype(np.float64),
        "pve_disk_size_bytes": np.full(times.shape, float(guest.maxdisk)),
        "pve_disk_usage_bytes": np.floor(disk * ran),
        "pve_memory_size_bytes": np.full(times.shape, float(guest.maxmem)),
        "pve_memory_usage_bytes": np.floor(load.memory_bytes(index, times, since, float(guest.maxmem)) * ran),
        "pve_cpu_usage_ratio": (cpu * ran).round(_SHARE_DIGITS),
        "pve_cpu_usage_limit": np.full(times.shape, float(guest.cpus or cluster.nodes[guest.node].cpus)),
        "pve_uptime_seconds": np.floor((times - since) * ran),
        **{name: np.floor(area * load.parameter(column, index)) for name, column in _COUNTED.items()},
    }
    made = times >= guest.created_s
    return {name: np.where(made, value, np.nan) for name, value in values.items()}


def _storages(world: World, times: Floats, found: Samples) -> None:
    for storage in world.cluster.storages.values():
        for name in world.cluster.nodes:
            if storage.enabled and storage.on_node(name):
                used = np.array([float(world.space.storage(storage, name, moment).used) for moment in times.tolist()])
                values: dict[str, Value] = {
                    "pve_up": 1,
                    "pve_disk_size_bytes": storage.total,
                    "pve_disk_usage_bytes": used,
                    "pve_storage_shared": int(storage.shared),
                }
                _add(found, labels(id=f"storage/{name}/{storage.name}"), values)


def _machines(world: World, figures: dict[str, Figures], *, all_cpus: bool) -> Iterator[Family]:
    """What the exporters of the nodes would have said; of SMART values only the raw ones."""
    found: dict[str, Family] = {}
    samples: dict[str, list[tuple[str, Value]]] = {}
    for name, one in figures.items():
        machine = world.cluster.nodes[name]
        place = labels(job="node", instance=f"{name}:{NODE_PORT}")
        for family in (*node.families(world.cluster, world.space, machine, one), *machines.families(world.cluster, machine, one)):
            if (
                family.name.startswith("smartmon_")
                and family.name.endswith(("_value", "_threshold"))
                and not family.name.endswith("_raw_value")
            ):
                continue
            found.setdefault(family.name, family)
            rows = family.samples if all_cpus else (sample for sample in family.samples if _first_cpu(sample[0]))
            samples.setdefault(family.name, []).extend((f"{place},{head}" if head else place, value) for head, value in rows)
    for name, family in found.items():
        yield Family(name, family.kind, family.about, samples[name])


def _first_cpu(head: str) -> bool:
    return not head.startswith('cpu="') or head.startswith('cpu="0"')
