"""The Python side of a card: what a press does, what it refuses, what the card shows meanwhile."""

import runpy
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from pveops.base.errors import Denied, ExecutorUnavailable
from pveops.model.messages import Event
from pveops.model.proposal import ProposalStatus, Tier
from pveops.model.run import RunStatus, StepPhase
from pveops.present.controller import LATE_S, CardController
from pveops.present.feed import Feed

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("samples.py"))))
P = StepPhase


class FakeExecutor:
    """An executor that does what it is told at once."""

    principal = "anna"
    can_sign = True

    def __init__(self, view):
        self.views = {view.proposal.id: view}
        self.calls = []
        self.rows = []
        self.fails = None
        self.news = threading.Condition()

    def put(self, view):
        version = self.views[view.proposal.id].proposal.version + 1 if view.proposal.id in self.views else 1
        view = replace(view, proposal=replace(view.proposal, version=version))
        with self.news:
            self.views[view.proposal.id] = view
            self.rows.append(Event(seq=len(self.rows) + 1, at=samples.NOW, kind="x", proposal_id=view.proposal.id))
            self.news.notify_all()
        return view

    def _did(self, *call):
        self.calls.append(call)
        if self.fails:
            raise self.fails

    def proposal(self, proposal_id):
        return self.views[proposal_id]

    def events(self, *, after, wait_s=20.0):
        with self.news:
            if isinstance(self.fails, ExecutorUnavailable):
                raise self.fails
            if after < 0:
                return self.rows[after:]
            self.news.wait_for(lambda: len(self.rows) > after, min(wait_s, 0.2))
            return self.rows[after:]

    def preview(self, plan):
        self._did("preview", plan.digest)
        return replace(samples.preview(), read_at=samples.NOW)

    def approve(self, view, *, channel):
        self._did("approve", view.proposal.digest, channel)
        return self.put(
            samples.view(run_status=RunStatus.RUNNING, steps=samples.states(samples.MIGRATE, P.FOLLOWING, P.PENDING, P.PENDING))
        )

    def deny(self, proposal_id, reason=""):
        self._did("deny", proposal_id)
        return self.put(samples.view(status=ProposalStatus.DENIED, decided_by="anna", decided_at=samples.NOW))

    def withdraw(self, proposal_id, reason=""):
        self._did("withdraw", proposal_id)
        return self.put(samples.view(status=ProposalStatus.WITHDRAWN, decided_by="anna", decided_at=samples.NOW))

    def stop(self, proposal_id, reason=""):
        self._did("stop", proposal_id)
        return self.views[proposal_id]

    def resolve(self, proposal_id, request):
        self._did("resolve", request.what)
        return self.views[proposal_id]

    def audit(self, *, proposal="", limit=100):
        self._did("audit", proposal)
        return [{"seq": 1, "at": "2026-11-21T14:31:58.000Z", "kind": "proposal.made", "actor": "anna", "data": {}}]


class StillClock:
    """Time stands still."""

    def now(self):
        return samples.NOW

    def monotonic_s(self):
        return 0.0

    def sleep_s(self, seconds):
        time.sleep(0.01)


class Screen:
    """What the front end would have got."""

    def __init__(self):
        self.payload = {}
        self.acks = []
        self.shown = 0

    def show(self, payload, acks):
        if payload:
            self.payload = payload
            self.shown += 1
        self.acks = acks

    @property
    def card(self):
        return self.payload["cards"][0]


