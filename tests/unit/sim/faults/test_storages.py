"""Faults of storages and disks."""

import pytest

pytestmark = pytest.mark.slow


def state(ill, storage, node="pve1"):
    return ill.lab.data("GET", f"/nodes/{node}/storage/{storage}/status")


def content(ill, storage, node="pve1"):
    return {row["volid"]: row for row in ill.lab.data("GET", f"/nodes/{node}/storage/{storage}/content")}


@pytest.mark.parametrize(("storage", "node"), [("local", "pve2"), ("pbs-01", "pve1")])
def test_a_full_storage_is_freed_of_what_nobody_needs(ill, storage, node):
    guest = next(guest for guest in ill.lab.cluster.guests_on(node) if guest.running and guest.kind == "qemu")
    before = set(content(ill, storage, node))
    entry = ill.add("storage-full", storage=storage, node=node)
    assert state(ill, storage, node)["avail"] == 0
    ill.lab.wait(10)
    row = next(row for row in ill.resources("storage") if (row["node"], row["storage"]) == (node, storage))
    assert row["disk"] == row["maxdisk"]
    upid = ill.lab.data("POST", f"/nodes/{node}/vzdump", vmid=guest.vmid, storage=storage)
    assert ill.lab.finish(upid) == "job errors"
    log = [line["t"] for line in ill.lab.data("GET", f"/nodes/{node}/tasks/{upid}/log", limit=0)]
    assert any("No space left on device" in line for line in log)
    (forgotten,) = set(content(ill, storage, node)) - before
    assert "9999" in forgotten
    assert ill.state(entry) == "active"
    assert ill.lab.run("DELETE", f"/nodes/{node}/storage/{storage}/content/{forgotten}") == "OK"
    assert ill.state(entry) == "repaired"
    assert state(ill, storage, node)["avail"] > 0
    assert ill.lab.run("POST", f"/nodes/{node}/vzdump", vmid=guest.vmid, storage=storage) == "OK"


def test_one_full_local_storage_leaves_the_other_nodes_alone(ill):
    ill.add("storage-full", storage="local", node="pve2")
    guest = next(guest for guest in ill.lab.cluster.guests_on("pve1") if guest.running)
    assert state(ill, "local", "pve1")["avail"] > 0
    assert ill.lab.run("POST", "/nodes/pve1/vzdump", vmid=guest.vmid, storage="local") == "OK"


def test_no_image_can_be_made_on_a_full_storage(ill):
    ill.add("storage-full", storage="ceph-vm")
    made = ill.lab.run("POST", "/nodes/pve1/qemu", vmid=777, scsi0="ceph-vm:8")
    assert "No space left on device" in made
    assert 777 not in ill.lab.cluster.guests


def test_scheduled_backups_onto_a_full_storage_fail_until_there_is_room(ill):
    def nightly(since_s):
        rows = ill.lab.data("GET", "/nodes/pve1/tasks", typefilter="vzdump", since=int(since_s), limit=100)
        return {row["status"] for row in rows if row["starttime"] % 86400 == night_s % 86400}

    night_s = next(row["next-run"] for row in ill.lab.data("GET", "/cluster/backup") if row["storage"] == "pbs-01")
    before = set(content(ill, "pbs-01"))
    entry = ill.add("storage-full", storage="pbs-01")
    ill.lab.wait(86400)
    assert nightly(entry.start_s) == {"job errors"}
    assert not {volid for volid in set(content(ill, "pbs-01")) - before if "9999" not in volid}
    ill.faults.clear(entry.ident)
    ill.lab.wait(86400)
    assert len(set(content(ill, "pbs-01")) - before) > 10


def current(ill, guest):
    return ill.lab.data("GET", f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}/status/current")


def users(ill, storage, node=None):
    return [
        guest
        for guest in ill.lab.cluster.guests.values()
        if guest.running and storage in {disk.storage for disk in guest.disks() if not disk.cdrom} and node in (None, guest.node)
    ]


def stands_still(ill, guest):
    """Whether a guest neither computes nor sends nor writes."""
    before = current(ill, guest)
    ill.lab.wait(60)
    after = current(ill, guest)
    return after["cpu"] == 0 and all(after[key] == before[key] for key in ("netin", "netout", "diskread", "diskwrite"))


