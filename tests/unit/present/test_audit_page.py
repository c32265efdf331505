from datetime import UTC, datetime

from pveops.guard.audit.query import rows
from pveops.present.audit_page import audit_page

NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)
RECORD = {"seq": 1, "at": "2026-11-21T10:00:00.000Z", "kind": "x", "actor": "<script>alert(1)</script>", "correlation": "c-1", "proposal": "p-1",
          "hash": "ab12" * 16, "prev": "0" * 64, "data": {"why": "Because & so", "author": "model:m-1", "prompt_sha256": "cd34" * 16}}  # fmt: skip


def test_a_page_says_who_what_when_why_and_escapes_it():
    page = audit_page(list(rows([RECORD])), source="ledger.jsonl", verdict="The ledger is whole.", whole=True, now=NOW)
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    for text in (
        "&lt;script&gt;",
        "2026-11-21 10:00:00.000 UTC",
        "Because &amp; so",
        "m-1",
        "cd34cd34<",
        "ab12ab12<",
        "The ledger is whole.",
        "1 records",
    ):
        assert text in page, text
    assert "http" not in page.replace("http://www.w3.org", ""), "it asks nobody for anything"


def test_a_broken_ledger_is_said_and_an_empty_one_too():
    page = audit_page([], source="ledger.jsonl", verdict="It breaks at record 3.", whole=False, now=NOW)
    assert 'class="sec note error"' in page
    assert "No records." in page
