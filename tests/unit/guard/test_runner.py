"""What comes between: a person's word, another thread, another process, our own end, in the very moment of something else."""

import threading

import pytest

from pveops.base.errors import Denied, NoAnswer, PveopsError, Stale
from pveops.guard.events import RunEvent
from pveops.guard.once import Once
from pveops.guard.peers import Peers
from pveops.model.plan import Fact, Flow, Wave
from pveops.model.run import RunStatus, StepPhase
from pveops.testing import build


def approved(guarded, plan=None):
    proposal = guarded.propose(plan or build.plan())
    return proposal, guarded.approve(proposal).run_id


def test_a_run_that_is_asked_for_while_it_is_under_way_is_looked_at_once_more(guarded):
    proposal, run_id = approved(guarded)
    guarded.dispatcher.due.clear()
    guarded.cluster.on_send = lambda call: guarded.runner.advance(run_id)
    guarded.runner.advance(run_id)
    assert guarded.dispatcher.due == [(0.0, run_id)]
    assert len(guarded.cluster.received) == 1
    assert guarded.run_of(proposal).status is RunStatus.DONE


def test_two_threads_that_find_a_run_free_at_once_are_one(guarded):
    _, run_id = approved(guarded)
    sending, go_on = threading.Event(), threading.Event()
    guarded.cluster.on_send = lambda call: (sending.set(), go_on.wait(10))
    other = threading.Thread(target=guarded.runner.advance, args=(run_id,))
    real = guarded.journal.is_open

    def is_open(asked):
        guarded.journal.is_open = real
        other.start()
        assert sending.wait(10)
        return real(asked)

    guarded.journal.is_open = is_open
    guarded.runner.advance(run_id)
    assert other.is_alive(), "the first one found it taken and left"
    go_on.set()
    other.join(10)
    assert len(guarded.cluster.received) == 1


def test_a_reading_that_was_overtaken_is_not_kept(guarded):
    proposal, _ = approved(guarded)
    real = guarded.journal.history

    def history(asked, *, after=0):
        rows = real(asked, after=after)
        guarded.journal.history = real
        guarded.executor.pause(guarded.who("anna"), proposal.id, "wait")
        return rows

    guarded.journal.history = history
    old = guarded.run_of(proposal)
    assert (old.paused_by, guarded.run_of(proposal).paused_by) == ("", "anna")


def test_a_stop_in_the_moment_of_a_refusal_counts(guarded):
    proposal, _ = approved(guarded)
    gate = guarded.runner._carrier._gate

    def stopped(*_args):
        guarded.executor.stop(guarded.who("anna"), proposal.id, "no")
        raise Denied("the policy says no")

    gate.step = stopped
    guarded.dispatcher.work()
    del gate.step
    run = guarded.run_of(proposal)
    assert (run.status, run.reason) == (RunStatus.STOPPED, "stopped by anna")
    assert "step.barred" not in guarded.kinds()


def test_a_journal_that_never_stands_still_is_given_up(guarded):
    _, run_id = approved(guarded)
    guarded.journal.record = lambda *_args, **_more: [RunEvent(kind="resumed", at=build.NOW, actor="anna")]
    with pytest.raises(Stale, match="grows faster than it can be read"):
        guarded.runner.advance(run_id)
    assert guarded.cluster.received == []


def test_an_answer_that_cannot_be_read_counts_as_none(guarded, caplog):
    guarded.cluster.broken["send_after"] = [PveopsError("it answered with half a page")]
    proposal, _ = approved(guarded)
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, run.steps[0].adopted, len(guarded.cluster.received)) == (RunStatus.DONE, True, 1)
    assert "unreadable answer to a change" in caplog.text


def test_our_end_while_the_last_facts_are_read(guarded):
    fact = Fact(subject="guest/101", field="status", value="never")
    plan = build.plan(build.step(settle_s=60), flow=Flow(waves=(Wave(name="w", steps=("s1",)),), after=(fact,)))
    proposal, run_id = approved(guarded, plan)
    cluster, real, asked = guarded.cluster, type(guarded.cluster).facts, []

    def facts(self, subjects, **more):
        if guarded.run_of(proposal).check == "after":
            asked.append(subjects)
            guarded.runner.stopping.set()
        return real(self, subjects, **more)

    type(cluster).facts = facts
    try:
        guarded.dispatcher.work()
    finally:
        type(cluster).facts = real
    run = guarded.run_of(proposal)
    assert (len(asked), run.check, run.status) == (1, "after", RunStatus.RUNNING)
    assert guarded.journal.is_open(run_id)


def test_our_end_while_an_answer_may_still_come(guarded):
    guarded.cluster.broken["send_after"] = [NoAnswer("timed out")]
    clock = guarded.cluster.clock
    proposal, _ = approved(guarded)

    def wait_s(event, seconds):
        event.set()
        return True

    real, type(clock).wait_s = type(clock).wait_s, lambda self, event, seconds: wait_s(event, seconds)
    try:
        guarded.dispatcher.work()
    finally:
        type(clock).wait_s = real
    assert guarded.run_of(proposal).steps[0].phase is StepPhase.RECONCILING
    guarded.restart()
    guarded.executor.recover()
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, run.steps[0].adopted, len(guarded.cluster.received)) == (RunStatus.DONE, True, 1)


def test_who_lives_and_what_nobody_carries(guarded):
    clock, journal = guarded.cluster.clock, guarded.journal
    me, other = (Peers(journal, name, clock, alone=False, dead_after_s=5) for name in ("w-0000000a", "w-0000000b"))
    _, run_id = approved(guarded)
    assert me.dead() == frozenset(), "nobody holds anything"
    assert me.orphans() == []
    clock.tick(6)
    assert me.orphans() == [run_id], "nobody took it in time"
    assert me.orphans() == [], "it was named once"
    assert journal.claim(run_id, "w-0000000b")
    assert me.orphans() == []
    for _ in range(3):
        clock.tick(4)
        other.beat("lives")
        assert me.dead() == frozenset()
    clock.tick(6)
    assert me.dead() == {"w-0000000b"}
    assert me.orphans() == [run_id]
    other.leave()
    assert (journal.leases(), me.orphans()) == ({}, [])
    clock.tick(6)
    assert me.orphans() == [run_id], "it was held since, so it is named again"


def test_an_answer_is_kept_for_the_last_things_only():
    asked = []
    once = Once(lambda thing: asked.append(thing[0]) or len(asked), keep=2)
    things = [["a"], ["b"], ["c"]]
    assert [once(thing) for thing in (*things[:2], *things[:2])] == [1, 2, 1, 2]
    assert once(things[2]) == 3
    assert (once(things[1]), once(things[0])) == (2, 4), "the oldest was forgotten"
