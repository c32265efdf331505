"""``kill -9`` at every boundary and at random moments: 40 kills of the matrix; ``make crash`` does 500."""

import time

import pytest
import requests

from pveops.app.handles import status_of
from pveops.testing.crashes import cases, matrix, page
from pveops.testing.postgres import find_postgres
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize("store", ["SQLite", "PostgreSQL"])
def test_nothing_is_lost_and_nothing_done_twice(tmp_path, store):
    if store == "PostgreSQL" and find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    found = matrix(cases(20, [store], seed=7), tmp_path, seed=7)
    print(page(found, seed=7, command="pytest"))
    assert len(found) == 20
    assert [verdict for verdict in found if verdict.lost or verdict.doubled or verdict.needless] == []
    for verdict in found:
        if verdict.case.point == "before_send":
            assert verdict.status == "unknown", "the intent is on disk and the request never left: nobody can know that from the outside"
        elif verdict.case.victim == "executor" and verdict.case.point != "random":
            assert verdict.status in ("done", "unknown"), verdict  # the other step may have been in that moment


def test_two_tasks_that_fit_are_not_guessed_between(tmp_path):
    """Somebody uses our own token by hand in the same second: then nobody can say which task is ours."""

    def until(happens, what, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not (found := happens()):
            assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
            time.sleep(0.02)
        return found

    with Stack(tmp_path, speed=1, guests=8, latency_ms=80, profile={"write_timeout_s": 1.0}) as stack:
        ops, client = stack.ops(), stack.client()
        view = client.propose(ops.draft("guest.snapshot", guest="101", name="twice").plan, author="person", origin=ops.executors.origin)
        client.approve(view, channel="cli")
        until(stack.writes, what="the POST")
        stack.executor.kill()
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
