"""Guests come and go: disks, pools, permissions and backups follow them, and a failed start leaves nothing behind."""

import pytest

GIB = 1024**3
NEW = {"name": "fresh-1", "memory": "1024", "cores": "2", "scsi0": "ceph-vm:8", "net0": "virtio,bridge=vmbr0"}


def images(lab, vmid):
    return sorted(
        volume.volid for place in lab.cluster.storages["ceph-vm"].volumes.values() for volume in place.values() if volume.vmid == vmid
    )


def test_a_new_guest_has_a_disk_a_mac_address_and_an_identity(lab):
    assert lab.run("POST", "/nodes/pve2/qemu", vmid="900", pool=next(iter(lab.cluster.pools)), **NEW) == "OK"
    config = lab.data("GET", "/nodes/pve2/qemu/900/config")
    assert config["scsi0"].startswith("ceph-vm:vm-900-disk-0")
    assert "size=8G" in config["scsi0"]
    assert config["net0"].startswith("virtio=BC:24:11:")
    assert {"vmgenid", "smbios1", "meta"} <= config.keys()
    assert "lock" not in config
    assert images(lab, 900) == ["ceph-vm:vm-900-disk-0"]
    lab.wait(11)
    assert {row["vmid"]: row["status"] for row in lab.data("GET", "/cluster/resources?type=vm")}[900] == "stopped"
    assert 900 in next(iter(lab.cluster.pools.values())).vmids


def test_an_id_is_given_once(lab):
    answer = lab.ask("POST", "/nodes/pve2/qemu", vmid="101", **NEW)
    assert (answer.status, answer.reason) == (500, "unable to create VM 101 - VM 101 already exists on node 'pve1'")


def test_an_unknown_storage_is_refused_before_anything_is_made(lab):
    assert lab.ask("POST", "/nodes/pve2/qemu", vmid="900", scsi0="nowhere:8").status == 500
    assert 900 not in lab.cluster.guests


def test_a_guest_that_cannot_be_finished_is_taken_away_again(lab):
    status = lab.run("POST", "/nodes/pve2/qemu", vmid="900", scsi0="ceph-vm:8", scsi1="ceph-vm:vm-999-disk-7")
    assert "does not exist" in status or "no such" in status
    assert 900 not in lab.cluster.guests
    assert images(lab, 900) == []


def test_an_operator_makes_and_removes_nothing(lab):
    for verb, path, parameters in (
        ("POST", "/nodes/pve1/qemu", {"vmid": "900"}),
        ("DELETE", "/nodes/pve1/qemu/101", {}),
        ("POST", "/nodes/pve1/qemu/101/clone", {"newid": "900"}),
        ("PUT", "/nodes/pve1/qemu/101/resize", {"disk": "scsi0", "size": "+1G"}),
    ):
        assert lab.ask(verb, path, "operator@pve!executor", **parameters).status == 403


@pytest.fixture
def stopped(lab):
    lab.run("POST", "/nodes/pve2/qemu", vmid="900", **NEW)
    return lab


def test_a_full_copy_has_its_own_disk_and_addresses(stopped):
    assert stopped.run("POST", "/nodes/pve2/qemu/900/clone", newid="901", name="copy", full="1") == "OK"
    old, new = (stopped.data("GET", f"/nodes/pve2/qemu/{vmid}/config") for vmid in (900, 901))
    assert images(stopped, 901) == ["ceph-vm:vm-901-disk-0"]
    assert (new["name"], new["memory"]) == ("copy", old["memory"])
    assert new["net0"] != old["net0"]
    assert new["vmgenid"] != old["vmgenid"]


def test_a_template_is_copied_by_link_and_lives_as_long_as_its_copies(stopped):
    assert stopped.run("POST", "/nodes/pve2/qemu/900/template") == "OK"
    assert images(stopped, 900) == ["ceph-vm:base-900-disk-0"]
    assert stopped.run("POST", "/nodes/pve2/qemu/900/clone", newid="901") == "OK"
    assert images(stopped, 901) == ["ceph-vm:base-900-disk-0/vm-901-disk-0"]
    assert "in use" in stopped.run("DELETE", "/nodes/pve2/qemu/900")
    assert stopped.run("DELETE", "/nodes/pve2/qemu/901") == "OK"
    assert stopped.run("DELETE", "/nodes/pve2/qemu/900") == "OK"
    assert images(stopped, 900) == []


def test_a_stopped_copy_leaves_nothing(stopped):
    upid = stopped.data("POST", "/nodes/pve2/qemu/900/clone", newid="901", full="1")
    stopped.data("DELETE", f"/nodes/pve2/tasks/{upid}")
    stopped.wait(60)
    assert 901 not in stopped.cluster.guests
    assert images(stopped, 901) == []


def test_running_and_protected_guests_stay(lab):
    assert lab.ask("DELETE", "/nodes/pve1/qemu/101").reason == "VM 101 is running - destroy failed"
    lab.data("PUT", "/nodes/pve1/qemu/101/config", protection="1")
    assert lab.ask("DELETE", "/nodes/pve1/qemu/101").reason == "can't remove VM 101 - protection mode enabled"


def test_with_a_guest_go_its_place_in_the_pool_and_its_entries_but_not_its_backups(lab):
    def backups():
        return [row["volid"] for row in lab.data("GET", "/nodes/pve1/storage/pbs-01/content?content=backup&vmid=101")]

    lab.cluster.identities.grant("/vms/101", "user", "auditor@pve", "PVEAuditor", propagate=True)
    lab.cluster.identities.changed()
    kept = backups()
    assert kept
    lab.run("POST", "/nodes/pve1/qemu/101/status/stop")
    assert lab.run("DELETE", "/nodes/pve1/qemu/101", purge="1") == "OK"
    assert backups() == kept
    assert all(101 not in pool.vmids for pool in lab.cluster.pools.values())
    assert "/vms/101" not in lab.cluster.identities.acl
    assert lab.ask("GET", "/nodes/pve1/qemu/101/config").status == 500


def test_disks_grow_and_never_shrink(stopped):
    assert stopped.run("PUT", "/nodes/pve2/qemu/900/resize", disk="scsi0", size="+2G") == "OK"
    assert "size=10G" in stopped.data("GET", "/nodes/pve2/qemu/900/config")["scsi0"]
    assert stopped.run("PUT", "/nodes/pve2/qemu/900/resize", disk="scsi0", size="4G") != "OK"
    assert "size=10G" in stopped.data("GET", "/nodes/pve2/qemu/900/config")["scsi0"]
