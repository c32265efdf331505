import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import threading
from pathlib import Path

import pytest

from pveops.app.audit import open_ledger, open_notary, verify_home
from pveops.app.setup import USUAL, add_policy, add_principals, arm
from pveops.app.state import backup, look, restore
from pveops.base.clock import SystemClock
from pveops.base.errors import ConfigError, InputError
from pveops.guard.killswitch import KillSwitch
from pveops.guard.policy import Policy
from pveops.guard.principals import Principals
from pveops.settings.home import Home
from pveops.settings.profile import AuditOptions
from pveops.store.engine import open_engine

CLOCK = SystemClock()


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home").make()
    add_principals(made, USUAL)
    add_policy(made)
    arm(made, by="test")
    ledger = open_ledger(made, CLOCK)
    ledger.append("test", actor="anna")
    open_notary(made, ledger, AuditOptions(), executor="x-1", clock=CLOCK).sign()
    open_engine(made.store).dispose()
    made.log("cli").parent.mkdir()
    made.log("cli").write_text("a line\n")
    (made.root / ".x.1.tmp").write_text("left")
    return made


def contents(home):
    return {
        path.relative_to(home.root).as_posix(): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in home.root.rglob("*")
        if path.is_file()
    }


def test_a_home_comes_back_whole_with_its_modes_and_with_the_switch_on(home, tmp_path):
    file = tmp_path / "backup.tgz"
    kept = backup(home, file, CLOCK)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert look(file) == kept
    assert kept.ledger_records == 2
    other = Home(tmp_path / "other")
    assert restore(file, other, CLOCK, by="test") == kept
    before, after = contents(home), contents(other)
    for name in ("principals.json", "credentials/operator.json", "policy/homelab.cedar", "audit/checkpoints.jsonl", "executor/ledger.key"):
        assert after[name] == before[name], name
    assert other.root.stat().st_mode & 0o777 == 0o700
    assert not {"logs/cli.jsonl", ".x.1.tmp", "audit/index.sqlite"} & after.keys()
    state = KillSwitch(other.kill_switch, CLOCK).state()
    assert state.on
    assert "restored from a backup of" in state.why
    assert [record["kind"] for record in open_ledger(other, CLOCK).records()][-1] == "state.restored"
    assert verify_home(other).ok
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_logs_come_along_when_they_are_wanted(home, tmp_path):
    backup(home, tmp_path / "b.tgz", CLOCK, logs=True)
    restore(tmp_path / "b.tgz", Home(tmp_path / "other"), CLOCK, by="test")
    assert (tmp_path / "other" / "logs" / "cli.jsonl").exists()


