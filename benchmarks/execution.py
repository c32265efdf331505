"""Carrying out, measured: from an approval to its request, and a thousand guests in one plan. Each figure beside its limit."""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from pveops.app.handles import status_of
from pveops.app.setup import Wanted, add_principals
from pveops.store.engine import open_engine
from pveops.testing.stack import Stack

ROUNDS, GUESTS = 40, 1000
P95_LIMIT_MS, BULK_LIMIT, BULK_AIM = 60.0, 8.0, 20.0


def fsync_ms(folder, rounds=50):
    """What one sync to disk costs here."""
    with (folder / "probe").open("wb") as file:
        times = []
        for _ in range(rounds):
            file.write(b"x" * 512)
            started = time.perf_counter()
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def said(name, figure, limit, good):
    print(f"  {name:<62} {figure:>14}   limit {limit:<12} {'ok' if good else 'MISSED'}")
    return good


def latency():
    """Milliseconds from the approval (as the executor writes it down) to the request's arrival at the cluster, of each round."""
    with (
        tempfile.TemporaryDirectory(prefix="pvb") as folder,
        Stack(Path(folder), guests=20, speed=20, profile={"write_timeout_s": 10.0}) as stack,
    ):
        ops, client, waits = stack.ops(), stack.client(), []
        for number in range(ROUNDS):
            view = client.propose(
                ops.draft("guest.snapshot", guest="101", name=f"b{number}").plan, author="person", origin=ops.executors.origin
            )
            client.approve(view, channel="cli")
            ops.proposal(view.proposal.id).wait(60)
            run = client.proposal(view.proposal.id).run
            post = next(row for row in reversed(stack.writes()) if row["method"] == "POST")
            waits.append((datetime.fromisoformat(post["t"]) - run.started).total_seconds() * 1000)
        return waits


def approve(stack, view):
    """Let as many people approve as policy asks for, each under a name and a key of their own."""
    number = 0
    while status_of(view) == "waiting":
        number += 1
        name = f"approver-{number}"
        add_principals(stack.home, [Wanted(name, "person", "operator")])
        view = stack.client(name).approve(view, channel="cli")
    return view


def cpu_s(pid):
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bulk(guests, store=""):
    """Guarded actions per second over one plan, and how it ended."""
    options = {"bulk_targets": 1000, "approval_ttl_s": 3600}
    env = {"PVEOPS_STORE_URL": store} if store else {}
    with (
        tempfile.TemporaryDirectory(prefix="pvb") as folder,
        Stack(Path(folder), nodes=10, guests=guests, speed=60, options=options, extra_env=env) as stack,
    ):
        ops, client = stack.ops(), stack.client()
        rows = ops.guests()
        up = rows[(rows["status"] == "running") & ~rows["template"].astype(bool)]
        chosen = ",".join(str(vmid) for vmid in list(up["vmid"]))
        draft = ops.draft("guests.shutdown", guest=chosen, canary=1, at_once=32, per_node=8, may_fail_pct=5)
        view = client.propose(draft.plan, author="person", origin=ops.executors.origin)
        if status_of(view) != "waiting":
            raise SystemExit(view.proposal.reason)
        pid, sim = stack.executor_child().pid, stack.sim.pid
        before = cpu_s(pid), cpu_s(sim)
        approve(stack, view)
        while status_of(view := client.proposal(view.proposal.id)) == "running":
            time.sleep(2.0)
        used = cpu_s(pid) - before[0], cpu_s(sim) - before[1]
        if not store:
            with sqlite3.connect(stack.home.store) as db:
                assert db.execute("pragma journal_mode").fetchone() == ("wal",)
            db.close()
            engine = open_engine(stack.home.store)
            with engine.connect() as connection:
                assert connection.exec_driver_sql("pragma synchronous").scalar() == 2, "every commit reaches the disk"
            engine.dispose()
        seconds = (view.run.ended - view.run.started).total_seconds()
        good = sum(step.phase.good for step in view.run.steps)
        posts = [row["path"] for row in stack.writes() if row["path"].endswith("/status/shutdown")]
        assert len(posts) == len(set(posts)), "each request arrived once"
        return good / seconds, good, len(view.run.steps), status_of(view), seconds, used


def main():
    guests = int(sys.argv[1]) if len(sys.argv) > 1 else GUESTS
    with tempfile.TemporaryDirectory() as folder:
        print(f"One fsync of this disk: {fsync_ms(Path(folder)):.2f} ms (median); load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")
    waits = sorted(latency())
    p95 = waits[int(len(waits) * 0.95) - 1]
    fine = said(
        f"approval to request at the cluster, p95 of {len(waits)} (median {statistics.median(waits):.0f} ms)",
        f"{p95:.0f} ms",
        f"< {P95_LIMIT_MS:.0f} ms",
        p95 < P95_LIMIT_MS,
    )
    rate, good, steps, status, seconds, used = bulk(guests)
    name = f"one plan, {steps} shutdowns ({good} done, {status}) in {seconds:.0f} s, FULL sync"
    fine &= said(name, f"{rate:.1f} /s", f">= {BULK_LIMIT:.0f} /s, aim {BULK_AIM:.0f}", rate >= BULK_LIMIT)
    print(f"  processor time: executor {used[0] / steps * 1000:.0f} ms a step, simulated cluster {used[1] / steps * 1000:.0f} ms a step.")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
