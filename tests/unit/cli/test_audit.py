"""``pveops audit`` in this process: each command once, over a real home."""

import csv
import io
import json
import logging

import pytest

from pveops.app.audit import open_ledger, open_notary
from pveops.base.clock import SystemClock
from pveops.settings.home import Home
from pveops.settings.profile import AuditOptions
from pveops.surfaces.cli.main import run


@pytest.fixture(autouse=True)
def own_log():
    """The command line sends the log of its process to a file: give it back."""
    log = logging.getLogger("pveops")
    before = log.handlers[:], log.level, log.propagate
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PVEOPS_HOME", str(tmp_path / "home"))
    made = Home(tmp_path / "home").make()
    ledger = open_ledger(made, SystemClock())
    data = {"author": "model:m-1", "prompt_sha256": "ab" * 32, "plan": {"summary": "Restart guest 101"}}
    ledger.append("proposal.made", actor="anna", proposal="p-8c41d2", data=data)
    ledger.append("kill.on", actor="bert", data={"why": "fire"})
    open_notary(made, ledger, AuditOptions(), executor="x-1", clock=SystemClock()).sign()
    return made


def test_verify_says_what_holds(home, capsys):
    assert run(["audit", "verify"]) == 0
    assert "2 records; 1 signed checkpoints agree, up to record 2" in capsys.readouterr().err
    assert run(["audit", "verify", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["covered"] == 2
    home.ledger.write_bytes(home.ledger.read_bytes()[:-1])
    assert run(["audit", "verify"]) == 9
    assert "breaks at record 2" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["jsonl", "csv", "html"])
def test_export(home, form, capsys, tmp_path):
    assert run(["audit", "export", "-f", form, "--model", "m-1"]) == 0
    text = capsys.readouterr().out
    if form == "jsonl":
        assert [json.loads(line)["actor"] for line in text.splitlines()] == ["anna"]
    elif form == "csv":
        (row,) = csv.DictReader(io.StringIO(text))
        assert (row["who"], row["what"], row["model"], row["prompt_sha256"]) == ("anna", "Restart guest 101", "m-1", "ab" * 32)
    else:
        assert "Restart guest 101" in text
        assert "The ledger is whole" in text
        home.ledger.write_bytes(home.ledger.read_bytes().replace(b"fire", b"FIRE"))
        assert run(["audit", "export", "-f", form]) == 0
        assert "breaks at record 2" in capsys.readouterr().out
    out = tmp_path / "out"
    assert run(["audit", "export", "-f", form, "--out", str(out), "--since", "1h", "--until", "2099-01-01"]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert "anna" in out.read_text()


def test_mistakes_are_told(home, tmp_path, capsys):
    assert run(["audit", "export", "--out", str(tmp_path)]) == 2
    assert run(["audit", "export", "--since", "yesterday"]) == 2
    assert "is no time" in capsys.readouterr().err
    assert run(["audit", "set-aside", "--why", "no reason"]) == 2
    assert run(["audit", "set-aside", "--why", " "]) == 2
    home.ledger.unlink()
    assert run(["audit", "export"]) == 9
    assert run(["audit", "prove", "1"]) == 9


def test_a_proof_is_checked_elsewhere(home, tmp_path, capsys, monkeypatch):
    key = home.ledger_public_key.read_text().strip()
    assert run(["audit", "prove", "2"]) == 0
    proof = tmp_path / "proof.json"
    proof.write_text(capsys.readouterr().out)
    monkeypatch.setenv("PVEOPS_HOME", str(tmp_path / "auditor"))
    assert run(["audit", "check-proof", str(proof), "--key", key]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == {"why": "fire"}
    assert run(["audit", "check-proof", str(proof), "--key", "0" * 64]) == 9
    assert run(["audit", "check-proof", str(tmp_path), "--key", key]) == 2


def test_setting_aside(home, capsys):
    home.ledger.write_bytes(home.ledger.read_bytes().replace(b"fire", b"FIRE"))
    assert run(["audit", "set-aside", "--why", "the disk was restored"]) == 0
    assert "The kill switch is ON" in capsys.readouterr().err
    assert run(["audit", "verify"]) == 0
