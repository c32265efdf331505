"""Views of the cluster: as old as the last broadcast, filtered by privilege."""

import pytest


def row_of(lab, vmid, who="admin@pve!sim"):
    return next((row for row in lab.data("GET", "/cluster/resources", who, type="vm") if row["vmid"] == vmid), None)


def test_everything_is_there_once(lab):
    rows = lab.data("GET", "/cluster/resources")
    ids = [row["id"] for row in rows]
    assert len(ids) == len(set(ids))
    kinds = {kind: sum(row["type"] == kind for row in rows) for kind in {row["type"] for row in rows}}
    assert kinds == {"pool": 3, "qemu": kinds["qemu"], "lxc": 20 - kinds["qemu"], "node": 3, "storage": 12, "network": 3}
    web = row_of(lab, 101)
    assert (web["name"], web["node"], web["status"], web["pool"], web["tags"]) == ("web-1", "pve1", "running", "production", "prod;web")
    assert all(value is not None and value != "" for row in rows for key, value in row.items() if key != "level")


def test_measured_values_lag_and_configuration_does_not(lab):
    lab.wait(1)
    lab.data("GET", "/cluster/resources")
    lab.data("PUT", "/nodes/pve1/qemu/101/config", tags="moved", name="web-9")
    lab.finish(lab.data("POST", "/nodes/pve1/qemu/101/status/stop"))
    assert lab.cluster.now_s % 10 > 1
    row = row_of(lab, 101)
    assert (row["status"], row["tags"], row["name"]) == ("running", "moved", "web-1")
    assert lab.data("GET", "/nodes/pve1/qemu/101/status/current")["status"] == "stopped"
    lab.wait(10)
    row = row_of(lab, 101)
    assert (row["status"], row["name"], row["cpu"]) == ("stopped", "web-9", 0)


def test_values_stand_still_between_broadcasts_and_then_move(lab):
    lab.wait(1)
    first = row_of(lab, 101)
    lab.wait(5)
    assert row_of(lab, 101) == first
    lab.wait(10)
    assert row_of(lab, 101)["uptime"] > first["uptime"]


def test_lists_are_filtered_and_not_refused(lab):
    who = lab.principal("eve@pve", ("/vms/101", "PVEAuditor", True))
    assert [row["vmid"] for row in lab.data("GET", "/cluster/resources", who, type="vm")] == [101]
    assert "pool" not in row_of(lab, 101, who)
    assert [row["vmid"] for row in lab.data("GET", "/nodes/pve1/qemu", who)] == [101]
    assert lab.data("GET", "/pools", who) == []
    assert lab.data("GET", "/storage", who) == []
    nodes = lab.data("GET", "/nodes", who)
    assert [row["node"] for row in nodes] == ["pve1", "pve2", "pve3"]
    assert "cpu" not in nodes[0]
    assert lab.ask("GET", "/nodes/pve1/status", who).reason == "Permission check failed (/nodes/pve1, Sys.Audit)"


def test_who_has_nothing_sees_nothing(lab):
    rows = lab.data("GET", "/cluster/resources", "noperm@pve!none")
    assert {row["type"] for row in rows} == {"node"}
    assert lab.data("GET", "/cluster/tasks", "noperm@pve!none") == []
    assert set(lab.data("GET", "/cluster/options", "noperm@pve!none")) == {"allowed-tags"}


def test_a_pool_shows_its_members_to_those_who_may_see_them(lab):
    who = lab.principal("eve@pve", ("/pool/production", "PVEVMUser", True))
    assert {row["vmid"] for row in lab.data("GET", "/cluster/resources", who, type="vm")} == lab.cluster.pools["production"].vmids
    assert lab.ask("GET", "/pools", who, poolid="production").reason == "Permission check failed (/pool/production, Pool.Audit)"
    found = lab.data("GET", "/pools", poolid="production")
    assert {row["vmid"] for row in found[0]["members"]} == lab.cluster.pools["production"].vmids


def test_users_see_their_tasks_and_tokens_only_their_own(lab, operator):
    upid = lab.data("POST", "/nodes/pve1/qemu/101/status/start")
    eve = lab.principal("eve@pve", ("/vms/101", "PVEVMUser", True))
    own = lab.data("POST", "/nodes/pve1/qemu/101/status/start", eve)
    lab.wait(5)
    assert [row["upid"] for row in lab.data("GET", "/nodes/pve1/tasks", eve)] == [own]
    assert lab.ask("GET", f"/nodes/pve1/tasks/{upid}/status", eve).reason == "Permission check failed (/nodes/pve1, Sys.Audit)"
    assert lab.data("GET", f"/nodes/pve1/tasks/{own}/status", eve)["tokenid"] == "t"


def test_the_next_free_id(lab):
    assert lab.data("GET", "/cluster/nextid") == "120"
    assert lab.data("GET", "/cluster/nextid", vmid="9000") == "9000"
    assert lab.ask("GET", "/cluster/nextid", vmid="101").errors == {"vmid": "VM 101 already exists"}


