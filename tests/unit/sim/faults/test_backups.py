"""Faults of backups."""

import pytest

pytestmark = pytest.mark.slow


def log(ill, upid):
    node = upid.split(":")[1]
    return [line["t"] for line in ill.lab.data("GET", f"/nodes/{node}/tasks/{upid}/log", limit=0)]


def back_up(ill, guest, storage="pbs-01"):
    upid = ill.lab.data("POST", f"/nodes/{guest.node}/vzdump", vmid=guest.vmid, storage=storage)
    return upid, ill.lab.finish(upid)


def backups_of(ill, guest):
    return ill.lab.data("GET", f"/nodes/{guest.node}/storage/pbs-01/content", content="backup", vmid=guest.vmid)


def running(ill, kind="qemu"):
    return next(guest for guest in ill.lab.cluster.guests.values() if guest.running and guest.kind == kind and guest.profile != "ci")


def test_backups_of_one_guest_fail_until_it_gets_a_new_process(ill):
    guest, other = running(ill), running(ill, "lxc")
    entry = ill.add("backup-failed", vmid=guest.vmid)
    count = len(backups_of(ill, guest))
    upid, end = back_up(ill, guest)
    assert end == "job errors"
    assert any(line.startswith(f"ERROR: Backup of VM {guest.vmid} failed - ") for line in log(ill, upid))
    assert len(backups_of(ill, guest)) == count
    assert not guest.lock
    assert back_up(ill, other)[1] == "OK"
    ill.reboot(guest)
    assert ill.state(entry) == "repaired"
    assert back_up(ill, guest)[1] == "OK"


def test_the_scheduled_backup_of_that_guest_fails_too_and_the_past_stays_as_it_was(ill):
    guest = running(ill)
    before = {row["volid"] for row in backups_of(ill, guest)}
    entry = ill.add("backup-failed", vmid=guest.vmid)
    assert {row["volid"] for row in backups_of(ill, guest)} == before
    ill.lab.wait(86400)
    assert not {row["volid"] for row in backups_of(ill, guest)} - before
    rows = ill.lab.data("GET", f"/nodes/{guest.node}/tasks", typefilter="vzdump", since=int(entry.start_s), limit=50)
    nightly = [row for row in rows if row["user"] == "root@pam" and not row["id"]]
    assert "job errors" in {row["status"] for row in nightly}
    ill.reboot(guest)
    ill.lab.wait(86400)
    assert {row["volid"] for row in backups_of(ill, guest)} - before


def test_half_failed_backups_end_with_warnings_and_there_is_a_backup(ill):
    guest = next(guest for guest in ill.lab.cluster.guests.values() if guest.running and guest.agent_enabled and guest.agent_answers)
    entry = ill.add("backup-warnings", vmid=guest.vmid, warnings=3)
    path = f"/nodes/{guest.node}/qemu/{guest.vmid}"
    assert ill.lab.ask("POST", f"{path}/agent/ping").reason == "QEMU guest agent is not running"
    count = len(backups_of(ill, guest))
    upid, end = back_up(ill, guest)
    assert end == "WARNINGS: 3"
    assert sum(line.startswith("WARN: ") for line in log(ill, upid)) == 3
    assert log(ill, upid)[-1] == "TASK WARNINGS: 3"
    assert len(backups_of(ill, guest)) == count + 1
    ill.lab.data("PUT", f"{path}/config", agent="0")
    ill.reboot(guest)
    assert ill.state(entry) == "repaired"
    assert back_up(ill, guest)[1] == "OK"


def test_a_server_that_refuses_gives_a_bare_text(ill):
    guest = running(ill)
    entry = ill.add("backup-server-refuses", storage="pbs-01")
    upid, end = back_up(ill, guest)
    assert end == "could not activate storage 'pbs-01': pbs-01: error fetching datastores - 401 Unauthorized"
    assert not any("Starting Backup" in line for line in log(ill, upid))
    assert ill.lab.data("GET", "/nodes/pve1/storage/pbs-01/status")["active"] == 0
    ill.lab.wait(86400)
    rows = ill.lab.data("GET", "/nodes/pve1/tasks", typefilter="vzdump", since=int(entry.start_s) + 600, limit=50)
    assert end in {row["status"] for row in rows}
    ill.lab.data("PUT", "/storage/pbs-01", password="a new one")
    assert ill.state(entry) == "repaired"
    assert "password" not in ill.lab.data("GET", "/storage/pbs-01")
    assert back_up(ill, guest)[1] == "OK"
