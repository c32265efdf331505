import itertools
import json
import multiprocessing
import os
import runpy
import shutil
import threading
import time
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pytest

from pveops.base.clock import SystemClock
from pveops.base.errors import AuditError
from pveops.guard.audit import GENESIS, Entry, Ledger
from pveops.guard.audit.query import Query
from pveops.store.ledger_index import LedgerIndex

chains = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("chains.py"))))


def test_records_are_chained_and_private(ledger):
    found = ledger.verify()
    assert (found.ok, found.records) == (True, 6)
    first, second = (json.loads(line) for line in chains.lines(ledger)[:2])
    assert first["prev"] == GENESIS
    assert second["prev"] == first["hash"]
    assert found.head == json.loads(chains.lines(ledger)[-1])["hash"]
    assert ledger.path.stat().st_mode & 0o777 == 0o600
    assert [record["data"]["n"] for record in ledger.records(proposal="p-1")] == [1, 3, 5]
    assert [record["seq"] for record in ledger.records(limit=2)] == [5, 6]
    assert ledger.span("p-1") == (2, 6)
    assert ledger.span("p-9") == ()


def test_several_records_go_down_together_or_not_at_all(ledger):
    entries = [Entry(kind="step.intended", actor="anna", data={"n": number}) for number in range(3)]
    assert ledger.append_all(entries) == 7
    assert ledger.verify().records == 9
    with pytest.raises(AuditError, match=r"cannot be written down: .*float"):
        ledger.append_all([*entries, Entry(kind="bad", actor="anna", data={"x": 0.5})])
    assert ledger.verify().records == 9


def test_every_record_says_under_which_policy(ledger):
    ledger.stamp = lambda: {"policy": "ab" * 32}
    ledger.append("x", actor="a", data={"n": 1})
    ledger.append("x", actor="a", data={"password": "hidden"})
    ledger.append("x", actor="a", data={"policy": "cd" * 32})
    plain, secret, own = (record["data"] for record in ledger.records(limit=3))
    assert plain == {"n": 1, "policy": "ab" * 32}
    assert secret == {"password": "[redacted]", "policy": "ab" * 32}
    assert own == {"policy": "cd" * 32}, "the record's own word counts"


def test_threads_share_a_sync_and_get_their_own_numbers(ledger, monkeypatch):
    syncs, real, numbers = [], os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda handle: (syncs.append(handle), time.sleep(0.01), real(handle)))
    workers = [threading.Thread(target=lambda: numbers.append(ledger.append("x", actor="a"))) for _ in range(40)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(numbers) == list(range(7, 47))
    assert len(syncs) < 20, "group commit"
    assert ledger.verify().records == 46


def test_an_index_answers_the_same(ledger):
    indexed = Ledger(ledger.path, SystemClock(), LedgerIndex(ledger.path.with_name("index.sqlite")))
    indexed.append("other", actor="bert", proposal="p-1")
    for query in (Query(), Query(proposal="p-1"), Query(actor="bert"), Query(text='"n": 3'), Query(limit=2), Query(kind="test")):
        assert indexed.find(query) == ledger.find(query)
    for proposal in ("p-1", "p-9"):
        assert indexed.span(proposal) == ledger.span(proposal)


def test_secrets_do_not_reach_the_ledger(ledger):
    ledger.append("x", actor="anna", data={"password": "hunter2", "text": "password=hunter2"})
    assert b"hunter2" not in ledger.path.read_bytes()


def test_a_mapping_of_another_kind_is_written_as_an_object(ledger):
    ledger.append("x", actor="a", data=MappingProxyType({"n": 1}))
    assert ledger.records(limit=1)[0]["data"] == {"n": 1}


def test_a_line_that_was_never_finished_is_set_aside(ledger):
    with ledger.path.open("ab") as file:
        file.write(b'{"seq":7,"half')
    other = Ledger(ledger.path, SystemClock())
    assert len(other.records()) == 6
    assert other.append("after.crash", actor="anna") == 7
    assert other.verify().ok
    assert [entry.read_bytes() for entry in ledger.path.parent.glob("*.torn-*")] == [b'{"seq":7,"half']
    empty = Ledger(ledger.path.with_name("only-torn"), SystemClock())
    empty.path.write_bytes(b"{half")
    assert empty.append("x", actor="a") == 1


def test_a_last_record_larger_than_a_look_is_found(ledger):
    ledger.append("large", actor="a", data={"text": "x" * 400_000})
    assert Ledger(ledger.path, SystemClock()).append("x", actor="a") == 8
    assert ledger.verify().ok


def test_what_another_process_appended_is_checked_before_it_is_built_upon(ledger):
    other = Ledger(ledger.path, SystemClock())
    other.append("x", actor="b")
    assert ledger.append("y", actor="a") == 8
    with ledger.path.open("ab") as file:
        file.write(chains.lines(ledger)[-1].replace(b'"actor":"a"', b'"actor":"b"'))
    with pytest.raises(AuditError, match=r"Record 9 .* was not written by pveops: its number is 8 where 9 belongs"):
        ledger.append("z", actor="a")


def test_nothing_is_built_upon_a_damaged_end(ledger):
    ledger.path.write_bytes(ledger.path.read_bytes() + b"garbage\n")
    with pytest.raises(AuditError, match="cannot be built upon: it is no JSON object"):
        Ledger(ledger.path, SystemClock()).append("x", actor="a")
    assert Ledger(ledger.path, SystemClock()).span("p-1") == (2, 6)


@pytest.mark.parametrize(("change", "said"), [("truncate", "lost its last"), ("replace", "was replaced"), ("remove", "is gone")])
def test_a_ledger_that_changes_under_our_hands_is_not_used_any_more(ledger, change, said):
    if change == "truncate":
        with ledger.path.open("r+b") as file:
            file.truncate(len(chains.lines(ledger)[0]))
    elif change == "replace":
        copy = ledger.path.with_name("copy")
        shutil.copy(ledger.path, copy)
        copy.replace(ledger.path)
    else:
        ledger.path.unlink()
    for _ in range(2):
        with pytest.raises(AuditError, match=said):
            ledger.append("x", actor="a")


def test_a_barred_ledger_takes_nothing(ledger):
    ledger.bar("record 3: it was changed.")
    with pytest.raises(AuditError, match="not to be trusted: record 3"):
        ledger.append("x", actor="a")


def test_an_unwritable_ledger_says_no(tmp_path):
    with pytest.raises(AuditError, match="cannot be written"):
        Ledger(tmp_path, SystemClock()).append("x", actor="a")
    assert Ledger(tmp_path / "none", SystemClock()).records() == []
    assert Ledger(tmp_path / "none", SystemClock()).span("p-1") == ()


def test_a_full_disk_says_no(tmp_path):
    """/dev/full is the kernel's own full disk."""
    path = tmp_path / "ledger.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(AuditError, match=r"cannot be written: No space left on device"):
        Ledger(path, SystemClock()).append("x", actor="a")


def _as_nobody(path, answer):
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        Ledger(path, SystemClock()).append("x", actor="a")
    except AuditError as err:
        answer.put(err.message)
    else:
        answer.put("it was written")


def test_a_read_only_ledger_says_no(tmp_path, ledger):
    for folder in (ledger.path.parent, *ledger.path.parents[: len(ledger.path.parts) - 2]):
        if folder.stat().st_uid == os.getuid() and tmp_path.parent.parent in (folder, *folder.parents):
            folder.chmod(0o755)
    ledger.path.chmod(0o444)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    process = context.Process(target=_as_nobody, args=(ledger.path, answer))
    process.start()
    assert "Permission denied" in answer.get(timeout=10)
    process.join()


def test_a_write_that_falls_short_leaves_no_half_record(ledger, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:10]))
    with pytest.raises(AuditError):
        ledger.append("x", actor="a")
    monkeypatch.undo()
    assert ledger.verify().records == 6
    assert ledger.append("x", actor="a") == 7
    assert ledger.verify().ok


