"""``ops.sync``, ``ops.diff``, ``ops.history``, ``ops.as_of`` over a simulated cluster in which things happen."""

import json
import re
import signal
import subprocess
import sys
from datetime import timedelta

import pandas as pd
import pytest
import requests

from pveops.app.inventory import Records
from pveops.app.ops import connect
from pveops.base.clock import SystemClock
from pveops.base.errors import InputError
from pveops.sim.faults.client import ControlClient
from pveops.testing.postgres import Postgres, find_postgres
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    running = Stack(tmp_path_factory.mktemp("looks"), nodes=3, guests=24, speed=1.0)
    running.start_sim()
    yield running
    running.close()


@pytest.fixture(scope="module")
def ops(stack):
    made = stack.ops()
    yield made
    made.close()


@pytest.fixture(scope="module")
def act(stack):
    """Change something as the administrator; a task is waited for in simulated time."""
    door = ControlClient(stack.info)
    session = requests.Session()
    session.trust_env = False
    session.verify = stack.info["ca"]
    session.headers["Authorization"] = f"PVEAPIToken={stack.info['tokens']['admin']}"

    def do(method, path, **body):
        place = {"params": body} if method == "DELETE" else {"data": body}
        answer = session.request(method, f"{stack.info['url']}/api2/json{path}", timeout=20, **place)
        assert answer.status_code == 200, answer.text
        for _ in range(60 if str(answer.json()["data"]).startswith("UPID") else 1):
            door.advance(10)
        return answer.json()["data"]

    yield do
    session.close()


def rows(frame, **wanted):
    for column, value in wanted.items():
        frame = frame[frame[column] == value]
    return frame.to_dict("records")


def test_a_first_look_reads_everything_and_calls_nothing_a_change(ops):
    with pytest.raises(InputError, match="is empty"):
        ops.as_of()
    first = ops.sync("all").set_index("what")
    assert first.attrs["complete"], first.attrs["gaps"]
    assert first.loc["guests", "known"] == first.loc["config", "read"] == first.loc["snapshots", "read"] == len(ops.guests())
    assert first.attrs["requests"] > 2 * len(ops.guests())
    assert ops.diff("today").empty or ops.diff("today")["time"].notna().all()
    assert rows(ops.diff("today"), change="added") == []
    second = ops.sync("config").set_index("what")
    assert second.loc["config", "read"] <= 3
    assert second["changed"].sum() == 0


def test_who_started_changed_moved_snapshotted_and_destroyed_what(ops, act, stack):
    ops.sync(("config", "snapshots"))
    here = ops.as_of()
    stopped = next(row for row in here.to_dict("records") if row["status"] == "stopped" and row["kind"] == "qemu" and not row["template"])
    running = next(row for row in here.to_dict("records") if row["status"] == "running" and row["kind"] == "qemu" and not row["lock"])
    doomed = next(
        row
        for row in here.to_dict("records")
        if row["status"] == "stopped" and row["vmid"] != stopped["vmid"] and not row["template"] and row["kind"] == "lxc"
    )
    path = f"/nodes/{stopped['node']}/qemu/{stopped['vmid']}"
    before = pd.Timestamp.now("UTC")
    upid = act("POST", f"{path}/status/start")
    act("PUT", f"{path}/config", description="for the audit", tags="later")
    act("POST", f"/nodes/{running['node']}/qemu/{running['vmid']}/snapshot", snapname="by-hand")
    act("DELETE", f"/nodes/{doomed['node']}/lxc/{doomed['vmid']}")
    ops.sync(("config", "snapshots"))
    changes = ops.diff(before.to_pydatetime())
    admin = stack.info["tokens"]["admin"].partition("=")[0]
    (started,) = rows(changes, vmid=stopped["vmid"], field="status")
    assert (started["before"], started["after"], started["by"], started["upid"]) == ("stopped", "running", admin, upid)
    assert started["not_before"] < started["time"]
    (described,) = rows(changes, vmid=stopped["vmid"], what="config", field="description")
    assert (described["change"], described["after"], described["name"]) == ("added", "for the audit", stopped["name"])
    assert rows(changes, vmid=stopped["vmid"], what="guest", field="tags")[0]["after"] == "later"
    (snap,) = rows(changes, vmid=running["vmid"], what="snapshots")
    assert (snap["change"], snap["field"], snap["by"], snap["task"]) == ("added", "by-hand", admin, "qmsnapshot")
    (gone,) = rows(changes, vmid=doomed["vmid"])
    assert (gone["change"], gone["what"], gone["by"], gone["task"]) == ("gone", "guest", admin, "vzdestroy")
    assert changes["time"].is_monotonic_increasing
    assert str(changes["time"].dtype) == "datetime64[ns, UTC]"
    told = ops.history(stopped["vmid"])
    assert len(told) == len(rows(changes, vmid=stopped["vmid"]))
    assert rows(ops.history(doomed["name"]), change="gone")
    assert doomed["vmid"] in set(ops.as_of(before.to_pydatetime())["vmid"])
    assert doomed["vmid"] not in set(ops.as_of()["vmid"])
    assert set(ops.diff(before.to_pydatetime(), what="snapshots")["what"]) == {"snapshots"}


def test_every_part_can_be_asked_for_and_says_when_it_was_seen(ops):
    ops.sync("all")
    for what in ("guests", "nodes", "storage", "config", "snapshots", "addresses", "backups", "disks"):
        frame = ops.as_of(what=what)
        assert len(frame), what
        assert set(frame["cluster"]) == {ops.name}
        assert str(frame["since"].dtype) == "datetime64[ns, UTC]"
        assert frame.attrs["source"].startswith("inventory ")
        assert set(frame.attrs["units"]) == set(frame.columns)
    config = ops.as_of(what="config")
    live = ops.guest(101).config()
    kept = {row["key"]: row["value"] for row in rows(config, vmid=101)}
    assert kept == {key: str(value) for key, value in live.items() if key != "digest"}
    looks = ops.looks()
    assert looks["complete"].all()
    assert looks["requests"].sum() > 0


