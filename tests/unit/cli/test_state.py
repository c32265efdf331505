"""``pveops state`` in this process, over a real home."""

import json
import logging

import pytest

from pveops.app.setup import USUAL, add_policy, add_principals, arm
from pveops.settings.home import Home
from pveops.surfaces.cli.main import run


@pytest.fixture(autouse=True)
def own_log():
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
    add_principals(made, USUAL)
    add_policy(made)
    arm(made, by="test")
    return made


def test_there_and_back(home, tmp_path, monkeypatch, capsys):
    file = str(tmp_path / "b.tgz")
    assert run(["state", "backup", file]) == 0
    assert "1 ledger records" in capsys.readouterr().err
    assert run(["state", "backup", file]) == 2
    assert run(["state", "restore", file]) == 2, "this home is not empty"
    assert run(["state", "restore", file, "--check"]) == 0
    assert "is whole" in capsys.readouterr().err
    monkeypatch.setenv("PVEOPS_HOME", str(tmp_path / "other"))
    assert run(["state", "restore", file]) == 0
    assert "The kill switch is ON" in capsys.readouterr().err
    assert run(["audit", "verify"]) == 0
    assert run(["kill", "status"]) == 6


def test_the_doctor_tells_and_mends(home, capsys):
    home.credential("operator").chmod(0o644)
    assert run(["state", "doctor"]) == 3
    assert "credentials/operator.json has mode 0644" in capsys.readouterr().out
    assert run(["state", "doctor", "--mend", "-o", "json"]) == 0
    rows = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert rows["modes"] == "ok"
    assert rows["anchors"] == "warn"
    home.policy.joinpath("homelab.cedar").unlink()
    assert run(["state", "doctor"]) == 3
