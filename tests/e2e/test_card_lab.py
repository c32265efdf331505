"""The card in a real JupyterLab: real kernel, real executor, simulated cluster, Chromium. Also while the kernel is busy."""

import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import nbformat
import pytest

from pveops.present.export import export_html
from pveops.present.lab import LAB_SETTINGS
from pveops.testing.ports import free_port
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(180)]
pytest.importorskip("playwright")
pytest.importorskip("jupyterlab")
kit = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("card_page.py"))))
SHOTS = Path(__file__).parents[2] / "test-artifacts" / "lab"
TOKEN = "lab-token-of-the-tests"
OPEN = "import pveops, time\nops = pveops.connect()"
BUSY_S = 12


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("lab-stack"), guests=24, speed=3.0) as running:
        yield running


@pytest.fixture(scope="module")
def lab(stack, tmp_path_factory):
    """A JupyterLab on the stack's home; gives its address and the folder of its notebooks."""
    root = tmp_path_factory.mktemp("lab")
    settings = root / "config" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(LAB_SETTINGS))
    (root / "books").mkdir()
    port = free_port()
    env = {**stack.env, "PYTHONPATH": str(Path(__file__).parents[2]), "JUPYTER_TOKEN": TOKEN, "JUPYTER_CONFIG_DIR": str(root / "config"), "JUPYTER_RUNTIME_DIR": str(root / "run"),
           "JUPYTER_DATA_DIR": str(root / "data"), "IPYTHONDIR": str(root / "ipython"), "JUPYTER_PREFER_ENV_PATH": "1"}  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root / 'books'}",
               "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True",
               *(("--allow-root",) if os.getuid() == 0 else ())]  # fmt: skip
    with (root / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        base = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{base}/api?token={TOKEN}"), 60)
        yield SimpleNamespace(base=base, books=root / "books")
    finally:
        process.terminate()
        process.wait(30)


def answers(url):
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def book(lab):
    """Make a notebook of some cells and open it; nothing but loopback may be asked for."""
    from playwright.sync_api import sync_playwright

    if not Path(kit.CHROMIUM).exists():
        pytest.skip("Chromium is not installed")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=kit.CHROMIUM, args=kit.ARGS)
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        asked = kit.guard(context)
        opened = []

        def make(name, *cells):
            file = lab.books / f"{name}.ipynb"
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
            notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
            nbformat.write(notebook, file)
            opened.append(Book(context.new_page(), lab.base, name))
            return opened[-1]

        yield make
        for one in opened:
            one.shut_down()
        browser.close()
    assert asked == []


