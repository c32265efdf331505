"""A report beside a proposal: of this plan, by somebody who may, while it waits, written down, and no part of what is approved."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pveops.base.errors import AuditError, Denied, Forged, InputError, Used
from pveops.model.codec import decode, encode
from pveops.model.proposal import Proposal
from pveops.model.rehearsal import Capacity, Rehearsal, RehearsedStep
from pveops.model.run import RunStatus, StepPhase
from pveops.testing import build


def report_of(proposal, **more):
    fields = {
        "plan_digest": proposal.digest,
        "outcome": RunStatus.DONE,
        "text": "1 of 1 in the simulated copy",
        "took_s": 9.3,
        "steps": tuple(RehearsedStep(key=step.key, phase=StepPhase.DONE, took_s=9.2) for step in proposal.plan.steps),
        "capacity": (Capacity(kind="memory", where="pve2", before=0.5, after=0.6, total=64 << 30),),
        "warnings": ("pve2 would be 96 % full.",),
        "not_known": ("What programs inside the guests make of it.",),
        "looked_at": build.NOW,
        "reads": 22,
    }
    return Rehearsal(**{**fields, **more})


def test_it_is_attached_told_and_written_down_and_changes_no_digest(guarded):
    made = guarded.propose(build.plan())
    kept = guarded.executor.attach(guarded.who("operator"), made.id, report_of(made, by="somebody else"))
    assert (kept.rehearsal.by, kept.rehearsal.at) == ("operator", guarded.cluster.clock.now())
    assert (kept.digest, kept.plan, kept.fingerprint) == (made.digest, made.plan, made.fingerprint)
    assert kept.version == made.version + 1
    assert guarded.executor.get(made.id) == kept == decode(Proposal, encode(kept))
    record = guarded.ledger.records()[-1]
    assert (record["kind"], record["actor"], record["proposal"]) == ("proposal.rehearsed", "operator", made.id)
    assert (record["data"]["outcome"], record["data"]["took_ms"]) == ("done", 9300)
    assert guarded.journal.feed(after=-1, limit=5)[0]["kind"] == "proposal.rehearsed"
    assert guarded.cluster.received == []
    guarded.approve(made, approval=guarded.approval(made))
    guarded.dispatcher.work()
    assert guarded.run_of(made).status is RunStatus.DONE
    assert guarded.executor.get(made.id).rehearsal == kept.rehearsal


def test_a_newer_one_takes_its_place(guarded):
    made = guarded.propose(build.plan())
    for took_s in (1.0, 2.0):
        guarded.executor.attach(guarded.who("operator"), made.id, report_of(made, took_s=took_s))
    assert guarded.executor.get(made.id).rehearsal.took_s == 2.0


def test_who_may(guarded):
    made = guarded.propose(build.plan(), by="agent")
    with pytest.raises(Denied):
        guarded.executor.attach(guarded.who("viewer"), made.id, report_of(made))
    assert guarded.ledger.records()[-1]["kind"] == "decision.refused"
    guarded.executor.attach(guarded.who("agent"), made.id, report_of(made))
    guarded.executor.attach(guarded.who("operator"), made.id, report_of(made))
    own = guarded.propose(build.plan(build.step(102)))
    with pytest.raises(Denied):
        guarded.executor.attach(guarded.who("agent"), own.id, report_of(own))
    assert guarded.executor.view(own, guarded.who("agent")).may.rehearse
    assert not guarded.executor.view(own, guarded.who("operator")).may.rehearse
    assert guarded.executor.get(own.id).rehearsal is None


def test_not_after_the_decision_and_not_without_a_ledger(guarded):
    made = guarded.propose(build.plan())
    guarded.executor.deny(guarded.who("operator"), made.id, "no")
    with pytest.raises(Used):
        guarded.executor.attach(guarded.who("operator"), made.id, report_of(made))
    other = guarded.propose(build.plan(build.step(102)))
    (guarded.root / "ledger.jsonl").write_text("damaged\n")
    with pytest.raises(AuditError):
        guarded.executor.attach(guarded.who("operator"), other.id, report_of(other))
    assert guarded.executor.get(other.id).rehearsal is None


LONG = "x" * 601
BAD = {
    "another plan": ({"plan_digest": "f" * 64}, Forged),
    "other steps": ({"steps": (RehearsedStep(key="s9", phase=StepPhase.DONE),)}, InputError),
    "too few steps": ({"steps": ()}, InputError),
    "good without good steps": ({"steps": (RehearsedStep(key="s1", phase=StepPhase.FAILED),)}, InputError),
    "a long text": ({"text": LONG}, InputError),
    "a long warning": ({"warnings": (LONG,)}, InputError),
    "many warnings": ({"warnings": ("w",) * 61}, InputError),
    "much capacity": ({"capacity": (Capacity(kind="cpu", where="a", before=0, after=0, total=1),) * 201}, InputError),
    "capacity below nothing": ({"capacity": (Capacity(kind="cpu", where="a", before=0, after=-1, total=1),)}, InputError),
    "no number": ({"took_s": float("nan")}, InputError),
    "a month": ({"took_s": 3e6}, InputError),
    "the future": ({"looked_at": build.NOW + timedelta(days=400)}, InputError),
    "no zone": ({"looked_at": build.NOW.replace(tzinfo=None)}, InputError),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_report_is_refused(guarded, name):
    changes, error = BAD[name]
    made = guarded.propose(build.plan())
    with pytest.raises(error):
        guarded.executor.attach(guarded.who("operator"), made.id, replace(report_of(made), **changes))
    assert guarded.executor.get(made.id).rehearsal is None
    assert "proposal.rehearsed" not in guarded.kinds()
