"""The card's view model: every state has its word, its sentence and its buttons; what is certain is said."""

import json
import runpy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import Denied
from pveops.model.plan import Change
from pveops.model.proposal import Check, ProposalStatus, Tier
from pveops.model.run import May, RunStatus, StepPhase
from pveops.present import html
from pveops.present.card import card_view, draft_view, dry_run_message, error_message, phrase
from pveops.present.states import LOOKS, STATES, STEP_LOOKS
from pveops.present.text import card_text
from pveops.present.words import emphasised, plain, reach, sentence, steps_named

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("samples.py"))))
EVERY = samples.every()
ALL_OFFERS = ("again", "undo", "record")


def card_of(name, *, viewer="anna", can_sign=True, **more):
    view, mode, now = EVERY[name]
    return card_view(view, viewer=viewer, can_sign=can_sign, mode=mode, now=now, offers=ALL_OFFERS, **more)


def labels(card):
    return [action["label"] for action in card["actions"]]


@pytest.mark.parametrize("name", EVERY)
def test_every_state_has_a_word_a_sentence_and_is_plain_json(name):
    card = card_of(name)
    assert card["state"] == name.partition("-")[0]
    assert card["word"]
    assert card["text_lead"].strip()
    assert card["says"].startswith(("Step", card["word"]))
    assert json.loads(json.dumps(card)) == card
    assert card_text(card).startswith(f"[{card['state']}]")
    assert card["title"] in html.card_html(card)


def test_every_state_is_among_the_samples_or_told_otherwise():
    assert {name.partition("-")[0] for name in EVERY} | {"draft", "undone"} == set(STATES)
    assert set(LOOKS) == set(STATES)
    assert set(STEP_LOOKS) == set(StepPhase)


@pytest.mark.parametrize("status", ProposalStatus)
@pytest.mark.parametrize("tier", Tier)
def test_every_status_and_tier_makes_a_card(status, tier):
    view = samples.view(status=status, tier=tier, decided_by="jonas", decided_at=samples.NOW)
    card = card_view(view, viewer="anna", can_sign=True, mode="fresh", now=samples.NOW)
    assert card["risk"]["word"] == tier.value.upper()
    assert card["state"] in STATES


@pytest.mark.parametrize("status", RunStatus)
@pytest.mark.parametrize("phase", StepPhase)
def test_every_run_status_and_phase_makes_a_card(status, phase):
    view = samples.view(samples.REBOOT, run_status=status, steps=samples.states(samples.REBOOT, phase))
    for mode in ("fresh", "rerun"):
        card = card_view(view, viewer="anna", can_sign=True, mode=mode, now=samples.END)
        assert card["text_lead"]
        assert (card["state"] == "used") == (mode == "rerun" and status.ended)


@pytest.mark.parametrize("name", ["refused", "refused-preview", "expired", "denied", "withdrawn"])
def test_that_nothing_ran_is_said(name):
    assert "Nothing ran." in card_text(card_of(name))


@pytest.mark.parametrize("name", ["running", "done", "warned", "failed", "unknown", "stopped", "closed", "used"])
def test_that_nothing_ran_is_not_said_when_something_may_have(name):
    assert "Nothing ran" not in card_text(card_of(name))


def failed(**changes):
    step = replace(samples.states(samples.REBOOT, StepPhase.FAILED)[0], **changes)
    view = samples.view(samples.REBOOT, run_status=RunStatus.FAILED, steps=(step,))
    return card_view(view, viewer="anna", can_sign=True, mode="fresh", now=samples.END)["text_lead"]


def test_a_step_that_was_barred_or_refused_at_once_changed_nothing():
    assert failed(reason="The kill switch is on. Nothing was sent.", upid="", started=None).endswith("Nothing ran.")
    assert failed(reason="VM 219 is locked (backup)", upid="").endswith("Nothing ran.")


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "VM quit/powerdown failed", "exit_text": "VM quit/powerdown failed"},
        {"reason": "the task ended well, but 30 s later guest/219 was not restarted", "upid": ""},
        {"reason": "jonas says that it did not happen", "upid": "", "looked": ("the task list",)},
        {"reason": "jonas says that it did not happen", "upid": ""},
    ],
)
def test_a_step_that_may_have_worked_is_not_called_nothing(changes):
    assert "Nothing ran" not in failed(**changes)


def test_the_waiting_card_says_the_consequence_on_its_button():
    card = card_of("waiting")
    assert labels(card) == ["Confirm 3 migrations", "Deny", "Dry run"]
    assert card["hint"] == "Nothing runs until you confirm"
    assert [plain(fact["v"]) for fact in card["facts"]] == [
        "Needs one approval; you may give it", "3 guests on 1 node, one restarts", "Migrate back, in reverse order",
    ]  # fmt: skip
    assert card["right"]["countdown_s"] == 891
    assert "State read 14:31:57, unchanged" in [plain(line) for line in card["foot"]]
    assert card["digest"] == samples.MIGRATE.digest


