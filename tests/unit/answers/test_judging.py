"""What answers make of what was read: pure functions over plain rows."""

from datetime import UTC, datetime, timedelta

import pytest

from pveops.answers import backups, certificates, disks, drift, room, snapshots, survive, usage, volumes
from pveops.answers.look import Look
from pveops.answers.vzdump import attempts_of
from pveops.clients.cluster import parse
from pveops.model.resources import Answer, Backup, Guest, Node, Storage
from pveops.model.series import Series
from pveops.testing.fake import StepClock

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
G = 1 << 30
DAY = timedelta(days=1)


def guest(vmid, node="pve1", **more):
    base = {"name": f"g{vmid}", "kind": "qemu", "status": "running", "maxmem_bytes": 8 * G, "mem_bytes": 4 * G, "cpus": 4}
    return Guest(vmid=vmid, node=node, **{**base, **more})


def node(name, used=10, total=64, status="online"):
    return Node(name=name, status=status, mem_bytes=used * G, maxmem_bytes=total * G, cpus=16)


def archive(vmid, days, storage="pbs", **more):
    base = {"volid": f"{storage}:backup/vm/{vmid}/{days}", "kind": "qemu", "created": NOW - days * DAY, "size_bytes": G}
    return Backup(vmid=vmid, storage=storage, **{**base, **more})


def task(status, started=NOW - DAY, about="", node="pve1"):
    start = f"{int(started.timestamp()):08X}"
    return parse.task(
        {"upid": f"UPID:{node}:00000001:00000001:{start}:vzdump:{about}:root@pam:", "node": node, "endtime": 1, "status": status}
    )


LOG = """\
INFO: starting new backup job: vzdump --all 1 --exclude 107 --storage pbs
INFO: Starting Backup of VM 101 (qemu)
INFO: creating Proxmox Backup Server archive 'vm/101/1'
INFO: Finished Backup of VM 101 (00:00:48)
INFO: Starting Backup of VM 102 (qemu)
WARN: VM 102 qmp command 'guest-fsfreeze-freeze' failed - got timeout
INFO: creating Proxmox Backup Server archive 'vm/102/1'
INFO: Finished Backup of VM 102 (00:00:48)
INFO: Starting Backup of VM 103 (qemu)
INFO: creating Proxmox Backup Server archive 'vm/103/1'
ERROR: Backup of VM 103 failed - VM 103 qmp command 'backup' failed - there is already a backup job running
INFO: Backup job finished with errors
TASK ERROR: job errors""".splitlines()


def test_the_log_says_how_each_guest_went():
    found = {one.vmid: one for one in attempts_of(task("job errors"), LOG, [101, 102, 103, 107])}
    assert {vmid: one.ok for vmid, one in found.items()} == {101: True, 102: True, 103: False}
    assert found[102].text.startswith("warning: VM 102")
    assert found[103].text.endswith("already a backup job running")
    assert found[103].archive == "vm/103/1"


@pytest.mark.parametrize(
    ("first", "about", "meant"),
    [
        ("vzdump --all 1 --exclude 107,103 --storage pbs", "", [101, 102]),
        ("vzdump --vmid 101,999 --storage pbs", "", [101]),
        ("vzdump 102 103 --storage pbs", "", [102, 103]),
        ("vzdump 102 --notes 'it''s", "", [102]),
        ("vzdump", "107", [107]),
    ],
)
def test_a_task_that_failed_before_its_first_guest_failed_for_all_it_was_meant_for(first, about, meant):
    lines = [f"INFO: starting new backup job: {first}", "TASK ERROR: could not activate storage 'pbs': 401 Unauthorized"]
    found = attempts_of(task("could not activate storage", about=about), lines, [101, 102, 103, 107])
    assert [one.vmid for one in found] == meant
    assert all("401 Unauthorized" in one.text and not one.ok for one in found)


def test_a_task_that_died_leaves_its_guest_without_a_backup():
    (first, second) = attempts_of(task("unexpected status"), LOG[:4] + LOG[4:5], [101, 102])
    assert (first.vmid, first.ok, second.vmid, second.ok, second.text) == (101, True, 102, False, "it broke off in the middle")


