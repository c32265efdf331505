"""Nodes that go and come back, quorum, and what high availability does about it."""

import pytest

from pveops.sim.state.identity import ROOT
from pveops.sim.tasks import node_life

MANAGED = 4


@pytest.fixture
def ha_lab(make_lab):
    return make_lab(nodes=3, guests=20, ha_guests=MANAGED)


def node(lab, name):
    return lab.cluster.nodes[name]


def shown(lab, name):
    return next(row for row in lab.data("GET", "/nodes") if row["node"] == name)["status"]


def crash(lab, name):
    node_life.lose_power(lab.world.room, node(lab, name))


def service(lab, sid):
    return next(row for row in lab.data("GET", "/cluster/ha/status/current") if row["id"] == f"service:{sid}")


def journal(lab, name):
    return "\n".join(event.message for event in lab.cluster.journal.between(0, lab.cluster.now_s, name))


def test_a_dead_node_answers_595_at_once_and_is_offline_a_few_seconds_later(lab):
    crash(lab, "pve2")
    answer = lab.ask("GET", "/nodes/pve2/status")
    assert (answer.status, answer.reason) == (595, "Errors during connection establishment, proxy handshake: No route to host")
    assert {row["name"]: row["online"] for row in lab.data("GET", "/cluster/status") if row["type"] == "node"}["pve2"] == 1
    lab.wait(5)
    assert shown(lab, "pve2") == "offline"
    assert lab.data("GET", "/cluster/status")[0]["quorate"] == 1
    assert "A new membership was formed. Members left: 2" in journal(lab, "pve1")


def test_guests_of_a_dead_node_are_shown_as_they_were_until_nobody_knows(lab):
    def states():
        return {
            row["status"] for row in lab.data("GET", "/cluster/resources", type="vm") if row["node"] == "pve2" and not row.get("template")
        }

    before = states()
    crash(lab, "pve2")
    lab.wait(120)
    assert states() == before
    lab.wait(300)
    assert states() == {"unknown"}


def test_a_task_on_a_node_that_dies_has_no_known_end_and_leaves_its_lock(lab):
    guest = next(guest for guest in lab.cluster.guests_on("pve2") if guest.running and guest.kind == "qemu")
    upid = lab.data("POST", "/nodes/pve2/vzdump", vmid=guest.vmid, storage="pbs-01")
    lab.wait(5)
    crash(lab, "pve2")
    assert lab.world.engine.find("pve2", upid).status == "unexpected status"
    assert guest.lock == "backup"
    assert not guest.running


def test_a_node_that_is_woken_comes_back_with_its_guests(lab):
    guest = next(guest for guest in lab.cluster.guests_on("pve2") if guest.running and guest.config.get("onboot"))
    crash(lab, "pve2")
    lab.wait(10)
    assert lab.ask("POST", "/nodes/pve1/wakeonlan").reason == "'pve1' is local node, cannot wake my self!"
    assert lab.data("POST", "/nodes/pve2/wakeonlan").count(":") == 5
    lab.wait(60)
    assert lab.ask("GET", "/nodes/pve2/status").status == 595
    lab.wait(40)
    assert lab.data("GET", "/nodes/pve2/status")["uptime"] < 120
    assert shown(lab, "pve2") == "online"
    lab.wait(120)
    assert guest.running
    assert guest.node == "pve2"
    kinds = {row["type"] for row in lab.data("GET", "/nodes/pve2/tasks", since=int(lab.cluster.now_s - 300))}
    assert {"startall", "qmstart"} & kinds
    assert lab.data("GET", "/nodes/pve2/qemu")  # nothing of the five minutes of silence is left


def test_round_robin_data_have_a_gap_while_a_node_is_away(lab):
    crash(lab, "pve2")
    lab.wait(1200)
    lab.data("POST", "/nodes/pve2/wakeonlan")
    lab.wait(1200)
    rows = lab.data("GET", "/nodes/pve2/rrddata", timeframe="hour")
    told = [("cpu" in row) for row in rows]
    assert told[0]
    assert told[-2]
    assert 18 <= told.count(False) <= 26


def test_a_restart_in_order_takes_the_new_kernel_and_no_guest_is_moved(ha_lab):
    lab = ha_lab
    where = {sid: lab.cluster.guests[int(sid.split(":")[1])].node for sid in lab.cluster.ha}
    node(lab, "pve2").new_kernel = "6.17.4-1-pve"
    lab.data("POST", "/nodes/pve2/status", ROOT, command="reboot")
    lab.wait(100)
    managed = [sid for sid, name in where.items() if name == "pve2"]
    assert managed
    assert {service(lab, sid)["state"] for sid in managed} == {"freeze"}
    lab.wait(120)
    assert lab.data("GET", "/nodes/pve2/status")["current-kernel"]["release"] == "6.17.4-1-pve"
    assert {sid: lab.cluster.guests[int(sid.split(":")[1])].node for sid in lab.cluster.ha} == where
    assert all(lab.cluster.guests[int(sid.split(":")[1])].running for sid in managed)