def test_the_first_format_is_read_and_gone_on_from(tmp_path):
    path = tmp_path / "ledger.jsonl"
    shutil.copy(chains.OLD, path)
    ledger = Ledger(path, SystemClock())
    assert ledger.verify().records == 6
    assert ledger.append("new.kind", actor="anna", proposal="p-8c41d2") == 7
    assert Ledger(path, SystemClock()).append("new.kind", actor="anna") == 8
    assert (ledger.verify().ok, ledger.verify().records) == (True, 8)
    kinds = [record["kind"] for record in ledger.records(proposal="p-8c41d2")]
    assert kinds == ["proposal.made", "proposal.approved", "step.intended", "run.ended", "new.kind"]
    assert (
        {"seq", "at", "kind", "actor", "correlation", "proposal", "data", "prev", "hash"}
        == set(ledger.records()[0])
        == set(ledger.records()[-1])
    )


def test_lines_that_can_still_be_taken_back_are_not_read(ledger):
    start = ledger.path.stat().st_size
    assert list(ledger.lines(start)) == []
    ledger.append("x", actor="a")
    ((at, raw),) = ledger.lines(start)
    assert (at, ledger.line(at, len(raw))) == (start, raw)
    grown = ledger.lines(start)
    next(grown)
    with ledger.path.open("ab") as file:
        file.write(b"later\n")
    assert list(grown) == [], "what came after the first look is for the next one"
    assert [record["seq"] for record in ledger.records()] == [1, 2, 3, 4, 5, 6, 7]


def _append(path, name, count):
    ledger = Ledger(path, SystemClock())
    for number in range(count):
        ledger.append("test", actor=name, data={"n": number})


def _two(path, each):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_append, args=(path, name, each)) for name in ("a", "b")]
    for process in both:
        process.start()
    for process in both:
        process.join()
    return Ledger(path, SystemClock()).verify()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_processes_keep_one_chain_of_ten_thousand(tmp_path):
    found = _two(tmp_path / "ledger.jsonl", 5000)
    assert (found.ok, found.records) == (True, 10_000)
    records = Ledger(tmp_path / "ledger.jsonl", SystemClock()).records()
    for name in ("a", "b"):
        assert [record["data"]["n"] for record in records if record["actor"] == name] == list(range(5000))
    actors = [record["actor"] for record in records]
    assert sum(one != other for one, other in itertools.pairwise(actors)) > 10, "they took turns"
