"""Results, previews, turns, errors and tables as text and as inert HTML."""

import runpy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from pveops.base.errors import UnknownName
from pveops.model.proposal import Check, Preview
from pveops.model.resources import Gap
from pveops.present import html, text
from pveops.present.card import card_view
from pveops.present.esm import card_module
from pveops.present.export import StillCards, export_html, still
from pveops.tools.registry import ToolResult

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("samples.py"))))
AT = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
ROWS = ({"vmid": 101, "name": "<web>", "mem_fraction": 0.5, "tags": None}, {"vmid": 102, "name": "db", "mem_fraction": None, "tags": None})


def result(**changes):
    return ToolResult(
        **(
            {
                "status": "ok",
                "text": "2 guests.",
                "rows": ROWS,
                "order": ("vmid", "name", "mem_fraction", "tags"),
                "searched": "/cluster/resources",
                "read_at": AT,
            }
            | changes
        )
    )


def test_a_result_as_text_aligns_figures_and_leaves_empty_columns_out():
    lines = text.result_text(result()).splitlines()
    assert lines[0] == "2 guests."
    assert lines[1].split() == ["Guest", "Name", "RAM"]
    assert "tags" not in lines[1].lower()
    assert lines[-1] == "Searched: /cluster/resources at 14:00:00\u00a0UTC"
    assert "… and 1 more." in text.result_text(result(), most_rows=1)


def test_a_result_as_html_is_escaped_and_names_its_gaps():
    gap = Gap(what="some <guests>", why="the token may not see all of them", needs="VM.Audit on /vms")
    drawn = html.result_html(result(status="partial", gaps=(gap,)))
    assert "&lt;web&gt;" in drawn
    assert "<web>" not in drawn
    assert "Not seen: some &lt;guests&gt;, because the token may not see all of them. Needs VM.Audit on /vms." in drawn
    assert '<th scope="col" class="r">RAM</th>' in drawn
    assert "and 1 more rows" in html.table_html(("vmid",), ROWS, most_rows=1)


@pytest.mark.parametrize("status", ["ok", "partial", "no_data", "error"])
def test_every_status_of_a_result_can_be_shown(status):
    bare = result(status=status, rows=(), order=(), text="Nothing.")
    assert "Nothing." in html.result_html(bare)
    assert "Nothing." in text.result_text(bare)


def test_a_preview_shows_what_failed_first():
    preview = Preview(
        checks=(Check(name="a", result="ok", text="fine"), Check(name="b", result="fail", text="locked")), read_at=AT, by="reader"
    )
    lines = text.preview_text(preview).splitlines()
    assert lines[0].startswith("It would not work now.")
    assert "fail" in lines[1]
    assert "Nothing was written." in html.preview_html(preview)


def turn(**changes):
    parts = {
        "notice": "Offline mode.",
        "said": ("2 guests.", "And <so>."),
        "found": (result(),),
        "proposed": (),
        "faults": (UnknownName("There is no x.", hint="Try y.", correlation="c-1"),),
    }
    return SimpleNamespace(**(parts | changes))


def test_a_turn_says_each_thing_once():
    drawn = html.words_html(turn())
    assert drawn.count("2 guests.") == 2  # the sentence, and the caption of its table for screen readers
    assert "And &lt;so&gt;." in drawn
    said = text.turn_text(turn(), ())
    assert said.count("2 guests.") == 1
    assert "UnknownName: There is no x. Try y. c-1" in said
    assert 'role="alert"' in drawn


def test_a_turn_with_a_proposal_holds_its_card():
    view, mode, now = samples.every()["waiting"]
    card = card_view(view, viewer="", can_sign=False, mode=mode, now=now)
    assert "Confirm elsewhere: pveops proposals approve p-8c41d2" in text.turn_text(turn(), (card,))
    drawn = html.turn_html(turn(), (card,))
    assert "<button" not in drawn
    assert 'data-s="waiting"' in drawn


def test_a_table_that_is_not_complete_says_so():
    attrs = {
        "gaps": [{"what": "backups in pbs", "why": "the token may not see all of them", "needs": "Datastore.AllocateSpace"}],
        "read_at": "2026-11-21T14:00:00.000Z",
    }
    assert text.frame_caption(attrs, AT) == (
        "Partial at 2026-11-21T14:00:00.000Z. Not seen: backups in pbs (the token may not see all of them, needs Datastore.AllocateSpace)."
    )
    assert text.frame_caption({}, AT) == ""


def saved_notebook(payload):
    model = "a" * 32
    output = nbformat.v4.new_output(
        "display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": model}, "text/plain": "x"}
    )
    cell = nbformat.v4.new_code_cell("p", outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    state = {"_anywidget_id": "pveops.surfaces.widgets.card.CardWidget", "_esm": "alert(1)", "view": payload}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {model: {"state": state}}}}
    return notebook


def test_a_saved_card_is_exported_inert_in_its_last_state(tmp_path):
    view, mode, now = samples.every()["done"]
    payload = {"v": 1, "now_ms": 0, "cards": [{"key": "c1", **card_view(view, viewer="anna", can_sign=True, mode=mode, now=now)}]}
    file = tmp_path / "a.ipynb"
    nbformat.write(saved_notebook(payload), file)
    drawn = export_html(file)
    assert 'data-s="done"' in drawn
    assert "<button" not in drawn
    assert "alert(1)" not in drawn
    assert "https://cdn" not in drawn
    assert still(payload)["text/plain"].startswith("[done]")


def test_other_widgets_are_left_alone():
    notebook = saved_notebook({"no": "cards"})
    StillCards().preprocess(notebook, {})
    assert "application/vnd.jupyter.widget-view+json" in notebook.cells[0].outputs[0].data


def test_the_module_is_one_file_with_one_export_and_asks_nobody():
    source = card_module()
    assert source.count("export default") == 1
    assert "import " not in "\n".join(
        line for line in source.splitlines() if not line.lstrip().startswith(("//", "*", "/*")) and len(line) < 400
    )
    for word in ("innerHTML", "insertAdjacentHTML", "outerHTML", "document.write", "eval(", "fetch(", "XMLHttpRequest"):
        assert word not in source
    assert "const LOOK = {}" not in source
