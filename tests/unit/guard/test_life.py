"""The life of a proposal as a state machine: whatever people, agents, clocks and restarts do in whatever order, these things hold."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pveops.base.errors import GuardError
from pveops.base.secret import Secret
from pveops.guard.policy import shipped
from pveops.guard.principals import Principal, save_principals, token_hash
from pveops.model.claims import new_key
from pveops.model.proposal import ProposalStatus
from pveops.testing import build
from pveops.testing.guarded import Guarded

pytestmark = pytest.mark.slow

NAMES = ("operator", "operator-phone", "anna", "ben", "agent", "viewer")
OPEN, OVER = ProposalStatus.WAITING, {status for status in ProposalStatus if status is not ProposalStatus.WAITING}


class Life(RuleBasedStateMachine):
    """Two of three people must approve (strict, critical guests); a phone is another name of the operator."""

    @initialize()
    def begin(self):
        self._folder = tempfile.TemporaryDirectory(prefix="pveops-life-")
        self.guarded = Guarded(Path(self._folder.name))
        for guest in self.guarded.cluster.guests.values():
            guest["tags"] = ("pveops-critical",)
        folder = self.guarded.root / "policy"
        (folder / "homelab.cedar").unlink()
        (folder / "strict.cedar").write_text(shipped("strict"))
        known = list(self.guarded.principals.all())
        for name, alias in (("operator-phone", "operator"), ("ben", "")):
            private, public = new_key()
            self.guarded.keys[name], self.guarded.tokens[name] = private, Secret(f"pvo_{name}-{'x' * 32}")
            known.append(
                Principal(
                    name=name,
                    kind="person",
                    roles=("operator",),
                    token_sha256=token_hash(self.guarded.tokens[name]),
                    public_key=public,
                    alias_of=alias,
                )
            )
        save_principals(self.guarded.root / "principals.json", known)
        self.proposals = []
        self.approved_by = {}
        self.over = {}

    def teardown(self):
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    @rule(vmid=st.sampled_from([101, 102, 103]), by=st.sampled_from(NAMES))
    def propose(self, vmid, by):
        made = self.guarded.propose(build.plan(build.step(vmid, node=str(self.guarded.cluster.guests[vmid]["node"]))), by=by)
        self.proposals.append((made, self.guarded.cluster.clock.now()))
        if made.status is OPEN:
            assert made.needs == 2
            assert by != "viewer"

    @precondition(lambda self: self.proposals)
    @rule(data=st.data(), by=st.sampled_from(NAMES), key=st.sampled_from(("own", "anna")))
    def approve(self, data, by, key):
        made, _ = data.draw(st.sampled_from(self.proposals))
        if by in ("agent", "viewer"):
            key = "anna"  # they have no key of their own: the best they can do is a stolen one
        name = by if key == "own" else "anna"
        try:
            after = self.guarded.approve(made, by=by, approval=self.guarded.approval(made, by=by, key=name))
        except GuardError:
            return
        assert key == "own" or by == "anna", "a signature of somebody else was taken"
        person = "operator" if by == "operator-phone" else by
        people = self.approved_by.setdefault(made.id, set())
        assert person not in people, "one person counted twice"
        assert person != made.person, "somebody approved their own"
        assert not self.guarded.kill.state().on
        people.add(person)
        assert (after.status is ProposalStatus.APPROVED) == (len(people) >= 2)

    @precondition(lambda self: self.proposals)
    @rule(data=st.data(), by=st.sampled_from(NAMES), how=st.sampled_from(("deny", "withdraw")))
    def close(self, data, by, how):
        made, _ = data.draw(st.sampled_from(self.proposals))
        try:
            getattr(self.guarded.executor, how)(self.guarded.who(by), made.id, "")
        except GuardError:
            return
        person = "operator" if by == "operator-phone" else by
        assert by in ("operator", "operator-phone", "anna", "ben") or (how == "withdraw" and person == made.person)

    @rule(seconds=st.sampled_from([10, 200, 1000]))
    def time_goes_on(self, seconds):
        self.guarded.cluster.clock.tick(seconds)
        self.guarded.executor.expire()

    @rule(on=st.booleans())
    def turn_the_switch(self, on):
        self.guarded.executor.kill(self.guarded.who("operator"), on=on, why="test")

    @rule()
    def work(self):
        self.guarded.dispatcher.work()

    @rule()
    def restart(self):
        self.guarded.restart()
        self.guarded.executor.recover()

    @invariant()
    def nothing_ran_that_two_others_did_not_approve(self):
        if not hasattr(self, "proposals"):
            return
        approved = [made for made, _ in self.proposals if len(self.approved_by.get(made.id, ())) >= 2]
        assert len(self.guarded.cluster.received) <= len(approved)

    @invariant()
    def what_is_over_stays_over_and_nothing_waits_too_long(self):
        for made, _ in getattr(self, "proposals", ()):
            now = self.guarded.executor.get(made.id)
            before = self.over.get(made.id)
            assert before is None or now.status is before, "a decision was turned round"
            if now.status in OVER:
                self.over[made.id] = now.status
            assert now.status is not ProposalStatus.APPROVED or len({vote.person for vote in now.votes}) >= 2

    @invariant()
    def the_record_is_whole(self):
        if hasattr(self, "guarded"):
            assert self.guarded.ledger.verify().ok


Life.TestCase.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestLife = pytest.mark.timeout(240)(Life.TestCase)