def test_a_backup_of_a_home_in_use_is_of_one_moment(home, tmp_path):
    """Two tables and the ledger are written to all the time; the copies fit each other and are whole."""
    base = sqlite3.connect(home.store, check_same_thread=False)
    base.execute("CREATE TABLE a (n INTEGER)")
    base.execute("CREATE TABLE b (n INTEGER)")
    base.commit()
    ledger, done = open_ledger(home, CLOCK), threading.Event()

    def write():
        number = 0
        while not done.is_set():
            number += 1
            with base:
                base.execute("INSERT INTO a VALUES (?)", (number,))
                base.execute("INSERT INTO b VALUES (?)", (number,))
            ledger.append("busy", actor="test", data={"n": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            backup(home, tmp_path / f"b{number}.tgz", CLOCK)
    finally:
        done.set()
        writer.join()
        base.close()
    for number in range(3):
        other = Home(tmp_path / f"other{number}")
        restore(tmp_path / f"b{number}.tgz", other, CLOCK, by="test")
        copy = sqlite3.connect(other.store)
        rows = [copy.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("a", "b")]
        copy.close()
        assert rows[0] == rows[1]
        assert verify_home(other).ok
        told = [record for record in open_ledger(other, CLOCK).records() if record["kind"] == "busy"]
        assert len(told) >= rows[0] - 1, "the ledger tells of all that the store knows, the write under way aside"


def test_a_home_that_holds_something_is_never_overwritten(home, tmp_path):
    file = tmp_path / "b.tgz"
    backup(home, file, CLOCK)
    with pytest.raises(InputError, match="is not empty"):
        restore(file, home, CLOCK, by="test")
    empty = Home(tmp_path / "empty").make()
    restore(file, empty, CLOCK, by="test")
    (tmp_path / "a-file").write_text("x")
    with pytest.raises(InputError, match="is not empty"):
        restore(file, Home(tmp_path / "a-file"), CLOCK, by="test")


def test_where_a_backup_may_go(home, tmp_path):
    (tmp_path / "there").write_text("x")
    for target in (tmp_path / "there", home.root / "inside.tgz"):
        with pytest.raises(InputError, match="exists already or lies in the home"):
            backup(home, target, CLOCK)
    with pytest.raises(ConfigError, match="cannot be written"):
        backup(home, tmp_path / "none" / "b.tgz", CLOCK)
    with pytest.raises(ConfigError, match="There is no home"):
        backup(Home(tmp_path / "none"), tmp_path / "b.tgz", CLOCK)
    home.store.write_bytes(b"SQLite format 3\x00" + b"junk" * 1000)
    with pytest.raises(ConfigError, match="cannot be written"):
        backup(home, tmp_path / "b.tgz", CLOCK)
    assert not (tmp_path / "b.tgz").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def repack(source, target, change):
    """The backup with its members changed: ``change(name, data) -> (name, data) | None``."""
    with tarfile.open(source) as old, tarfile.open(target, "w:gz") as new:
        for member in old:
            found = change(member.name, old.extractfile(member).read())
            if found is None:
                continue
            member.name, data = found
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return target


def manifest(**changes):
    return lambda name, data: (name, json.dumps(json.loads(data) | changes).encode()) if name == "manifest.json" else (name, data)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda name, data: (name, data + b" ") if name == "principals.json" else (name, data), InputError, "is damaged: principals.json"),
        (lambda name, data: None if name == "principals.json" else (name, data), InputError, "is damaged: principals.json"),
        (lambda name, data: (f"../{name}", data) if name == "principals.json" else (name, data), InputError, "which no backup does"),
        (lambda name, data: (f"/tmp/{name}", data) if name == "principals.json" else (name, data), InputError, "which no backup does"),
        (lambda name, data: None if name == "manifest.json" else (name, data), InputError, "no whole backup"),
        (manifest(store_version=99), ConfigError, "made by a newer pveops"),
        (manifest(format=2), ConfigError, "made by a newer pveops"),
        (manifest(files=[]), InputError, "no whole backup"),
    ],
)
def test_a_backup_that_is_not_whole_restores_nothing(home, tmp_path, change, error, said):
    backup(home, tmp_path / "b.tgz", CLOCK)
    bad = repack(tmp_path / "b.tgz", tmp_path / "bad.tgz", change)
    other = Home(tmp_path / "other")
    with pytest.raises(error, match=said):
        restore(bad, other, CLOCK, by="test")
    assert not other.root.exists()
    assert [path.name for path in tmp_path.iterdir() if "restoring" in path.name] == []


def test_what_is_no_backup_at_all(tmp_path, home):
    with pytest.raises(InputError, match="is not there"):
        look(tmp_path / "none")
    (tmp_path / "junk").write_bytes(os.urandom(100))
    with pytest.raises(InputError, match="no whole backup"):
        look(tmp_path / "junk")
    backup(home, tmp_path / "b.tgz", CLOCK)
    (tmp_path / "cut.tgz").write_bytes((tmp_path / "b.tgz").read_bytes()[:-400])
    with pytest.raises(InputError, match="no whole backup"):
        look(tmp_path / "cut.tgz")
    link = tarfile.TarInfo("credentials")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with tarfile.open(tmp_path / "link.tgz", "w:gz") as tar:
        tar.addfile(link)
    with pytest.raises(InputError, match="which no backup does"):
        restore(tmp_path / "link.tgz", Home(tmp_path / "other"), CLOCK, by="test")


def test_a_place_that_cannot_be_written_is_said(home, tmp_path):
    backup(home, tmp_path / "b.tgz", CLOCK)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be restored"):
        restore(tmp_path / "b.tgz", Home(tmp_path / "file" / "home"), CLOCK, by="test")


DATA = Path(__file__).parents[2] / "data"


def unpacked(root, name):
    """A home that was kept as data."""
    made = Home(root)
    made.root.mkdir(mode=0o700)
    with tarfile.open(DATA / name) as tar:
        tar.extractall(made.root, filter="tar")
    for folder in [path for path in made.root.rglob("*") if path.is_dir()]:
        folder.chmod(0o700)
    return made


@pytest.fixture
def old(tmp_path):
    """A home that the release before left behind: one change done, one waiting, the store's last writes still in its WAL."""
    return unpacked(tmp_path / "old", "home-0.1.0.tgz")


