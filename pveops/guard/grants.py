"""Grants: what a writer demands for every call. Only the executor mints them, each for one call, once."""

from __future__ import annotations

import threading

from pveops.base.errors import Forged
from pveops.model.codec import digest_of
from pveops.model.plan import WireCall


class Grant:
    """Permission for one call of one run; means nothing to any mint but the one that made it."""

    __slots__ = ("call_digest", "run_id", "step")

    def __init__(self, run_id: str, step: str, call_digest: str) -> None:
        self.run_id = run_id
        self.step = step
        self.call_digest = call_digest


class Mint:
    """Makes and redeems grants of one executor process."""

    def __init__(self) -> None:
        self._open: set[Grant] = set()
        self._lock = threading.Lock()

    def grant(self, run_id: str, step: str, call: WireCall) -> Grant:
        """A grant for exactly this call."""
        made = Grant(run_id, step, digest_of(call))
        with self._lock:
            self._open.add(made)
        return made

    def redeem(self, grant: object, call: WireCall) -> None:
        """Spend a grant on the call.

        Raises:
            Forged: it was not made here, is spent, or is for another call.
        """
        with self._lock:
            known = isinstance(grant, Grant) and grant in self._open
            if known:
                self._open.discard(grant)
        if not known or not isinstance(grant, Grant) or grant.call_digest != digest_of(call):
            raise Forged(
                f"{call.method} {call.path} was not granted by the executor.", hint="Changes go through a proposal and its approval only."
            )
