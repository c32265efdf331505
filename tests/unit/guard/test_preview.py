from dataclasses import replace

import pytest

from pveops.base.errors import ApiError, Forbidden, NodeUnreachable, NotAnswered
from pveops.guard.preview import preview
from pveops.model.plan import Need
from pveops.model.resources import Answer, Node
from pveops.testing import build
from pveops.testing.fake import FakeCluster


def look(cluster, *needs, **changes):
    return preview(build.plan(build.step(needs=(Need(kind="quorum"), *needs), **changes)), cluster, clock=cluster.clock, by="reader")


def by_name(seen, name):
    return next(check for check in seen.checks if check.name.startswith(name))


MEMORY = Need(kind="memory", target="pve2", amount_bytes=4 << 30)
MIGRATE = Need(kind="migrate", subject="guest/101", target="pve2")
SNAPSHOT = Need(kind="snapshot", subject="guest/101")


def test_all_is_well():
    seen = look(FakeCluster(), MEMORY, MIGRATE, SNAPSHOT)
    assert seen.ok
    assert {check.result for check in seen.checks} == {"ok"}
    assert by_name(seen, "guest/101").text == "guest 101 is as planned: configuration unchanged, not locked, on pve1, running"
    assert seen.by == "reader"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("status", "stopped", "status is stopped"), ("lock", "backup", "lock is backup"), ("digest", "b" * 40, "digest")],
)
def test_what_is_not_as_assumed_fails_by_name(field, value, said):
    cluster = FakeCluster()
    cluster.guests[101][field] = value
    seen = look(cluster)
    assert not seen.ok
    assert said in seen.failed[0].text


def test_a_guest_that_is_gone_fails():
    cluster = FakeCluster()
    del cluster.guests[101]
    assert "does not exist" in look(cluster).failed[0].text


def test_quorum():
    cluster = FakeCluster(quorate=False)
    assert "no quorum" in look(cluster).failed[0].text


@pytest.mark.parametrize(
    ("need", "rows", "result", "said"),
    [
        (MEMORY, [Node(name="pve2", status="online", mem_bytes=46 << 30, maxmem_bytes=48 << 30)], "fail", "2\u00a0GiB free for 4\u00a0GiB"),
        (MEMORY, [Node(name="pve2", status="online", mem_bytes=43 << 30, maxmem_bytes=48 << 30)], "warn", "nearly full"),
        (MEMORY, [Node(name="pve2", status="online")], "unknown", "not readable"),
        (MEMORY, [Node(name="pve2", status="offline")], "fail", "offline"),
        (MEMORY, [], "fail", "no node called pve2"),
    ],
)
def test_memory_on_the_target(need, rows, result, said):
    cluster = FakeCluster()
    check = by_name(preview(build.plan(build.step(needs=(need,))), Wrapped(cluster, rows), clock=cluster.clock, by="reader"), "memory")
    assert check.result == result
    assert said in check.text


class Wrapped:
    """The fake with other nodes."""

    def __init__(self, cluster, rows):
        self._cluster, self._rows = cluster, rows

    def nodes(self):
        return Answer(rows=tuple(self._rows), read_at=self._cluster.clock.now(), source="t")

    def __getattr__(self, name):
        return getattr(self._cluster, name)


def test_the_memory_of_all_guests_together_must_fit():
    cluster = FakeCluster()
    steps = [
        build.step(vmid, f"s{vmid}", needs=(Need(kind="memory", target="pve2", amount_bytes=size << 30),))
        for vmid, size in ((101, 20), (102, 21))
    ]
    seen = preview(build.plan(*steps), cluster, clock=cluster.clock, by="reader")
    assert not seen.ok
    assert "41\u00a0GiB" in seen.failed[0].text


@pytest.mark.parametrize(
    ("said", "result", "text"),
    [
        ({"not_allowed_nodes": {"pve2": {"unavailable_storages": ["local-zfs"]}}}, "fail", "unavailable_storages"),
        ({"local_resources": ["hostpci0"]}, "fail", "hostpci0"),
        ({"allowed_nodes": ["pve3"], "running": 0}, "fail", "not among"),
        ({"local_disks": [{"volid": "local-lvm:vm-101-disk-0"}]}, "warn", "1 local disks"),
        ({}, "ok", "can move"),
    ],
)
def test_migration_asks_the_cluster(said, result, text):
    cluster = FakeCluster()

    class Asked(Wrapped):
        def migrate_preconditions(self, ref, target):
            return said

    check = by_name(preview(build.plan(build.step(needs=(MIGRATE,))), Asked(cluster, []), clock=cluster.clock, by="reader"), "migrate")
    assert check.result == result
    assert text in check.text


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (Forbidden("no right", hint="Grant VM.Migrate.", details={"status": 403}), "unknown"),
        (NotAnswered("no", details={"status": 501}), "unknown"),
        (ApiError("bad", details={"status": 500, "reason": "cannot migrate"}), "fail"),
    ],
)
def test_what_the_cluster_does_not_tell_is_not_known(error, result):
    cluster = FakeCluster(broken={"migrate_preconditions": error})
    assert by_name(look(cluster, MIGRATE), "migrate").result == result


def test_snapshots():
    assert by_name(look(FakeCluster(broken={"can_snapshot": NodeUnreachable("gone")}), SNAPSHOT), "snapshot").result == "unknown"

    class No(Wrapped):
        def can_snapshot(self, ref):
            return False

    cluster = FakeCluster()
    seen = preview(build.plan(build.step(needs=(SNAPSHOT,))), No(cluster, []), clock=cluster.clock, by="reader")
    assert "takes no snapshots" in seen.failed[0].text


def test_a_need_about_a_guest_that_the_plan_does_not_touch_is_not_known():
    cluster = FakeCluster()
    for kind in ("migrate", "snapshot"):
        assert by_name(look(cluster, Need(kind=kind, subject="guest/999", target="pve2")), kind).result == "unknown"


def test_a_quorum_that_cannot_be_read_is_unknown():
    cluster = FakeCluster()
    real = cluster.facts

    class Blind(FakeCluster):
        def facts(self, subjects, **more):
            found = real(subjects)
            values = {key: value for key, value in found.values.items() if key != "cluster.quorate"}
            return replace(found, values=values, unknown={"cluster.quorate": "needs Sys.Audit on /"})

    seen = look(Blind())
    assert (by_name(seen, "quorum").result, seen.ok) == ("unknown", True)
    assert "needs Sys.Audit" in by_name(seen, "quorum").text
