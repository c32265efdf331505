"""A clock that goes back would lengthen approvals and empty the limits: the latest time seen is kept in the store, and going back stops all writing."""

from __future__ import annotations

from datetime import timedelta

from pveops.base.clock import Clock, from_iso, iso
from pveops.base.errors import Halted
from pveops.guard.budget import Memory
from pveops.guard.killswitch import KillSwitch

SLACK_S = 60
"""What a time service may take back without a word."""
_STEP_S = 5
_NOTE = ("clock", "latest")


class Watch:
    """Compares the time with the latest that was ever seen here."""

    def __init__(self, memory: Memory, kill: KillSwitch, clock: Clock) -> None:
        self._memory = memory
        self._kill = kill
        self._clock = clock

    def check(self) -> None:
        """Return if the clock has not gone back; keep the time.

        Raises:
            Halted: it has; the kill switch is on now, and an operator lifts it when the clock is right.
        """
        now = self._clock.now()
        kept = self._memory.note(*_NOTE)
        try:
            latest = from_iso(str(kept["at"])) if kept else None
        except (KeyError, ValueError):
            latest = None  # damaged: there is nothing to compare with, and it is written anew
        if latest is not None and now < latest - timedelta(seconds=SLACK_S):
            gone_s = int((latest - now).total_seconds())
            why = f"the clock of this machine went back by {gone_s} s"
            if not self._kill.state().on:
                self._kill.turn(on=True, why=why, by="executor")
            raise Halted(
                f"Nothing is written: {why}, so nobody can tell what is still valid.",
                hint="Set the clock right, then `pveops kill off --why …` as an operator.",
            )
        if latest is None or now > latest + timedelta(seconds=_STEP_S):
            self.rebase()

    def rebase(self) -> None:
        """The time as it is now counts."""
        self._memory.keep(*_NOTE, {"at": iso(self._clock.now())})
