"""Proposal, approval and run, each as a state machine of its own: whatever comes in whatever order, their rules hold. ``test_life.py`` has them all at once."""

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pveops.base.errors import Denied, Expired, Forged, GuardError, Stale, Used
from pveops.guard.approval import check_approval, check_open
from pveops.guard.events import RunEvent
from pveops.guard.machine import decide, fresh, replay, resume
from pveops.guard.principals import Principal
from pveops.model.claims import CLAIM_TTL_S, claim_for, new_key, sign
from pveops.model.proposal import ProposalStatus
from pveops.model.run import RunStatus, StepPhase
from pveops.testing import build

HASH, OTHER_HASH = "0" * 64, "1" * 64
KEYS = {name: new_key() for name in ("anna", "ben")}
CALLERS = {
    **{name: Principal(name=name, kind="person", roles=("operator",), token_sha256="", public_key=KEYS[name][1]) for name in KEYS},
    "agent": Principal(name="agent", kind="agent", roles=("operator",), token_sha256="", public_key=KEYS["ben"][1]),
    "keyless": Principal(name="keyless", kind="person", roles=("operator",), token_sha256=""),
}
BOUND = ("proposal_id", "plan_digest", "state_fingerprint", "audience", "approval_id")
ENDS = [status for status in ProposalStatus if not status.open]
quick = settings(max_examples=25, stateful_step_count=20, deadline=None)


