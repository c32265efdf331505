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


def views(lab, node):
    """What is seen of the guests of a node: live, in the list of the cluster, and in the round-robin data of the last minutes."""
    rows = {row["vmid"]: row for row in lab.data("GET", "/cluster/resources", type="vm")}
    found = {}
    for guest in lab.cluster.guests.values():
        if guest.node == node and guest.running:
            path = f"/nodes/{node}/{guest.kind}/{guest.vmid}"
            rrd = lab.data("GET", f"{path}/rrddata", timeframe="hour")[-4:]
            found[guest.vmid] = (lab.data("GET", f"{path}/status/current"), rows[guest.vmid], rrd)
    return found


def test_neighbours_of_a_noisy_guest_get_less_and_wait(make_lab, make_ill):
    quiet, ill = make_lab(), make_ill()
    noisy = running(ill)
    entry = ill.add("noisy-neighbour", vmid=noisy.vmid, lost_fraction=0.2)
    ill.lab.wait(300)
    quiet.wait(300)
    (noise,) = ill.lab.cluster.ills.noises
    kept = 1 - noise.lost_fraction
    assert 0.8 <= kept < 0.99
    usual, now = views(quiet, noisy.node), views(ill.lab, noisy.node)
    assert len(usual) > 3
    for vmid in usual.keys() - {noisy.vmid}:
        for place in (0, 1):
            assert now[vmid][place]["cpu"] == pytest.approx(kept * usual[vmid][place]["cpu"]), vmid
            assert now[vmid][place]["netin"] < usual[vmid][place]["netin"]
        assert now[vmid][0]["pressurecpusome"] > usual[vmid][0]["pressurecpusome"] + 5
        for row, same in zip(now[vmid][2], usual[vmid][2], strict=True):
            assert row["cpu"] == pytest.approx(kept * same["cpu"]), vmid
            assert row["diskwrite"] == pytest.approx(kept * same["diskwrite"])
            assert row["pressurecpusome"] > same["pressurecpusome"]
    elsewhere = next(name for name in quiet.cluster.nodes if name != noisy.node)
    far = zip(views(quiet, elsewhere).values(), views(ill.lab, elsewhere).values(), strict=True)
    assert all(one[0]["cpu"] == other[0]["cpu"] for one, other in far)
    ill.faults.clear(entry.ident)
    ill.lab.wait(60)
    quiet.wait(60)
    after = views(ill.lab, noisy.node)
    assert {vmid: found[0]["cpu"] for vmid, found in after.items()} == {
        vmid: found[0]["cpu"] for vmid, found in views(quiet, noisy.node).items()
    }
    assert all(found[0]["pressurecpusome"] == views(quiet, noisy.node)[vmid][0]["pressurecpusome"] for vmid, found in after.items())


def test_who_shares_a_storage_with_a_noisy_guest_waits_for_it_wherever_it_runs(ill):
    noisy = running(ill, shared=True)
    others = [guest for guest in ill.lab.cluster.guests.values() if guest.running and guest.node != noisy.node]
    before = {guest.vmid: current(ill, guest) for guest in others}
    ill.add("noisy-neighbour", vmid=noisy.vmid)
    waiting = {guest.vmid for guest in others if current(ill, guest)["pressureiosome"] > before[guest.vmid]["pressureiosome"] + 20}
    assert waiting == {guest.vmid for guest in others if "ceph-vm" in str(guest.config)}
    assert waiting


def test_two_noisy_guests_and_one_that_moves_away(ill):
    node = "pve1"
    one, two = [guest for guest in ill.lab.cluster.guests_on(node) if guest.running and guest.kind == "qemu"][:2]
    mover = next(guest for guest in ill.lab.cluster.guests_on(node) if guest.running and guest not in (one, two))

    def kept(guest):
        return ill.lab.world.crowd.of(guest).kept

    ill.add("noisy-neighbour", vmid=one.vmid)
    single = kept(mover)
    ill.add("noisy-neighbour", vmid=two.vmid)
    assert kept(mover) < single < 1
    assert kept(one) < 1
    assert kept(two) == single
    verb = {"online": 1} if mover.kind == "qemu" else {"restart": 1}
    path = f"/nodes/{node}/{mover.kind}/{mover.vmid}/migrate"
    assert ill.lab.run("POST", path, target="pve2", **verb, **({"with-local-disks": 1} if mover.kind == "qemu" else {})) == "OK"
    assert kept(mover) == 1
    before = current(ill, mover)
    ill.lab.wait(100)
    assert current(ill, mover)["netin"] > before["netin"]