def until(condition, seconds=3.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def desk():
    made = []

    def make(view=None, **options):
        executor = FakeExecutor(view or samples.view())
        screen = Screen()
        controller = CardController(executor, screen.show, Feed(executor, clock=StillClock()), clock=StillClock(), **options)
        made.append(controller)
        return controller, executor, screen

    yield make
    for controller in made:
        controller.close()


def press(controller, screen, kind, *, seq=1, card="c1", **more):
    message = {
        "type": kind,
        "card": card,
        "client": "t",
        "seq": seq,
        "digest": screen.card["digest"],
        "at_ms": samples.NOW.timestamp() * 1000,
        **more,
    }
    controller.receive(message)
    until(lambda: f"t:{seq}" in screen.acks)


def test_a_press_on_confirm_approves_what_was_shown_once(desk):
    controller, executor, screen = desk()
    controller.open(samples.view())
    assert screen.card["state"] == "waiting"
    press(controller, screen, "approve")
    assert executor.calls == [("approve", samples.MIGRATE.digest, "card")]
    assert screen.card["state"] == "running"


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"digest": "0" * 64}, "Forged"),
        ({"digest": None}, "Forged"),
        ({"at_ms": (samples.NOW - timedelta(seconds=LATE_S + 5)).timestamp() * 1000}, "Expired"),
        ({"at_ms": None}, "Expired"),
        ({"at_ms": "now"}, "Expired"),
    ],
)
def test_a_confirm_for_another_plan_or_too_late_is_not_taken(desk, more, kind):
    controller, executor, screen = desk()
    controller.open(samples.view())
    press(controller, screen, "approve", **more)
    assert [call for call in executor.calls if call[0] == "approve"] == []
    assert screen.card["message"]["kind"] == kind
    assert "Nothing ran." in screen.card["message"]["text"]
    assert screen.card["message"]["correlation"] == "c-51f09a2e"


def test_a_plan_that_was_changed_in_the_store_is_not_confirmed(desk):
    tampered = samples.view(digest="0" * 64)
    controller, executor, screen = desk(tampered)
    controller.open(tampered)
    press(controller, screen, "approve")
    assert executor.calls == []
    assert screen.card["message"]["kind"] == "Forged"


def test_red_needs_the_words(desk):
    red = samples.view(samples.ROLLBACK, tier=Tier.RED, requester="jonas")
    controller, executor, screen = desk(red)
    controller.open(red)
    press(controller, screen, "approve", phrase="roll back 21")
    assert screen.card["message"]["kind"] == "InputError"
    assert executor.calls == []
    press(controller, screen, "approve", seq=2, phrase="roll back 214")
    assert executor.calls[0][0] == "approve"


def test_what_the_executor_refuses_is_told_on_the_card(desk):
    controller, executor, screen = desk()
    controller.open(samples.view())
    executor.fails = Denied("No.", hint="Ask jonas.")
    press(controller, screen, "approve")
    assert screen.card["state"] == "waiting"
    assert screen.card["message"]["text"] == "No."
    assert screen.card["message"]["hint"] == "Ask jonas."


@pytest.mark.parametrize(("kind", "state"), [("deny", "denied"), ("withdraw", "withdrawn")])
def test_saying_no(desk, kind, state):
    controller, executor, screen = desk()
    controller.open(samples.view())
    if kind == "withdraw":
        executor.can_sign = False
    press(controller, screen, kind)
    assert screen.card["state"] == state


def test_a_dry_run_writes_nothing_and_is_told(desk):
    controller, executor, screen = desk()
    controller.open(samples.view())
    press(controller, screen, "dry_run")
    assert executor.calls == [("preview", samples.MIGRATE.digest)]
    assert screen.card["message"]["text"].startswith("Dry run at 14:32:07: 2 checks ok")
    assert screen.card["state"] == "waiting"


def test_a_rehearsal_goes_on_beside_the_card_and_ends_on_it(desk):
    begun, go_on = threading.Event(), threading.Event()

    def rehearse(proposal_id):
        begun.set()
        assert go_on.wait(10)
        view = executor.proposal(proposal_id)
        return executor.put(replace(view, proposal=replace(view.proposal, rehearsal=samples.REHEARSAL)))

    controller, executor, screen = desk(rehearse=rehearse)
    controller.open(samples.view())
    press(controller, screen, "rehearse")
    assert begun.wait(10)
    assert screen.card["message"]["text"].startswith("Rehearsing on a simulated copy")
    assert "rehearse" not in [action["type"] for action in screen.card["actions"]]
    press(controller, screen, "dry_run", seq=2)
    assert executor.calls == [("preview", samples.MIGRATE.digest)]
    go_on.set()
    until(lambda: screen.card["rehearsal"] is not None and screen.card["message"] is None)
    assert screen.card["actions"][-1]["label"] == "Rehearse again"


