"""What the read tools say while something is wrong: never a traceback, never less than the truth."""

import pytest
import requests

from pveops.base.errors import ApiError, AuthFailed, CertificateMismatch, PveopsError
from pveops.sim.faults.kinds import KINDS
from pveops.surfaces.dash import blocks, lists
from pveops.surfaces.dash.look import Watcher
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow

READS = (
    ("cluster.status", {}),
    ("node.list", {}),
    ("node.fullest", {}),
    ("guest.list", {}),
    ("storage.list", {}),
    ("task.list", {}),
    ("task.list", {"failed": True, "since": "1d"}),
    ("backup.list", {}),
)
CALM = {
    "storage-hanging": {"storage": "pbs-01", "wait_s": 0.5},
    "slow-api": {"delay_ms": 20},
    "token-expired": {"token": "auditor@pve!audit"},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    running = Stack(tmp_path_factory.mktemp("sick"), guests=20, nodes=3, speed=1.0)
    running.start_sim()
    yield running
    running.close()


@pytest.fixture
def read(stack):
    ops = stack.ops()

    def ask(tool, **args):
        return ops.tools.read(tool, args, ops.ports)

    yield ask
    ops.reader.wire.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "certificate-changed"])
def test_every_tool_answers_or_says_why_not(stack, door, read, kind):
    row = door.add(kind, CALM.get(kind, {}))
    door.advance(400)
    vmid = row["parameters"].get("vmid")
    reads = [*READS, *((tool, {"guest": str(vmid)}) for tool in ("guest.show", "guest.config", "guest.snapshots", "guest.metrics") if vmid)]
    for tool, args in reads:
        try:
            result = read(tool, **args)
        except PveopsError as err:
            if kind not in ("api-errors", "cut-answers"):
                raise AssertionError(f"{tool}: {err}") from err
            continue
        assert result.text
        assert (result.status == "partial") == bool(result.gaps)


def banners(stack):
    ops = stack.ops()
    seen = Watcher(ops).look()
    drawn = blocks.top_block(seen, None, now=seen.at, read_at=seen.at)
    for block in (blocks.nodes_block(seen, None), blocks.storage_block(seen, None), lists.work_block(seen, None, seen.at)):
        assert block.get("state", "ok") in ("ok", "empty")
    ops.reader.wire.close()
    return [banner["title"].replace("\xa0", " ") for banner in drawn["banners"]]


@pytest.mark.parametrize(
    ("kind", "given", "title"),
    [
        ("node-down", {"node": "pve2"}, "pve2 is offline"),
        ("quorum-lost", {}, "The cluster has no quorum"),
        ("status-daemon-hangs", {"node": "pve3"}, "pve3 is unknown"),
        ("storage-offline", {"storage": "pbs-01"}, "Storage pbs-01 is not available"),
        ("storage-full", {"storage": "local", "node": "pve1"}, "Storage local is 100 % full"),
        ("thin-pool-near-full", {"node": "pve1"}, "Storage local-lvm is 97 % full"),
    ],
)
def test_the_page_tells_what_is_wrong(stack, door, kind, given, title):
    assert title not in banners(stack)
    door.add(kind, given)
    door.advance(400)
    assert title in banners(stack)


def test_guests_of_a_dead_node_are_not_called_running(door, read):
    healthy = read("cluster.status").rows[0]["guests_running"]
    door.add("node-down", {"node": "pve2"})
    door.advance(20)
    found = read("cluster.status")
    assert found.status == "partial"
    assert found.rows[0]["guests_running"] < healthy
    assert "guests on pve2 (the node is offline; what is shown is old)" in found.text
    door.advance(400)
    assert "guests on pve2" in read("guest.list").text


def test_tables_of_a_cluster_with_a_dead_node_say_what_is_old(stack, door, read):
    ops = stack.ops()
    assert [ops.guests().attrs["gaps"], ops.storage().attrs["gaps"]] == [[], []]
    door.add("node-down", {"node": "pve2"})
    door.advance(20)
    old = "the node is offline; what is shown is old"
    guests = ops.guests()
    assert "running" in set(guests[guests["node"] == "pve2"]["status"]), "Proxmox VE shows what it heard last"
    assert [(gap["what"], gap["why"]) for gap in guests.attrs["gaps"]] == [("state of the guests on pve2", old)]
    assert [(gap["what"], gap["why"]) for gap in ops.storage().attrs["gaps"]] == [("state of the storages on pve2", old)]
    listed = read("guest.list", status="running")
    assert (listed.status, [gap.what for gap in listed.gaps]) == ("partial", ["state of the guests on pve2"])
    dead = ops.guest(int(guests[guests["node"] == "pve2"]["vmid"].iloc[0]))
    assert repr(dead).endswith(f"({old})")
    assert [gap.what for gap in dead.gaps] == ["state of the guests on pve2"]
    well = ops.guest(int(guests[guests["node"] == "pve1"]["vmid"].iloc[0]))
    assert well.gaps == ()
    ops.reader.wire.close()