def test_high_availability_fences_a_dead_node_and_starts_its_guests_elsewhere(ha_lab):
    lab = ha_lab
    managed = [sid for sid in lab.cluster.ha if lab.cluster.guests[int(sid.split(":")[1])].node == "pve2"]
    crash(lab, "pve2")
    lab.wait(30)
    assert all(not lab.cluster.guests[int(sid.split(":")[1])].running for sid in managed)
    lab.wait(37)
    assert {service(lab, sid)["state"] for sid in managed} == {"fence"}
    lab.wait(40)
    guests = [lab.cluster.guests[int(sid.split(":")[1])] for sid in managed]
    assert managed
    assert all(guest.running and guest.node != "pve2" for guest in guests)
    assert {service(lab, sid)["state"] for sid in managed} == {"started"}
    text = journal(lab, "pve1")
    assert "state changed from 'unknown' => 'fence'" in text
    assert "fencing: acknowledged - got agent lock for node 'pve2'" in text
    lab.data("POST", "/nodes/pve2/wakeonlan")
    lab.wait(200)
    assert all(guest.running and guest.node != "pve2" for guest in guests), "nothing moves back by itself"


def test_without_quorum_nothing_is_written_and_managed_guests_die_with_their_node(ha_lab):
    lab = ha_lab
    for name in ("pve2", "pve3"):
        node_life.cut_off(lab.world.room, node(lab, name))
    lab.wait(5)
    assert lab.data("GET", "/cluster/status")[0]["quorate"] == 0
    assert lab.ask("PUT", "/nodes/pve1/qemu/101/config", description="x").reason == "cluster not ready - no quorum?"
    assert lab.data("GET", "/nodes/pve1/qemu")
    boot_s = node(lab, "pve1").boot_s
    managed = [guest for guest in lab.cluster.guests_on("pve1") if guest.sid in lab.cluster.ha]
    assert managed
    lab.wait(70)
    assert node(lab, "pve1").boot_s > boot_s
    assert not any(guest.running for guest in managed)
    for name in ("pve2", "pve3"):
        node_life.reconnect(lab.world.room, node(lab, name))
    lab.wait(300)
    assert lab.data("GET", "/cluster/status")[0]["quorate"] == 1
    assert all(lab.cluster.guests[int(sid.split(":")[1])].running for sid in lab.cluster.ha)


def test_what_is_cut_off_and_not_managed_goes_on_running(lab):
    running = {guest.vmid for guest in lab.cluster.guests_on("pve3") if guest.running}
    node_life.cut_off(lab.world.room, node(lab, "pve3"))
    lab.wait(600)
    assert shown(lab, "pve3") == "offline"
    node_life.reconnect(lab.world.room, node(lab, "pve3"))
    lab.wait(20)
    assert {guest.vmid for guest in lab.cluster.guests_on("pve3") if guest.running} == running
    assert shown(lab, "pve3") == "online"


def test_power_that_comes_and_goes_leaves_one_boot(lab):
    room, pve2 = lab.world.room, node(lab, "pve2")
    crash(lab, "pve2")
    lab.wait(10)
    node_life.boot(room, pve2)
    lab.wait(30)
    node_life.lose_power(room, pve2)
    lab.wait(10)
    node_life.boot(room, pve2)
    lab.wait(60)
    assert shown(lab, "pve2") == "offline", "the first boot must not bring it back"
    lab.wait(60)
    assert shown(lab, "pve2") == "online"


def test_a_rule_says_where_a_lost_guest_is_started(ha_lab):
    lab = ha_lab
    sid = next(sid for sid in lab.cluster.ha if lab.cluster.guests[int(sid.split(":")[1])].node == "pve2")
    lab.data("POST", "/cluster/ha/rules", rule="stay", type="node-affinity", resources=sid, nodes="pve2:2,pve3:1", strict=1)
    crash(lab, "pve2")
    lab.wait(120)
    assert lab.cluster.guests[int(sid.split(":")[1])].node == "pve3"


def test_nobody_fences_while_high_availability_is_disarmed(ha_lab):
    lab = ha_lab
    lab.data("POST", "/cluster/ha/status/disarm-ha", ROOT, **{"resource-mode": "freeze"})
    where = {guest.vmid for guest in lab.cluster.guests_on("pve2")}
    crash(lab, "pve2")
    lab.wait(200)
    assert {guest.vmid for guest in lab.cluster.guests_on("pve2")} == where
