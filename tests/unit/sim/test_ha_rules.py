"""Rules of high availability: what they refuse, and what the manager moves because of them."""

import pytest

RULES = "/cluster/ha/rules"


@pytest.fixture
def managed(make_lab):
    """A lab with three managed virtual machines; their ids."""
    lab = make_lab(ha_guests=3)
    return lab, [row["sid"] for row in lab.data("GET", "/cluster/ha/resources")]


def node_of(lab, sid):
    return lab.cluster.guests[int(sid.split(":")[1])].node


def test_a_node_rule_moves_a_guest_and_shows_up(managed):
    lab, (sid, *_) = managed
    target = next(name for name in lab.cluster.nodes if name != node_of(lab, sid))
    lab.data("POST", RULES, rule="here", type="node-affinity", resources=sid, nodes=f"{target}:5", comment="near the disks")
    row = lab.data("GET", f"{RULES}/here")
    assert (row["type"], row["nodes"], row["resources"], row["comment"]) == ("node-affinity", f"{target}:5", sid, "near the disks")
    assert [one["rule"] for one in lab.data("GET", RULES, resource=sid)] == ["here"]
    assert lab.data("GET", RULES, type="resource-affinity") == []
    lab.wait(120)
    assert node_of(lab, sid) == target
    assert lab.ask("POST", RULES, rule="here", type="node-affinity", resources=sid, nodes="pve1").reason.endswith("'here' already defined")
    lab.data("DELETE", f"{RULES}/here")
    assert lab.data("GET", RULES) == []


def test_guests_that_must_be_apart_part_and_a_move_together_is_barred(managed):
    lab, (first, second, _) = managed
    for sid in (first, second):
        lab.cluster.guests[int(sid.split(":")[1])].node = "pve1"
    lab.data("POST", RULES, rule="apart", type="resource-affinity", affinity="negative", resources=f"{first},{second}")
    lab.wait(120)
    assert node_of(lab, first) != node_of(lab, second)
    answer = lab.data("POST", f"/cluster/ha/resources/{first}/migrate", node=node_of(lab, second))
    assert answer["blocking-resources"] == [{"sid": second, "cause": "resource-affinity"}]
    before = node_of(lab, first)
    lab.wait(120)
    assert node_of(lab, first) == before


def test_guests_that_belong_together_move_together(managed):
    lab, (first, second, third) = managed
    lab.data("POST", RULES, rule="pair", type="resource-affinity", affinity="positive", resources=f"{second},{third}")
    lab.wait(120)
    assert node_of(lab, second) == node_of(lab, third)
    target = next(name for name in lab.cluster.nodes if name != node_of(lab, second))
    assert lab.data("POST", f"/cluster/ha/resources/{second}/migrate", node=target)["comigrated-resources"] == [third]
    lab.wait(120)
    assert (node_of(lab, second), node_of(lab, third)) == (target, target)
    odd = lab.ask("POST", RULES, rule="odd", type="resource-affinity", affinity="negative", resources=f"{second},{third}")
    assert odd.reason == "create ha rule failed: 400 Rule 'odd' is invalid."
    assert first not in lab.data("GET", f"{RULES}/pair")["resources"]


def test_rules_are_refused_for_what_is_not_there(managed):
    lab, (sid, *_) = managed
    for text, given in {
        "create ha rule failed: cannot use unmanaged resource(s) vm:999.": {"resources": "vm:999", "nodes": "pve1"},
        "create ha rule failed: cannot use non-existent node(s) pve9.": {"resources": sid, "nodes": "pve9"},
        "missing value for required option 'nodes'": {"resources": sid},
    }.items():
        assert lab.ask("POST", RULES, rule="r1", type="node-affinity", **given).reason == text
    lab.data("POST", RULES, rule="r1", type="node-affinity", resources=sid, nodes="pve1")
    lab.data("PUT", f"{RULES}/r1", type="node-affinity", nodes="pve2", strict=1)
    assert lab.data("GET", f"{RULES}/r1")["strict"] == 1
    assert lab.ask("PUT", f"{RULES}/r1", type="node-affinity", nodes="pve1", digest="0" * 40).status == 500
    assert lab.ask("GET", f"{RULES}/nope").reason == "no such ha rule 'nope'"


def test_disarmed_means_hands_off(managed):
    lab, (sid, *_) = managed
    lab.data("POST", "/cluster/ha/status/disarm-ha", **{"resource-mode": "freeze"})
    assert {row.get("armed-state") for row in lab.data("GET", "/cluster/ha/status/current")} == {None, "disarmed"}
    target = next(name for name in lab.cluster.nodes if name != node_of(lab, sid))
    before = node_of(lab, sid)
    lab.data("POST", RULES, rule="here", type="node-affinity", resources=sid, nodes=target)
    lab.wait(120)
    assert node_of(lab, sid) == before
    lab.data("POST", "/cluster/ha/status/arm-ha")
    assert "armed" in {row.get("armed-state") for row in lab.data("GET", "/cluster/ha/status/current")}
    lab.wait(120)
    assert node_of(lab, sid) == target


def test_replication_jobs(lab):
    assert lab.ask("POST", "/cluster/replication", id="999-0", target="pve2", type="local").reason == "Guest '999' does not exist."
    assert lab.ask("POST", "/cluster/replication", id="101-0", target="pve9", type="local").reason == "Target 'pve9' does not exist."
    lab.data("POST", "/cluster/replication", id="101-0", target="pve2", type="local", schedule="*/30")
    assert lab.data("GET", "/cluster/replication")[0]["source"] == "pve1"
    lab.data("POST", "/nodes/pve1/replication/101-0/schedule_now")
    lab.wait(15)
    status = lab.data("GET", "/nodes/pve1/replication/101-0/status")
    assert (status["fail_count"], status["last_sync"]) == (1, 0)
    assert "missing replicate feature" in lab.data("GET", "/nodes/pve1/replication/101-0/log")[-1]["t"]
    lab.data("DELETE", "/cluster/replication/101-0")
    assert lab.data("GET", "/cluster/replication/101-0")["remove_job"] == "full"
    lab.wait(15)
    assert lab.data("GET", "/cluster/replication") == []