def truth(guests, archives=(), attempts=(), unseen=lambda _guest: "", unassigned=frozenset()):
    return {row.vmid: row for row in backups.judge(guests, archives, attempts, now=NOW, unseen=unseen, unassigned=unassigned)}


def test_the_youngest_archive_that_counts():
    rows = truth(
        [guest(101), guest(102), guest(103), guest(104), guest(105)],
        [
            archive(101, 3, verified="ok"), archive(101, 1, "local"), archive(101, 0, verified="failed"),
            archive(102, 2, verified="failed"), archive(103, 5), archive(103, 1, volid="pbs:backup/vm/103/1"), archive(105, 1, size_bytes=0),
        ],
        attempts_of(task("job errors"), LOG, []),
    )  # fmt: skip
    assert (rows[101].verdict, rows[101].storage, rows[101].age_s, rows[101].copies, rows[101].storages) == (
        "good",
        "local",
        86400,
        2,
        "local;pbs",
    )
    assert (rows[102].verdict, rows[102].last_good) == ("bad", None)
    assert (rows[103].verdict, rows[103].age_s) == ("failing", 5 * 86400), "what a failed attempt left behind does not count"
    assert "already a backup job running" in rows[103].why
    assert rows[104].verdict == "none"
    assert rows[105].verdict == "bad"


def test_what_cannot_be_seen_is_hidden_and_not_missing():
    rows = truth([guest(101), guest(102)], [archive(102, 30)], unseen=lambda _guest: "storage pbs: not available", unassigned=None)
    assert (rows[101].verdict, rows[101].why, rows[101].in_job) == ("hidden", "storage pbs: not available", None)
    late = backups.without_since(rows.values(), NOW - 7 * DAY)
    assert [row.vmid for row in late] == [102]


def test_snapshots_by_age():
    rows = [
        {"name": "old", "snaptime": int((NOW - 30 * DAY).timestamp()), "vmstate": 1, "description": "x\n"},
        {"name": "young", "snaptime": int((NOW - DAY).timestamp()), "parent": "old"},
        {"name": "current", "parent": "young"},
        {"name": "odd"},
    ]
    (found,) = snapshots.judge([(guest(101), rows)], now=NOW, older_s=14 * 86400)
    assert (found.name, found.with_memory, found.has_children, found.description, found.age_s) == ("old", True, True, "x", 30 * 86400)
    assert [row.name for row in snapshots.judge([(guest(101), rows)], now=NOW, older_s=60)] == ["old", "young"]


def test_promises_of_nodes_and_storages():
    store = Storage(name="lvm", node="pve1", content=("images",), total_bytes=100, used_bytes=10, status="available")
    guests = [guest(101, maxmem_bytes=60 * G), guest(102, maxmem_bytes=8 * G, cpus=64), guest(103, status="stopped", maxmem_bytes=99 * G)]
    held = {("lvm", "pve1"): [{"size": 80, "vmid": 101}, {"size": "40", "vmid": 101}]}
    one, away, disk = room.judge([node("pve1"), node("pve2", status="offline")], guests, [store], held, cpus_per_thread=4)
    assert (one.verdict, one.mem_promised_bytes, one.vcpus, one.guests) == ("over", 68 * G, 68, 2)
    assert away.verdict == "unknown"
    assert (disk.verdict, disk.disk_promised_bytes, disk.guests, disk.node) == ("over", 120, 1, "pve1")
    roomy = room.judge([node("pve1", total=256)], guests, [], {}, cpus_per_thread=8)
    assert roomy[0].verdict == "fits"


def loss(nodes, guests, stuck=None, rules=None, **more):
    votes = {one.name: one.status == "online" for one in nodes}
    return {
        row.node: row
        for row in survive.judge(nodes, guests, votes=votes, stuck=stuck or {}, rules=rules or {}, reserve_fraction=0.0, **more)
    }


THREE = [node("pve1"), node("pve2"), node("pve3")]