def test_who_waits_for_whom():
    assert card_of("waiting", viewer="anna")["word"] == "Waiting for approval"
    assert card_of("waiting", viewer="jonas")["word"] == "Waiting for you"
    assert card_of("waiting", viewer="jonas", can_sign=False)["word"] == "Waiting for approval"


def test_who_cannot_sign_gets_no_confirm_button():
    assert labels(card_of("waiting", viewer="viewer", can_sign=False)) == ["Dry run"]
    assert labels(card_of("waiting", viewer="anna", can_sign=False)) == ["Withdraw", "Dry run"]
    assert "pveops proposals approve p-8c41d2" in card_of("waiting", viewer="viewer", can_sign=False)["hint"]


def test_what_may_not_be_pressed_says_why():
    view, mode, now = EVERY["waiting-red"]
    barred = replace(view, may=May(approve="Another person must approve it."))
    card = card_view(barred, viewer="anna", can_sign=True, mode=mode, now=now)
    assert card["actions"][0]["off"] == card["hint"] == "Another person must approve it."
    assert plain(card["facts"][0]["v"]) == "Needs one approval, but not yours"
    assert card["phrase"] == "", "words that lead nowhere are not asked for"


def test_whoever_asked_for_a_red_plan_does_not_confirm_it_on_a_card():
    view, mode, now = EVERY["waiting-red"]
    card = card_view(view, viewer="anna", can_sign=True, mode=mode, now=now)
    assert card["actions"][0]["off"] == "Another person must approve this. Alone, do it in a terminal: pveops proposals approve p-8c41d2"
    assert card_view(view, viewer="jonas", can_sign=True, mode=mode, now=now)["actions"][0]["off"] == ""


def test_red_asks_for_words_and_yellow_does_not():
    card = card_of("waiting-red", viewer="jonas")
    assert card["phrase"] == "roll back 214"
    assert card["actions"][0]["kind"] == "danger"
    assert card_of("waiting")["phrase"] == ""
    assert phrase(samples.proposal()) == "3 migrations"


def test_red_says_whether_the_calls_or_the_number_of_guests_make_it_so():
    assert card_of("waiting-red")["risk"]["means"] == "destructive"
    view, mode, now = EVERY["waiting"]
    raised = replace(view, proposal=replace(view.proposal, tier=Tier.RED))
    card = card_view(raised, viewer="jonas", can_sign=True, mode=mode, now=now)
    assert (card["risk"]["word"], card["risk"]["means"]) == ("RED", "many guests")


def test_a_proposal_whose_time_is_over_is_expired_before_the_executor_says_so():
    view, mode, _ = EVERY["waiting"]
    late = card_view(view, viewer="anna", can_sign=True, mode=mode, now=view.proposal.expires)
    assert late["state"] == "expired"
    assert labels(late) == []


def test_unknown_says_what_was_sent_and_that_it_is_not_sent_again():
    card = card_of("unknown")
    assert card["text_lead"] == "pve09 took the request but never answered. We did not send it again."
    assert [plain(fact["v"]) for fact in card["facts"]] == [
        "14:28:10, one request, no task number came back", "Task list of pve09: not reachable", "by itself when pve09 answers again",
    ]  # fmt: skip
    assert labels(card)[:3] == ["Look again", "It did happen", "It did not happen"]
    assert labels(card_of("unknown", viewer="viewer", can_sign=False)) == ["Show record"]


def test_running_shows_progress_and_the_tail_of_the_log():
    card = card_of("running")
    assert card["word"] == "Running, step 2 of 3"
    done, now, later = card["steps"]
    assert (done["word"], later["word"]) == ("done", "waiting")
    assert now["progress"] == 0.61
    assert len(now["log"]) == 2
    assert labels(card) == ["Stop after this step"]
    assert card["says"] == "Step 2 of 3 running"


def test_used_confirms_nothing():
    card = card_of("used")
    assert card["text_lead"].startswith("Running this cell again confirms nothing. This proposal was approved by jonas and ended done at ")
    assert labels(card) == ["Propose the same again", "Show record"]


def test_undone_is_said():
    card = card_of("failed", undone=True)
    assert card["word"] == "Failed and undone"
    assert card["text_lead"] == "Step 2 failed, so step 1 was taken back."


def test_undo_is_offered_only_where_every_done_step_has_an_inverse():
    assert "Propose undo" in labels(card_of("done"))
    one_way = replace(samples.MIGRATE, steps=tuple(replace(step, undo=None) for step in samples.MIGRATE.steps))
    view = samples.view(one_way, run_status=RunStatus.DONE, steps=samples.states(one_way, *[StepPhase.DONE] * 3))
    assert labels(card_view(view, viewer="anna", can_sign=True, mode="fresh", now=samples.END, offers=ALL_OFFERS)) == ["Show record"]


def test_checks_that_are_not_plainly_ok_are_shown():
    card = card_of("waiting-checks")
    assert [(check["word"], check["tone"]) for check in card["checks"]] == [("warn", "warn"), ("unknown", "unknown")]
    assert card["checks_title"] == "Checked without writing at 14:31:57"
    assert card["simulated"] is True
    assert "simulated cluster" in card_text(card)


