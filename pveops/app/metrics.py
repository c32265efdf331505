"""``ops.metrics``: measurements from a Prometheus where one is set, else from Proxmox VE's own RRD. It says who answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pveops.app.asked import extra, fitting_step_ms, moment_of, seconds_of, span_ms
from pveops.base.errors import AmbiguousName, ConfigError, InputError, PveopsError, UnknownName
from pveops.base.moments import Moment
from pveops.model.queries import QUERIES, filled
from pveops.model.refs import GuestRef, NodeRef, StorageRef
from pveops.model.series import timeframe_of

if TYPE_CHECKING:
    import pandas as pd

    from pveops.base.clock import Clock
    from pveops.clients.cluster.read import Reader
    from pveops.clients.metrics.catalogue import Catalogue
    from pveops.clients.metrics.prometheus import Prometheus
    from pveops.settings.profile import Target

_STEPS_S = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
_POINTS = 1500
"""Without a step, about so many points are asked for at most."""
_COLUMNS = {"cpu": "cpu_fraction", "mem": "mem_bytes", "netin": "netin_bytes_per_s", "netout": "netout_bytes_per_s",
            "diskread": "diskread_bytes_per_s", "diskwrite": "diskwrite_bytes_per_s", "disk": "disk_bytes"}  # fmt: skip
_NODE_COLUMNS = {"cpu": "cpu_fraction", "mem": "memused_bytes"}
_STORAGE_COLUMNS = {"bytes": "used_bytes"}


class Metrics:
    """Measurements of one cluster. Times are ``"2h"`` (ago), ``"now"``, ISO times with a zone, or aware datetimes."""

    def __init__(self, target: Target, reader: Reader, clock: Clock) -> None:
        self._target = target
        self._reader = reader
        self._clock = clock
        self._server: Prometheus | None = None

    @property
    def backend(self) -> str:
        """Who answers: the address of a Prometheus, or Proxmox VE's RRD."""
        url = self._target.prometheus_url
        return f"Prometheus {url}" if url else "PVE RRD"

    def query(self, expression: str, start: Moment = "1h", end: Moment = "now", step: str | float | None = None) -> pd.DataFrame:
        """A PromQL expression over a span: one row per time (UTC), one column per series, NaN where nothing was measured.

        Raises:
            ConfigError: no Prometheus is set: Proxmox VE's RRD knows no PromQL.
            InputError: the span, the step or the expression is none.
            TransportError: the server gives no usable answer.
        """
        from pveops.frames.metrics import matrix_frame  # noqa: PLC0415 - pandas is loaded when the first table is made

        start_ms, end_ms = span_ms(start, end, self._clock)
        step_ms = round(seconds_of(step) * 1000) if step is not None else fitting_step_ms(end_ms - start_ms, _STEPS_S, _POINTS)
        return matrix_frame(self._prometheus().range(expression, start_ms, end_ms, step_ms))

    def now(self, expression: str, at: Moment = "now") -> pd.DataFrame:
        """A PromQL expression at one time: one row per series, a column per label, and ``value``. Raises as ``query``."""
        from pveops.frames.metrics import vector_frame  # noqa: PLC0415

        at_ms = None if at == "now" else round(moment_of(at, self._clock).timestamp() * 1000)
        return vector_frame(self._prometheus().instant(expression, at_ms))

    def raw(self, selector: str, start: Moment = "1h", end: Moment = "now") -> pd.DataFrame:
        """Samples as they were scraped, by a plain selector: ``time``, a column per label, ``value``. The quickest way to many. Raises as ``query``."""
        from pveops.frames.metrics import raw_frame  # noqa: PLC0415

        return raw_frame(self._prometheus().raw(selector, *span_ms(start, end, self._clock)))

    def named(self, name: str, start: Moment = "1h", end: Moment = "now", step: str | float | None = None, **subject: str) -> pd.DataFrame:
        """A query of the library (``ops.metrics.queries()``), for a ``guest="qemu/101"`` or ``node="pve1"`` where it needs one. Raises as ``query``."""
        frame = self.query(filled(name, **subject), start, end, step)
        frame.attrs.update(query=name, unit=QUERIES[name].unit)
        return frame

    @staticmethod
    def queries() -> pd.DataFrame:
        """The library: ``name unit doc expression``."""
        import pandas as pd  # noqa: PLC0415

        return pd.DataFrame([(query.name, query.unit, query.doc, query.expression) for query in QUERIES.values()],
                            columns=["name", "unit", "doc", "expression"])  # fmt: skip

    def names(self) -> tuple[str, ...]:
        """Names of all metrics that the Prometheus has. Raises as ``query``."""
        return self._catalogue().names()

    def labels(self, label: str) -> tuple[str, ...]:
        """The values that a label has in the Prometheus. Raises as ``query``."""
        return self._catalogue().values(label)

    def targets(self) -> pd.DataFrame:
        """What the Prometheus scrapes: ``job instance health error last``. Raises as ``query``."""
        import pandas as pd  # noqa: PLC0415

        frame = pd.DataFrame(self._catalogue().targets(), columns=["job", "instance", "health", "error", "last"])
        frame["last"] = pd.to_datetime(frame["last"], utc=True, format="ISO8601")
        return frame

    def guest(self, wanted: str | int) -> SubjectMetrics:
        """Measurements of one guest, by id or name.

        Raises:
            UnknownName, AmbiguousName: nothing, or several things, are called that.
        """
        from pveops.tools.resolve import find_guest  # noqa: PLC0415

        guest = find_guest(wanted, self._reader.guests())
        return SubjectMetrics(self, guest.ref, f"{guest.kind}/{guest.vmid}", guest.label)

    def node(self, name: str) -> SubjectMetrics:
        """Measurements of one node. Raises as ``guest``."""
        from pveops.tools.resolve import find_node  # noqa: PLC0415

        node = find_node(name, self._reader.nodes())
        return SubjectMetrics(self, node.ref, node.name, node.name)

    def storage(self, name: str, node: str = "") -> SubjectMetrics:
        """Use of one storage; one that is not shared needs its node.

        Raises:
            UnknownName: there is none of that name, or not on that node.
            AmbiguousName: it is not shared, and no node is named.
        """
        rows = [row for row in self._reader.storages().rows if row.name == name and node in ("", row.node)]
        if not rows:
            raise UnknownName(
                f"There is no storage called {name}{f' on {node}' if node else ''}.", hint="`pveops storage ls` shows all of them."
            )
        if len(rows) > 1 and not rows[0].shared:
            raise AmbiguousName(f"{name} is another storage on each node.", hint=f"Name one of {', '.join(row.node for row in rows)}.")
        chosen = next((row for row in rows if row.status == "available"), rows[0])
        label = name if chosen.shared else f"{name} on {chosen.node}"
        return SubjectMetrics(self, chosen.ref, f"storage/{chosen.node}/{name}", label)

    def rrd(self, ref: GuestRef | NodeRef | StorageRef, window_s: float) -> pd.DataFrame:
        """Proxmox VE's own measurements over the last seconds: columns with units.

        Raises:
            InputError: it keeps none that old.
        """
        import pandas as pd  # noqa: PLC0415

        from pveops.frames.frame import series_frame  # noqa: PLC0415

        frame = series_frame(self._reader.series(ref, timeframe_of(window_s)))
        return frame[frame.index >= frame.index.max() - pd.Timedelta(seconds=window_s)] if len(frame) else frame

    def server(self) -> Prometheus | None:
        """The Prometheus, where one is set.

        Raises:
            ConfigError: one is set, and what it takes to ask it is not installed.
        """
        return self._prometheus() if self._target.prometheus_url else None

    def _prometheus(self) -> Prometheus:
        url = self._url()
        if self._server is None:
            with extra("metrics"):
                from pveops.clients.metrics.http import MetricsHttp  # noqa: PLC0415
                from pveops.clients.metrics.prometheus import Prometheus  # noqa: PLC0415
            self._server = Prometheus(MetricsHttp(url, token=self._target.prometheus_token(), ca=self._target.prometheus_ca))
        return self._server

    def _catalogue(self) -> Catalogue:
        url = self._url()
        with extra("metrics"):
            from pveops.clients.metrics.catalogue import Catalogue  # noqa: PLC0415 - its library takes a second to load
        return Catalogue(url, token=self._target.prometheus_token(), ca=self._target.prometheus_ca)

    def _url(self) -> str:
        url = self._target.prometheus_url
        if not url:
            raise ConfigError(
                "No Prometheus is set, and Proxmox VE's own RRD knows no PromQL.",
                hint=f"Set prometheus_url for profile {self._target.name} in {self._target.home.config}, or PVEOPS_PROMETHEUS_URL; "
                'ops.metrics.guest(101).cpu("7d") works without one.',
            )
        return url


