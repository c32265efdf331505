import json
import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.guard.tiers import TABLE, rate_call, rate_plan, subject_of
from pveops.model.plan import WireCall
from pveops.model.proposal import Tier
from pveops.testing import build

G = "/nodes/pve1/qemu/101"


def call(method, path, **params):
    return WireCall(method=method, path=path, params=tuple((key.replace("_", "-"), value) for key, value in params.items()))


@pytest.mark.parametrize(
    ("wire", "tier"),
    [
        (call("POST", f"{G}/status/start"), Tier.YELLOW),
        (call("POST", f"{G}/status/shutdown", timeout=60), Tier.YELLOW),
        (call("POST", f"{G}/status/shutdown", forceStop=0), Tier.YELLOW),
        (call("POST", f"{G}/status/shutdown", forceStop=1), Tier.RED),
        (call("POST", "/nodes/pve1/lxc/101/status/reboot"), Tier.YELLOW),
        (call("POST", f"{G}/snapshot", snapname="x", vmstate=1), Tier.YELLOW),
        (call("DELETE", f"{G}/snapshot/before"), Tier.RED),
        (call("DELETE", f"{G}/snapshot/before", force=1), Tier.BLACK),
        (call("POST", f"{G}/migrate", target="pve2", with_local_disks=1), Tier.YELLOW),
        (call("POST", f"{G}/migrate", target="pve2", force=1), Tier.BLACK),
        (call("POST", f"{G}/status/start", skiplock=1), Tier.BLACK),
        (call("POST", f"{G}/status/stop"), Tier.RED),
        (call("DELETE", G), Tier.RED),
        (call("PUT", f"{G}/status/start"), Tier.BLACK),
        (call("POST", "/nodes/pve1/qemu/101/../../../pve2/qemu/5/status/start"), Tier.BLACK),
        (call("POST", f"{G}/status/start/"), Tier.BLACK),
        (call("POST", f"{G}/status/start\n"), Tier.BLACK),
        (call("POST", "/nodes/pve1/qemu/001/status/start"), Tier.BLACK),
    ],
)
def test_the_tier_of_a_call(wire, tier):
    rating = rate_call(wire)
    assert rating.tier is tier
    assert rating.why


@given(st.sampled_from(["POST", "PUT", "DELETE"]), st.text(max_size=60))
def test_what_is_not_in_the_table_is_black(method, path):
    wire = WireCall(method=method, path=path)
    known = any(rule.match(wire) for rule in TABLE)
    assert known or rate_call(wire).tier is Tier.BLACK


def test_many_targets_raise_a_plan_and_nothing_lowers_it():
    plan = build.plan(*(build.step(100 + n, f"s{n}") for n in range(1, 11)))
    assert rate_plan(plan, bulk_targets=11).tier is Tier.YELLOW
    assert rate_plan(plan, bulk_targets=10).tier is Tier.RED
    assert "10 targets" in rate_plan(plan, bulk_targets=10).why


@given(st.lists(st.integers(101, 120), min_size=1, max_size=12, unique=True), st.integers(2, 12))
def test_adding_a_step_never_lowers_the_tier(vmids, bulk):
    steps = [build.step(vmid, f"s{index}") for index, vmid in enumerate(vmids)]
    before = Tier.GREEN
    for count in range(1, len(steps) + 1):
        now = rate_plan(build.plan(*steps[:count]), bulk_targets=bulk).tier
        assert now.rank >= before.rank
        before = now


def test_our_own_guest_an_empty_plan_and_a_step_that_lies_are_never_done():
    assert rate_plan(build.plan(), bulk_targets=10, own_guests=(101,)).tier is Tier.BLACK
    assert rate_plan(build.plan(steps=()), bulk_targets=10).tier is Tier.BLACK
    lie = build.step(101, call=WireCall(method="POST", path="/nodes/pve1/qemu/102/status/start"))
    assert "calls" in rate_plan(build.plan(lie), bulk_targets=10).why
    assert rate_plan(build.plan(lie), bulk_targets=10).tier is Tier.BLACK


def changes_of_the_api():
    """Every method that changes something, from the schema that the simulated cluster is built on: the guard has its own list, and both must agree."""
    import zlib

    packed = resources.files("pveops.sim").joinpath("data", "schema-9.2.json.z").read_bytes()
    paths = json.loads(zlib.decompress(packed))["paths"]
    return {f"{method} {path}": facts for path, methods in paths.items() for method, facts in methods.items() if method != "GET"}


def test_every_change_of_the_api_has_a_tier_and_no_row_is_dead():
    changes = changes_of_the_api()
    names = [rule.name for rule in TABLE]
    assert len(changes) == 335
    assert sorted(names) == sorted(changes)
    assert all(rule.does and rule.tier is not Tier.GREEN for rule in TABLE)