def test_a_home_of_the_release_before_goes_on(old):
    from pveops.guard.events import RunEvent
    from pveops.store.backup import version_of
    from pveops.store.journal import SqlJournal
    from pveops.store.tables import SCHEMA_VERSION

    copy = old.store.with_name("store.v1.sqlite")
    assert version_of(old.store) == 1
    for _ in range(2):  # the second time there is nothing to do
        engine = open_engine(old.store)
        journal = SqlJournal(engine, RunEvent)
        waiting = list(journal.waiting())
        assert [one.plan.summary for one in waiting] == ["Snapshot 101 (web-101) as waits"] or len(waiting) == 1
        both = journal.proposals(only_open=False, limit=10)
        done = next(one for one in both if one.run_id)
        assert [event.kind for event in journal.history(done.run_id)][:2] == ["opened", "checked"]
        engine.dispose()
    assert version_of(old.store) == SCHEMA_VERSION
    assert version_of(copy) == 1, "what was there is kept beside it"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    ledger = open_ledger(old, CLOCK)
    before = ledger.verify()
    assert before.ok
    assert ledger.append("new", actor="test") == before.records + 1
    open_notary(old, ledger, AuditOptions(), executor="x-1", clock=CLOCK).sign()
    assert verify_home(old).covered == before.records + 1
    assert ledger.span(done.id)[0] > 0


def test_a_home_of_the_release_before_can_be_kept_and_brought_back(old, tmp_path):
    backup(old, tmp_path / "b.tgz", CLOCK)
    restore(tmp_path / "b.tgz", Home(tmp_path / "new"), CLOCK, by="test")
    shutil.rmtree(old.root)
    open_engine(Home(tmp_path / "new").store).dispose()
    assert verify_home(Home(tmp_path / "new")).ok


def test_what_store_version_2_keeps_is_read_for_good(tmp_path):
    """A home with settings changed and taken back, a snapshot by a standing rule, a RED plan of a model that waits, a denial, a login, a stopped cluster."""
    from pveops.guard.budget import Budget
    from pveops.guard.course import Course
    from pveops.guard.events import RunEvent
    from pveops.guard.machine import fresh, replay
    from pveops.guard.standing import read_approved
    from pveops.model.codec import decode
    from pveops.model.standing import SignedRule
    from pveops.store.journal import SqlJournal
    from pveops.store.memory import SqlMemory

    home = unpacked(tmp_path / "kept", "home-store2.tgz")
    engine = open_engine(home.store)
    journal, memory = SqlJournal(engine, RunEvent), SqlMemory(engine)
    proposals = [one.intact() for one in journal.proposals(only_open=False, limit=100)]  # newest first; each still has its digest
    assert [(one.plan.tool, one.status.value, one.tier.value) for one in proposals] == [
        ("guest.reboot", "denied", "yellow"), ("guest.set-config", "waiting", "red"), ("guest.snapshot", "approved", "yellow"),
        ("guest.snapshot", "approved", "yellow"), ("guest.set-config.undo", "approved", "yellow"), ("guest.set-config", "approved", "yellow"),
    ]  # fmt: skip
    for one in proposals[2:]:
        run = replay(fresh(one.run_id, one.id, [step.key for step in one.plan.steps]), journal.history(one.run_id), Course.of(one.plan))
        assert (run.status.value, run.approved_by) == ("done", "operator")
        approved = read_approved(journal.approval(one.run_id))
        assert approved.rule is not None if one.standing else len(approved.approvals) == 1
    assert journal.open_runs() == []
    (rule,) = (decode(SignedRule, body) for body in memory.notes("rule").values())
    assert (rule.rule.id, rule.rule.owner) == (proposals[2].standing, "operator")
    assert [note["principal"] for note in memory.notes("session").values()] == ["ben"]
    assert memory.steps("sim", since_s=0) == 4
    budget = Budget(memory, CLOCK)
    budget.recall(journal.made_since(proposals[-1].created))
    assert sum(map(len, budget._asked.values())) == len(proposals)
    engine.dispose()
    found = verify_home(home)
    assert (found.ok, found.covered) == (True, found.records)
    kill = KillSwitch(home.kill_switch, CLOCK)
    assert (kill.state().on, kill.state("sim").on) == (False, True)
    assert Policy(home.policy).fault == ""
    assert {one.name for one in Principals(home.principals).all()} == {"operator", "agent", "runbook", "viewer", "ben"}