class SubjectMetrics:
    """Measurements of one guest, node or storage: ``.cpu("7d")``, ``.mem("24h")`` … One column with its unit; ``.attrs['source']`` says who answered."""

    def __init__(self, metrics: Metrics, ref: GuestRef | NodeRef | StorageRef, key: str, label: str) -> None:
        self._metrics = metrics
        self._ref = ref
        self._key = key
        self._label = label
        self._kind = "guest" if isinstance(ref, GuestRef) else "node" if isinstance(ref, NodeRef) else "storage"

    def used(self, window: str | float = "30d") -> pd.DataFrame:
        """In use, in bytes (storages)."""
        return self.get("bytes", window)

    @property
    def label(self) -> str:
        """How people call it."""
        return self._label

    @property
    def subject(self) -> str:
        """How plans name it: ``guest/101``, ``node/pve1``."""
        return self._ref.subject

    def all(self, window: str | float = "1h") -> pd.DataFrame:
        """All that Proxmox VE measures of it; where its node does not answer, what a Prometheus has of CPU and memory.

        Raises:
            InputError: no such window.
            TransportError, ApiError: nobody tells.
        """
        try:
            return self._metrics.rrd(self._ref, seconds_of(window))
        except InputError:
            raise
        except PveopsError:
            if self._metrics.backend == "PVE RRD":
                raise
            cpu = self._from_prometheus("cpu", seconds_of(window), "cpu_fraction")
            mem = "mem_bytes" if isinstance(self._ref, GuestRef) else "memused_bytes"
            frame = cpu.join(self._from_prometheus("mem", seconds_of(window), mem), how="outer")
            frame.attrs.update(cpu.attrs)
            return frame

    def cpu(self, window: str | float = "1h") -> pd.DataFrame:
        """CPU in use, as a fraction of its own cores."""
        return self.get("cpu", window)

    def mem(self, window: str | float = "1h") -> pd.DataFrame:
        """Memory in use, in bytes."""
        return self.get("mem", window)

    def net(self, window: str | float = "1h") -> pd.DataFrame:
        """Received and sent, in bytes per second (guests)."""
        return self.get("netin", window).join(self.get("netout", window), how="outer")

    def disk(self, window: str | float = "1h") -> pd.DataFrame:
        """Read and written, in bytes per second (guests)."""
        return self.get("diskread", window).join(self.get("diskwrite", window), how="outer")

    def get(self, what: str, window: str | float = "1h") -> pd.DataFrame:
        """One measurement by its short name: ``cpu mem netin netout diskread diskwrite``.

        Raises:
            InputError: there is no such measurement, or no such window.
        """
        columns = _COLUMNS if self._kind == "guest" else _NODE_COLUMNS if self._kind == "node" else _STORAGE_COLUMNS
        if what not in columns:
            raise InputError(f"There is no measurement called {what} of {self._label}.", hint=f"Known: {', '.join(columns)}.")
        seconds = seconds_of(window)
        why = "no Prometheus is set"
        if self._metrics.backend != "PVE RRD":
            try:
                frame = self._from_prometheus(what, seconds, columns[what])
            except PveopsError as err:
                why = err.message
            else:
                if len(frame.columns):
                    return frame
                why = "Prometheus has no such series"
        frame = self._metrics.rrd(self._ref, seconds)
        frame = frame[[columns[what]]] if columns[what] in frame else frame.iloc[:, :0]
        frame.attrs.update(why_not_prometheus=why)
        return frame

    def _from_prometheus(self, what: str, seconds: float, column: str) -> pd.DataFrame:
        frame = self._metrics.named(f"{self._kind}.{what}", seconds_ago(seconds), "now", None, **{self._kind: self._key})
        if len(frame.columns) == 1:
            frame.columns = [column]
        return frame

    def __repr__(self) -> str:
        ways = (
            ".used('30d')"
            if self._kind == "storage"
            else ".cpu('7d') .mem('24h')" + (" .net('1h') .disk('1h')" if self._kind == "guest" else "")
        )
        return f"measurements of {self._label} from {self._metrics.backend}: {ways}"


def seconds_ago(seconds: float) -> str:
    """A duration as ``parse_moment`` reads it."""
    return f"{seconds:g}s"
