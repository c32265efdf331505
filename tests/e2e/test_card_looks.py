"""The card in a real browser, with a model that only pretends: looks in every state, keys, focus, and what it sends."""

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pveops.base.errors import Stale
from pveops.model.run import May, RunStatus, StepPhase
from pveops.present.card import card_view, draft_view, error_message, message_of

pytestmark = [pytest.mark.slow, pytest.mark.browser]
pytest.importorskip("playwright")
HERE = Path(__file__).parent
kit = SimpleNamespace(**runpy.run_path(str(HERE / "card_page.py")))
samples = SimpleNamespace(**runpy.run_path(str(HERE.parent / "unit" / "present" / "samples.py")))
SHOTS = Path(__file__).parents[2] / "test-artifacts" / "card"
OFFERS = ("again", "undo", "record")
GROUPS = {
    "states1": ["waiting-checks", "running", "refused", "done"],
    "states2": ["warned", "failed", "unknown", "used", "expired", "denied", "withdrawn", "stopped"],
    "states3": ["draft", "waiting-red", "refused-preview", "closed"],
    "lab": ["waiting"],
    "rehearsed": ["waiting-rehearsed", "waiting-rehearsed-badly"],
}


def views():
    made = {}
    for name, (view, mode, now) in samples.every().items():
        made[name] = card_view(view, viewer="jonas" if name == "waiting-red" else "anna", can_sign=True, mode=mode, now=now, offers=OFFERS)
    view = samples.view()
    view = replace(view, proposal=replace(view.proposal, rehearsal=samples.REHEARSAL))
    made["waiting-rehearsed"] = card_view(view, viewer="anna", can_sign=True, mode="fresh", now=samples.NOW, offers=("rehearse",))
    failed = replace(samples.REHEARSAL, outcome=RunStatus.FAILED, text="1 of 3 in the simulated copy. Migrate 238 api-04 to pve07: migration aborted",
                     steps=(samples.REHEARSAL.steps[0], replace(samples.REHEARSAL.steps[1], phase=StepPhase.FAILED), replace(samples.REHEARSAL.steps[2], phase=StepPhase.SKIPPED)))  # fmt: skip
    view = replace(view, proposal=replace(view.proposal, rehearsal=failed))
    made["waiting-rehearsed-badly"] = card_view(view, viewer="anna", can_sign=True, mode="fresh", now=samples.NOW, offers=("rehearse",))
    made["draft"] = draft_view(samples.MIGRATE, now=samples.NOW, can_propose=True)
    return made


