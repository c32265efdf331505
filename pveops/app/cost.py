"""What pveops itself costs: requests to the cluster, memory, bytes written, of each process of a home."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pveops.app.asked import extra

if TYPE_CHECKING:
    import pandas as pd
    from prometheus_client import Metric

    from pveops.settings.home import Home

_DAY_S = 86_400.0
_WINDOW_MINUTES = 15
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """One process. ``per_minute``: requests in the last quarter of an hour, by node (empty: the cluster itself), divided by the minutes it ran of it.

    ``rss_bytes`` and ``written_bytes`` are the kernel's figures and known only while it runs; ``written_bytes`` is what reached disks.
    """

    pid: int
    role: str
    running: bool
    age_s: float
    requests: int
    failed: int
    answered_bytes: int
    per_minute: dict[str, float]
    rss_bytes: int | None
    written_bytes: int | None
    caches: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Hits and misses by cache."""

    @property
    def written_bytes_per_day(self) -> float | None:
        """What it would write in a day at the pace so far; not told of one younger than a minute."""
        return None if self.written_bytes is None or self.age_s < 60 else self.written_bytes / self.age_s * _DAY_S


def processes(home: Home, *, now_s: float | None = None) -> list[ProcessCost]:
    """Every process of this home that talked to a cluster within a day, those that run first."""
    at_s = time.time() if now_s is None else now_s
    found = [cost for file in sorted(home.costs.glob("*.json")) if (cost := _of(file, at_s)) is not None]
    return sorted(found, key=lambda one: (not one.running, one.role, one.pid))


def total_per_minute(costs: Iterable[ProcessCost]) -> dict[str, float]:
    """Requests per minute by node, of all processes together."""
    total: Counter[str] = Counter()
    for one in costs:
        total.update(one.per_minute)
    return dict(total)


def cost_frame(costs: Iterable[ProcessCost]) -> pd.DataFrame:
    """A row per process: ``role pid running age_s requests failed requests_per_min busiest_node_per_min answered_bytes rss_bytes written_bytes_per_day cache_hit_fraction``."""
    import pandas as pd  # noqa: PLC0415 - pandas is loaded when the first table is made

    return pd.DataFrame([_row(one) for one in costs], columns=[
        "role", "pid", "running", "age_s", "requests", "failed", "requests_per_min", "busiest_node_per_min", "answered_bytes", "rss_bytes",
        "written_bytes_per_day", "cache_hit_fraction",
    ])  # fmt: skip


def kept_bytes(home: Home) -> dict[str, int]:
    """How much each part of the home holds, in bytes: every folder and file directly below it."""
    return {
        path.name: sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
        for path in sorted(home.root.iterdir())
    }


def _row(one: ProcessCost) -> dict[str, Any]:
    hits, looks = sum(hit for hit, _ in one.caches.values()), sum(hit + miss for hit, miss in one.caches.values())
    return {
        "role": one.role, "pid": one.pid, "running": one.running, "age_s": round(one.age_s), "requests": one.requests, "failed": one.failed,
        "requests_per_min": round(sum(one.per_minute.values()), 1), "busiest_node_per_min": round(max(one.per_minute.values(), default=0.0), 1),
        "answered_bytes": one.answered_bytes, "rss_bytes": one.rss_bytes,
        "written_bytes_per_day": None if one.written_bytes_per_day is None else round(one.written_bytes_per_day),
        "cache_hit_fraction": round(hits / looks, 3) if looks else None,
    }  # fmt: skip


def _of(file: Path, now_s: float) -> ProcessCost | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return _cost(told, now_s)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # being replaced, or of another version: it costs one row of a table


def _cost(told: dict[str, Any], now_s: float) -> ProcessCost:
    pid, began_s = int(told["pid"]), float(told["began_s"])
    running = _runs(pid, began_s)
    minute = now_s // 60
    recent = [(at, nodes) for at, nodes in told["minutes"] if 0 <= minute - at < _WINDOW_MINUTES]
    spanned = min(_WINDOW_MINUTES, max((min(now_s, now_s if running else told["at_s"]) - began_s) / 60, 1.0))
    counts: Counter[str] = Counter()
    for _, nodes in recent:
        counts.update(nodes)
    caches: dict[str, tuple[int, int]] = {}
    for name, hit, count in told["caches"]:
        hits, misses = caches.get(name, (0, 0))
        caches[name] = (hits + count, misses) if hit else (hits, misses + count)
    return ProcessCost(
        pid=pid, role=str(told["role"]), running=running, age_s=(now_s if running else told["at_s"]) - began_s,
        requests=sum(count for _, _, count in told["requests"]), failed=int(told["failed"]), answered_bytes=int(told["answered_bytes"]),
        per_minute={node: count / spanned for node, count in counts.items()}, rss_bytes=_status(pid) if running else None,
        written_bytes=_written(pid) if running else None, caches=caches,
    )  # fmt: skip


def _runs(pid: int, began_s: float) -> bool:
    """Whether the process is there and is the one that wrote: one that got the same id later started later."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        booted_s = time.time() - float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
    except OSError:
        return False
    return booted_s + int(fields[19]) / _TICKS_PER_S <= began_s + 2.0


def _status(pid: int) -> int | None:
    return _field(pid, "status", "VmRSS:", 1024)


def _written(pid: int) -> int | None:
    return _field(pid, "io", "write_bytes:", 1)


def _field(pid: int, file: str, name: str, factor: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None  # gone by now, or another user's
    return next((int(line.split()[1]) * factor for line in lines if line.startswith(name)), None)


def exposition(home: Home) -> str:
    """The figures of all processes of a home for a Prometheus.

    Raises:
        ConfigError: what writes that format is not installed.
    """
    with extra("metrics"):
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(home))
    return generate_latest(registry).decode()


class _Collector:
    """What a scrape gives; labels ``role`` and ``pid`` tell the processes apart. Only those that run: the others' figures never change again."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

        labels = ("role", "pid")
        counted = {
            "requests": CounterMetricFamily("pveops_requests", "Requests to clusters", labels=labels),
            "failed": CounterMetricFamily("pveops_requests_failed", "Requests without a good answer", labels=labels),
            "answered_bytes": CounterMetricFamily("pveops_answered_bytes", "Bytes of answers", labels=labels),
            "written_bytes": CounterMetricFamily("pveops_written_bytes", "Bytes that reached disks", labels=labels),
        }
        memory = GaugeMetricFamily("pveops_resident_bytes", "Resident memory", labels=labels)
        nodes = GaugeMetricFamily(
            "pveops_requests_per_minute", "Requests of all processes, the last 15 minutes; no node: the cluster itself", labels=("node",)
        )
        looked = CounterMetricFamily("pveops_cache_looks", "Looks into caches", labels=(*labels, "cache", "hit"))
        kept = GaugeMetricFamily("pveops_home_bytes", "What the home holds", labels=("part",))
        running = [one for one in processes(self._home) if one.running]
        for one in running:
            who = (one.role, str(one.pid))
            for name, family in counted.items():
                value = getattr(one, name)
                if value is not None:
                    family.add_metric(who, value)
            if one.rss_bytes is not None:
                memory.add_metric(who, one.rss_bytes)
            for cache, (hits, misses) in one.caches.items():
                looked.add_metric((*who, cache, "1"), hits)
                looked.add_metric((*who, cache, "0"), misses)
        for node, per_minute in total_per_minute(running).items():
            nodes.add_metric((node,), per_minute)
        for part, size in kept_bytes(self._home).items():
            kept.add_metric((part,), size)
        yield from (*counted.values(), memory, nodes, looked, kept)
