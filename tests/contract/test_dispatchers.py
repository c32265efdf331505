"""One suite over both dispatchers: threads of the process, and a DBOS queue on SQLite and PostgreSQL."""

import json
import sqlite3
import threading
import time

import pytest

from pveops.base.clock import SystemClock
from pveops.base.errors import GuardError
from pveops.base.ids import new_id
from pveops.guard.dispatch import InProcess
from pveops.guard.dispatch_dbos import DbosDispatcher
from pveops.store.engine import for_psycopg
from pveops.testing.postgres import Postgres, find_postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # DBOS leaves connections of its SQLite pool to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def postgres():
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    with Postgres() as server:
        yield server


@pytest.fixture(params=["in-process", "dbos on SQLite", "dbos on PostgreSQL"])
def dispatcher(request, tmp_path):
    if request.param == "in-process":
        made = InProcess(workers=4, clock=SystemClock())
    else:
        pytest.importorskip("dbos")
        url = (
            f"sqlite:///{tmp_path}/queue.sqlite"
            if "SQLite" in request.param
            else for_psycopg(request.getfixturevalue("postgres").database())
        )
        made = DbosDispatcher(url=url, worker=new_id("w"), workers=4, poll_s=0.05)
    yield made
    made.stop()


class Heard:
    """What was advanced, and when."""

    def __init__(self):
        self.rows = []
        self.changed = threading.Condition()

    def __call__(self, name):
        with self.changed:
            self.rows.append((name, time.monotonic()))
            self.changed.notify_all()
        if name == "bad":
            raise GuardError("no")
        if name == "worse":
            raise RuntimeError("a fault of ours")

    def wait(self, *names, seconds=20):
        with self.changed:
            assert self.changed.wait_for(lambda: all(name in [row[0] for row in self.rows] for name in names), seconds), self.rows


def test_everything_arrives_faults_stop_nobody_and_what_is_due_later_comes_later(dispatcher):
    heard = Heard()
    dispatcher.start(heard)
    begun = time.monotonic()
    dispatcher.submit("p-000001", after_s=2.0)
    for name in ("r-000001", "bad", "worse", "r-000002", "r-000001"):
        dispatcher.submit(name)
    heard.wait("r-000001", "bad", "worse", "r-000002")
    assert "p-000001" not in [name for name, _ in heard.rows]
    heard.wait("p-000001")
    assert dict(heard.rows)["p-000001"] - begun >= 1.9
    deadline = time.monotonic() + 10
    while [name for name, _ in heard.rows].count("r-000001") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [name for name, _ in heard.rows].count("r-000001") == 2


def test_after_the_end_nothing_begins(dispatcher):
    heard = Heard()
    dispatcher.start(heard)
    dispatcher.stop()
    dispatcher.submit("r-000001")
    time.sleep(0.5)
    assert heard.rows == []
    dispatcher.start = lambda *_: None


def test_what_is_over_is_swept_out_of_the_queue(tmp_path, monkeypatch):
    pytest.importorskip("dbos")
    monkeypatch.setattr("pveops.guard.dispatch_dbos._SWEEP_EVERY", 3)
    made, heard = DbosDispatcher(url=f"sqlite:///{tmp_path}/queue.sqlite", worker=new_id("w"), workers=2, poll_s=0.05), Heard()
    made.start(heard)
    for name in ("r-000001", "r-000002"):
        made.submit(name)
    heard.wait("r-000001", "r-000002")
    rows = _rows(tmp_path, until=lambda states: states == ["SUCCESS", "SUCCESS"])
    assert rows == ["SUCCESS", "SUCCESS"]
    made.submit("p-00000a", after_s=60.0)
    assert _rows(tmp_path, until=lambda states: len(states) == 1) == ["DELAYED"], "what waits is kept"
    made.stop()


def _rows(folder, *, until):
    """States of all that is in the queue, once they are so."""
    deadline = time.monotonic() + 20
    while True:
        with sqlite3.connect(folder / "queue.sqlite") as db:
            states = sorted(row[0] for row in db.execute("select status from workflow_status"))
        db.close()
        if until(states) or time.monotonic() > deadline:
            return states
        time.sleep(0.05)


def test_what_is_queued_is_a_name_in_plain_text_and_outlives_the_process(tmp_path):
    pytest.importorskip("dbos")
    url = f"sqlite:///{tmp_path}/queue.sqlite"
    first = DbosDispatcher(url=url, worker=new_id("w"), workers=2, poll_s=0.05)
    first.start(Heard())
    first.submit("p-00000a", after_s=3.0)
    first.submit("p-00000a", after_s=3.0)
    first.stop()
    with sqlite3.connect(tmp_path / "queue.sqlite") as db:
        rows = db.execute(
            "select i.inputs, s.application_version, s.status from workflow_status s join workflow_input i on i.workflow_uuid = s.workflow_uuid"
        ).fetchall()
    db.close()
    assert 1 <= len(rows) <= 2
    assert json.loads(rows[0][0])["args"] == ["p-00000a"]
    assert rows[0][1:] == ("pveops-journal-1", "DELAYED")
    heard = Heard()
    second = DbosDispatcher(url=url, worker=new_id("w"), workers=2, poll_s=0.05)
    second.start(heard)
    heard.wait("p-00000a")
    second.stop()
