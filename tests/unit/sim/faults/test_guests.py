"""Faults of guests and of work."""

import pytest

from pveops.sim.state.identity import ROOT

pytestmark = pytest.mark.slow


def current(ill, guest):
    return ill.lab.data("GET", f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}/status/current")


def running(ill, kind="qemu", *, shared=False):
    return next(
        guest
        for guest in ill.lab.cluster.guests.values()
        if guest.running and guest.kind == kind and guest.cpus >= 2 and not (shared and "local-lvm" in str(guest.config))
    )


def test_a_stuck_lock_is_taken_off_by_root(ill):
    guest = running(ill)
    path = f"/nodes/{guest.node}/qemu/{guest.vmid}"
    entry = ill.add("stuck-lock", vmid=guest.vmid, lock="snapshot")
    assert current(ill, guest)["lock"] == "snapshot"
    assert next(row for row in ill.resources("vm") if row["vmid"] == guest.vmid)["lock"] == "snapshot"
    assert ill.lab.ask("PUT", f"{path}/config", description="x").reason == "VM is locked (snapshot)"
    assert ill.lab.run("POST", f"{path}/snapshot", snapname="now") == "VM is locked (snapshot)"
    assert ill.lab.ask("PUT", f"{path}/config", delete="lock", skiplock=1).status == 400, "not by a token"
    assert ill.state(entry) == "active"
    ill.lab.data("PUT", f"{path}/config", ROOT, delete="lock", skiplock=1)
    assert ill.state(entry) == "repaired"
    assert ill.lab.run("POST", f"{path}/snapshot", snapname="now") == "OK"


def test_a_left_over_backup_lock_goes_with_startall(ill):
    guest = running(ill)
    entry = ill.add("stuck-lock", vmid=guest.vmid)
    assert ill.lab.run("POST", f"/nodes/{guest.node}/startall").startswith("OK")
    assert ill.state(entry) == "repaired"


def test_a_leak_grows_in_a_straight_line_until_the_guest_is_restarted(ill):
    guest = running(ill)
    before = current(ill, guest)["mem"]
    entry = ill.add("memory-leak", vmid=guest.vmid, mib_per_hour=600)
    ill.lab.wait(3600)
    first = current(ill, guest)["mem"]
    ill.lab.wait(10)
    assert 0.3 < (first - before) / (600 * 1024**2) < 1.7
    shown = next(row for row in ill.resources("vm") if row["vmid"] == guest.vmid)["mem"]
    assert abs(shown - first) < 80 * 1024**2
    ill.lab.wait(60 * 3600)
    assert current(ill, guest)["mem"] >= 0.98 * guest.maxmem
    ill.reboot(guest)
    assert ill.state(entry) == "repaired"
    ill.lab.wait(1800)
    assert current(ill, guest)["mem"] < 0.97 * guest.maxmem
    rows = ill.lab.data("GET", f"/nodes/{guest.node}/qemu/{guest.vmid}/rrddata", timeframe="week")
    assert max(row.get("mem", 0) for row in rows) >= 0.98 * guest.maxmem, "the past stays as it was"


@pytest.mark.parametrize("how", ["limit", "move", "stop"])
def test_a_noisy_neighbour_is_limited_moved_or_stopped(ill, how):
    guest = running(ill, shared=True)
    path = f"/nodes/{guest.node}/qemu/{guest.vmid}"
    quiet_node, quiet = ill.lab.data("GET", f"/nodes/{guest.node}/status")["cpu"], current(ill, guest)["cpu"]
    entry = ill.add("noisy-neighbour", vmid=guest.vmid)
    ill.lab.wait(20)
    assert current(ill, guest)["cpu"] == pytest.approx(0.94, abs=0.01)
    assert quiet < 0.9
    assert ill.lab.data("GET", f"/nodes/{guest.node}/status")["cpu"] > quiet_node
    if how == "limit":
        ill.lab.data("PUT", f"{path}/config", cpulimit=guest.cpus)
        assert ill.state(entry) == "active", "that is no limit"
        ill.lab.data("PUT", f"{path}/config", cpulimit=1)
    elif how == "move":
        target = next(name for name in ill.lab.cluster.nodes if name != guest.node)
        assert ill.lab.run("POST", f"{path}/migrate", target=target, online=1) == "OK"
    else:
        assert ill.lab.run("POST", f"{path}/status/shutdown") == "OK"
    assert ill.state(entry) == "repaired"
    if how != "stop":
        ill.lab.wait(60)
        assert current(ill, guest)["cpu"] < 0.9


