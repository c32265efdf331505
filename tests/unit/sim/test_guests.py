"""Guests: configuration, power, snapshots, migration; early refusals and late failures."""

import pytest

WEB = "/nodes/pve1/qemu/101"


def container(lab):
    return next(guest for guest in lab.cluster.guests.values() if guest.kind == "lxc" and guest.running)


def test_changes_of_a_running_guest_wait_where_they_cannot_be_plugged(lab):
    lab.data("PUT", f"{WEB}/config", cores="6", description="hello", memory="8192")
    assert lab.data("GET", f"{WEB}/config")["cores"] == 6
    assert lab.data("GET", f"{WEB}/config", current="1")["cores"] == 4
    rows = {row["key"]: row for row in lab.data("GET", f"{WEB}/pending")}
    assert rows["cores"] == {"key": "cores", "value": 4, "pending": 6}
    assert rows["description"] == {"key": "description", "value": "hello"}
    lab.data("PUT", f"{WEB}/config", revert="memory")
    assert lab.run("POST", f"{WEB}/status/reboot") == "OK"
    now = lab.data("GET", f"{WEB}/config", current="1")
    assert (now["cores"], now["memory"]) == (6, "4096")


def test_changes_of_a_stopped_guest_apply_at_once(lab):
    assert lab.run("POST", f"{WEB}/status/stop") == "OK"
    lab.data("PUT", f"{WEB}/config", cores="2", delete="tags")
    now = lab.data("GET", f"{WEB}/config", current="1")
    assert now["cores"] == 2
    assert "tags" not in now


def test_a_stale_digest_is_refused(lab):
    before = lab.data("GET", f"{WEB}/config")["digest"]
    lab.data("PUT", f"{WEB}/config", description="a", digest=before)
    refused = lab.ask("PUT", f"{WEB}/config", description="b", digest=before)
    assert (refused.status, refused.reason) == (500, "checksum mismatch (file change by other user?)")


def test_reading_twice_gives_the_same_digest_and_each_change_another(lab):
    seen = [lab.data("GET", f"{WEB}/config")["digest"] for _ in range(2)]
    lab.data("PUT", f"{WEB}/config", description="x")
    assert seen[0] == seen[1] != lab.data("GET", f"{WEB}/config")["digest"]
    assert len(seen[0]) == 40


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({}, 500, "no options specified"),
        ({"delete": "nosuch"}, 400, {"delete": "unknown option 'nosuch'"}),
        ({"delete": "cores", "cores": "2"}, 400, {"delete": "you can't use '-cores' and -delete cores' at the same time"}),
        ({"lock": "backup"}, 500, "only root can set 'lock' config"),
        ({"skiplock": "1", "description": "x"}, 400, {"skiplock": "Only root may use this option."}),
        ({"balloon": "99999"}, 500, "balloon value too large (must be smaller than assigned memory)"),
        ({"boot": "order=ide1"}, 500, "invalid bootorder: device 'ide1' does not exist'"),
        ({"scsi3": "nope:1"}, 500, "storage 'nope' does not exist"),
        ({"args": "-x"}, 500, "only root can set 'args' config"),
    ],
)
def test_refused_changes(lab, parameters, status, words):
    before = lab.data("GET", f"{WEB}/config")
    found = lab.ask("PUT", f"{WEB}/config", **parameters)
    assert found.status == status
    assert (found.errors if status == 400 else found.reason) == words
    assert lab.data("GET", f"{WEB}/config") == before


def test_tags_are_put_in_order(lab):
    lab.data("PUT", f"{WEB}/config", tags="Foo;bar;foo")
    assert lab.data("GET", f"{WEB}/config")["tags"] == "bar;foo"


def test_a_new_disk_is_a_new_volume_and_stays_as_unused(lab):
    lab.data("PUT", f"{WEB}/config", scsi1="ceph-vm:12")
    assert lab.data("GET", f"{WEB}/config")["scsi1"] == "ceph-vm:vm-101-disk-1,size=12G"
    volumes = {row["volid"]: row["size"] for row in lab.data("GET", "/nodes/pve1/storage/ceph-vm/content", vmid=101)}
    assert volumes["ceph-vm:vm-101-disk-1"] == 12 * 1024**3
    lab.run("POST", f"{WEB}/status/stop")
    lab.data("PUT", f"{WEB}/config", delete="scsi1")
    assert lab.data("GET", f"{WEB}/config")["unused0"] == "ceph-vm:vm-101-disk-1"


