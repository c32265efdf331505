"""What the language of log queries refuses, and what it says instead."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import InputError
from pveops.clients.logs.journal import lines_of
from pveops.clients.logs.language import Both, Either, Is, Phrase, Within, Without, parse
from pveops.clients.logs.made import about
from pveops.clients.logs.matching import glob_pattern, matches
from pveops.model.logs import LogLine, tokens


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.1.5", Phrase(("10", "0", "1", "5"))),
        ("a b", Both((Phrase(("a",)), Phrase(("b",))))),
        ("a OR b", Either((Phrase(("a",)), Phrase(("b",))))),
        ("-a", Without(Phrase(("a",)))),
        ("severity:err", Is("severity", 3)),
        ("severity:<err", Within("severity", None, 3, with_high=False)),
        ("host:pve*", Is("host", "pve*", glob=True)),
        ('host:"pve*"', Is("host", "pve*")),
        ("time:2026-03-01", Within("time", 1772323200000, 1772323200000)),
    ],
)
def test_what_queries_mean(text, meant):
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a AND b OR c", r"mixes AND and OR.*parentheses"),
        ("a b OR c", r"mixes AND and OR.*parentheses"),
        ("hots:pve1", r"no field called hots.*mean host"),
        ("pve1:8006", r"no field called pve1.*For the text itself"),
        ("/re.*/", r"regular expression.*same meaning"),
        ("word~2", r"fuzzy word"),
        ('"a b"~3', r"near each other"),
        ("a^2", r"weight"),
        ("a && b", r"Write AND"),
        ("a || b", r"Write OR"),
        ("a and b", r"Write AND"),
        ("!a", r"Write NOT a"),
        ("(a", r"cannot be read"),
        ('"a', r"cannot be read"),
        ("a)", r"cannot be read"),
        ("...", r"no word to look for"),
        ("10.0.*", r"one word"),
        ("severity:bad", r"is no severity.*emerg"),
        ("severity:e*", r"asks for a pattern"),
        ("vmid:web", r"is no vmid"),
        ("host:[a TO b]", r"range of host"),
        ("time:yesterday", r"is no time"),
        ("time:>2026-03-01T10:00", r"is no time|cannot be read"),
        ('host:""', r"NOT host:\*"),
        (" ".join(["a"] * 300), r"more than 200 parts"),
        ("0~.", "a number is broken"),
        ("0^.", "a number is broken"),
    ],
)
def test_what_is_refused_and_what_to_write_instead(text, said):
    with pytest.raises(InputError, match=said):
        parse(text)


@settings(max_examples=150)
@given(st.text(alphabet='ab10.:*?"()[]{}<>=+-!&|~^/\\ ANDORTnoh_', max_size=24))
def test_no_text_breaks_the_language(text):
    with contextlib.suppress(InputError):
        matches(parse(text), LogLine(time_ms=0, host="a", unit="b", message=text))


@given(st.text(max_size=40))
def test_a_line_is_found_by_its_own_words(text):
    line = LogLine(time_ms=0, host="a", unit="b", message=text)
    words = tuple(tokens(text))
    if words:
        assert matches(Phrase(words), line)


def test_a_pattern_takes_its_own_signs_by_their_word():
    assert glob_pattern(r"a\*b?").fullmatch("a*bc")
    assert not glob_pattern(r"a\*b").fullmatch("axxb")


def test_a_journal_has_a_year_a_zone_and_lines_that_repeat():
    rows = [
        "s=x",
        "Dec 31 23:59:58 pve1 pvedaemon[12]: starting VM 101",
        "Jan  1 00:00:01 pve1 kernel: up",
        "Jan  1 00:00:01 pve1 kernel: up",
        "s=y",
    ]
    found = list(lines_of(rows, "pve1", ahead_s=3600, until_s=1767229200))  # 2026-01-01T01:00Z
    assert [line.time_ms for line in found] == [1767221998000, 1767222001000, 1767222001000]
    assert len({line.uid for line in found}) == 3
    assert (found[0].vmid, found[0].unit, found[1].vmid) == (101, "pvedaemon", None)
    again = list(lines_of(rows, "pve1", ahead_s=3600, until_s=1767229200))
    assert [line.uid for line in again] == [line.uid for line in found]


def test_secrets_do_not_reach_a_store():
    (line,) = lines_of(["Jan  1 00:00:01 pve1 app[1]: login password=hunter22 ok"], "pve1", ahead_s=0, until_s=1767229200)
    assert "hunter22" not in line.message


@pytest.mark.parametrize(
    ("message", "vmid"),
    [
        ("end task UPID:pve1:0001A2B3:00C4D5E6:6712AB34:vzdump:104:root@pam: OK", 104),
        ("CT 200 started", 200),
        ("UPID:pve1:0001A2B3:00C4D5E6:6712AB34:aptupdate::root@pam:", None),
        ("no guest", None),
    ],
)
def test_which_guest_a_line_is_about(message, vmid):
    assert about(message) == vmid