def test_the_list_of_recent_tasks_is_not_called_complete(stack, door, read):
    ops = stack.ops()
    frame = ops.tasks()
    (older,) = frame.attrs["gaps"]
    assert (older["what"], "ask with node= or guest=" in older["why"]) == ("older tasks", True)
    assert len(ops.tasks(node="pve1", limit=500)) > (frame["node"] == "pve1").sum(), "there are older ones"
    assert ops.tasks(node="pve1").attrs["gaps"] == []
    assert read("task.list", limit=10).text.startswith("10 tasks, the newest: at most 10 were asked for. Not seen: older tasks (")
    door.add("node-down", {"node": "pve3"})
    door.advance(20)
    assert [gap["what"] for gap in ops.tasks().attrs["gaps"]] == ["older tasks", "tasks of pve3"]
    ops.reader.wire.close()


def test_tasks_that_nobody_could_ask_for_are_named(door, read):
    door.add("node-down", {"node": "pve3"})
    door.advance(20)
    found = read("task.list", failed=True, since="1d")
    assert [(gap.what, gap.why) for gap in found.gaps] == [("tasks of pve3", "the node is offline")]


def test_a_node_that_only_tells_nothing_is_still_asked_for_its_tasks(door, read):
    before = {row["upid"] for row in read("task.list", failed=True, since="1d").rows}
    door.add("status-daemon-hangs", {"node": "pve2"})
    door.advance(400)
    assert before <= {row["upid"] for row in read("task.list", failed=True, since="1d").rows}


def test_storages_that_do_not_answer_are_named(door, read):
    assert "not available" not in read("storage.list").text
    door.add("storage-offline", {"storage": "pbs-01"})
    door.advance(20)
    assert "not available: pbs-01 on pve1, pbs-01 on pve2, pbs-01 on pve3." in read("storage.list").text
    assert read("backup.list").status == "partial"


def test_nobody_blames_the_token_for_silent_nodes(door, read):
    door.add("storage-hanging", {"storage": "pbs-01", "wait_s": 0.1})
    door.advance(400)
    found = read("node.fullest")
    assert found.status == "partial"
    assert "token" not in found.text


def test_a_task_that_died_is_unknown_and_not_failed_or_done(stack, door, read):
    guest = next(row for row in read("guest.list", status="running").rows if row["kind"] == "qemu")
    door.add("task-dies", {"node": guest["node"], "type": "vzdump", "after_s": 1})
    admin = stack.info["tokens"]["admin"]
    url = f"{stack.info['url']}/api2/json/nodes/{guest['node']}/vzdump"
    body = {"vmid": guest["vmid"], "storage": "pbs-01"}
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"PVEAPIToken={admin}"}
        upid = session.post(url, data=body, headers=headers, verify=stack.info["ca"], timeout=10).json()["data"]
    door.advance(5)
    row = next(row for row in read("task.list").rows if row["upid"] == upid)
    assert (row["outcome"], row["exit_text"]) == ("unknown", "unexpected status")
    assert "unknown unexpected status" in read("task.log", upid=upid).text


def test_a_lost_answer_is_asked_for_once_more(door, read):
    door.add("api-errors", {"node": "pve1", "status": "596", "fraction": 0.3})
    good = 0
    for _ in range(30):
        try:
            good += read("node.list").status == "ok"
        except ApiError as err:
            assert err.status == 596  # noqa: PT017 - both ends are fine; how many is what counts
    assert good >= 24, "0.3 of all requests get lost, about 0.09 of all reads"


def test_a_token_that_ended_says_so(stack, door, read):
    door.add("token-expired", {"token": "reader@pve!notebook"})
    with pytest.raises(AuthFailed, match="refused the token"):
        read("node.list")


def test_a_strangers_certificate_is_not_spoken_to(stack, door):
    door.add("certificate-changed", {})
    with pytest.raises(CertificateMismatch, match="not the one this profile trusts"):
        stack.ops().reader.nodes()