def test_a_cluster_with_room_survives_and_one_without_does_not():
    rows = loss(THREE, [guest(101), guest(102, hastate="started")])
    assert (rows["pve1"].survives, rows["pve1"].by_ha, rows["pve1"].need_bytes, rows["pve1"].free_bytes) == (True, 1, 16 * G, 108 * G)
    rows = loss([node("pve1"), node("pve2", used=60), node("pve3", used=60)], [guest(101), guest(102, maxmem_bytes=2 * G)])
    assert (rows["pve1"].survives, rows["pve1"].short_bytes) == (False, 8 * G), "the sum would fit, no node has that much"
    assert "no memory for 101 g101" in rows["pve1"].why
    assert rows["pve2"].survives is True


def test_the_rest_must_have_a_majority():
    rows = loss([node("pve1"), node("pve2")], [])
    assert (rows["pve1"].survives, rows["pve1"].quorate) == (False, False)
    assert "no majority" in rows["pve1"].why
    assert loss([*THREE[:2], node("pve3", status="offline")], [])["pve1"].quorate is False


def test_local_disks_devices_and_rules_hold_guests_back():
    held = {("lvm", "pve1"): [{"vmid": 101}], ("lvm", "pve2"): [{"vmid": 102}]}
    assert survive.local_disks([guest(101), guest(102)], held, {}) == {101: "disks on lvm of pve1"}
    assert survive.local_disks([guest(101)], held, {101: ["pve2"]}) == {}, "a replica is elsewhere"
    config = {"hostpci0": "01:00.0", "usb0": "mapping=key", "usb1": "host=1-2", "usb2": "spice", "serial0": "socket", "scsi0": "lvm:x"}
    assert survive.passed_through(config) == ["hostpci0", "usb1"]
    rows = loss(THREE, [guest(101)], stuck={101: "passes through hostpci0"})
    assert (rows["pve1"].survives, rows["pve1"].stuck, rows["pve1"].why) == (False, 1, "101 g101: passes through hostpci0")
    rules = survive.affinities(
        [
            {"type": "node-affinity", "resources": "vm:101", "nodes": "pve1:2,pve2", "strict": 1},
            {"type": "node-affinity", "resources": "vm:102", "nodes": "pve1"},
            {"type": "node-affinity", "resources": "vm:103", "nodes": "pve1", "strict": 1, "disable": 1},
            {"type": "resource-affinity", "resources": "vm:104,vm:105", "affinity": "negative"},
        ],
        ["pve1", "pve2", "pve3"],
    )
    assert rules == {101: survive.Affinity(only=frozenset({"pve1", "pve2"})), 104: survive.Affinity(apart=frozenset({105})), 105: survive.Affinity(apart=frozenset({104}))}  # fmt: skip
    assert loss(THREE, [guest(101)], rules=rules)["pve1"].survives is True
    assert loss([node("pve1"), node("pve2", used=60), node("pve3")], [guest(101)], rules=rules)["pve1"].survives is False
    apart = loss(
        THREE, [guest(104), guest(105, "pve2"), guest(106, "pve3")], rules={**rules, 104: survive.Affinity(apart=frozenset({105, 106}))}
    )
    assert "HA rules" in apart["pve1"].why


def test_a_yes_that_rests_on_gaps_is_not_known():
    rows = loss(THREE, [guest(101)], unsure="devices not seen")
    assert (rows["pve1"].survives, rows["pve1"].why) == (None, "not sure: devices not seen")


