"""Telling that something waits: a real command, a real server on this machine."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pveops.app.notify import Notifier
from pveops.base.errors import ConfigError
from pveops.settings.profile import Notify
from pveops.testing.ports import free_port


class Feed:
    """Lines as the journal gives them."""

    def __init__(self):
        self.rows = []

    def add(self, kind, proposal_id="", text=""):
        self.rows.append({"seq": len(self.rows) + 1, "kind": kind, "at": "2026-11-21T14:32:07.120Z", "actor": "agent", "text": text,
                          "proposal_id": proposal_id, "more": "not told"})  # fmt: skip

    def __call__(self, after):
        return self.rows[-500:] if after < 0 else self.rows[after:]


def describe(proposal_id):
    return {"tier": "red", "hint": f"pveops proposals approve {proposal_id}"}


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def feed():
    return Feed()


@pytest.fixture
def telling(feed):
    made = []

    def start(**how):
        made.append(Notifier(Notify(**how), feed, describe))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.stop()


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_command_gets_what_is_for_people_from_now_on(feed, telling, tmp_path):
    out = tmp_path / "told"
    feed.add("proposal.waiting", "p-000001")
    notifier = telling(command=["sh", "-c", f"cat >> {out} && echo >> {out}"])
    for kind, proposal_id in (("step.answered", "p-000002"), ("proposal.waiting", "p-000002"), ("run.ended", "p-000002"), ("kill.on", "")):
        feed.add(kind, proposal_id, "Stop 101 – web-1")
    notifier.ring()
    until(lambda: len(lines(out)) == 2)
    first, second = lines(out)
    assert first == {"kind": "proposal.waiting", "at": "2026-11-21T14:32:07.120Z", "actor": "agent", "text": "Stop 101 – web-1", "proposal_id": "p-000002",
                     "tier": "red", "hint": "pveops proposals approve p-000002"}  # fmt: skip
    assert (second["kind"], "tier" in second) == ("kill.on", False)


def test_a_command_that_fails_is_logged_and_the_next_is_told(feed, telling, tmp_path, caplog):
    out, flag = tmp_path / "told", tmp_path / "flag"
    notifier = telling(command=["sh", "-c", f"test -e {flag} && cat >> {out} && echo >> {out} || {{ touch {flag}; exit 3; }}"])
    feed.add("kill.on", text="first")
    notifier.ring()
    until(lambda: "could not notify" in caplog.text)
    feed.add("kill.off", text="second")
    notifier.ring()
    until(lambda: lines(out))
    assert [row["text"] for row in lines(out)] == ["second"]


def test_a_webhook_on_this_machine_gets_json(feed, telling, caplog, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    got = []

    class Relay(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.headers["Content-Type"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(500 if len(got) == 1 else 204)
            self.end_headers()

        def log_message(self, *_args):
            return

    port = free_port()
    with HTTPServer(("127.0.0.1", port), Relay) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            notifier = telling(webhook=f"http://127.0.0.1:{port}/hook")
            feed.add("glass.broken", text="storm")
            notifier.ring()
            until(lambda: "HTTPStatusError" in "".join(str(record.__dict__.get("error")) for record in caplog.records))
            feed.add("proposal.vote", "p-000003")
            notifier.ring()
            until(lambda: len(got) == 2)
        finally:
            server.shutdown()
            thread.join()
    assert [row[2]["kind"] for row in got] == ["glass.broken", "proposal.vote"]
    assert got[0][:2] == ("/hook", "application/json")


@pytest.mark.parametrize("url", ["http://relay.example/hook", "https://10.0.0.1/", "http:///nowhere", "nonsense"])
def test_other_machines_are_told_nothing(feed, url):
    with pytest.raises(ConfigError, match="only this machine is allowed"):
        Notifier(Notify(webhook=url), feed, describe)


def test_without_a_command_nothing_begins(feed, telling):
    notifier = telling()
    notifier.ring()
    assert not notifier._thread.is_alive()
