"""A cluster that is looked at, made a seed, and started from it is the same cluster to whoever looks at it again."""

import json
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.clock import SystemClock
from pveops.sim.seed.describe import describe
from pveops.sim.seed.people import people
from pveops.sim.state.guest import Snapshot
from pveops.twin.look import look
from pveops.twin.paces import Paces
from pveops.twin.seed import seed_of


def seed_from(live, vmids=None):
    seen = look(live, SystemClock(), vmids=vmids)
    kinds = {row["vmid"]: row["type"] for row in seen.rows("qemu", "lxc")}
    return seed_of(seen, Paces(seen.tasks, kinds, seen.logs)), seen


def again(kit, seed):
    return kit.Lab({**json.loads(json.dumps(seed)), **people()}, start_s=seed["taken_s"], seed=99)


def near(one, other, *, share=0.01):
    return abs(one - other) <= max(abs(one), abs(other)) * share + 1


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(nodes=st.integers(1, 4), guests=st.integers(3, 14), number=st.integers(0, 1 << 20), managed=st.integers(0, 3))
def test_a_seed_makes_the_same_cluster(kit, live_of, nodes, guests, number, managed):
    made = describe(nodes=nodes, guests=guests, seed=number, start_s=kit.START_S, ha_guests=min(managed, guests))
    first, seen = seed_from(live_of(kit.Lab(made, seed=number)))
    second, _ = seed_from(live_of(again(kit, first)))
    assert seen.gaps == []
    for section in ("name", "taken_s", "pools", "ha", "replication", "options"):
        assert second[section] == first[section], section
    for one, other in zip(first["guests"], second["guests"], strict=True):
        assert {key: one[key] for key in one.keys() - {"paces", "cpu_fraction", "mem_fraction", "uptime_s"}} == {
            key: other[key] for key in other.keys() - {"paces", "cpu_fraction", "mem_fraction", "uptime_s"}
        }
        assert near(one["uptime_s"], other["uptime_s"])
        if one["running"]:
            assert one["cpu_fraction"] == pytest.approx(other["cpu_fraction"], abs=0.01)
            assert one["mem_fraction"] == pytest.approx(other["mem_fraction"], abs=0.02)
    for one, other in zip(first["nodes"], second["nodes"], strict=True):
        assert {**one, "uptime_s": 0, "root_used": 0} == {**other, "uptime_s": 0, "root_used": 0}
        assert near(one["root_used"], other["root_used"])
    for one, other in zip(first["storages"], second["storages"], strict=True):
        same = ("storage", "type", "total", "options", "down")
        assert {key: one[key] for key in same} == {key: other[key] for key in same}
        held = [sum(volume["size"] * volume["used_fraction"] for volume in found["volumes"]) for found in (one, other)]
        assert near(one["used"] + held[0], other["used"] + held[1], share=0.02)


@pytest.fixture
def lab(kit):
    return kit.Lab(describe(nodes=3, guests=20, seed=kit.SEED, start_s=kit.START_S))


def test_secrets_stay_out(lab, live_of):
    guest = lab.cluster.guests[101]
    guest.config |= {"cipassword": "hunter2-live", "sshkeys": "ssh-ed25519%20AAAA", "description": "admin password=hunter2-note"}
    guest.pending["cipassword"] = "hunter2-next"
    guest.snapshots["s1"] = Snapshot("s1", 5, dict(guest.config), "token root@pam!x=12345678-1234-1234-1234-123456789abc")
    guest.touch()
    seed, _ = seed_from(live_of(lab))
    text = json.dumps(seed)
    assert "hunter2" not in text
    assert "AAAA" not in text
    assert "12345678-1234" not in text
    found = next(row for row in seed["guests"] if row["vmid"] == 101)
    assert found["config"]["description"] == "admin password=[redacted]"
    assert found["digest"] == guest.digest


def test_the_digest_that_was_seen_is_shown_until_something_changes(lab, kit, live_of):
    seed, _ = seed_from(live_of(lab))
    copy = again(kit, seed)
    path = "/nodes/pve1/qemu/101"
    assert copy.data("GET", f"{path}/config")["digest"] == lab.data("GET", f"{path}/config")["digest"]
    assert copy.run("POST", f"{path}/migrate", target="pve2", online=1) == "OK"
    moved = "/nodes/pve2/qemu/101"
    assert copy.data("GET", f"{moved}/config")["digest"] == lab.data("GET", f"{path}/config")["digest"]
    copy.data("PUT", f"{moved}/config", description="changed")
    assert copy.data("GET", f"{moved}/config")["digest"] != lab.data("GET", f"{path}/config")["digest"]


def test_a_look_at_some_guests_asks_little_and_still_knows_all(lab, live_of):
    live = live_of(lab)
    seed, seen = seed_from(live, vmids=[101])
    assert len(seed["guests"]) == 20
    assert {path.split("/")[4] for path in live.asked if "/qemu/" in path or "/lxc/" in path} == {"101"}
    assert seen.reads == len(live.asked) < 40
    other = next(row for row in seed["guests"] if row["vmid"] == 103)
    assert other["config"]["name"] == "db-1"
    assert other["config"]["memory"] == "16384"


def test_what_the_token_may_not_see_is_a_gap_that_says_so(lab, kit, live_of):
    lab.cluster.identities.roles["Less"] = type(lab.cluster.identities.roles["PVEAuditor"])(
        "Less", frozenset({"VM.Audit", "Datastore.Audit"})
    )
    poor = lab.principal("less@pve", ("/", "Less", 1))
    seed, seen = seed_from(live_of(lab, poor), vmids=[101])
    assert any("hardware of pve1" in gap for gap in seen.gaps)
    assert any("members of the cluster" in gap for gap in seen.gaps)
    assert seed["guests"]
    assert again(kit, seed).data("GET", "/nodes/pve1/qemu/101/status/current")["status"] == "running"


def test_a_guest_keeps_its_pace_on_the_copy(lab, kit, live_of):
    seed, _ = seed_from(live_of(lab))
    row = next(row for row in seed["guests"] if row["vmid"] == 101)
    row["paces"] |= {"shutdown_s": 11.0, "start_s": 5.0}
    copy = again(kit, seed)
    upid = copy.data("POST", "/nodes/pve1/qemu/101/status/reboot")
    assert copy.finish(upid) == "OK"
    task = copy.world.engine.find("pve1", upid)
    assert task.end_s - task.start_s == pytest.approx(16.0, abs=0.2)


def test_stopped_paused_and_locked_guests_stay_so(lab, kit, live_of):
    lab.run("POST", "/nodes/pve1/qemu/101/status/suspend")
    lab.cluster.guests[103].config["lock"] = "backup"
    lab.cluster.guests[103].touch()
    lab.cluster.nodes["pve3"].online = False
    lab.wait(20)
    seed, _ = seed_from(live_of(lab))
    copy = again(kit, seed)
    assert copy.data("GET", "/nodes/pve1/qemu/101/status/current")["qmpstatus"] == "paused"
    assert copy.data("GET", "/nodes/pve1/qemu/103/status/current")["lock"] == "backup"
    assert {row["name"]: row["online"] for row in copy.data("GET", "/cluster/status") if row["type"] == "node"} == {
        "pve1": 1,
        "pve2": 1,
        "pve3": 0,
    }
    assert median(row["vmid"] for row in seed["guests"]) == median(lab.cluster.guests)
