"""One suite over both stores: SQLite, and a real PostgreSQL where one is installed."""

import itertools
import threading
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from pveops.base.errors import ConfigError
from pveops.model.inventory import STILL_MS, Event, Look, Seen
from pveops.model.resources import Gap
from pveops.store.engine import postgres_engine, sqlite_engine
from pveops.store.inventory import open_inventory
from pveops.store.inventory_tables import HEAD, METADATA
from pveops.testing.postgres import Postgres, find_postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
START = Event(upid="UPID:1", node="pve1", type="qmstart", guest=101, user="anna@pve", started_ms=1500)


@pytest.fixture(scope="module")
def postgres():
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    with Postgres() as server:
        yield server.database()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path):
    """A path and a URL, as ``open_inventory`` takes them; empty."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else ""
    if url:
        engine, _ = postgres_engine(url, ())
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    return tmp_path / "i.db", url


@pytest.fixture
def store(where):
    made = open_inventory(*where)
    yield made
    made.close()


def seen(key, digest, kind="guest", **body):
    return Seen(kind=kind, key=key, digest=digest, body=b'{"name":"%s"}' % digest.encode())


def held(store, at_ms, kind="guest", clusters=("one",)):
    return {(version.cluster, version.key): version.digest for version in store.at(clusters, (kind,), at_ms)}


def test_only_changes_are_written_and_every_time_is_answered_as_it_was(store):
    assert store.write("one", 1000, [seen("101", "a"), seen("102", "a")]) == {"guest": 2}
    assert store.write("one", 2000, [seen("101", "a"), seen("102", "b")], after_ms=1000) == {"guest": 1}
    assert store.write("one", 3000, [seen("101", "a")], gone=[("guest", "102")]) == {"guest": 1}
    assert [held(store, at) for at in (999, 1000, 1999, 2000, 2999, 3000)] == [
        {},
        {("one", "101"): "a", ("one", "102"): "a"},
        {("one", "101"): "a", ("one", "102"): "a"},
        {("one", "101"): "a", ("one", "102"): "b"},
        {("one", "101"): "a", ("one", "102"): "b"},
        {("one", "101"): "a"},
    ]
    rows = store.of_thing("one", "102", ("guest",))
    assert [(row.digest, row.after_ms, row.from_ms, row.to_ms) for row in rows] == [("a", 0, 1000, 2000), ("b", 1000, 2000, 3000)]
    assert store.digests("one", "guest") == {"101": "a"}


def test_a_state_that_comes_back_is_a_version_of_its_own(store):
    for at_ms, digest in ((1000, "a"), (2000, "b"), (3000, "a")):
        store.write("one", at_ms, [seen("101", digest)])
    assert [row.digest for row in store.of_thing("one", "101", ("guest",))] == ["a", "b", "a"]


def test_details_end_with_their_guest_and_not_with_others(store):
    store.write("one", 1000, [seen(key, "a", kind) for key in ("101", "102") for kind in ("guest", "config", "snapshots")])
    store.write("one", 2000, [], gone=[("guest", "101")])
    assert held(store, 2000, "config") == held(store, 2000, "snapshots") == {("one", "102"): "a"}


def test_clusters_share_ids_and_nothing_else(store):
    store.write("one", 1000, [seen("101", "a")])
    store.write("two", 1000, [seen("101", "b")])
    store.write("two", 2000, [], gone=[("guest", "101")])
    assert store.clusters() == ("one", "two")
    assert held(store, 2000, clusters=("one", "two")) == {("one", "101"): "a"}
    assert held(store, 1500, clusters=("one", "two")) == {("one", "101"): "a", ("two", "101"): "b"}


def test_a_clock_that_goes_back_writes_no_history_backwards(store):
    store.write("one", 5000, [seen("101", "a")])
    store.write("one", 1000, [seen("101", "b")])
    assert [(row.from_ms, row.to_ms) for row in store.of_thing("one", "101", ("guest",))] == [(5000, 5000), (5000, STILL_MS)]


def test_what_began_or_ended_in_a_span_comes_with_what_was_before(store):
    store.write("one", 1000, [seen("101", "a"), seen("102", "a"), seen("103", "a")])
    store.write("one", 2000, [seen("101", "b")], gone=[("guest", "103")], after_ms=1000)
    found = store.between(("one",), 1000, 2000, ("guest",))
    assert [(row.key, row.digest) for row in found] == [("101", "a"), ("103", "a"), ("101", "b")]
    assert [row.digest for row in store.before(found).values()] == ["a"]


def test_tasks_are_kept_once_and_their_end_is_added(store):
    store.write("one", 2000, [], events=[START], after_ms=1000)
    ended = replace(START, ended_ms=1700, status="OK")
    assert store.ended("one", ["UPID:1", "UPID:2"]) == {"UPID:1": 0}
    store.write("one", 3000, [], events=[ended, START], after_ms=2000)
    store.write("one", 4000, [], events=[START], after_ms=3000)
    assert store.events(("one",), 0, 9000) == [("one", replace(ended, seen_ms=2000, closed_ms=3000))]
    assert store.events(("one",), 3001, 9000) == store.events(("one",), 0, 1999) == store.events(("one",), 0, 9000, guest=102) == []


def test_tasks_of_before_the_first_look_keep_their_own_times(store):
    store.write("one", 90_000, [], events=[replace(START, ended_ms=1700, status="OK")])
    assert [(event.seen_ms, event.closed_ms) for _, event in store.events(("one",), 0, 90_000)] == [(1500, 1700)]


def test_looks_with_the_same_gaps_share_a_line_and_others_do_not(store):
    def look(at_ms, *gaps):
        store.noticed(Look(cluster="one", first_ms=at_ms, last_ms=at_ms, looks=1, requests=2, changes=0, gaps=gaps), keep_ms=1000)

    gap = Gap(what="config on pve2", why="the node is offline", needs="")
    for at_ms, gaps in ((1000, ()), (1500, ()), (2000, (gap,)), (2500, ()), (9000, ())):
        look(at_ms, *gaps)
    rows = [(row.first_ms, row.last_ms, row.looks, row.requests, row.gaps) for row in store.looks(("one",))]
    assert rows == [(9000, 9000, 1, 2, ()), (2500, 2500, 1, 2, ()), (2000, 2000, 1, 2, (gap,)), (1000, 1500, 2, 4, ())]
    assert store.last_ms("one") == 9000
    assert [row.last_ms for row in store.looks(("one",), until_ms=2100)] == [2000, 1500]


def test_what_is_due_stays_due_until_it_is_settled(store):
    look = Look(cluster="one", first_ms=1, last_ms=1, looks=1, requests=0, changes=0)
    store.noticed(look, due={("config", "101"), ("config", "102")})
    assert store.due("one") == {("config", "101"), ("config", "102")}
    store.noticed(look, settled={("config", "101"), ("config", "102")}, due={("config", "102")})
    assert store.due("one") == {("config", "102")}
    assert store.due("two") == set()


def test_what_another_process_wrote_is_seen(where, store):
    store.write("one", 1000, [seen("101", "a")])
    other = open_inventory(*where)
    other.write("one", 2000, [seen("101", "b")])
    assert store.write("one", 3000, [seen("101", "b")]) == {}
    assert store.write("one", 4000, [seen("101", "a")]) == {"guest": 1}
    assert other.digests("one", "guest") == {"101": "a"}
    other.close()


def test_two_writers_at_once_leave_one_state_at_a_time(where):
    stores = [open_inventory(*where) for _ in range(2)]

    def work(store, name):
        for number in range(20):
            store.write("one", 1000 + number, [seen("101", f"{name}{number}")])

    threads = [threading.Thread(target=work, args=(store, name)) for store, name in zip(stores, "ab", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = stores[0].of_thing("one", "101", ("guest",))
    assert len(rows) == 40
    assert [row.to_ms for row in rows].count(STILL_MS) == 1
    assert all(first.to_ms == second.from_ms for first, second in itertools.pairwise(rows))
    for store in stores:
        store.close()


def test_what_ended_long_ago_can_be_forgotten(store):
    store.write("one", 1000, [seen("101", "a"), seen("102", "a")])
    store.write("one", 2000, [seen("101", "b")])
    assert store.forget(2001) == 1
    assert [row.digest for row in store.of_thing("one", "101", ("guest",))] == ["b"]
    assert held(store, 2000) == {("one", "101"): "b", ("one", "102"): "a"}


def test_the_steps_make_the_tables_that_the_code_knows(where, store):
    path, url = where
    engine = postgres_engine(url, ())[0] if url else sqlite_engine(path, synchronous="NORMAL")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
    engine.dispose()


def test_a_store_of_a_newer_release_is_left_alone(where):
    path, url = where
    open_inventory(path, url).close()
    engine = postgres_engine(url, ())[0] if url else create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match="newer pveops"):
        open_inventory(path, url)
    with engine.connect() as connection:
        assert "inventory_versions" in inspect(connection).get_table_names()
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    engine.dispose()


def test_a_file_that_is_no_database_says_what_to_do(tmp_path):
    (tmp_path / "i.db").write_text("hello " * 1000)
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        open_inventory(tmp_path / "i.db")
    assert "moved away" in caught.value.hint