def test_orphans_and_what_only_looks_like_one():
    held = {
        ("ceph", ""): [
            {"volid": "ceph:vm-101-disk-0", "vmid": 101, "size": 5}, {"volid": "ceph:vm-101-disk-1", "vmid": 101, "size": 4},
            {"volid": "ceph:vm-101-disk-2", "vmid": 101}, {"volid": "ceph:vm-9999-disk-0", "vmid": 9999, "size": 9, "ctime": 1},
            {"volid": "ceph:vm-101-state-s1", "vmid": 101}, {"volid": "ceph:vm-101-cloudinit", "vmid": 101},
            {"volid": "ceph:base-900-disk-0/vm-101-disk-3", "vmid": 101}, {"volid": "ceph:scratch"},
        ],
        ("lvm", "pve2"): [{"volid": "lvm:vm-101-disk-0", "vmid": 101, "size": 1}, {"volid": "lvm:vm-102-disk-0", "vmid": 102}],
    }  # fmt: skip
    config = {"scsi0": "ceph:vm-101-disk-0,size=32G", "unused0": "ceph:vm-101-disk-1", "ide2": "ceph:vm-101-cloudinit,media=cdrom",
              "scsi1": "ceph:base-900-disk-0/vm-101-disk-3"}  # fmt: skip
    ask = {"guests": {101: guest(101), 102: guest(102)}, "configs": {101: config}}
    rows = volumes.judge(held, **ask, replicas={102: ["pve2"]}, all_seen=True)
    assert [(row.volid, row.why) for row in rows] == [
        ("ceph:vm-9999-disk-0", "no guest"), ("ceph:vm-101-disk-1", "unused"), ("lvm:vm-101-disk-0", "guest is on another node"),
        ("ceph:vm-101-disk-2", "not in its configuration"),
    ]  # fmt: skip
    blind = volumes.judge(held, **{**ask, "configs": {}}, replicas=None, all_seen=False)
    assert blind == [], "what is not known is not called an orphan"


def test_certificates_by_what_is_left():
    def file(days):
        return {"filename": "pve-ssl.pem", "notafter": int((NOW + days * DAY).timestamp()), "san": ["a", "b"]}

    rows = certificates.judge({"pve1": [file(400)], "pve2": [file(5)], "pve3": [file(-1)], "pve4": [{}]}, now=NOW, within_s=30 * 86400)
    assert [(row.node, row.verdict) for row in rows] == [("pve3", "expired"), ("pve2", "soon"), ("pve1", "ok"), ("pve4", "unknown")]
    assert (rows[1].left_days, rows[1].names) == (5.0, "a;b")


def test_drift_names_who_differs_from_most():
    same = {("resolvers", "dns1"): "1", ("packages", "a"): "1"}
    everyone = {"resolvers": frozenset("xyz"), "packages": frozenset("xyz")}
    rows = drift.judge({"x": same, "y": {**same, ("resolvers", "dns1"): "2"}, "z": {("resolvers", "dns1"): "1"}}, everyone)
    assert [(row.item, row.node, row.value, row.most, row.alike) for row in rows] == [
        ("a", "z", "absent", "1", 2),
        ("dns1", "y", "2", "1", 2),
    ]
    split = drift.judge({"x": same, "y": {**same, ("resolvers", "dns1"): "2"}}, {"resolvers": frozenset("xy")})
    assert [(row.node, row.most) for row in split] == [("x", None), ("y", None)], "of two that differ nobody is right"
    silent = drift.judge({"x": same, "y": same, "z": {}}, {**everyone, "packages": frozenset("xy"), "resolvers": frozenset("xy")})
    assert silent == [], "who did not answer does not differ"


def test_smart_counters_of_all_kinds_of_disks():
    ata = {
        "attributes": [
            {"id": "  5", "raw": "12"},
            {"id": "197", "raw": "3 (0 0)"},
            {"id": "198", "raw": "1"},
            {"id": "187", "raw": "7"},
            {"id": "1", "raw": "x"},
        ]
    }
    assert disks.counters_of(ata) == {"reallocated": 12, "pending": 3, "uncorrectable": 7}
    assert disks.counters_of({"text": "Power On Hours:   12,001\nMedia and Data Integrity Errors:    4\n"}) == {
        "uncorrectable": 4,
        "hours": 12001,
    }
    lines = [
        "Nov 21 pve1 smartd[902]: Device: /dev/sda [SAT], SMART Prefailure Attribute: 5 Reallocated_Sector_Ct changed from 100 [Raw 8] to 99 [Raw 16]",
        "Nov 21 pve1 smartd[902]: Device: /dev/sda [SAT], SMART Prefailure Attribute: 5 Reallocated_Sector_Ct changed from 99 [Raw 16] to 99 [Raw 40]",
        "Nov 21 pve1 smartd[902]: Device: /dev/sdb [SAT], SMART Usage Attribute: 5 Reallocated_Sector_Ct changed from 100 to 99",
        "Nov 21 pve1 smartd[902]: Device: /dev/sda [SAT], 3 Currently unreadable (pending) sectors",
        "Nov 21 pve1 smartd[902]: Device: /dev/sda [SAT], 9 Currently unreadable (pending) sectors",
        "Nov 21 pve1 smartd[902]: Device: /dev/sda [SAT], SMART Usage Attribute: 190 Airflow_Temperature_Cel changed from 65 to 18",
    ]
    assert disks.told_by_journal(lines) == {"/dev/sda": {"reallocated": (8, 40), "pending": (3, 9)}}