def test_protection_keeps_disks(lab):
    lab.data("PUT", f"{WEB}/config", protection="1")
    assert lab.ask("PUT", f"{WEB}/config", delete="scsi0").reason == "can't remove drive 'scsi0' - protection mode enabled"


def test_root_may_lock_and_a_lock_bars_everybody_else(lab):
    lab.data("PUT", f"{WEB}/config", "root@pam", lock="backup")
    assert lab.ask("PUT", f"{WEB}/config", description="x").reason == "VM is locked (backup)"
    assert lab.run("POST", f"{WEB}/snapshot", snapname="s1") == "VM is locked (backup)"
    assert lab.ask("GET", f"{WEB}/migrate").reason == "VM is locked (backup)"
    assert lab.data("GET", f"{WEB}/status/current")["lock"] == "backup"
    lab.data("PUT", f"{WEB}/config", "root@pam", delete="lock", skiplock="1")
    assert lab.run("POST", f"{WEB}/snapshot", snapname="s1") == "OK"


def test_power_of_a_virtual_machine(lab):
    assert lab.run("POST", f"{WEB}/status/start") == "VM 101 already running"
    assert lab.run("POST", f"{WEB}/status/suspend") == "OK"
    assert lab.data("GET", f"{WEB}/status/current")["qmpstatus"] == "paused"
    assert lab.run("POST", f"{WEB}/status/resume") == "OK"
    assert lab.run("POST", f"{WEB}/status/shutdown") == "OK"
    now = lab.data("GET", f"{WEB}/status/current")
    assert (now["status"], now["uptime"], now["cpu"]) == ("stopped", 0, 0)
    assert "pid" not in now
    assert lab.run("POST", f"{WEB}/status/stop") == "OK"
    for verb in ("reboot", "suspend", "resume", "reset"):
        assert lab.ask("POST", f"{WEB}/status/{verb}").reason == "VM 101 not running"
    assert lab.run("POST", f"{WEB}/status/start") == "OK"
    assert lab.data("GET", f"{WEB}/status/current")["status"] == "running"


def test_a_shutdown_that_takes_too_long_fails_unless_forced(lab):
    db = next(guest for guest in lab.cluster.guests.values() if guest.profile == "db" and guest.running)
    path = f"/nodes/{db.node}/qemu/{db.vmid}/status/shutdown"
    assert lab.run("POST", path, timeout="1") == "VM quit/powerdown failed - got timeout"
    assert lab.run("POST", path, timeout="1", forceStop="1") == "OK"
    assert not db.running


def test_what_is_not_there_fails_where_the_real_api_fails(lab):
    assert lab.ask("GET", "/nodes/pve1/qemu/9999/config").reason == "Configuration file 'nodes/pve1/qemu-server/9999.conf' does not exist"
    assert lab.run("POST", "/nodes/pve1/qemu/9999/status/start") == "Configuration file 'nodes/pve1/qemu-server/9999.conf' does not exist"
    assert lab.run("POST", "/nodes/pve1/qemu/9999/status/stop") == "unable to find configuration file for VM 9999 on node 'pve1'"
    assert lab.ask("POST", "/nodes/pve1/qemu/9999/status/reboot").reason == "unable to find configuration file for VM 9999 on node 'pve1'"
    assert lab.ask("POST", "/nodes/pve1/lxc/9999/status/stop").reason == "CT 9999 not running"
    assert lab.ask("POST", "/nodes/pve1/lxc/9999/status/reboot").reason == "VM 9999 not running"
    assert lab.ask("GET", "/nodes/pve2/qemu/101/config").status == 500