def test_guests_on_a_full_thin_pool_stop_and_go_on_when_told(ill):
    there, elsewhere = users(ill, "local-lvm", "pve1"), users(ill, "local-lvm", "pve2")
    machine = next(guest for guest in there if guest.kind == "qemu")
    entry = ill.add("storage-full", storage="local-lvm", node="pve1")
    ill.lab.wait(60)
    assert all(stands_still(ill, guest) for guest in there)
    assert not any(stands_still(ill, guest) for guest in elsewhere[:2])
    found = current(ill, machine)
    assert (found["status"], found["qmpstatus"]) == ("running", "io-error")
    assert found["pressurecpusome"] == found["pressureiosome"] == 0
    assert next(row for row in ill.resources("vm") if row["vmid"] == machine.vmid)["status"] == "running"
    path = f"/nodes/pve1/qemu/{machine.vmid}"
    assert ill.lab.data("GET", f"{path}/config")["digest"]
    assert any(f"VM {machine.vmid}" in text for text in ill.journal("pve1", "QEMU"))
    assert ill.lab.run("POST", f"{path}/status/shutdown", timeout=20) == "VM quit/powerdown failed - got timeout"
    assert ill.lab.run("POST", f"{path}/status/resume") == "OK"
    assert current(ill, machine)["qmpstatus"] == "running"
    ill.lab.wait(60)
    assert current(ill, machine)["qmpstatus"] == "io-error", "there is still no room"
    ill.lab.wait(120)
    rrd = ill.lab.data("GET", f"{path}/rrddata", timeframe="hour")[-1]
    assert (rrd["cpu"], rrd["diskwrite"]) == (0, 0)
    forgotten = next(volid for volid in content(ill, "local-lvm") if "9999" in volid)
    assert ill.lab.run("DELETE", f"/nodes/pve1/storage/local-lvm/content/{forgotten}") == "OK"
    assert ill.state(entry) == "repaired"
    assert current(ill, machine)["qmpstatus"] == "io-error", "QEMU waits to be told"
    assert ill.lab.run("POST", f"{path}/status/resume") == "OK"
    ill.lab.wait(60)
    assert current(ill, machine)["qmpstatus"] == "running"
    assert not stands_still(ill, machine)


def test_a_container_on_a_full_storage_is_read_only_until_it_is_restarted(ill):
    container = next(guest for guest in users(ill, "local-lvm") if guest.kind == "lxc")
    entry = ill.add("storage-full", storage="local-lvm", node=container.node)
    ill.lab.wait(60)
    assert stands_still(ill, container)
    assert any("read-only" in text for text in ill.journal(container.node, "kernel"))
    (forgotten,) = (volid for volid in content(ill, "local-lvm", container.node) if "9999" in volid)
    assert ill.lab.run("DELETE", f"/nodes/{container.node}/storage/local-lvm/content/{forgotten}") == "OK"
    assert ill.state(entry) == "repaired"
    assert stands_still(ill, container)
    ill.reboot(container)
    assert not stands_still(ill, container)


def test_what_was_forgotten_belongs_to_no_guest_that_exists(ill):
    assert ill.lab.run("POST", "/nodes/pve1/qemu", vmid=9999, scsi0="ceph-vm:8") == "OK"
    mine = content(ill, "ceph-vm")["ceph-vm:vm-9999-disk-0"]
    ill.add("storage-full", storage="ceph-vm")
    assert state(ill, "ceph-vm")["avail"] == 0
    assert content(ill, "ceph-vm")["ceph-vm:vm-9999-disk-0"] == mine
    assert "ceph-vm:vm-10000-disk-0" in content(ill, "ceph-vm")


def test_somebody_at_the_machine_lets_guests_go_on_too(ill):
    there = users(ill, "local-lvm", "pve1")
    entry = ill.add("storage-full", storage="local-lvm", node="pve1")
    ill.lab.wait(60)
    ill.faults.clear(entry.ident)
    assert not any(stands_still(ill, guest) for guest in there)


