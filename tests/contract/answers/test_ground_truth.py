"""Each answer against a fault that was planted: it names the cause. And against a cluster that is well: it names nothing."""

import re

import pytest

pytestmark = pytest.mark.slow
QUESTIONS = ("backup-truth", "no-backup-since", "snapshots-older-than", "overcommit", "n-plus-one", "capacity-forecast", "rightsize", "idle-guests",
             "orphaned-disks", "disk-health-trend", "certificate-expiry", "drift-between")  # fmt: skip


def running(hospital, kind="qemu"):
    return next(guest for guest in hospital.lab.cluster.guests.values() if guest.running and guest.kind == kind and guest.profile != "ci")


def back_up(hospital, guest, storage="pbs-01"):
    return hospital.lab.finish(hospital.lab.data("POST", f"/nodes/{guest.node}/vzdump", vmid=guest.vmid, storage=storage))


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_answer_says_how_many_requests_it_took_and_that_is_true(hospital, name):
    result = hospital.ask(name)
    assert result.status in ("ok", "no_data"), result.text
    assert not result.gaps
    told = int(re.search(r"\((\d+) requests\)$", result.searched)[1])
    assert told == hospital.counted()
    per_guest = sum(1 for path in hospital.wire.paths if re.search(r"/(qemu|lxc)/\d+", path))
    assert per_guest <= len(hospital.lab.cluster.guests)
    assert bool(per_guest) is (name in ("snapshots-older-than", "n-plus-one", "rightsize", "idle-guests", "orphaned-disks"))


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_token_without_rights_gets_gaps_and_no_false_all_clear(hospital, name):
    result = hospital.ask(name, who="noperm@pve!none")
    assert result.status == "partial", result.text
    assert "Not seen" in result.text
    assert any(gap.needs for gap in result.gaps)


def test_a_cluster_that_is_well_is_called_well(hospital):
    assert hospital.ask("drift-between").rows == ()
    assert hospital.ask("orphaned-disks").rows == ()
    assert {row["verdict"] for row in hospital.ask("disk-health-trend").rows} == {"ok"}
    assert {row["verdict"] for row in hospital.ask("certificate-expiry").rows} <= {"ok", "unknown"}
    truth = hospital.ask("backup-truth")
    assert {row["verdict"] for row in truth.rows} <= {"good", "none"}
    unassigned = {row["vmid"] for row in hospital.lab.data("GET", "/cluster/backup-info/not-backed-up")}
    assert {row["vmid"] for row in truth.rows if not row["in_job"]} == unassigned
    assert {row["vmid"] for row in truth.rows if row["verdict"] == "none"} <= unassigned


def test_backups_of_one_guest_fail(make_hospital):
    hospital = make_hospital()
    guest = running(hospital)
    hospital.ill.add("backup-failed", vmid=guest.vmid)
    assert back_up(hospital, guest) == "job errors"
    result = hospital.ask("backup-truth")
    row = hospital.row(result, vmid=guest.vmid)
    assert row["verdict"] == "failing"
    assert row["last_good"] is not None
    assert "there is already a backup job running" in row["why"]
    assert f"{guest.vmid} {guest.name}: " in result.text
    assert {row["vmid"] for row in result.rows if row["verdict"] == "failing"} == {guest.vmid}
    hospital.lab.wait(3 * 86400)
    late = hospital.ask("no-backup-since", since="2d")
    assert guest.vmid in {row["vmid"] for row in late.rows}


def test_backups_with_warnings_count_and_say_so(make_hospital):
    hospital = make_hospital()
    guest = next(guest for guest in hospital.lab.cluster.guests.values() if guest.running and guest.agent_enabled and guest.agent_answers)
    hospital.ill.add("backup-warnings", vmid=guest.vmid)
    assert back_up(hospital, guest).startswith("WARNINGS")
    row = hospital.row(hospital.ask("backup-truth"), vmid=guest.vmid)
    assert row["verdict"] == "good"
    assert row["age_s"] < 3600
    assert row["why"].startswith("warning: ")


def test_a_backup_server_that_refuses_is_a_gap_and_its_refusal_is_told(make_hospital):
    hospital = make_hospital()
    guest = running(hospital)
    hospital.ill.add("backup-server-refuses", storage="pbs-01")
    back_up(hospital, guest)
    result = hospital.ask("backup-truth")
    assert result.status == "partial"
    assert any("pbs-01" in gap.what for gap in result.gaps)
    row = hospital.row(result, vmid=guest.vmid)
    assert row["verdict"] in ("failing", "hidden")
    assert "401 Unauthorized" in row["why"]
    assert not [row for row in result.rows if row["verdict"] == "none"], "what the server holds was not seen"
    assert not [row for row in hospital.ask("no-backup-since", since="30d").rows if row["last_good"] is None]


