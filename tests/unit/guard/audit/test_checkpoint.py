import json
from dataclasses import replace

import pytest

from pveops.base.errors import AuditError
from pveops.guard.audit.checkpoint import check_checkpoint, checkpoints_in, parse_checkpoint, sign_checkpoint, trusted
from pveops.model.claims import new_key

KEY, PUBLIC = new_key()
MADE = sign_checkpoint(KEY, executor="x-0000000000000001", at="2026-11-21T10:00:00.000Z", size=7, root=b"\x01" * 32, head="2" * 64)


def test_a_checkpoint_carries_its_signature():
    check_checkpoint(MADE, PUBLIC)
    assert trusted([MADE], PUBLIC) == [MADE]
    assert parse_checkpoint(json.loads(MADE.text)) == MADE


@pytest.mark.parametrize(
    "change",
    [{"size": 8}, {"root": "3" * 64}, {"head": "3" * 64}, {"at": "2026-11-22T10:00:00.000Z"}, {"executor": "x-2"}, {"signature": "00"}],
)
def test_a_changed_one_does_not(change):
    with pytest.raises(AuditError, match="does not carry the signature"):
        check_checkpoint(replace(MADE, **change), PUBLIC)


def test_another_key_is_another_word():
    other, public = new_key()
    forged = sign_checkpoint(other, executor=MADE.executor, at=MADE.at, size=MADE.size, root=b"\x01" * 32, head=MADE.head)
    check_checkpoint(forged, public)
    with pytest.raises(AuditError):
        trusted([MADE, forged], PUBLIC)
    with pytest.raises(AuditError):
        check_checkpoint(replace(forged, key=PUBLIC), PUBLIC)


def test_checkpoints_are_found_in_any_text():
    text = f"Nov 21 10:00:00 host pveops[77]: {MADE.log_line}\nnoise {{}}\n{MADE.text}\npveops-checkpoint {{broken}}\n[]\n"
    assert list(checkpoints_in(text)) == [MADE, MADE]


@pytest.mark.parametrize("broken", [{"size": -1}, {"size": True}, {"size": "7"}, {"root": "x"}, {"at": 5}, {"v": 2}, {"key": None}])
def test_what_only_looks_like_one_is_none(broken):
    with pytest.raises(ValueError, match="no checkpoint"):
        parse_checkpoint(json.loads(MADE.text) | broken)
