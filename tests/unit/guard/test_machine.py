"""The machine as dialogues: events in, commands out."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pveops.guard.events import RunEvent
from pveops.guard.machine import Command, decide, fresh, replay, resume
from pveops.model.run import RunStatus, StepPhase
from pveops.testing.build import NOW

UPID = "UPID:pve1:00000001:0000ABCD:673F1A2B:qmigrate:101:operator@pve!act:"


def ev(kind, step="s1", **more):
    return RunEvent(kind=kind, at=NOW, step="" if kind in ("opened", "stop_asked") else step, **more)


def dialogue(*lines, keys=("s1",)):
    """``>>`` an event, ``<<`` the commands it must give; returns the run."""
    run, given_ = fresh("r-000001", "p-000001", keys), ()
    for line in lines:
        if isinstance(line, RunEvent):
            run, given_ = decide(run, line)
        else:
            assert tuple((command.kind, command.step) for command in given_) == line, f"{given_} is not {line}"
    return run


GOOD = (
    ev("opened", actor="anna"),
    (("check", "s1"),),
    ev("checked"),
    (("intend", "s1"),),
    ev("intended", node_s=5),
    (("send", "s1"),),
    ev("answered", upid=UPID),
    (("follow", "s1"),),
    ev("task_ended", text="OK"),
    (("read_back", "s1"),),
    ev("observed"),
    (("settle", ""),),
)


def test_a_good_run():
    run = dialogue(*GOOD)
    assert (run.status, run.approved_by, run.steps[0].phase, run.steps[0].upid) == (RunStatus.DONE, "anna", StepPhase.DONE, UPID)
    assert run.current is None


def test_two_steps_one_after_the_other():
    run = dialogue(*GOOD[:-1], (("check", "s2"),), ev("barred", "s2", text="moved on"), (("settle", ""),), keys=("s1", "s2"))
    assert (run.status, run.reason) == (RunStatus.FAILED, "moved on")
    assert [step.phase for step in run.steps] == [StepPhase.DONE, StepPhase.FAILED]


def test_warnings_are_no_failure():
    run = dialogue(*GOOD[:8], ev("task_ended", text="WARNINGS: 2", warned=True), (("read_back", "s1"),), ev("observed"), (("settle", ""),))
    assert (run.status, run.steps[0].phase) == (RunStatus.WARNED, StepPhase.WARNED)


@pytest.mark.parametrize(
    ("events", "phase", "status"),
    [
        ((ev("barred", text="x"),), StepPhase.FAILED, RunStatus.FAILED),
        ((ev("checked"), ev("intended"), ev("refused", text="x")), StepPhase.FAILED, RunStatus.FAILED),
        (
            (ev("checked"), ev("intended"), ev("answered", upid=UPID), ev("task_ended", ok=False, text="x")),
            StepPhase.FAILED,
            RunStatus.FAILED,
        ),
        (
            (ev("checked"), ev("intended"), ev("answered", upid=UPID), ev("task_ended", text="OK"), ev("not_observed", text="x")),
            StepPhase.FAILED,
            RunStatus.FAILED,
        ),
        ((ev("checked"), ev("intended"), ev("no_answer"), ev("not_found", text="x")), StepPhase.UNKNOWN, RunStatus.UNKNOWN),
        ((ev("checked"), ev("intended"), ev("answered", upid=UPID), ev("task_lost", text="x")), StepPhase.UNKNOWN, RunStatus.UNKNOWN),
        (
            (ev("checked"), ev("intended"), ev("answered", upid=UPID), ev("task_ended", unsure=True, text="x")),
            StepPhase.UNKNOWN,
            RunStatus.UNKNOWN,
        ),
        ((ev("checked"), ev("intended"), ev("answered"), ev("unreadable", text="x")), StepPhase.UNKNOWN, RunStatus.UNKNOWN),
    ],
)
def test_endings_that_are_not_good(events, phase, status):
    run = replay(fresh("r", "p", ("s1", "s2")), (ev("opened"), *events))
    assert (run.steps[0].phase, run.status) == (phase, status)
    assert run.steps[1].phase is (StepPhase.SKIPPED if status is RunStatus.FAILED else StepPhase.PENDING)
    assert "x" in run.reason


def test_no_answer_is_looked_for_and_adopted():
    run = dialogue(*GOOD[:6], ev("no_answer", text="timed out"), (("reconcile", "s1"),), ev("adopted", upid=UPID), (("follow", "s1"),))
    assert run.steps[0].adopted


def test_a_synchronous_call_goes_straight_to_reading():
    run = dialogue(*GOOD[:6], ev("answered"), (("read_back", "s1"),))
    assert run.steps[0].upid == ""
    dialogue(*GOOD[:6], ev("no_answer"), ev("adopted"), (("read_back", "s1"),))


def test_after_a_restart_nothing_is_sent_again():
    for upto, command in ((2, "check"), (4, "check"), (6, "reconcile"), (8, "follow"), (10, "read_back"), (12, "settle")):
        run = dialogue(*GOOD[:upto])
        assert resume(run)[0].kind == command


def test_unknown_waits_for_a_person_or_for_a_later_look():
    lost = (*GOOD[:6], ev("no_answer"), ev("not_found", text="nobody knows"), ())
    dialogue(*lost)
    assert resume(dialogue(*lost)) == ()
    silent = (*GOOD[:6], ev("no_answer"), ev("not_found", text="the node is silent", retry=True), (("look_later", "s1"),))
    dialogue(*silent, ev("look"), (("reconcile", "s1"),))
    assert resume(dialogue(*silent)) == (Command("look_later", "s1"),)


@pytest.mark.parametrize(
    ("kind", "phase", "status", "then"),
    [
        ("happened", StepPhase.DONE, RunStatus.RUNNING, "check"),
        ("not_happened", StepPhase.FAILED, RunStatus.FAILED, "settle"),
        ("closed", StepPhase.UNKNOWN, RunStatus.CLOSED, "settle"),
    ],
)
def test_a_person_settles_what_is_unknown(kind, phase, status, then):
    unknown = (*GOOD[:6], ev("no_answer"), ev("not_found", text="nobody knows"))
    run, commands = decide(dialogue(*unknown, keys=("s1", "s2")), ev(kind, actor="anna"))
    assert (run.steps[0].phase, run.status, commands[0].kind) == (phase, status, then)
    if kind != "closed":
        assert "anna says" in run.steps[0].reason
    if status.ended:
        assert run.steps[1].phase is StepPhase.SKIPPED


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ((ev("answered", upid=UPID), ev("task_lost", retry=True)), "follow"),
        ((ev("answered", upid=UPID), ev("task_ended", text="unexpected status", unsure=True)), "read_back"),
        ((ev("no_answer"), ev("not_found")), "reconcile"),
    ],
)
def test_looking_again_goes_on_where_it_was(before, command):
    run, commands = decide(replay(dialogue(*GOOD[:6]), before), ev("look", actor="anna"))
    assert (commands[0].kind, run.status) == (command, RunStatus.RUNNING)


def test_a_stop_is_kept_until_the_step_is_through():
    run, commands = decide(dialogue(*GOOD[:6], keys=("s1", "s2")), ev("stop_asked", actor="anna"))
    assert commands == (), "what is under way goes on; nothing else is to be done"
    run = replay(run, (ev("answered", upid=UPID), ev("task_ended", text="OK")))
    run, commands = decide(run, ev("observed"))
    assert (run.status, commands[0].kind, [step.phase for step in run.steps]) == (
        RunStatus.STOPPED,
        "settle",
        [StepPhase.DONE, StepPhase.SKIPPED],
    )
    at_once, _ = decide(fresh("r", "p", ("s1",)), ev("stop_asked", actor="anna"))
    assert at_once.status is RunStatus.STOPPED


def test_what_cannot_happen_is_refused():
    run = dialogue(*GOOD)
    for kind in ("checked", "happened", "look"):
        with pytest.raises(ValueError, match="cannot happen"):
            decide(run, ev(kind))
    waiting = dialogue(*GOOD[:6], keys=("s1", "s2"))
    for bad, why in (
        (ev("checked", "s2"), "not the one"),
        (ev("checked", "s9"), "no step"),
        (ev("observed"), "cannot happen"),
        (ev("intended"), "cannot happen"),
    ):
        with pytest.raises(ValueError, match=why):
            decide(waiting, bad)


KINDS = ["checked", "barred", "intended", "answered", "refused", "no_answer", "adopted", "not_found", "task_ended", "task_lost", "observed",
         "not_observed", "unreadable", "stop_asked", "look", "happened", "not_happened", "closed"]  # fmt: skip
events = st.builds(
    lambda kind, step, upid, ok, unsure, retry, later: RunEvent(
        kind=kind, at=NOW + timedelta(seconds=later), step="" if kind == "stop_asked" else step, actor="anna", text="t",
        upid=UPID if upid else "", ok=ok, unsure=unsure, retry=retry,
    ),
    st.sampled_from(KINDS), st.sampled_from(["s1", "s2", "s3"]), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 9),
)  # fmt: skip


@given(st.lists(events, max_size=60))
@settings(max_examples=100)
def test_no_order_of_events_breaks_the_rules(given_events):
    run, sends, happened = fresh("r", "p", ("s1", "s2", "s3")), {}, []
    commands = ()
    for event in (ev("opened", actor="anna"), *given_events):
        try:
            after, commands = decide(run, event)
        except ValueError:
            continue
        happened.append(event)
        assert not run.status.ended, "nothing is taken by a run that ended"
        run = after
        for command in commands:
            if command.kind == "send" and event.kind == "intended":
                sends[command.step] = sends.get(command.step, 0) + 1
        assert len(commands) <= 1
    assert all(count == 1 for count in sends.values()), "an intent is sent once"
    assert replay(fresh("r", "p", ("s1", "s2", "s3")), happened) == run, "the journal tells the whole state"
    assert not any(command.kind == "send" for command in resume(run))
    good = [step.phase.good for step in run.steps]
    assert good == sorted(good, reverse=True), "steps run in order"


class Life(RuleBasedStateMachine):
    """A run driven by an executor that does what it is told and a cluster that does what it likes."""

    def __init__(self):
        super().__init__()
        self.run = fresh("r", "p", ("s1", "s2"))
        self.commands = ()
        self.sent = []
        self.journal = []
        self.add(ev("opened", actor="anna"))

    def add(self, event):
        self.run, self.commands = decide(self.run, event)
        self.journal.append(event)

    @precondition(lambda self: self.commands and self.commands[0].kind not in ("settle", "look_later"))
    @rule(data=st.data())
    def work(self, data):
        command = self.commands[0]
        options = {
            "check": ["checked", "barred"],
            "intend": ["intended", "barred"],
            "send": ["answered", "refused", "no_answer"],
            "reconcile": ["adopted", "not_found"],
            "follow": ["task_ended", "task_lost"],
            "read_back": ["observed", "not_observed", "unreadable"],
        }[command.kind]
        kind = data.draw(st.sampled_from(options))
        if command.kind == "send":
            assert command.step not in self.sent, "sent twice"
            self.sent.append(command.step)
        upid = UPID if kind in ("answered", "adopted") and data.draw(st.booleans()) else ""
        self.add(
            RunEvent(kind=kind, at=NOW, step=command.step, text="t", upid=upid, ok=data.draw(st.booleans()), retry=data.draw(st.booleans()))
        )

    @rule()
    def crash(self):
        self.run = replay(fresh("r", "p", ("s1", "s2")), self.journal)
        self.commands = resume(self.run)

    @precondition(lambda self: self.run.status is RunStatus.UNKNOWN)
    @rule(kind=st.sampled_from(["look", "happened", "not_happened", "closed"]))
    def person(self, kind):
        self.add(RunEvent(kind=kind, at=NOW, step=self.run.current.key, actor="anna"))

    @invariant()
    def tells_the_truth(self):
        if self.run.status in (RunStatus.DONE, RunStatus.WARNED):
            assert all(step.phase.good for step in self.run.steps)
        if self.run.status is RunStatus.UNKNOWN:
            assert self.run.current.phase is StepPhase.UNKNOWN


TestLife = pytest.mark.slow(Life.TestCase)
