import os
from datetime import timedelta

import pytest

from pveops.app.audit import open_ledger
from pveops.app.doctor import examine
from pveops.app.setup import USUAL, add_policy, add_principals, arm
from pveops.base.clock import SystemClock
from pveops.base.errors import ConfigError
from pveops.base.files import OwnerLock
from pveops.guard.killswitch import KillSwitch
from pveops.settings.home import Home
from pveops.store.engine import open_engine

CLOCK = SystemClock()


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home").make()
    add_principals(made, USUAL)
    add_policy(made)
    arm(made, by="test")
    open_engine(made.store).dispose()
    made.config.write_text(f'[audit]\nanchors = ["file:{tmp_path}/anchor"]\n')
    return made


def told(home, name, **options):
    found = [one for one in examine(home, CLOCK, **options) if one.name == name]
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def test_a_home_in_order(home):
    looks = examine(home, CLOCK)
    assert {one.result for one in looks if one.name != "disk"} == {"ok"}, looks
    assert {one.name for one in looks} == {
        "modes",
        "settings",
        "principals",
        "policy",
        "kill switch",
        "store",
        "ledger",
        "executor",
        "disk",
    }


def test_no_home(tmp_path):
    with pytest.raises(ConfigError, match="There is no home"):
        examine(Home(tmp_path / "none"), CLOCK)


def test_modes_are_told_and_mended(home):
    home.credential("operator").chmod(0o644)
    home.principals.chmod(0o622)
    bad = told(home, "modes")
    assert bad.result == "fail"
    assert "credentials/operator.json has mode 0644" in bad.text
    assert "principals.json has mode 0622" in bad.text
    assert told(home, "modes", mend=True).result == "ok"
    assert home.credential("operator").stat().st_mode & 0o777 == 0o600
    for number in range(7):
        (home.root / "policy" / f"{number}").touch(mode=0o666)
        (home.root / "policy" / f"{number}").chmod(0o666)
    assert "and 2 more" in told(home, "modes").text


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_files_of_others_are_told(home):
    os.chown(home.principals, 65534, 65534)
    assert "principals.json belongs to uid 65534" in told(home, "modes", mend=True).text


@pytest.mark.parametrize(("file", "name"), [("config", "settings"), ("principals", "principals"), ("store", "store"), ("ledger", "ledger")])
def test_damage_is_told_with_what_to_do(home, file, name):
    getattr(home, file).write_text("{ damaged\n")
    found = told(home, name)
    assert found.result == "fail"
    assert found.todo


def test_a_store_of_another_version_or_none(home):
    from sqlalchemy import text

    engine = open_engine(home.store)
    for version, result in ((99, "fail"), (0, "warn")):
        with engine.begin() as connection:
            connection.execute(text("UPDATE meta SET value = :v WHERE key = 'schema_version'"), {"v": str(version)})
        assert told(home, "store").result == result
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE meta"))
    assert told(home, "store").result == "warn"
    engine.dispose()
    for path in home.store.parent.glob("store.sqlite*"):
        path.unlink()
    assert told(home, "store").text == "none yet"


def test_policy_switch_anchors_and_a_ledger_that_breaks(home):
    home.config.write_text("")
    assert told(home, "anchors").result == "warn"
    KillSwitch(home.kill_switch, CLOCK).turn(on=True, why="test", by="test")
    assert told(home, "kill switch").text == "on: test"
    for file in home.policy.iterdir():
        file.unlink()
    assert told(home, "policy").result == "fail"
    ledger = open_ledger(home, CLOCK)
    ledger.append("x", actor="a", data={"n": 1})
    home.ledger.write_bytes(home.ledger.read_bytes().replace(b'"n":1', b'"n":2'))
    assert "breaks at record 2" in told(home, "ledger").text


def test_a_clock_that_was_set_back(home):
    class Earlier(SystemClock):
        def now(self):
            return super().now() - timedelta(hours=1)

    found = [one for one in examine(home, Earlier()) if one.name == "clock"]
    assert "in the future" in found[0].text


def test_what_a_dead_process_left(home):
    home.socket.touch()
    home.ledger.with_name("ledger.jsonl.torn-77").touch()
    (home.root / ".config.toml.999999999.tmp").touch()
    (home.root / f".config.toml.{os.getpid()}.tmp").touch()
    assert "socket was left" in told(home, "executor").text
    assert "torn-77" in told(home, "torn lines").text
    assert told(home, "left files").text == ".config.toml.999999999.tmp"
    held = OwnerLock(home.executor_lock, "An executor")
    held.acquire()
    assert told(home, "executor").text == "runs"
    held.release()
    home.socket.unlink()
    assert told(home, "executor").text == "does not run"


@pytest.mark.parametrize(("free", "result"), [(1 << 40, "ok"), (100 << 20, "warn"), (1 << 20, "fail")])
def test_room_on_the_disk(home, monkeypatch, free, result):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert told(home, "disk").result == result


def test_a_home_without_a_ledger(tmp_path):
    assert told(Home(tmp_path / "bare").make(), "ledger").result == "fail"
