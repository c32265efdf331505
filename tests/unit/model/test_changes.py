"""From versions to changes, and the task behind each."""

from pveops.model.changes import Culprits, changes_of
from pveops.model.inventory import STILL_MS, Event, Version

GUEST = {"name": "web", "node": "pve1", "status": "stopped", "template": False, "tags": ["a"], "lock": None}


def version(kind="guest", key="101", body=None, after_ms=60_000, from_ms=120_000, to_ms=STILL_MS):
    return Version(cluster="one", kind=kind, key=key, digest=str(body), body=body, after_ms=after_ms, from_ms=from_ms, to_ms=to_ms)


def task(kind, user="anna@pve", seen_ms=100_000, closed_ms=110_000, guest=101):
    upid = f"UPID:{kind}"
    return "one", Event(
        upid=upid, node="pve1", type=kind, guest=guest, user=user, started_ms=1, ended_ms=2, seen_ms=seen_ms, closed_ms=closed_ms
    )


def told(versions, *tasks, names=None):
    before = {(one.cluster, one.kind, one.key, one.to_ms): one for one in versions}
    found = changes_of(versions, before, Culprits(tasks), start_ms=60_000, names=names)
    return [(one.change, one.kind, one.field, one.before, one.after, one.by, one.task) for one in found]


def became(kind="guest", **fields):
    first = version(kind, body=GUEST, from_ms=1000, to_ms=120_000, after_ms=0)
    return [first, version(kind, body=GUEST | fields)]


def test_a_field_that_became_another_with_who_did_it():
    assert told(became(status="running"), task("qmstart")) == [("changed", "guest", "status", "stopped", "running", "anna@pve", "qmstart")]
    assert told(became(status="running")) == [("changed", "guest", "status", "stopped", "running", None, None)]


def test_only_a_task_that_does_such_a_thing_counts():
    tasks = [task("qmsnapshot", "bob@pve"), task("vncproxy", "eve@pve"), task("qmstart", "joe@pve", guest=102)]
    assert told(became(status="running"), *tasks)[0][5] is None
    assert told(became(node="pve2"), task("qmigrate"), *tasks)[0][5:] == ("anna@pve", "qmigrate")


def test_a_task_of_another_time_is_not_blamed():
    assert told(became(status="running"), task("qmstart", seen_ms=10_000, closed_ms=20_000))[0][5] is None
    assert told(became(status="running"), task("qmstart", seen_ms=130_000, closed_ms=140_000))[0][5] is None
    assert told(became(status="running"), task("qmstart", seen_ms=10_000, closed_ms=0))[0][5] == "anna@pve"


def test_who_asked_high_availability_counts_more_than_what_it_then_did():
    tasks = [task("hastart", "anna@pve", 95_000), task("qmstart", "root@pam", 105_000)]
    assert told(became(status="running"), *tasks)[0][5:] == ("anna@pve", "hastart")


def test_what_was_there_at_the_first_look_is_no_change():
    assert told([version(body=GUEST, after_ms=0)]) == []
    assert told([version(body=GUEST)], task("qmcreate")) == [("added", "guest", "", None, None, "anna@pve", "qmcreate")]


def test_a_guest_that_went_takes_its_details_with_it_in_one_change():
    rows = [version(kind, body=body, from_ms=1000, to_ms=120_000, after_ms=0) for kind, body in (("guest", GUEST), ("config", {"a": 1}))]
    assert told(rows, task("qmdestroy")) == [("gone", "guest", "", None, None, "anna@pve", "qmdestroy")]


def test_details_are_told_by_field_with_the_name_of_their_guest():
    rows = [version("config", body={"cores": 2, "a": 1}, from_ms=1000, to_ms=120_000), version("config", body={"cores": 4, "b": True})]
    assert told(rows, task("qmconfig")) == [
        ("gone", "config", "a", "1", None, "anna@pve", "qmconfig"),
        ("added", "config", "b", None, "yes", "anna@pve", "qmconfig"),
        ("changed", "config", "cores", "2", "4", "anna@pve", "qmconfig"),
    ]
    before = {(one.cluster, one.kind, one.key, one.to_ms): one for one in rows}
    found = changes_of(rows, before, Culprits([]), start_ms=60_000, names={("one", "101"): ("web", "pve1")})
    assert {(one.name, one.node, one.vmid) for one in found} == {("web", "pve1", 101)}


def test_snapshots_archives_and_disks_come_and_go():
    snap = {"name": "first", "description": "", "created_s": 1, "with_memory": False, "parent": None}
    rows = [version("snapshots", body=[], from_ms=1000, to_ms=120_000), version("snapshots", body=[snap])]
    assert told(rows, task("qmsnapshot")) == [("added", "snapshots", "first", None, "there", "anna@pve", "qmsnapshot")]
    archive = version("backups", "pve1/local|local:backup/x", {"vmid": 101})
    assert told([archive], task("vzdump")) == [("added", "backups", "", None, None, "anna@pve", "vzdump")]
    old, new = ([{"devpath": "/dev/sda", "health": state}] for state in ("PASSED", "FAILED"))
    rows = [version("disks", "pve1", old, from_ms=1000, to_ms=120_000), version("disks", "pve1", new)]
    assert told(rows) == [("changed", "disks", "/dev/sda health", "PASSED", "FAILED", None, None)]
