"""Faults of nodes: what a client sees, and which action ends them."""

import pytest

from pveops.sim.physics.journal import usual
from pveops.sim.state.identity import ROOT

pytestmark = pytest.mark.slow


def row_of(ill, node):
    return next(row for row in ill.resources("node") if row["node"] == node)


def test_a_node_that_is_down_is_woken(ill):
    entry = ill.add("node-down", node="pve2")
    assert entry.component == "node/pve2"
    assert ill.lab.ask("GET", "/nodes/pve2/qemu").status == 595
    ill.lab.wait(10)
    assert row_of(ill, "pve2")["status"] == "offline"
    ill.lab.data("POST", "/nodes/pve2/wakeonlan")
    assert ill.state(entry) == "active", "it boots"
    ill.lab.wait(100)
    assert ill.state(entry) == "repaired"
    assert ill.lab.ask("GET", "/nodes/pve2/qemu").status == 200


def test_clearing_presses_the_power_button(ill):
    entry = ill.add("node-down", node="pve3")
    ill.lab.wait(10)
    ill.faults.clear(entry.ident)
    assert ill.state(entry) == "cleared"
    ill.lab.wait(100)
    assert row_of(ill, "pve3")["status"] == "online"


@pytest.mark.parametrize("how", ["power", "network"])
def test_quorum_is_lost_and_found(ill, how):
    entry = ill.add("quorum-lost", how=how)
    ill.lab.wait(5)
    assert ill.lab.data("GET", "/cluster/status")[0]["quorate"] == 0
    assert ill.lab.ask("POST", "/pools", poolid="x").reason == "cluster not ready - no quorum?"
    stopped = next(guest for guest in ill.lab.cluster.guests_on("pve1") if not guest.template and guest.kind == "qemu")
    assert ill.lab.run("POST", f"/nodes/pve1/qemu/{stopped.vmid}/status/stop") == "OK"
    assert ill.lab.run("POST", f"/nodes/pve1/qemu/{stopped.vmid}/status/start") == "cluster not ready - no quorum?"
    if how == "power":
        for node in ("pve2", "pve3"):
            ill.lab.data("POST", f"/nodes/{node}/wakeonlan")
            assert ill.state(entry) == "active"
    else:
        ill.faults.clear(entry.ident)
    ill.lab.wait(120)
    assert ill.state(entry) == ("repaired" if how == "power" else "cleared")
    assert ill.lab.data("GET", "/cluster/status")[0]["quorate"] == 1
    assert ill.lab.ask("POST", "/pools", poolid="x").status == 200


def test_a_stuck_status_daemon_is_restarted(ill):
    entry = ill.add("status-daemon-hangs", node="pve2")
    before = row_of(ill, "pve2")
    ill.lab.wait(200)
    assert row_of(ill, "pve2")["cpu"] == before["cpu"], "old values"
    ill.lab.wait(150)
    assert row_of(ill, "pve2")["status"] == "unknown"
    assert {row["status"] for row in ill.resources("vm") if row["node"] == "pve2"} == {"unknown"}
    assert ill.lab.data("GET", "/nodes/pve2/status")["cpu"] > 0, "asked directly it answers"
    ill.restart("pve1", "pvestatd")
    ill.restart("pve2", "pveproxy")
    assert ill.state(entry) == "active", "another node, another daemon"
    ill.restart("pve2", "pvestatd")
    assert ill.state(entry) == "repaired"
    ill.lab.wait(10)
    assert row_of(ill, "pve2")["status"] == "online"
    assert sum("cpu" not in row for row in ill.lab.data("GET", "/nodes/pve2/rrddata", timeframe="hour")) >= 5


