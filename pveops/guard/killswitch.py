"""One file that stops all writing, or that of one cluster. Missing, unreadable or corrupt means on, everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pveops.base.clock import Clock, from_iso, iso
from pveops.base.errors import ConfigError, Halted
from pveops.base.files import write_whole
from pveops.base.redact import redact
from pveops.model.messages import KillState


class KillSwitch:
    """Reads the file anew at every question: no state of it is kept anywhere else, so it survives every restart."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def state(self, cluster: str = "") -> KillState:
        """The state for a cluster, or with no name that for all; whatever is wrong with the file counts as on."""
        try:
            data = self._read()
            whole = _state(data)
            row = data["clusters"].get(cluster) if cluster and "clusters" in data else None
            return whole if whole.on or row is None else _state(row, cluster)
        except FileNotFoundError:
            return KillState(on=True, why=f"its file {self._path.name} is missing")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            return KillState(on=True, why=f"its file {self._path.name} cannot be read ({type(err).__name__})")

    def check(self, cluster: str) -> None:
        """Return if writing to a cluster is allowed.

        Raises:
            Halted: the switch is on.
        """
        state = self.state(cluster)
        if state.on:
            by = f" by {state.by}" if state.by else ""
            where = f" for {state.cluster}" if state.cluster else ""
            raise Halted(
                f"The kill switch is on{where}{by}: {state.why or 'no reason given'}. Nothing is written.",
                hint="`pveops kill status` shows it; an operator lifts it with `pveops kill off --why …`.",
            )

    def clusters(self) -> tuple[KillState, ...]:
        """Clusters that are stopped on their own; none where the file cannot be read (all are stopped then)."""
        try:
            rows = self._read().get("clusters", {})
            states = [_state(row, name) for name, row in sorted(rows.items())]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ()
        return tuple(state for state in states if state.on)

    def turn(self, *, on: bool, why: str, by: str, cluster: str = "") -> KillState:
        """Write the new state to disk: for one cluster, or for all. Lifting it for all lifts it for each.

        Raises:
            ConfigError: the file cannot be written, or is damaged and cannot be lifted for one cluster alone.
        """
        now, why = self._clock.now(), redact(why)
        row: dict[str, Any] = {"state": "on" if on else "off", "why": why, "by": by, "since": iso(now)}
        if cluster:
            row = self._with(cluster, row, on=on)
        write_whole(self._path, (json.dumps(row, ensure_ascii=False) + "\n").encode())
        return KillState(on=on, why=why, by=by, since=now, cluster=cluster)

    def _with(self, cluster: str, row: dict[str, Any], *, on: bool) -> dict[str, Any]:
        try:
            data = self._read()
            _state(data)
            return data | {"clusters": {**data.get("clusters", {}), cluster: row}}
        except (OSError, ValueError, KeyError, TypeError) as err:
            if on:
                return row  # nobody can tell what the file said, so all of it stops
            raise ConfigError(
                f"{self._path} is missing or damaged, so writing is off for every cluster.",
                hint="Lift it for all: `pveops kill off --why …`.",
            ) from err

    def _read(self) -> dict[str, Any]:
        data = json.loads(self._path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or not isinstance(data.get("clusters", {}), dict):
            raise ValueError("no state")  # noqa: TRY004 - one kind of damage among others
        return data


def _state(row: dict[str, Any], cluster: str = "") -> KillState:
    if row.get("state") not in ("on", "off"):
        raise ValueError("no state")
    since = from_iso(row["since"])
    return KillState(on=row["state"] == "on", why=str(row.get("why", "")), by=str(row.get("by", "")), since=since, cluster=cluster)