def test_a_dry_run_is_told_and_replaces_the_older_look():
    seen = replace(samples.preview(Check(name="lock", result="fail", text="guest 231 is locked")), read_at=samples.NOW)
    card = card_of("waiting", seen=seen, message=dry_run_message(seen, samples.NOW))
    assert card["checks"][0]["word"] == "fail"
    assert card["message"]["text"] == "Dry run at 14:32:07: it would not work now. Nothing was written."
    good = replace(samples.preview(), read_at=samples.NOW)
    assert dry_run_message(good, samples.NOW)["text"] == "Dry run at 14:32:07: 2 checks ok. Nothing was written."
    unsure = samples.preview(Check(name="x", result="unknown", text="x"))
    assert dry_run_message(unsure, samples.NOW)["tone"] == "warn"


def test_an_error_keeps_kind_hint_and_correlation():
    message = error_message(Denied("no", hint="Ask anna.", correlation="c-12345678"), samples.NOW)
    assert (message["kind"], message["hint"], message["correlation"]) == ("Denied", "Ask anna.", "c-12345678")


def test_the_record_is_listed():
    record = [{"seq": 4409, "at": "2026-11-21T14:31:58.000Z", "kind": "proposal.made", "actor": "anna", "data": {"reason": "because"}}]
    assert card_of("done", record=record)["record"] == [
        {"seq": "4\u202f409", "at": "14:31:58", "kind": "proposal.made", "actor": "anna", "text": "because"}
    ]


def test_a_draft_can_be_put_forward_but_not_confirmed():
    card = draft_view(samples.MIGRATE, now=samples.NOW, can_propose=True)
    assert labels(card) == ["Propose", "Dry run"]
    assert labels(draft_view(samples.MIGRATE, now=samples.NOW)) == []
    assert card["id"] == ""
    assert card["risk"]["word"] == "YELLOW"
    gone = replace(
        samples.MIGRATE.steps[0],
        call=replace(samples.MIGRATE.steps[0].call, method="DELETE", path="/nodes/pve03/qemu/231/snapshot/before", params=()),
    )
    assert draft_view(replace(samples.MIGRATE, steps=(gone,)), now=samples.NOW)["risk"]["word"] == "RED"
    assert "Nothing is proposed yet" in html.card_html(card)


def test_yesterday_has_a_date():
    view, mode, now = EVERY["expired"]
    card = card_view(view, viewer="anna", can_sign=True, mode=mode, now=now + timedelta(days=1))
    assert card["right"]["text"] == "2026-11-21 14:46"


@pytest.mark.parametrize(
    ("text", "subject", "strong"),
    [
        ("Migrate 231 web-12 to pve07", "guest/231", "231 web-12"),
        ("Migrate 231 to pve07", "guest/231", "231"),
        ("Reboot 219", "guest/219", "219"),
        ("Delete snapshot before of 1231 a", "guest/231", ""),
    ],
)
def test_what_a_step_acts_on_is_set_off(text, subject, strong):
    pieces = emphasised(text, subject)
    assert plain(pieces) == text
    assert "".join(piece["t"] for piece in pieces if piece.get("s") == "b") == strong


def test_words():
    assert [sentence(text) for text in ("the end", "pve09 is gone", "p-8c41 is held", "Why?", "")] == [
        "The end.",
        "pve09 is gone.",
        "p-8c41 is held.",
        "Why?",
        "",
    ]
    assert steps_named([2]) == "step 2"
    assert steps_named([2, 3]) == "steps 2 and 3"
    assert steps_named([2, 3, 4]) == "steps 2 to 4"
    assert steps_named([1, 3, 4]) == "steps 1, 3 and 4"
    assert reach(samples.REBOOT) == "1 guest on 1 node, one restarts"


HOSTILE = st.text(alphabet=st.sampled_from("<>&\"'`/ abc=\n\u202e\u0000"), max_size=30)


@settings(max_examples=60, deadline=None)
@given(name=HOSTILE, reason=HOSTILE)
def test_text_from_outside_never_becomes_markup(name, reason):
    bait = f"<img src=x onerror=alert(1)>{name}</script><b>"
    step = replace(samples.MIGRATE.steps[0], text=f"Migrate 231 {bait} to pve07", note=bait)
    plan = replace(
        samples.MIGRATE, summary=bait, steps=(step,), changes=(Change(what=bait, before=bait, after=bait, by=bait),), undo_text=bait
    )
    for status in ProposalStatus:
        view = samples.view(plan, status=status, reason=f"{bait}. {reason}", decided_by=bait, requester=bait, author=f"model:{bait}")
        drawn = html.card_html(card_view(view, viewer=bait, can_sign=True, mode="fresh", now=samples.NOW))
        assert "<img" not in drawn
        assert "<script" not in drawn
        assert "onerror=alert(1)&gt;" in drawn
