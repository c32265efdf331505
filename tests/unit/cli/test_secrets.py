"""``pveops secrets`` in this process: it tells who answers and never what."""

import io
import json
import logging

import keyring
import keyring.backend
import keyring.backends.fail
import pytest

from pveops.settings.home import Home
from pveops.surfaces.cli.main import run

CANARY = "reader@pve!ui=00000000-0000-4000-8000-0000000canary"


class Memory(keyring.backend.KeyringBackend):
    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get(username)

    def set_password(self, service, username, password):
        self.kept[username] = password


@pytest.fixture(autouse=True)
def own_log():
    log = logging.getLogger("pveops")
    before, ring = (log.handlers[:], log.level, log.propagate), keyring.get_keyring()
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before
    keyring.set_keyring(ring)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PVEOPS_HOME", str(tmp_path / "home"))
    made = Home(tmp_path / "home").make()
    made.config.write_text('[profiles.lab]\nurls = ["https://127.0.0.1:1"]\n')
    keyring.set_keyring(Memory())
    return made


def test_who_answers_is_told_and_nothing_else(home, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{CANARY}\n"))
    assert run(["secrets", "keep", "read"]) == 0
    assert run(["secrets", "ls", "-o", "json"]) == 0
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert [row["source"] for row in rows if row["used"]] == ["keyring"]
    assert [row["source"] for row in rows[:5]] == ["environment", "systemd", "file", "keyring", "vault"]
    monkeypatch.setenv("PVEOPS_READ_TOKEN", CANARY)
    assert run(["secrets", "ls"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{CANARY}\n"))
    assert run(["secrets", "keep", "read"]) == 3, "it would not be used"
    again = capsys.readouterr()
    assert "asked first" in again.err
    for text in (said.out, said.err, again.out, again.err, home.log("cli").read_text()):
        assert "canary" not in text


def test_what_is_no_token_is_not_kept(home, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("no token\n"))
    assert run(["secrets", "keep", "write"]) == 3
    assert run(["secrets", "keep", "other"]) == 2
