import sqlite3

import pytest

from pveops.base.clock import SystemClock
from pveops.guard.audit import Ledger
from pveops.guard.audit.query import Query
from pveops.store.ledger_index import LedgerIndex


@pytest.fixture
def place(tmp_path):
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def ledger(place):
    made = Ledger(place, SystemClock(), LedgerIndex(place.with_name("index.sqlite")))
    made.append(
        "proposal.made", actor="anna", proposal="p-1", correlation="c-1", data={"author": "model:m-1", "plan": {"summary": "Restart"}}
    )
    made.append("step.intended", actor="anna", proposal="p-1", correlation="c-1", data={"call": "POST /x"})
    made.append("proposal.made", actor="bert", proposal="p-2", correlation="c-2", data={"author": "person"})
    made.append("step*", actor="bert")
    return made


def numbers(ledger, **query):
    return [record["seq"] for record in ledger.find(Query(**query))]


def test_questions(ledger):
    at = ledger.find(Query())[2]["at"]
    assert numbers(ledger) == [1, 2, 3, 4]
    assert numbers(ledger, model="m-1") == [1, 2], "all that came of a model's draft"
    assert numbers(ledger, kind="step") == [2]
    assert numbers(ledger, kind="step*") == [4]
    assert numbers(ledger, kind="proposal", actor="bert") == [3]
    assert numbers(ledger, since=at)[0] <= 3
    assert numbers(ledger, until="2026") == []
    assert numbers(ledger, text="restart") == [1]
    assert numbers(ledger, limit=1) == [4]
    assert numbers(ledger, correlation="c-2") == [3]
    assert ledger.span("p-1") == (1, 2)
    assert ledger.span("p-9") == ()


def test_it_takes_in_what_came_later_and_can_be_removed_at_any_time(ledger, place):
    assert len(numbers(ledger)) == 4
    Ledger(place, SystemClock()).append("late", actor="eve")
    assert numbers(ledger, actor="eve") == [5]
    for file in place.parent.glob("index.sqlite*"):
        file.unlink()
    assert numbers(ledger, actor="eve") == [5]
    assert place.with_name("index.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["garbage", "version", "other ledger", "no ledger"])
def test_an_index_that_does_not_fit_is_made_anew(ledger, place, damage):
    assert len(numbers(ledger)) == 4
    index = place.with_name("index.sqlite")
    if damage == "garbage":
        for file in place.parent.glob("index.sqlite*"):
            file.unlink()
        index.write_bytes(b"no database at all" * 100)
    elif damage == "version":
        base = sqlite3.connect(index)
        base.execute("PRAGMA user_version=99")
        base.close()
    elif damage == "other ledger":
        place.unlink()
        Ledger(place, SystemClock()).append("fresh", actor="zoe")
        assert numbers(Ledger(place, SystemClock(), LedgerIndex(index))) == [1]
        return
    else:
        place.unlink()
        assert numbers(Ledger(place, SystemClock(), LedgerIndex(index))) == []
        assert numbers(Ledger(place, SystemClock(), LedgerIndex(index))) == []
        return
    assert numbers(ledger) == [1, 2, 3, 4]


def test_lines_that_are_no_records_are_left_out(ledger, place):
    with place.open("ab") as file:
        file.write(b'garbage\n[]\n{"seq":9}\n{"kind":5,"seq":1,"prev":"","hash":""}\n')
    assert numbers(ledger) == [1, 2, 3, 4]


def test_a_fault_elsewhere_closes_the_database(place, ledger):
    class Broken:
        def lines(self, start):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        LedgerIndex(place.with_name("other.sqlite")).find(Broken(), Query())
