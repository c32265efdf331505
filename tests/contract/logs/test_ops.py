"""``ops.logs`` over a simulated cluster: collected, searched, counted; gaps are said."""

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
import requests

from pveops.app.logs import Logs
from pveops.base.clock import SystemClock
from pveops.base.errors import ConfigError, InputError, Unreachable
from pveops.model.logs import LogLine
from pveops.settings.home import Home
from pveops.surfaces.cli.main import run
from pveops.testing.fake import StepClock
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("logs"), nodes=2, guests=6, speed=1) as stack:
        yield stack


def logs_of(stack, url=""):
    ops = stack.ops()
    target = ops._target.model_copy(update={"env": {**ops._target.env, "PVEOPS_ELASTICSEARCH_URL": url}})
    return Logs(target, ops.reader, SystemClock())


def test_the_journal_of_every_node_can_be_asked(stack):
    logs = logs_of(stack)
    first = logs.collect("6h")
    assert first.attrs["complete"]
    assert set(first["what"]) == {"cluster log", "journal of pve1", "journal of pve2", "task logs"}
    assert first["new"].sum() > 50
    assert logs.collect("6h")["new"].sum() < 20
    frame = logs.search("", "6h")
    assert frame["time"].is_monotonic_decreasing
    assert str(frame["time"].dtype) == "datetime64[ms, UTC]"
    assert {"pve1", "pve2"} <= set(frame["host"])
    one = logs.search("host:pve1 NOT unit:kernel", "6h")
    assert set(one["host"]) == {"pve1"}
    assert "kernel" not in set(one["unit"])
    counts = logs.histogram("", "6h", step="1h", by="host")
    assert counts[["pve1", "pve2"]].sum().min() > 10
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    spans = (hour - timedelta(hours=4), hour - timedelta(hours=1))
    assert logs.histogram("", *spans)["lines"].sum() == logs.search("", *spans, limit=1).attrs["total"]
    short = logs.search("", "6h", limit=3)
    assert not short.attrs["complete"]
    assert len(logs.around(frame["time"].iloc[5].to_pydatetime(), minutes=1)) > 0


def test_what_was_never_collected_is_a_gap_and_no_zero(stack, tmp_path):
    asked = logs_of(stack)
    logs = Logs(asked._target.model_copy(update={"home": Home(tmp_path)}), asked._reader, SystemClock())
    assert [gap["what"] for gap in logs.search("", "2h").attrs["gaps"]] == ["log lines"]
    logs.collect("1h")
    assert logs.search("", "50min").attrs["complete"]
    assert logs.histogram("", "50min").attrs["complete"]
    early = datetime.now(UTC) - timedelta(hours=16)
    counts = logs.histogram("", "24h", step="1h")
    frames = [logs.around(early), logs.search("", "24h"), counts, logs.patterns("", "24h"), logs.histogram("host:pve1", "24h", by="host")]
    for frame in frames:
        assert not frame.attrs["complete"]
        assert re.search(r"not collected from .* UTC; run ops\.logs\.collect\('\d\dh'\)", frame.attrs["gaps"][-1]["why"])
    assert not (counts["lines"] == 0).any()  # hours that were never read
    assert counts["lines"].isna().sum() >= 5
    assert counts["lines"].iloc[-1] > 0
    logs.collect("2h", nodes=["pve1"])
    assert logs.search("host:pve1", "110min").attrs["complete"]
    assert [gap["what"] for gap in logs.search("", "110min").attrs["gaps"]] == ["log lines: journal of pve2, tasks of pve2"]
    logs.collect("25h")
    assert logs.around(early).attrs["complete"]
    assert logs.histogram("", "24h", by="host").attrs["complete"]
    assert not logs.patterns("", "1h").attrs["gaps"]


def test_a_tail_lasts_as_long_as_it_was_told_in_utc(stack):
    asked = logs_of(stack)
    clock = StepClock(datetime.now(UTC))
    logs = Logs(asked._target, asked._reader, clock)
    began_s = clock.monotonic_s()
    logs._store().add([LogLine(time_ms=round(clock.now().timestamp() * 1000) + 1, host="pve1", unit="tailed", message="here", mark="tail")])
    (told,) = logs.tail("unit:tailed", every_s=5, seconds=8)
    assert clock.monotonic_s() - began_s == 8
    assert told.startswith(f"{clock.now() - timedelta(seconds=8):%H:%M:%SZ} pve1")


def test_new_lines_are_told_as_they_come(stack):
    logs = logs_of(stack)
    guest = stack.ops().guests().query("status == 'running' and kind == 'qemu'").iloc[0]
    url = f"{stack.info['url']}/api2/json/nodes/{guest['node']}/qemu/{guest['vmid']}/snapshot"
    admin = {"Authorization": f"PVEAPIToken={stack.info['tokens']['admin']}"}
    upids = []

    def snapshot():
        upids.append(requests.post(url, headers=admin, data={"snapname": "tailed"}, verify=stack.info["ca"], timeout=30).json()["data"])

    soon = threading.Timer(1.5, snapshot)
    soon.start()
    told = next(logs.tail("task:* qmsnapshot", every_s=0.3, seconds=40))
    soon.join()
    assert "qmsnapshot" in told
    assert f" {guest['node']} " in told
    assert upids[0] in told


def test_bad_questions_are_one_sentence(stack):
    logs = logs_of(stack)
    for ask, said in (
        (lambda: logs.search("a OR b AND c"), "mixes AND and OR"),
        (lambda: logs.search("", "whenever"), "is no time"),
        (lambda: logs.search("", "now", "2h"), "is empty"),
        (lambda: logs.search("", limit=0), "cannot be shown"),
        (lambda: logs.histogram("", step="1ms", since="30d"), "too narrow"),
        (lambda: logs.histogram("", by="colour"), "not counted by colour"),
    ):
        with pytest.raises(InputError, match=said):
            ask()


def test_what_is_no_elasticsearch_is_refused(stack):
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 gives no connection"):
        logs_of(stack, "http://127.0.0.1:9").search("x")
    with pytest.raises(ConfigError, match="no address of an Elasticsearch"):
        logs_of(stack, "nonsense").search("x")


def test_the_command_line(stack, capsys, monkeypatch):
    assert stack.cli("logs", "collect", "--since", "2h").returncode == 0
    monkeypatch.setenv("PVEOPS_HOME", str(stack.home.root))
    for words, code, told in (
        (("logs", "search", "host:pve1", "--since", "2h", "-o", "json"), 0, '"host": "pve1"'),
        (("logs", "histogram", "--since", "2h", "--by", "host"), 0, "Pve1"),
        (("logs", "search", "a OR b AND c"), 2, ""),
        (("metrics", "now", "up"), 3, ""),
    ):
        given = run(list(words))
        said = capsys.readouterr()
        assert given == code, said
        assert told in said.out
        assert bool(said.out) == (code == 0)
        assert {2: "parentheses", 3: "PVEOPS_PROMETHEUS_URL"}.get(code, "") in said.err
