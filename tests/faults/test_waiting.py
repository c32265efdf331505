"""Two thousand approvals that wait: what they cost the executor, and that each of them is still a door."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from pveops.app.handles import status_of
from pveops.base.ids import new_id
from pveops.model.codec import encode
from pveops.store.engine import open_engine
from pveops.store.tables import ProposalRow
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WAITING, MOST_MIB = 2000, 100


def rss_mib(pid):
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmRSS")) / 1024


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_two_thousand_waiting_approvals(tmp_path):
    with Stack(tmp_path, guests=8, options={"approval_ttl_s": 3600}) as stack:
        ops, client = stack.ops(), stack.client()
        view = client.propose(ops.draft("guest.reboot", guest="101").plan, author="person", origin=ops.executors.origin)
        assert status_of(view) == "waiting", view.proposal.reason
        few = rss_mib(stack.executor_child().pid), threads(stack.executor_child().pid)
        stack.executor_child().stop()
        engine = open_engine(stack.home.store)
        with engine.begin() as connection:
            last = connection.scalar(select(func.max(ProposalRow.number)))
            rows = []
            for number in range(1, WAITING + 1):
                one = replace(
                    view.proposal,
                    id=f"p-{0xF00000 + number:06x}",
                    approval_id=new_id("a"),
                    correlation=new_id("c"),
                    expires=view.proposal.expires + timedelta(seconds=number % 600),
                )
                rows.append({"id": one.id, "number": last + number, "status": "waiting", "version": 1, "body": encode(one)})
            connection.execute(insert(ProposalRow), rows)
        engine.dispose()

        stack.start_executor()
        pid, client = stack.executor_child().pid, stack.client()
        assert client.info().waiting == WAITING + 1
        assert len(client.proposals(only_open=True, limit=50)) == 50
        many = rss_mib(pid), threads(pid)
        print(
            f"{WAITING} waiting approvals: {few[0]:.0f} MiB and {few[1]} threads before, {many[0]:.0f} MiB and {many[1]} threads with them"
        )
        assert many[0] - few[0] < MOST_MIB
        assert many[1] < 60, "what waits holds no thread"
        client.approve(client.proposal(rows[1500]["id"]), channel="cli")
        assert ops.proposal(rows[1500]["id"]).wait(60)
        assert client.info().waiting == WAITING