class Book:
    """An open notebook."""

    def __init__(self, page, base, name):
        self.page, self.base, self.name = page, base, name
        self.open()

    def open(self, *, kernel=True):
        self.page.goto(f"{self.base}/lab/tree/{self.name}.ipynb?token={TOKEN}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        if kernel:
            self.page.wait_for_function(f"() => ({self.kernel})?.status === 'idle'", timeout=60_000)

    kernel = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"

    def run_all(self):
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def run_cell(self, number):
        self.page.evaluate(
            "(n) => { const book = window.jupyterapp.shell.currentWidget.content; book.deselectAll(); book.activeCellIndex = n; }", number
        )
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")

    def save(self):
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def cards(self, state=""):
        return self.page.locator(f".jp-OutputArea-output section.card{f'[data-s={state}]' if state else ''}")

    def press(self, label):
        self.cards().get_by_role("button", name=label).first.click()

    def shot(self, name):
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def shut_down(self):
        self.page.evaluate("async () => { await window.jupyterapp.shell.currentWidget?.sessionContext?.shutdown() }")


def node_of(stack, vmid):
    return stack.ops().guests().set_index("vmid").loc[vmid, "node"]


def somewhere_else(stack, vmid):
    return next(name for name in ("pve1", "pve2", "pve3") if name != node_of(stack, vmid))


def records(stack, kind):
    return [record for record in stack.client().audit(limit=1000) if record["kind"] == kind]


@pytest.mark.parametrize(
    ("name", "work"),
    [("asleep", f"time.sleep({BUSY_S})"), ("counting", f"end = time.time() + {BUSY_S}\nn = 0\nwhile time.time() < end: n += 1")],
)
def test_a_click_migrates_the_guest_while_another_cell_is_busy(book, stack, name, work):
    vmid = 101 if name == "asleep" else 104
    target = somewhere_else(stack, vmid)
    page = book(name, OPEN, f"%%ops\nmigrate {vmid} to {target}", f"print('busy')\n{work}\nprint('free', 'again')")
    page.run_all()
    page.page.get_by_text("busy", exact=True).last.wait_for(timeout=60_000)
    page.cards("waiting").wait_for(timeout=20_000)
    page.page.wait_for_timeout(800)
    page.shot(f"{name}-waiting")
    clicked = time.monotonic()
    page.press("Confirm migration")
    page.cards("running").wait_for(timeout=10_000)
    took_s = time.monotonic() - clicked
    assert page.page.get_by_text("free again").count() == 0, "the other cell had ended"
    page.shot(f"{name}-running")
    page.cards("done").wait_for(timeout=60_000)
    print(f"{name}: click to running {took_s:.2f} s")
    assert took_s < 1.5
    assert node_of(stack, vmid) == target
    assert any(record["data"].get("channel") == "card" for record in records(stack, "proposal.approved"))
    page.page.get_by_text("free again").wait_for(timeout=30_000)
    page.shot(f"{name}-done")


def test_running_the_cell_again_confirms_nothing(book, stack):
    page = book("again", OPEN, f"p = ops.guest(105).migrate('{somewhere_else(stack, 105)}').propose()", "p")
    page.run_all()
    page.press("Confirm migration")
    page.cards("done").wait_for(timeout=60_000)
    approved = len(records(stack, "proposal.approved"))
    page.run_cell(2)
    page.cards("used").wait_for(timeout=20_000)
    assert page.page.get_by_text("Running this cell again confirms nothing.").is_visible()
    page.shot("used")
    page.run_cell(1)
    page.page.wait_for_timeout(1500)
    assert len(records(stack, "proposal.approved")) == approved
    assert page.cards("used").count() == 1


def test_a_draft_is_proposed_denied_and_an_undo_comes_below(book, stack):
    page = book("draft", OPEN, "ops.draft('guest.snapshot', guest='106', name='before-it')")
    page.run_all()
    page.cards("draft").wait_for(timeout=30_000)
    page.press("Dry run")
    page.page.get_by_text("Nothing was written.").wait_for(timeout=10_000)
    page.press("Propose")
    page.cards("waiting").wait_for(timeout=10_000)
    page.press("Confirm snapshot")
    page.cards("done").wait_for(timeout=60_000)
    page.press("Show record")
    page.page.get_by_text("step.intended").wait_for(timeout=10_000)
    page.press("Propose undo")
    page.cards("waiting").wait_for(timeout=10_000)
    assert page.cards().count() == 2
    page.shot("undo-below")
    page.cards("waiting").get_by_role("button", name="Deny").click()
    page.cards("denied").wait_for(timeout=10_000)
    assert "before-it" in stack.ops().guest(106).snapshots()["name"].tolist()


def test_errors_are_one_paragraph(book):
    page = book("errors", OPEN, "ops.guest('nobody')", "%ops which node is fullest")
    page.run_cell(0)
    page.run_cell(1)
    page.page.get_by_text("UnknownName: ").wait_for(timeout=30_000)
    assert page.page.get_by_text("Traceback").count() == 0
    page.run_cell(2)
    page.page.get_by_text("is fullest by memory").first.wait_for(timeout=30_000)
    table = page.page.locator(".jp-OutputArea-output .pv.inert table")
    assert table.count() == 1
    # JupyterLab's own fixed layout lets long cells run into each other
    assert table.evaluate("(node) => getComputedStyle(node).tableLayout") == "auto"
    page.shot("words")


def test_a_restarted_kernel_leaves_a_card_that_says_so(book):
    page = book("restart", OPEN, "ops.guest(107).reboot().propose()")
    page.run_all()
    page.cards("waiting").wait_for(timeout=30_000)
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.page.get_by_text("Python no longer answers this card").wait_for(timeout=40_000)
    page.shot("restarted")


def test_a_saved_card_shows_its_last_state_without_a_kernel(book, stack, lab):
    page = book("saved", OPEN, f"ops.guest(108).migrate('{somewhere_else(stack, 108)}').propose()")
    page.run_all()
    page.press("Confirm migration")
    page.cards("done").wait_for(timeout=60_000)
    page.save()
    page.page.wait_for_timeout(500)
    page.shut_down()
    page.open(kernel=False)
    page.cards("done").wait_for(timeout=40_000)
    page.page.wait_for_timeout(6_000)
    assert page.cards().get_by_role("button").count() == 0
    page.shot("saved")
    exported = export_html(lab.books / "saved.ipynb")
    assert 'data-s="done"' in exported
    assert "<button" not in exported


def test_no_page_can_be_tricked_by_lab_shortcuts(book):
    """Keys pressed inside a card never reach JupyterLab's own commands."""
    page = book("keys", OPEN, "ops.guest(110).reboot().propose()")
    page.run_all()
    page.cards("waiting").wait_for(timeout=30_000)
    cells = page.page.locator(".jp-Notebook .jp-Cell").count()
    page.cards().get_by_role("button", name="Deny").focus()
    for key in ("a", "b", "x", "a"):
        page.page.keyboard.press(key)
    assert page.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert page.cards("waiting").count() == 1