def test_a_lone_node_is_no_cluster(make_lab):
    assert [row["type"] for row in make_lab(nodes=1, guests=5).data("GET", "/cluster/status")] == ["node"]
    status = make_lab(nodes=3, guests=5).data("GET", "/cluster/status")
    assert (status[0]["quorate"], status[0]["nodes"], sum(row.get("local", 0) for row in status)) == (1, 3, 1)


def test_a_node_that_is_down_answers_595(lab):
    lab.cluster.nodes["pve2"].online = False
    found = lab.ask("GET", "/nodes/pve2/qemu")
    assert found.status == 595
    assert lab.ask("GET", "/nodes/pve9/qemu").reason.startswith("hostname lookup 'pve9' failed")
    assert lab.ask("GET", "/nodes/pve9").status == 200


@pytest.mark.parametrize("vmid", [100, 103])
def test_one_row_is_the_same_alone_and_in_the_list(lab, vmid):
    pool = next((pool for pool in lab.cluster.pools.values() if vmid in pool.vmids), None)
    listed = row_of(lab, vmid)
    if pool:
        member = next(row for row in lab.data("GET", "/pools", poolid=pool.name)[0]["members"] if row["vmid"] == vmid)
        assert member == {key: value for key, value in listed.items() if key not in ("pool", "tags", "lock", "hastate")}
    assert listed["id"] == f"qemu/{vmid}"


def test_what_exists_but_is_not_simulated_says_so(lab):
    path = "/nodes/pve1/query-oci-repo-tags"
    found = lab.ask("GET", path, reference="docker.io/library/debian")
    assert found.status == 501
    assert found.reason == f"GET /nodes/{{node}}/query-oci-repo-tags is not simulated ({lab.api.answered} of 675 methods are)"
    assert lab.ask("GET", "/nodes/pve1/foo").reason == "Method 'GET /nodes/pve1/foo' not implemented"
    assert lab.ask("GET", path, "noperm@pve!none", reference="docker.io/library/debian").status == 403
    assert lab.ask("GET", path, nosuch="1").status == 400


def test_storages_of_a_node(lab):
    rows = {row["storage"]: row for row in lab.data("GET", "/nodes/pve2/storage")}
    assert set(rows) == {"local", "local-lvm", "ceph-vm", "pbs-01"}
    assert rows["local-lvm"]["used_fraction"] > 0.9
    assert rows["ceph-vm"]["shared"] == 1
    assert lab.ask("GET", "/nodes/pve1/storage/nope/status").errors == {"storage": "No such storage."}
    assert lab.ask("GET", "/nodes/pve1/storage/nope/content").reason == "storage 'nope' does not exist"


def test_an_auditor_sees_no_backups_and_the_reader_does(lab):
    path = "/nodes/pve1/storage/pbs-01/content"
    assert lab.data("GET", path, "auditor@pve!audit", vmid="101") == []
    assert len(lab.data("GET", path, "reader@pve!notebook", vmid="101")) > 5
    assert lab.ask("GET", "/nodes/pve1/syslog", "auditor@pve!audit").status == 403
    assert lab.ask("GET", "/nodes/pve1/syslog", "reader@pve!notebook").status == 200


def test_the_reader_can_change_nothing(lab):
    for verb, path in [("POST", "status/stop"), ("POST", "migrate"), ("POST", "snapshot"), ("PUT", "config")]:
        found = lab.ask(verb, f"/nodes/pve1/qemu/101/{path}", "reader@pve!notebook", target="pve2", snapname="s1", cores="1")
        assert found.status == 403, path


def test_the_operator_can_change_guests_and_cannot_remove_them(lab):
    who = "operator@pve!executor"
    assert lab.run("POST", "/nodes/pve1/qemu/101/snapshot", who, snapname="s1") == "OK"
    assert lab.run("POST", "/nodes/pve1/qemu/101/status/reboot", who) == "OK"
    assert lab.run("POST", "/nodes/pve1/qemu/101/migrate", who, target="pve2", online="1") == "OK"
    assert lab.run("POST", "/nodes/pve2/qemu/101/status/shutdown", who) == "OK"
    assert lab.run("POST", "/nodes/pve2/qemu/101/status/start", who) == "OK"
    assert lab.ask("DELETE", "/nodes/pve2/qemu/101", who).status == 403


def test_the_log_of_the_system_is_the_same_for_everybody_and_shows_tasks(lab):
    lab.run("POST", "/nodes/pve1/qemu/101/snapshot", snapname="s1")
    rows = lab.data("GET", "/nodes/pve1/syslog", limit="0")
    assert rows == lab.data("GET", "/nodes/pve1/syslog", "reader@pve!notebook", limit="0")
    assert any("qmsnapshot:101" in row["t"] for row in rows)
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
