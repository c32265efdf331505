import pytest

from pveops.base.clock import SystemClock
from pveops.base.errors import AuditError, InputError
from pveops.guard.audit.notary import Notary, read_book
from pveops.guard.audit.proof import check_proof, prove
from pveops.model.claims import new_key

KEY, PUBLIC = new_key()


@pytest.fixture
def signed(ledger):
    book = ledger.path.with_name("book")
    Notary(
        ledger=ledger, book=book, key=KEY, executor="x-1", anchors=(), clock=SystemClock(), every_s=60, every_records=1000
    ).sign()  # fmt: skip
    return [one for one, _ in read_book(book)]


def test_every_record_can_be_proved_alone(ledger, signed):
    ledger.append("later", actor="a")
    for seq in range(1, 7):
        made = prove(ledger.path, seq, signed)
        assert check_proof(made, PUBLIC)["data"] == {"n": seq - 1}
    with pytest.raises(InputError, match="No checkpoint covers record 7; 6 are covered"):
        prove(ledger.path, 7, signed)
    with pytest.raises(InputError, match="0 are covered"):
        prove(ledger.path, 1, [])


def test_no_proof_can_be_bent(ledger, signed):
    made, other = prove(ledger.path, 3, signed), prove(ledger.path, 4, signed)
    for bent, said in (
        (made | {"line": made["line"].replace('"n":2', '"n":3')}, "no proof: its content"),
        (made | {"line": other["line"]}, "is not in the ledger"),
        (made | {"proof": made["proof"][:-1]}, "is not in the ledger"),
        (made | {"proof": ["x"]}, "no proof"),
        ({}, "no proof"),
        (made | {"checkpoint": made["checkpoint"] | {"size": 7}}, "does not carry the signature"),
    ):
        with pytest.raises(AuditError, match=said):
            check_proof(bent, PUBLIC)
    with pytest.raises(AuditError, match="does not carry the signature"):
        check_proof(made, new_key()[1])


def test_nothing_is_proved_from_a_damaged_ledger(ledger, signed):
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b'"n":1', b'"n":5', 1))
    with pytest.raises(AuditError, match="Record 2 is damaged"):
        prove(ledger.path, 3, signed)


def test_a_ledger_that_ends_before_the_checkpoint_proves_nothing(ledger, signed):
    ledger.path.write_bytes(b"".join(ledger.path.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(AuditError, match="is not in the ledger"):
        prove(ledger.path, 3, signed)
