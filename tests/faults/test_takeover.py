"""Two workers on one PostgreSQL: one dies or stands still in the middle of a plan, the other goes on; the first does nothing twice when it is back."""

import os
import signal
import time
from collections import Counter

import pytest

from pveops.app.handles import status_of
from pveops.guard.course import Course
from pveops.guard.events import RunEvent
from pveops.guard.machine import fresh, replay
from pveops.model.messages import ResolveRequest
from pveops.model.run import RunStatus, StepPhase
from pveops.store.engine import open_postgres
from pveops.store.journal import SqlJournal
from pveops.testing.postgres import Postgres, find_postgres
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def until(happens, what, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
    return found


def settled(journal):
    """Whether no run goes on by itself: each has ended, or waits for a person."""
    for run_id, proposal_id in journal.open_runs():
        plan = journal.proposal(proposal_id).plan
        run = replay(fresh(run_id, proposal_id, (step.key for step in plan.steps)), journal.history(run_id), Course.of(plan))
        if run.status is not RunStatus.UNKNOWN or run_id in journal.leases():
            return False
    return True


def posts(stack, before):
    return Counter(row["path"] for row in stack.writes()[before:])


def told(stack, view, arrived, count):
    """All is done; or a step is unknown, whose intent was written and whose request never left: then a person says so."""
    unknown = [
        step.subject for step, state in zip(view.proposal.plan.steps, view.run.steps, strict=True) if state.phase is StepPhase.UNKNOWN
    ]
    if not unknown:
        assert status_of(view) == "done", view.run.reason
        assert len(arrived) == count
        return
    assert not any(subject.partition("/")[2] in path.split("/") for subject in unknown for path in arrived), (
        "what the cluster took is known"
    )
    while status_of(view := stack.client().proposal(view.proposal.id)) == "unknown":
        stack.client().resolve(view.proposal.id, ResolveRequest(what="not_happened", reason="the request log says so"))
        until(lambda: status_of(stack.client().proposal(view.proposal.id)) != "running", "the rest")


def begin(stack, tool):
    """Approve a plan of six guests, two at once."""
    ops, client = stack.ops(), stack.client()
    rows = ops.guests()
    rows = rows[
        (rows["kind"] == "qemu")
        & ~rows["template"].astype(bool)
        & (rows["status"] == ("running" if tool == "guests.shutdown" else "stopped"))
    ]
    guests = ",".join(str(vmid) for vmid in list(rows["vmid"])[:6])
    view = client.propose(ops.draft(tool, guest=guests, canary=0, at_once=2).plan, author="person", origin=ops.executors.origin)
    assert status_of(view) == "waiting", view.proposal.reason
    client.approve(view, channel="cli")
    return view.proposal.id, len(guests.split(","))


@pytest.mark.parametrize("dispatcher", ["in-process", "dbos"])
def test_take_over(tmp_path, dispatcher):
    if find_postgres() is None:
        pytest.skip("PostgreSQL is not installed")
    if dispatcher == "dbos":
        pytest.importorskip("dbos")
    with Postgres() as server:
        url = server.database()
        options = {"bulk_targets": 100, "dispatcher": dispatcher}
        with Stack(
            tmp_path, speed=8, guests=14, profile={"write_timeout_s": 1.0}, options=options, extra_env={"PVEOPS_STORE_URL": url}
        ) as stack:
            worker = stack.start_worker()
            journal = SqlJournal(open_postgres(url), RunEvent)

            # one of them dies
            proposal_id, count = begin(stack, "guests.shutdown")
            until(lambda: len(stack.writes()) >= 2, "two requests")
            holder = until(lambda: next(iter(journal.leases().values()), ""), "a holder")
            if holder in worker.said:
                worker.kill()
            else:
                stack.executor_child().kill()
            until(lambda: settled(journal), "the other to finish")
            first = posts(stack, 0)
            assert set(first.values()) == {1}, "each request arrived once"
            if stack.executor_child().code is not None:
                stack.start_executor()
            else:
                worker = stack.start_worker()
            until(lambda: len(set(journal.beats()) - {holder}) == 2, "the one that died to be back, under a new name")
            view = stack.client().proposal(proposal_id)
            told(stack, view, first, count)
            assert set(posts(stack, 0).values()) == {1}, "the one that died sent nothing again when it was back"

            # one of them stands still, and comes back
            before = len(stack.writes())
            proposal_id, count = begin(stack, "guests.start")
            until(lambda: len(stack.writes()) >= before + 2, "two requests")
            holder = until(lambda: next(iter(journal.leases().values()), ""), "a holder")
            frozen = worker.pid if holder in worker.said else stack.executor_child().pid
            os.kill(frozen, signal.SIGSTOP)
            try:
                until(lambda: settled(journal), "the other to finish")
            finally:
                os.kill(frozen, signal.SIGCONT)
            time.sleep(3.0)
            again = posts(stack, before)
            assert set(again.values()) == {1}, "the one that was frozen sent nothing twice"
            view = stack.client().proposal(proposal_id)
            told(stack, view, again, count)
            assert stack.cli("audit", "verify").returncode == 0
            journal.close()