def test_templates_do_not_start(lab):
    node = lab.cluster.guests[102].node
    assert lab.run("POST", f"/nodes/{node}/qemu/102/status/start") == "you can't start a vm if it's a template"
    assert lab.run("POST", f"/nodes/{node}/qemu/102/snapshot", snapname="s1") == "you can't take a snapshot if it's a template"


def test_snapshots_form_a_tree(lab):
    for name in ("one", "two"):
        assert lab.run("POST", f"{WEB}/snapshot", snapname=name, description=f"d {name}") == "OK"
    rows = {row["name"]: row for row in lab.data("GET", f"{WEB}/snapshot")}
    assert "parent" not in rows["one"]
    assert (rows["two"]["parent"], rows["current"]["parent"], rows["current"]["running"]) == ("one", "two", 1)
    assert lab.run("POST", f"{WEB}/snapshot", snapname="one") == "snapshot name 'one' already used"
    assert lab.ask("POST", f"{WEB}/snapshot", snapname="PENDING").reason == "unable to use snapshot name 'pending' (reserved name)"
    assert lab.run("POST", f"{WEB}/snapshot/one/rollback") == "OK"
    assert lab.data("GET", f"{WEB}/snapshot")[-1] | {"digest": ""} == {
        "name": "current",
        "description": "You are here!",
        "digest": "",
        "running": 0,
        "parent": "one",
    }
    assert lab.run("DELETE", f"{WEB}/snapshot/one") == "OK"
    rows = {row["name"]: row for row in lab.data("GET", f"{WEB}/snapshot")}
    assert "parent" not in rows["two"]
    assert lab.run("DELETE", f"{WEB}/snapshot/nosuch") == "snapshot 'nosuch' does not exist"
    assert lab.run("POST", f"{WEB}/snapshot/current/rollback") == "snapshot 'current' does not exist"


def test_rolling_back_brings_the_configuration_back(lab):
    lab.run("POST", f"{WEB}/snapshot", snapname="before")
    lab.data("PUT", f"{WEB}/config", description="after")
    assert lab.run("POST", f"{WEB}/snapshot/before/rollback", start="1") == "OK"
    assert lab.data("GET", f"{WEB}/config")["description"] != "after"
    assert lab.data("GET", f"{WEB}/status/current")["status"] == "running"


def test_saved_memory_starts_the_guest_again(lab):
    assert lab.run("POST", f"{WEB}/snapshot", snapname="live", vmstate="1") == "OK"
    assert {row["name"]: row.get("vmstate") for row in lab.data("GET", f"{WEB}/snapshot")}["live"] == 1
    assert lab.run("POST", f"{WEB}/snapshot/live/rollback") == "OK"
    assert lab.data("GET", f"{WEB}/status/current")["status"] == "running"


def test_live_migration_moves_a_running_guest(lab):
    assert lab.data("GET", f"{WEB}/migrate")["allowed_nodes"] == ["pve2", "pve3"]
    upid = lab.data("POST", f"{WEB}/migrate", target="pve2", online="1")
    lab.wait(4)
    assert lab.data("GET", f"{WEB}/status/current")["lock"] == "migrate"
    grown = len(lab.data("GET", f"/nodes/pve1/tasks/{upid}/log", limit="0"))
    assert lab.finish(upid) == "OK"
    assert len(lab.data("GET", f"/nodes/pve1/tasks/{upid}/log", limit="0")) > grown
    now = lab.data("GET", "/nodes/pve2/qemu/101/status/current")
    assert now["status"] == "running"
    assert "lock" not in now
    assert lab.ask("GET", f"{WEB}/config").status == 500


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({"target": "pve1"}, 400, {"target": "target is local node."}),
        ({"target": "pve9"}, 500, "no such cluster node 'pve9'"),
        ({"target": "pve2"}, 500, "can't migrate running VM without --online"),
    ],
)
def test_migrations_that_are_refused_at_once(lab, parameters, status, words):
    found = lab.ask("POST", f"{WEB}/migrate", **parameters)
    assert (found.status, found.errors if status == 400 else found.reason) == (status, words)