def test_disks_the_worst_first():
    listed = {
        ("pve1", f"/dev/sd{name}"): {"health": "PASSED", "wearout": wear}
        for name, wear in zip("abcde", (90, 5, "N/A", 90, 90), strict=True)
    }
    listed["pve1", "/dev/sde"]["health"] = "FAILED"
    well = {"health": "PASSED", "attributes": [{"id": 5, "raw": "0"}]}
    smart = {key: well for key in listed if key[1] not in ("/dev/sdc", "/dev/sde")} | {
        ("pve1", "/dev/sdd"): {"health": "PASSED", "attributes": [{"id": 5, "raw": "40"}]}
    }
    grew = {("pve1", "/dev/sda"): [disks.Growth(counter="reallocated", by=32, days=2.0, source="journal")]}
    rows = disks.judge(listed, smart, grew)
    assert [(row.path[-1], row.verdict) for row in rows] == [
        ("e", "failed"),
        ("a", "getting worse"),
        ("d", "damaged"),
        ("b", "worn"),
        ("c", "unknown"),
    ]


def series(cpu, mem=2 * G, net=0.0, days=20):
    count = days * 48
    columns = {"cpu_fraction": (cpu,) * count, "mem_bytes": (mem,) * count, "netin_bytes_per_s": (net,) * count}
    return Series(subject="x", source="x", step_s=1800, times=tuple(NOW + n * timedelta(minutes=30) for n in range(count)), columns=columns)


def test_sizes_that_would_do():
    big = usage.fitting(guest(101, cpus=8, maxmem_bytes=32 * G), series(0.1))
    assert (big.cpu, big.cpus_advised, big.mem, big.mem_advised_bytes) == ("too large", 2, "too large", int(2.5 * G))
    small = usage.fitting(guest(101, maxmem_bytes=2 * G), series(0.97))
    assert (small.cpu, small.mem) == ("too small", "too small")
    young = usage.fitting(guest(101), series(0.1, days=3))
    assert (young.cpu, young.mem, young.cpus_advised, young.seen_days) == ("unknown", "unknown", None, 3.0)


def test_idle_is_below_both_limits_for_long_enough():
    limits = {"cpu_fraction": 0.03, "bytes_per_s": 2048}
    assert usage.idle(guest(101), series(0.01), **limits).seen_days == 20
    assert usage.idle(guest(101), series(0.05), **limits) is None
    assert usage.idle(guest(101), series(0.01, net=5000), **limits) is None
    assert usage.idle(guest(101), series(0.01, days=2), **limits) is None


class Bare:
    """A cluster whose server cannot tell privileges, and whose storages list nothing."""

    def __init__(self, *guests):
        store = Storage(name="lvm", node="pve1", status="available", total_bytes=9 * G, content=("images",))
        self.lists = [Answer(rows=rows, read_at=NOW, source="memory") for rows in ((node("pve1"),), guests, (store,))]

    def resources(self):
        return self.lists

    def may(self, privilege, path):
        return True

    def get(self, path, params=None):
        return []


@pytest.mark.parametrize(("size", "verdict"), [(32 * G, "unknown"), (None, "fits")])
def test_storages_that_list_no_disk_although_guests_have_some_do_not_fit(size, verdict):
    bare = Bare(guest(101, maxdisk_bytes=size))
    found = room.overcommit(Look(bare, StepClock()), cpus_per_thread=4)
    assert [row.verdict for row in found.rows if row.about == "storage"] == [verdict]
    orphans = volumes.orphaned_disks(Look(bare, StepClock()))
    named = [("disks in lvm", "no storage lists a disk, although guests have some")] if verdict == "unknown" else []
    assert [(gap.what, gap.why) for gap in found.gaps] == [(gap.what, gap.why) for gap in orphans.gaps] == named