@pytest.mark.parametrize(("verb", "skew_s"), [("start", 420.0), ("restart", -90.0)])
def test_a_clock_that_runs_away(ill, verb, skew_s):
    def ahead_s():
        return ill.lab.data("GET", "/nodes/pve3/time")["time"] - ill.lab.data("GET", "/nodes/pve1/time")["time"]

    entry = ill.add("clock-skew", node="pve3", skew_s=skew_s)
    assert ahead_s() == skew_s
    assert ill.lab.data("GET", "/nodes/pve3/services/chrony/state")["state"] == "dead"
    upid = ill.lab.data("POST", "/nodes/pve3/services/cron/restart")
    assert int(upid.split(":")[4], 16) == int(ill.lab.cluster.now_s + skew_s), "its tasks carry the wrong time"
    ill.lab.wait(5)
    ill.lab.wait(7200)
    assert not [
        event
        for event in usual(ill.lab.cluster, ill.lab.cluster.nodes["pve3"], entry.start_s, ill.lab.cluster.now_s)
        if event.tag == "chronyd"
    ]
    assert ill.state(entry) == "active"
    assert ill.lab.run("POST", f"/nodes/pve3/services/chrony/{verb}") == "OK"
    assert ill.state(entry) == "repaired"
    assert ahead_s() == 0
    assert "stepped" in ill.journal("pve3", "chronyd")[-1]


def test_a_wrong_name_server(ill):
    entry = ill.add("wrong-dns", node="pve2")
    assert ill.lab.data("GET", "/nodes/pve2/dns")["dns1"] != ill.lab.data("GET", "/nodes/pve1/dns")["dns1"]
    assert ill.lab.run("POST", "/nodes/pve2/apt/update") == "command 'apt-get update' failed: exit code 100"
    assert ill.lab.run("POST", "/nodes/pve1/apt/update") == "OK"
    ill.lab.data("PUT", "/nodes/pve2/dns", search="example.com", dns1="192.0.2.77")
    assert ill.state(entry) == "active", "that one does not answer either"
    ill.lab.data("PUT", "/nodes/pve2/dns", search="example.com", dns1="192.0.2.54")
    assert ill.state(entry) == "repaired"
    assert ill.lab.run("POST", "/nodes/pve2/apt/update") == "OK"


def test_a_kernel_that_waits_for_a_restart(ill):
    def kernels():
        found = ill.lab.data("GET", "/nodes/pve2/apt/versions")
        running = next(row["RunningKernel"] for row in found if "RunningKernel" in row)
        return running, next(row["Package"] for row in found if row["Package"].startswith("proxmox-kernel-"))

    entry = ill.add("pending-reboot", node="pve2", kernel="6.17.9-2-pve")
    running, package = kernels()
    assert running not in package
    assert "6.17.9-2-pve" in package
    ill.lab.data("POST", "/nodes/pve2/status", ROOT, command="reboot")
    ill.lab.wait(200)
    assert ill.state(entry) == "repaired"
    assert kernels() == ("6.17.9-2-pve", package)


def test_a_network_card_that_flaps(ill):
    def active():
        return next(row for row in ill.lab.data("GET", "/nodes/pve1/network") if row["iface"] == "eno2").get("active", 0)

    entry = ill.add("flapping-nic", node="pve1", iface="eno2", period_s=60, down_fraction=0.5)
    seen = []
    for _ in range(12):
        seen.append(active())
        ill.lab.wait(10)
    assert seen == [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    told = ill.journal("pve1", "kernel")
    assert [text.split("is ")[1].split()[0] for text in told] == ["Down", "Up", "Down", "Up"]
    ill.faults.clear(entry.ident)
    ill.lab.wait(600)
    assert active() == 1
    assert len(ill.journal("pve1", "kernel")) == 4


def test_a_flapping_card_makes_migrations_slow(make_ill):
    def seconds(*, flapping):
        lab = (ill := make_ill()).lab
        if flapping:
            ill.add("flapping-nic", node="pve1", iface="eno1", period_s=2000, down_fraction=0.99)
            lab.wait(30)
        lab.wait(60 if not flapping else 30)
        began_s = lab.cluster.now_s
        guest = next(guest for guest in lab.cluster.guests_on("pve1") if guest.kind == "qemu" and "local-lvm" in str(guest.config))
        assert lab.run("POST", f"/nodes/pve1/qemu/{guest.vmid}/migrate", target="pve3", online=1, **{"with-local-disks": 1}) == "OK"
        return lab.cluster.now_s - began_s

    assert seconds(flapping=True) > 1.05 * seconds(flapping=False)
