"""The audit ledger, measured beside the disk it writes to: bare appends with a sync are its floor, in the same run and interleaved."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from pveops.app.audit import open_ledger
from pveops.base.clock import SystemClock
from pveops.guard.audit import Entry, Ledger
from pveops.settings.home import Home

ROUNDS, SINGLE, BATCH, BATCHES, WALKED = 31, 40, 100, 2, 100_000
ENTRY = Entry(
    kind="step.intended", actor="operator", correlation="c-51f09a2e", proposal="p-8c41d2",
    data={"step": "1", "text": "Migrate guest 101 from pve1 to pve2", "call": "POST /nodes/pve1/qemu/101/migrate target=pve2", "run": "r-0a0b0c",
          "plan": "ab" * 32, "node_time_s": 1_763_700_000},
)  # fmt: skip


def rate(count, work):
    """So many per second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def bare(handle, line):
    for _ in range(SINGLE):
        os.write(handle, line)
        os.fsync(handle)


def threads(ledger, number=8):
    """Several threads append one by one, as steps of several runs do."""
    workers = [threading.Thread(target=lambda: [ledger.append_all([ENTRY]) for _ in range(SINGLE // number)]) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def told(name, value, limit, unit="", *, more_is_better=True):
    good = value >= limit if more_is_better else value <= limit
    print(f"  {name:<52} {value:12,.2f}{unit}   limit {limit:,.2f}   {'ok' if good else 'NOT REACHED'}")
    return good


def main():
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="pvb", dir=os.environ.get("PVEOPS_BENCH_DIR")) as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl", clock)
        ledger.append_all([ENTRY])
        line = ledger.path.read_bytes()
        busy = time.process_time()
        for _ in range(SINGLE):
            ledger.append_all([ENTRY])
        busy_us = (time.process_time() - busy) / SINGLE * 1e6
        handle = os.open(Path(folder) / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        floor, single, batched, together = [], [], [], []
        for turn in range(ROUNDS):  # short rounds, each way first in turn: others use the same disk
            pair = [
                lambda: floor.append(rate(SINGLE, lambda: bare(handle, line))),
                lambda: single.append(rate(SINGLE, lambda: [ledger.append_all([ENTRY]) for _ in range(SINGLE)])),
            ]
            for measure in pair if turn % 2 else pair[::-1]:
                measure()
            batched.append(rate(BATCH * BATCHES, lambda: [ledger.append_all([ENTRY] * BATCH) for _ in range(BATCHES)]))
            together.append(rate(SINGLE, lambda: threads(ledger)))
        os.close(handle)
        print(
            f"Audit ledger, {len(line)} bytes a record, every append synced; medians of {ROUNDS} interleaved rounds; load {os.getloadavg()[0]:.1f}."
        )
        print(f"  processor time of one append, its sync included: {busy_us:.0f} us")
        disk = statistics.median(floor)
        for name, rates in (
            ("bare write and fsync", floor),
            ("appends", single),
            (f"appends in batches of {BATCH}", batched),
            ("8 threads", together),
        ):
            print(f"  {name:<52} {statistics.median(rates):12,.0f} /s   (min {min(rates):,.0f}, max {max(rates):,.0f})")
        pairs = statistics.median(one / other for one, other in zip(single, floor, strict=True))
        good = told("appends, share of the bare rate (pairs)", pairs, 0.6)
        good &= told("batched, times single", statistics.median(batched) / statistics.median(single), 10)

        walked = open_ledger(Home(Path(folder) / "home").make(), clock)
        for _ in range(WALKED // 2000):
            walked.append_all([ENTRY] * 2000)
        wall, cpu = [], []
        for _ in range(3):
            busy = time.process_time()
            wall.append(rate(WALKED, lambda: walked.verify().ok or sys.exit("the ledger breaks")))
            cpu.append(WALKED / (time.process_time() - busy))
        print(
            f"Verify of {WALKED:,} records (chain, canonical form, Merkle tree); best of 3, {statistics.median(cpu):,.0f} /s of processor time."
        )
        good &= told("verified records per second", max(wall), 100_000)
        print(f"Disk: {disk:,.0f} syncs a second; on a disk that only pretends to sync the first two limits mean nothing.")
    if not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