def test_a_thrash_pair_swings_against_each_other_and_is_pinned(make_ill):
    ill = make_ill(guests=30, ha_guests=20)
    entry = ill.add("thrash-pair", period_s=1800)
    one, other = (ill.lab.cluster.guests[int(vmid)] for vmid in entry.values["pair"].split("+"))
    assert one.node != other.node
    seen = []
    for _ in range(12):
        seen.append((current(ill, one)["cpu"], current(ill, other)["cpu"]))
        ill.lab.wait(150)
    assert max(first for first, _ in seen) > 0.85
    assert min(first for first, _ in seen) < 0.1
    assert all(abs(first + second - 0.96) < 0.02 for first, second in seen), "together they are always equally busy"
    for guest in (one, other):
        if guest.sid not in ill.lab.cluster.ha:
            ill.lab.data("POST", "/cluster/ha/resources", sid=guest.sid)
    for guest in (one, other):
        assert ill.state(entry) == "active"
        ill.lab.data("POST", "/cluster/ha/rules", rule=f"pin-{guest.vmid}", type="node-affinity", resources=guest.sid, nodes=guest.node)
    assert ill.state(entry) == "repaired"


def test_a_template_on_another_node_is_moved_back(ill):
    template = ill.lab.cluster.guests[102]
    home, away = template.node, next(name for name in ill.lab.cluster.nodes if name != template.node)
    entry = ill.add("template-elsewhere", vmid=102, node=away)
    answer = ill.lab.ask("GET", f"/nodes/{home}/qemu/102/config")
    assert answer.reason == f"Configuration file 'nodes/{home}/qemu-server/102.conf' does not exist"
    assert "local-lvm" in str(ill.lab.data("GET", f"/nodes/{away}/qemu/102/config"))
    refused = ill.lab.ask("POST", f"/nodes/{away}/qemu/102/clone", newid=700, target=home)
    assert refused.reason == f"can't clone to node '{home}' (VM uses local storage)"
    assert ill.lab.run("POST", f"/nodes/{away}/qemu/102/migrate", target=home) == "OK"
    assert ill.state(entry) == "repaired"
    assert ill.lab.run("POST", f"/nodes/{home}/qemu/102/clone", newid=701, full=1) == "OK"


def test_clearing_puts_a_template_back_as_it_was(ill):
    before = dict(ill.lab.cluster.guests[102].config)
    volumes = set(ill.lab.cluster.storages["ceph-vm"].place(""))
    entry = ill.add("template-elsewhere", vmid=102)
    ill.faults.clear(entry.ident)
    assert ill.lab.cluster.guests[102].config == before
    assert set(ill.lab.cluster.storages["ceph-vm"].place("")) == volumes


def test_a_task_that_dies_leaves_its_lock_and_is_done_again(ill):
    guest = running(ill)
    entry = ill.add("task-dies", node=guest.node, type="vzdump", after_s=2)
    upid = ill.lab.data("POST", f"/nodes/{guest.node}/vzdump", vmid=guest.vmid, storage="pbs-01")
    ill.lab.wait(5)
    status = ill.lab.data("GET", f"/nodes/{guest.node}/tasks/{upid}/status")
    assert (status["status"], status["exitstatus"]) == ("stopped", "unexpected status")
    lines = [line["t"] for line in ill.lab.data("GET", f"/nodes/{guest.node}/tasks/{upid}/log", limit=0)]
    assert not lines[-1].startswith("TASK ")
    assert current(ill, guest)["lock"] == "backup"
    row = ill.lab.data("GET", f"/nodes/{guest.node}/tasks", statusfilter="unknown")[0]
    assert row["upid"] == upid
    assert ill.lab.run("POST", f"/nodes/{guest.node}/vzdump", vmid=guest.vmid, storage="pbs-01") == "job errors"
    assert ill.state(entry) == "active"
    assert ill.lab.run("POST", f"/nodes/{guest.node}/startall").startswith("OK")
    assert ill.lab.run("POST", f"/nodes/{guest.node}/vzdump", vmid=guest.vmid, storage="pbs-01") == "OK"
    assert ill.state(entry) == "repaired"


def test_replication_falls_behind_and_catches_up(ill):
    guest = running(ill)
    entry = ill.add("replication-lag", vmid=guest.vmid, slower=6)
    job = f"{guest.vmid}-0"
    assert entry.component == f"replication/{job}"

    def status():
        return ill.lab.data("GET", f"/nodes/{guest.node}/replication/{job}/status")

    assert ill.lab.cluster.now_s - status()["last_sync"] < 1000
    ill.lab.wait(3 * 3600 + 600)
    assert ill.lab.cluster.now_s - status()["last_sync"] > 2 * 3600
    assert status()["fail_count"] == 1
    assert "got timeout" in status()["error"]
    ill.lab.data("PUT", f"/cluster/replication/{job}", rate=5)
    assert ill.state(entry) == "active"
    ill.lab.data("PUT", f"/cluster/replication/{job}", delete="rate")
    assert ill.state(entry) == "repaired"
    ill.lab.wait(1000)
    assert ill.lab.cluster.now_s - status()["last_sync"] < 1000
    assert status()["fail_count"] == 0
    assert "error" not in status()
