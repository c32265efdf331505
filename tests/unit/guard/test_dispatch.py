"""The dispatcher of one process, the crash points, and who else carries runs."""

import threading
import time

import pytest

from pveops.base.clock import SystemClock
from pveops.base.errors import ConfigError, GuardError
from pveops.guard import dispatch_dbos
from pveops.guard.crashpoints import crash_point
from pveops.guard.dispatch import InProcess
from pveops.guard.peers import Peers
from pveops.guard.runner import Runner
from pveops.model.run import RunStatus
from pveops.testing import build


def test_what_is_due_later_comes_later_and_faults_stop_nobody():
    heard, enough = [], threading.Event()

    def advance(name):
        heard.append(name)
        if name == "last":
            enough.set()
        if name == "bad":
            raise GuardError("no")
        if name == "worse":
            raise RuntimeError

    dispatcher = InProcess(workers=1, clock=SystemClock())
    dispatcher.start(advance)
    dispatcher.submit("last", after_s=0.15)
    for name in ("bad", "worse", "first"):
        dispatcher.submit(name)
    assert enough.wait(10)
    dispatcher.stop()
    assert heard == ["bad", "worse", "first", "last"]
    never = InProcess(workers=1, clock=SystemClock())
    never.stop()


def test_a_crash_point_holds_only_where_it_is_told_to(tmp_path, monkeypatch):
    monkeypatch.delenv("PVEOPS_CRASH_POINTS", raising=False)
    crash_point("before_send")
    monkeypatch.setenv("PVEOPS_CRASH_POINTS", str(tmp_path))
    crash_point("before_send")
    (tmp_path / "after_send.hold").touch()
    held = threading.Thread(target=crash_point, args=("after_send",))
    held.start()
    deadline = time.monotonic() + 10
    while not (tmp_path / "after_send.reached").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert held.is_alive()
    (tmp_path / "after_send.hold").unlink()
    held.join(10)
    assert not held.is_alive()


def test_without_dbos_it_says_what_to_install(monkeypatch):
    import builtins

    real = builtins.__import__

    def no_dbos(name, *args, **more):
        if name == "dbos":
            raise ModuleNotFoundError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", no_dbos)
    with pytest.raises(ConfigError, match="DBOS is not installed"):
        dispatch_dbos.DbosDispatcher(url="sqlite:///x", worker="w-1", workers=1)


def test_a_name_that_a_queue_brings_is_advanced_and_faults_stay_inside():
    def advance(name):
        heard.append(name)
        if name == "bad":
            raise GuardError("no")
        if name == "worse":
            raise RuntimeError

    heard = []
    for name in ("good", "bad", "worse"):
        dispatch_dbos._advance(advance, name)
    assert heard == ["good", "bad", "worse"]


def shared(guarded, worker="w-0000000a"):
    """The same guard, as one of several workers."""
    peers = Peers(guarded.journal, worker, guarded.cluster.clock, alone=False, dead_after_s=5)
    old = guarded.runner
    made = Runner(
        journal=guarded.journal, ledger=guarded.ledger, gate=old._carrier._gate, clusters=old._clusters, mint=old._carrier._mint, dispatcher=guarded.dispatcher,
        options=guarded.options, clock=guarded.cluster.clock, peers=peers,
    )  # fmt: skip
    return made, peers


def test_a_worker_among_others_takes_gives_back_and_takes_over(guarded):
    runner, peers = shared(guarded)
    proposal = guarded.propose(build.plan())
    run_id = guarded.approve(proposal).run_id
    assert guarded.journal.claim(run_id, "w-0000000b")
    runner.advance(run_id)
    assert guarded.cluster.received == [], "another one has it"
    peers.dead()
    guarded.cluster.clock.tick(6)
    assert peers.orphans() == [run_id]
    runner.advance(run_id)
    assert guarded.run_of(proposal).status is RunStatus.DONE
    assert guarded.journal.leases() == {}


def test_a_worker_that_lost_its_run_writes_no_intent(guarded):
    runner, _ = shared(guarded)
    proposal = guarded.propose(build.plan())
    run_id = guarded.approve(proposal).run_id
    real = runner._carrier._gate.step

    def lose(*args):
        real(*args)
        guarded.journal.claim(run_id, "w-0000000b", dead={"w-0000000a"})

    runner._carrier._gate.step = lose
    try:
        runner.advance(run_id)
    finally:
        del runner._carrier._gate.step
    assert guarded.cluster.received == []
    assert "step.intended" not in guarded.kinds()


def test_a_word_that_comes_while_the_lease_is_given_back_is_not_lost(guarded):
    from pveops.guard.events import RunEvent

    runner, _ = shared(guarded)
    proposal = guarded.propose(build.plan(build.step(101, "s1"), build.step(102, "s2")))
    run_id = guarded.approve(proposal).run_id
    guarded.dispatcher.due.clear()
    guarded.cluster.on_send = lambda call: guarded.executor.pause(guarded.who("operator"), proposal.id, "")
    real = guarded.journal.release

    def release(released, worker):
        real(released, worker)
        guarded.dispatcher.due.clear()
        guarded.runner._read.clear()
        guarded.runner.note(run_id, RunEvent(kind="resumed", at=build.NOW, actor="operator"))
        guarded.dispatcher.due.clear()

    guarded.journal.release = release
    runner.advance(run_id)
    guarded.cluster.on_send = None
    assert guarded.dispatcher.due == [(0.0, run_id)], "it is looked at once more"
    guarded.journal.release = real
    runner.advance(run_id)
    assert guarded.run_of(proposal).status is RunStatus.DONE


def test_many_runs_are_not_all_kept_in_memory(guarded, monkeypatch):
    monkeypatch.setattr("pveops.guard.runner._KEPT_RUNS", 1)
    first = guarded.go(build.plan())
    second = guarded.go(build.plan(build.step(102, "s1")))
    guarded.runner._read.clear()
    for run in (first, second):
        assert guarded.runner.load(run.id, guarded.executor.get(run.proposal_id)) == run
    assert len(guarded.runner._read) == 1
