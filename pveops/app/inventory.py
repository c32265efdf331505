"""``ops.sync``, ``ops.diff``, ``ops.history``, ``ops.as_of``: what clusters held and when, in a file of ``PVEOPS_HOME`` or in PostgreSQL."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Collection, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from pveops.app.asked import moment_of, seconds_of
from pveops.app.sync import Sync
from pveops.base.clock import from_epoch_s, iso
from pveops.base.errors import InputError, PveopsError
from pveops.base.moments import Moment
from pveops.clients.cluster.crowd import Crowd
from pveops.clients.cluster.pace import Budget
from pveops.model.changes import Culprits, changes_of
from pveops.model.inventory import DETAILS, STILL_MS, Change, Detail, Kind, Look
from pveops.model.resources import Gap
from pveops.store.inventory import Inventory, open_inventory

if TYPE_CHECKING:
    import pandas as pd

    from pveops.base.clock import Clock
    from pveops.clients.cluster.read import Reader
    from pveops.model.inventory import Report
    from pveops.settings.profile import Target

_LOG = logging.getLogger("pveops.inventory")
Clusters = Sequence[str] | Literal["all"] | None
"""Which clusters: none given is the one of this ``ops``, ``"all"`` every one that the inventory knows."""
_KINDS: tuple[Kind, ...] = ("guest", "node", "storage", *DETAILS)
_GUESTS: tuple[Kind, ...] = ("guest",)
_SOONEST_S = 5.0
_STALE_MS = 300_000
"""When nobody looked for so long, an answer about now says so."""


class Records:
    """The inventory of one home, seen from one cluster."""

    def __init__(self, target: Target, reader: Reader, clock: Clock) -> None:
        self._target = target
        self._reader = reader
        self._clock = clock
        self._store: Inventory | None = None
        self._sync: Sync | None = None
        self._crowd: Crowd | None = None
        self._looking = threading.Lock()

    # -- looking --------------------------------------------------------------------------------------------------------

    def look(self, detail: str | Sequence[str], *, full: bool = False, deadline_s: float = 300.0, budget: Budget | None = None) -> Report:
        """One look; raises as ``Sync.look``, and ``InputError`` for a detail that there is not."""
        details = _details(detail)
        if deadline_s <= 0:
            raise InputError("A deadline is a number of seconds above 0.")
        with self._looking:
            return self._syncing().look(details, full=full, deadline_s=deadline_s, budget=budget)

    def every(self, every: str | float, detail: str | Sequence[str]) -> Background:
        """Look again and again until stopped.

        Raises:
            InputError: no such detail, or too often.
        """
        every_s = seconds_of(every)
        if every_s < _SOONEST_S:
            raise InputError(
                f"Every {every_s:g} s is too often.", hint=f"The cluster itself tells news every 10 s; take {_SOONEST_S:g} s or more."
            )
        details = _details(detail)
        per_min = self._target.inventory.requests_per_min
        budget = Budget(max(1, per_min - math.ceil(120 / every_s) - 1))  # two lists per look come on top
        return Background(lambda: self.look(details, budget=budget, deadline_s=max(60.0, every_s)), self._flush, every_s, self._clock)

    def _flush(self) -> None:
        if self._sync is not None:
            with self._looking:
                self._sync.flush()

    def close(self) -> None:
        """Write down what is only remembered, and let go of connections and database."""
        self._flush()
        if self._crowd is not None:
            self._crowd.close()
        if self._store is not None:
            self._store.close()
        self._sync = self._crowd = self._store = None

    def _syncing(self) -> Sync:
        if self._sync is None:
            profile, wire = self._target.profile, self._reader.wire
            self._crowd = Crowd(wire.endpoints, self._target.read_token, connect_s=profile.connect_timeout_s, clock=self._clock)
            options = self._target.inventory
            self._sync = Sync(self._target.name, self._reader, self._crowd, self.store(), self._clock, keep_days=options.keep_days)
        return self._sync

    def store(self) -> Inventory:
        """The database.

        Raises:
            ConfigError: it cannot be opened.
        """
        if self._store is None:
            self._store = open_inventory(self._target.home.make().root / "inventory.db", self._target.inventory_url)
        return self._store

    # -- asking ---------------------------------------------------------------------------------------------------------

    def as_of(self, moment: Moment, what: str, clusters: Clusters) -> pd.DataFrame:
        """What held at a time."""
        from pveops.frames.inventory import WHAT, held_frame  # noqa: PLC0415 - pandas is loaded when the first table is made

        if what not in WHAT:
            raise InputError(f"The inventory has no {what!r}.", hint=f"Known: {', '.join(WHAT)}.")
        names, at_ms = self._names(clusters), self._ms(moment)
        if at_ms > int(self._clock.now().timestamp() * 1000):
            raise InputError(f"{moment} is still to come.", hint="Take now, or an earlier time.")
        kind = WHAT[what][0]
        kinds: tuple[Kind, ...] = (kind,)
        looks = self._looked(names, at_ms)
        gaps = [*_gaps(looks), *self._never(names, looks, kind), *self._since_then(looks, at_ms)]
        versions = self.store().at(names, kinds, at_ms)
        return held_frame(what, versions, read_at=_read_at(looks), source=self._source(), gaps=gaps)

    def diff(self, since: Moment, until: Moment, clusters: Clusters, what: Collection[str] | None) -> pd.DataFrame:
        """What changed in a span."""
        from pveops.frames.inventory import changes_frame  # noqa: PLC0415

        kinds = self._kinds(what)
        names, start_ms, end_ms = self._names(clusters), self._ms(since), self._ms(until)
        if start_ms >= end_ms:
            raise InputError(f"The span from {since} to {until} is empty.")
        looks = self._looked(names, end_ms)
        store = self.store()
        versions = store.between(names, start_ms, end_ms, kinds)
        culprits = Culprits(store.events(names, start_ms - 3_600_000, end_ms))
        called = {(one.cluster, one.key): (one.body["name"], one.body["node"]) for one in store.at(names, _GUESTS, end_ms)}
        changes = changes_of(versions, store.before(versions), culprits, start_ms=start_ms, end_ms=end_ms, names=called)
        gaps = [*_gaps(looks), *self._late(names, start_ms)]
        return changes_frame(changes, read_at=_read_at(looks), source=self._source(), gaps=gaps)

    def history(self, vmid: int, since: Moment | None, cluster: str) -> pd.DataFrame:
        """All changes of one guest."""
        from pveops.frames.inventory import changes_frame  # noqa: PLC0415

        kinds: tuple[Kind, ...] = ("guest", "config", "snapshots", "addresses")
        looks = self._looked((cluster,), STILL_MS - 1)
        start_ms = self._ms(since) if since is not None else 0
        store = self.store()
        versions = store.of_thing(cluster, str(vmid), kinds)
        if not versions:
            raise InputError(f"The inventory of {cluster} knows no guest {vmid}.", hint="Look with ops.sync(), or ask for another one.")
        before = {(one.cluster, one.kind, one.key, one.to_ms): one for one in versions}
        culprits = Culprits(store.events((cluster,), start_ms, STILL_MS - 1, guest=vmid))
        last = [one for one in versions if one.kind == "guest"][-1:]
        called = {(one.cluster, one.key): (one.body["name"], one.body["node"]) for one in last}
        changes: list[Change] = changes_of(versions, before, culprits, start_ms=start_ms, names=called)
        return changes_frame(changes, read_at=_read_at(looks), source=self._source(), gaps=_gaps(looks))

    def last_vmid(self, name: str, cluster: str) -> int:
        """The id of a guest by name, also of one that is gone.

        Raises:
            InputError: the inventory never saw it, or saw several.
        """
        versions = self.store().at((cluster,), _GUESTS) or []
        found = {int(one.key) for one in versions if one.body["name"] == name}
        if not found:
            every = self.store().between((cluster,), -1, STILL_MS, _GUESTS)
            found = {int(one.key) for one in every if one.body["name"] == name}
        if len(found) != 1:
            several = f"several guests called {name}: {', '.join(map(str, sorted(found)))}" if found else f"no guest called {name}"
            raise InputError(f"The inventory of {cluster} knows {several}.", hint="Give its id.")
        return found.pop()

    def looks(self, clusters: Clusters, limit: int) -> pd.DataFrame:
        """When the cluster was looked at."""
        from pveops.frames.inventory import looks_frame  # noqa: PLC0415

        names = self._names(clusters)
        return looks_frame(self.store().looks(names, limit=limit), read_at=self._clock.now(), source=self._source())

    def _names(self, clusters: Clusters) -> tuple[str, ...]:
        known = self.store().clusters()
        if clusters is None:
            return (self._target.name,)
        if clusters == "all":
            return known or (self._target.name,)
        missing = [name for name in clusters if name not in known]
        if missing or isinstance(clusters, str):
            raise InputError(
                f"The inventory knows no cluster {', '.join(missing) or clusters}.", hint=f"Known: {', '.join(known) or 'none yet'}."
            )
        return tuple(clusters)

    @staticmethod
    def _kinds(what: Collection[str] | None) -> tuple[Kind, ...]:
        if what is None:
            return _KINDS
        wanted = (what,) if isinstance(what, str) else tuple(what)
        unknown = [one for one in wanted if one not in _KINDS]
        if unknown:
            raise InputError(f"Nothing of the kind {', '.join(unknown)} is kept.", hint=f"Known: {', '.join(_KINDS)}.")
        return wanted  # type: ignore[return-value]

    def _ms(self, moment: Moment) -> int:
        return int(moment_of(moment, self._clock).timestamp() * 1000)

    def _source(self) -> str:
        return f"inventory {self.store().name}"

    def _looked(self, names: Sequence[str], at_ms: int) -> list[Look]:
        """Of each cluster the last look up to a time.

        Raises:
            InputError: nobody had looked by then at any of them.
        """
        if self._sync is not None:
            self._flush()
        found = [look for name in names for look in self.store().looks((name,), until_ms=at_ms, limit=1)]
        if not found:
            first = [look.first_ms for name in names for look in self.store().looks((name,), limit=100_000)]
            when = f"begins at {iso(from_epoch_s(min(first) / 1000))}" if first else "is empty"
            raise InputError(
                f"The inventory of {', '.join(names)} {when}.", hint="Take a later time." if first else "Look with ops.sync() first."
            )
        return found

    def _never(self, names: Sequence[str], looks: Sequence[Look], kind: Kind) -> list[Gap]:
        seen = {look.cluster for look in looks}
        gaps = [Gap(what=f"everything of {name}", why="nobody had looked at it by then") for name in names if name not in seen]
        if kind in DETAILS:
            gaps += [
                Gap(what=f"{kind} of {name}", why=f'not read yet: ops.sync("{kind}") does') for name in sorted(seen) if not self.store().digests(name, kind)
            ]  # fmt: skip
        return gaps

    def _since_then(self, looks: Sequence[Look], at_ms: int) -> list[Gap]:
        """Where nobody looked for minutes before that time, nor since."""
        newest = [look for one in looks for look in self.store().looks((one.cluster,), limit=1)]
        return [
            Gap(what=f"what happened at {look.cluster} since", why=f"the last look was {(at_ms - look.last_ms) // 60_000} min before; ops.sync() looks")
            for look in newest
            if at_ms - look.last_ms > _STALE_MS
        ]  # fmt: skip

    def _late(self, names: Sequence[str], start_ms: int) -> list[Gap]:
        late = [name for name in names if not self.store().looks((name,), until_ms=start_ms, limit=1)]
        return [Gap(what=f"changes of {name} at first", why="the inventory begins later than the span") for name in late]


class Background:
    """Looks again and again on a thread of its own. Stop it, or use it as a context manager; it ends with the process too."""

    def __init__(self, look: Any, flush: Any, every_s: float, clock: Clock) -> None:
        self._look, self._flush, self._every_s, self._clock = look, flush, every_s, clock
        self._stop = threading.Event()
        self.last: Report | None = None
        """What the last look did."""
        self.error: PveopsError | None = None
        """Why the last look failed; none where it did not."""
        self.looks = 0
        """How many there were."""
        self._thread = threading.Thread(target=self._run, name="pveops-inventory", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop."""
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is stopped; whether it was."""
        return self._stop.wait(seconds)

    def stop(self, *, within_s: float = 60.0) -> None:
        """End it after the look that is under way, at most so many seconds later."""
        self._stop.set()
        self._thread.join(within_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            began_s = self._clock.monotonic_s()
            try:
                self.last, self.error = self._look(), None
            except PveopsError as err:
                self.error = err
                _LOG.warning("a look failed", extra={"kind": err.kind, "error": err.message})
            self.looks += 1
            self._stop.wait(max(0.0, self._every_s - (self._clock.monotonic_s() - began_s)))
        self._flush()

    def __repr__(self) -> str:
        state = "running" if self.running else "stopped"
        return f"inventory every {self._every_s:g} s: {state}, {self.looks} looks{f', the last failed: {self.error.message}' if self.error else ''}"


def _details(detail: str | Sequence[str]) -> tuple[Detail, ...]:
    """Which details are meant by ``config``, ``("config", "snapshots")``, ``all`` or ``none``."""
    words = ([] if detail == "none" else DETAILS if detail == "all" else [detail]) if isinstance(detail, str) else detail
    unknown = [word for word in words if word not in DETAILS]
    if unknown:
        raise InputError(f"There is no detail called {', '.join(unknown)}.", hint=f"Known: {', '.join(DETAILS)}, all, none.")
    return tuple(one for one in DETAILS if one in words)


def _gaps(looks: Sequence[Look]) -> list[Gap]:
    if len(looks) == 1:
        return list(looks[0].gaps)
    return [Gap(what=f"{look.cluster}: {gap.what}", why=gap.why, needs=gap.needs) for look in looks for gap in look.gaps]


def _read_at(looks: Sequence[Look]) -> datetime:
    return from_epoch_s(min(look.last_ms for look in looks) / 1000)