def test_guests_on_full_ceph_wait_and_go_on_by_themselves(ill):
    there = users(ill, "ceph-vm")
    entry = ill.add("storage-full", storage="ceph-vm")
    ill.lab.wait(60)
    assert all(stands_still(ill, guest) for guest in there)
    assert {current(ill, guest)["qmpstatus"] for guest in there if guest.kind == "qemu"} == {"running"}
    forgotten = next(volid for volid in content(ill, "ceph-vm") if "9999" in volid)
    assert ill.lab.run("DELETE", f"/nodes/pve1/storage/ceph-vm/content/{forgotten}") == "OK"
    assert ill.state(entry) == "repaired"
    assert not any(stands_still(ill, guest) for guest in there)


@pytest.mark.parametrize("kind", ["storage-hanging", "storage-offline"])
def test_guests_whose_storage_is_away_stand_still_and_others_do_not_start(ill, kind):
    there = users(ill, "ceph-vm")
    still = next(
        guest for guest in ill.lab.cluster.guests.values() if not guest.running and not guest.template and "ceph-vm" in str(guest.config)
    )
    entry = ill.add(kind, storage="ceph-vm", **({"how": "server"} if kind == "storage-offline" else {}))
    ill.lab.wait(60)
    assert all(stands_still(ill, guest) for guest in there)
    machine = next(guest for guest in there if guest.kind == "qemu")
    assert current(ill, machine)["pressureiosome"] > 50
    path = f"/nodes/{machine.node}/qemu/{machine.vmid}"
    assert ill.lab.ask("POST", f"{path}/agent/ping").status == 500
    assert ill.lab.data("GET", f"{path}/config")["digest"]
    why = ill.lab.run("POST", f"/nodes/{still.node}/{still.kind}/{still.vmid}/status/start")
    assert why == ("activating storage 'ceph-vm' failed - got timeout" if kind == "storage-hanging" else "storage 'ceph-vm' is not online")
    assert ill.lab.run("POST", f"{path}/status/shutdown", timeout=20) == "VM quit/powerdown failed - got timeout"
    ill.faults.clear(entry.ident)
    assert not any(stands_still(ill, guest) for guest in there)
    assert ill.lab.run("POST", f"/nodes/{still.node}/{still.kind}/{still.vmid}/status/start") == "OK"


def test_with_a_wrong_address_who_runs_keeps_its_connection(ill):
    there = users(ill, "ceph-vm")
    ill.add("storage-offline", storage="ceph-vm")
    ill.lab.wait(60)
    assert not any(stands_still(ill, guest) for guest in there)


def test_a_thin_pool_near_its_end(ill):
    entry = ill.add("thin-pool-near-full", node="pve1")
    found = state(ill, "local-lvm")
    assert 0.969 < found["used"] / found["total"] < 0.972
    assert state(ill, "local-lvm", "pve3")["used"] / found["total"] < 0.95
    forgotten = next(volid for volid in content(ill, "local-lvm") if "9999" in volid)
    assert ill.lab.run("DELETE", f"/nodes/pve1/storage/local-lvm/content/{forgotten}") == "OK"
    assert ill.state(entry) == "repaired"


@pytest.mark.parametrize(("storage", "key"), [("pbs-01", "server"), ("ceph-vm", "monhost")])
def test_a_storage_with_a_wrong_address(ill, storage, key):
    right = ill.lab.data("GET", f"/storage/{storage}")[key]
    entry = ill.add("storage-offline", storage=storage)
    assert state(ill, storage)["active"] == 0
    assert state(ill, storage)["total"] == 0
    assert {row["status"] for row in ill.resources("storage") if row["storage"] == storage} == {"unknown"}
    assert ill.lab.ask("GET", f"/nodes/pve1/storage/{storage}/content").reason == f"storage '{storage}' is not online"
    assert f"could not activate storage '{storage}'" in ill.lab.run("POST", "/nodes/pve1/vzdump", vmid=100, storage=storage)
    ill.lab.data("PUT", f"/storage/{storage}", **{key: "192.0.2.198"})
    assert ill.state(entry) == "active"
    ill.lab.data("PUT", f"/storage/{storage}", **{key: right})
    assert ill.state(entry) == "repaired"
    assert state(ill, storage)["active"] == 1


