"""``pveops login|user|group|rule`` and what commands answer, against a real executor: what is said, what the executor then does, what is written down."""

import io
import json
import logging
import os
import signal
import time

import pytest

from pveops.app.audit import own_ledger
from pveops.base.clock import SystemClock
from pveops.base.errors import Denied, ExecutorUnavailable
from pveops.clients.executor import ExecutorClient
from pveops.guard.audit.ledger import Ledger
from pveops.settings.credentials import load_credential, open_session
from pveops.surfaces.cli.main import run
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow
PASSWORD = "a sentence of ben"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("accounts"), guests=4, speed=40) as running:
        yield running


@pytest.fixture(autouse=True)
def here(stack, monkeypatch):
    log = logging.getLogger("pveops")
    before = log.handlers[:], log.level, log.propagate
    monkeypatch.setenv("PVEOPS_HOME", str(stack.home.root))
    yield
    for handler in log.handlers:
        handler.close()
    log.handlers[:], log.level, log.propagate = before


@pytest.fixture
def ops(capsys, monkeypatch):
    """Run a command; returns its exit code, stdout and stderr."""

    def go(*words, stdin=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = run(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return go


def records(stack, kind):
    return [record for record in stack.client().audit(limit=1000) if record["kind"] == kind]


def test_users_come_change_and_go(stack, ops):
    code, _, said = ops("user", "add", "ben", "--role", "operator", "--group", "night", "--password", stdin=PASSWORD + "\n")
    assert (code, "ben (person) is known" in said) == (0, True)
    assert stack.home.credential("ben").stat().st_mode & 0o777 == 0o600
    assert load_credential(stack.home, "ben").private_key is not None
    assert ops("user", "add", "nightly", "--kind", "runbook", "--role", "proposer")[0] == 0
    assert load_credential(stack.home, "nightly").token.reveal().startswith("pvo_"), "what is no person gets a lasting token"
    code, shown, _ = ops("user", "ls", "-o", "json")
    ben = next(row for row in json.loads(shown) if row["name"] == "ben")
    assert (ben["groups"], ben["has_key"], ben["has_password"], ben["has_token"]) == (["night"], True, True, False)
    assert PASSWORD not in shown
    assert "ben" in ops("user", "ls")[1]
    assert ops("group", "add", "night", "nightly")[0] == 0
    assert json.loads(ops("group", "ls", "-o", "json")[1]) == [{"group": "night", "members": "ben, nightly"}]
    assert ops("group", "rm", "night", "nightly")[0] == 0
    assert "ben" in ops("group", "ls")[1]
    assert [record["data"]["name"] for record in records(stack, "user.added")] == ["ben", "nightly"]
    for words, exit_code in (
        (("user", "add", "../x"), 3),
        (("user", "add", "carl", "--kind", "cat"), 2),
        (("user", "add", "carl", "--alias-of", "nobody"), 2),
        (("user", "rm", "nobody"), 2),
        (("group", "add", "night", "nobody"), 2),
    ):
        code, shown, said = ops(*words)
        assert (code, shown) == (exit_code, ""), words
        assert said.strip(), words


def test_a_login_is_good_until_the_logout_and_both_are_written_down(stack, ops):
    ops("user", "add", "eva", "--role", "operator", "--password", stdin=PASSWORD + "\n")
    code, _, said = ops("login", "as", "eva")
    assert (code, said.startswith("You are eva until")) == (0, True)
    token = open_session(stack.home, "eva")
    assert ExecutorClient(stack.home.socket, "eva", token).info().principal == "eva"
    assert ops("login", "as", "eva", "--password", stdin="wrong\n")[0] == 6
    assert open_session(stack.home, "eva") == token, "a refused login takes nothing away"
    assert ops("login", "as", "eva", "--password", stdin=PASSWORD + "\n")[0] == 0
    second = open_session(stack.home, "eva")
    assert ops("login", "out", "eva")[2].strip() == "eva is logged out."
    assert open_session(stack.home, "eva") is None
    with pytest.raises(Denied):
        ExecutorClient(stack.home.socket, "eva", second).info()
    assert ExecutorClient(stack.home.socket, "eva", token).info().principal == "eva", "the first login goes on"
    assert ops("login", "out", "eva")[2].strip() == "eva is not logged in here."
    kinds = [record["kind"] for record in stack.client().audit(actor="eva", limit=100)]
    assert kinds == ["login", "login.refused", "login", "logout"]
    assert [record["data"]["with"] for record in records(stack, "login")][-2:] == ["key", "password"]
    assert ops("login", "as", "viewer")[0] == 2, "it has no key"


def test_a_standing_rule_is_made_shown_and_ended(stack, ops):
    ops("user", "add", "cron", "--kind", "runbook", "--role", "proposer")
    assert ops("rule", "ls")[2].strip() == "No standing rules."
    code, _, said = ops("rule", "add", "--for", "cron", "--tool", "guest.snapshot", "--guest", "101", "--why", "before the nightly update")
    assert (code, "is in force until" in said) == (0, True)
    row = json.loads(ops("rule", "ls", "-o", "json")[1])[0]
    assert (row["rule"]["owner"], row["rule"]["subjects"], row["rule"]["per_hour"]) == ("operator", ["guest/101"], 1)
    assert "before the nightly update" in ops("rule", "ls")[1]
    assert ops("rule", "add", "--for", "cron", "--tool", "guest.snapshot", "--why", "no guests")[0] == 2
    assert ops("rule", "revoke", row["rule"]["id"])[0] == 0
    assert ops("rule", "revoke", row["rule"]["id"])[0] == 2
    assert json.loads(ops("rule", "ls", "-o", "json")[1]) == []


def test_the_glass_wants_a_terminal(ops):
    code, _, said = ops("login", "glass", "--why", "storm", stdin="x" * 12 + "\n")
    assert (code, "in a terminal only" in said) == (6, True)
    assert ops("login", "glass", "--mend")[0] == 0


def test_answers_go_to_stdout(stack, ops):
    code, shown, said = ops("kill", "status")
    assert (code, shown.startswith("The kill switch is off"), said) == (0, True, "")
    code, shown, said = ops("executor", "status")
    assert (code, shown.count("\n"), said) == (0, 3, "")
    assert f"pid {stack.executor_child().pid}" in shown


def test_a_frozen_executor_is_called_frozen(stack, monkeypatch):
    monkeypatch.setattr("pveops.clients.executor.LONG_POLL_S", 0.1)
    client, pid = stack.client(), stack.executor_child().pid
    client.info()
    os.kill(pid, signal.SIGSTOP)
    try:
        for method, said in (("GET", "Look at its process"), ("POST", "is not known; it may still do it")):
            with pytest.raises(ExecutorUnavailable, match=r"took the call on .* and has not answered within 1 s") as silent:
                client._call(method, "/v1/kill", {} if method == "POST" else None, timeout_s=1.0)
            assert "busy or stopped" in silent.value.hint
            assert said in silent.value.hint
    finally:
        os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 30
    while not stack.answers():
        assert time.monotonic() < deadline


def test_without_an_executor_the_logout_says_what_it_cannot_do_and_records_name_the_policy(stack, ops):
    """Runs last: it ends the executor."""
    ops("user", "add", "fred", "--role", "operator")
    assert ops("login", "as", "fred")[0] == 0
    policy_hash = stack.client().info().policy_hash
    stack.executor_child().stop()
    code, _, said = ops("login", "out", "fred")
    assert (code, "will take the token until its time is over" in said) == (0, True)
    assert open_session(stack.home, "fred") is None
    code, shown, said = ops("executor", "status")
    assert (code, shown) == (7, "")
    assert ops("kill", "on", "--why", "storm")[0] == 0
    assert ops("kill", "status")[0] == 6
    last = Ledger(stack.home.ledger, SystemClock()).records()[-1]
    assert (last["kind"], last["data"].get("policy")) == ("kill.on", policy_hash), last
    stack.home.policy.chmod(0o777)
    own_ledger(stack.home, SystemClock()).append("kill.on", actor="test")
    stack.home.policy.chmod(0o700)
    last = Ledger(stack.home.ledger, SystemClock()).records()[-1]
    assert last["data"]["policy"] == "", "no policy is usable, and the record is written all the same"
