"""Measures the simulated cluster against the wider recordings of the real API: ``python tests/contract/sim/truth.py``.

Three starts: shapes, permissions and parameter checks (A, B, C) share one, state (D) and authentication (E) have their own. Rows of methods
that the simulated cluster does not answer (501, counted by ``coverage``) do not count.
"""

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from truth_compare import fault, value_fault
from truth_host import DATA, Host

SECTIONS = {"A": "shapes", "B": "permissions", "C": "parameter checks", "D": "state", "E": "authentication"}
AFTERMATH_S = 3
"""What a task leaves to others (a start after a creation, say) took no time on the recording host."""

STARTS = (("A", "B", "C"), ("D",), ("E",))


@dataclass
class Tally:
    """Rows that agree, rows that count, and what is wrong with the others."""

    agree: int = 0
    total: int = 0
    misses: list = field(default_factory=list)
    hints: list = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.agree / self.total if self.total else 1.0


def known_methods():
    """Verb and path template of everything that is answered."""
    from pveops.sim.contract.coverage import entries

    return set(entries())


def counts(row, known, everything):
    """Whether a row is about a method that the simulator answers, or about no method at all."""
    return everything or not row["t"] or (row["m"], row["t"]) in known or not any(row["t"] == path for _, path in ALL_METHODS)


def _all_methods():
    from pveops.sim.contract.schema import load

    return set(load().methods)


ALL_METHODS = _all_methods()


def stand_ins():
    """Calls that stand in for writes that are not among these recordings, by the row before which they are made."""
    return {entry["before"]: entry["calls"] for entry in json.loads((DATA / "stand-ins-9.2.11.json").read_text(encoding="utf-8"))}


def replay(host, rows):
    """Ask every row in its order; the answers to them."""
    asked, missing = [], stand_ins()
    for row in rows:
        for call in missing.get(row["id"], ()):
            host.make(call)
        future = host.ask(row)
        asked.append((row, future))
        if row["status"] == 401:
            continue
        follow(host, row, future.result())
    return [(row, future.result()) for row, future in asked]


def follow(host, row, answer):
    """Let the task of an answer end, and remember its id in place of the recorded one; after other changes let a moment pass."""
    if row["m"] == "GET" or answer.status_code != 200:
        return
    data = answer.json().get("data") if answer.content else None
    theirs = row["body"].get("data") if isinstance(row["body"], dict) else None
    if isinstance(data, dict) and "full-tokenid" in data:
        host.secrets[data["full-tokenid"]] = data["value"]
    if not isinstance(data, str) or not data.startswith("UPID:"):
        host.advance(0.2)
        return
    if isinstance(theirs, str) and theirs.startswith("UPID:"):
        host.upids[theirs] = data
    if "keeps waiting" in row["note"]:
        host.advance(2)
    else:
        host.finish(data)
        host.advance(AFTERMATH_S)


def measure(rows, *, everything=False):
    """A tally per section and topic."""
    known = known_methods()
    tallies = defaultdict(Tally)
    for areas in STARTS:
        chosen = [row for row in rows if row["area"][0] in areas]
        if not chosen:
            continue
        host = Host.start()
        try:
            for text in host.base_failures:
                print(f"base state: {text}", file=sys.stderr)
            for row, answer in replay(host, chosen):
                if not counts(row, known, everything):
                    continue
                tally = tallies[row["area"]]
                tally.total += 1
                found = fault(answer, row)
                if found:
                    tally.misses.append((row, found))
                else:
                    tally.agree += 1
                    hint = value_fault(answer, row) if row["area"][0] in "AD" else ""
                    if hint:
                        tally.hints.append((row, hint))
        finally:
            host.stop()
            if "Traceback" in host.said:
                print(host.said, file=sys.stderr)
    return dict(tallies)


def overall(tallies, section):
    """The tallies of a section added up."""
    total = Tally()
    for area, tally in tallies.items():
        if area[0] == section:
            total.agree += tally.agree
            total.total += tally.total
    return total


def load(path=None):
    """The recordings; those that ship with the tests unless another file is named."""
    return [json.loads(line) for line in (path or DATA / "truth-9.2.11.jsonl").read_text(encoding="utf-8").splitlines()]


def reasons(path=None):
    """Row id to the declared reason why it cannot agree, or does not yet."""
    declared = json.loads((path or DATA / "misses-9.2.11.json").read_text(encoding="utf-8"))
    return {row: entry["reason"] for entry in declared for row in entry["rows"]}


def faults_of_reasons(tallies, declared):
    """Misses without a reason, and reasons without a miss."""
    missed = {row["id"] for tally in tallies.values() for row, _ in tally.misses}
    return sorted(missed - declared.keys()), sorted(declared.keys() - missed)


def tell(tallies, *, hints):
    """Print misses, each with its reason, and the table."""
    declared = reasons()
    for area in sorted(tallies):
        for row, text in tallies[area].misses:
            reason = declared.get(row["id"], "NO REASON DECLARED")
            print(f"{row['id']} {area} {row['as']} {row['m']} {row['p']} {json.dumps(row['d'])[:120]}: {text[:240]}\n    reason: {reason}")
        for row, text in tallies[area].hints if hints else ():
            print(f"  hint {row['id']} {area} {row['m']} {row['p']} {json.dumps(row['d'])[:100]}: {text}")
    calls = [call for found in stand_ins().values() for call in found]
    print(f"\n{len(calls)} calls stand in for writes that are not among these recordings (tests/data/pve/stand-ins-9.2.11.json)")
    for section, name in SECTIONS.items():
        whole = overall(tallies, section)
        if whole.total:
            print(f"{section} {name:<18} {whole.agree:>5} of {whole.total:<5} {whole.share:7.1%}")
    for area in sorted(area for area in tallies if len(area) > 1):
        tally = tallies[area]
        print(f"  {area[2:]:<18} {tally.agree:>5} of {tally.total:<5} {tally.share:7.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, help="another file of recordings")
    parser.add_argument("--sections", default="ABCDE")
    parser.add_argument("--all", action="store_true", help="count the rows of methods that are not simulated too")
    parser.add_argument("--hints", action="store_true", help="show values that differ, too")
    given = parser.parse_args()
    rows = [row for row in load(given.rows) if row["area"][0] in given.sections]
    tell(measure(rows, everything=given.all), hints=given.hints)


if __name__ == "__main__":
    main()
