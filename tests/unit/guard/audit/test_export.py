import csv
import io
import json

from pveops.guard.audit.export import write_csv, write_jsonl
from pveops.guard.audit.query import COLUMNS


def test_both_forms_hold_every_record(ledger):
    ledger.append("x", actor="=cmd()", data={"why": 'line\nbreak, and "quotes"'})
    records, lines, sheet = ledger.records(), io.StringIO(), io.StringIO()
    assert write_jsonl(records, lines) == write_csv(records, sheet) == 7
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == records
    head, *cells = csv.reader(io.StringIO(sheet.getvalue()))
    assert tuple(head) == COLUMNS
    last = dict(zip(head, cells[-1], strict=True))
    assert last["who"] == "'=cmd()", "no cell starts a formula"
    assert last["why"] == 'line\nbreak, and "quotes"'
    assert last["hash"] == records[-1]["hash"]
