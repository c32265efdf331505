"""The inventory: what clusters held and when. Only changes are written; one file of the home, or PostgreSQL by URL."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Row, and_, bindparam, delete, insert, or_, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from pveops.base.errors import ConfigError
from pveops.model.inventory import OF_GUESTS, STILL_MS, Event, Kind, Look, Seen, Version
from pveops.model.resources import Gap
from pveops.store.engine import postgres_engine, sqlite_engine
from pveops.store.inventory_schema import upgrade
from pveops.store.inventory_tables import CLUSTERS, DUE, LOOKS, TASKS, VERSIONS

Thing = tuple[Kind, str]
_MANY = 500
"""Values of one statement: SQLite takes no more than 32,766."""
_END = (
    update(VERSIONS)
    .where(
        VERSIONS.c.cluster == bindparam("c"),
        VERSIONS.c.key == bindparam("n"),
        VERSIONS.c.kind == bindparam("k"),
        VERSIONS.c.to_ms == STILL_MS,
    )
    .values(to_ms=bindparam("at"))
)


def open_inventory(path: Path, url: str = "") -> Inventory:
    """The inventory in a SQLite file, or with a ``url`` in PostgreSQL.

    Raises:
        ConfigError: it cannot be opened, or a newer pveops wrote it.
    """
    if url:
        engine, name = postgres_engine(url, ())
    else:
        # after a power cut the last seconds may be missing, never half there: the next look sees them again
        engine, name = sqlite_engine(path, synchronous="NORMAL"), str(path)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(7318008001)"))  # two that start at once
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            upgrade(connection)
    except ConfigError:
        engine.dispose()
        raise
    except DBAPIError as err:
        engine.dispose()
        hint = (
            "Is PostgreSQL up there, and may this user make tables?"
            if url
            else "It can be moved away: a new one is filled by the next look."
        )
        raise ConfigError(f"The inventory {name} cannot be opened: {err.orig}.", hint=hint) from err
    return Inventory(engine, name)


class Inventory:
    """Versions of things by cluster. Safe to share between threads; several processes may write.

    Args:
        engine: an open database with the tables in it.
        name: the file, or the URL without its password.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self.name = name
        self._lock = threading.Lock()
        self._ids: dict[str, int] = {}
        self._known: dict[str, tuple[int, dict[Kind, dict[str, str]]]] = {}

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def clusters(self) -> tuple[str, ...]:
        """Clusters that were ever looked at."""
        with self._engine.connect() as connection:
            return tuple(connection.scalars(select(CLUSTERS.c.name).order_by(CLUSTERS.c.name)))

    def last_ms(self, cluster: str) -> int:
        """The time of the last look, Unix milliseconds; 0 for none."""
        looks = self.looks((cluster,), limit=1)
        return looks[0].last_ms if looks else 0

    def digests(self, cluster: str, kind: Kind) -> dict[str, str]:
        """The digest of every thing of a kind that is there now, by key."""
        ident = self._id(cluster)
        with self._lock, self._engine.connect() as connection:
            found = self._now(connection, cluster, ident, self._generation(connection, ident))
            return dict(found.get(kind, {}))

    def write(
        self,
        cluster: str,
        at_ms: int,
        seen: Iterable[Seen],
        *,
        gone: Iterable[Thing] = (),
        after_ms: int | Mapping[Thing, int] = 0,
        events: Sequence[Event] = (),
    ) -> dict[Kind, int]:
        """Keep what differs from what is known, with the tasks of the time; how many things of each kind changed.

        Args:
            cluster: its name.
            at_ms: when it was seen, Unix milliseconds; never before the last write.
            seen: things as they are now.
            gone: things that are not there any more; with a guest go its details.
            after_ms: when they were looked at before, for all or by thing.
            events: tasks, new or further on.
        """
        seen, gone = list(seen), list(gone)
        with self._lock, self._engine.connect() as connection:
            known = self._known.get(cluster)
            if not events and known is not None and known[0] == self._generation(connection, self._ids[cluster]):
                counts, ended, made = _differences(known[1], seen, gone)
                if not ended and not made:
                    return counts  # the common case at rest: nothing is locked, nothing reaches the disk
        with self._lock:
            return self._write(cluster, at_ms, seen, gone, after_ms, events)

    def _write(
        self, cluster: str, at_ms: int, seen: list[Seen], gone: list[Thing], after_ms: int | Mapping[Thing, int], events: Sequence[Event]
    ) -> dict[Kind, int]:
        ident = self._id(cluster)
        with self._engine.begin() as connection:
            # taking the row's lock first keeps others out until we are through
            connection.execute(update(CLUSTERS).where(CLUSTERS.c.id == ident).values(generation=CLUSTERS.c.generation))
            generation, last_ms = connection.execute(select(CLUSTERS.c.generation, CLUSTERS.c.last_ms).where(CLUSTERS.c.id == ident)).one()
            at_ms = max(at_ms, last_ms)
            now = self._now(connection, cluster, ident, generation)
            counts, ended, made = _differences(now, seen, gone)
            if ended or made:
                if ended:
                    connection.execute(_END, [{"c": ident, "k": kind, "n": key, "at": at_ms} for kind, key in ended])
                if made:
                    rows = [
                        {"cluster": ident, "kind": one.kind, "key": one.key, "digest": one.digest, "body": one.body.decode(), "from_ms": at_ms, "to_ms": STILL_MS,
                         "after_ms": after_ms if isinstance(after_ms, int) else after_ms.get((one.kind, one.key), 0)}
                        for one in made
                    ]  # fmt: skip
                    connection.execute(insert(VERSIONS), rows)
            _keep_events(connection, ident, events, at_ms if after_ms else 0)
            if ended or made:
                connection.execute(update(CLUSTERS).where(CLUSTERS.c.id == ident).values(generation=generation + 1, last_ms=at_ms))
                del self._known[cluster]  # should the transaction fail, it is read again
        if ended or made:
            for kind, key in ended:
                del now[kind][key]
            for one in made:
                now.setdefault(one.kind, {})[one.key] = one.digest
            self._known[cluster] = (generation + 1, now)
        return counts

    def noticed(self, look: Look, *, due: Collection[Thing] = (), settled: Collection[Thing] = (), keep_ms: int = 0) -> None:
        """Write down that we looked: into the line of the last look where the gaps are the same and it is not older than ``keep_ms``.

        ``due`` are details that should have been read and were not, ``settled`` those that are not due any more.
        """
        gaps = orjson.dumps([[gap.what, gap.why, gap.needs] for gap in look.gaps]).decode()
        ident = self._id(look.cluster)
        with self._lock, self._engine.begin() as connection:
            last = connection.execute(select(LOOKS).where(LOOKS.c.cluster == ident).order_by(LOOKS.c.last_ms.desc()).limit(1)).first()
            if last is not None and last.gaps == gaps and look.first_ms - last.last_ms <= keep_ms:
                grown = {"last_ms": look.last_ms, "looks": last.looks + look.looks, "requests": last.requests + look.requests}
                connection.execute(update(LOOKS).where(LOOKS.c.id == last.id).values(**grown, changes=last.changes + look.changes))
            else:
                row = {"cluster": ident, "first_ms": look.first_ms, "last_ms": look.last_ms, "looks": look.looks, "requests": look.requests}
                connection.execute(insert(LOOKS).values(**row, changes=look.changes, gaps=gaps))
            known = {(row.kind, row.key) for row in connection.execute(select(DUE).where(DUE.c.cluster == ident))}
            for kind, key in known & (set(settled) - set(due)):
                connection.execute(delete(DUE).where(and_(DUE.c.cluster == ident, DUE.c.kind == kind, DUE.c.key == key)))
            new = [{"cluster": ident, "kind": kind, "key": key} for kind, key in set(due) - known]
            if new:
                connection.execute(insert(DUE), new)

    def due(self, cluster: str) -> set[Thing]:
        """Details that should have been read and were not."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(DUE.c.kind, DUE.c.key).join(CLUSTERS).where(CLUSTERS.c.name == cluster))
            return {(kind, key) for kind, key in rows}

    def at(self, clusters: Collection[str], kinds: Collection[Kind], at_ms: int = STILL_MS - 1) -> list[Version]:
        """What held at a time (Unix milliseconds), by default now; in the order of cluster, kind and key."""
        where = and_(VERSIONS.c.kind.in_(kinds), VERSIONS.c.to_ms > at_ms, VERSIONS.c.from_ms <= at_ms)
        return self._versions(clusters, where)

    def began(self, cluster: str, kind: Kind) -> dict[str, int]:
        """Since when (Unix milliseconds) each thing of a kind is as it is now, by key."""
        where = and_(CLUSTERS.c.name == cluster, VERSIONS.c.kind == kind, VERSIONS.c.to_ms == STILL_MS)
        with self._engine.connect() as connection:
            return {
                row.key: row.from_ms for row in connection.execute(select(VERSIONS.c.key, VERSIONS.c.from_ms).join(CLUSTERS).where(where))
            }

    def between(self, clusters: Collection[str], start_ms: int, end_ms: int, kinds: Collection[Kind]) -> list[Version]:
        """Versions that began or ended after ``start_ms`` and up to ``end_ms``, by time."""
        began = and_(VERSIONS.c.from_ms > start_ms, VERSIONS.c.from_ms <= end_ms)
        ended = and_(VERSIONS.c.to_ms > start_ms, VERSIONS.c.to_ms <= end_ms)
        found = self._versions(clusters, and_(VERSIONS.c.kind.in_(kinds), or_(began, ended)))
        return sorted(found, key=lambda version: version.from_ms)

    def of_thing(self, cluster: str, key: str, kinds: Collection[Kind]) -> list[Version]:
        """All versions of one thing, by time."""
        found = self._versions((cluster,), and_(VERSIONS.c.key == key, VERSIONS.c.kind.in_(kinds)))
        return sorted(found, key=lambda version: version.from_ms)

    def before(self, versions: Iterable[Version]) -> dict[tuple[str, Kind, str, int], Version]:
        """The versions that ended where these began, by cluster, kind, key and that time."""
        wanted = {(version.cluster, version.kind, version.key, version.from_ms) for version in versions if version.after_ms}
        found: dict[tuple[str, Kind, str, int], Version] = {}
        for some in _portions(sorted({one[3] for one in wanted})):
            for version in self._versions({one[0] for one in wanted}, VERSIONS.c.to_ms.in_(some)):
                place = (version.cluster, version.kind, version.key, version.to_ms)
                if place in wanted:
                    found[place] = version
        return found

    def events(self, clusters: Collection[str], start_ms: int, end_ms: int, *, guest: int | None = None) -> list[tuple[str, Event]]:
        """Tasks that looks of a span saw under way or newly ended, by start, each with its cluster."""
        open_ = or_(TASKS.c.closed_ms == 0, TASKS.c.closed_ms >= start_ms)
        where = [CLUSTERS.c.name.in_(clusters), TASKS.c.seen_ms <= end_ms, open_]
        if guest is not None:
            where.append(TASKS.c.guest == guest)
        query = select(CLUSTERS.c.name.label("of"), TASKS).join(CLUSTERS).where(*where).order_by(TASKS.c.started_ms)
        with self._engine.connect() as connection:
            return [(row.of, _event(row)) for row in connection.execute(query)]

    def ended(self, cluster: str, upids: Sequence[str]) -> dict[str, int]:
        """Of these tasks those that are known, with their end (Unix milliseconds, 0 while they run)."""
        with self._engine.connect() as connection:
            return {
                row.upid: row.ended_ms
                for some in _portions(upids)
                for row in connection.execute(
                    select(TASKS.c.upid, TASKS.c.ended_ms).join(CLUSTERS).where(CLUSTERS.c.name == cluster, TASKS.c.upid.in_(some))
                )
            }

    def looks(self, clusters: Collection[str], *, until_ms: int = STILL_MS, limit: int = 100) -> list[Look]:
        """Looks that began by a time, newest first."""
        query = (
            select(CLUSTERS.c.name.label("of"), LOOKS)
            .join(CLUSTERS)
            .where(CLUSTERS.c.name.in_(clusters), LOOKS.c.first_ms <= until_ms)
            .order_by(LOOKS.c.last_ms.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [_look(row) for row in connection.execute(query)]

    def forget(self, before_ms: int) -> int:
        """Drop versions that ended, tasks and looks of before a time; how many versions."""
        with self._lock, self._engine.begin() as connection:
            connection.execute(delete(TASKS).where(TASKS.c.ended_ms > 0, TASKS.c.ended_ms < before_ms))
            connection.execute(delete(LOOKS).where(LOOKS.c.last_ms < before_ms))
            return connection.execute(delete(VERSIONS).where(VERSIONS.c.to_ms < before_ms)).rowcount

    def _versions(self, clusters: Collection[str], where: Any) -> list[Version]:
        query = (
            select(CLUSTERS.c.name.label("of"), VERSIONS)
            .join(CLUSTERS)
            .where(CLUSTERS.c.name.in_(clusters), where)
            .order_by(CLUSTERS.c.name, VERSIONS.c.kind, VERSIONS.c.key, VERSIONS.c.from_ms)
        )
        with self._engine.connect() as connection:
            return [_version(row) for row in connection.execute(query)]

    def _id(self, cluster: str) -> int:
        if cluster not in self._ids:
            query = select(CLUSTERS.c.id).where(CLUSTERS.c.name == cluster)
            with self._engine.connect() as connection:
                found = connection.scalar(query)
            if found is None:
                # another process may be quicker: then its row is the one
                with contextlib.suppress(IntegrityError), self._engine.begin() as connection:
                    connection.execute(insert(CLUSTERS).values(name=cluster, generation=0, last_ms=0))
                with self._engine.connect() as connection:
                    found = connection.scalar(query)
            self._ids[cluster] = int(found or 0)
        return self._ids[cluster]

    @staticmethod
    def _generation(connection: Connection, ident: int) -> int:
        return int(connection.scalar(select(CLUSTERS.c.generation).where(CLUSTERS.c.id == ident)) or 0)

    def _now(self, connection: Connection, cluster: str, ident: int, generation: int) -> dict[Kind, dict[str, str]]:
        """Digests of what is there now, remembered until another process writes."""
        known = self._known.get(cluster)
        if known is None or known[0] != generation:
            found: dict[Kind, dict[str, str]] = {}
            query = select(VERSIONS.c.kind, VERSIONS.c.key, VERSIONS.c.digest)
            for row in connection.execute(query.where(VERSIONS.c.cluster == ident, VERSIONS.c.to_ms == STILL_MS)):
                found.setdefault(row.kind, {})[row.key] = row.digest
            known = self._known[cluster] = (generation, found)
        return known[1]


def _differences(
    known: Mapping[Kind, Mapping[str, str]], seen: Iterable[Seen], gone: Iterable[Thing]
) -> tuple[dict[Kind, int], list[Thing], list[Seen]]:
    """How many things changed by kind, things whose version ends, things with a new one."""
    counts: dict[Kind, int] = {}
    ended: dict[Thing, None] = {}
    made: dict[Thing, Seen] = {}
    for one in seen:
        digest = known.get(one.kind, {}).get(one.key)
        if digest == one.digest:
            continue
        thing = (one.kind, one.key)
        counts[one.kind] = counts.get(one.kind, 0) + (thing not in made)
        if digest is not None:
            ended[thing] = None
        made[thing] = one
    for kind, key in gone:
        kinds: Collection[Kind] = tuple(OF_GUESTS) if kind == "guest" else (kind,)
        for of in kinds:
            if key in known.get(of, {}) and (of, key) not in ended:
                ended[of, key] = None
                counts[kind] = counts.get(kind, 0) + (of == kind)
    return counts, list(ended), list(made.values())


def _keep_events(connection: Connection, ident: int, events: Sequence[Event], at_ms: int) -> None:
    """``at_ms`` is the look that saw them; 0 for the first look, which sees the past: then the node's clock is all there is."""
    for some in _portions(events):
        upids = [event.upid for event in some]
        query = select(TASKS.c.upid, TASKS.c.ended_ms).where(TASKS.c.cluster == ident, TASKS.c.upid.in_(upids))
        known = {row.upid: row.ended_ms for row in connection.execute(query)}
        new = {event.upid: {"cluster": ident, **_columns(event, at_ms)} for event in some if event.upid not in known}
        if new:
            connection.execute(insert(TASKS), list(new.values()))
        for event in some:
            if event.ended_ms and known.get(event.upid) == 0:
                mine = and_(TASKS.c.cluster == ident, TASKS.c.upid == event.upid)
                connection.execute(
                    update(TASKS).where(mine).values(ended_ms=event.ended_ms, status=event.status, closed_ms=at_ms or event.ended_ms)
                )


def _portions(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _MANY] for start in range(0, len(items), _MANY)]


def _columns(event: Event, at_ms: int) -> dict[str, Any]:
    closed_ms = (at_ms or event.ended_ms) if event.ended_ms else 0
    return {name: getattr(event, name) for name in Event.__slots__} | {"seen_ms": at_ms or event.started_ms, "closed_ms": closed_ms}


def _event(row: Row[Any]) -> Event:
    return Event(**{name: getattr(row, name) for name in Event.__slots__})


def _version(row: Row[Any]) -> Version:
    return Version(
        cluster=row.of, kind=row.kind, key=row.key, digest=row.digest, body=orjson.loads(row.body), after_ms=row.after_ms, from_ms=row.from_ms, to_ms=row.to_ms
    )  # fmt: skip


def _look(row: Row[Any]) -> Look:
    gaps = tuple(Gap(what=what, why=why, needs=needs) for what, why, needs in orjson.loads(row.gaps))
    return Look(
        cluster=row.of, first_ms=row.first_ms, last_ms=row.last_ms, looks=row.looks, requests=row.requests, changes=row.changes, gaps=gaps
    )
