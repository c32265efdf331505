"""What IPython shows: cards where widgets run, text and inert HTML everywhere, one paragraph for our errors."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from pveops.agent.loop import Turn
from pveops.app.handles import Draft, ProposalHandle
from pveops.base.errors import Denied, ExecutorUnavailable, UnknownName
from pveops.surfaces import widgets
from pveops.surfaces.widgets import formatters
from pveops.tools.registry import ToolResult

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "present" / "samples.py")))
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config)
    widgets.register(made)
    widgets.register(made)
    return made


class Client:
    principal = "anna"
    can_sign = True

    def __init__(self, view):
        self.told = view

    def proposal(self, proposal_id):
        if isinstance(self.told, Exception):
            raise self.told
        return self.told

    def events(self, *, after, wait_s=20.0):
        return []


class Executors:
    def __init__(self, view):
        self.held = Client(view)

    def client(self, *, start=True):
        return self.held

    def propose(self, plan, *, author):
        return samples.view(plan)


def bundle(shell, thing):
    shell.display_formatter.active_types = shell.display_formatter.format_types
    return shell.display_formatter.format(thing)[0]


def test_a_proposal_is_text_and_inert_html_where_no_widgets_run(shell):
    shown = bundle(shell, ProposalHandle(Executors(samples.view()), "p-8c41d2"))
    assert shown["text/plain"].startswith("[waiting]  p-8c41d2")
    assert "<button" not in shown["text/html"]
    assert VIEW not in shown


def test_a_proposal_is_a_card_where_they_do(shell, monkeypatch):
    monkeypatch.setattr(formatters, "widgets_run", lambda _shell: True)
    shown = bundle(shell, ProposalHandle(Executors(samples.every()["used"][0]), "p-8c41d2"))
    assert shown[VIEW]["model_id"]
    assert shown["text/plain"].startswith("[used]")
    from ipywidgets import Widget

    widget = Widget.widgets[shown[VIEW]["model_id"]] if hasattr(Widget, "widgets") else None
    if widget is not None:
        assert widget.view["cards"][0]["state"] == "used"


def test_an_executor_that_is_away_is_told_not_raised(shell):
    shown = bundle(shell, ProposalHandle(Executors(ExecutorUnavailable("The executor does not answer.", hint="Start it.")), "p-8c41d2"))
    assert shown["text/plain"] == "ExecutorUnavailable: The executor does not answer. Start it."
    assert 'role="alert"' in shown["text/html"]


def test_drafts_results_previews_and_views_have_html(shell):
    draft = Draft(samples.MIGRATE, Executors(samples.view()), samples.proposal().origin, None, None)
    result = ToolResult(status="ok", text="2 guests.", searched="/x", read_at=samples.NOW)
    for thing in (draft, result, samples.preview(), samples.view()):
        shown = bundle(shell, thing)
        assert "pv inert" in shown["text/html"]
        assert shown["text/plain"]


def test_a_turn_is_text_where_nothing_draws_it():
    view = samples.view()
    told = str(Turn("x", "Offline mode.", ("Hello.",), (), (view,), (UnknownName("There is no x."),)))
    assert told.startswith("Hello.\n\n")
    assert f"pveops proposals show {view.proposal.id}" in told
    assert view.proposal.plan.summary in told
    assert told.endswith("There is no x.")
    assert str(Turn("x", "Offline mode.")) == "Offline mode."


def test_a_turn_shows_words_then_proposals(shell, capsys, monkeypatch):
    published = []
    monkeypatch.setattr("IPython.display.publish_display_data", lambda data, **_: published.append(data))
    turn = Turn("x", "Offline mode.", ("Hello.",), (), (samples.view(),), (UnknownName("There is no x."),))
    shell.display_formatter.ipython_display_formatter(turn)
    assert "Hello." in published[0]["text/plain"]
    assert "There is no x." in published[0]["text/html"]
    assert published[1]["text/plain"].startswith("[waiting]")


def test_a_partial_table_says_so_below_and_a_whole_one_does_not(shell):
    frame = pd.DataFrame({"vmid": [101]})
    assert "Not seen" not in bundle(shell, frame)["text/html"]
    frame.attrs["gaps"] = [{"what": "some <guests>", "why": "no right", "needs": "VM.Audit"}]
    assert "Not seen: some &lt;guests&gt; (no right, needs VM.Audit)." in bundle(shell, frame)["text/html"]


def test_our_errors_are_one_paragraph_and_the_cell_still_fails(shell, capsys):
    shell.user_ns["fail"] = lambda: (_ for _ in ()).throw(Denied("No.", hint="Ask anna.", correlation="c-12345678"))
    ran = shell.run_cell("fail()")
    told = capsys.readouterr().out
    assert "Denied: No. Ask anna. c-12345678" in told
    assert "Traceback" not in told
    assert isinstance(ran.error_in_exec, Denied)
    shell.run_cell("1/0")
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_the_magic_asks_the_variable_ops(shell, monkeypatch):
    import pveops
    from pveops.app.ops import Ops

    asked = []

    class Held(Ops):
        def __init__(self, name):
            self.name = name

        def chat(self, text):
            asked.append((self.name, text))
            return f"turn {self.name}"

    monkeypatch.setattr(pveops, "connect", lambda profile=None: Held(profile or "usual"))
    assert shell.run_line_magic("ops", "show nodes") == "turn usual"
    assert shell.user_ns["ops"].name == "usual"
    shell.run_cell_magic("ops", "", "show guests\n")
    shell.run_cell_magic("ops", "other", "show storage")
    assert asked == [("usual", "show nodes"), ("usual", "show guests"), ("other", "show storage")]


def test_a_table_of_pveops_shows_values_as_people_read_them_and_keeps_its_names(shell):
    frame = pd.DataFrame({"vmid": [101, 102], "maxmem_bytes": [8 << 30, None], "why": ["<b>", None]}).astype({"maxmem_bytes": "Int64"})
    assert "8589934592" in bundle(shell, frame)["text/html"], "any other table is pandas' own"
    frame.attrs["table"] = "guests"
    drawn = bundle(shell, frame)["text/html"]
    assert "8\u00a0GiB" in drawn
    assert "maxmem_bytes" in drawn
    assert "&lt;b&gt;" in drawn
    assert "&lt;NA&gt;" not in drawn
    assert frame["maxmem_bytes"].iloc[0] == 8 << 30
    assert "No rows" in bundle(shell, frame.iloc[:0])["text/html"]
    assert "<th" in bundle(shell, frame.set_index("vmid"))["text/html"], "an index of its own is for pandas"
    many = pd.concat([frame] * 30, ignore_index=True)
    many.attrs["table"] = "guests"
    assert "and 20 more rows" in bundle(shell, many)["text/html"]
