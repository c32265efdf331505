"""Tags and settings from plan to undo, over a real executor and the simulated cluster."""

import time

import pytest

from pveops.base.errors import Stale
from pveops.model.options import OPTIONS
from pveops.model.proposal import Origin
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("settings"), guests=12, speed=40) as running:
        yield running


@pytest.fixture(scope="module")
def ops(stack):
    return stack.ops()


@pytest.fixture(scope="module")
def guests(ops):
    """One of each kind that runs: ``{"qemu": 101, "lxc": 105}``."""
    table = ops.guests()
    running = table[table["status"] == "running"]
    return {kind: int(running[running["kind"] == kind]["vmid"].iloc[0]) for kind in ("qemu", "lxc")}


def carry(stack, plan):
    """Propose, approve, wait for the end; returns the view."""
    client = stack.client()
    view = client.propose(plan, author="person", origin=Origin(surface="test"))
    assert view.proposal.status.value == "waiting", view.proposal.reason
    client.approve(view, channel="dashboard")
    deadline = time.monotonic() + 60
    while not (view := client.proposal(view.proposal.id)).run.status.ended:
        assert time.monotonic() < deadline, view.run
        time.sleep(0.05)
    return view


def facts(ops, vmid):
    found = ops.ports.reader.facts([f"guest/{vmid}"]).values
    return {key.partition(".")[2]: value for key, value in found.items()}


@pytest.mark.parametrize("kind", ["qemu", "lxc"])
def test_there_and_back(stack, ops, guests, kind):
    vmid = guests[kind]
    before = facts(ops, vmid)
    known = [option for option in OPTIONS if kind in option.unset]
    assert all(option.field in before for option in known)
    more = {"qemu": {"cores": 3, "sockets": 2, "memory_mib": 3072}, "lxc": {"cores": 3, "memory_mib": 3072, "swap_mib": 256}}[kind]
    wanted = {**more, "onboot": not before["config.onboot"], "startup": "order=3,up=20", "description": "Ünïcode, two\nlines"}
    run = carry(stack, ops.draft("guest.set-config", guest=str(vmid), **wanted).plan)
    assert run.run.status.value == "done", run.run.reason
    after = facts(ops, vmid)
    assert {name: after[f"config.{name}"] for name in wanted} == wanted
    back = carry(stack, ops.undo(run.proposal.id).plan)
    assert back.run.status.value == "done", back.run.reason
    assert f"undo: pveops proposals undo {run.proposal.id}" in stack.cli("proposals", "show", run.proposal.id).stdout
    assert "undo: none: what was taken back can be proposed again" in stack.cli("proposals", "show", back.proposal.id).stdout
    now = facts(ops, vmid)
    assert {option.field: now[option.field] for option in known} == {option.field: before[option.field] for option in known}


def test_tags_there_and_back(stack, ops, guests):
    vmid = guests["qemu"]
    before = facts(ops, vmid)["tags"]
    run = carry(stack, ops.draft("guest.set-tags", guest=str(vmid), add="pve-test,zz", remove=",".join(before[:1])).plan)
    assert run.run.status.value == "done", run.run.reason
    assert set(facts(ops, vmid)["tags"]) == {*before[1:], "pve-test", "zz"}
    carry(stack, ops.undo(run.proposal.id).plan)
    assert facts(ops, vmid)["tags"] == before


def test_whoever_was_quicker_is_not_overwritten(stack, ops, guests):
    vmid = guests["lxc"]
    plan = ops.draft("guest.set-config", guest=str(vmid), cores=5).plan
    other = ops.draft("guest.set-config", guest=str(vmid), cores=6).plan
    waiting = stack.client().propose(plan, author="person", origin=Origin(surface="test"))
    assert carry(stack, other).run.status.value == "done"
    with pytest.raises(Stale, match="digest"):
        stack.client().approve(waiting, channel="dashboard")
    assert facts(ops, vmid)["config.cores"] == 6