class ApprovalLife(RuleBasedStateMachine):
    """One proposal after the other, many approvals: signed, altered, kept, sent by others, sent late. What is taken must be exactly right."""

    def __init__(self):
        super().__init__()
        self.now, self.policy = build.NOW, HASH
        self.proposal = build.proposal(policy_hash=HASH)
        self.kept = []
        """Approvals with who signed them and what was done to them."""

    def signed(self, by, *, ahead_s=0, **changes):
        claim = claim_for(self.proposal, approver=by, now=self.now + timedelta(seconds=ahead_s))
        return sign(replace(claim, **changes), KEYS[by][0])

    @rule(
        by=st.sampled_from(sorted(KEYS)), done=st.sampled_from(("", "", "", "bound", "ahead", "claim", "signature", "longer", "name")), field=st.sampled_from(BOUND),
        caller=st.sampled_from(("its own", "its own", "its own", *sorted(CALLERS))), keep=st.booleans(),
    )  # fmt: skip
    def make_and_use(self, by, done, field, caller, keep):
        made = {"bound": lambda: self.signed(by, **{field: "something-else"}), "ahead": lambda: self.signed(by, ahead_s=31)}.get(
            done, lambda: self.signed(by)
        )()
        if done not in ("", "bound", "ahead"):
            made = altered(made, by, done)
            done = "altered"
        self.kept.append((made, by, done))
        if not keep:
            self.judge(*self.kept[-1], caller)

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), caller=st.sampled_from(("its own", "its own", *sorted(CALLERS))))
    def use_a_kept_one(self, data, caller):
        self.judge(*data.draw(st.sampled_from(self.kept)), caller)

    @rule(seconds=st.sampled_from([1, 29, 35, CLAIM_TTL_S - 1, CLAIM_TTL_S]))
    def time_goes_on(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(now=st.sampled_from((HASH, HASH, OTHER_HASH, "")))
    def the_policy_changes(self, now):
        self.policy = now

    @precondition(lambda self: self.proposal.status.open)
    @rule(status=st.sampled_from(ENDS))
    def it_is_decided(self, status):
        self.proposal = replace(self.proposal, status=status, decided_by="carl")

    @precondition(lambda self: not self.proposal.status.open or self.now >= self.proposal.expires)
    @rule()
    def another_one_is_put_forward(self):
        self.proposal = build.proposal(policy_hash=HASH, created=self.now, expires=self.now + timedelta(minutes=15))
        self.kept = [
            (approval, by, done if done == "altered" else "bound") for approval, by, done in self.kept
        ]  # all of them are for something else now

    def judge(self, approval, by, done, caller):
        who, claim = CALLERS[by if caller == "its own" else caller], approval.claim
        error = self.said(approval, who)
        if who.kind != "person" or not who.public_key:
            assert error is Denied
        elif who.name != by or done == "altered":
            assert error is Forged, "another's, or not as it was signed"
        elif not self.proposal.status.open or self.now >= self.proposal.expires:
            assert error in (Used, Expired)
        elif done == "bound":
            assert error is Forged
        elif self.policy != HASH:
            assert error is Stale
        elif claim.issued > self.now + timedelta(seconds=30):
            assert error is Forged
        elif self.now >= claim.expires:
            assert error is Expired
        else:
            assert error is None
            self.proposal = replace(self.proposal, status=ProposalStatus.APPROVED, decided_by=who.name)
            assert self.said(approval, who) is Used, "an approval is spent once"

    def said(self, approval, who):
        try:
            check_approval(approval, self.proposal, who, policy_hash=self.policy, now=self.now)
        except GuardError as err:
            return type(err)
        return None


def altered(approval, by, what):
    """An approval that was changed after it was signed."""
    claim = approval.claim
    if what == "signature":
        return replace(approval, signature=approval.signature[:-2] + ("00" if approval.signature[-2:] != "00" else "11"))
    changes = {
        "claim": {"plan_digest": "f" * 64}, "longer": {"expires": claim.expires + timedelta(days=1)}, "name": {"approver": "ben" if by == "anna" else "anna"},
    }[what]  # fmt: skip
    return replace(approval, claim=replace(claim, **changes))


class ProposalLife(RuleBasedStateMachine):
    """A proposal by itself: open until it is decided or its time is over, and never open again. The clock may be set back."""

    def __init__(self):
        super().__init__()
        self.now = build.NOW
        self.proposal = build.proposal()
        self.over = None

    @rule(seconds=st.integers(-3600, 1000))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(status=st.sampled_from(ENDS))
    def decide(self, status):
        try:
            check_open(self.proposal, now=self.now)
        except (Expired, Used):
            return
        assert self.over is None, "decided twice"
        self.proposal = replace(self.proposal, status=status, decided_by="anna", decided_at=self.now)
        self.over = status

    @rule()
    def somebody_edits_it(self):
        step = self.proposal.plan.steps[0]
        call = replace(step.call, params=(*step.call.params, ("force", 1)))
        edited = replace(self.proposal, plan=replace(self.proposal.plan, steps=(replace(step, call=call),)))
        assert edited.plan.digest != self.proposal.digest
        try:
            edited.intact()
        except Forged:
            return
        raise AssertionError("an edited plan was taken for the one that was put forward")

    @invariant()
    def open_means_undecided_and_in_time(self):
        try:
            check_open(self.proposal, now=self.now)
        except Expired:
            assert self.over in (None, ProposalStatus.EXPIRED)
            assert self.over is ProposalStatus.EXPIRED or self.now >= self.proposal.expires
        except Used:
            assert self.over not in (None, ProposalStatus.EXPIRED)
        else:
            assert self.over is None
            assert self.now < self.proposal.expires

    @invariant()
    def it_is_what_was_put_forward(self):
        assert self.proposal.intact().plan.digest == self.proposal.digest


class RunLife(RuleBasedStateMachine):
    """A run of three steps under an executor that obeys, a cluster that does what it likes, people, and crashes: told by its journal alone."""

    KEYS = ("s1", "s2", "s3")
    ANSWERS: ClassVar = {
        "check": ("checked", "barred"), "intend": ("intended", "barred"), "send": ("answered", "refused", "no_answer"), "reconcile": ("adopted", "not_found"),
        "follow": ("task_ended", "task_lost"), "read_back": ("observed", "observed", "not_observed", "unreadable"),
    }  # fmt: skip

    def __init__(self):
        super().__init__()
        self.journal, self.sent, self.open = [], [], ()
        self.run = fresh("r", "p", self.KEYS)
        self.add("opened")

    def add(self, kind, step="", **more):
        event = RunEvent(kind=kind, at=build.NOW, step=step, actor="anna", text="t", **more)
        self.run, commands = decide(self.run, event)
        self.journal.append(event)
        self.open = (*(command for command in self.open if command.step != step and command not in commands), *commands)

    def workable(self):
        return [command for command in self.open if command.kind in self.ANSWERS]

    def intended(self):
        """Steps whose intent is on disk: these may have been sent, also by a process that crashed right after."""
        return {event.step for event in self.journal if event.kind == "intended"}

    @precondition(lambda self: self.workable())
    @rule(
        data=st.data(),
        upid=st.booleans(),
        ok=st.sampled_from((True, True, False)),
        unsure=st.sampled_from((False, False, True)),
        retry=st.booleans(),
    )
    def work(self, data, upid, ok, unsure, retry):
        command = data.draw(st.sampled_from(self.workable()))
        self.open = tuple(other for other in self.open if other is not command)
        if command.kind == "send":
            assert command.step not in self.sent, "sent twice"
            self.sent.append(command.step)
        kind = data.draw(st.sampled_from(self.ANSWERS[command.kind]))
        text = "UPID:pve1:00000001:0000ABCD:673F1A2B:qmigrate:101:operator@pve!act:" if upid and kind in ("answered", "adopted") else ""
        try:
            self.add(kind, command.step, upid=text, ok=ok, unsure=unsure, retry=retry)
        except ValueError:
            assert self.run.stop_asked_by or self.run.paused_by, "refused only where a person came between"

    @precondition(lambda self: not self.run.status.ended)
    @rule(kind=st.sampled_from(("pause_asked", "resumed", "stop_asked")))
    def people(self, kind):
        self.add(kind)

    @precondition(lambda self: self.run.status is RunStatus.UNKNOWN)
    @rule(kind=st.sampled_from(("look", "happened", "not_happened", "closed")))
    def a_word_on_what_is_unknown(self, kind):
        self.add(kind, self.run.current.key)

    @rule()
    def crash(self):
        again = replay(fresh("r", "p", self.KEYS), self.journal)
        assert again == self.run, "the journal tells the whole state"
        self.open = resume(again)
        assert not any(command.kind == "send" for command in self.open), "nothing that may have been sent is sent after a restart"

    @invariant()
    def one_after_the_other(self):
        good = [step.phase.good for step in self.run.steps]
        assert good == sorted(good, reverse=True)
        assert sum(step.phase.working for step in self.run.steps) <= 1

    @invariant()
    def its_word_is_what_happened(self):
        phases = [step.phase for step in self.run.steps]
        if self.run.status in (RunStatus.DONE, RunStatus.WARNED):
            assert all(phase.good for phase in phases)
            assert self.intended() == set(self.KEYS), "what was never meant cannot be done"
        if self.run.status is RunStatus.UNKNOWN:
            assert StepPhase.UNKNOWN in phases
        if self.run.status.ended:
            assert not any(phase.working for phase in phases)
            assert self.run.status is RunStatus.CLOSED or StepPhase.UNKNOWN not in phases
        assert {step.key for step in self.run.steps if step.upid} <= self.intended()
        assert set(self.sent) <= self.intended()


ProposalLife.TestCase.settings = RunLife.TestCase.settings = quick
ApprovalLife.TestCase.settings = settings(quick, max_examples=50)
TestApproval, TestProposal, TestRun = ApprovalLife.TestCase, ProposalLife.TestCase, RunLife.TestCase
