"""Tables made column by column are the tables made from model objects."""

from datetime import UTC, datetime

import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.clients.cluster import parse
from pveops.clients.cluster.bulk import guest_columns
from pveops.frames.bulk import guests_frame
from pveops.frames.columns import GUESTS
from pveops.frames.frame import to_frame
from pveops.model.resources import Answer, Columns, Gap

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
GAPS = (Gap(what="some guests", why="the token may not see all of them", needs="VM.Audit on /vms"),)
NUMBERS = st.one_of(
    st.none(), st.integers(-5, 2**50), st.floats(-1, 1e15), st.integers(0, 99).map(str), st.just(""), st.just("x"), st.booleans()
)
TEXTS = st.one_of(
    st.none(), st.text(max_size=8), st.sampled_from(["running", "stopped", "paused", "prod;web", "a, b", "qemu", "lxc", "openvz"])
)
FIELDS = {
    **dict.fromkeys(("cpu", "maxcpu", "mem", "maxmem", "disk", "maxdisk", "uptime", "template"), NUMBERS),
    **dict.fromkeys(("name", "node", "type", "status", "lock", "pool", "tags", "hastate"), TEXTS),
}
ROWS = st.lists(st.fixed_dictionaries({"vmid": st.integers(1, 10**9)}, optional=FIELDS), max_size=6, unique_by=lambda row: row["vmid"])


def both(rows):
    slow = Answer(rows=tuple(sorted(map(parse.guest, rows), key=lambda guest: guest.vmid)), gaps=GAPS, read_at=AT, source="x")
    found = guest_columns(orjson.dumps({"data": rows}))
    return to_frame(GUESTS, slow), guests_frame(Columns(columns=found.data, gaps=GAPS, read_at=AT, source="x"))


@settings(max_examples=30)
@given(ROWS)
def test_equal_to_the_frame_from_objects_whatever_the_rows_hold(rows):
    slow, fast = both(rows)
    pd.testing.assert_frame_equal(slow, fast)
    assert slow.attrs == fast.attrs


def test_usual_rows_are_equal_too():
    rows = [
        {
            "id": f"qemu/{vmid}", "vmid": vmid, "type": kind, "name": f"g{vmid}", "node": "a", "status": "running", "cpu": 0.25, "maxcpu": 2,
            "mem": 2**30, "maxmem": 2**31, "disk": 0 if kind == "qemu" else 5, "maxdisk": 10, "uptime": 7, "template": 0, "tags": "b;a",
        }
        for vmid, kind in ((300, "qemu"), (200, "lxc"), (100, "qemu"))
    ]  # fmt: skip
    slow, fast = both(rows)
    pd.testing.assert_frame_equal(slow, fast)
    assert list(fast["vmid"]) == [100, 200, 300]
    assert list(fast["disk_bytes"].isna()) == [True, False, True]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"data":null}', b'{"data":[1]}', b'{"data":[{"vmid":null}]}', b'{"data":[{}]}']
)
def test_what_is_no_list_of_guests_is_not_taken_for_one(body):
    assert guest_columns(body) is None