def test_local_disks_need_a_word(lab):
    assert lab.run("POST", "/nodes/pve1/qemu/100/migrate", target="pve2", online="1") == (
        "Problem found while scanning volumes - can't migrate VM - check log"
    )
    assert lab.data("GET", "/nodes/pve1/qemu/100/migrate")["local_disks"][0]["volid"] == "local-lvm:vm-100-disk-0"
    assert lab.run("POST", "/nodes/pve1/qemu/100/migrate", **{"target": "pve2", "online": "1", "with-local-disks": "1"}) == "OK"
    moved = {row["volid"] for row in lab.data("GET", "/nodes/pve2/storage/local-lvm/content", vmid=100)}
    assert moved == {"local-lvm:vm-100-disk-0"}


def test_containers_restart_when_they_move(lab):
    guest = container(lab)
    target = next(name for name in lab.cluster.nodes if name != guest.node)
    path = f"/nodes/{guest.node}/lxc/{guest.vmid}/migrate"
    assert lab.run("POST", path, target=target) == "migration aborted"
    assert guest.running
    assert lab.run("POST", path, target=target, restart="1") == "OK"
    assert (guest.node, guest.running) == (target, True)
    assert lab.cluster.now_s - guest.since_s < 60


def test_a_stopped_migration_leaves_the_guest_where_it_was(lab):
    upid = lab.data("POST", f"{WEB}/migrate", target="pve2", online="1")
    lab.wait(4)
    lab.data("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert lab.data("GET", f"/nodes/pve1/tasks/{upid}/status")["exitstatus"] == "interrupted by signal"
    now = lab.data("GET", f"{WEB}/status/current")
    assert "lock" not in now
    lab.wait(600)
    assert lab.cluster.guests[101].node == "pve1"


def test_a_backup_on_demand_leaves_a_volume(lab):
    upid = lab.data(
        "POST", "/nodes/pve1/vzdump", **{"vmid": "101", "storage": "pbs-01", "notes-template": "{{guestname}} by hand", "protected": "1"}
    )
    lab.wait(2)
    assert lab.data("GET", f"{WEB}/status/current")["lock"] == "backup"
    assert lab.finish(upid) == "OK"
    newest = max(lab.data("GET", "/nodes/pve1/storage/pbs-01/content", vmid=101), key=lambda row: row["ctime"])
    assert (newest["notes"], newest["protected"]) == ("web-1 by hand", 1)
    assert lab.run("POST", "/nodes/pve1/vzdump", vmid="9999", storage="pbs-01") == "job errors"


def test_managed_guests_only_file_a_request(make_lab):
    lab = make_lab(ha_guests=1)
    sid = lab.data("GET", "/cluster/ha/resources")[0]["sid"]
    guest = lab.cluster.guests[int(sid.split(":")[1])]
    upid = lab.data("POST", f"/nodes/{guest.node}/qemu/{guest.vmid}/migrate", target="pve2", online="1")
    assert upid.split(":")[5] == "hamigrate"
    assert lab.finish(upid) == "OK"
    assert guest.node == "pve1"
    lab.wait(40)
    assert guest.node == "pve2"
    child = lab.data("GET", "/nodes/pve1/tasks", typefilter="qmigrate", vmid=guest.vmid, limit=1)[0]
    assert (child["user"], child["status"]) == ("root@pam", "OK")
    assert lab.data("POST", f"/nodes/pve2/qemu/{guest.vmid}/status/stop").split(":")[5] == "hastop"
    lab.wait(60)
    assert not guest.running


def test_the_agent_answers_when_it_is_there(lab):
    assert lab.data("POST", f"{WEB}/agent/ping") == {"result": {}}
    found = lab.data("GET", f"{WEB}/agent/network-get-interfaces")["result"]
    assert {"lo", "eth0"} == {row["name"] for row in found}
    lab.run("POST", f"{WEB}/status/reboot")
    assert lab.ask("POST", f"{WEB}/agent/ping").reason == "QEMU guest agent is not running"
    lab.wait(30)
    assert lab.ask("POST", f"{WEB}/agent/ping").status == 200
    lab.run("POST", f"{WEB}/status/stop")
    assert lab.ask("POST", f"{WEB}/agent/ping").reason == "VM 101 is not running"
