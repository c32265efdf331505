"""Several clusters at once: every profile's rows in one frame, told apart by the column ``cluster``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from pveops.app.ops import Ops, connect
from pveops.base.errors import ConfigError, PveopsError, UnknownName
from pveops.base.moments import Moment
from pveops.settings.home import Home
from pveops.settings.profile import load_config

if TYPE_CHECKING:
    import pandas as pd

    from pveops.base.clock import Clock

_AT_ONCE = 8


class Fleet:
    """Clusters by the name of their profile; ``fleet["home"]`` is the ``Ops`` of one. A cluster that does not answer is a gap, not an error.

    Every read raises what the first cluster raised if none of them answers.
    """

    def __init__(self, members: Mapping[str, Ops]) -> None:
        self._members = dict(members)

    @property
    def names(self) -> tuple[str, ...]:
        """The profiles."""
        return tuple(self._members)

    def __getitem__(self, name: str) -> Ops:
        """One cluster.

        Raises:
            UnknownName: there is no such profile.
        """
        if name not in self._members:
            raise UnknownName(f"There is no profile called {name}.", hint=f"Known: {', '.join(self._members)}.")
        return self._members[name]

    def __iter__(self) -> Iterator[Ops]:
        """The clusters."""
        return iter(self._members.values())

    def __len__(self) -> int:
        """How many."""
        return len(self._members)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def nodes(self) -> pd.DataFrame:
        """Nodes of all clusters: ``cluster`` and the columns of ``ops.nodes()``."""
        return self._all(Ops.nodes)

    def guests(self) -> pd.DataFrame:
        """Guests of all clusters: ``cluster`` and the columns of ``ops.guests()``. Ids are unique in one cluster only."""
        return self._all(Ops.guests)

    def storage(self) -> pd.DataFrame:
        """Storage of all clusters."""
        return self._all(Ops.storage)

    def tasks(self, *, failed: bool = False, limit: int = 200) -> pd.DataFrame:
        """Tasks of all clusters, the newest of each."""
        return self._all(lambda ops: ops.tasks(failed=failed, limit=limit))

    def backups(self) -> pd.DataFrame:
        """Backup archives of all clusters."""
        return self._all(Ops.backups)

    def sync(self, detail: str | Sequence[str] = "config", *, full: bool = False, deadline_s: float = 300.0) -> pd.DataFrame:
        """Look at all clusters, side by side, and keep what changed. ``.attrs['requests']`` counts all of them."""
        return self._all(lambda ops: ops.sync(detail, full=full, deadline_s=deadline_s))

    def as_of(self, moment: Moment = "now", what: str = "guests") -> pd.DataFrame:
        """What the inventory knew of these clusters at a time. Raises as ``ops.as_of``."""
        return self._all(lambda ops: ops.as_of(moment, what))

    def diff(self, since: Moment, until: Moment = "now", *, what: str | Sequence[str] | None = None) -> pd.DataFrame:
        """What changed in these clusters, oldest first. Raises as ``ops.diff``."""
        return self._all(lambda ops: ops.diff(since, until, what=what)).sort_values("time", kind="stable", ignore_index=True)

    def close(self) -> None:
        """Let go of all connections."""
        for ops in self:
            ops.close()

    def _all(self, read: Callable[[Ops], pd.DataFrame]) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415 - loaded when the first table is made

        with ThreadPoolExecutor(min(_AT_ONCE, len(self))) as pool:
            found = dict(zip(self.names, pool.map(lambda ops: _attempt(read, ops), self), strict=True))
        frames = {name: frame for name, frame in found.items() if not isinstance(frame, PveopsError)}
        errors = {name: error for name, error in found.items() if isinstance(error, PveopsError)}
        if not frames:
            raise next(iter(errors.values()))
        for name, frame in frames.items():
            if "cluster" not in frame.columns:
                frame.insert(0, "cluster", pd.Series(name, index=frame.index, dtype="string"))
        told = {name: dict(frame.attrs) for name, frame in frames.items()}
        for frame in frames.values():
            frame.attrs.clear()
        whole = pd.concat(list(frames.values()), ignore_index=True)
        first = next(iter(told.values()))
        gaps = [{**gap, "what": f"{name}: {gap['what']}"} for name, attrs in told.items() for gap in attrs["gaps"]]
        gaps += [{"what": f"everything of {name}", "why": error.message, "needs": ""} for name, error in errors.items()]
        whole.attrs.update(
            table=first["table"], cluster="all", clusters=list(frames), source="; ".join(attrs["source"] for attrs in told.values()), complete=not gaps,
            read_at=min(attrs["read_at"] for attrs in told.values()), gaps=gaps, units={"cluster": "profile of the cluster", **first["units"]},
            simulated=any(attrs.get("simulated", False) for attrs in told.values()),
        )  # fmt: skip
        if all("requests" in attrs for attrs in told.values()):
            whole.attrs["requests"] = sum(attrs["requests"] for attrs in told.values())
        return whole

    def __repr__(self) -> str:
        return f"pveops: {len(self)} clusters: {', '.join(self.names)}. Try .guests(), .sync(), .diff('yesterday')."


def connect_all(profiles: Sequence[str] | None = None, *, env: Mapping[str, str] | None = None, clock: Clock | None = None) -> Fleet:
    """Open several clusters for reading.

    Args:
        profiles: names in ``config.toml``; by default all of them.
        env: the environment to look into, by default the process's.
        clock: for tests.

    Raises:
        ConfigError: there is no profile, or one of them is not usable. Whether each answers is asked with the first read.
    """
    env = dict(os.environ if env is None else env)
    for variable in ("PVEOPS_URLS", "PVEOPS_CA", "PVEOPS_FINGERPRINTS", "PVEOPS_READ_TOKEN"):
        env.pop(variable, None)  # they speak of one cluster
    names = tuple(profiles) if profiles is not None else tuple(load_config(Home.find(env)).profiles)
    if not names:
        raise ConfigError("No cluster is set up yet.", hint="Run `pveops init`, or try `pveops up --sim`.")
    return Fleet({name: connect(name, env=env, clock=clock, check=False) for name in dict.fromkeys(names)})


def _attempt(read: Callable[[Ops], pd.DataFrame], ops: Ops) -> pd.DataFrame | PveopsError:
    try:
        return read(ops)
    except PveopsError as err:
        return err
