"""One suite over both stores: SQLite, and a real PostgreSQL where one is installed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from pveops.base.errors import ConfigError, UnknownName, Used
from pveops.guard.events import RunEvent
from pveops.guard.peers import Peers
from pveops.model.messages import Said
from pveops.model.proposal import ProposalStatus
from pveops.model.run import RunStatus
from pveops.store.engine import for_psycopg, open_engine, open_postgres
from pveops.store.journal import SqlJournal
from pveops.testing import build
from pveops.testing.fake import StepClock
from pveops.testing.guarded import Guarded
from pveops.testing.postgres import Postgres, find_postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
OPENED = RunEvent(kind="opened", at=build.NOW, actor="anna")


@pytest.fixture(scope="module")
def postgres():
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    with Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request):
    return request.getfixturevalue("postgres").database() if request.param == "postgres" else ""


@pytest.fixture
def engine(url, tmp_path):
    made = open_postgres(url) if url else open_engine(tmp_path / "store.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def journal(engine):
    return SqlJournal(engine, RunEvent, clock=StepClock())


def opened(journal, run_id="r-000001", worker=""):
    made = build.proposal()
    journal.add_proposal(made)
    journal.open_run(
        replace(made, status=ProposalStatus.APPROVED, run_id=run_id), run_id, {"a": 1}, OPENED, Said("proposal.approved"), worker=worker
    )
    return made


def event(kind="checked", step="s1"):
    return RunEvent(kind=kind, at=build.NOW, step=step)


def test_every_commit_is_on_disk(engine, url):
    with engine.connect() as connection:
        if url:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
            assert connection.execute(text("SHOW fsync")).scalar() == "on"
        else:
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"


def test_a_proposal_is_kept_once_and_grows(journal):
    made = build.proposal()
    journal.add_proposal(made)
    with pytest.raises(Used):
        journal.add_proposal(made)
    assert journal.proposal(made.id) == made
    assert journal.save_proposal(replace(made, reason="ä")).version == 2
    assert journal.proposal(made.id).reason == "ä"
    assert ([one.id for one in journal.waiting()], journal.count_waiting()) == ([made.id], 1)
    with pytest.raises(UnknownName):
        journal.proposal("p-ffffff")
    with pytest.raises(UnknownName):
        journal.save_proposal(build.proposal())
    with pytest.raises(UnknownName):
        journal.approval("r-ffffff")


def test_an_approval_is_spent_once_by_a_hundred(journal):
    made = build.proposal()
    journal.add_proposal(made)

    def spend(number):
        try:
            journal.open_run(made, f"r-{number:06}", {}, OPENED, Said("x"))
        except Used:
            return 0
        return 1

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(spend, range(100))) == 1
    assert len(journal.open_runs()) == 1


def test_events_are_taken_in_order_and_only_from_who_has_seen_the_others(journal):
    made = opened(journal)
    before = journal.proposal(made.id).version
    assert journal.record("r-000001", made.id, (event(), event("intended")), seen=1, said=(Said("a"), Said("b"))) == []
    missed = journal.record("r-000001", made.id, (event("answered"),), seen=1)
    assert [one.kind for one in missed] == ["checked", "intended"]
    assert [one.kind for one in journal.history("r-000001")] == ["opened", "checked", "intended"]
    assert [one.kind for one in journal.history("r-000001", after=2)] == ["intended"]
    assert journal.proposal(made.id).version == before + 2 == journal.proposals(only_open=True, limit=9)[0].version
    assert [row["kind"] for row in journal.feed(after=0, limit=9)] == ["proposal.approved", "a", "b"]


def test_two_writers_never_interleave(journal, engine):
    made = opened(journal)
    other = SqlJournal(engine, RunEvent)

    def write(which):
        seen = done = 0
        while done < 20:
            missed = which.record("r-000001", made.id, (event("look", which.name),), seen=seen, said=(Said("x"),))
            seen += len(missed) or 1
            done += not missed

    journal.name, other.name = "one", "two"
    if engine.dialect.name == "sqlite":
        other._lock = journal._lock  # one process, one journal: that is the rule on SQLite
    threads = [threading.Thread(target=write, args=(which,)) for which in (journal, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(journal.history("r-000001")) == 41
    assert [row["seq"] for row in journal.feed(after=-5, limit=9)] == sorted(row["seq"] for row in journal.feed(after=-5, limit=9))


def test_a_run_has_one_holder(journal):
    made = opened(journal)
    assert journal.claim("r-000001", "w-1")
    assert not journal.claim("r-000001", "w-2")
    assert journal.holds("r-000001", "w-1")
    assert journal.record("r-000001", made.id, (event(),), seen=1, worker="w-1") == []
    with pytest.raises(Used, match="w-1 carries"):
        journal.record("r-000001", made.id, (event(),), seen=2, worker="w-2")
    assert journal.claim("r-000001", "w-2", dead={"w-1"})
    with pytest.raises(Used, match="w-2 carries"):
        journal.record("r-000001", made.id, (event(),), seen=2, worker="w-1")
    journal.release("r-000001", "w-1")
    assert journal.leases() == {"r-000001": "w-2"}
    journal.release("r-000001", "w-2")
    with pytest.raises(Used, match="Nobody carries"):
        journal.record("r-000001", made.id, (event(),), seen=2, worker="w-2")
    journal.close_run("r-000001", made.id, Said("run.ended"))
    assert not journal.is_open("r-000001")
    assert not journal.claim("r-000001", "w-2")


def test_a_beat_that_stands_still_is_a_death(journal):
    clock = StepClock()
    opened(journal, worker="w-b")
    ours, theirs = Peers(journal, "w-a", clock, alone=False, dead_after_s=5), Peers(journal, "w-b", clock, alone=False)
    theirs.beat("host")
    for _ in range(4):
        clock.tick(3)
        theirs.beat("host")
        assert ours.dead() == frozenset()
        assert ours.orphans() == []
    clock.tick(6)
    assert ours.dead() == {"w-b"}
    assert ours.orphans() == ["r-000001"]
    theirs.leave()
    assert journal.leases() == {}
    assert ours.orphans() == []
    clock.tick(6)
    assert ours.orphans() == ["r-000001"], "nobody took it in time"
    assert ours.orphans() == []
    assert journal.claim("r-000001", "w-c")
    assert Peers(journal, "w-a", clock, alone=True).dead() == {"w-c"}


def test_a_whole_guard_over_it(url, tmp_path):
    guarded = Guarded(tmp_path, url=url)
    assert guarded.go(build.plan(build.step(101, "s1"), build.step(102, "s2"))).status is RunStatus.DONE
    guarded.restart()
    assert guarded.executor.views(guarded.who("operator"), only_open=False, limit=5)[0].run.status is RunStatus.DONE
    assert guarded.ledger.verify().ok
    guarded.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [("nonsense", "cannot be read"), ("mysql://x/y", "cannot be mysql"), ("postgresql://u:secret@127.0.0.1:1/x", "cannot be opened")],
)
def test_a_database_that_cannot_be_used(given, said):
    with pytest.raises(ConfigError, match=said) as refused:
        open_postgres(given)
    assert "secret" not in str(refused.value)


def test_a_database_of_a_newer_release_is_left_alone(engine, url, tmp_path):
    with engine.begin() as connection:
        connection.execute(text("UPDATE meta SET value = '99' WHERE key = 'schema_version'"))
    with pytest.raises(ConfigError, match="newer pveops"):
        open_postgres(url) if url else open_engine(tmp_path / "store.sqlite")


def test_a_socket_folder_in_the_url(postgres):
    url = postgres.database()
    through = url.replace("127.0.0.1:", ":") + f"?host={postgres._root}"
    engine = open_postgres(through)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT inet_client_addr()")).scalar() is None
    engine.dispose()
    assert for_psycopg(url).startswith("postgresql+psycopg://")
