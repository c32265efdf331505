"""Adding, planning, ending; the truth about it; bad input; the same seed gives the same."""

import pytest

from pveops.base.errors import ConfigError, InputError
from pveops.sim.faults import scenario
from pveops.sim.faults.kinds import KINDS, described


def test_the_truth_names_component_cause_start_and_repair(ill):
    ill.lab.wait(100)
    entry = ill.add("node-down", node="pve2")
    (row,) = ill.faults.rows()
    assert row["component"] == "node/pve2"
    assert row["cause"]
    assert row["repair"]
    assert row["start_s"] == ill.lab.cluster.now_s
    assert row["end_s"] is None
    ill.lab.data("POST", "/nodes/pve2/wakeonlan")
    ill.lab.wait(200)
    (row,) = ill.faults.rows()
    assert row["state"] == "repaired"
    assert entry.start_s < row["end_s"] < entry.start_s + 120, "when it was put right, not when somebody looked"


def test_a_planned_fault_begins_at_its_moment_and_ends_by_itself(ill):
    entry = ill.faults.add("storage-offline", {"storage": "pbs-01"}, in_s=600, lasts_s=300)
    storage = ill.lab.cluster.storages["pbs-01"]
    assert (ill.state(entry), storage.down) == ("planned", False)
    ill.lab.wait(601)
    assert (ill.state(entry), storage.down) == ("active", True)
    ill.lab.wait(300)
    assert (ill.state(entry), storage.down) == ("expired", False)
    assert (entry.start_s, entry.end_s) == (entry.planned_s, entry.planned_s + 300)


def test_a_planned_fault_whose_victim_is_gone_is_void(ill):
    guest = next(guest for guest in ill.lab.cluster.guests.values() if guest.running)
    entry = ill.faults.add("memory-leak", {"vmid": guest.vmid}, in_s=60)
    ill.lab.run("POST", f"/nodes/{guest.node}/{guest.kind}/{guest.vmid}/status/stop")
    ill.lab.wait(60)
    (row,) = ill.faults.rows()
    assert row["state"] == "void"
    assert str(guest.vmid) in row["reason"]
    assert ill.state(entry) == "void"


def test_a_planned_fault_can_be_called_off(ill):
    entry = ill.faults.add("node-down", {"node": "pve2"}, in_s=60)
    ill.faults.clear(entry.ident)
    ill.lab.wait(120)
    assert ill.lab.cluster.nodes["pve2"].powered


@pytest.mark.slow
def test_clearing_everything_leaves_a_healthy_cluster(make_ill):
    ill = make_ill(guests=40)
    gone = ("quorum-lost", "node-down", "tickets-expired")
    ill.add("storage-offline", storage="ceph-vm")
    for kind in sorted(set(KINDS) - {*gone, "storage-offline", "storage-hanging"}):
        ill.add(kind)
    ill.add("storage-hanging", storage="local")
    assert len(ill.faults.rows()) == len(KINDS) - len(gone)
    ill.lab.wait(30)
    ill.faults.clear_all()
    assert {row["state"] for row in ill.faults.rows()} <= {"cleared", "repaired"}
    ill.lab.wait(60)
    assert ill.faults.over("GET", "/nodes/pve1/storage/local/content") is None
    assert {row["status"] for row in ill.resources("node")} == {"online"}
    assert {row["status"] for row in ill.resources("storage")} == {"available"}
    assert not [row for row in ill.resources("vm") if row["status"] == "unknown" or "lock" in row]
    assert {ill.lab.data("GET", f"/nodes/{name}/time")["time"] for name in ill.lab.cluster.nodes} == {int(ill.lab.cluster.now_s)}


def test_every_kind_is_described_whole():
    for row in described():
        assert all(row[key] for key in ("kind", "doc", "cause", "sees", "repair")), row
        assert row["by"] in ("api", "hand")
        for parameter in row["parameters"]:
            assert parameter["doc"], parameter
            assert parameter["allowed"], parameter
            assert isinstance(parameter["default"], str) or parameter["unit"], f"{row['kind']}: {parameter['name']} has no unit"


