import json
import multiprocessing
import os

import pytest

from pveops.base.canon import canonical, digest
from pveops.base.clock import SystemClock
from pveops.base.errors import AuditError
from pveops.guard.audit import GENESIS, Ledger


@pytest.fixture
def ledger(tmp_path):
    made = Ledger(tmp_path / "audit" / "ledger.jsonl", SystemClock())
    for number in range(6):
        made.append("test.kind", actor="anna", correlation="c-1", proposal="p-1" if number % 2 else "p-2", data={"n": number})
    return made


def lines(ledger):
    return ledger.path.read_bytes().splitlines(keepends=True)


def test_records_are_chained_and_private(ledger):
    found = ledger.verify()
    assert (found.ok, found.records) == (True, 6)
    first, second = (json.loads(line) for line in lines(ledger)[:2])
    assert first["prev"] == GENESIS
    assert second["prev"] == first["hash"]
    assert found.head == json.loads(lines(ledger)[-1])["hash"]
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert [record["data"]["n"] for record in ledger.records(proposal="p-1")] == [1, 3, 5]
    assert len(ledger.records(limit=2)) == 2
    assert ledger.span("p-1") == (2, 6)
    assert ledger.span("p-9") == ()


def rehash(line, **changes):
    record = {**json.loads(line), **changes}
    body = {key: value for key, value in record.items() if key != "hash"}
    return canonical({**body, "hash": digest(body)}) + b"\n"


TAMPER = {
    "edited": (lambda rows: [*rows[:2], rows[2].replace(b'"n":2', b'"n":7'), *rows[3:]], 3),
    "edited and rehashed": (lambda rows: [*rows[:2], rehash(rows[2], data={"n": 7}), *rows[3:]], 4),
    "deleted": (lambda rows: [*rows[:2], *rows[3:]], 3),
    "reordered": (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], 2),
    "doubled": (lambda rows: [*rows[:3], rows[2], *rows[3:]], 4),
    "inserted": (lambda rows: [*rows[:3], rehash(rows[2], seq=4), *rows[3:]], 4),
    "white space": (lambda rows: [*rows[:2], rows[2].replace(b'","', b'", "', 1), *rows[3:]], 3),
    "no JSON": (lambda rows: [*rows[:2], b"garbage\n", *rows[3:]], 3),
    "no object": (lambda rows: [*rows[:2], b"[1]\n", *rows[3:]], 3),
    "unfinished": (lambda rows: [*rows[:5], rows[5][:-20]], 6),
    "float": (lambda rows: [*rows[:2], rows[2].replace(b'"n":2', b'"n":2.5'), *rows[3:]], 3),
}


@pytest.mark.parametrize("kind", TAMPER)
def test_every_kind_of_tampering_is_found_with_its_place(ledger, kind):
    change, where = TAMPER[kind]
    ledger.path.write_bytes(b"".join(change(lines(ledger))))
    found = Ledger(ledger.path, SystemClock()).verify()
    assert not found.ok
    assert found.bad_line == where
    assert found.why
    assert found.records == where - 1


def test_secrets_do_not_reach_the_ledger(ledger):
    ledger.append("x", actor="anna", data={"password": "hunter2", "text": "password=hunter2"})
    assert b"hunter2" not in ledger.path.read_bytes()


def test_a_line_that_was_never_finished_is_set_aside(ledger):
    with ledger.path.open("ab") as file:
        file.write(b'{"seq":7,"half')
    other = Ledger(ledger.path, SystemClock())
    assert other.append("after.crash", actor="anna") == 7
    assert other.verify().ok
    assert [entry.read_bytes() for entry in ledger.path.parent.glob("*.torn-*")] == [b'{"seq":7,"half']
    empty = Ledger(ledger.path.with_name("only-torn"), SystemClock())
    empty.path.write_bytes(b"{half")
    assert empty.append("x", actor="a") == 1


def test_nothing_is_built_upon_a_damaged_end(ledger):
    ledger.path.write_bytes(ledger.path.read_bytes() + b"garbage\n")
    with pytest.raises(AuditError, match="cannot be read"):
        Ledger(ledger.path, SystemClock()).append("x", actor="a")
    assert Ledger(ledger.path, SystemClock()).span("p-1") == (2, 6)


def test_an_unwritable_ledger_says_no(tmp_path):
    with pytest.raises(AuditError, match="cannot be written"):
        Ledger(tmp_path, SystemClock()).append("x", actor="a")
    assert Ledger(tmp_path / "none", SystemClock()).records() == []
    assert Ledger(tmp_path / "none", SystemClock()).span("p-1") == ()


def test_a_full_disk_leaves_no_half_record(ledger, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:10]))
    with pytest.raises(AuditError):
        ledger.append("x", actor="a")
    monkeypatch.undo()
    assert ledger.verify().records == 6
    assert ledger.append("x", actor="a") == 7
    assert ledger.verify().ok


def _append(path, name, count):
    ledger = Ledger(path, SystemClock())
    for number in range(count):
        ledger.append("test", actor=name, data={"n": number})


def test_two_processes_keep_one_chain(tmp_path):
    path = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_append, args=(path, name, 200)) for name in ("a", "b")]
    for process in both:
        process.start()
    for process in both:
        process.join()
    found = Ledger(path, SystemClock()).verify()
    assert (found.ok, found.records) == (True, 400)
