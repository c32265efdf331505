import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.guard.tiers import TABLE, rate_call, rate_plan
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
        (call("POST", f"{G}/status/stop"), Tier.BLACK),
        (call("DELETE", G), Tier.BLACK),
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
