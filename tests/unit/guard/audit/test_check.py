import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from pveops.base.clock import SystemClock
from pveops.guard.audit import GENESIS, Ledger, check, verify
from pveops.guard.audit.checkpoint import sign_checkpoint
from pveops.guard.audit.merkle import Tree
from pveops.model.claims import new_key

chains = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("chains.py"))))
KEY, _ = new_key()


def checkpoint(rows, size):
    tree = Tree()
    for raw in rows[:size]:
        tree.add(bytes.fromhex(json.loads(raw)["hash"]))
    head = json.loads(rows[size - 1])["hash"] if size else GENESIS
    return sign_checkpoint(KEY, executor="x-1", at="2026-11-21T10:00:00.000Z", size=size, root=tree.root, head=head)


def hash_of(rows, number):
    return json.loads(rows[number - 1])["hash"] if number else GENESIS


def rehashed(rows):
    """Record 3 with other content and a hash of its own that fits."""
    return [*rows[:2], chains.rewrite(rows, 3, hash_of(rows, 2), data={"n": 7}), *rows[3:]]


def rewritten(rows):
    """From record 3 on everything anew, so that the chain holds."""
    third = chains.rewrite(rows, 3, hash_of(rows, 2), data={"n": 7})
    return [*rows[:2], *chains.chain([third, *rows[3:]], 3, hash_of(rows, 2))]


TAMPER = {
    "edited": (lambda rows: [*rows[:2], rows[2].replace(b'"n":2', b'"n":7'), *rows[3:]], 3),
    "edited and rehashed": (rehashed, 4),
    "deleted": (lambda rows: [*rows[:2], *rows[3:]], 3),
    "reordered": (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], 2),
    "doubled": (lambda rows: [*rows[:3], rows[2], *rows[3:]], 4),
    "inserted": (lambda rows: [*rows[:3], chains.rewrite(rows, 4, hash_of(rows, 3), data={"n": 9}), *rows[3:]], 5),
    "white space": (lambda rows: [*rows[:2], rows[2].replace(b'","', b'", "', 1), *rows[3:]], 3),
    "no JSON": (lambda rows: [*rows[:2], b"garbage\n", *rows[3:]], 3),
    "no object": (lambda rows: [*rows[:2], b"[1]\n", *rows[3:]], 3),
    "unfinished": (lambda rows: [*rows[:5], rows[5][:-20]], 6),
    "float": (lambda rows: [*rows[:2], rows[2].replace(b'"n":2', b'"n":2.5'), *rows[3:]], 3),
    "the first format again": (lambda rows: [*rows[:2], chains.OLD.read_bytes().splitlines(keepends=True)[0], *rows[3:]], 3),
}


@pytest.mark.parametrize("kind", TAMPER)
def test_every_kind_of_tampering_is_found_with_its_place(ledger, kind):
    change, where = TAMPER[kind]
    ledger.path.write_bytes(b"".join(change(chains.lines(ledger))))
    found = verify(ledger.path)
    assert not found.ok
    assert found.bad_line == where
    assert found.why
    assert found.records == where - 1


def test_a_whole_rewrite_is_found_by_a_checkpoint_alone(ledger):
    rows = chains.lines(ledger)
    kept = [checkpoint(rows, size) for size in (2, 5)]
    assert verify(ledger.path, kept).checkpoints == 2
    ledger.path.write_bytes(b"".join(rewritten(rows)))
    assert verify(ledger.path).ok, "the chain alone cannot know"
    found = verify(ledger.path, kept)
    assert (found.bad_seq, found.records, found.covered) == (3, 2, 2)
    assert "written anew" in found.why
    assert "between record 3 and record 5" in found.why


def test_a_copy_names_the_very_record_that_was_written_anew(ledger, tmp_path):
    rows = chains.lines(ledger)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(b"".join(rows))
    assert verify(ledger.path, copy=copy).ok
    ledger.path.write_bytes(b"".join(rewritten(rows)))
    found = verify(ledger.path, copy=copy)
    assert (found.bad_seq, found.records) == (3, 2)
    assert "copy" in found.why
    ledger.path.write_bytes(b"".join(rows[:4]))
    assert "records 5 to 6 are missing" in verify(ledger.path, copy=copy).why
    ledger.path.write_bytes(b"".join(rows))
    copy.write_bytes(b"".join(rows[:4]))
    assert verify(ledger.path, copy=copy).ok, "a copy may be older"


def test_truncation_is_found_by_a_checkpoint(ledger):
    rows = chains.lines(ledger)
    kept = [checkpoint(rows, 5), checkpoint(rows, 6)]
    ledger.path.write_bytes(b"".join(rows[:3]))
    assert verify(ledger.path).ok
    found = verify(ledger.path, kept)
    assert (found.bad_seq, found.records) == (4, 3)
    assert "records 4 to 6 are missing" in found.why
    ledger.path.unlink()
    assert verify(ledger.path, kept).bad_seq == 1


def test_checkpoints_of_an_empty_ledger_and_of_a_false_head(tmp_path, ledger):
    rows = chains.lines(ledger)
    empty = checkpoint(rows, 0)
    assert verify(tmp_path / "none", [empty]).ok
    lie = sign_checkpoint(KEY, executor="x-1", at="2026-11-21T10:00:00.000Z", size=0, root=b"\x01" * 32, head=GENESIS)
    assert verify(tmp_path / "none", [lie]).bad_seq == 1
    false = sign_checkpoint(KEY, executor="x-1", at=empty.at, size=6, root=bytes.fromhex(checkpoint(rows, 6).root), head="1" * 64)
    assert not verify(ledger.path, [false]).ok


def test_a_ledger_that_grows_while_it_is_read_is_read_as_it_was(ledger, monkeypatch):
    size = check.stable_size(ledger.path)
    Ledger(ledger.path, SystemClock()).append("x", actor="a")
    monkeypatch.setattr(check, "stable_size", lambda path: size)
    assert verify(ledger.path).records == 6
