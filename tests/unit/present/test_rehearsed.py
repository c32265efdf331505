"""The report of a rehearsal on the card, in text and in inert HTML."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

from pveops.model.rehearsal import Capacity, RehearsedStep
from pveops.model.run import RunStatus, StepPhase
from pveops.present import html
from pveops.present.card import card_view
from pveops.present.rehearsed import rehearsal_lines, rehearsal_view
from pveops.present.text import card_text
from pveops.present.words import plain

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("samples.py"))))


def card(report, *, offers=("rehearse",), **more):
    view = samples.view()
    view = replace(view, proposal=replace(view.proposal, rehearsal=report), **more)
    return card_view(view, viewer="anna", can_sign=True, mode="fresh", now=samples.NOW, offers=offers)


def test_a_good_one_is_a_fact_with_tone_and_shape():
    drawn = card(samples.REHEARSAL)
    fact = next(fact for fact in drawn["facts"] if fact["k"] == "Rehearsed")
    assert (plain(fact["v"]), fact["tone"], fact["glyph"]) == ("3 of 3 in the simulated copy", "ok", "ok")
    assert drawn["rehearsal"]["title"] == "Rehearsed by anna at 14:32:03 on a copy of 14:31:59; took 1\u00a0min 36\u00a0s there"
    assert drawn["rehearsal"]["changes"][0] == {
        "what": "pve03 memory",
        "before": "96\u00a0%",
        "after": "87\u00a0%",
        "by": "\u221245\u00a0GiB",
    }
    assert drawn["rehearsal"]["changes"][1]["by"] == "+2.4 threads"
    assert [note["word"] for note in drawn["rehearsal"]["notes"]] == ["warning", "not known", "not known"]
    assert json.loads(json.dumps(drawn)) == drawn


def test_one_that_failed_says_where_and_why():
    steps = (
        RehearsedStep(key="s1", phase=StepPhase.DONE, took_s=40.0),
        RehearsedStep(key="s2", phase=StepPhase.FAILED, took_s=3.0, reason="got timeout"),
        RehearsedStep(key="s3", phase=StepPhase.SKIPPED),
    )
    text = "1 of 3 in the simulated copy. Migrate 238 api-04 to pve07: got timeout"
    drawn = card(replace(samples.REHEARSAL, outcome=RunStatus.FAILED, text=text, steps=steps, took_s=43.0))
    fact = next(fact for fact in drawn["facts"] if fact["k"] == "Rehearsed")
    assert (plain(fact["v"]), fact["tone"]) == ("1 of 3 in the simulated copy", "error")
    assert drawn["rehearsal"]["title"].endswith("took 43\u00a0s there")
    assert drawn["rehearsal"]["notes"][0] == {
        "tone": "error",
        "glyph": "error",
        "word": "failed",
        "text": "Migrate 238 api-04 to pve07: got timeout",
    }


def test_the_button_is_there_where_the_place_can_and_says_why_not():
    from pveops.model.run import May

    assert [action["label"] for action in card(None)["actions"]][-1] == "Rehearse"
    assert [action["label"] for action in card(samples.REHEARSAL)["actions"]][-1] == "Rehearse again"
    assert "Rehearse" not in str(card(None, offers=())["actions"])
    assert card(None, may=May(rehearse="Not yours."))["actions"][-1]["off"] == "Not yours."
    assert card(None)["rehearsal"] is None


def test_a_settled_card_keeps_it_out():
    view, mode, now = samples.every()["done"]
    view = replace(view, proposal=replace(view.proposal, rehearsal=samples.REHEARSAL))
    assert card_view(view, viewer="anna", can_sign=True, mode=mode, now=now)["rehearsal"] is None


def test_text_and_html_say_the_same():
    drawn = card(samples.REHEARSAL)
    text, page = card_text(drawn), html.card_html(drawn)
    for words in (
        "3 of 3 in the simulated copy",
        "Rehearsed by anna",
        "pve03 memory",
        "pve05 would be 95",
        "What programs inside the guests make of it",
    ):
        assert words in text
        assert words in page
    lines = "\n".join(rehearsal_lines(samples.REHEARSAL, samples.NOW))
    assert lines.startswith("Rehearsed: 3 of 3 in the simulated copy (done)")
    assert "not known: How fast 305 would move" in lines


def test_text_from_outside_is_escaped_and_a_storage_needs_no_kind():
    report = replace(
        samples.REHEARSAL,
        warnings=("<img src=x>",),
        capacity=(Capacity(kind="storage", where="ceph", before=0.5, after=0.6, total=1 << 40),),
    )
    assert "<img" not in html.card_html(card(report))
    assert rehearsal_view(report, samples.NOW)["changes"][0]["what"] == "ceph"
    assert rehearsal_view(None, samples.NOW) is None
