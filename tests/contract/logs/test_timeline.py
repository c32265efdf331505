"""``ops.timeline`` on a simulated cluster: what was planted is there with its time, and what could not be asked is said."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from pveops.base.errors import InputError, UnknownName
from pveops.surfaces.cli.main import run
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow
HOUR_S = 3600
FAULTS = {
    "failing-disk": {"node": "pve1"},
    "flapping-nic": {"node": "pve1"},
    "noisy-neighbour": {"vmid": 103},
    "memory-leak": {"vmid": 101},
    "stuck-lock": {"vmid": 106},
    "storage-offline": {"storage": "pbs-01"},
}


class Night:
    """A cluster whose clock began eight hours ago; things went wrong five hours ago."""

    def __init__(self, root, faults, back_s=8 * HOUR_S):
        self.stack = Stack(root, nodes=3, guests=12, speed=1, sim_options=("--start-s", str(time.time() - back_s)))
        self.stack.start_sim()
        self.post("advance", seconds=3 * HOUR_S)
        self.planted = {}
        for kind, parameters in faults.items():
            truth = self.post("faults", kind=kind, parameters=parameters)
            self.planted[kind] = datetime.fromisoformat(truth["start"])
        self.post("advance", seconds=back_s - 3 * HOUR_S - 30)

    def post(self, verb, **body):
        info = self.stack.info
        answer = requests.post(f"{info['control']}/{verb}", json=body, verify=info["ca"], timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def when(self, frame, kind, text):
        """The time of the first row of a kind that holds a text."""
        fits = frame[(frame["kind"] == kind) & frame["text"].str.contains(text, regex=False)]
        assert len(fits), frame[["time", "kind", "text"]].to_string()
        return fits["time"].iloc[0].to_pydatetime()


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    night = Night(tmp_path_factory.mktemp("night"), FAULTS)
    yield night
    night.stack.close()


def near(moment, planted, minutes):
    return -timedelta(minutes=10) <= moment - planted <= timedelta(minutes=minutes)


def wait_ended(ops, upid):
    until = time.monotonic() + 60
    while ops.reader.wire.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/status").data["status"] != "stopped":
        assert time.monotonic() < until
        time.sleep(0.2)


def test_what_was_planted_is_there_with_its_time(night):
    ops = night.stack.ops()
    node = ops.timeline("pve1", "6h")
    assert node["time"].is_monotonic_increasing
    assert near(night.when(node, "log", "Reallocated_Sector_Ct"), night.planted["failing-disk"], 45)
    assert near(night.when(node, "log", "NIC Link is Down"), night.planted["flapping-nic"], 5)
    assert near(night.when(node, "log", "could not activate storage 'pbs-01'"), night.planted["storage-offline"], 5)
    assert near(night.when(node, "metric", "CPU"), night.planted["noisy-neighbour"], 5)
    assert night.when(node, "state", "storage pbs-01 does not answer")
    noisy = ops.timeline("103", "6h")
    assert near(night.when(noisy, "metric", "db-1: CPU"), night.planted["noisy-neighbour"], 5)
    leak = ops.timeline(101, "6h", collect=False)
    assert near(night.when(leak, "metric", "Memory used"), night.planted["memory-leak"], 90)
    lock = ops.timeline("106", "1h", collect=False)
    assert night.when(lock, "state", "locked (backup)")
    quiet = ops.timeline("pve2", "6h")
    assert not quiet["text"].str.contains("Reallocated|NIC Link").any()


def test_what_could_not_be_asked_is_said(night):
    ops = night.stack.ops()
    frame = ops.timeline("pve1", "1h", collect=False)
    said = {gap["what"]: gap["why"] for gap in frame.attrs["gaps"]}
    assert not frame.attrs["complete"]
    assert "no Prometheus" in said["alerts"]
    assert "executor" in said["proposals"]
    assert "inventory" in said["configuration changes"]
    assert set(frame.attrs["counts"]) == {"task", "config", "metric", "log", "alert", "proposal", "state"}
    assert frame.attrs["cluster"] == ops.name
    with pytest.raises(UnknownName, match="Neither a guest nor a node is called nobody"):
        ops.timeline("nobody")
    with pytest.raises(InputError, match="empty"):
        ops.timeline("pve1", "now", "1h")
    past = ops.timeline("pve1", "6h", "5h", collect=False)
    assert not (past["kind"] == "state").any()


def test_tasks_and_proposals_are_told(night):
    night.stack.start_executor()
    ops = night.stack.ops()
    handle = ops.guest("web-1").snapshot("before-timeline").propose()
    frame = ops.timeline("web-1", "1h", collect=False)
    row = frame[frame["kind"] == "proposal"].iloc[0]
    assert row["ref"] == handle.id
    assert "asks: " in row["text"]
    assert not len(ops.timeline("pve2", "1h", collect=False).query("kind == 'proposal'"))
    admin = {"Authorization": f"PVEAPIToken={night.stack.info['tokens']['admin']}"}
    url = f"{night.stack.info['url']}/api2/json/nodes/pve1/qemu/106/status/start"
    upid = requests.post(url, headers=admin, verify=night.stack.info["ca"], timeout=30).json()["data"]
    wait_ended(ops, upid)
    tasks = ops.timeline("106", datetime.now(UTC) - timedelta(hours=1), collect=False).query("kind == 'task'")
    assert list(tasks["severity"]) == ["info", "err"]
    assert set(tasks["ref"]) == {upid}
    assert "qmstart 106" in tasks["text"].iloc[0]
    night.stack.executor_child().stop()


def test_changes_are_told_with_who_made_them(night):
    ops = night.stack.ops()
    ops.sync()
    admin = {"Authorization": f"PVEAPIToken={night.stack.info['tokens']['admin']}"}
    url = f"{night.stack.info['url']}/api2/json/nodes/pve1/qemu/103/config"
    changed = requests.post(url, headers=admin, data={"description": "planted"}, verify=night.stack.info["ca"], timeout=30)
    wait_ended(ops, changed.json()["data"])
    ops.sync(full=True)
    frame = ops.timeline("103", "1h", collect=False)
    row = frame[(frame["kind"] == "config") & frame["text"].str.contains("planted")].iloc[0]
    assert row["subject"] == "guest/103"
    assert row["ref"].startswith("UPID:pve1:")
    assert "by admin@" in row["text"]
    other = ops.timeline("pve2", "1h", collect=False)
    assert not other["text"].str.contains("planted").any()
    ops.close()


def test_it_can_be_drawn(night):
    import holoviews as hv

    frame = night.stack.ops().timeline("103", "6h", collect=False)
    state = hv.renderer("bokeh").get_plot(frame.pve.plot()).state
    drawn = sum(len(model.data["x"]) for model in state.references() if type(model).__name__ == "ColumnDataSource" and "x" in model.data)
    assert drawn == len(frame)
    assert {item.label.value for legend in state.legend for item in legend.items} >= {"warning", "notice and less"}
    with pytest.raises(InputError, match="Nothing happened"):
        frame.iloc[:0].pve.plot()


def test_a_node_that_is_away_is_told_by_the_others(tmp_path):
    night = Night(tmp_path, {"node-down": {"node": "pve2"}})
    try:
        frame = night.stack.ops().timeline("pve2", "6h")
        assert near(night.when(frame, "log", "link: 0 is down"), night.planted["node-down"], 5)
        assert night.when(frame, "state", "the node is offline")
        assert any(gap["what"] == "tasks" for gap in frame.attrs["gaps"])
    finally:
        night.stack.close()


def test_the_command_line(night, capsys, monkeypatch):
    monkeypatch.setenv("PVEOPS_HOME", str(night.stack.home.root))
    assert run(["timeline", "103", "--since", "6h", "--no-collect", "--severity", "warning"]) == 0
    said = capsys.readouterr()
    assert "CPU" in said.out
    assert "running on" not in said.out
    assert "Partial: alerts" in said.err
    assert run(["timeline", "pve1", "-o", "json"]) == 0
    assert {row["kind"] for row in json.loads(capsys.readouterr().out)["rows"]} >= {"log", "state"}
    assert run(["timeline", "nobody"]) != 0
    assert "Neither a guest nor a node" in capsys.readouterr().err
    assert run(["timeline", "pve1", "--severity", "bad"]) != 0
    assert "no severity" in capsys.readouterr().err
