"""Both versions of Proxmox VE, where clients see a difference; and the product on each of them."""

import pytest

from pveops.app.ops import connect
from pveops.base.errors import InputError
from pveops.sim.serve import ServeOptions

VERSIONS = ("9.2", "8.4")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory, start_sim):
    running = {
        version: start_sim(tmp_path_factory.mktemp("older"), "--pve", version, "--guests", "12", "--ha-guests", "2") for version in VERSIONS
    }
    yield running
    for sim in running.values():
        sim.stop()


def test_each_says_what_it_is(both):
    found = {version: sim.data("GET", "/version") for version, sim in both.items()}
    assert {version: row["release"] for version, row in found.items()} == {"9.2": "9.2", "8.4": "8.4"}
    assert found["8.4"]["version"] == both["8.4"].info["version"] == "8.4.14+sim"


def test_refusals_say_their_words_in_the_body_since_nine_only(both):
    new, old = (both[version].api("GET", "/nodes/pve1/qemu/99999/config") for version in VERSIONS)
    assert (old.status_code, old.reason) == (new.status_code, new.reason)
    assert old.json() == {"data": None}
    assert new.json() == {"data": None, "message": f"{new.reason}\n"}
    wrong = both["8.4"].api("GET", "/cluster/resources", type="bogus")
    assert set(wrong.json()) == {"data", "errors"}


def test_groups_before_rules(both):
    new, old = (both[version] for version in VERSIONS)
    assert new.api("GET", "/cluster/ha/groups").reason == "cannot index groups: ha groups have been migrated to rules"
    assert old.api("GET", "/cluster/ha/rules").reason == "Method 'GET /cluster/ha/rules' not implemented"
    old.data("POST", "/cluster/ha/groups", group="near", nodes="pve1:2,pve2", restricted=1)
    assert old.data("GET", "/cluster/ha/groups")[0] | {"digest": ""} == {
        "digest": "",
        "group": "near",
        "nodes": "pve1:2,pve2",
        "restricted": 1,
        "type": "group",
    }
    sid = old.data("GET", "/cluster/ha/resources")[0]["sid"]
    old.data("PUT", f"/cluster/ha/resources/{sid}", group="near")
    assert old.api("DELETE", "/cluster/ha/groups/near").reason == f"delete ha group failed: ha group is used by service '{sid}'"
    rows = old.data("GET", "/cluster/ha/status/current")
    assert "fencing" not in {row["type"] for row in rows}
    assert next(row for row in rows if row.get("sid") == sid)["group"] == "near"


def test_a_group_moves_its_resource(both):
    old = both["8.4"]
    sid = old.data("GET", "/cluster/ha/resources")[1]["sid"]
    vmid = int(sid.split(":")[1])
    before = next(row["node"] for row in old.data("GET", "/cluster/resources", type="vm") if row["vmid"] == vmid)
    target = next(name for name in old.info["nodes"] if name != before)
    old.data("POST", "/cluster/ha/groups", group="there", nodes=target, restricted=1)
    old.data("PUT", f"/cluster/ha/resources/{sid}", group="there")
    old.advance(240)
    assert next(row["node"] for row in old.data("GET", "/cluster/resources", type="vm") if row["vmid"] == vmid) == target


def test_privileges_of_the_time(both):
    new, old = (both[version] for version in VERSIONS)
    assert new.api("POST", "/access/roles", roleid="Watch", privs="VM.Monitor").json()["errors"] == {
        "privs": "invalid format - invalid privilege 'VM.Monitor'\n"
    }
    old.data("POST", "/access/roles", roleid="Watch", privs="VM.Monitor")
    assert "errors" in old.api("POST", "/access/roles", roleid="Agent", privs="VM.GuestAgent.Audit").json()
    assert old.data("GET", "/access/roles/PVEVMAdmin")["VM.Monitor"] == 1
    assert "VM.GuestAgent.Audit" not in old.data("GET", "/access/permissions")["/"]
    refused = old.api("GET", "/nodes/pve1/qemu/101/agent/get-osinfo", "reader")
    assert refused.reason == "Permission check failed (/vms/101, VM.Monitor)"


@pytest.mark.parametrize(("frame", "new_step_s", "old_step_s"), [("hour", 60, 60), ("day", 60, 1800), ("week", 1800, 10_800)])
def test_round_robin_data(both, frame, new_step_s, old_step_s):
    new, old = (both[version].data("GET", "/nodes/pve1/qemu/101/rrddata", timeframe=frame) for version in VERSIONS)
    assert len(old) == 70
    assert len(new) == {"hour": 60, "day": 1440, "week": 336}[frame]
    assert (new[1]["time"] - new[0]["time"], old[1]["time"] - old[0]["time"]) == (new_step_s, old_step_s)
    assert {"memhost", "pressurecpusome"} <= new[-1].keys()
    assert not {"memhost", "pressurecpusome"} & old[-1].keys()
    assert "decade" not in str(both["8.4"].api("GET", "/nodes/pve1/rrddata", timeframe="bogus").json()["errors"])


def test_views(both):
    new, old = (both[version] for version in VERSIONS)
    rows = {version: sim.data("GET", "/cluster/resources") for version, sim in both.items()}
    assert {row["type"] for row in rows["8.4"]} == {"node", "qemu", "lxc", "storage", "pool", "sdn"}
    assert {row["type"] for row in rows["9.2"]} == {"node", "qemu", "lxc", "storage", "pool", "network"}
    assert not any("memhost" in row for row in rows["8.4"])
    assert "memhost" in new.data("GET", "/nodes/pve1/qemu/101/status/current")
    assert not {"memhost", "pressurecpusome"} & old.data("GET", "/nodes/pve1/qemu/101/status/current").keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_product_reads_both(both, version, tmp_path):
    info = both[version].info
    env = {
        "PVEOPS_HOME": str(tmp_path),
        "PVEOPS_URLS": info["url"],
        "PVEOPS_READ_TOKEN": info["tokens"]["reader"],
        "PVEOPS_FINGERPRINTS": info["fingerprint"],
        "PATH": "/usr/bin",
    }
    ops = connect(env=env)
    nodes, guests, storage, tasks, backups = ops.nodes(), ops.guests(), ops.storage(), ops.tasks(), ops.backups()
    assert list(nodes["node"]) == ["pve1", "pve2", "pve3"]
    assert len(guests) == 12
    assert guests["cpu_fraction"].notna().sum() > 5
    assert {"local", "ceph-vm"} <= set(storage["storage"])
    assert len(tasks) > 0
    assert len(backups) > 0
    assert guests.attrs["complete"]


def test_other_versions_are_refused():
    with pytest.raises(InputError, match=r"--pve is '7\.4' and must be one of 9\.2, 8\.4"):
        ServeOptions(info=None, pve="7.4").check()
