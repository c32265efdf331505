"""Waves, limits, pauses and ways back: as dialogues with the machine, and over a cluster in memory."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pveops.base.errors import Denied, InputError, Unreachable, Used
from pveops.guard.course import Course
from pveops.guard.events import RunEvent
from pveops.guard.machine import Command, decide, fresh, replay, resume
from pveops.model.codec import decode, encode
from pveops.model.messages import ResolveRequest
from pveops.model.plan import Fact, Flow, Plan, Wave, then
from pveops.model.proposal import Tier
from pveops.model.run import RunStatus, StepPhase
from pveops.testing import build

NOW = build.NOW
UPID = "UPID:pve1:00000001:0000ABCD:673F1A2B:qmigrate:101:operator@pve!act:"
S, C, R, U = StepPhase.SKIPPED, StepPhase.DONE, RunStatus, StepPhase.UNKNOWN


def ev(kind, step="", **more):
    return RunEvent(kind=kind, at=more.pop("at", NOW), step=step, **more)


def course(*waves, subjects=None, nodes=None, storages=None, inverse=None, **flow):
    made = Flow(
        waves=tuple(Wave(name=f"wave {n}", steps=tuple(wave.split())) for n, wave in enumerate(waves, start=1)),
        **{"at_once": 9, "per_node": 9, **flow},
    )
    keys = [key for wave in made.waves for key in wave.steps]
    return Course(
        tuple(wave.steps for wave in made.waves),
        {key: (subjects or {}).get(key, key) for key in keys},
        nodes or {},
        storages or {},
        inverse or {},
        made,
    )


class Talk:
    """A run and its course; ``>>`` adds events, ``asks`` are the commands that came of the last one."""

    def __init__(self, of, **most):
        self.course = of
        self.run = fresh("r", "p", [key for wave in of.waves for key in wave])
        self.asks = ()
        self.journal = []
        self >> ev("opened", actor="anna", **most)

    def __rshift__(self, event):
        self.run, commands = decide(self.run, event, self.course)
        self.asks = tuple(f"{command.kind} {command.step}".strip() for command in commands)
        self.journal.append(event)
        return self

    def good(self, *keys):
        for key in keys:
            for kind in ("checked", "intended", "answered", "observed"):
                self >> ev(kind, key)
        return self

    def bad(self, key, text="broken"):
        return self >> ev("barred", key, text=text)

    def lost(self, key):
        for kind in ("checked", "intended", "no_answer", "not_found"):
            self >> ev(kind, key, text="nobody knows")
        return self

    def phases(self):
        return [step.phase for step in self.run.steps]


def test_a_canary_then_a_wave_together():
    talk = Talk(course("s1", "s2 s3 s4"))
    assert talk.asks == ("check s1",)
    talk.good("s1")
    assert talk.asks == ("check s2", "check s3", "check s4")
    talk >> ev("checked", "s3")
    assert talk.asks == ("intend s3",)
    talk >> ev("intended", "s3")
    assert talk.asks == ("send s3",)
    talk >> ev("answered", "s3", upid=UPID)
    talk >> ev("task_ended", "s3", text="OK")
    talk >> ev("observed", "s3")
    assert talk.asks == ()
    talk.good("s2", "s4")
    assert (talk.asks, talk.run.status) == (("settle",), R.DONE)


def test_limits_at_once_per_node_and_per_subject():
    talk = Talk(course("s1 s2 s3 s4 s5", at_once=2))
    assert talk.asks == ("check s1", "check s2")
    assert talk.good("s1").asks == ("check s3",)
    nodes = {"s1": ("a", "b"), "s2": ("b",), "s3": ("c",), "s4": ("a",)}
    talk = Talk(course("s1 s2 s3 s4", nodes=nodes, per_node=1))
    assert talk.asks == ("check s1", "check s3")
    assert talk.good("s1").asks == ("check s2", "check s4")
    talk = Talk(course("s1 s2 s3 s4", nodes=nodes, per_node=2), per_node=1)
    assert talk.asks == ("check s1", "check s3"), "the limits of the policy count where they are narrower"
    talk = Talk(course("s1 s2 s3 s4", nodes=nodes, per_node=1), per_node=9)
    assert talk.asks == ("check s1", "check s3"), "and those of the plan where they are"
    disks = {"s1": ("ceph",), "s2": ("ceph",), "s3": ("local", "ceph"), "s4": ("local",)}
    talk = Talk(course("s1 s2 s3 s4", storages=disks), per_storage=1)
    assert talk.asks == ("check s1", "check s4")
    assert talk.good("s4").asks == ()
    assert talk.good("s1").asks == ("check s2",)
    assert talk.good("s2").asks == ("check s3",)
    assert Talk(course("s1 s2 s3 s4", storages=disks)).asks == ("check s1", "check s2", "check s3", "check s4")
    talk = Talk(course("s1 s2 s3", subjects={"s1": "g", "s2": "g"}))
    assert talk.asks == ("check s1", "check s3")
    assert talk.good("s1").asks == ("check s2",)
    talk = Talk(course("s1 s2 s3", subjects={"s1": "g", "s2": "g"}, may_fail_pct=50))
    talk.bad("s1").good("s3")
    assert talk.phases() == [StepPhase.FAILED, S, C]
    assert talk.run.status is R.FAILED


def test_a_share_of_failures_is_borne_and_more_stops_the_rest():
    talk = Talk(course("s1 s2 s3 s4", "s5 s6", may_fail_pct=25))
    talk.bad("s1").good("s2", "s3", "s4")
    assert talk.asks == ("check s5", "check s6")
    talk.good("s5", "s6")
    assert (talk.run.status, talk.run.reason) == (R.FAILED, "1 of 6 steps failed, the first: broken")
    talk = Talk(course("s1 s2 s3 s4", "s5 s6", may_fail_pct=25))
    talk >> ev("checked", "s3") >> ev("intended", "s3")
    talk.bad("s1").bad("s2")
    assert talk.run.status is R.RUNNING, "what is under way is not interrupted"
    talk >> ev("refused", "s3", text="locked")
    assert "3 of 4 steps went wrong" in talk.run.reason
    assert talk.phases()[3:] == [S, S, S]


def test_a_canary_that_fails_stops_all():
    talk = Talk(course("s1", "s2 s3 s4 s5", may_fail_pct=40)).bad("s1")
    assert (talk.run.status, talk.run.reason, talk.phases()[1:]) == (R.FAILED, "broken", [S] * 4)


def test_an_unknown_step_counts_as_failed_and_is_asked_about_at_the_end():
    talk = Talk(course("s1 s2 s3", may_fail_pct=50)).lost("s1")
    assert talk.run.status is R.RUNNING
    talk.good("s2")
    with pytest.raises(ValueError, match="still under way"):
        talk >> ev("checked", "s3") >> ev("closed", "s1")
    talk >> ev("intended", "s3") >> ev("answered", "s3") >> ev("observed", "s3")
    assert (talk.run.status, talk.run.current.key) == (R.UNKNOWN, "s1")
    talk >> ev("happened", "s1", actor="anna")
    assert talk.run.status is R.DONE


def test_a_person_says_what_became_of_it_and_the_rest_goes_on():
    talk = Talk(course("s1", "s2")).lost("s1")
    assert (talk.run.status, talk.asks) == (R.UNKNOWN, ())
    assert (talk >> ev("happened", "s1", actor="anna")).asks == ("check s2",)


def test_pause_and_resume():
    talk = Talk(course("s1 s2 s3", at_once=1))
    talk >> ev("pause_asked", actor="anna")
    assert (talk.asks, talk.run.status, talk.run.paused_by) == ((), R.RUNNING, "anna")
    with pytest.raises(ValueError, match="not the one"):
        talk >> ev("checked", "s1")
    assert (talk >> ev("resumed", actor="anna")).asks == ("check s1",)
    for kind in ("checked", "intended"):
        talk >> ev(kind, "s1")
    talk >> ev("pause_asked", actor="anna")
    talk >> ev("answered", "s1") >> ev("observed", "s1")
    assert (talk.run.status, talk.phases()[1]) == (R.RUNNING, StepPhase.PENDING)
    assert resume(talk.run) == ()
    talk >> ev("stop_asked", actor="ben")
    assert (talk.run.status, talk.run.reason) == (R.STOPPED, "stopped by ben")


def test_nothing_begins_after_the_deadline():
    late = NOW + timedelta(seconds=61)
    talk = Talk(course("s1 s2", at_once=1, deadline_s=60))
    for kind in ("checked", "intended", "answered"):
        talk >> ev(kind, "s1")
    talk >> ev("observed", "s1", at=late)
    assert (talk.run.status, talk.phases()) == (R.FAILED, [C, S])
    assert "60 s after the approval" in talk.run.reason
    talk = Talk(course("s1 s2", at_once=1, deadline_s=60)) >> ev("pause_asked", actor="anna") >> ev("deadline", text="too late")
    assert (talk.run.status, talk.run.reason) == (R.FAILED, "too late")
    talk = Talk(course("s1", deadline_s=60))
    for kind in ("checked", "intended", "answered"):
        talk >> ev(kind, "s1")
    assert (talk >> ev("observed", "s1", at=late)).run.status is R.FAILED


def test_what_must_hold_before_each_wave():
    fact = (Fact(subject="cluster", field="quorate", value=True),)
    talk = Talk(course("s1", "s2", before=fact))
    assert talk.asks == ("gate",)
    assert (talk >> ev("gate_open")).asks == ("check s1",)
    assert talk.good("s1").asks == ("gate",)
    with pytest.raises(ValueError, match="cannot happen now"):
        talk >> ev("verified")
    assert resume(talk.run) == (Command("gate"),)
    talk >> ev("pause_asked", actor="anna")
    with pytest.raises(ValueError, match="cannot happen now"):
        talk >> ev("gate_open")
    assert (talk >> ev("resumed")).asks == ("gate",)
    talk >> ev("gate_shut", text="no quorum")
    assert (talk.run.status, talk.run.reason, talk.phases()) == (R.FAILED, "no quorum", [C, S])


def test_a_doubled_word_does_not_open_a_gate():
    talk = Talk(course("s1", "s2", before=(Fact(subject="cluster", field="quorate", value=True),)))
    talk >> ev("resumed")
    assert (talk.asks, talk.run.check, talk.run.wave) == ((), "before", -1), "it is looked at already"


def test_a_wave_of_which_nothing_is_left_is_passed_over():
    talk = Talk(course("a1", "a2", "b1", subjects={"a1": "a", "a2": "a"}, may_fail_pct=100))
    assert talk.bad("a1").asks == ("check b1",)
    assert talk.phases() == [StepPhase.FAILED, S, StepPhase.PENDING]


@pytest.mark.parametrize(("kind", "status"), [("verified", R.DONE), ("not_verified", R.FAILED)])
def test_what_must_hold_at_the_end(kind, status):
    talk = Talk(course("s1", after=(Fact(subject="guest/101", field="node", value="b"),))).good("s1")
    assert talk.asks == ("verify",)
    talk >> ev(kind, text="guest/101.node is a")
    assert talk.run.status is status


def undoing(**flow):
    return Talk(course("s1 s2 s3", inverse={"s1": "u1", "s2": "u2"}, at_once=1, take_back=True, **flow))


def test_what_was_done_is_taken_back_last_first():
    talk = undoing().good("s1", "s2").bad("s3")
    assert (talk.asks, talk.run.status) == (("check u2",), R.RUNNING)
    assert talk.good("u2").asks == ("check u1",)
    talk.good("u1")
    assert (talk.run.status, talk.run.reason, talk.run.was_taken_back) == (R.FAILED, "broken. 2 of 2 steps were taken back", True)


def test_taking_back_ends_where_it_fails_or_is_stopped():
    talk = undoing().good("s1", "s2").bad("s3").bad("u2", "moved on")
    assert talk.run.reason == "broken. 0 of 2 steps were taken back, then: moved on"
    assert [step.phase for step in talk.run.undo] == [StepPhase.FAILED, S]
    talk = undoing().good("s1", "s2").bad("s3")
    talk >> ev("pause_asked", actor="anna")
    assert talk.asks == ()
    talk >> ev("resumed")
    assert talk.asks == ("check u2",)
    talk >> ev("stop_asked", actor="anna")
    assert (talk.run.status, talk.run.reason) == (R.FAILED, "broken. 0 of 2 steps were taken back, then: stopped by anna")
    talk = undoing().good("s1").bad("s2").lost("u1")
    assert (talk.run.status, talk.run.current.key) == (R.UNKNOWN, "u1")
    assert (talk >> ev("happened", "u1", actor="anna")).run.was_taken_back
    assert undoing().bad("s1").run.status is R.FAILED, "nothing was done, so nothing is taken back"


def test_a_restart_in_the_middle_of_waves_sends_nothing_again():
    talk = Talk(course("s1 s2 s3 s4"))
    for key, upto in (("s1", 1), ("s2", 2), ("s3", 3)):
        for kind in ("checked", "intended", "answered")[:upto]:
            talk >> ev(kind, key, upid=UPID if kind == "answered" else "")
    found = resume(replay(fresh("r", "p", ("s1", "s2", "s3", "s4")), talk.journal, talk.course))
    assert [f"{command.kind} {command.step}" for command in found] == ["check s1", "reconcile s2", "follow s3", "check s4"]


def flow_plan(*waves, vmids=(101, 102, 103), **flow):
    steps = tuple(build.step(vmid, f"s{number}") for number, vmid in enumerate(vmids, start=1))
    chosen = waves or (tuple(step.key for step in steps),)
    made = Flow(
        waves=tuple(Wave(name=f"wave {n}", steps=tuple(keys)) for n, keys in enumerate(chosen, start=1)),
        **{"at_once": 3, "per_node": 9, **flow},
    )
    return build.plan(*steps, flow=made)


def test_a_plan_without_a_flow_keeps_its_digest_and_older_ones_are_read():
    plan = build.plan()
    data = encode(plan)
    assert data.pop("flow") is None
    assert decode(Plan, data) == plan
    assert decode(Plan, data).digest == plan.digest
    assert flow_plan().digest != replace(flow_plan(), flow=None).digest
    assert flow_plan().digest != flow_plan(at_once=2).digest


@pytest.mark.parametrize(
    "flow",
    [
        Flow(waves=(Wave(name="w", steps=("s1", "s2")),)),
        Flow(waves=(Wave(name="w", steps=("s2", "s1", "s3")),)),
        Flow(waves=(Wave(name="w", steps=("s1", "s2", "s3")), Wave(name="e", steps=()))),
        Flow(waves=(Wave(name="w", steps=("s1", "s2", "s3")),), at_once=33),
        Flow(waves=(Wave(name="w", steps=("s1", "s2", "s3")),), may_fail_pct=101),
    ],
)
def test_a_flow_that_cannot_be_is_refused(guarded, flow):
    with pytest.raises(InputError, match="cannot be carried out"):
        guarded.propose(replace(flow_plan(), flow=flow))


def test_two_plans_in_a_row_have_the_stricter_flow():
    joined = then(build.plan(), flow_plan(vmids=(102, 103), at_once=5, may_fail_pct=20, deadline_s=9), summary="both")
    assert [wave.steps for wave in joined.waves] == [("s1",), ("s2", "s3")]
    assert (joined.flow.at_once, joined.flow.may_fail_pct, joined.flow.deadline_s) == (1, 0, 0)
    assert not joined.flow.fault(tuple(step.key for step in joined.steps))


def test_steps_run_together_and_are_all_written_down(guarded):
    together = threading.Barrier(3, timeout=10)
    guarded.cluster.on_send = lambda call: together.wait()
    run = guarded.go(flow_plan())
    assert run.status is R.DONE
    assert len(guarded.cluster.received) == 3
    assert guarded.kinds().count("step.observed") == 3
    assert guarded.ledger.verify().ok


def test_a_fault_of_ours_in_one_step_ends_the_round_and_loses_nothing(guarded):
    class BangError(Exception):
        pass

    def bang(call):
        if "/102/" in call.path:
            raise BangError

    guarded.cluster.on_send = bang
    proposal = guarded.propose(flow_plan())
    guarded.approve(proposal)
    with pytest.raises(BangError):
        guarded.dispatcher.work()
    guarded.cluster.on_send = None
    guarded.restart()
    guarded.executor.recover()
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert run.status is R.UNKNOWN
    assert run.steps[1].phase is U
    guarded.executor.resolve(guarded.who("anna"), proposal.id, ResolveRequest(what="happened"))
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is R.DONE
    assert len([call for call in guarded.cluster.received if "/102/" in call.path]) == 1


def test_failed_waves_are_taken_back_by_themselves(guarded):
    plan = flow_plan(("s1",), ("s2",), ("s3",), take_back=True)
    proposal = guarded.propose(plan)
    guarded.approve(proposal)

    def third(call):
        if "/103/" in call.path:
            guarded.cluster.next_exit = "migration aborted"
        else:
            guarded.cluster.next_exit = "OK"

    guarded.cluster.on_send = third
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, run.was_taken_back) == (R.FAILED, True)
    assert [call.path.split("/")[4] for call in guarded.cluster.received] == ["101", "102", "103", "102", "101"]
    assert guarded.cluster.guests[101]["node"] == guarded.cluster.guests[102]["node"] == "pve1"


def test_what_was_touched_since_is_not_taken_back(guarded):
    proposal = guarded.propose(flow_plan(("s1",), ("s2",), vmids=(101, 102), take_back=True))
    guarded.approve(proposal)

    def second(call):
        if "/102/" in call.path:
            guarded.cluster.next_exit = "migration aborted"
            guarded.cluster.guests[101]["node"] = "pve3"

    guarded.cluster.on_send = second
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert "0 of 1 steps were taken back" in run.reason
    assert len(guarded.cluster.received) == 2


def test_an_inverse_that_destroys_makes_the_plan_red(guarded):
    from pveops.model.plan import Step, WireCall

    gone = Step(key="s1-undo", text="Delete", subject="guest/101", call=WireCall(method="DELETE", path="/nodes/pve1/qemu/101/snapshot/a1"))
    plan = build.plan(build.step(undo=gone))
    assert guarded.propose(plan).tier is Tier.YELLOW
    flow = Flow(waves=(Wave(name="all", steps=("s1",)),), take_back=True)
    assert guarded.propose(replace(plan, flow=flow)).tier is Tier.RED


def test_pausing_and_going_on_by_people(guarded):
    proposal = guarded.propose(flow_plan(("s1",), ("s2",), ("s3",)))
    guarded.approve(proposal)
    with pytest.raises(Denied):
        guarded.executor.pause(guarded.who("viewer"), proposal.id, "")
    guarded.cluster.on_send = lambda call: guarded.executor.pause(guarded.who("operator"), proposal.id, "lunch")
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, run.paused_by, len(guarded.cluster.received)) == (R.RUNNING, "operator", 1)
    assert "held by" in guarded.propose(build.plan(build.step(103))).reason
    guarded.restart()
    guarded.executor.recover()
    guarded.dispatcher.work()
    assert len(guarded.cluster.received) == 1, "a pause survives a restart"
    guarded.cluster.on_send = None
    guarded.executor.go_on(guarded.who("operator"), proposal.id, "")
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is R.DONE
    assert [kind for kind in guarded.kinds() if kind in ("run.pause_asked", "run.resumed")] == ["run.pause_asked", "run.resumed"]


@pytest.mark.slow
def test_a_paused_run_ends_by_itself_at_its_deadline(guarded):
    proposal = guarded.propose(flow_plan(("s1",), ("s2",), vmids=(101, 102), deadline_s=30))
    guarded.approve(proposal)
    guarded.executor.pause(guarded.who("operator"), proposal.id, "")
    guarded.dispatcher.work()
    guarded.cluster.clock.tick(31)
    guarded.dispatcher.work(delayed=True)
    run = guarded.run_of(proposal)
    assert (run.status, guarded.cluster.received) == (R.FAILED, [])
    assert "run.deadline" in guarded.kinds()


@pytest.mark.parametrize("where", ["before", "after"])
def test_checks_of_the_run_as_a_whole(guarded, where):
    fact = Fact(subject="guest/103", field="status", value="running")
    proposal = guarded.propose(flow_plan(("s1",), ("s2",), vmids=(101, 102), **{where: (fact,)}))
    guarded.approve(proposal)
    guarded.cluster.on_send = lambda call: guarded.cluster.guests[103].update(status="stopped")
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert run.status is R.FAILED
    assert "guest/103.status is stopped" in run.reason
    assert len(guarded.cluster.received) == (1 if where == "before" else 2)
    guarded.cluster.guests[101]["node"] = guarded.cluster.guests[102]["node"] = "pve1"
    guarded.cluster.guests[103]["status"] = "running"
    guarded.cluster.on_send = None
    assert guarded.go(flow_plan(("s1",), ("s2",), vmids=(101, 102), **{where: (fact,)})).status is R.DONE


def test_a_stop_in_the_moment_of_the_intent_sends_nothing(guarded, monkeypatch):
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    real = guarded.ledger.append

    def stop_first(kind, **more):
        seq = real(kind, **more)
        if kind == "step.intended":
            guarded.executor.stop(guarded.who("operator"), proposal.id, "wait!")
        return seq

    monkeypatch.setattr(guarded.ledger, "append", stop_first)
    guarded.dispatcher.work()
    assert (guarded.run_of(proposal).status, guarded.cluster.received) == (R.STOPPED, [])
    assert "step.barred" in guarded.kinds()


def test_a_process_that_stood_still_between_intent_and_request_sends_nothing(guarded, monkeypatch):
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    real = guarded.journal.record

    def slow(run_id, proposal_id, events, **more):
        missed = real(run_id, proposal_id, events, **more)
        if events[-1].kind == "intended":
            real_mono = guarded.cluster.clock.monotonic_s
            monkeypatch.setattr(type(guarded.cluster.clock), "monotonic_s", lambda self: real_mono() + (1e7 if slept else 0))
        return missed

    slept = []
    monkeypatch.setattr(guarded.journal, "record", slow)
    gate = guarded.runner._carrier._gate
    real_sending = gate.sending
    calls = []
    monkeypatch.setattr(
        gate, "sending", lambda cluster: (calls.append(1), slept.append(1) if len(calls) == 2 else None, real_sending(cluster))
    )
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert run.status is R.FAILED
    assert "stood still" in run.reason
    assert guarded.cluster.received == []


def test_a_run_that_another_worker_took_is_left_alone(guarded):
    proposal = guarded.propose(flow_plan(("s1",), ("s2",), vmids=(101, 102)))
    guarded.approve(proposal)
    run_id = guarded.executor.get(proposal.id).run_id
    guarded.peers.alone = guarded.runner._carrier._alone = False
    guarded.cluster.on_send = lambda call: guarded.journal.claim(run_id, "w-00000009", dead={guarded.peers.worker})
    with pytest.raises(Used, match="carries the run"):
        guarded.dispatcher.work()
    assert len(guarded.cluster.received) == 1


def test_an_unreachable_cluster_shuts_the_gate(guarded):
    fact = Fact(subject="cluster", field="quorate", value=True)
    proposal = guarded.propose(flow_plan(("s1",), vmids=(101,), before=(fact,)))
    guarded.approve(proposal)
    guarded.cluster.broken["facts"] = Unreachable("no endpoint answers")
    guarded.dispatcher.work()
    assert "no endpoint answers" in guarded.run_of(proposal).reason


class Waves(RuleBasedStateMachine):
    """Any plan in waves, driven by an executor that does what it is told, a cluster that does what it likes, people who interfere, and crashes."""

    @initialize(data=st.data())
    def begin(self, data):
        sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
        keys = iter(f"s{n}" for n in range(1, 20))
        waves = [" ".join(next(keys) for _ in range(size)) for size in sizes]
        names = " ".join(waves).split()
        self.course = course(
            *waves, subjects={key: data.draw(st.sampled_from("abcd")) for key in names}, nodes={key: (data.draw(st.sampled_from("xy")),) for key in names},
            inverse={key: f"{key}-undo" for key in names if data.draw(st.booleans())}, at_once=data.draw(st.integers(1, 4)), per_node=data.draw(st.integers(1, 3)),
            may_fail_pct=data.draw(st.sampled_from([0, 30, 100])), take_back=data.draw(st.booleans()),
            before=(Fact(subject="c", field="q"),) if data.draw(st.booleans()) else (), after=(Fact(subject="c", field="q"),) if data.draw(st.booleans()) else (),
        )  # fmt: skip
        self.names = names
        self.run, self.open, self.sent, self.journal = fresh("r", "p", names), [], [], []
        self.add(ev("opened", actor="anna"))

    def add(self, event):
        self.run, commands = decide(self.run, event, self.course)
        self.journal.append(event)
        self.open = [command for command in self.open if command.step != event.step] if event.step else self.open
        self.open += [command for command in commands if command not in self.open]

    def workable(self):
        return [command for command in self.open if command.kind not in ("settle", "look_later")]

    @precondition(lambda self: self.workable())
    @rule(data=st.data())
    def work(self, data):
        command = data.draw(st.sampled_from(self.workable()))
        options = {
            "check": ["checked", "barred"], "intend": ["intended", "barred"], "send": ["answered", "refused", "no_answer"], "reconcile": ["adopted", "not_found"],
            "follow": ["task_ended", "task_lost"], "read_back": ["observed", "observed", "observed", "not_observed", "unreadable"], "gate": ["gate_open", "gate_shut"],
            "verify": ["verified", "not_verified"],
        }[command.kind]  # fmt: skip
        kind = data.draw(st.sampled_from(options))
        if command.kind == "send":
            assert command.step not in self.sent, "sent twice"
            self.sent.append(command.step)
        self.open.remove(command)
        upid = UPID if kind in ("answered", "adopted") and data.draw(st.booleans()) else ""
        try:
            self.add(ev(kind, command.step, text="t", upid=upid, ok=data.draw(st.booleans()), retry=data.draw(st.booleans())))
        except ValueError:
            assert self.run.stop_asked_by or self.run.paused_by or self.run.check == "" or self.run.status.ended, (
                "refused only where somebody came between"
            )

    @rule(kind=st.sampled_from(["pause_asked", "resumed", "stop_asked"]))
    def interfere(self, kind):
        if not self.run.status.ended:
            self.add(ev(kind, actor="ben"))

    @precondition(lambda self: self.run.status is R.UNKNOWN)
    @rule(kind=st.sampled_from(["look", "happened", "not_happened", "closed"]))
    def person(self, kind):
        self.add(ev(kind, self.run.current.key, actor="anna"))

    @rule()
    def crash(self):
        again = replay(fresh("r", "p", self.names), self.journal, self.course)
        assert again == self.run, "the journal tells the whole state"
        self.open = list(resume(again))
        assert not any(command.kind == "send" for command in self.open)

    @invariant()
    def keeps_its_limits(self):
        if not hasattr(self, "course"):
            return
        busy = [step for step in self.run.steps if step.picked or step.phase.working]
        flow = self.course.flow
        assert len(busy) <= flow.at_once
        for node in "xy":
            assert sum(node in self.course.nodes[step.key] for step in busy) <= flow.per_node
        assert len({self.course.subject[step.key] for step in busy}) == len(busy), "one step per guest at a time"
        assert not (busy and any(step.phase.working or step.picked for step in self.run.undo)), (
            "nothing is taken back while steps are under way"
        )
        for number, wave in enumerate(self.course.waves):
            if any(step.phase is not StepPhase.PENDING and step.phase is not S for step in self.run.steps if step.key in wave):
                assert number <= self.run.wave

    @invariant()
    def tells_the_truth(self):
        if not hasattr(self, "course"):
            return
        if self.run.status in (R.DONE, R.WARNED):
            assert all(step.phase.good for step in self.run.steps)
        if self.run.status is R.UNKNOWN:
            assert self.run.current.phase is U
        if self.run.status is R.RUNNING:
            assert (
                self.run.paused_by or self.run.check or any(step.picked or step.phase.working for step in self.run.steps + self.run.undo)
            ), "it never hangs"
        if self.run.status.ended:
            assert not any(step.picked or step.phase.working for step in self.run.steps + self.run.undo)


TestWaves = Waves.TestCase
TestWaves.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
