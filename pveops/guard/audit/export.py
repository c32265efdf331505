"""The ledger for other programs: JSON lines, whole and checkable again, and CSV for spreadsheets."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from typing import IO, Any

from pveops.guard.audit.query import COLUMNS, rows


def write_jsonl(records: Iterable[Mapping[str, Any]], out: IO[str]) -> int:
    """One record per line, in one shape for both formats; returns how many."""
    count = 0
    for record in records:
        out.write(json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n")
        count += 1
    return count


def write_csv(records: Iterable[Mapping[str, Any]], out: IO[str]) -> int:
    """Who, what, when, why, which model, which prompt; returns how many. A cell never starts a formula."""
    sheet = csv.writer(out, lineterminator="\n")
    sheet.writerow(COLUMNS)
    count = 0
    for row in rows(records):
        sheet.writerow([_cell(row[name]) for name in COLUMNS])
        count += 1
    return count


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
