import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.canon import canonical, digest
from pveops.guard.audit.lines import GENESIS, Misfit, check_line, is_first_format, parse_line, write_line, write_record

chains = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("chains.py"))))

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=30)
@given(st.dictionaries(TEXT, VALUES, max_size=5), st.integers(1, 10**12))
def test_any_record_is_written_canonically_and_read_back(data, seq):
    record = {"kind": "k", "data": data}
    line, made = write_line(canonical(record), seq=seq, prev=GENESIS)
    assert check_line(line, seq=seq, prev=GENESIS.encode()) == made.encode()
    whole = json.loads(line)
    assert canonical(whole) + b"\n" == line
    assert made == digest({key: value for key, value in whole.items() if key != "hash"})
    assert parse_line(line) == {**record, "seq": seq, "prev": GENESIS, "hash": made}


@settings(max_examples=30)
@given(st.integers(0, 400), st.integers(1, 255))
def test_no_byte_can_be_changed(place, change):
    line, _ = write_line(canonical({"kind": "k", "data": {"text": "x" * 100}}), seq=12, prev=GENESIS)
    place %= len(line)
    other = line[:place] + bytes([line[place] ^ change]) + line[place + 1 :]
    with pytest.raises(Misfit):
        check_line(other, seq=12, prev=GENESIS.encode())


def made(record, seq=1, prev=GENESIS):
    return write_line(canonical(record), seq=seq, prev=prev)[0]


def loose(text):
    """A line whose hash fits a body that is not canonical."""
    return write_line(text.encode(), seq=1, prev=GENESIS)[0]


RECORD = {"kind": "k", "data": {"n": 1}}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"garbage\n", "no JSON object"), (b"half", "never finished"), (b"[1]\n", "no JSON object"), (b'{"seq":1}\n', "lacks what every record has"),
        (made(RECORD, seq=2), "its number is 2 where 1 belongs"), (made(RECORD, prev="1" * 64), "the hash of the record before"),
        (made(RECORD).replace(b'"n":1', b'"n":2'), "does not fit its hash"), (loose('{"kind": "k"}'), "canonical form"),
        (loose('{"kind":"k","a":1}'), "canonical form"), (loose('{"kind":"k","n":1e400}'), "canonical form"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(raw, said):
    with pytest.raises(Misfit, match=said):
        check_line(raw, seq=1, prev=GENESIS.encode())


def old(**changes):
    return json.loads(chains.OLD.read_bytes().splitlines()[0]) | changes


def test_lines_of_the_first_format_are_checked_as_strictly():
    raw = chains.OLD.read_bytes().splitlines(keepends=True)[0]
    assert is_first_format(raw)
    assert check_line(raw, seq=1, prev=GENESIS.encode()) == json.loads(raw)["hash"].encode()
    for other, said in (
        (raw.replace(b"set up", b"set-up"), "does not fit its hash"),
        (raw.replace(b'","', b'", "', 1), "canonical form"),
        (canonical(old(seq=2)) + b"\n", "its number is 2"),
        (canonical(old(prev="1" * 64)) + b"\n", "the hash of the record before"),
        (json.dumps(old(data={"x": 1.5}), sort_keys=True, separators=(",", ":")).encode() + b"\n", "float"),
    ):
        with pytest.raises(Misfit, match=said):
            check_line(other, seq=1, prev=GENESIS.encode())


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_a_record_has_the_one_canonical_form(record):
    assert write_record(record) == canonical(record)


@pytest.mark.parametrize("value", [0.5, {1: 2}, {"a": [b"x"]}, "\ud800"])
def test_a_record_without_one_form_is_refused(value):
    with pytest.raises(TypeError):
        write_record({"data": value})


def test_numbers_above_64_bits_are_written_too():
    assert write_record({"n": 2**70}) == b'{"n":%d}' % 2**70
