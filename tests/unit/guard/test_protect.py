import pytest

from pveops.base.errors import Unreachable
from pveops.guard.protect import extra_subjects, going_down, protect, reach
from pveops.model.facts import Facts
from pveops.model.plan import WireCall
from pveops.model.proposal import Tier
from pveops.model.resources import Backup
from pveops.testing import build
from pveops.testing.fake import FakeCluster


def node_plan(*nodes, path="status", method="POST"):
    steps = [
        build.step(key=f"s{number}", subject=f"node/{node}", call=WireCall(method=method, path=f"/nodes/{node}/{path}"), assumes=())
        for number, node in enumerate(nodes, start=1)
    ]
    return build.plan(*steps)


def delete_plan(*volumes):
    steps = [
        build.step(
            key=f"s{number}", subject="storage/pve1/local", call=WireCall(method="DELETE", path=f"/nodes/pve1/storage/local/content/{volume}"), assumes=()
        )
        for number, volume in enumerate(volumes, start=1)
    ]  # fmt: skip
    return build.plan(*steps)


def look(plan, cluster=None, **more):
    cluster = cluster or FakeCluster()
    given = {"own_guests": (), "own_nodes": (), **more}
    facts = cluster.facts((*plan.subjects, *extra_subjects(plan, given["own_guests"])))
    return protect(plan, facts, cluster, **given)


def test_an_ordinary_plan_is_nobodys_concern():
    assert look(build.plan()) is None
    assert extra_subjects(build.plan(), (101,)) == ("cluster",)


def test_a_node_that_pveops_runs_on_is_not_taken_down():
    assert "pveops itself runs on node pve1" in look(node_plan("pve1"), own_nodes=("pve1",)).why
    assert look(node_plan("pve1"), own_guests=(101,)).tier is Tier.BLACK
    assert look(node_plan("pve2"), own_guests=(101,)) is None
    assert look(node_plan("pve1", path="wakeonlan"), own_nodes=("pve1",)) is None


def test_the_last_vote_is_never_taken():
    three = FakeCluster()
    assert look(node_plan("pve1"), three) is None
    assert "1 of 3 nodes are left, and quorum takes 2" in look(node_plan("pve1", "pve2"), three).why
    three.nodes_status["pve3"] = "offline"
    assert look(node_plan("pve1"), three).tier is Tier.BLACK
    assert look(node_plan("pve3"), three) is None
    assert look(node_plan("pve1", path="services/corosync/stop"), three).tier is Tier.BLACK
    assert look(node_plan("pve1", path="services/pveproxy/restart"), three) is None


def test_nodes_that_another_run_takes_down_count_as_gone():
    assert look(node_plan("pve1"), falling=("pve2",)).tier is Tier.BLACK
    assert going_down(node_plan("pve1", "pve2", "pve3")) == ("pve1", "pve2", "pve3")


def test_votes_that_cannot_be_read_are_not_taken():
    plan = node_plan("pve1")
    facts = Facts(values={}, read_at=build.NOW)
    assert "could not be read" in protect(plan, facts, FakeCluster(), own_guests=(), own_nodes=()).why


def backup(name, vmid=101, *, kind="qemu", verified=None, size=1 << 30, storage="local"):
    return Backup(
        volid=f"{storage}:backup/{name}", storage=storage, vmid=vmid, kind=kind, created=build.NOW, size_bytes=size, verified=verified
    )


A, B = "local:backup/a.vma.zst", "backup/b.vma.zst"


def test_the_last_good_backup_is_never_deleted():
    cluster = FakeCluster(backup_rows=[backup("a.vma.zst"), backup("b.vma.zst"), backup("c.vma.zst", vmid=102)])
    assert look(delete_plan(A), cluster) is None
    assert look(delete_plan(A, B), cluster).why == "local:backup/a.vma.zst is the last good backup of guest 101"


@pytest.mark.parametrize("other", [backup("b.vma.zst", verified="failed"), backup("b.vma.zst", size=0), backup("b.vma.zst", kind="lxc")])
def test_a_bad_copy_is_no_copy(other):
    assert look(delete_plan(A), FakeCluster(backup_rows=[backup("a.vma.zst"), other])).tier is Tier.BLACK


def test_a_bad_copy_may_go_and_so_may_what_is_no_backup():
    assert look(delete_plan(A), FakeCluster(backup_rows=[backup("a.vma.zst", verified="failed")])) is None
    assert look(delete_plan("local:iso/debian.iso"), FakeCluster()) is None


def test_backups_that_cannot_be_read_are_not_deleted():
    assert "not among" in look(delete_plan(A), FakeCluster()).why
    assert "not among" in look(delete_plan(A), FakeCluster(backup_rows=[backup("a.vma.zst", vmid=None)])).why
    assert "could not be read" in look(delete_plan(A), FakeCluster(broken={"backups": Unreachable("silent")})).why


def tag_plan(tags, path="config"):
    params = (("tags", tags),) if tags is not None else ()
    return build.plan(build.step(call=WireCall(method="PUT", path=f"/nodes/pve1/qemu/101/{path}", params=params), assumes=()))


def test_taking_a_guard_tag_off_is_red():
    cluster = FakeCluster()
    cluster.guests[101]["tags"] = ("prod", "pveops-critical")
    assert look(tag_plan("prod"), cluster).tier is Tier.RED
    assert look(tag_plan("prod;pveops-critical;x"), cluster) is None
    assert look(tag_plan(None), cluster) is None
    cluster.guests[101]["tags"] = None
    assert look(tag_plan("x"), cluster) is None


def test_a_node_reaches_all_its_guests():
    cluster = FakeCluster()
    plan = node_plan("pve1")
    assert reach(plan, cluster.facts(plan.subjects)) == 4
    assert reach(plan, Facts(values={}, read_at=build.NOW)) == 1
    calm = node_plan("pve1", path="wakeonlan")
    assert reach(calm, cluster.facts(calm.subjects)) == 1


def test_dropping_all_tags_drops_those_that_guard(guarded):
    cluster = FakeCluster()
    cluster.guests[101]["tags"] = ("pveops-frozen", "web")
    for params, tier in (
        ((("delete", "tags"),), Tier.RED),
        ((("delete", "description;tags"),), Tier.RED),
        ((("delete", "description"),), None),
    ):
        call = WireCall(method="PUT", path="/nodes/pve1/qemu/101/config", params=params)
        found = look(build.plan(build.step(call=call, undo=None)), cluster)
        assert (found and found.tier) == tier
