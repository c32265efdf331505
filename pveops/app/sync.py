"""One look at a cluster for the inventory: the lists first, then the details that are missing, changed, due, or whose turn it is."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from zlib import crc32

from pveops.base.clock import Clock, from_epoch_s
from pveops.base.errors import ApiError, Forbidden, NotFound, PveopsError
from pveops.base.retry import backoff_s
from pveops.clients.cluster import census
from pveops.clients.cluster.crowd import Ask, Crowd, Got
from pveops.clients.cluster.pace import Budget
from pveops.clients.cluster.read import Reader
from pveops.model.inventory import Counted, Detail, Event, Kind, Look, Report, Seen
from pveops.model.resources import Gap, Guest, Node, Storage
from pveops.store.inventory import Inventory, Thing

T = TypeVar("T")
TURN_S: Mapping[Detail, int] = {"config": 900, "snapshots": 900, "addresses": 900, "backups": 900, "disks": 21_600}
"""Every detail is read again after this many seconds, whatever the signs say: a change by PUT leaves no task behind."""

_FEED_ROWS = 25
"""The cluster's list holds so many tasks per node; where all of them are new, the node is asked for the rest."""
_FLUSH_MS = 60_000
_DAY_MS = 86_400_000
_TRIES = 4
_LOOKS = 2000
"""More are not written down in the longest turn."""
_GUEST_KINDS: tuple[Detail, ...] = ("config", "snapshots", "addresses")


@dataclass(slots=True)
class _Held:
    """What the lists said, and what follows from it."""

    nodes: Sequence[Node]
    guests: Sequence[Guest]
    storages: Sequence[Storage]
    source: str
    changed: set[str] = field(default_factory=set)
    """Guests with a new task or a new state."""
    saved: set[str] = field(default_factory=set)
    """Nodes with a new backup task."""
    gaps: list[Gap] = field(default_factory=list)
    counts: list[Counted] = field(default_factory=list)