def test_what_the_table_says_of_parameters_is_what_the_api_knows():
    changes = changes_of_the_api()
    for rule in TABLE:
        known = set(changes[rule.name].get("parameters", {}).get("properties", {})) - set(re.findall(r"{([^}]+)}", rule.template))
        assert rule.knows == known, rule.name
    said = {name for rule in TABLE for name in (rule.takes or ())} | {name for rule in TABLE for name in rule.raises}
    assert said <= {name for rule in TABLE for name in rule.knows}


def test_what_is_reversible_says_what_it_takes():
    """A YELLOW row without a list would let every parameter of a later version through."""
    assert [rule.name for rule in TABLE if rule.tier is Tier.YELLOW and rule.takes is None] == []


@pytest.mark.parametrize(
    ("wire", "tier"),
    [
        (call("PUT", f"{G}/config", tags="a;b", cores=4), Tier.YELLOW),
        (call("PUT", f"{G}/config", net0="virtio,bridge=vmbr0"), Tier.RED),
        (call("PUT", f"{G}/config", delete="net1"), Tier.RED),
        (call("PUT", f"{G}/config", delete="description,tags"), Tier.YELLOW),
        (call("PUT", f"{G}/config", delete="description,scsi0"), Tier.RED),
        (call("PUT", f"{G}/config", delete="protection"), Tier.RED),
        (call("PUT", f"{G}/config", delete="lock"), Tier.BLACK),
        (call("PUT", f"{G}/config", delete="description nosuch"), Tier.BLACK),
        (call("PUT", "/nodes/pve1/lxc/101/config", delete="description"), Tier.YELLOW),
        (call("PUT", "/nodes/pve1/config", delete="description"), Tier.RED),
        (call("PUT", f"{G}/config", cores=4, memory=2048, onboot=1, digest="a" * 40), Tier.YELLOW),
        (call("PUT", f"{G}/config", protection=0), Tier.RED),
        (call("PUT", f"{G}/config", args="-device x"), Tier.BLACK),
        (call("PUT", f"{G}/config", cipassword="x"), Tier.BLACK),
        (call("PUT", f"{G}/config", nosuch=1), Tier.BLACK),
        (call("POST", "/nodes/pve1/vzdump", vmid="101", storage="pbs", mode="snapshot"), Tier.YELLOW),
        (call("POST", "/nodes/pve1/vzdump", vmid="101", mode="stop"), Tier.RED),
        (call("POST", "/nodes/pve1/vzdump", all=1), Tier.BLACK),
        (call("POST", "/nodes/pve1/stopall"), Tier.BLACK),
        (call("POST", "/cluster/bulk-action/guest/shutdown"), Tier.BLACK),
        (call("POST", "/nodes/pve1/status", command="reboot"), Tier.RED),
        (call("DELETE", "/nodes/pve1/storage/local/content/local:backup/vzdump-qemu-101.vma.zst"), Tier.RED),
        (call("DELETE", "/nodes/pve1/storage/local/content/local:backup/../x"), Tier.BLACK),
        (call("PUT", "/access/acl"), Tier.BLACK),
    ],
)
def test_the_tier_of_more_calls(wire, tier):
    assert rate_call(wire).tier is tier


@pytest.mark.parametrize(
    ("wire", "subject"),
    [
        (call("POST", f"{G}/clone", newid=200), "guest/101"),
        (call("DELETE", "/nodes/pve1/lxc/102"), "guest/102"),
        (call("POST", "/nodes/pve1/qemu", vmid=300), "guest/300"),
        (call("POST", "/nodes/pve1/vzdump", vmid="101"), "guest/101"),
        (call("POST", "/nodes/pve1/vzdump", vmid="101,102"), ""),
        (call("POST", "/nodes/pve1/vzdump", all=1), ""),
        (call("POST", "/cluster/ha/resources", sid="vm:101"), "guest/101"),
        (call("PUT", "/cluster/ha/resources/ct:102", max_restart=1), "guest/102"),
        (call("POST", "/cluster/replication", id="101-0"), "guest/101"),
        (call("POST", "/nodes/pve1/replication/101-0/schedule_now"), "guest/101"),
        (call("DELETE", "/nodes/pve1/storage/local/content/x"), "storage/pve1/local"),
        (call("POST", "/nodes/pve1/status", command="reboot"), "node/pve1"),
        (call("PUT", "/cluster/options"), "cluster"),
    ],
)
def test_what_a_call_acts_on(wire, subject):
    assert subject_of(wire) == subject


def test_what_a_plan_reaches_without_naming_it_counts():
    one = build.plan()
    assert rate_plan(one, bulk_targets=10, reach=9).tier is Tier.YELLOW
    assert rate_plan(one, bulk_targets=10, reach=10).tier is Tier.RED


def test_a_malformed_row_of_the_table_is_no_rule(monkeypatch):
    from pveops.guard import table

    monkeypatch.setattr(table, "_text", lambda name: iter(["yellow POST"]) if name.startswith("tiers") else iter([]))
    with pytest.raises(ValueError, match="malformed row: yellow POST"):
        list(table.rows())
