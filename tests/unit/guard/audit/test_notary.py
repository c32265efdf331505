import json
import logging

import pytest

from pveops.base.clock import SystemClock
from pveops.base.errors import AuditError
from pveops.guard.audit import Ledger, verify
from pveops.guard.audit.anchors import FileAnchor
from pveops.guard.audit.checkpoint import trusted
from pveops.guard.audit.notary import Notary, read_book
from pveops.model.claims import new_key

KEY, PUBLIC = new_key()


class Watch(SystemClock):
    """The machine's clock, with a monotonic one that is set by hand."""

    at_s = 0.0

    def monotonic_s(self):
        return self.at_s


def notary(ledger, clock=None, anchors=(), **options):
    book = ledger.path.with_name("checkpoints.jsonl")
    options = {"every_s": 60.0, "every_records": 1000} | options
    return Notary(ledger=ledger, book=book, key=KEY, executor="x-1", anchors=anchors, clock=clock or Watch(), **options)


def book(ledger):
    return ledger.path.with_name("checkpoints.jsonl")


def kept(ledger):
    return [one for one, _ in read_book(book(ledger))]


def test_it_signs_when_it_is_time(ledger):
    clock = Watch()
    sealing = notary(ledger, clock)
    sealing.open()
    assert sealing.tick() is None
    clock.at_s = 59
    assert sealing.tick() is None
    clock.at_s = 60
    assert sealing.tick().size == 6
    clock.at_s = 600
    assert sealing.tick() is None, "nothing new"
    assert sealing.sign() is None
    ledger.append("x", actor="a")
    assert sealing.sign().size == 7
    assert verify(ledger.path, trusted(kept(ledger), PUBLIC)).checkpoints == 2
    assert book(ledger).stat().st_mode & 0o777 == 0o600


def test_it_signs_after_so_many_records(ledger):
    sealing = notary(ledger, every_records=6)
    assert sealing.tick().size == 6


def test_it_goes_on_where_it_was(ledger):
    notary(ledger).sign()
    ledger.append("x", actor="a")
    again = notary(ledger)
    again.open()
    assert again.sign().size == 7
    assert verify(ledger.path, kept(ledger)).checkpoints == 2


def test_checkpoints_go_to_anchors_and_a_broken_anchor_is_written_down_once(ledger, tmp_path, caplog):
    place = tmp_path / "elsewhere" / "anchor.jsonl"
    sealing = notary(ledger, anchors=[FileAnchor(place)])
    with caplog.at_level(logging.WARNING):
        sealing.sign()
        sealing.sign()
        sealing.sign()
    assert [record["kind"] for record in ledger.records(limit=1)] == ["anchor.failed"]
    place.parent.mkdir()
    ledger.append("x", actor="a")
    made = sealing.sign()
    assert FileAnchor(place).kept() == [made]
    assert [record["kind"] for record in ledger.records()][6:] == ["anchor.failed", "x", "anchor.works"]
    sealing.check()


def test_a_ledger_that_is_not_the_signed_one_is_not_opened(ledger):
    notary(ledger).sign()
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    with pytest.raises(AuditError, match="not the one that the checkpoint"):
        notary(Ledger(ledger.path, SystemClock())).open()
    ledger.path.unlink()
    with pytest.raises(AuditError, match="does not reach the checkpoint"):
        notary(Ledger(ledger.path, SystemClock())).open()
    ledger.path.write_bytes(whole)
    notary(Ledger(ledger.path, SystemClock())).open()
    last = json.loads(book(ledger).read_text())
    book(ledger).write_text(json.dumps(last | {"peaks": ["0" * 64, "1" * 64]}) + "\n")
    with pytest.raises(AuditError, match="not the one that the checkpoint"):
        notary(ledger).open()
    book(ledger).write_text(json.dumps({"checkpoint": last["checkpoint"] | {"size": 5}}) + "\n")
    with pytest.raises(AuditError, match="does not carry the signature"):
        notary(ledger).open()


def test_an_anchor_that_has_seen_more_is_believed(ledger, tmp_path):
    place = FileAnchor(tmp_path / "anchor.jsonl")
    notary(ledger, anchors=[place]).sign()
    book(ledger).unlink()
    ledger.path.write_bytes(b"".join(ledger.path.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(AuditError, match=r"holds 4 records, and an anchored checkpoint of .* has seen 6"):
        notary(Ledger(ledger.path, SystemClock()), anchors=[place]).open()


def test_damage_that_is_seen_later_bars_the_ledger(ledger):
    sealing = notary(ledger)
    sealing.sign()
    with ledger.path.open("ab") as file:
        file.write(b"garbage\n")
    with pytest.raises(AuditError, match="damaged at record 7: it is no JSON object"):
        sealing.tick()
    with pytest.raises(AuditError, match="not to be trusted"):
        ledger.append("x", actor="a")


def test_the_full_look_finds_what_lies_before_the_last_checkpoint(ledger, tmp_path):
    place = FileAnchor(tmp_path / "anchor.jsonl")
    sealing = notary(ledger, anchors=[place])
    sealing.sign()
    sealing.check()
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b'"n":1', b'"n":5', 1))
    notary(Ledger(ledger.path, SystemClock())).open()
    with pytest.raises(AuditError, match="damaged at record 2: its content does not fit its hash"):
        sealing.check()
    with pytest.raises(AuditError, match="not to be trusted"):
        ledger.append("x", actor="a")


def test_a_book_that_cannot_be_written_is_said_and_its_junk_is_skipped(ledger):
    assert read_book(book(ledger)) == []
    notary(ledger).sign()
    with book(ledger).open("a") as file:
        file.write("junk\n[]\n{}\n")
    assert [one.size for one in kept(ledger)] == [6]
    book(ledger).unlink()
    book(ledger).symlink_to("/dev/full")
    with pytest.raises(AuditError, match=r"book of checkpoints .* cannot be written"):
        notary(ledger).sign()
