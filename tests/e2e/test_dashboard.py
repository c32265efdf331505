"""The cluster page in Chromium: sign-in, what it shows, the same card, what it says when something is away."""

import asyncio
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from pveops.surfaces.dash import TOKEN_VARIABLE, serve_command
from pveops.surfaces.dash.gate import cookie_name
from pveops.testing.ports import free_port
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(180)]
pytest.importorskip("playwright")
pytest.importorskip("panel")
kit = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("card_page.py"))))
ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "test-artifacts" / "dashboard"
TOKEN = "page-token-of-the-tests"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("dash-stack"), guests=40, speed=3.0) as running:
        yield running


def start(stack, port, command, log, **env):
    whole = {**stack.env, "PYTHONPATH": str(ROOT), "BOKEH_RESOURCES": "server", **env}
    with log.open("wb") as said:
        process = subprocess.Popen(command, env=whole, stdout=said, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            httpx.get(f"http://127.0.0.1:{port}/cluster", trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        return process
    raise AssertionError("the page server did not start")


@pytest.fixture(scope="module")
def page_server(stack, tmp_path_factory):
    port = free_port()
    process = start(stack, port, serve_command(port), tmp_path_factory.mktemp("dash") / "log", **{TOKEN_VARIABLE: TOKEN})
    yield SimpleNamespace(base=f"http://127.0.0.1:{port}", port=port)
    process.terminate()
    process.wait(20)


@pytest.fixture
def visit(page_server):
    """Open the page in a browser of its own; fails on errors in the console and on anything but loopback."""
    from playwright.sync_api import sync_playwright

    if not Path(kit.CHROMIUM).exists():
        pytest.skip("Chromium is not installed")
    SHOTS.mkdir(parents=True, exist_ok=True)
    trouble, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=kit.CHROMIUM, args=kit.ARGS)

        def open_page(*, scheme="dark", width=1440, height=900, base=page_server.base, token=TOKEN):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            asked.append(kit.guard(context))
            page = context.new_page()
            page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.goto(f"{base}/cluster?token={token}")
            page.locator(".nd").first.wait_for(timeout=30_000)
            return page

        yield open_page
        browser.close()
    assert [urls for urls in asked if urls] == []
    assert trouble == []


def get(url, **options):
    return httpx.get(url, trust_env=False, follow_redirects=True, **options)


def test_without_the_token_there_is_one_sentence(page_server):
    for url in (
        f"{page_server.base}/cluster",
        f"{page_server.base}/",
        f"{page_server.base}/cluster?token=wrong-token-0000000",
        f"{page_server.base}/sign-in",
    ):
        answer = get(url)
        assert answer.status_code == 403
        assert "This page opens with the address that `pveops up` printed" in answer.text
        assert "set-cookie" not in answer.headers


def test_the_token_becomes_a_cookie_that_no_script_can_read(page_server):
    first = httpx.get(f"{page_server.base}/sign-in?next=/cluster?token={TOKEN}", trust_env=False)
    assert first.status_code == 302
    assert first.headers["location"] == "/cluster"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    page = get(f"{page_server.base}/cluster?token={TOKEN}")
    assert page.status_code == 200
    assert page.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert get(f"{page_server.base}/cluster", cookies={cookie_name(page_server.port): "0" * 64}).status_code == 403


def test_a_scraper_brings_the_token_and_gets_what_it_costs(page_server):
    url = f"{page_server.base}/metrics"
    assert httpx.get(url, trust_env=False).status_code == 403
    assert httpx.get(url, trust_env=False, headers={"Authorization": "Bearer wrong"}).status_code == 403
    answer = httpx.get(url, trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert 'pveops_resident_bytes{pid="' in answer.text
    assert httpx.get(url, trust_env=False, headers={"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}).status_code == 403


def test_signing_in_never_leads_elsewhere(page_server):
    for wanted in ("https://evil.example/", "//evil.example/"):
        answer = httpx.get(f"{page_server.base}/sign-in", params={"next": wanted, "token": TOKEN}, trust_env=False)
        assert answer.headers["location"] == "/"


def test_another_host_name_is_refused(page_server):
    answer = get(f"{page_server.base}/cluster?token={TOKEN}", headers={"Host": f"evil.example:{page_server.port}"})
    assert answer.status_code == 403


@pytest.mark.parametrize("case", ["no cookie", "foreign origin"])
def test_a_websocket_needs_the_cookie_and_our_origin(page_server, case):
    from tornado.httpclient import HTTPClientError, HTTPRequest
    from tornado.websocket import websocket_connect

    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        client.get(f"{page_server.base}/cluster?token={TOKEN}")
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    origin = "http://evil.example" if case == "foreign origin" else page_server.base
    headers = {"Origin": origin, "Sec-WebSocket-Protocol": "bokeh, x"} | ({} if case == "no cookie" else {"Cookie": cookies})

    async def knock():
        await websocket_connect(HTTPRequest(page_server.base.replace("http", "ws") + "/cluster/ws", headers=headers))

    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(knock())


@pytest.mark.parametrize(
    ("scheme", "width", "height"), [("dark", 1440, 900), ("light", 1440, 900), ("dark", 390, 844), ("light", 390, 844), ("dark", 820, 1100)]
)
def test_the_page_shows_the_cluster(visit, stack, scheme, width, height):
    page = visit(scheme=scheme, width=width, height=height)
    page.wait_for_timeout(500)
    page.screenshot(path=SHOTS / f"cluster-{width}-{scheme}.png")
    assert page.locator(".nd h3").all_inner_texts() == ["pve1", "pve2", "pve3"]
    assert page.get_by_text("simulated cluster").first.is_visible()
    assert page.locator("#storage tbody tr").count() >= 3
    assert page.locator("#guests tbody tr").count() == 25
    assert page.locator("#work h2").all_inner_texts() == ["Failed tasks", "Backups"]
    assert page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.querySelector('.main').scrollWidth <= document.querySelector('.main').clientWidth + 1"
    )
    assert "token" not in page.url
    assert page.evaluate("document.documentElement.dataset.pvScheme") == scheme


def test_every_link_leads_somewhere_on_this_page(visit):
    page = visit()
    targets = page.locator("nav a").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
    assert targets
    for target in targets:
        assert page.locator(f"main {target}, main{target}").count() == 1, target


def test_guests_are_searched_filtered_and_paged(visit):
    page = visit()
    page.keyboard.press("/")
    page.keyboard.type("web prod")
    page.get_by_text("web-1", exact=False).first.wait_for()
    page.wait_for_timeout(600)
    assert 0 < page.locator("#guests tbody tr").count() < 25
    page.keyboard.type(" nothing-like-it")
    page.get_by_text("None of 40 guests match").wait_for(timeout=5_000)
    page.get_by_role("button", name="Show all").click()
    page.locator("#guests tbody tr").nth(24).wait_for(timeout=5_000)
    page.locator("#guests").get_by_role("button", name="Next").click()
    page.get_by_text("page 2 of 2").wait_for(timeout=5_000)
    page.locator("#guests").get_by_role("button", name="Stopped").click()
    page.wait_for_timeout(600)
    assert "running" not in page.locator("#guests tbody").inner_text()


def test_a_proposal_from_elsewhere_is_confirmed_here(visit, stack):
    page, other = visit(), visit(width=390, height=844)
    ops = stack.ops()
    target = next(name for name in ("pve1", "pve2", "pve3") if name != ops.guests().set_index("vmid").loc[101, "node"])
    made = time.monotonic()
    proposal = ops.guest(101).migrate(target).propose()
    card = page.locator("section.card").filter(has_text=f"Migrate 101 web-1 to {target}")
    card.wait_for(timeout=15_000)
    print(f"proposal to card {time.monotonic() - made:.2f} s")
    page.keyboard.press("a")
    assert stack.client().proposal(proposal.id).proposal.status == "waiting"
    page.screenshot(path=SHOTS / "proposal.png")
    other.locator("section.card").first.wait_for(timeout=15_000)
    other.screenshot(path=SHOTS / "proposal-phone.png")
    clicked = time.monotonic()
    card.get_by_role("button", name="Confirm migration").click()
    page.locator("section.card[data-s=running]").wait_for(timeout=10_000)
    took_s = time.monotonic() - clicked
    print(f"click to running {took_s:.2f} s")
    assert took_s < 1.5
    page.locator("section.card[data-s=done]").wait_for(timeout=60_000)
    other.locator("section.card[data-s=done]").wait_for(timeout=10_000)
    page.screenshot(path=SHOTS / "done.png")
    assert ops.guests().set_index("vmid").loc[101, "node"] == target
    approved = [record for record in stack.client().audit(proposal=proposal.id) if record["kind"] == "proposal.approved"]
    assert [record["data"]["channel"] for record in approved] == ["dashboard"]
    page.get_by_text(f"{proposal.id} ended: done").wait_for(timeout=15_000)


def test_every_button_of_a_card_reaches_python(visit, stack):
    page = visit()
    proposal = stack.ops().guest(107).snapshot("buttons").propose()
    card = page.locator("section.card").filter(has_text="Snapshot 107")
    card.wait_for(timeout=15_000)
    card.get_by_role("button", name="Dry run").click()
    card.get_by_text("Nothing was written.").wait_for(timeout=10_000)
    card.get_by_role("button", name="Deny").click()
    page.locator("section.card[data-s=denied]").wait_for(timeout=10_000)
    assert stack.client().proposal(proposal.id).proposal.status == "denied"
    card.get_by_role("button", name="Show record").click()
    card.get_by_text("proposal.denied").wait_for(timeout=10_000)
    page.screenshot(path=SHOTS / "denied.png")
    card.get_by_role("button", name="Check again and propose anew").click()
    anew = page.locator("section.card[data-s=waiting]").filter(has_text="Snapshot 107")
    anew.get_by_role("button", name="Deny").click()
    anew.wait_for(state="detached", timeout=10_000)


def test_many_that_wait_are_lines_and_the_page_stays_readable(visit, stack):
    page, phone = visit(), visit(width=390, height=844, scheme="light")
    client, ops = stack.client(), stack.ops()
    guests = ops.guests()
    up = guests[(guests["status"] == "running") & ~guests["template"]]["vmid"].tolist()
    made = [ops.draft("guests.shutdown", guest=",".join(map(str, up[:20]))).propose()]
    made += [ops.guest(vmid).snapshot("many").propose() for vmid in up[:6]]
    cards, lines = page.locator("section.card"), page.locator("section.card[data-folded]")
    last = cards.filter(has_text=f"Snapshot {up[5]} ")
    last.wait_for(timeout=20_000)
    assert lines.count() == cards.count() - 3
    page.screenshot(path=SHOTS / "many.png", full_page=True)
    phone.locator("section.card[data-folded]").first.wait_for(timeout=20_000)
    phone.screenshot(path=SHOTS / "many-phone.png", full_page=True)
    last.locator("button.fl").click()
    last.get_by_role("button", name="Deny").click()
    last.get_by_text("Nothing ran.").wait_for(timeout=10_000)
    for proposal in made:
        if client.proposal(proposal.id).proposal.status == "waiting":
            client.deny(proposal.id, reason="the test is over")
    page.locator("section.card[data-s=waiting]").first.wait_for(state="detached", timeout=20_000)


def test_trouble_is_said_where_it_is(visit, stack):
    page = visit()
    stack.client().kill(on=True, why="drill of the test")
    page.get_by_text("The kill switch is on").first.wait_for(timeout=20_000)
    page.screenshot(path=SHOTS / "killed.png")
    stack.client().kill(on=False, why="drill is over")
    page.get_by_text("Actions allowed").wait_for(timeout=20_000)


def test_a_page_without_gate_confirms_nothing(visit, stack, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "panel", "serve", str(ROOT / "dashboards" / "cluster.py"), "--address", "127.0.0.1", "--port", str(port),
               "--static-dirs", f"pveops-static={ROOT / 'pveops' / 'present' / 'static'}"]  # fmt: skip
    process = start(stack, port, command, tmp_path / "log")
    try:
        proposal = stack.ops().guest(106).reboot().propose()
        page = visit(base=f"http://127.0.0.1:{port}", token="")
        card = page.locator("section.card").filter(has_text="Reboot 106")
        card.wait_for(timeout=20_000)
        assert card.get_by_role("button", name="Confirm").count() == 0
        assert card.get_by_role("button", name="Deny").count() == 0
        assert page.get_by_text("Look only").is_visible()
        assert page.get_by_text(f"pveops proposals approve {proposal.id}").first.is_visible()
        page.screenshot(path=SHOTS / "look-only.png")
        proposal.withdraw()
    finally:
        process.terminate()
        process.wait(20)


def test_a_cluster_that_goes_away_leaves_stale_words_and_comes_back(visit, stack):
    page = visit()
    os.kill(stack.sim.pid, signal.SIGSTOP)
    try:
        page.get_by_text("The cluster cannot be read").wait_for(timeout=90_000)
        page.get_by_text("As of ").first.wait_for(timeout=20_000)
        assert page.locator(".nd").count() == 3
        page.screenshot(path=SHOTS / "stale.png")
    finally:
        os.kill(stack.sim.pid, signal.SIGCONT)
    page.get_by_text("Live, ").wait_for(timeout=60_000)


def test_an_executor_that_is_away_is_said_and_found_again(visit, stack):
    page = visit()
    stack.executor.stop()
    try:
        page.get_by_text("The executor does not answer").first.wait_for(timeout=30_000)
        page.get_by_text("No executor").wait_for(timeout=5_000)
        page.screenshot(path=SHOTS / "no-executor.png")
    finally:
        stack.start_executor()
    page.get_by_text("Actions allowed").wait_for(timeout=40_000)
