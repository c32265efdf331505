"""The language over tables: what fits, what is refused, and that rows and DataFrames agree."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import InputError, UnknownName
from pveops.frames.columns import GUESTS, STORAGE, TASKS
from pveops.frames.filter import kinds_of, parse_filter
from pveops.frames.frame import to_frame
from pveops.model.resources import Answer, Guest

G = 1 << 30
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
COLUMNS = kinds_of((column.name, column.dtype) for column in GUESTS.columns)


def guest(vmid, name, status="running", *, tags=(), mem=4, used=0.5, cpu=0.1, **more):
    used_bytes = None if used is None else int(used * mem * G)
    more = {"node": "pve1", "kind": "qemu", "uptime_s": 86400, "cpus": 4, "maxdisk_bytes": 32 * G, **more}
    return Guest(
        vmid=vmid, name=name, status=status, tags=tags, maxmem_bytes=mem * G, mem_bytes=used_bytes, cpu_fraction=cpu, **more
    )  # fmt: skip


GUESTS_HERE = (
    guest(101, "web-1", tags=("prod", "web")),
    guest(102, "web-2", "stopped", tags=("prod",), mem=16, used=0, uptime_s=0),
    guest(103, "db 1", "stopped", tags=("lab",), mem=16, used=0, node="pve2"),
    guest(104, None, "unknown", cpu=None, used=None, pool="a"),
    guest(200, "WEB-9", kind="lxc", template=True, cpus=2, lock="backup", uptime_s=40 * 86400),
)


def frame_of(rows):
    return to_frame(GUESTS, Answer(rows=tuple(rows), read_at=NOW, source="x"))


def found(text, rows=GUESTS_HERE):
    return frame_of(rows).pve.filter(text)["vmid"].tolist()


@pytest.mark.parametrize(
    ("text", "vmids"),
    [
        ("", [101, 102, 103, 104, 200]),
        ("status:stopped tag:prod mem>8G", [102]),
        ("mem>8G", [102, 103]),
        ("mem<=4GiB -tag:prod", [104, 200]),
        ("not tag:prod", [103, 104, 200]),
        ("tag:prod,lab", [101, 102, 103]),
        ("tags:none", [104, 200]),
        ("web-*", [101, 102, 200]),
        ("web-? -WEB-1", [102, 200]),
        ("101", [101]),
        ("101,200", [101, 200]),
        ("-101", [102, 103, 104, 200]),
        ('"db 1"', [103]),
        ('name:"db 1",web-1', [101, 103]),
        ('name:"web-*"', []),
        ("name:none", [104]),
        ("pool:a", [104]),
        ("pool:none status!=stopped", [101, 200]),
        ("mem>=50%", [101, 200]),
        ("mem_bytes>1G", [101, 200]),
        ("cpu<20%", [101, 102, 103, 200]),
        ("-cpu<20%", []),
        ("cpu:none", [104]),
        ("cpu_fraction>=0.1", [101, 102, 103, 200]),
        ("cpus:2,8", [200]),
        ("cpus!=4", [200]),
        ("uptime>30d", [200]),
        ("vmid>103", [104, 200]),
        ("template:yes", [200]),
        ("template:false kind:qemu node:pve2", [103]),
        ("type:lxc lock:*", [200]),
        ("disk>=32G", [101, 102, 103, 104, 200]),
    ],
)
def test_what_fits(text, vmids):
    assert found(text) == vmids


def test_what_is_not_known_is_named():
    frame = frame_of(GUESTS_HERE).pve.filter("cpu>80%")
    assert frame.empty
    assert frame.attrs["complete"] is False
    assert frame.attrs["gaps"] == [{"what": "1 rows", "why": "their cpu_fraction is not known", "needs": ""}]
    other = frame_of(GUESTS_HERE).pve.filter("cpu>80% status:running")
    assert other.attrs["complete"] is True, "another term decided about it"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("memm>8G", "no field memm", "Did you mean mem"),
        ("zzz:1", "no field zzz", "Fields: cpu, cpus"),
        ("mem>8", "in which unit", r"mem>80% or mem>8G"),
        ("cpu>0.8", "in which unit", "cpu>80%"),
        ("uptime>7", "in which unit", "uptime>7d"),
        ("mem>often", "compared with a size like 8G", ""),
        ("uptime>8G", "compared with a duration", ""),
        ("cpus>many", "compared with a number", ""),
        ("template:perhaps", "compared with yes or no", ""),
        ("status:stoped", "never 'stoped'", "mean stopped"),
        ("kind:vm", "never 'vm'", "qemu, lxc"),
        ("status>running", "is a text", "status:value"),
        ("mem > 8G", "lacks its field", "without blanks"),
        ("mem>", "value is missing", "mem>value"),
        ("name:a,,b", "is no value", ""),
        ("vmid>1,2", "several values", "vmid:1,2"),
        ("status:running or status:stopped", "all must hold|all terms must hold", "status:stopped,paused"),
        ("not", "follows not", ""),
        ("not not web-1", "Two not", ""),
        ('name:"a', "not closed", ""),
        ('name:a"b"', "is no value", ""),
        ("-", "stands alone", ""),
    ],
)
def test_what_is_refused_and_what_is_offered_instead(text, message, hint):
    with pytest.raises(InputError, match=message) as refused:
        found(text)
    assert re.search(hint, refused.value.hint)


def test_times_say_which_way():
    columns = kinds_of((column.name, column.dtype) for column in TASKS.columns)
    row = {"started": datetime(2026, 11, 1, tzinfo=UTC)}
    assert parse_filter('started<"7d ago"', columns, now=NOW).holds(row) is True
    assert parse_filter("started>=2026-11-01", columns, now=NOW).holds(row) is True
    assert parse_filter("started>2026-11-01T00:00Z", columns, now=NOW).holds(row) is False
    for bad in ("started<7d", "started>2026-11-01T00:00", "started>soon"):
        with pytest.raises(InputError):
            parse_filter(bad, columns, now=NOW)
    with pytest.raises(InputError, match="has no names"):
        parse_filter("local", kinds_of((column.name, column.dtype) for column in STORAGE.columns))
    with pytest.raises(UnknownName):
        parse_filter("tag:prod", columns)


STATUS = st.sampled_from(["running", "stopped", "paused", "unknown"])
ROWS = st.lists(
    st.builds(
        guest, st.integers(100, 999), st.one_of(st.none(), st.text(st.characters(exclude_characters='"'), max_size=5)), STATUS,
        tags=st.lists(st.sampled_from(["prod", "lab"]), unique=True).map(tuple), mem=st.integers(1, 64),
        used=st.one_of(st.none(), st.floats(0, 1)), cpu=st.one_of(st.none(), st.floats(0, 1)), cpus=st.integers(1, 8),
    ),
    max_size=8, unique_by=lambda row: row.vmid,
)  # fmt: skip
TERMS = st.sampled_from(
    ["status:stopped", "tag:prod", "mem>8G", "cpu>=50%", "mem<25%", "cpus:2,4", "web-*", "name:none", "vmid>500", "status:running,paused"]
)


@settings(max_examples=15)
@given(ROWS, TERMS, TERMS)
def test_terms_cut_and_a_term_and_its_opposite_share_nothing(rows, one, other):
    frame = frame_of(rows)
    fits, opposite, both = (set(frame.pve.filter(text)["vmid"]) for text in (one, f"-{one}", f"{one} {other}"))
    assert both == fits & set(frame.pve.filter(other)["vmid"])
    assert not fits & opposite
    not_known = set(frame["vmid"]) - fits - opposite
    unknown = [
        row.vmid for row in rows if (one.startswith("cpu>") and row.cpu_fraction is None) or (one == "mem<25%" and row.mem_bytes is None)
    ]
    assert not_known == set(unknown)


@settings(max_examples=15)
@given(ROWS, TERMS)
def test_rows_and_tables_agree(rows, term):
    plain = GUESTS.rows(rows)
    places, _ = parse_filter(term, COLUMNS, table="guests").sift(plain)
    assert [plain[place]["vmid"] for place in places] == frame_of(rows).pve.filter(term)["vmid"].tolist()


@settings(max_examples=15)
@given(ROWS)
def test_a_name_in_quotes_finds_itself(rows):
    for row in rows:
        if row.name:
            assert row.vmid in found(f'name:"{row.name}"', rows)


@given(st.text(alphabet=' "-,:<>=!*?abmemtagstatus%8G', max_size=24))
def test_whatever_is_typed_is_a_filter_or_an_error_of_ours(text):
    try:
        parse_filter(text, COLUMNS, table="guests")
    except InputError:
        return
    found(text)