@pytest.mark.slow
def test_the_same_seed_chooses_the_same_victims(make_ill):
    def chosen():
        return [make_ill(guests=40).add(kind).row()["component"] for kind in sorted(KINDS)]

    one = chosen()
    assert one == chosen()
    assert len(set(one)) > 8


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("meteor", {}, "There is no fault 'meteor'"),
        ("node-down", {"nod": "pve2"}, "no parameter 'nod'"),
        ("node-down", {"node": "pve9"}, "'pve9', which is no node that is up"),
        ("memory-leak", {"vmid": "102"}, "102"),
        ("memory-leak", {"mib_per_hour": "much"}, "mib_per_hour of memory-leak is 'much'"),
        ("memory-leak", {"mib_per_hour": "-4"}, "is -4"),
        ("memory-leak", {"mib_per_hour": "nan"}, "is nan"),
        ("backup-warnings", {"warnings": "1.5"}, "'1.5'"),
        ("quorum-lost", {"how": "magic"}, "'magic'"),
        ("api-errors", {"status": "418"}, "'418'"),
        ("storage-full", {"used_fraction": 1.5}, "1.5"),
        ("failing-disk", {"node": "pve1", "disk": "/dev/sdz"}, "/dev/sdz"),
        ("slow-api", {"path": "("}, "path of slow-api"),
        ("zvol-devices", {"storage": "a b"}, "storage of zvol-devices"),
        ("template-elsewhere", {"storage": "pbs-01"}, "storage of template-elsewhere"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(ill, kind, given, says):
    with pytest.raises(InputError) as caught:
        ill.add(kind, **given)
    assert says in caught.value.message
    assert caught.value.hint
    assert ill.faults.rows() == []


def test_clearing_what_is_not_there(ill):
    entry = ill.add("wrong-dns")
    with pytest.raises(InputError, match="There is no fault 'x'") as caught:
        ill.faults.clear("x")
    assert entry.ident in caught.value.hint
    ill.faults.clear(entry.ident)
    with pytest.raises(InputError, match="is over"):
        ill.faults.clear(entry.ident)


def test_a_scenario_is_played_by_the_clock(ill, tmp_path):
    file = tmp_path / "night.toml"
    file.write_text(
        'name = "A bad night"\n[[fault]]\nkind = "wrong-dns"\nnode = "pve3"\n'
        '[[fault]]\nkind = "node-down"\nat = "10min"\nfor = "1h"\nnode = "pve2"\n',
        encoding="utf-8",
    )
    entries = ill.faults.play(scenario.read(file))
    assert [entry.state for entry in entries] == ["active", "planned"]
    ill.lab.wait(700)
    assert not ill.lab.cluster.nodes["pve2"].online
    ill.lab.wait(3800)
    assert ill.lab.cluster.nodes["pve2"].online
    assert [row["state"] for row in ill.faults.rows()] == ["active", "expired"]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("[[fault", ConfigError, "is no TOML"),
        ("", InputError, "has no [[fault]] table"),
        ("[[faults]]\nkind = 'node-down'", InputError, "unknown key 'faults'"),
        ("[[fault]]\nat = 5", InputError, "fault 1 has no kind"),
        ("[[fault]]\nkind = 'node-down'\nat = 'soon'", InputError, "fault 1 (node-down): 'soon' is no span of time"),
        ("[[fault]]\nkind = 'node-down'\nfor = true", InputError, "True is no span of time"),
    ],
)
def test_a_malformed_scenario_is_refused_with_its_place(tmp_path, text, error, says):
    file = tmp_path / "s.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(error) as caught:
        scenario.read(file)
    assert says in caught.value.message
    assert caught.value.hint


def test_a_scenario_with_one_impossible_step_does_nothing(ill):
    steps = scenario.parse({"fault": [{"kind": "wrong-dns"}, {"kind": "node-down", "node": "pve77"}]}, "s")
    with pytest.raises(InputError, match="pve77"):
        ill.faults.play(steps)
    assert ill.faults.rows() == []


def test_a_scenario_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read the scenario"):
        scenario.read(tmp_path / "none.toml")