def test_a_storage_that_hangs_takes_the_status_daemons_with_it(ill):
    entry = ill.add("storage-hanging", storage="pbs-01", wait_s=7)
    effect = ill.faults.over("GET", "/nodes/pve1/storage/pbs-01/content")
    assert (effect.status, effect.delay_s, effect.done) == (596, 7.0, False)
    assert ill.faults.over("GET", "/nodes/pve2/storage").status == 596
    assert ill.faults.over("GET", "/nodes/pve2/storage/local/content") is None
    assert ill.faults.over("GET", "/nodes/pve2/qemu") is None
    ill.lab.wait(400)
    assert {row["status"] for row in ill.resources("node")} == {"unknown"}
    ill.lab.data("PUT", "/storage/pbs-01", disable=1)
    assert ill.state(entry) == "repaired"
    assert ill.faults.over("GET", "/nodes/pve2/storage") is None
    ill.lab.wait(10)
    assert {row["status"] for row in ill.resources("node")} == {"online"}


def test_a_backup_onto_a_storage_that_hangs_stands_still(ill):
    guest = next(guest for guest in ill.lab.cluster.guests_on("pve1") if guest.running and guest.kind == "qemu")
    upid = ill.lab.data("POST", "/nodes/pve1/vzdump", vmid=guest.vmid, storage="pbs-01")
    ill.lab.wait(4)
    entry = ill.add("storage-hanging", storage="pbs-01")
    ill.lab.wait(7200)
    assert ill.lab.data("GET", f"/nodes/pve1/tasks/{upid}/status")["status"] == "running"
    ill.faults.clear(entry.ident)
    assert ill.lab.finish(upid) == "OK"


def test_a_disk_that_loses_sectors_is_replaced_by_hand(ill):
    def smart():
        found = ill.lab.data("GET", "/nodes/pve2/disks/smart", disk="/dev/sdb")
        return found["health"], {row["name"]: int(row["raw"]) for row in found["attributes"]}

    def listed():
        return next(row for row in ill.lab.data("GET", "/nodes/pve2/disks/list") if row["devpath"] == "/dev/sdb")

    before, serial = smart()[1], listed()["serial"]
    entry = ill.add("failing-disk", node="pve2", disk="/dev/sdb", per_hour=100)
    assert entry.component == "disk/pve2/dev/sdb"
    ill.lab.wait(5 * 3600)
    health, raw = smart()
    assert (health, raw["Reallocated_Sector_Ct"]) == ("PASSED", 500)
    assert raw["Current_Pending_Sector"] > 0 == before["Current_Pending_Sector"]
    assert "Reallocated_Sector_Ct changed from" in "".join(ill.journal("pve2", "smartd"))
    ill.lab.wait(6 * 3600)
    assert smart()[0] == listed()["health"] == "FAILED"
    assert ill.state(entry) == "active"
    ill.faults.clear(entry.ident)
    health, raw = smart()
    assert (health, raw["Reallocated_Sector_Ct"], raw["Power_On_Hours"]) == ("PASSED", 0, 0)
    assert listed()["serial"] != serial


def test_zfs_volumes_look_like_disks_and_are_none(ill):
    entry = ill.add("zvol-devices", node="pve1", volumes=3)
    rows = [row for row in ill.lab.data("GET", "/nodes/pve1/disks/list") if row["devpath"].startswith("/dev/zd")]
    assert [row["devpath"] for row in rows] == ["/dev/zd0", "/dev/zd16", "/dev/zd32"]
    assert {row["health"] for row in rows} == {"UNKNOWN"}
    assert ill.lab.ask("GET", "/nodes/pve1/disks/smart", disk="/dev/zd0").status == 500
    assert not [row for row in ill.lab.data("GET", "/nodes/pve2/disks/list") if "/zd" in row["devpath"]]
    ill.lab.data("DELETE", "/storage/tank")
    assert ill.state(entry) == "repaired"
    assert not [row for row in ill.lab.data("GET", "/nodes/pve1/disks/list") if "/zd" in row["devpath"]]