class Sync:
    """Looks at one cluster again and again. Not for two threads at once.

    Args:
        name: the cluster's name in the inventory.
        reader: asks for lists.
        crowd: asks for details.
        store: keeps them.
        clock: for stamps and waits.
        keep_days: what ended longer ago is forgotten, once a day.
    """

    def __init__(self, name: str, reader: Reader, crowd: Crowd, store: Inventory, clock: Clock, *, keep_days: int = 400) -> None:
        self._name = name
        self._reader = reader
        self._crowd = crowd
        self._store = store
        self._clock = clock
        self._last_ms = store.last_ms(name)
        self._flushed_ms = 0
        self._keep_ms = keep_days * _DAY_MS
        self._forgot_ms = 0
        self._unsaid = (0, 0, 0)
        self._events: dict[str, int] = {}
        self._looked: dict[Thing, int] = {}
        self._turns: dict[Kind, tuple[int, int]] = {}
        self._began: dict[Kind, dict[str, int]] = {}
        self._had: dict[str, set[str]] = {}
        self._refused: dict[Thing, Gap] = {}
        self._said: tuple[tuple[Gap, ...], set[Thing]] = ((), set())

    def look(self, details: Sequence[Detail], *, full: bool = False, deadline_s: float = 300.0, budget: Budget | None = None) -> Report:
        """Look once.

        Args:
            details: which details are kept.
            full: read them all, not only those with a reason.
            deadline_s: what is not read by then is read first the next time.
            budget: requests per node; none goes as fast as the nodes answer.

        Raises:
            TransportError, ApiError: the lists cannot be had; the inventory stays as it was, and knows that it was blind.
        """
        began_s, cpu = self._clock.monotonic_s(), time.process_time()
        at_ms = int(self._clock.now().timestamp() * 1000)
        sent = self._reader.wire.sent + self._crowd.sent
        per_node = self._crowd.per_node.copy()
        try:
            held = self._lists(at_ms, began_s + deadline_s)
        except PveopsError as err:
            self._notice(
                at_ms, [Gap(what="everything", why=err.message)], 0, self._reader.wire.sent + self._crowd.sent - sent, set(), set()
            )
            raise
        due, settled, changes = self._details(held, details, at_ms, began_s + deadline_s, full=full, budget=budget)
        changes += sum(count.changed for count in held.counts[:3])
        requests = self._reader.wire.sent + self._crowd.sent - sent
        gaps = _together(held.gaps)
        self._notice(at_ms, gaps, changes, requests, due, settled)
        self._last_ms = at_ms
        if at_ms - self._forgot_ms > _DAY_MS:
            self._store.forget(at_ms - self._keep_ms)
            self._forgot_ms = at_ms
        return Report(
            cluster=self._name, at_ms=at_ms, duration_s=self._clock.monotonic_s() - began_s, requests=requests, source=held.source, counts=held.counts,
            gaps=tuple(gaps), per_node=dict(self._crowd.per_node - per_node), cpu_s=time.process_time() - cpu,
        )  # fmt: skip

    def flush(self) -> None:
        """Write down looks that found nothing new and are only remembered so far."""
        looks, requests, first_ms = self._unsaid
        if looks:
            gaps = self._said[0]
            self._store.noticed(
                Look(cluster=self._name, first_ms=first_ms, last_ms=self._last_ms, looks=looks, requests=requests, changes=0, gaps=gaps),
                keep_ms=2 * max(_FLUSH_MS, self._last_ms - first_ms),
            )
            self._unsaid = (0, 0, 0)

    # -- lists ----------------------------------------------------------------------------------------------------------

    def _lists(self, at_ms: int, until_s: float) -> _Held:
        if any(gap.needs for gap in self._said[0]):
            with contextlib.suppress(PveopsError):  # then the lists tell what is wrong
                self._reader.privileges(again=True)
        nodes, guests, storages = self._patiently(self._reader.resources, until_s)
        held = _Held(nodes.rows, guests.rows, storages.rows, guests.source)
        held.gaps += [*nodes.gaps, *guests.gaps, *storages.gaps]
        seen = census.states(nodes.rows, guests.rows, storages.rows)
        unsure = census.unsure(seen)
        if unsure:
            last = {(one.kind, one.key): one.body for one in self._store.at((self._name,), ("guest", "node", "storage"))}
            seen = [
                census.filled(one, last[one.kind, one.key]) if (one.kind, one.key) in unsure and (one.kind, one.key) in last else one
                for one in seen
            ]
        fresh = self._feed(held, until_s)
        gone = self._gone(held, seen, fresh)
        known = self._store.digests(self._name, "guest")
        held.changed |= {one.key for one in seen if one.kind == "guest" and known.get(one.key) != one.digest}
        counts = self._store.write(self._name, at_ms, seen, gone=gone, after_ms=self._last_ms, events=fresh)
        self._events.update((event.upid, event.ended_ms) for event in fresh)
        for kind, rows in (("guest", held.guests), ("node", held.nodes), ("storage", held.storages)):
            held.counts.append(Counted(what=f"{kind}s", known=len(rows), read=len(rows), changed=counts.get(kind, 0)))  # type: ignore[call-overload]
        held.counts.append(Counted(what="tasks", known=len(self._events), read=len(self._events), changed=len(fresh)))
        return held

    def _patiently(self, read: Callable[[], T], until_s: float) -> T:
        """Read a list; a passing failure is tried again, ever more slowly, while there is time."""
        waits = backoff_s(first_s=0.5, most_s=5.0)
        for _ in range(_TRIES):
            try:
                return read()
            except PveopsError as err:
                wait_s = next(waits)
                if not err.temporary or self._clock.monotonic_s() + wait_s > until_s:
                    raise
                self._clock.sleep_s(wait_s)
        return read()

    def _feed(self, held: _Held, until_s: float) -> list[Event]:
        """Tasks that are new, or went on, since the last look; what they worked on counts as changed."""
        try:
            answer = self._patiently(lambda: self._reader.recent_tasks(limit=1_000_000), until_s)
        except PveopsError as err:
            held.gaps.append(Gap(what="tasks", why=err.message))
            return []
        held.gaps += answer.gaps
        listed = census.events(answer.rows)
        if self._last_ms:
            listed += self._crowded_out(held, listed)
        if not self._events:
            self._events = self._store.ended(self._name, [event.upid for event in listed])
        fresh = [event for event in listed if self._events.get(event.upid, -1) != event.ended_ms]
        if len(self._events) > 100_000:
            self._events = {event.upid: event.ended_ms for event in listed}
        held.changed |= {str(event.guest) for event in fresh if event.guest}
        held.saved |= {event.node for event in fresh if event.type in ("vzdump", "imgdel", "prunebackups", "qmrestore", "vzrestore")}
        return fresh

    def _crowded_out(self, held: _Held, listed: Sequence[Event]) -> list[Event]:
        """Tasks of nodes that began so many since the last look that the cluster's list cannot hold them."""
        oldest: dict[str, int] = {}
        rows = Counter(event.node for event in listed)
        for event in listed:
            oldest[event.node] = min(oldest.get(event.node, event.started_ms), event.started_ms)
        since = from_epoch_s(self._last_ms // 1000 - 60)
        names = [name for name, count in rows.items() if count >= _FEED_ROWS and oldest[name] > self._last_ms]
        found: list[Event] = []
        if names:
            try:
                answer = self._reader.tasks_of(names, since=since, limit=10_000)
            except PveopsError as err:
                held.gaps.append(Gap(what="older tasks", why=err.message))
                return []
            held.gaps += answer.gaps
            found = census.events(answer.rows)
        return found

    def _gone(self, held: _Held, seen: Sequence[Seen], fresh: Sequence[Event]) -> list[Thing]:
        """What was there and is not listed any more. Where the token may not see everything, only what a task destroyed counts as gone."""
        here = {(one.kind, one.key) for one in seen}
        kinds: tuple[Kind, ...] = ("guest", "node", "storage")
        missing = [(kind, key) for kind in kinds for key in self._store.digests(self._name, kind) if (kind, key) not in here]
        if not missing:
            return []
        try:
            rights = self._reader.privileges(again=True)
            sees = {"guest": rights.has("VM.Audit", "/vms"), "storage": rights.has("Datastore.Audit", "/storage"), "node": True}
        except ApiError:
            sees = {"guest": False, "storage": False, "node": False}
        destroyed = {str(event.guest) for event in fresh if event.type in ("qmdestroy", "vzdestroy") and event.status == "OK"}
        gone = [(kind, key) for kind, key in missing if sees[kind] or (kind == "guest" and key in destroyed)]
        hidden = Counter(kind for kind, key in missing if (kind, key) not in set(gone))
        needs = {"guest": "VM.Audit on /vms", "storage": "Datastore.Audit on /storage"}
        held.gaps += [
            Gap(
                what=f"{number} {kind}s that were there before",
                why="they are gone, or hidden from the token",
                needs=needs.get(kind, ""),
            )
            for kind, number in hidden.items()
        ]
        return gone

    # -- details --------------------------------------------------------------------------------------------------------

    def _details(
        self, held: _Held, details: Sequence[Detail], at_ms: int, until_s: float, *, full: bool, budget: Budget | None
    ) -> tuple[set[Thing], set[Thing], int]:
        """Read what has a reason; what stays due, what is settled, how many changed."""
        before = self._store.due(self._name)
        asks: list[Ask] = []
        later: Counter[tuple[str, str]] = Counter()
        due: set[Thing] = set()
        total: dict[Detail, int] = {}
        settled = {thing for thing in before if thing[0] in details}
        for detail in details:
            units = census.units(detail, held.nodes, held.guests, held.storages)
            total[detail] = len(units)
            self._away(held, detail, units)
            known = self._had[detail] = self._known(detail)
            wanted = units.keys() if full else self._wanted(detail, units, known, held, before, at_ms)
            free = budget is None or not known  # the first time everything is missing: that may go faster
            for key in sorted(wanted, key=lambda key: ((detail, key) not in before, key not in held.changed)):
                node, ask = units[key]
                if not free and budget is not None:
                    if budget.left(node, self._clock.monotonic_s()) < 1:
                        due.add((detail, key))
                        later[detail, node] += 1
                        continue
                    budget.spend(node, 1, self._clock.monotonic_s())
                asks.append(ask)
            held.gaps += [gap for (kind, key), gap in self._refused.items() if kind == detail and key in units and key not in wanted]
        if budget is not None:
            for detail in details:
                nodes = [node for kind, node in later if kind == detail]
                number = sum(count for (kind, _), count in later.items() if kind == detail)
                where = nodes[0] if len(nodes) == 1 else f"{len(nodes)} nodes"
                if nodes:
                    why = f"left for the next look: {budget.per_min} requests a minute and node"
                    held.gaps.append(Gap(what=f"{number} {detail} on {where}", why=why))
        counts, failed = self._read(held, asks, at_ms, max(1.0, until_s - self._clock.monotonic_s()))
        due |= failed
        wanted_of = Counter(ask.key[0] for ask in asks)
        missed = Counter(kind for kind, _ in due)
        for detail in details:
            read = wanted_of[detail] - sum(kind == detail for kind, _ in failed)
            held.counts.append(
                Counted(what=detail, known=total[detail], read=read, changed=counts.get(detail, 0), missed=missed.get(detail, 0))
            )
        return due, settled, sum(counts.values())

    def _known(self, detail: Detail) -> set[str]:
        """Keys of units that were read before."""
        found = self._store.digests(self._name, detail)
        units = {key.partition("|")[0] for key in found} if detail == "backups" else set(found)
        return units | {key for kind, key in self._looked if kind == detail}

    def _wanted(
        self, detail: Detail, units: Collection[str], known: Collection[str], held: _Held, before: Collection[Thing], at_ms: int
    ) -> set[str]:
        """Keys of what has a reason to be read."""
        wanted = {key for key in units if key not in known or (detail, key) in before or self._turn(detail, key, at_ms)}
        wanted -= {key for key in wanted if (detail, key) in self._refused and not self._turn(detail, key, at_ms)}
        if detail in _GUEST_KINDS:
            wanted |= held.changed & set(units)
        elif detail == "backups" and held.saved:
            wanted |= {key for key in units if "/" not in key or key.partition("/")[0] in held.saved}
        return wanted

    def _turn(self, detail: Detail, key: str, at_ms: int) -> bool:
        """Whether its turn came between the last look and this one. Turns are spread evenly and need no memory."""
        period_ms = TURN_S[detail] * 1000
        shift = crc32(f"{detail}/{key}".encode()) % period_ms
        return (at_ms - shift) // period_ms > (self._last_ms - shift) // period_ms

    def _away(self, held: _Held, detail: Detail, units: Collection[str]) -> None:
        """Name what cannot be asked for because its node is away."""
        offline = {node.name for node in held.nodes if node.status == "offline"}
        if detail in ("config", "snapshots"):
            lost = Counter(guest.node for guest in held.guests if guest.node in offline)
            held.gaps += [Gap(what=f"{detail} of {number} guests on {name}", why="the node is offline") for name, number in lost.items()]
        elif detail == "disks":
            held.gaps += [Gap(what=f"disks of {name}", why="the node is offline") for name in sorted(offline)]
        elif detail == "backups":
            keeping = {row.name if row.shared else f"{row.node}/{row.name}" for row in held.storages if "backup" in row.content}
            held.gaps += [Gap(what=f"backups in {key}", why="the storage is not available") for key in sorted(keeping - set(units))]

    def _read(self, held: _Held, asks: Sequence[Ask], at_ms: int, within_s: float) -> tuple[dict[Kind, int], set[Thing]]:
        counts: Counter[Kind] = Counter()
        failed: set[Thing] = set()
        for batch in self._crowd.each(asks, deadline_s=within_s):
            seen: list[Seen] = []
            gone: list[Thing] = []
            for got in batch:
                thing: Thing = got.ask.key
                things = self._taken(held, got, failed)
                if things is None:
                    continue
                seen += things
                if thing[0] == "backups":
                    here = {one.key for one in things}
                    mine = f"{thing[1]}|"
                    gone += [
                        ("backups", key) for key in self._store.digests(self._name, "backups") if key.startswith(mine) and key not in here
                    ]
            after = {(one.kind, one.key): self._after(one, at_ms) for one in seen}
            counts.update(self._store.write(self._name, at_ms, seen, gone=gone, after_ms=after))
            self._looked.update({got.ask.key: at_ms for got in batch if got.error is None})
        return dict(counts), failed

    def _taken(self, held: _Held, got: Got, failed: set[Thing]) -> list[Seen] | None:
        """What an answer says; none where it is no answer, which is noted."""
        detail, key = got.ask.key
        self._refused.pop((detail, key), None)
        if got.error is None:
            return census.detail_seen(detail, key, got.data)
        if detail == "addresses" and isinstance(got.error, ApiError) and "agent" in got.error.message.lower() and got.error.status == 500:
            return [census.no_addresses(key, "the guest agent does not answer")]
        if isinstance(got.error, Forbidden):
            gap = Gap(what=f"{detail} on {got.ask.lane}", why="the token may not see it", needs=got.error.hint)
            self._refused[detail, key] = gap
            held.gaps.append(gap)
            return None
        failed.add((detail, key))
        if not isinstance(got.error, NotFound):  # it moved or went away since the list was made: the next list tells
            why = got.error.message
            if isinstance(got.error, ApiError):
                why = f"Proxmox VE says {got.error.status} {got.error.details.get('reason', '')}".rstrip()
            held.gaps.append(Gap(what=f"{detail} on {got.ask.lane}", why=why))
        return None

    def _after(self, one: Seen, at_ms: int) -> int:
        """When it was looked at before; 0 for never."""
        unit: Thing = (one.kind, one.key.partition("|")[0]) if one.kind == "backups" else (one.kind, one.key)
        found = self._looked.get(unit)
        if found is not None:
            return found
        if not self._last_ms or unit[1] not in self._had[one.kind]:
            return 0
        return max(self._turn_began(one.kind), self._began[one.kind].get(one.key, 0))

    def _turn_began(self, kind: Kind) -> int:
        """The first look of the last turn: what another process read was read in one of those. Also notes since when each thing holds."""
        known = self._turns.get(kind)
        if known is None or known[0] != self._last_ms:
            self._began[kind] = self._store.began(self._name, kind)
            since_ms = self._last_ms - TURN_S[kind] * 1000  # type: ignore[index] # only details have turns
            looks = self._store.looks((self._name,), limit=_LOOKS)
            firsts = [look.first_ms for look in looks if look.last_ms >= since_ms and all(gap.what != "everything" for gap in look.gaps)]
            known = self._turns[kind] = (self._last_ms, min(firsts, default=self._last_ms))
        return known[1]

    def _notice(self, at_ms: int, gaps: Sequence[Gap], changes: int, requests: int, due: set[Thing], settled: set[Thing]) -> None:
        """Write down that we looked; at rest only once a minute."""
        looks, unsaid, first_ms = self._unsaid
        same = tuple(gaps) == self._said[0] and due == self._said[1]
        if same and not changes and at_ms - self._flushed_ms < _FLUSH_MS:
            self._unsaid = (looks + 1, unsaid + requests, first_ms or at_ms)
            return
        if not same:
            self.flush()
            looks, unsaid, first_ms = self._unsaid
        look = Look(
            cluster=self._name, first_ms=first_ms or at_ms, last_ms=at_ms, looks=looks + 1, requests=unsaid + requests, changes=changes, gaps=tuple(gaps)
        )  # fmt: skip
        self._store.noticed(look, due=due, settled=settled, keep_ms=10 * _FLUSH_MS)
        self._said, self._unsaid, self._flushed_ms = (tuple(gaps), due), (0, 0, 0), at_ms


def _together(gaps: Iterable[Gap]) -> list[Gap]:
    """Equal gaps once, with how often."""
    counts = Counter(gaps)
    return [
        gap if number == 1 else Gap(what=f"{gap.what} ({number} times)", why=gap.why, needs=gap.needs) for gap, number in counts.items()
    ]
