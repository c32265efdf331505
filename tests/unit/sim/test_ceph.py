"""Ceph: its health follows from nodes, OSDs and flags; pools and OSDs change as they are told."""

STATUS = "/cluster/ceph/status"


def checks(lab):
    return set(lab.data("GET", STATUS)["health"]["checks"])


def test_all_is_well_at_first(lab):
    status = lab.data("GET", STATUS)
    assert (status["health"]["status"], status["quorum_names"]) == ("HEALTH_OK", ["pve1", "pve2", "pve3"])
    assert status["osdmap"] == {"num_osds": 6, "num_up_osds": 6, "num_in_osds": 6}
    assert 0 < status["pgmap"]["bytes_used"] < status["pgmap"]["bytes_total"]
    assert lab.data("GET", "/nodes/pve2/ceph/status") == status


def test_flags(lab):
    lab.data("PUT", "/cluster/ceph/flags/noout", value="1")
    assert checks(lab) == {"OSDMAP_FLAGS"}
    assert lab.data("GET", "/cluster/ceph/flags/noout") == 1
    assert lab.run("PUT", "/cluster/ceph/flags", noout="0", noscrub="1") == "OK"
    assert [row["name"] for row in lab.data("GET", "/cluster/ceph/flags") if row["value"]] == ["noscrub"]


def test_a_node_that_is_down_takes_its_services_along(lab):
    lab.cluster.nodes["pve2"].online = False
    assert checks(lab) == {"OSD_DOWN", "PG_DEGRADED", "MON_DOWN"}
    states = {row["state_name"] for row in lab.data("GET", STATUS)["pgmap"]["pgs_by_state"]}
    assert "active+undersized+degraded" in states
    assert {row["name"]: row["state"] for row in lab.data("GET", "/nodes/pve1/ceph/mon")} == {
        "pve1": "running",
        "pve2": "stopped",
        "pve3": "running",
    }


def test_an_osd_leaves_step_by_step(lab):
    assert lab.ask("DELETE", "/nodes/pve1/ceph/osd/0", "root@pam").reason == "osd is still in use (in) - mark osd.0 out first"
    lab.data("POST", "/nodes/pve1/ceph/osd/0/out")
    assert lab.ask("DELETE", "/nodes/pve1/ceph/osd/0", "root@pam").reason == "osd is still running - stop osd.0 first"
    assert lab.run("POST", "/nodes/pve1/ceph/stop", "admin@pve!sim", service="osd.0") == "OK"
    assert lab.data("GET", "/nodes/pve1/ceph/cmd-safety", service="osd", id="1", action="stop")["safe"] == 0
    leaf = lab.data("GET", "/nodes/pve1/ceph/osd")["root"]["children"][0]["children"][0]["children"][0]
    assert (leaf["id"], leaf["status"], leaf["in"]) == ("0", "down", 0)
    assert lab.run("DELETE", "/nodes/pve1/ceph/osd/0", "root@pam") == "OK"
    assert lab.data("GET", STATUS)["osdmap"]["num_osds"] == 5
    assert lab.ask("GET", "/nodes/pve1/ceph/osd/0/metadata").status == 500


def test_pools(lab):
    assert {row["pool_name"] for row in lab.data("GET", "/nodes/pve1/ceph/pool")} == {".mgr", "vm"}
    assert lab.run("POST", "/nodes/pve1/ceph/pool", name="fast", size="2", pg_num="32", add_storages="1") == "OK"
    assert "fast" in {row["storage"] for row in lab.data("GET", "/nodes/pve1/storage")}
    assert lab.run("PUT", "/nodes/pve1/ceph/pool/fast", min_size="1") == "OK"
    found = lab.data("GET", "/nodes/pve1/ceph/pool/fast/status")
    assert (found["size"], found["min_size"], found["pg_num"]) == (2, 1, 32)
    assert lab.ask("DELETE", "/nodes/pve1/ceph/pool/vm").reason == "ceph pool 'vm' still in use by storage 'ceph-vm'"
    assert lab.run("DELETE", "/nodes/pve1/ceph/pool/fast", remove_storages="1") == "OK"
    assert "fast" not in lab.cluster.storages


def test_a_cluster_without_ceph_says_so(lab):
    del lab.cluster.storages["ceph-vm"]
    assert lab.ask("GET", STATUS).reason == "binary not installed: /usr/bin/ceph-mon"
    assert lab.ask("GET", "/nodes/pve1/ceph/osd").reason == "binary not installed: /usr/bin/ceph-mon"
