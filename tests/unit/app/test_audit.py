import io
import json

import pytest

from pveops.app.audit import ledger_key, open_ledger, open_notary, prove_record, public_key, set_aside, verify_home
from pveops.base.clock import SystemClock
from pveops.base.errors import AuditError, ConfigError, InputError
from pveops.base.files import OwnerLock
from pveops.guard.audit.notary import read_book
from pveops.guard.killswitch import KillSwitch
from pveops.model.claims import new_key
from pveops.settings.home import Home
from pveops.settings.profile import AuditOptions


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home").make()
    ledger = open_ledger(made, SystemClock())
    for number in range(4):
        ledger.append("test", actor="anna", data={"n": number})
    anchors = (f"file:{tmp_path}/anchor.jsonl",)
    made.config.write_text(f"[audit]\nanchors = {json.dumps(anchors)}\n")
    notary = open_notary(made, ledger, AuditOptions(anchors=anchors), executor="x-1", clock=SystemClock())
    notary.open()
    notary.sign()
    return made


def test_a_home_is_verified_with_its_book_its_anchors_and_what_is_given(home, tmp_path, monkeypatch):
    assert verify_home(home).checkpoints == 2
    assert verify_home(home, anchors=[f"file:{tmp_path}/anchor.jsonl", str(tmp_path / "anchor.jsonl")]).checkpoints == 4
    monkeypatch.setattr("sys.stdin", io.StringIO((tmp_path / "anchor.jsonl").read_text()))
    assert verify_home(home, ledger=home.ledger, anchors=["-"], key=public_key(home)).checkpoints == 1
    assert verify_home(home, ledger=home.ledger).checkpoints == 0
    assert verify_home(home, key=str(home.ledger_public_key)).checkpoints == 2
    with pytest.raises(AuditError, match="holds no checkpoints"):
        verify_home(home, anchors=[str(home.ledger)])
    with pytest.raises(InputError, match="cannot be read"):
        verify_home(home, anchors=[str(tmp_path / "none")])
    with pytest.raises(InputError, match="public key cannot be read"):
        verify_home(home, key=str(tmp_path / "none"))
    with pytest.raises(AuditError, match="checkpoints of other keys"):
        verify_home(home, key=new_key()[1])
    assert verify_home(home, key=new_key()[1], other_keys=True).checkpoints == 0
    with pytest.raises(AuditError, match="There is no audit ledger"):
        verify_home(Home(tmp_path / "empty"))
    with pytest.raises(AuditError, match="cannot be read"):
        verify_home(home, ledger=tmp_path)


def test_a_ledger_that_is_gone_is_missed_by_its_checkpoints(home):
    home.ledger.unlink()
    assert verify_home(home).bad_seq == 1


def test_the_key_is_private_and_its_damage_is_said(home):
    assert home.ledger_key.stat().st_mode & 0o777 == 0o600
    home.ledger_key.write_text("no key\n")
    with pytest.raises(AuditError, match="holds no key"):
        ledger_key(home)
    home.ledger_key.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read it"):
        ledger_key(home)


def test_a_key_that_was_lost_is_not_replaced_in_silence(home):
    home.ledger_key.unlink()
    with pytest.raises(AuditError, match="is gone, and there are checkpoints"):
        ledger_key(home)
    set_aside(home, SystemClock(), why="lost", by="uid 0")
    assert "is gone" in open_ledger(home, SystemClock()).records()[0]["data"]["found"]
    ledger_key(home)


def test_a_record_can_be_proved(home):
    assert json.loads(prove_record(home, 2)["line"])["record"]["data"] == {"n": 1}
    with pytest.raises(InputError, match="4 are covered"):
        prove_record(home, 5)


def test_only_a_damaged_ledger_is_set_aside_and_nothing_of_it_is_lost(home):
    with pytest.raises(InputError, match="The ledger is whole"):
        set_aside(home, SystemClock(), why="test", by="uid 0")
    held = OwnerLock(home.executor_lock, "An executor")
    held.acquire()
    with pytest.raises(ConfigError, match="already runs"):
        set_aside(home, SystemClock(), why="test", by="uid 0")
    held.release()
    home.ledger.write_bytes(home.ledger.read_bytes().replace(b'"n":1', b'"n":7'))
    old = home.ledger.read_bytes()
    kept = set_aside(home, SystemClock(), why="the disk was restored", by="uid 0")
    assert kept.read_bytes() == old
    (first,) = open_ledger(home, SystemClock()).records()
    assert first["kind"] == "ledger.set_aside"
    assert first["data"]["found"] == "record 2: its content does not fit its hash"
    assert (first["data"]["file"], first["data"]["why"]) == (kept.name, "the disk was restored")
    assert len(list(home.ledger.parent.glob("*.damaged.*"))) == 3
    assert KillSwitch(home.kill_switch, SystemClock()).state().on
    assert not home.ledger_key.exists()
    assert read_book(home.checkpoints) == []


def test_a_ledger_that_was_replaced_with_its_key_is_set_aside_too(home):
    home.ledger_public_key.write_text(new_key()[1] + "\n")
    set_aside(home, SystemClock(), why="strange", by="uid 0")
    assert "other keys" in open_ledger(home, SystemClock()).records()[0]["data"]["found"]


def test_a_ledger_that_is_gone_is_set_aside_without_a_file(home):
    home.ledger.unlink()
    set_aside(home, SystemClock(), why="gone", by="uid 0")
    (first,) = open_ledger(home, SystemClock()).records()
    assert first["data"]["sha256"] == ""
