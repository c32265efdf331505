"""``kill -9`` of the executor around the one request that matters, ten times each, on real processes."""

import time

import pytest

from pveops.app.handles import status_of
from pveops.guard.crashpoints import Point
from pveops.model.messages import ResolveRequest
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
ROUNDS = 10


def until(happens, seconds=30.0, what="it"):
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
    return found


def begin(stack, number):
    """Propose and approve moving guest 101 to the other node; returns proposal id and target."""
    ops = stack.ops()
    here = ops.guests().set_index("vmid").loc[101, "node"]
    target = "pve2" if here == "pve1" else "pve1"
    client = stack.client()
    view = client.propose(ops.draft("guest.migrate", guest="101", target=target).plan, author="person", origin=ops.executors.origin)
    assert status_of(view) == "waiting", view.proposal.reason
    client.approve(view, channel="cli")
    return view.proposal.id, target


def settle(stack, proposal_id):
    """Wait until the run says something final; a person then closes what nobody can know."""
    client = stack.client()
    status = until(lambda: (found := status_of(client.proposal(proposal_id))) not in ("waiting", "running") and found, what="an end")
    if status == "unknown":
        view = client.proposal(proposal_id)
        assert "did not send it again" in view.run.reason
        client.resolve(proposal_id, ResolveRequest(what="not_happened", reason="the request log of the simulated cluster says so"))
        until(lambda: status_of(client.proposal(proposal_id)) == "failed", what="the person's word")
    return status


def where(stack):
    return stack.ops().guests().set_index("vmid").loc[101, "node"]


@pytest.mark.parametrize("point", ["after_intent_record", "before_send"])
def test_killed_before_the_post(tmp_path, point: Point):
    points = tmp_path / "points"
    points.mkdir()
    with Stack(tmp_path, speed=30, guests=8, profile={"write_timeout_s": 0.8}, extra_env={"PVEOPS_CRASH_POINTS": str(points)}) as stack:
        for number in range(ROUNDS // 2):
            hold, reached = points / f"{point}.hold", points / f"{point}.reached"
            hold.touch()
            proposal_id, target = begin(stack, number)
            until(reached.exists, what="the crash point")
            stack.executor.kill()
            hold.unlink()
            reached.unlink()
            stack.start_executor()
            status = settle(stack, proposal_id)
            if point == "before_send":
                # the intent is on disk, the request never left: nobody can know that from the outside
                assert status == "unknown"
                assert stack.writes() == []
                assert where(stack) != target
            else:
                # not even the intent was in the journal: the step is checked anew and sent once
                assert status == "done"
                assert len(stack.writes()) == number + 1
                assert where(stack) == target
        assert stack.cli("audit", "verify").returncode == 0


def test_killed_between_the_post_and_its_answer(tmp_path):
    with Stack(tmp_path, speed=30, guests=8, latency_ms=80, profile={"write_timeout_s": 1.0}) as stack:
        for number in range(ROUNDS):
            proposal_id, target = begin(stack, number)
            until(lambda number=number: len(stack.writes()) > number, what="the POST")
            stack.executor.kill()
            stack.start_executor()
            assert settle(stack, proposal_id) == "done"
            view = stack.client().proposal(proposal_id)
            assert view.run.steps[0].adopted, "its task was found, not started again"
            assert len(stack.writes()) == number + 1, "one POST per intent"
            assert where(stack) == target
        assert stack.cli("audit", "verify").returncode == 0


def test_killed_while_the_task_runs(tmp_path):
    with Stack(tmp_path, speed=2, guests=8, profile={"write_timeout_s": 1.0}) as stack:
        for number in range(ROUNDS):
            proposal_id, target = begin(stack, number)
            client = stack.client()
            until(
                lambda client=client, proposal_id=proposal_id: client.proposal(proposal_id).run.steps[0].phase.value == "following",
                what="following",
            )
            stack.executor.kill()
            stack.start_executor()
            assert settle(stack, proposal_id) == "done"
            assert not stack.client().proposal(proposal_id).run.steps[0].adopted
            assert len(stack.writes()) == number + 1
            assert where(stack) == target
        assert stack.cli("audit", "verify").returncode == 0


def test_two_tasks_that_fit_are_not_guessed_between(tmp_path):
    """Somebody uses our own token by hand in the same second: then nobody can say which task is ours."""
    with Stack(tmp_path, speed=1, guests=8, latency_ms=80, profile={"write_timeout_s": 1.0}) as stack:
        ops, client = stack.ops(), stack.client()
        view = client.propose(ops.draft("guest.snapshot", guest="101", name="twice").plan, author="person", origin=ops.executors.origin)
        client.approve(view, channel="cli")
        until(stack.writes, what="the POST")
        stack.executor.kill()
        import requests

        user, _, value = stack.info["tokens"]["operator"].partition("=")
        node = ops.guests().set_index("vmid").loc[101, "node"]
        requests.post(
            f"{stack.info['url']}/api2/json/nodes/{node}/qemu/101/snapshot", data={"snapname": "twice2"}, verify=stack.info["ca"],
            headers={"Authorization": f"PVEAPIToken={user}={value}"}, timeout=10,
        )  # fmt: skip
        stack.start_executor()
        assert until(lambda: status_of(stack.client().proposal(view.proposal.id)) == "unknown", what="unknown")
        assert "2 tasks" in stack.client().proposal(view.proposal.id).run.reason
        refused = stack.cli("do", "guest.reboot", "101")
        assert refused.returncode == 6
        assert "held by" in refused.stderr
        closed = stack.cli("proposals", "resolve", view.proposal.id, "happened", "--reason", "I looked")
        assert closed.returncode == 0, closed.stderr
        assert stack.cli("do", "guest.reboot", "101").returncode == 0
