"""Ledger lines, good and bad, for the tests beside this file."""

import json
from pathlib import Path

from pveops.base.canon import canonical
from pveops.guard.audit.lines import write_line

OLD = Path(__file__).parents[3] / "data" / "ledger" / "first-format.jsonl"


def lines(ledger):
    return ledger.path.read_bytes().splitlines(keepends=True)


def rewrite(rows, seq, prev, **changes):
    """The line with another record in it, hashed as it should be, in the place of number ``seq``."""
    data = json.loads(rows[seq - 1])
    return write_line(canonical({**data["record"], **changes}), seq=seq, prev=prev)[0]


def chain(rows, start, prev):
    """The lines from ``start`` (a number) on, written anew so that they hold together after ``prev``."""
    made = []
    for number, raw in enumerate(rows, start=start):
        line, prev = write_line(canonical(json.loads(raw)["record"]), seq=number, prev=prev)
        made.append(line)
    return made
