from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.errors import InputError
from pveops.clients.cluster.wire import check_path
from pveops.model.tasks import Outcome, Task, Upid

TEXT = "UPID:pve1:0001C2F8:000A1B2C:673F1A2B:qmigrate:101:operator@pve!act:"


def test_a_upid_is_taken_apart():
    upid = Upid.parse(TEXT)
    assert (upid.node, upid.type, upid.id, upid.user, upid.starttime_s) == ("pve1", "qmigrate", "101", "operator@pve!act", 0x673F1A2B)
    assert str(upid) == TEXT
    assert check_path(upid.path) == f"/nodes/pve1/tasks/{TEXT}"
    assert upid.started == datetime.fromtimestamp(0x673F1A2B, UTC)
    assert Upid.parse("UPID:n:00000001:00000002:673F1A2B:aptupdate::root@pam:").id == ""


@pytest.mark.parametrize("text", ["", "UPID:", TEXT[:-1], TEXT.replace("qmigrate", "a/b"), TEXT.replace("pve1", "../x"), TEXT + "x"])
def test_what_is_no_upid_never_becomes_a_path(text):
    with pytest.raises(InputError):
        Upid.parse(text)


@given(st.text(max_size=80))
def test_no_text_breaks_the_parser(text):
    with pytest.raises(InputError):
        Upid.parse(text + "\n")


@pytest.mark.parametrize(
    ("status", "exit_", "kind", "ok"),
    [
        ("running", None, "running", False),
        ("stopped", "OK", "done", True),
        ("stopped", "WARNINGS: 2", "warnings", True),
        ("stopped", "VM 101 already running", "failed", False),
        ("stopped", "unexpected status", "unknown", False),
        ("stopped", None, "unknown", False),
        ("stopped", "", "unknown", False),
    ],
)
def test_outcomes(status, exit_, kind, ok):
    outcome = Outcome.of(status, exit_)
    assert (outcome.kind, outcome.ok) == (kind, ok)


def test_a_task_knows_how_long_it_took():
    upid = Upid.parse(TEXT)
    kept = {"upid": upid, "node": "pve1", "type": "qmigrate", "id": "101", "user": "u", "token": None, "started": upid.started}
    assert Task(**kept, ended=None, outcome=Outcome("running")).duration_s is None
    assert Task(**kept, ended=upid.started + timedelta(seconds=9), outcome=Outcome("done")).duration_s == 9