def test_a_guest_that_is_paused_does_nothing(ill):
    guest = running(ill)
    path = f"/nodes/{guest.node}/qemu/{guest.vmid}/status"
    assert ill.lab.run("POST", f"{path}/suspend") == "OK"
    before = current(ill, guest)
    assert (before["qmpstatus"], before["status"], before["cpu"]) == ("paused", "running", 0)
    ill.add("noisy-neighbour", vmid=next(one.vmid for one in ill.lab.cluster.guests_on(guest.node) if one.running and one is not guest))
    assert {current(ill, guest)[f"pressure{kind}some"] for kind in ("cpu", "io", "memory")} == {0}, "who wants nothing waits for nothing"
    ill.lab.wait(600)
    assert [current(ill, guest)[key] for key in ("netin", "diskwrite")] == [before[key] for key in ("netin", "diskwrite")]
    assert ill.lab.run("POST", f"{path}/resume") == "OK"
    assert current(ill, guest)["cpu"] > 0


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_a_guest_that_crashes_stays_down_until_it_is_started(ill, kind):
    guest = next(guest for guest in ill.lab.cluster.guests.values() if guest.running and guest.kind == kind)
    entry = ill.add("guest-crashed", vmid=guest.vmid)
    assert current(ill, guest)["status"] == "stopped"
    assert any("Out of memory: Killed process" in text for text in ill.journal(guest.node, "kernel"))
    ill.lab.wait(3600)
    assert current(ill, guest)["status"] == "stopped"
    assert ill.state(entry) == "active"
    assert ill.lab.run("POST", f"/nodes/{guest.node}/{kind}/{guest.vmid}/status/start") == "OK"
    assert ill.state(entry) == "repaired"


def test_high_availability_starts_a_guest_again_that_crashed(make_ill):
    ill = make_ill(ha_guests=4)
    guest = next(guest for guest in ill.lab.cluster.guests.values() if guest.sid in ill.lab.cluster.ha and guest.running)
    entry = ill.add("guest-crashed", vmid=guest.vmid)
    began_s = ill.lab.cluster.now_s
    ill.lab.wait(5)
    assert current(ill, guest)["status"] == "stopped"
    ill.lab.wait(10)
    row = next(row for row in ill.lab.data("GET", f"/nodes/{guest.node}/tasks", vmid=guest.vmid, source="all"))
    assert (row["type"], row["user"], row["status"]) == (f"{'qm' if guest.kind == 'qemu' else 'vz'}start", ROOT, "OK")
    assert 5 < row["starttime"] - began_s < 15
    assert current(ill, guest)["status"] == "running"
    assert ill.state(entry) == "repaired"
    assert f"starting service {guest.sid}" in ill.journal(guest.node, "pve-ha-lrm")


def test_high_availability_leaves_alone_what_was_stopped_on_purpose(make_ill):
    ill = make_ill(ha_guests=4)
    guest = next(guest for guest in ill.lab.cluster.guests.values() if guest.sid in ill.lab.cluster.ha and guest.running)
    assert ill.lab.run("POST", f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}/status/stop") == "OK"
    ill.lab.wait(600)
    assert current(ill, guest)["status"] == "stopped"


def test_a_managed_guest_that_cannot_be_started_ends_in_error_until_it_is_disabled(make_ill):
    ill = make_ill(ha_guests=4)
    guest = next(guest for guest in ill.lab.cluster.guests.values() if guest.sid in ill.lab.cluster.ha and guest.running)
    storage = guest.disks()[0].storage
    ill.lab.data("PUT", f"/storage/{storage}", disable=1)
    ill.add("guest-crashed", vmid=guest.vmid)
    ill.lab.wait(60)
    rows = [row["status"] for row in ill.lab.data("GET", f"/nodes/{guest.node}/tasks", vmid=guest.vmid, errors=1)[:2]]
    assert rows == [f"storage '{storage}' is disabled"] * 2

    def told():
        rows = ill.lab.data("GET", "/cluster/ha/status/current")
        return next(row["crm_state"] for row in rows if row.get("sid") == guest.sid)

    assert told() == "error"
    ill.lab.data("PUT", f"/storage/{storage}", disable=0)
    ill.lab.wait(60)
    assert current(ill, guest)["status"] == "stopped"
    ill.lab.data("PUT", f"/cluster/ha/resources/{guest.sid}", state="disabled")
    ill.lab.data("PUT", f"/cluster/ha/resources/{guest.sid}", state="started")
    ill.lab.wait(60)
    assert told() == "started"
    assert current(ill, guest)["status"] == "running"


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
