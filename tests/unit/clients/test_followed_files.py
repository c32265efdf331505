"""Files that grow, move and begin anew: every line once, and what may be lost is said."""

import os
from datetime import UTC, datetime

import pytest

from pveops.base.clock import SystemClock
from pveops.base.errors import ConfigError, InputError, TransportError
from pveops.clients.logs.files import FollowedFile, Places
from pveops.clients.logs.made import taken_apart


class Kept:
    """Keeps lines by id, as every store does."""

    def __init__(self):
        self.lines = {}
        self.fails_after = None

    def add(self, lines):
        new = [line for line in lines if line.uid not in self.lines]
        self.lines.update((line.uid, line) for line in lines)
        if self.fails_after is not None:
            raise TransportError("the store is away")
        return len(new)

    @property
    def texts(self):
        return [line.message for line in self.lines.values()]


@pytest.fixture
def log(tmp_path):
    (tmp_path / "app.log").write_text("")
    return tmp_path / "app.log"


def followed(log, kept):
    return FollowedFile(log, Places(log.parent / "places.json"), kept.add, host="here", clock=SystemClock())


def write(path, *texts):
    with path.open("a") as file:
        file.writelines(f"{text}\n" for text in texts)


def test_lines_come_once_also_after_a_restart(log):
    kept = Kept()
    write(log, "one", "two")
    file = followed(log, kept)
    assert file.look() == (2, 2)
    assert file.look() == (0, 0)
    with log.open("a") as open_end:
        open_end.write("thr")
    assert file.look() == (0, 0)
    write(log, "ee")
    file.close()
    again = followed(log, kept)
    assert again.look() == (1, 1)
    assert kept.texts == ["one", "two", "three"]
    assert {line.unit for line in kept.lines.values()} == {"app"}
    again.close()


def test_a_death_between_keeping_and_noting_doubles_nothing(log):
    kept = Kept()
    write(log, "no time of its own", "no time of its own")
    kept.fails_after = 0
    dying = followed(log, kept)
    with pytest.raises(TransportError):
        dying.look()
    dying.close()
    assert len(kept.lines) == 2
    kept.fails_after = None
    write(log, "later")
    again = followed(log, kept)
    assert again.look() == (3, 1)
    again.close()


def test_a_moved_file_is_read_to_its_end_first(log):
    kept = Kept()
    write(log, "one")
    file = followed(log, kept)
    file.look()
    write(log, "two")
    log.rename(log.with_name("app.log.1"))
    assert file.look() == (1, 1)
    write(log.with_name("app.log.1"), "three")
    write(log, "four")
    file.look()
    file.close()
    log.rename(log.with_name("app.log.2"))
    write(log.with_name("app.log.2"), "five")
    write(log, "six")
    again = followed(log, kept)
    again.look()
    again.close()
    assert kept.texts == ["one", "two", "three", "four", "five", "six"]
    assert not file.missed + again.missed


def test_a_cut_file_begins_anew_and_that_is_said(log):
    kept = Kept()
    write(log, "a long line that is copied away", "and another one")
    file = followed(log, kept)
    file.look()
    os.truncate(log, 0)
    write(log, "new")
    assert file.look() == (1, 1)
    assert "was cut" in file.missed[0]
    file.close()
    log.unlink()
    write(log.with_name("keeps-the-inode-away"), "x")
    write(log, "another file in its place, longer than what was there before")
    again = followed(log, kept)
    again.look()
    assert kept.texts[-1].startswith("another file")
    assert again.missed
    again.close()


def test_endless_lines_and_odd_bytes_get_through(log):
    kept = Kept()
    log.write_bytes(b"x" * 2_500_000 + b"\n\n\xff\xfe odd\r\n\x00\n")
    file = followed(log, kept)
    file.look()
    file.close()
    assert [len(text) for text in kept.texts] == [16_000, 16_000, 16_000, 6]


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        followed(tmp_path / "none.log", Kept()).look()
    (tmp_path / "places.json").write_text('{"x": 5}')
    with pytest.raises(ConfigError, match="Remove it"):
        Places(tmp_path / "places.json")


@pytest.mark.parametrize(
    ("text", "time", "host", "unit", "message"),
    [
        ("Nov 21 12:00:00 pve1 pvedaemon[12]: hello: x", "2026-11-21T11:00:00+00:00", "pve1", "pvedaemon", "hello: x"),
        ("2026-11-21T12:00:00.5+01:00 pve1 kernel: hi", "2026-11-21T11:00:00.500+00:00", "pve1", "kernel", "hi"),
        ('::ffff:10.0.0.1 - root@pam [21/11/2026:12:00:00 +0100] "GET / HTTP/1.1" 200 5', "2026-11-21T11:00:00+00:00", "", "", None),
        ('10.0.0.1 - - [21/Nov/2026:12:00:00 +0100] "GET / HTTP/1.1" 200 5', "2026-11-21T11:00:00+00:00", "", "", None),
        ("Feb 30 12:00:00 pve1 a: no such day", "2026-11-21T12:00:00+00:00", "pve1", "a", "no such day"),
        ("[99/99/2026:12:00:00 +0100] x", None, "", "", None),
        ("anything", None, "", "", None),
    ],
)
def test_lines_are_taken_apart(text, time, host, unit, message):
    now_s = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp())
    parts = taken_apart(text, ahead_s=3600, until_s=now_s)
    assert parts.time_ms == (None if time is None else int(datetime.fromisoformat(time).timestamp() * 1000))
    assert (parts.host, parts.unit, parts.message) == (host, unit, text if message is None else message)
