"""What is wrong with things for a while, as plain data. Physics, tasks and handlers read it; they need not know who brought it about."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pveops.sim.state.guest import Guest


@dataclass(slots=True, kw_only=True)
class Spell:
    """A while: from ``since_s`` until just before ``until_s``, seconds since the epoch; without end while it lasts."""

    since_s: float
    until_s: float = math.inf

    def at(self, moment_s: float) -> bool:
        """Whether it is under way at that moment."""
        return self.since_s <= moment_s < self.until_s

    def length_s(self, moment_s: float) -> float:
        """How much of it has passed by that moment."""
        return max(min(moment_s, self.until_s) - self.since_s, 0.0)


@dataclass(slots=True, kw_only=True)
class Wear(Spell):
    """A disk that loses sectors: ``per_hour`` of them."""

    path: str
    per_hour: float


@dataclass(slots=True, kw_only=True)
class Flap(Spell):
    """A network card that loses its link for the last part (``down_fraction``) of each period."""

    iface: str
    period_s: float
    down_fraction: float = 0.4

    def link_at(self, moment_s: float) -> bool:
        """Whether the link is up at that moment."""
        if not self.at(moment_s):
            return True
        return (moment_s - self.since_s) % self.period_s < self.period_s * (1 - self.down_fraction)

    def changes(self, moment_s: float) -> int:
        """How often the link went up or down by that moment."""
        whole, rest = divmod(self.length_s(moment_s), self.period_s)
        ended_down = self.until_s <= moment_s and rest >= self.period_s * (1 - self.down_fraction)
        return 2 * int(whole) + (1 if rest >= self.period_s * (1 - self.down_fraction) else 0) + int(ended_down)


@dataclass(slots=True, kw_only=True)
class Quiet(Spell):
    """A program that does not run, and so writes no lines."""

    tag: str


@dataclass(slots=True, kw_only=True)
class BadBackup(Spell):
    """Backups of a guest (or, without ``vmid``, of all guests onto ``storage``, of all nodes or of one) that go wrong.

    ``text`` is what is said about the guest, ``bare`` what the whole task ends with instead of ``job errors``, and with ``warnings`` above 0
    the backup is made after all, with that many warnings.
    """

    vmid: int = 0
    storage: str = ""
    node: str = ""
    text: str = ""
    bare: str = ""
    warnings: int = 0

    def concerns(self, vmid: int, storage: str, node: str, moment_s: float) -> bool:
        """Whether a backup of that guest (0: before any guest) onto that storage by that node at that moment goes wrong."""
        return self.at(moment_s) and self.vmid in (0, vmid) and self.storage in ("", storage) and self.node in ("", node)


@dataclass(slots=True, kw_only=True)
class Dying(Spell):
    """Tasks of a node that die ``after_s`` seconds after their start, all of them or one ``kind``, ``left`` times."""

    node: str
    kind: str = ""
    after_s: float = 1.0
    left: int = 1_000_000

    def concerns(self, node: str, kind: str, moment_s: float) -> bool:
        """Whether a task of that kind that starts on that node now will die."""
        return self.left > 0 and self.at(moment_s) and self.node == node and self.kind in ("", kind)


@dataclass(slots=True, kw_only=True)
class Lagging(Spell):
    """A replication job that cannot keep up: each run takes ``slower`` times as long as it should, and every other one fails."""

    job: str
    slower: float


@dataclass(slots=True, kw_only=True)
class Noise(Spell):
    """A guest takes what others on its node want: they lose that fraction of their CPU, network and disks.

    ``storages`` are those that it keeps busy: who has disks on them waits. ``local`` says whether disks of the node are among them.
    """

    vmid: int
    node: str
    storages: frozenset[str]
    local: bool
    lost_fraction: float


StallKind = Literal["io-error", "read-only", "stuck"]
"""Stopped by its hypervisor because a write failed; with file systems that take no writes any more; waiting for an answer."""


class Stall(NamedTuple):
    """Why a guest does nothing, and when its system came up: a restart ends it."""

    kind: StallKind
    booted_s: float


@dataclass(slots=True)
class Ills:
    """What is wrong with the cluster as a whole. Spells stay when they are over: the past has been as it was."""

    noises: list[Noise] = field(default_factory=list)
    stalls: dict[int, Stall] = field(default_factory=dict)
    """Guests that run and do nothing, by id."""
    backups: list[BadBackup] = field(default_factory=list)
    dying: list[Dying] = field(default_factory=list)
    lagging: list[Lagging] = field(default_factory=list)

    def stall_of(self, guest: Guest) -> StallKind | None:
        """Why a running guest does nothing; nothing where it does something."""
        found = self.stalls.get(guest.vmid)
        return found.kind if found is not None and guest.running and guest.booted_s == found.booted_s else None

    def noise_on(self, node: str) -> list[Noise]:
        """The guests that were or are noisy on a node."""
        return [one for one in self.noises if one.node == node]

    def bad_backup(self, vmid: int, storage: str, node: str, moment_s: float) -> BadBackup | None:
        """What goes wrong with a backup of that guest onto that storage by that node at that moment."""
        return next((one for one in self.backups if one.concerns(vmid, storage, node, moment_s)), None)

    def bare_error(self, storage: str, node: str, moment_s: float) -> str:
        """What a backup onto that storage ends with before it comes to any guest; empty when it begins as it should."""
        return next((one.bare for one in self.backups if one.bare and one.concerns(0, storage, node, moment_s)), "")

    def dying_task(self, node: str, kind: str, moment_s: float) -> Dying | None:
        """Why a task that starts there and then will die."""
        return next((one for one in self.dying if one.concerns(node, kind, moment_s)), None)
