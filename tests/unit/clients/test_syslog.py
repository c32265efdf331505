"""Syslog in both of its forms, and the two ways in which it is cut out of a stream."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.clients.logs.syslog import MOST_BYTES, BadFrameError, Frames, message_of

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)


def line(raw, **more):
    return message_of(raw, **{"peer": "10.9.9.9", "mark": "m", "at_ms": AT_MS, "ahead_s": 3600, **more})


@pytest.mark.parametrize(
    ("raw", "host", "unit", "severity", "time", "message"),
    [
        (b"<34>1 2026-10-11T22:14:15.003Z pve1 su - ID47 - \xef\xbb\xbfsu root failed on /dev/pts/8", "pve1", "su", 2, "2026-10-11T22:14:15.003+00:00",
         "su root failed on /dev/pts/8"),
        (b'<165>1 2026-08-24T05:14:15.000003-07:00 pve1 app 8710 - [a@1 k="v\\]w \\"x"][b x="y"] %% It works.', "pve1", "app", 5,
         "2026-08-24T12:14:15+00:00", "%% It works."),
        (b"<0>1 - - - - - -", "10.9.9.9", "", 0, AT.isoformat(), ""),
        (b"<30>Nov 21 12:30:00 pve2 pvestatd[1201]: status update time (8.2 s)", "pve2", "pvestatd", 6, "2026-11-21T11:30:00+00:00",
         "status update time (8.2 s)"),
        (b"<30>Nov  1 02:00:00 pve2 kernel: a: b", "pve2", "kernel", 6, "2026-11-01T01:00:00+00:00", "a: b"),
        (b"<13>Dec 31 23:59:59 pve2 x: of last year", "pve2", "x", 5, "2025-12-31T22:59:59+00:00", "of last year"),
        (b"<14>Nov 21 12:30:00 myapp: no host", "10.9.9.9", "myapp", 6, "2026-11-21T11:30:00+00:00", "no host"),
        (b"<14>just text\x00", "10.9.9.9", "", 6, AT.isoformat(), "just text"),
        (b"<999>odd", "10.9.9.9", "", 5, AT.isoformat(), "<999>odd"),
        (b"no priority at all \xff", "10.9.9.9", "", 5, AT.isoformat(), "no priority at all \ufffd"),
        (b"<14>1 2026-13-45T99:00:00Z h a - - - time is none", "h", "a", 6, AT.isoformat(), "time is none"),
    ],
)  # fmt: skip
def test_what_messages_say(raw, host, unit, severity, time, message):
    found = line(raw)
    assert (found.host, found.unit, found.severity, found.message) == (host, unit, severity, message)
    assert found.time_ms == int(datetime.fromisoformat(time).timestamp() * 1000)
    assert found.source == "syslog"


def test_secrets_do_not_get_in():
    said = line(b"<14>1 - h a - - - login with PVEAPIToken=root@pam!t=12345678-1234-1234-1234-123456789012 and password=hunter2").message
    assert "hunter2" not in said
    assert "123456789012" not in said


def test_what_its_sender_counts_is_one_when_it_is_sent_again():
    counted = b'<14>1 2026-11-21T12:00:00Z h a 7 - [meta sequenceId="%d"] again'
    assert line(counted % 5, mark="first").uid == line(counted % 5, mark="second").uid
    assert line(counted % 5).uid != line(counted % 6).uid
    plain = b"<14>1 2026-11-21T12:00:00Z h a 7 - - again"
    assert line(plain, mark="first").uid != line(plain, mark="second").uid


_TEXT = st.binary(min_size=1, max_size=60).filter(lambda text: not set(text) & {10, 0} and text.strip(b"\r"))


@settings(max_examples=60, deadline=None)
@given(
    messages=st.lists(st.tuples(st.sampled_from(["count", "line", "nul"]), _TEXT), max_size=6),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_a_stream_gives_the_same_messages_however_it_is_cut(messages, cuts):
    sent = [(how, b"<14>" + text) for how, text in messages]
    stream = b"".join({"count": b"%d %b" % (len(text), text), "line": text + b"\n", "nul": text + b"\x00"}[how] for how, text in sent)
    frames, found = Frames(), []
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in pairwise(edges):
        found += frames.fed(stream[start:end])
    assert [raw.rstrip(b"\n\x00") for raw in found] == [text for _, text in sent]
    assert frames.left() == []


def test_a_last_message_needs_no_end():
    frames = Frames()
    assert frames.fed(b"<14>one\n<14>two") == [b"<14>one\n"]
    assert frames.left() == [b"<14>two"]


@pytest.mark.parametrize("stream", [b"9" * 8, b"12x<14>", b"70000 <14>x", b"<14>" + b"x" * (MOST_BYTES + 1)])
def test_what_is_no_syslog_is_refused(stream):
    with pytest.raises(BadFrameError):
        Frames().fed(stream)
