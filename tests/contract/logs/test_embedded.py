"""The embedded store: known lines stay one, nothing is lost when its process dies, old lines go."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import ConfigError, InputError
from pveops.clients.logs.embedded import EmbeddedLogs, _text
from pveops.clients.logs.language import parse
from pveops.model.logs import LogLine, tokens

WRITER = """
import sys
from pathlib import Path
from pveops.clients.logs.embedded import EmbeddedLogs
from pveops.model.logs import LogLine
store = EmbeddedLogs(Path(sys.argv[1]))
for batch in range(10_000):
    store.add([LogLine(time_ms=batch * 100 + n, host="a", unit="b", message=f"batch {batch} line {n}") for n in range(100)])
    print(batch, flush=True)
"""


def lines(count, first=0):
    return [LogLine(time_ms=first + n, host="a", unit="b", message=f"line {first + n}") for n in range(count)]


def everything(store):
    return store.search(parse("*"), 0, 10**15, 10)


def test_a_line_that_comes_twice_is_one(tmp_path):
    store = EmbeddedLogs(tmp_path / "l.db")
    assert store.add(lines(10)) == 10
    assert store.add(lines(15)) == 5
    assert store.add(lines(15) + lines(15)) == 0
    assert everything(store).total == 15
    assert store.search(parse('"line 12"'), 0, 100, 10).total == 1
    store.close()


VERSION_1 = """
CREATE TABLE lines(
  id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE, time_ms INTEGER NOT NULL, host TEXT NOT NULL, unit TEXT NOT NULL, severity INTEGER NOT NULL,
  vmid INTEGER, source TEXT NOT NULL, mark TEXT NOT NULL, message TEXT NOT NULL);
CREATE INDEX lines_by_time ON lines(time_ms, severity);
CREATE TABLE hours(hour INTEGER PRIMARY KEY, low INTEGER NOT NULL, high INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(tokens, content='', columnsize=0, tokenize="ascii tokenchars '_'");
CREATE VIRTUAL TABLE known USING fts5vocab(words, 'row');
INSERT INTO hours VALUES (0, 1, 15);
PRAGMA user_version=1;
"""


VERSION_2 = """
DROP TABLE lines;
CREATE TABLE lines(
  id INTEGER PRIMARY KEY, uid BLOB NOT NULL, time_ms INTEGER NOT NULL, host TEXT NOT NULL, unit TEXT NOT NULL, severity INTEGER NOT NULL,
  vmid INTEGER, source TEXT NOT NULL, mark TEXT NOT NULL, message TEXT NOT NULL);
CREATE UNIQUE INDEX lines_by_time_and_uid ON lines(time_ms, severity, uid);
PRAGMA user_version=2;
"""


@pytest.mark.parametrize("script", [VERSION_1, VERSION_1 + VERSION_2])
def test_a_file_of_an_earlier_version_goes_on(tmp_path, script):
    old = sqlite3.connect(tmp_path / "l.db")
    old.executescript(script)
    for number, line in enumerate(lines(15), 1):
        row = (
            number,
            bytes.fromhex(line.uid),
            line.time_ms,
            line.host,
            line.unit,
            line.severity,
            line.vmid,
            line.source,
            line.mark,
            line.message,
        )
        old.execute("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        old.execute("INSERT INTO words(rowid, tokens) VALUES (?, ?)", (number, line.message))
    old.commit()
    old.close()
    for _ in range(2):
        store = EmbeddedLogs(tmp_path / "l.db")
        assert store.add(lines(15)) == 0
        assert everything(store).total == 15
        assert everything(store).lines[0] == lines(15)[-1]
        assert store.search(parse('"line 12"'), 0, 100, 10).total == 1
        store.close()
    store = EmbeddedLogs(tmp_path / "l.db")
    assert store.add(lines(20)) == 5
    assert store.forget(before_ms=18) == 18
    assert store.search(parse("line"), 0, 100, 10).total == 2
    store.close()


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.text(st.sampled_from("ab_Z9 .-:\x00\t\x1f\x7f'\"%ÄßİǅŁ\u0301\u200b日"), max_size=12) | st.text(max_size=30), max_size=6
    ),
    many=st.integers(190, 210),
)
@pytest.mark.slow
def test_words_are_cut_the_same_by_sqlite(texts, many):
    texts = [*texts, "x" * many, f"y {'z_' * (many // 2)}{'z' * (many % 2)}.k"]
    cut = sqlite3.connect(":memory:")
    cut.executescript("CREATE VIRTUAL TABLE w USING fts5(t, content='', columnsize=0, tokenize=\"ascii tokenchars '_'\")")
    cut.executescript("CREATE VIRTUAL TABLE v USING fts5vocab(w, 'instance')")
    cut.executemany("INSERT INTO w(rowid, t) VALUES (?, ?)", enumerate(map(_text, texts)))
    found = [[] for _ in texts]
    for number, term in cut.execute("SELECT doc, term FROM v ORDER BY doc, offset"):
        found[number].append(term)
    cut.close()
    assert found == [tokens(text) for text in texts]


def test_old_lines_go_with_their_words(tmp_path):
    store = EmbeddedLogs(tmp_path / "l.db")
    store.add(lines(20))
    assert store.forget(before_ms=15) == 15
    assert everything(store).total == 5
    assert store.search(parse("line"), 0, 100, 10).total == 5
    store.add(lines(3, first=100))
    assert store.search(parse("line"), 0, 1000, 10).total == 8
    store.close()


def test_a_pattern_for_everything_is_refused(tmp_path):
    store = EmbeddedLogs(tmp_path / "l.db")
    store.add(lines(2500))
    with pytest.raises(InputError, match="more than 2000 words"):
        store.search(parse("?*"), 0, 10**6, 10)
    store.close()


def test_a_file_that_is_no_store_is_told(tmp_path):
    (tmp_path / "x.db").write_text("hello, this is no database at all" * 100)
    with pytest.raises(ConfigError, match=r"Cannot open the log store .*x\.db"):
        EmbeddedLogs(tmp_path / "x.db")
    with pytest.raises(ConfigError, match="Cannot open the log store"):
        EmbeddedLogs(tmp_path / "no" / "x.db")
    newer = sqlite3.connect(tmp_path / "n.db")
    newer.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(ConfigError, match="newer version"):
        EmbeddedLogs(tmp_path / "n.db")


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.4, 0.7, 1.1])
def test_what_was_taken_is_there_after_a_kill(tmp_path, after_s):
    path = tmp_path / "l.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    writer.stdout.readline()
    time.sleep(after_s)
    os.kill(writer.pid, signal.SIGKILL)
    told = int((writer.communicate()[0] or "0\n").split()[-1])
    store = EmbeddedLogs(path)
    total = everything(store).total
    assert total % 100 == 0
    assert total >= (told + 1) * 100
    assert store.search(parse('"batch 0"'), 0, 10**15, 10).total == 100
    assert store.search(parse("line"), 0, 10**15, 1).total == total
    store.close()