def test_a_rehearsal_that_fails_is_told(desk):
    def rehearse(_proposal_id):
        raise ExecutorUnavailable("The executor does not answer.")

    controller, _executor, screen = desk(rehearse=rehearse)
    controller.open(samples.view())
    press(controller, screen, "rehearse")
    until(lambda: screen.card["message"] is not None and screen.card["message"]["kind"] == "ExecutorUnavailable")
    assert screen.card["actions"][-1]["label"] == "Rehearse"


def test_the_record_is_fetched_when_asked_for(desk):
    view = samples.every()["done"][0]
    controller, executor, screen = desk(view)
    controller.open(view)
    press(controller, screen, "record")
    assert executor.calls == [("audit", "p-8c41d2")]
    assert screen.card["record"][0]["kind"] == "proposal.made"


@pytest.mark.parametrize("kind", ["look", "happened", "not_happened", "close"])
def test_a_persons_word_on_an_unknown_outcome(desk, kind):
    view = samples.every()["unknown"][0]
    controller, executor, screen = desk(view)
    controller.open(view)
    press(controller, screen, kind)
    assert executor.calls == [("resolve", kind)]


def test_stopping_after_this_step(desk):
    view = samples.every()["running"][0]
    controller, executor, screen = desk(view)
    controller.open(view)
    press(controller, screen, "stop")
    assert executor.calls == [("stop", "p-8c41d2")]


def test_news_of_the_executor_reach_the_card_without_a_press(desk):
    controller, executor, screen = desk()
    controller.open(samples.view())
    executor.put(samples.view(status=ProposalStatus.DENIED, decided_by="jonas", decided_at=samples.NOW))
    until(lambda: screen.card["state"] == "denied")


def test_a_silent_executor_is_told_and_forgotten_when_it_is_back(desk):
    controller, executor, screen = desk()
    controller.open(samples.view())
    executor.fails = ExecutorUnavailable("The executor does not answer.")
    until(lambda: screen.card["message"] is not None)
    assert screen.card["message"]["kind"] == "ExecutorUnavailable"
    executor.fails = None
    until(lambda: screen.card["message"] is None)


def test_a_settled_proposal_is_shown_as_used_and_not_followed(desk):
    view = samples.every()["used"][0]
    controller, executor, screen = desk(view)
    controller.open(view)
    assert screen.card["state"] == "used"
    press(controller, screen, "approve")
    assert screen.card["message"]["kind"] == "Used"
    assert executor.calls == []


def test_what_follows_comes_below(desk):
    view = samples.every()["used"][0]
    controller, executor, screen = desk(view, again=lambda _id: samples.view(id="p-bbbbbb"))
    executor.views["p-bbbbbb"] = samples.view(id="p-bbbbbb")
    controller.open(view)
    press(controller, screen, "again")
    assert [card["state"] for card in screen.payload["cards"]] == ["used", "waiting"]
    assert screen.card["message"]["text"] == "Proposed as p-bbbbbb, below."


def test_undone_is_shown_when_the_undo_has_run(desk):
    running = samples.view(run_status=RunStatus.RUNNING, steps=samples.states(samples.MIGRATE, P.DONE, P.FOLLOWING, P.PENDING))
    done = samples.view(id="p-aaaaaa", run_status=RunStatus.DONE, steps=samples.states(samples.MIGRATE, P.DONE, P.DONE, P.DONE))
    controller, executor, screen = desk(running, undo=lambda _id: samples.view(id="p-aaaaaa"))
    executor.views["p-aaaaaa"] = samples.view(id="p-aaaaaa")
    controller.open(running)
    executor.put(samples.every()["failed"][0])
    until(lambda: screen.card["state"] == "failed")
    press(controller, screen, "undo")
    executor.put(done)
    until(lambda: screen.card["state"] == "undone")


