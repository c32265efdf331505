"""Disks that move, guests that come back from backups."""

import pytest

WEB = "/nodes/pve1/qemu/101"


def volids(lab, storage, vmid):
    return {row["volid"] for row in lab.data("GET", f"/nodes/pve1/storage/{storage}/content", vmid=vmid)}


@pytest.mark.parametrize("delete", [0, 1])
def test_a_disk_moves_to_another_storage(lab, delete):
    before = lab.data("GET", f"{WEB}/config")["scsi0"].split(",")[0]
    upid = lab.data("POST", f"{WEB}/move_disk", disk="scsi0", storage="local-lvm", delete=str(delete))
    assert upid.split(":")[5] == "qmmove"
    assert lab.finish(upid) == "OK"
    config = lab.data("GET", f"{WEB}/config")
    after = config["scsi0"].split(",")[0]
    assert after.startswith("local-lvm:")
    assert after in volids(lab, "local-lvm", 101)
    assert config.get("unused0") == (None if delete else before)
    assert (before in volids(lab, "ceph-vm", 101)) is not bool(delete)


def test_a_move_that_is_stopped_leaves_nothing(lab):
    upid = lab.data("POST", f"{WEB}/move_disk", disk="scsi0", storage="local-lvm")
    lab.wait(2)
    lab.data("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert volids(lab, "local-lvm", 101) == set()
    assert lab.data("GET", f"{WEB}/config")["scsi0"].startswith("ceph-vm:")


def test_a_disk_changes_hands(lab):
    lab.run("POST", f"{WEB}/status/stop")
    other = next(guest for guest in lab.cluster.guests.values() if guest.kind == "qemu" and guest.node == "pve1" and guest.vmid != 101)
    assert lab.run("POST", f"{WEB}/move_disk", disk="scsi0", **{"target-vmid": str(other.vmid), "target-disk": "scsi7"}) == "OK"
    assert "scsi0" not in lab.data("GET", f"{WEB}/config")
    given = lab.data("GET", f"/nodes/pve1/qemu/{other.vmid}/config")["scsi7"].split(",")[0]
    assert f"vm-{other.vmid}-disk" in given
    assert given in volids(lab, "ceph-vm", other.vmid)
    refused = lab.ask("POST", f"{WEB}/move_disk", disk="scsi0", **{"target-vmid": "101"})
    assert refused.errors == {"target-vmid": "must be different than source VMID to reassign disk"}


def test_moves_that_cannot_be(lab):
    for given, text in (
        ({"disk": "scsi0", "storage": "ceph-vm"}, "you can't move to the same storage with same format"),
        ({"disk": "scsi9", "storage": "local-lvm"}, "disk 'scsi9' does not exist"),
        ({"disk": "scsi0", "storage": "nope"}, "storage 'nope' does not exist"),
        ({"disk": "scsi0", "target-vmid": "999"}, "could not find target VM 999"),
    ):
        assert lab.ask("POST", f"{WEB}/move_disk", **given).reason == text
    assert set(lab.ask("POST", f"{WEB}/move_disk", disk="scsi0").errors) == {"storage", "target-vmid"}
    box = next(guest for guest in lab.cluster.guests.values() if guest.kind == "lxc")
    path = f"/nodes/{box.node}/lxc/{box.vmid}/move_volume"
    assert lab.ask("POST", path, volume="rootfs", storage="local-lvm").reason == "cannot move volumes of a running container"
    lab.run("POST", f"/nodes/{box.node}/lxc/{box.vmid}/status/stop")
    assert set(lab.ask("POST", path, volume="mp3", storage="local-lvm").errors) == {"mp", "volume"}
    other = "local-lvm" if "ceph" in str(box.config["rootfs"]) else "ceph-vm"
    assert lab.run("POST", path, volume="rootfs", storage=other) == "OK"
    assert str(box.config["rootfs"]).startswith(other)


def test_a_guest_comes_back_from_its_backup(lab):
    archive = max(lab.data("GET", "/nodes/pve1/storage/pbs-01/content", vmid=101), key=lambda row: row["ctime"])["volid"]
    upid = lab.data("POST", "/nodes/pve1/qemu", vmid="700", archive=archive, storage="local-lvm", unique="1", start="1", name="back")
    assert upid.split(":")[5] == "qmrestore"
    assert lab.finish(upid) == "OK"
    lab.wait(10)
    ours, theirs = (lab.data("GET", f"/nodes/pve1/qemu/{vmid}/config") for vmid in (700, 101))
    assert (ours["name"], ours["cores"], ours["scsi0"].split(":")[0]) == ("back", theirs["cores"], "local-lvm")
    assert ours["net0"] != theirs["net0"]
    assert lab.data("GET", "/nodes/pve1/qemu/700/status/current")["status"] == "running"


def test_a_restore_replaces_a_stopped_guest_only_when_told_to(lab):
    archive = max(lab.data("GET", "/nodes/pve1/storage/pbs-01/content", vmid=101), key=lambda row: row["ctime"])["volid"]
    taken = lab.ask("POST", "/nodes/pve1/qemu", vmid="101", archive=archive)
    assert taken.reason == "unable to restore VM 101 - VM 101 already exists on node 'pve1'"
    running = lab.ask("POST", "/nodes/pve1/qemu", vmid="101", archive=archive, force="1")
    assert running.reason == "unable to restore VM 101 - vm is running"
    lab.run("POST", f"{WEB}/status/stop")
    lab.data("PUT", f"{WEB}/config", description="gone soon")
    assert lab.run("POST", "/nodes/pve1/qemu", vmid="101", archive=archive, force="1") == "OK"
    assert lab.data("GET", f"{WEB}/config")["name"] == "web-1"
    assert lab.ask("POST", "/nodes/pve1/qemu", vmid="701", archive="pbs-01:backup/vm/101/2020-01-01T00:00:00Z").status == 500


def test_a_file_is_fetched(lab):
    path = "/nodes/pve1/storage/local/download-url"
    assert lab.run("POST", path, url="https://mirror.example/debian.iso", content="iso", filename="debian.iso") == "OK"
    assert "local:iso/debian.iso" in {row["volid"] for row in lab.data("GET", "/nodes/pve1/storage/local/content", content="iso")}
    again = lab.ask("POST", path, url="https://mirror.example/debian.iso", content="iso", filename="debian.iso")
    assert again.reason == "refusing to override existing file '/var/lib/vz/template/iso/debian.iso'"
    assert lab.ask("POST", path, url="https://mirror.example/x.txt", content="iso", filename="x.txt").errors == {
        "filename": "wrong file extension"
    }
