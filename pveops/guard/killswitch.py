"""One file that stops all writing. Missing, unreadable or corrupt means on."""

from __future__ import annotations

import json
from pathlib import Path

from pveops.base.clock import Clock, from_iso, iso
from pveops.base.errors import Halted
from pveops.base.files import write_whole
from pveops.base.redact import redact
from pveops.model.messages import KillState


class KillSwitch:
    """Reads the file anew at every question: no state of it is kept anywhere else, so it survives every restart."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def state(self) -> KillState:
        """The state; whatever is wrong with the file counts as on."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            if not isinstance(data, dict) or data.get("state") not in ("on", "off"):
                raise ValueError("no state")
            since = from_iso(data["since"])
            return KillState(on=data["state"] == "on", why=str(data.get("why", "")), by=str(data.get("by", "")), since=since)
        except FileNotFoundError:
            return KillState(on=True, why=f"its file {self._path.name} is missing")
        except (OSError, ValueError, KeyError, TypeError) as err:
            return KillState(on=True, why=f"its file {self._path.name} cannot be read ({type(err).__name__})")

    def check(self) -> None:
        """Return if writing is allowed.

        Raises:
            Halted: the switch is on.
        """
        state = self.state()
        if state.on:
            by = f" by {state.by}" if state.by else ""
            raise Halted(
                f"The kill switch is on{by}: {state.why or 'no reason given'}. Nothing is written.",
                hint="`pveops kill status` shows it; an operator lifts it with `pveops kill off --why …`.",
            )

    def turn(self, *, on: bool, why: str, by: str) -> KillState:
        """Write the new state to disk.

        Raises:
            ConfigError: the file cannot be written.
        """
        now, why = self._clock.now(), redact(why)
        data = {"state": "on" if on else "off", "why": why, "by": by, "since": iso(now)}
        write_whole(self._path, (json.dumps(data, ensure_ascii=False) + "\n").encode())
        return KillState(on=on, why=why, by=by, since=now)