def test_a_draft_is_put_forward_and_becomes_the_proposal(desk):
    controller, executor, screen = desk()
    looks = []
    controller.open_draft(samples.MIGRATE, propose=samples.view, look=lambda: looks.append(1) or samples.preview())
    assert screen.card["state"] == "draft"
    press(controller, screen, "approve")
    assert executor.calls == []
    press(controller, screen, "dry_run", seq=2)
    assert looks == [1]
    press(controller, screen, "propose", seq=3)
    assert screen.card["state"] == "waiting"
    assert screen.card["key"] == "c1"


def test_a_greeting_is_answered_with_the_whole_card_once(desk):
    controller, _, screen = desk()
    controller.open(samples.view())
    shown = screen.shown
    for seq in (1, 2):
        controller.receive({"type": "hello", "client": "t", "seq": seq})
    assert screen.acks[-2:] == ["t:1", "t:2"]
    assert screen.shown == shown + 1


@pytest.mark.parametrize(
    "junk",
    [
        None,
        7,
        "approve",
        {},
        {"type": 3},
        {"type": "approve", "card": "c9", "client": "t", "seq": 5},
        {"type": "format", "card": "c1", "client": "t", "seq": 5},
    ],
)
def test_junk_does_nothing(desk, junk):
    controller, executor, screen = desk()
    controller.open(samples.view())
    controller.receive(junk)
    if isinstance(junk, dict) and "seq" in junk:
        until(lambda: "t:5" in screen.acks)
    assert executor.calls == []
    assert screen.card["state"] == "waiting"


def test_a_second_press_while_the_first_is_worked_on_does_nothing(desk):
    controller, executor, screen = desk()
    controller.open(samples.view())
    entered, leave = threading.Event(), threading.Event()
    approve = executor.approve

    def slow(view, *, channel):
        entered.set()
        leave.wait(3)
        return approve(view, channel=channel)

    executor.approve = slow
    first = {
        "type": "approve",
        "card": "c1",
        "client": "t",
        "seq": 1,
        "digest": samples.MIGRATE.digest,
        "at_ms": samples.NOW.timestamp() * 1000,
    }
    controller.receive(first)
    entered.wait(3)
    controller.receive(first | {"seq": 2})
    until(lambda: "t:2" in screen.acks)
    assert "t:1" not in screen.acks
    leave.set()
    until(lambda: "t:1" in screen.acks)
    assert [call[0] for call in executor.calls] == ["approve"]


def test_a_press_that_nobody_answers_is_acknowledged_and_told(desk, monkeypatch):
    monkeypatch.setattr("pveops.present.controller.SLOW_S", 0.05)
    controller, executor, screen = desk()
    go_on, real = threading.Event(), executor.deny

    def frozen(proposal_id, reason=""):
        assert go_on.wait(10)
        return real(proposal_id, reason)

    executor.deny = frozen
    controller.open(samples.view())
    controller.receive({"type": "deny", "card": screen.card["key"], "client": "a", "seq": 7, "at_ms": 0})
    until(lambda: "a:7" in screen.acks and screen.card["message"] is not None)
    assert screen.card["message"]["text"].startswith("No answer for")
    assert all(action["off"] for action in screen.card["actions"]), "nothing else can be pressed meanwhile"
    go_on.set()
    until(lambda: screen.card["state"] == "denied")
    assert screen.card["message"] is None


def test_an_answer_in_the_last_moment_is_no_silence(desk, monkeypatch):
    controller, _executor, screen = desk()
    controller.open(samples.view())
    card = next(iter(controller._cards.values()))
    controller._slow(card, "a:1")
    assert card.slow is None
    assert screen.card["message"] is None