def test_archives_that_the_token_may_not_see_are_hidden(make_hospital):
    hospital = make_hospital()
    who = hospital.lab.principal("half@pve", ("/", "PVEAuditor", True), ("/storage", "PVEDatastoreUser", True))
    result = hospital.ask("backup-truth", who=who)
    assert {row["verdict"] for row in result.rows} == {"hidden"}
    assert "VM.Backup" in result.rows[0]["why"]
    assert result.status == "partial"
    since = hospital.ask("no-backup-since", who=who)
    assert since.rows == ()
    assert since.text.startswith(f"Of {len(result.rows)} guests (")
    assert ") it is not known: their backups could not be seen. Of the others: Every guest whose backups" in since.text
    assert hospital.ask("no-backup-since").text.startswith(("Every guest", *"123456789")), "an administrator sees all"


def test_a_thin_pool_near_full_and_the_forgotten_image_in_it(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("thin-pool-near-full", storage="local-lvm", node="pve2")
    hospital.lab.wait(60)
    forecast = hospital.ask("capacity-forecast")
    row = hospital.row(forecast, storage="local-lvm", node="pve2")
    assert row["near_full"] is True
    assert row["used_fraction"] == pytest.approx(0.97, abs=0.01)
    assert "local-lvm on pve2 (97" in forecast.text
    (orphan,) = hospital.ask("orphaned-disks").rows
    assert (orphan["storage"], orphan["node"], orphan["vmid"], orphan["why"]) == ("local-lvm", "pve2", 9999, "no guest")


def test_a_volume_that_was_forgotten_in_a_full_storage(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("storage-full", storage="ceph-vm")
    hospital.lab.wait(60)
    row = hospital.row(hospital.ask("capacity-forecast"), storage="ceph-vm")
    assert (row["verdict"], row["to_full_days"]) == ("full", 0.0)
    assert [row["vmid"] for row in hospital.ask("orphaned-disks").rows] == [9999]


def test_volumes_of_a_pool_that_nobody_uses_are_no_disks_and_are_orphans(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("zvol-devices", node="pve1", volumes=2)
    hospital.lab.wait(30)
    assert not [row for row in hospital.ask("disk-health-trend").rows if row["path"].startswith("/dev/zd")]
    assert {row["vmid"] for row in hospital.ask("orphaned-disks").rows} == {9000, 9001}


def test_a_storage_that_does_not_answer_is_named(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("storage-offline", storage="ceph-vm")
    hospital.lab.wait(60)
    for name in ("orphaned-disks", "overcommit", "capacity-forecast"):
        result = hospital.ask(name)
        assert result.status == "partial", name
        assert any("ceph-vm" in gap.what for gap in result.gaps), name


def test_disks_that_are_hidden_from_a_token_that_only_reads_are_named(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("thin-pool-near-full", storage="local-lvm", node="pve2")
    hospital.lab.wait(60)
    assert len(hospital.ask("orphaned-disks").rows) == 1, "an administrator sees it"
    orphans = hospital.ask("orphaned-disks", who="reader@pve!notebook")
    assert (orphans.status, orphans.rows) == ("partial", ())
    assert orphans.text.startswith("Every disk that could be seen has its guest. Not seen: disks in ceph-vm (")
    hidden = {gap.what: gap.needs for gap in orphans.gaps}
    assert "VM.Config.Disk on /vms with Datastore.AllocateSpace on /storage/local-lvm" in hidden["disks in local-lvm"]
    promises = hospital.ask("overcommit", who="reader@pve!notebook")
    stores = [row for row in promises.rows if row["about"] == "storage"]
    assert stores
    assert {(row["verdict"], row["disk_promised_bytes"], row["guests"]) for row in stores} == {("unknown", None, None)}
    assert {gap.what for gap in promises.gaps} == {gap.what for gap in orphans.gaps}
    assert {row["verdict"] for row in promises.rows if row["about"] == "node"} <= {"fits", "over"}


def test_local_disks_that_are_hidden_in_the_lists_are_read_from_configurations(hospital):
    seen = {row["node"]: (row["survives"], row["stuck"]) for row in hospital.ask("n-plus-one").rows}
    by_reader = hospital.ask("n-plus-one", who="reader@pve!notebook")
    assert {row["node"]: (row["survives"], row["stuck"]) for row in by_reader.rows} == seen
    assert sum(stuck for _, stuck in seen.values()) > 0
    assert by_reader.gaps == ()
    unsure = hospital.ask("n-plus-one", who="reader@pve!notebook", devices=False)
    assert not any(row["survives"] for row in unsure.rows)
    assert "disks in local-lvm" in {gap.what for gap in unsure.gaps}


def test_a_certificate_that_ends_soon(make_hospital):
    hospital = make_hospital()
    entry = hospital.ill.add("certificate-expiring")
    result = hospital.ask("certificate-expiry")
    assert result.rows[0]["verdict"] == "soon", (result.text, entry)
    assert "soon" in result.text
    assert hospital.ask("certificate-expiry", within="1h").rows[0]["verdict"] in ("ok", "soon")


def test_a_disk_that_loses_sectors(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("failing-disk", node="pve2", disk="/dev/sdb", per_hour=20)
    hospital.lab.wait(12 * 3600)
    result = hospital.ask("disk-health-trend")
    first = result.rows[0]
    assert (first["node"], first["path"], first["verdict"]) == ("pve2", "/dev/sdb", "getting worse")
    assert first["reallocated"] == pytest.approx(240, abs=25)
    assert first["grew_by"] > 150
    assert "/dev/sdb on pve2: reallocated +" in result.text
    assert {row["verdict"] for row in result.rows[1:]} == {"ok"}
    hospital.lab.wait(50 * 3600)
    assert hospital.ask("disk-health-trend").rows[0]["verdict"] == "failed"


@pytest.mark.parametrize(
    ("kind", "args", "topic", "item"),
    [
        ("wrong-dns", {}, "resolvers", "dns1"),
        ("pending-reboot", {}, "kernel", "waits for a restart"),
        ("clock-skew", {"skew_s": 420}, "clock", "set"),
    ],
)
def test_a_node_that_differs(make_hospital, kind, args, topic, item):
    hospital = make_hospital()
    hospital.ill.add(kind, node="pve3", **args)
    hospital.lab.wait(30)
    result = hospital.ask("drift-between")
    assert {row["node"] for row in result.rows} == {"pve3"}
    assert hospital.row(result, topic=topic, item=item)
    assert "pve3" in result.text
    two = hospital.ask("drift-between", nodes="pve1,pve2")
    assert two.rows == ()


def test_a_stopped_time_daemon_is_a_difference_of_services(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("clock-skew", node="pve2")
    hospital.lab.wait(30)
    row = hospital.row(hospital.ask("drift-between"), topic="services", item="chrony")
    assert (row["node"], row["value"].split(",")[0], row["most"].split(",")[0]) == ("pve2", "dead", "running")


def test_a_node_that_is_down_is_a_gap_and_the_loss_of_another_is_judged(make_hospital):
    hospital = make_hospital()
    hospital.ill.add("node-down", node="pve3")
    hospital.lab.wait(30)
    loss = hospital.ask("n-plus-one")
    assert {row["node"] for row in loss.rows} == {"pve1", "pve2"}
    assert all(row["survives"] is False and row["quorate"] is False for row in loss.rows)
    for name in ("snapshots-older-than", "disk-health-trend", "certificate-expiry", "drift-between", "idle-guests"):
        result = hospital.ask(name)
        assert any("pve3" in gap.what and "offline" in gap.why for gap in result.gaps), name


def test_snapshots_are_those_that_are_there(hospital):
    truth = set()
    for guest in hospital.lab.cluster.guests.values():
        rows = hospital.lab.data("GET", f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}/snapshot")
        now = hospital.lab.cluster.now_s
        truth |= {(guest.vmid, row["name"]) for row in rows if row["name"] != "current" and now - row["snaptime"] > 14 * 86400}
    assert {(row["vmid"], row["snapshot"]) for row in hospital.ask("snapshots-older-than").rows} == truth


def test_bad_arguments_are_refused(hospital):
    from pveops.base.errors import InputError

    for name, args in (
        ("no-backup-since", {"since": "soon"}), ("no-backup-since", {"since": "0d"}), ("capacity-forecast", {"window": "5000d"}),
        ("drift-between", {"nodes": "pve1"}), ("drift-between", {"nodes": "pve1,pve9"}), ("drift-between", {"nodes": "pve1,../x"}),
        ("n-plus-one", {"reserve_pct": 200}), ("idle-guests", {"cpu": 3}),
    ):  # fmt: skip
        with pytest.raises(InputError):
            hospital.ask(name, **args)