VIEWS = views()


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    if not Path(kit.CHROMIUM).exists():
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=kit.CHROMIUM, args=kit.ARGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Open a page with some cards; fails when the page complains or asks for anything but loopback."""
    closers, trouble = [], []

    def open_page(chosen, *, scheme="dark", width=1440, height=900, columns=2, pad=20, answers=True, **options):
        server = kit.serving({"/": kit.page_html(chosen, scheme=scheme, columns=columns, pad=pad, answers=answers)})
        base = server.__enter__()
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        asked = kit.guard(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        closers.append((server, context, asked))
        page.goto(base + "/")
        page.wait_for_function("window.ready === true")
        page.wait_for_timeout(100)
        return page

    yield open_page
    for server, context, asked in closers:
        context.close()
        server.__exit__(None, None, None)
        assert asked == []
    assert trouble == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
@pytest.mark.parametrize("group", GROUPS)
def test_every_state_is_drawn(opened, group, device, scheme):
    phone = device == "phone"
    page = opened(
        {name: VIEWS[name] for name in GROUPS[group]},
        scheme=scheme,
        width=390 if phone else 1440,
        columns=1 if phone else 2,
        pad=12 if phone else 20,
    )
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{group}-{device}-{scheme}.png", full_page=True)
    for name in GROUPS[group]:
        card, told = page.locator(f"#{name} section.card"), VIEWS[name]
        assert card.get_attribute("data-s") == told["state"]
        assert card.get_by_role("heading", name=told["title"], exact=True).count() == 1
        assert card.locator("ol.stp > li").count() == len(told["steps"])
        assert [button.inner_text() for button in card.get_by_role("button").all()] == [action["label"] for action in told["actions"]]
        assert page.get_by_role("region", name=f"{told['title']} {told['word']}").count() >= 1
        box = card.bounding_box()
        assert box["width"] <= 760.5
        assert box["x"] + box["width"] <= (390 if phone else 1440)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = page.locator("section.card").first.evaluate("(node) => getComputedStyle(node).backgroundColor")
    assert ground == ("rgb(17, 20, 25)" if scheme == "dark" else "rgb(255, 255, 255)")


def test_a_rehearsal_stands_on_the_card_and_can_be_asked_for(opened):
    page = opened({"waiting-rehearsed": VIEWS["waiting-rehearsed"]})
    card = page.locator("section.card")
    fact = card.locator("dd", has_text="3 of 3 in the simulated copy")
    assert fact.locator(".st.ok svg").count() == 1
    section = card.locator(".reh")
    assert (
        section.get_by_role("heading", name="Rehearsed by anna at 14:32:03 on a copy of 14:31:59; took 1\u00a0min 36\u00a0s there").count()
        == 1
    )
    assert [row.inner_text().split("\n")[0] for row in section.locator("tr td:first-child").all()] == [
        "pve03 memory",
        "pve07 CPU",
        "pve05 memory",
    ]
    notes = [" ".join(note.inner_text().split()) for note in section.locator("li").all()]
    assert notes[0] == "warning: pve05 would be 95 % full (memory, 500 GiB)"
    assert notes[2] == "not known: What programs inside the guests make of it"
    card.get_by_role("button", name="Rehearse again").click()
    assert [message["type"] for message in page.evaluate("window.sent") if "card" in message] == ["rehearse"]
    assert card.get_by_role("button", name="Rehearsing").count() == 1


def test_confirm_is_48_pixels_and_full_width_on_a_phone(opened):
    page = opened({"waiting": VIEWS["waiting"]}, width=390, columns=1, pad=12)
    confirm = page.get_by_role("button", name="Confirm 3 migrations").bounding_box()
    deny = page.get_by_role("button", name="Deny").bounding_box()
    body = page.locator(".cb0").bounding_box()
    assert confirm["height"] >= 48
    assert deny["height"] >= 44
    assert confirm["width"] >= body["width"] - 30
    assert page.get_by_text("Wire calls, 3").is_visible()


def sent(page, kind=""):
    return [
        message
        for message in page.evaluate("window.sent")
        if message["type"] not in ("hello", "fonts") and (not kind or message["type"] == kind)
    ]


def acknowledge(page, name):
    page.evaluate(
        "(name) => window.models[name].put('acks', window.sent.filter((m) => m.name === name).map((m) => `${m.client}:${m.seq}`))", name
    )


def change(page, name, card, **more):
    page.evaluate(
        "([name, view]) => window.models[name].put('view', view)",
        [name, {"v": 1, "now_ms": page.evaluate("Date.now()"), "cards": [{"key": card["id"] or "draft", **card, **more}]}],
    )


def test_a_double_click_sends_once_and_the_button_says_sending(opened):
    page = opened({"waiting": VIEWS["waiting"]})
    button = page.get_by_role("button", name="Confirm 3 migrations")
    button.dblclick()
    assert [message["type"] for message in sent(page)] == ["approve"]
    assert sent(page)[0]["digest"] == samples.MIGRATE.digest
    assert page.get_by_role("button", name="Sending").get_attribute("aria-disabled") == "true"
    page.get_by_role("button", name="Deny").click(force=True)
    assert len(sent(page)) == 1
    acknowledge(page, "waiting")
    page.get_by_role("button", name="Confirm 3 migrations").wait_for()


def test_a_script_that_clicks_is_no_person(opened):
    page = opened({"waiting": VIEWS["waiting"]})
    page.get_by_role("button", name="Confirm 3 migrations").evaluate(
        "(node) => { node.click(); node.dispatchEvent(new MouseEvent('click', { bubbles: true })); }"
    )
    assert sent(page) == []


def test_keys_never_press_confirm(opened):
    page = opened({"waiting": VIEWS["waiting"]})
    page.get_by_role("button", name="Deny").focus()
    page.keyboard.press("a")
    assert page.get_by_role("button", name="Confirm 3 migrations").evaluate("(node) => node.getRootNode().activeElement === node")
    assert sent(page) == []
    page.keyboard.press("d")
    assert [message["type"] for message in sent(page)] == ["dry_run"]


def test_red_wants_the_words_and_enter_does_not_submit(opened):
    page = opened({"red": VIEWS["waiting-red"]})
    confirm = page.get_by_role("button", name="Confirm roll back")
    assert confirm.get_attribute("aria-disabled") == "true"
    field = page.get_by_label("Type roll back 214 to enable the confirm button")
    field.fill("roll back 2")
    assert page.get_by_text("2 characters to go").is_visible()
    field.press("a")
    assert page.get_by_text("does not match").is_visible()
    field.fill("roll back 214")
    field.press("Enter")
    assert sent(page) == []
    assert field.evaluate("(node) => node.getRootNode().activeElement === node")
    confirm.click()
    assert sent(page)[0]["phrase"] == "roll back 214"


def test_a_redraw_takes_no_focus_and_keeps_it(opened):
    page = opened({"waiting": VIEWS["waiting"], "other": VIEWS["running"]})
    button = page.locator("#waiting").get_by_role("button", name="Dry run")
    button.focus()
    change(page, "other", VIEWS["failed"], key=VIEWS["running"]["id"])
    assert button.evaluate("(node) => node.getRootNode().activeElement === node")
    change(page, "waiting", VIEWS["waiting"], message=message_of("Dry run: 2 checks ok. Nothing was written.", samples.NOW, tone="ok"))
    focused = "() => document.querySelector('#waiting div').shadowRoot.activeElement.textContent"
    assert page.evaluate(focused) == "Dry run"
    change(page, "waiting", VIEWS["running"])
    assert page.evaluate(focused) == "Migrate 3 guests off pve03"


def test_what_happens_is_spoken_politely_and_failure_at_once(opened):
    page = opened({"waiting": VIEWS["waiting"]})
    card = page.locator("#waiting section.card")
    polite, loud = card.locator("[aria-live=polite].vh").first, card.locator("[aria-live=assertive]")
    assert (polite.text_content(), loud.text_content()) == ("", "")
    change(page, "waiting", VIEWS["running"])
    assert polite.text_content() == "Step 2 of 3 running"
    change(page, "waiting", VIEWS["failed"])
    assert loud.text_content().startswith("Failed: Migrate 3 guests off pve03")


def test_the_countdown_runs_and_is_spoken_at_one_minute_only(opened):
    page = opened({"waiting": {**VIEWS["waiting"], "right": {"text": "Expires in", "countdown_s": 61.5, "at": "14:46:58"}}})
    timer = page.locator("[role=status]").nth(1)
    assert timer.text_content() == ""
    page.wait_for_function(
        "() => [...document.querySelector('#waiting div').shadowRoot.querySelectorAll('[role=status]')].some((n) => n.textContent.startsWith('1 minute left'))",
        timeout=5000,
    )
    assert page.get_by_text("Expires in 0:5").or_(page.get_by_text("Expires in 1:00")).count() == 1


def test_when_the_time_is_over_nothing_can_be_confirmed(opened):
    page = opened({"waiting": {**VIEWS["waiting"], "right": {"text": "Expires in", "countdown_s": 1.0, "at": "14:46:58"}}})
    page.get_by_text("Time is over").wait_for(timeout=4000)
    page.get_by_role("button", name="Confirm 3 migrations").click(force=True)
    assert sent(page) == []


def test_a_card_that_nobody_answers_says_so_and_has_no_buttons(opened):
    page = opened({"waiting": VIEWS["waiting"]}, answers=False)
    page.get_by_text("Python does not answer this card").wait_for(timeout=9000)
    assert page.get_by_role("button").count() == 0
    assert page.get_by_text("pveops proposals approve p-8c41d2").is_visible()
    page.screenshot(path=SHOTS / "silent.png")
    acknowledge(page, "waiting")
    page.get_by_role("button", name="Confirm 3 migrations").wait_for()


def test_a_press_that_nobody_answers_is_told(opened):
    page = opened({"waiting": VIEWS["waiting"]})
    page.get_by_role("button", name="Confirm 3 migrations").click()
    page.get_by_text("Python no longer answers this card").wait_for(timeout=9000)
    assert len(sent(page)) == 1


def test_an_error_stands_on_the_card_with_its_hint_and_id(opened):
    err = Stale(
        "The cluster has changed since p-8c41d2 was put forward: guest 231 is on pve05. Nothing ran.",
        hint="Check again and propose anew.",
        correlation="c-51f09a2e",
    )
    page = opened({"waiting": {**VIEWS["waiting"], "message": error_message(err, samples.NOW)}})
    note = page.locator("section.card [role=alert].note")
    assert "Stale" in note.inner_text()
    assert "Check again and propose anew." in note.inner_text()
    assert "c-51f09a2e" in note.inner_text()
    page.screenshot(path=SHOTS / "error.png")


def test_what_may_not_be_pressed_has_its_reason_beside_it(opened):
    view, mode, now = samples.every()["waiting-red"]
    barred = card_view(replace(view, may=May(approve="Another person must approve it.")), viewer="anna", can_sign=True, mode=mode, now=now)
    page = opened({"red": barred})
    page.get_by_role("button", name="Confirm roll back").click(force=True)
    assert sent(page) == []
    assert page.get_by_text("Another person must approve it.").first.is_visible()


def test_hostile_names_stay_text(opened):
    bait = "<img src=x onerror=\"document.title='owned'\"><b>x"
    hostile = card_view(samples.view(replace(samples.MIGRATE, summary=bait)), viewer="anna", can_sign=True, mode="fresh", now=samples.NOW)
    page = opened({"bad": hostile})
    assert page.get_by_role("heading", name=bait).count() == 1
    assert page.title() == "Cards"


def test_nothing_moves_for_those_who_want_it_so(opened):
    page = opened({"running": VIEWS["running"]}, reduced_motion="reduce")
    assert page.locator(".spin").evaluate("(node) => getComputedStyle(node).animationName") == "none"
    assert page.get_by_text("Running, step 2 of 3").count() >= 1