def test_bad_questions_are_one_sentence(ops):
    for ask, said in (
        (lambda: ops.sync("colours"), "no detail called colours"),
        (lambda: ops.sync(deadline_s=0), "deadline"),
        (lambda: ops.sync_every("1s"), "too often"),
        (lambda: ops.as_of("2020-01-01T00:00Z"), "begins at"),
        (lambda: ops.as_of("2126-01-01T00:00Z"), "2126-01-01T00:00Z is still to come"),
        (lambda: ops.as_of(what="cars"), "has no 'cars'"),
        (lambda: ops.as_of(clusters=["elsewhere"]), "knows no cluster elsewhere"),
        (lambda: ops.diff("1h", "2h"), "empty"),
        (lambda: ops.diff("1h", what="wheels"), "Nothing of the kind wheels"),
        (lambda: ops.history(999_999), "knows no guest 999999"),
        (lambda: ops.history("nobody"), "no guest called nobody"),
    ):
        with pytest.raises(InputError, match=said):
            ask()


def test_the_background_looks_by_itself_and_ends(stack):
    ops = stack.ops()
    with ops.sync_every(5.0) as background:
        while background.looks < 2:
            background._stop.wait(0.1)
        assert background.error is None
        assert background.running
        assert background.last.counts[0].read == len(ops.guests())
    assert not background.running
    assert ops.looks()["looks"].sum() >= 2
    ops.close()


class Later(SystemClock):
    """Twelve minutes ahead."""

    def now(self):
        return super().now() + timedelta(minutes=12)


def test_an_answer_about_now_says_how_old_it_is(ops):
    ops.sync("none")
    later = Records(ops._target, ops.reader, Later())
    (gap,) = [gap for gap in later.as_of("now", "guests", None).attrs["gaps"] if "last look" in gap["why"]]
    assert gap["why"].startswith("the last look was 12 min before")
    assert not any("last look" in gap["why"] for gap in later.as_of("12min", "guests", None).attrs["gaps"])
    later.close()


def test_not_before_is_a_look_that_took_place(ops, act):
    guest = next(row for row in ops.guests().to_dict("records") if row["kind"] == "qemu" and not row["lock"] and not row["template"])
    looks = []
    for text in ("", "one", "two"):
        if text:
            act("PUT", f"/nodes/{guest['node']}/qemu/{guest['vmid']}/config", description=text)
        records = Records(ops._target, ops.reader, SystemClock())  # remembers nothing, as a process of its own
        looks.append(pd.Timestamp(records.look("config", full=True).at_ms, unit="ms", tz="UTC"))
        changes = records.diff("1h", "now", None, "config")
        records.close()
    mine = [row for row in rows(changes, vmid=guest["vmid"], field="description") if row["after"] in ("one", "two")]
    assert [row["after"] for row in mine] == ["one", "two"]
    assert ops.looks()["first"].min() <= mine[0]["not_before"] <= looks[0]
    assert mine[1]["not_before"] == looks[1]


def test_what_ended_long_ago_is_forgotten_and_what_holds_is_kept(stack):
    ops = stack.ops()
    ops.sync("none")
    store = ops._records.store()
    from pveops.model.inventory import STILL_MS, Seen

    store.write("old", 1000, [Seen(kind="guest", key="1", digest="a", body=b"{}")])
    store.write("old", 2000, [Seen(kind="guest", key="1", digest="b", body=b"{}")], after_ms=1000)
    ops.close()
    again = stack.ops()
    again.sync("none")
    kept = again._records.store().of_thing("old", "1", ("guest",))
    assert [(row.digest, row.to_ms) for row in kept] == [("b", STILL_MS)]
    again.close()


def test_postgresql_keeps_it_where_its_address_is_set(stack):
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    with Postgres() as server:
        ops = connect(env={**stack.env, "PVEOPS_INVENTORY_URL": server.database()})
        assert ops.sync(("config", "snapshots")).attrs["complete"]
        assert ops.as_of().attrs["source"].startswith("inventory postgresql")
        assert ops.as_of(what="config")["vmid"].nunique() == len(ops.guests()) == len(ops.as_of())
        assert rows(ops.diff("1h"), change="added") == []
        ops.close()


def test_in_a_terminal_it_looks_asks_and_goes_on_until_it_is_told_to_stop(stack):
    looked = json.loads(stack.cli("inventory", "sync", "--detail", "none", "-o", "json").stdout)
    assert looked["complete"]
    assert [row["what"] for row in looked["rows"]] == ["guests", "nodes", "storages", "tasks"]
    nodes = stack.cli("inventory", "as-of", "--what", "nodes")
    assert nodes.stdout.count(" online ") == 3
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d *$", nodes.stdout, re.MULTILINE)
    bad = stack.cli("inventory", "diff", "tomorrow")
    assert (bad.returncode, bad.stderr.count("\n")) == (2, 1)
    command = [sys.executable, "-m", "pveops", "inventory", "sync", "--every", "60s"]
    with subprocess.Popen(command, env=stack.env, stderr=subprocess.PIPE, text=True) as watching:
        assert "changed: " in watching.stderr.readline()
        watching.send_signal(signal.SIGTERM)
        assert "Stopping." in watching.stderr.read()
        assert watching.wait(30) == 0
