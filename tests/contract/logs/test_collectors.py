"""Lines from tasks, files and syslog senders, with real processes: a cluster, ``logger`` of util-linux, a reader that is killed."""

import logging
import logging.handlers
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from pveops.base.errors import ConfigError, InputError
from pveops.clients.logs.embedded import EmbeddedLogs
from pveops.clients.logs.language import parse
from pveops.model.logs import LogLine
from pveops.surfaces.cli.main import run
from pveops.testing.ports import free_port
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("collectors"), nodes=2, guests=6, speed=20)
    stack.start_sim()
    yield stack
    stack.close()


READER = """
import sys, time
from pathlib import Path
from pveops.app.collecting import Files
from pveops.base.clock import SystemClock
from pveops.clients.logs.embedded import EmbeddedLogs
from pveops.settings.home import Home
home = Home(Path(sys.argv[1]))
files = Files(EmbeddedLogs(home.root / "loglines.db"), home, [Path(sys.argv[2])], "here", SystemClock())
while True:
    files.look()
    time.sleep(0.05)
"""


def stored(path, query="*", limit=100_000):
    store = EmbeddedLogs(path)
    found = store.search(parse(query), 0, 10**15, limit)
    store.close()
    return found.lines


def wait_until(holds, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_logs_of_tasks_hang_on_their_ids(stack):
    ops = stack.ops()
    wire = ops.reader.wire
    tasks = ops.tasks(limit=500)
    assert not len(ops.logs.search("source:task", "1h"))
    report = ops.logs.collect("48h").set_index("what")
    assert report.attrs["complete"]
    assert report.loc["task logs", "new"] > 0
    assert ops.logs.collect("48h").set_index("what").loc["task logs", "new"] == 0
    resumed = ops.logs.collect().set_index("what")
    assert resumed.loc["journal of pve1", "lines"] < report.loc["journal of pve1", "lines"]
    upid = next(row["upid"] for row in tasks.to_dict("records") if row["outcome"] == "done")
    node = upid.split(":")[1]
    texts = [row["t"] for row in wire.get(f"/nodes/{node}/tasks/{upid}/log", {"limit": 0}).data]
    lines = ops.logs.search(f'task:"{upid}" source:task', "72h", limit=1000)
    assert sorted(lines["message"]) == sorted(texts)
    assert set(lines["task"]) == {upid}
    others = ops.logs.search(f'task:"{upid}" NOT source:task', "72h")
    assert others["message"].str.contains("UPID:").all()
    around = ops.logs.around(tasks[tasks["upid"] == upid].iloc[0], "source:task")
    assert set(lines["message"]) <= set(around["message"])
    assert len(ops.logs.around(upid, "source:task")) == len(around)
    with pytest.raises(InputError, match="no event"):
        ops.logs.around({"name": "x"})
    with pytest.raises(InputError, match="no task id"):
        ops.logs.around("UPID:nonsense")


@contextmanager
def receiver(stack, *words):
    command = [sys.executable, "-m", "pveops", "logs", "receive", *words]
    process = subprocess.Popen(command, env=stack.env, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stderr.readline()
        assert "Listens for syslog" in said
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_syslog_comes_in_as_others_send_it(stack):
    if not shutil.which("logger"):
        pytest.skip("logger is not installed (Debian: apt install bsdutils)")
    udp, tcp = free_port(), free_port()
    path = stack.home.root / "loglines.db"
    with receiver(stack, "--udp", f"127.0.0.1:{udp}", "--tcp", f"127.0.0.1:{tcp}") as process:
        for number, words in enumerate(
            (["-d", "--rfc5424"], ["-d", "--rfc3164"], ["-T", "--rfc5424", "--octet-count"], ["-T", "--rfc3164"])
        ):
            port = udp if "-d" in words else tcp
            text = f"sample{number} password=hunter2 for VM 10{number}"
            subprocess.run(
                ["logger", "-n", "127.0.0.1", "-P", str(port), "-p", "daemon.err", "-t", "sample", *words, text], check=True, timeout=30
            )
        handler = logging.handlers.SysLogHandler(("127.0.0.1", udp))
        handler.emit(logging.LogRecord("x", logging.WARNING, "", 0, "sample4 from Python", None, None))
        handler.close()
        with socket.create_connection(("127.0.0.1", tcp)) as odd:
            odd.sendall(b"GET / HTTP/1.1\r\n" + b"x" * 70_000)
            while odd.recv(100):
                pass
        wait_until(lambda: len(stored(path, "sample*")) == 5, process)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "does not speak syslog" in said
        assert "new lines are kept" in said
    lines = sorted(stored(path, "sample*"), key=lambda line: line.message)
    assert [line.vmid for line in lines] == [100, 101, 102, 103, None]
    assert all("hunter2" not in line.message for line in lines)
    assert [line.unit for line in lines[:4]] == ["sample"] * 4
    assert [line.severity for line in lines] == [3, 3, 3, 3, 4]
    assert {line.source for line in lines} == {"syslog"}


def test_what_was_received_is_there_after_a_kill(stack):
    port = free_port()
    path = stack.home.root / "loglines.db"
    with receiver(stack, "--tcp", f"127.0.0.1:{port}") as process:
        with socket.create_connection(("127.0.0.1", port)) as sender:
            for number in range(20_000):
                sender.sendall(b"<14>1 2026-11-21T12:00:00Z pve9 killed - - - line %d\n" % number)
                if number == 10_000:
                    wait_until(lambda: stored(path, "host:pve9 unit:killed"), process)
        process.kill()
        process.wait()
    numbers = sorted(int(line.message.split()[1]) for line in stored(path, "host:pve9 unit:killed"))
    assert numbers == list(range(len(numbers)))
    assert numbers


def test_a_file_comes_in_whole_though_its_reader_is_killed_again_and_again(stack, tmp_path):
    log = tmp_path / "app.log"
    path = stack.home.root / "loglines.db"
    written, rounds = 0, 3
    command = [sys.executable, "-c", READER, str(stack.home.root), str(log)]
    for turn in range(rounds):
        with log.open("a") as file:  # several pieces of a megabyte
            file.writelines(f"no time of its own {'and much to tell ' * 15}, number {written + n}\n" for n in range(10_000))
            written += 10_000
        before = len(stored(path, "unit:app"))
        process = subprocess.Popen(command, env=stack.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda known=before: bool(stored(path, "unit:app", known + 1)[known:]), process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if turn == 1:
            log.rename(tmp_path / "app.log.1")
    done = stack.cli("logs", "collect", "--file", str(log))
    assert done.returncode == 0, done.stderr
    numbers = [int(line.message.split()[-1]) for line in stored(path, "unit:app")]
    assert sorted(numbers) == list(range(written))


def test_two_readers_of_files_and_bad_input_are_refused(stack, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PVEOPS_HOME", str(stack.home.root))
    (tmp_path / "a.log").write_text("x\n")
    logs = stack.ops().logs
    files = logs.files(tmp_path / "a.log")
    with pytest.raises(ConfigError, match="already runs"):
        logs.files(tmp_path / "a.log")
    assert files.look()["new"].sum() == 1
    files.close()
    for words, said in (
        (("collect", "--file", str(tmp_path / "none.log")), "cannot be read"),
        (("receive", "--udp", "nowhere"), "Write HOST:PORT"),
        (("receive", "--tcp", "127.0.0.1:99999"), "Write HOST:PORT"),
        (("receive", "--tcp", "192.168.254.254:5514"), "Cannot listen on"),
        (("collect", "--every", "0"), "no pause"),
        (("around", "whenever"), "is no time"),
        (("patterns", "a OR b AND c"), "parentheses"),
    ):
        code = run(["logs", *words])
        told = capsys.readouterr().err
        assert said in told
        assert (code == 0) == (words[0] == "collect" and "--file" in words)


def test_patterns_tell_what_is_new_and_what_bursts(stack, capsys, monkeypatch):
    logs = stack.ops().logs
    logs.collect("4h")
    now_ms = int(time.time() * 1000)
    store = EmbeddedLogs(stack.home.root / "loglines.db")

    def line(minutes_ago, text, mark, unit="planted"):
        return LogLine(time_ms=now_ms - minutes_ago * 60_000, host="pve1", unit=unit, message=text, mark=str(mark))

    usual = [line(5 * n, f"user u{n} logged in from 10.0.0.{n} with id {n * 977:016x}", n) for n in range(1, 40)]
    burst = [line(30, f"ata3: failed command {n}", n) for n in range(60)] + [
        line(n, f"ata3: failed command {n}", n) for n in range(100, 160, 12)
    ]
    store.add([*usual, *burst, line(20, "vdev sdb FAULTED after 17 errors", 0)])
    store.close()
    frame = logs.patterns("unit:planted", "90min")
    by = {row["pattern"].split()[0]: row for row in frame.to_dict("records")}
    assert frame["lines"].sum() == 17 + 60 + 1
    assert by["vdev"]["pattern"] == "vdev sdb FAULTED after <n> errors"
    assert (by["vdev"]["new"], by["vdev"]["before"], by["vdev"]["burst"]) == (True, 0, False)
    assert (by["ata3:"]["new"], by["ata3:"]["burst"], by["ata3:"]["lines"], by["ata3:"]["before"]) == (False, True, 60, 5)
    assert abs(by["ata3:"]["peak"].timestamp() - (now_ms / 1000 - 1800)) <= 60
    assert (by["user"]["new"], by["user"]["lines"], by["user"]["burst"]) == (False, 17, False)
    assert by["user"]["pattern"].endswith("logged in from <ip> with id <hex>")
    assert list(frame["pattern"].str.split().str[0]) == ["vdev", "ata3:", "user"]
    assert not logs.patterns("unit:planted", "90min", limit=1).attrs["complete"]
    longer = logs.patterns("unit:planted", "3d")
    assert longer["new"].isna().all()
    assert "which patterns are new" in [gap["what"] for gap in longer.attrs["gaps"]]
    monkeypatch.setenv("PVEOPS_HOME", str(stack.home.root))
    assert run(["logs", "patterns", "unit:planted", "--since", "90min"]) == 0
    assert "vdev sdb FAULTED after <n> errors" in capsys.readouterr().out
