"""The crash matrix: SIGKILL of the executor or of the whole simulated cluster, at every boundary and at random times, judged by what the cluster received.

``python -m pveops.testing.crashes --runs 500 --page docs/crashes.md``
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pveops.app.handles import status_of
from pveops.base.errors import GuardError, PveopsError
from pveops.model.messages import ResolveRequest
from pveops.model.run import ProposalView, StepPhase
from pveops.testing.nursery import Nursery
from pveops.testing.postgres import Postgres, find_postgres
from pveops.testing.stack import Stack

POINTS = (
    "wrote_opened", "after_intent_record", "before_send", "after_send", "wrote_answered", "wrote_task_ended", "wrote_observed",
)  # fmt: skip
"""Boundaries of the executor, in the order of a step. ``before_send`` is right after the intent is on disk."""
_GUESTS = 3
_LONGEST_S = 90.0
_AT_ONCE = {"PostgreSQL": 4}
"""With PostgreSQL most of the time of a kill goes by in waiting: a worker is dead when its beat stood still for ten seconds."""
_FEW = 20
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Case:
    """One kill."""

    store: str
    victim: str
    point: str

    @property
    def row(self) -> str:
        """The row of the table it counts in."""
        return f"{self.victim}, {self.point.replace('_', ' ')}"


@dataclass(slots=True)
class Verdict:
    """What became of one run."""

    case: Case
    status: str
    doubled: int = 0
    lost: str = ""
    """Why the record does not tell the truth; empty where it does."""
    needless: int = 0
    """Steps called unknown although the cluster could tell."""
    seconds: float = 0.0


def cases(runs: int, stores: Sequence[str], seed: int) -> list[Case]:
    """So many cases: every boundary in turn, random moments in between, a quarter of them against the cluster."""
    chosen = itertools.cycle(
        [
            *((("executor", point)) for point in POINTS),
            ("executor", "random"),
            ("cluster", "random"),
            ("executor", "random"),
            ("cluster", "random"),
        ]
    )
    store = itertools.cycle(stores)
    per_store: dict[str, Iterator[tuple[str, str]]] = {name: itertools.cycle(list(itertools.islice(chosen, 11))) for name in stores}
    found = [Case(name, *next(per_store[name])) for name in itertools.islice(store, runs)]
    random.Random(seed).shuffle(found)  # noqa: S311 - no secret
    return sorted(found, key=lambda case: case.store)


@dataclass(slots=True)
class Bench:
    """One stack that is killed again and again."""

    stack: Stack
    points: Path
    dice: random.Random
    home: dict[str, Any] = field(default_factory=dict)

    def run(self, case: Case) -> Verdict:
        """Approve a plan for three guests, kill, bring back, settle, judge."""
        begun = time.monotonic()
        before = len(self.stack.writes())
        view, wanted = self._begin(case)
        self._kill(case, view)
        try:
            view = self._settled(view.proposal.id)
        except TimeoutError as err:
            return Verdict(case, "never settled", lost=str(err), seconds=time.monotonic() - begun)
        verdict = self._judge(case, view, wanted, self.stack.writes()[before:])
        self._clear(view, wanted)
        verdict.seconds = time.monotonic() - begun
        return verdict

    def _begin(self, case: Case) -> tuple[ProposalView, str]:
        """A run that has reached the place where it is to be killed. What the state check refuses (a backup has begun) is put forward anew."""
        for _ in range(_TRIES):
            view, wanted = self._propose()
            if self._let_go(case, view):
                return view, wanted
            time.sleep(1.0)
        raise RuntimeError(f"No plan could be approved: {view.proposal.reason}")

    def _propose(self) -> tuple[ProposalView, str]:
        ops = self.stack.ops()
        rows = ops.guests()
        qemu = rows[(rows["kind"] == "qemu") & ~rows["template"].astype(bool)]
        up = [int(vmid) for vmid in qemu[qemu["status"] == "running"]["vmid"]][:_GUESTS]
        down = [int(vmid) for vmid in qemu[qemu["status"] == "stopped"]["vmid"]][:_GUESTS]
        tool, chosen, wanted = ("guests.start", down, "running") if len(down) >= _GUESTS else ("guests.shutdown", up, "stopped")
        draft = ops.draft(tool, guest=",".join(map(str, chosen)), canary=0, at_once=2, per_node=4)
        return self.stack.client().propose(draft.plan, author="person", origin=ops.executors.origin), wanted

    def _let_go(self, case: Case, view: ProposalView) -> bool:
        """Approve, and wait for the place; returns whether the approval was taken."""
        client, refused = self.stack.client(), threading.Event()
        hold, reached = (self.points / f"{case.point}.{what}" for what in ("hold", "reached"))
        if case.point != "random":
            hold.touch()

        def approve() -> None:
            try:
                client.approve(view, channel="cli")
            except GuardError:
                refused.set()
            except PveopsError:
                pass  # held at "wrote_opened" the answer to the approval never comes

        answer = threading.Thread(target=approve, daemon=True)
        answer.start()
        if case.point == "random":
            answer.join()
        else:
            _until(lambda: reached.exists() or refused.is_set(), f"{case.point} was not reached")
        if refused.is_set():
            hold.unlink(missing_ok=True)
        return not refused.is_set()

    def _kill(self, case: Case, view: ProposalView) -> None:
        if case.point == "random":
            time.sleep(self.dice.uniform(0.0, 1.5))
        else:
            self.stack.executor_child().kill()
            for what in ("hold", "reached"):
                (self.points / f"{case.point}.{what}").unlink()
        if case.victim == "cluster":
            self.stack.kill_sim()
        else:
            self.stack.executor_child().kill()
            self.stack.start_executor()

    def _settled(self, proposal_id: str) -> ProposalView:
        client = self.stack.client()
        _until(lambda: status_of(client.proposal(proposal_id)) != "running", f"{proposal_id} did not settle")
        return client.proposal(proposal_id)

    def _judge(self, case: Case, view: ProposalView, wanted: str, writes: list[dict[str, Any]]) -> Verdict:
        status = status_of(view)
        arrived = Counter(int(row["path"].split("/")[-3]) for row in writes if "/status/" in row["path"])
        verdict = Verdict(case, status, doubled=sum(count - 1 for count in arrived.values() if count > 1))
        if view.run is None:
            if status != "waiting" or arrived:
                verdict.lost = f"{status}, and {sum(arrived.values())} requests arrived"
            return verdict
        wrong = []
        for step, state in zip(view.proposal.plan.steps, view.run.steps, strict=True):
            vmid = int(step.subject.rpartition("/")[2])
            real = self.stack.truth(vmid)
            if state.phase.good and (real != wanted or not arrived[vmid]) and case.victim != "cluster":
                wrong.append(f"{vmid} is called done and is {real}")
            if state.phase is StepPhase.FAILED and real == wanted and arrived[vmid] and case.victim != "cluster":
                wrong.append(f"{vmid} is called failed and is {real}")
            if state.phase in (StepPhase.PENDING, StepPhase.SKIPPED) and arrived[vmid]:
                wrong.append(f"{vmid} is called not started, and a request arrived")
            if state.phase is StepPhase.UNKNOWN and arrived[vmid] and case.victim != "cluster":
                verdict.needless += 1
        verdict.lost = "; ".join(wrong)
        return verdict

    def _clear(self, view: ProposalView, wanted: str) -> None:
        """A person says what the cluster knows, so that the guests are free for the next run."""
        client, proposal_id = self.stack.client(), view.proposal.id
        if status_of(view) == "waiting":
            client.withdraw(proposal_id, "the next run begins")
            return
        while status_of(view := client.proposal(proposal_id)) == "unknown" and view.run is not None and view.run.current is not None:
            current = view.run.current.key
            vmid = next(step.subject for step in view.proposal.plan.steps if step.key == current).rpartition("/")[2]
            happened = self.stack.truth(int(vmid)) == wanted
            client.resolve(proposal_id, ResolveRequest(what="happened" if happened else "not_happened", reason="the request log says so"))
            self._settled(proposal_id)


def _until(happens: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while True:
        with contextlib.suppress(PveopsError):
            if happens():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {_LONGEST_S:.0f} s")
        time.sleep(0.1)


def matrix(
    chosen: Sequence[Case], root: Path, *, seed: int, tell: Callable[[Verdict], None] = lambda _verdict: None, longest_s: float = 1e9
) -> list[Verdict]:
    """Carry the cases out, store by store, each on a stack of its own; none begins later than so many seconds from now."""
    end = time.monotonic() + longest_s
    found: list[Verdict] = []
    for store, group in itertools.groupby(chosen, key=lambda case: case.store):
        with contextlib.ExitStack() as stack:
            folder = root / store
            points = folder / "points"
            points.mkdir(parents=True)
            env = {"PVEOPS_CRASH_POINTS": str(points)}
            if store == "PostgreSQL":
                env["PVEOPS_STORE_URL"] = stack.enter_context(Postgres()).database()
            options, nursery = {"bulk_targets": 1000}, stack.enter_context(Nursery())
            running = stack.enter_context(
                Stack(folder, speed=40, guests=8, profile={"write_timeout_s": 1.0}, options=options, extra_env=env, nursery=nursery)
            )
            bench = Bench(running, points, random.Random(seed))  # noqa: S311 - no secret
            for case in itertools.takewhile(lambda _case: time.monotonic() < end, group):
                verdict = bench.run(case)
                found.append(verdict)
                tell(verdict)
            if running.cli("audit", "verify").returncode != 0:
                raise RuntimeError(f"the ledger of {store} is not whole")
    return found


def page(found: Sequence[Verdict], *, seed: int, command: str, wanted: int = 0) -> str:
    """The table, as Markdown."""
    short = f" (cut short at {len(found)} of {wanted})" if len(found) < wanted else ""
    lines = [
        "# Crash matrix", "",
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, seed {seed}: {len(found)} kills{short} with SIGKILL, real processes, plans of three guests with two steps at once.",
        "Judged by the request log and the state of the simulated cluster, not by what the executor says.",
        "*lost*: the record does not tell the truth, or the run never settled. *doubled*: a request that arrived twice for one step. *unknown*: a person was asked;",
        "*needless*: although the cluster could have told.", "",
        "| victim, moment | store | kills | done | failed | stopped or waiting | unknown | needless | doubled | lost |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for row, store in sorted({(verdict.case.row, verdict.case.store) for verdict in found}):
        these = [verdict for verdict in found if (verdict.case.row, verdict.case.store) == (row, store)]
        by = Counter(verdict.status for verdict in these)
        rest = len(these) - by["done"] - by["warned"] - by["failed"] - by["unknown"]
        lines.append(
            f"| {row} | {store} | {len(these)} | {by['done'] + by['warned']} | {by['failed']} | {rest} | {by['unknown']} "
            f"| {sum(verdict.needless for verdict in these)} | {sum(verdict.doubled for verdict in these)} | {sum(bool(verdict.lost) for verdict in these)} |"
        )
    total = f"{sum(bool(verdict.lost) for verdict in found)} lost, {sum(verdict.doubled for verdict in found)} doubled"
    lines += [
        "",
        f"In all: {total}, {sum(verdict.needless for verdict in found)} needlessly unknown; {sum(verdict.seconds for verdict in found) / max(1, len(found)):.1f} s a kill, at a load of {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores.",
    ]
    return "\n".join(lines) + "\n"


def _lanes(chosen: Sequence[Case]) -> list[Sequence[Case]]:
    """The cases of one store, dealt out to the stacks that are killed at the same time."""
    count = _AT_ONCE.get(chosen[0].store, 1) if len(chosen) > _FEW else 1
    return [chosen[first::count] for first in range(count)]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="make crash")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--longest-min", type=float, default=1e6, help="begin no kill later than so many minutes from now")
    parser.add_argument("--store", choices=["SQLite", "PostgreSQL"], action="append", help="only this one")
    given = parser.parse_args()
    stores = given.store or (["SQLite", "PostgreSQL"] if find_postgres() else ["SQLite"])

    found: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        found.append(verdict)
        mark = (
            ""
            if not (verdict.lost or verdict.doubled or verdict.needless)
            else f"  !! {verdict.lost} doubled {verdict.doubled} needless {verdict.needless}"
        )
        sys.stdout.write(f"{verdict.case.store:<11} {verdict.case.row:<36} {verdict.status:<10} {verdict.seconds:5.1f} s{mark}\n")
        sys.stdout.flush()

    lanes = [part for store in stores for part in _lanes([case for case in cases(given.runs, stores, given.seed) if case.store == store])]

    def carry(number: int) -> None:
        matrix(lanes[number], Path(folder) / str(number), seed=given.seed + number, tell=tell, longest_s=given.longest_min * 60)

    with tempfile.TemporaryDirectory(prefix="pvc") as folder, ThreadPoolExecutor(len(lanes)) as pool:
        stacks = [pool.submit(carry, number) for number in range(len(lanes))]
    text = page(found, seed=given.seed, command=f"make crash RUNS={given.runs}", wanted=given.runs)
    sys.stdout.write(text)
    if given.page:
        given.page.write_text(text, encoding="utf-8")
    for stack in stacks:
        stack.result()  # what broke a stack is told after the table of the others
    return int(any(verdict.lost or verdict.doubled or verdict.needless for verdict in found))


if __name__ == "__main__":
    sys.exit(main())
