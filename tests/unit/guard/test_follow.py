"""What an order leads to, what was read, and what cannot be read."""

import pytest

from pveops.base.errors import NodeUnreachable
from pveops.guard.live import LiveLog, progress_of
from pveops.model.plan import Fact
from pveops.model.run import RunStatus, StepPhase
from pveops.testing import build


def ordered(**more):
    return build.plan(build.step(task_types=("hamigrate", "qmigrate"), settle_s=20, **more))


@pytest.fixture
def ha(guarded):
    guarded.cluster.ha = "hamigrate"
    return guarded


def test_the_task_behind_an_order_is_followed_to_its_end(ha):
    run = ha.go(ordered())
    step = run.steps[0]
    assert (run.status, step.phase) == (RunStatus.DONE, StepPhase.DONE)
    assert ":hamigrate:" in step.upid
    assert ":qmigrate:" in step.child_upid
    assert "step.child_found" in ha.kinds()
    assert step.read == ("guest/101.node is pve2",)


def test_warnings_of_the_task_behind_an_order_count(ha):
    ha.cluster.child_exit = "WARNINGS: 1"
    assert ha.go(ordered()).status is RunStatus.WARNED


def test_an_order_whose_task_fails_is_a_failure_with_its_reason(ha):
    ha.cluster.child_exit = "migration aborted"
    run = ha.go(ordered())
    assert run.status is RunStatus.FAILED
    assert "the order was taken, but its task failed: migration aborted" in run.reason
    assert run.steps[0].log_tail[-1] == "TASK OK"


def test_a_start_that_failed_is_tried_again_by_ha_so_the_state_decides(ha):
    ha.cluster.ha, ha.cluster.child_exit = "hastart", "start failed"
    run = ha.go(ordered())
    assert "s later guest/101.node is pve1" in run.reason.replace("\u00a0", " ")


def test_an_order_that_needs_no_task_is_done_when_the_state_is_there(ha):
    ha.cluster.on_send = lambda call: (ha.cluster.guests[101].update(node="pve2"), setattr(ha.cluster, "orders", []))
    real = ha.cluster.start_task

    def no_child(call, **more):
        made = real(call, **more)
        ha.cluster.orders.clear()
        return made

    object.__setattr__(ha.cluster, "on_send", lambda call: ha.cluster.guests[101].update(node="pve2"))
    type(ha.cluster).start_task, kept = lambda self, call, **more: no_child(call, **more), type(ha.cluster).start_task
    try:
        run = ha.go(ordered())
    finally:
        type(ha.cluster).start_task = kept
    assert (run.status, run.steps[0].child_upid) == (RunStatus.DONE, "")


def test_an_order_that_nobody_carries_out_is_not_done(ha):
    ha.cluster.broken["node_tasks"] = NodeUnreachable("silent")
    run = ha.go(ordered())
    assert run.status is RunStatus.FAILED
    assert "guest/101.node is pve1" in run.reason


def test_a_task_behind_an_order_that_is_lost_is_unknown(ha):
    real = ha.cluster.task_outcome

    def gone(upid):
        if upid.type == "qmigrate":
            raise NodeUnreachable("gone")
        return real(upid)

    type(ha.cluster).task_outcome, kept = lambda self, upid: gone(upid), type(ha.cluster).task_outcome
    try:
        run = ha.go(ordered())
    finally:
        type(ha.cluster).task_outcome = kept
    assert (run.status, run.steps[0].retry_look) == (RunStatus.UNKNOWN, True)
    ha.dispatcher.work(delayed=True)
    assert ha.runner.load(run.id, ha.executor.get(run.proposal_id)).status is RunStatus.DONE


def test_a_task_that_runs_too_long_is_left_running_and_asked_about(guarded):
    guarded.cluster.next_polls = 10**9
    guarded.runner._carrier._follower._task_timeout_s = 60
    run = guarded.go(build.plan())
    assert run.status is RunStatus.UNKNOWN
    assert "it is not interrupted" in run.reason


@pytest.mark.parametrize("when", ["waiting", "reading", "child", "finding", "checking", "gate"])
def test_an_end_of_the_process_leaves_everything_as_it_is(guarded, when):
    plan = build.plan()
    cluster, stop = guarded.cluster, guarded.runner.stopping.set
    if when == "waiting":
        from pveops.base.errors import NoAnswer

        cluster.broken["send_after"] = [NoAnswer("x")]
        cluster.on_send = lambda call: stop()
    elif when == "reading":
        cluster.no_effect = True
        real = type(cluster).facts

        def facts(self, subjects, **more):
            if cluster.received:
                stop()
            return real(self, subjects, **more)

        type(cluster).facts = facts
    elif when in ("child", "finding"):
        plan, cluster.ha = ordered(), "hamigrate"
        real_tasks = type(cluster).node_tasks
        calls = []

        def tasks(self, node, *, since_s):
            calls.append(node)
            if when == "finding" or len(calls) > 4:
                stop()
            return real_tasks(self, node, since_s=since_s)

        type(cluster).node_tasks = tasks
        if when == "child":
            real_outcome = type(cluster).task_outcome

            def outcome(self, upid):
                if upid.type == "qmigrate":
                    stop()
                    from pveops.model.tasks import Outcome

                    return Outcome("running")
                return real_outcome(self, upid)

            type(cluster).task_outcome = outcome
    elif when == "checking":
        real_claim = guarded.journal.is_open
        guarded.journal.is_open = lambda run_id: (stop(), real_claim(run_id))[1]
    else:
        from pveops.model.plan import Flow, Wave

        plan = build.plan(
            build.step(), flow=Flow(waves=(Wave(name="w", steps=("s1",)),), after=(Fact(subject="guest/101", field="status", value="x"),))
        )
        real = type(cluster).facts

        def facts(self, subjects, **more):
            if tuple(subjects) == ("guest/101",) and cluster.guests[101]["node"] == "pve2" and len(seen) > 2:
                stop()
            seen.append(subjects)
            return real(self, subjects, **more)

        seen = []
        type(cluster).facts = facts
    try:
        proposal = guarded.propose(plan)
        guarded.approve(proposal)
        guarded.dispatcher.work()
    finally:
        for name, kept in (
            ("facts", locals().get("real")),
            ("node_tasks", locals().get("real_tasks")),
            ("task_outcome", locals().get("real_outcome")),
        ):
            if kept is not None:
                setattr(type(cluster), name, kept)
    run = guarded.run_of(proposal)
    assert run.status is RunStatus.RUNNING
    assert guarded.journal.is_open(run.id)


def test_the_log_of_a_running_task_is_for_the_eye():
    live = LiveLog()
    live.add("r", "s1", ("a", "transferred 4.0 GiB of 16.0 GiB", "b"))
    live.add("r", "s2", ("61 %", "999 %"))
    assert (live.tail("r", "s1"), live.progress("r", "s1")) == (("a", "transferred 4.0 GiB of 16.0 GiB", "b"), 0.25)
    assert live.progress("r", "s2") == 0.61
    live.clear("r", "s1")
    assert (live.tail("r", "s1"), live.progress("r", "s1"), live.progress("r", "s2")) == ((), None, 0.61)
    live.clear("r")
    assert live.progress("r", "s2") is None
    assert progress_of("0.0 GiB of 0.0 GiB") is None
    assert progress_of("nothing said") is None
