"""``ops.ask``: what operators ask, as DataFrames. docs/frames.md lists the columns of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pveops.base.clock import iso
from pveops.tools.library.asks import ANSWERS
from pveops.tools.ports import Ports
from pveops.tools.registry import Registry

if TYPE_CHECKING:
    import pandas as pd


class Ask:
    """Questions to one cluster.

    Each answer is a DataFrame; ``.attrs`` holds ``answer`` (one sentence), ``source`` (what was asked, how often), ``read_at``, ``complete``
    and ``gaps``. What could not be seen is a gap, never an empty row. Spans are ``"7d"``, ``"24h"``. Every method may raise ``TransportError``
    and ``ApiError``, and ``InputError`` for what is no span or node.
    """

    def __init__(self, registry: Registry, ports: Callable[[], Ports], mark: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        self._registry = registry
        self._ports = ports
        self._mark = mark

    def backup_truth(self, *, past: str = "8d") -> pd.DataFrame:
        """What backups there really are of each guest, on all storages. Tasks of that many days are read for attempts that failed."""
        return self._table("backup_truth", past=past)

    def no_backup_since(self, since: str = "7d") -> pd.DataFrame:
        """Guests without a good backup since then; those whose backups could not be seen are gaps."""
        return self._table("no_backup_since", since=since)

    def snapshots_older_than(self, age: str = "14d") -> pd.DataFrame:
        """Forgotten snapshots, the oldest first."""
        return self._table("snapshots_older_than", older_than=age)

    def overcommit(self, *, cpus_per_thread: float = 4.0) -> pd.DataFrame:
        """Cores and memory of running guests against their node, disks against their storage."""
        return self._table("overcommit", cpus_per_thread=cpus_per_thread)

    def n_plus_one(self, *, reserve_pct: float = 5.0, devices: bool = True) -> pd.DataFrame:
        """Does the cluster survive the loss of each node? ``devices=False`` saves a request per guest and leaves a gap."""
        return self._table("n_plus_one", reserve_pct=reserve_pct, devices=devices)

    def capacity_forecast(self, window: str = "30d") -> pd.DataFrame:
        """Days until each storage is full, with an interval, from its use over that window."""
        return self._table("capacity_forecast", window=window)

    def rightsize(self, window: str = "30d") -> pd.DataFrame:
        """What running guests had in use at most, and what that would take."""
        return self._table("rightsize", window=window)

    def idle_guests(self, window: str = "7d", *, cpu_pct: float = 3.0, net: float = 2048.0) -> pd.DataFrame:
        """Running guests that did nothing: CPU in percent of their cores, network in bytes per second."""
        return self._table("idle_guests", window=window, cpu_pct=cpu_pct, net=net)

    def orphaned_disks(self) -> pd.DataFrame:
        """Disks that no guest uses."""
        return self._table("orphaned_disks")

    def disk_health_trend(self, window: str = "2d") -> pd.DataFrame:
        """SMART counters of every disk, and what grew in that window."""
        return self._table("disk_health_trend", window=window)

    def certificate_expiry(self, within: str = "30d") -> pd.DataFrame:
        """When certificates end; ``soon`` is within that time."""
        return self._table("certificate_expiry", within=within)

    def drift_between(self, nodes: str | Iterable[str] = ()) -> pd.DataFrame:
        """In what these nodes differ, or all nodes."""
        return self._table("drift_between", nodes=nodes if isinstance(nodes, str) else ",".join(nodes))

    def _table(self, name: str, **args: Any) -> pd.DataFrame:
        from pveops.frames.frame import frame_of  # noqa: PLC0415 - pandas is loaded when the first table is made

        table = ANSWERS[name].table
        result = self._registry.read(f"ask.{name.replace('_', '-')}", args, self._ports())
        frame = frame_of(table, result.rows)
        frame.attrs.update(
            table=name, source=result.searched, read_at=iso(result.read_at), complete=not result.gaps, answer=result.text,
            gaps=[{"what": gap.what, "why": gap.why, "needs": gap.needs} for gap in result.gaps],
            units={column.name: column.doc for column in table.columns},
        )  # fmt: skip
        return self._mark(frame)

    def __repr__(self) -> str:
        return f"questions: {', '.join(f'.{name}()' for name in sorted(ANSWERS))}"
