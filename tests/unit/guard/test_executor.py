"""The guard as a whole, over a cluster in memory."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pveops.base.errors import (
    ApiError,
    AuditError,
    Denied,
    Expired,
    Forged,
    Halted,
    InputError,
    NoAnswer,
    NodeUnreachable,
    PveopsError,
    Stale,
    UnknownName,
    Unreachable,
    Used,
)
from pveops.guard import executor
from pveops.guard.audit.query import Query
from pveops.guard.events import RunEvent
from pveops.guard.options import Options
from pveops.model.messages import ResolveRequest
from pveops.model.plan import Fact, WireCall
from pveops.model.proposal import ProposalStatus, Tier
from pveops.model.run import RunStatus, StepPhase
from pveops.testing import build
from pveops.testing.guarded import Guarded


def two():
    return build.plan(build.step(101, "s1"), build.step(102, "s2"))


def test_a_change_goes_all_the_way_and_is_written_down(guarded):
    run = guarded.go(two())
    assert run.status is RunStatus.DONE
    assert [call.path for call in guarded.cluster.received] == ["/nodes/pve1/qemu/101/migrate", "/nodes/pve1/qemu/102/migrate"]
    step = ["step.intended", "step.answered", "step.task_ended", "step.observed"]
    assert guarded.kinds() == ["proposal.made", "proposal.approved", *step, *step, "run.ended"]
    assert guarded.ledger.verify().ok
    assert guarded.journal.open_runs() == []
    assert {record["correlation"] for record in guarded.ledger.records()} == {"c-51f09a2e"}
    view = guarded.executor.views(guarded.who("operator"), only_open=False, limit=5)[0]
    assert view.run.status is RunStatus.DONE
    assert view.audit == (1, 11)


def test_an_id_that_is_taken_is_drawn_again(guarded, monkeypatch):
    drawn = iter(["p-000001", "p-000001", "p-000002", "r-000001", "r-000001", "r-000002"])
    real = executor.new_id
    monkeypatch.setattr(executor, "new_id", lambda kind: next(drawn) if kind in "pr" else real(kind))
    made = [guarded.propose(build.plan(build.step(vmid, "s1"))) for vmid in (101, 102)]
    assert [proposal.id for proposal in made] == ["p-000001", "p-000002"]
    runs = [guarded.approve(proposal).run_id for proposal in made]
    assert runs == ["r-000001", "r-000002"]


def test_the_intent_is_in_the_ledger_before_the_call_leaves(guarded):
    seen = []
    guarded.cluster.on_send = lambda call: seen.append(guarded.kinds()[-1])
    guarded.go(build.plan())
    assert seen == ["step.intended"]


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("an unknown call", build.plan(build.step(call=WireCall(method="DELETE", path="/nodes/pve1/qemu/101/config")))),
        ("a path with dots", build.plan(build.step(call=WireCall(method="POST", path="/nodes/pve1/qemu/101/../102/status/start")))),
        ("another guest than it says", build.plan(build.step(call=WireCall(method="POST", path="/nodes/pve1/qemu/102/status/start")))),
    ],
)
def test_black_plans_are_refused_and_cannot_be_approved(guarded, name, plan):
    proposal = guarded.propose(plan)
    assert (proposal.status, proposal.tier, proposal.verdict.rule) == (ProposalStatus.REFUSED, Tier.BLACK, "black-is-never-done")
    assert "Why:" in proposal.reason
    with pytest.raises(Used):
        guarded.approve(proposal)
    assert guarded.cluster.received == []
    assert guarded.kinds() == ["proposal.refused", "approval.refused"]


def test_a_plan_that_would_not_work_is_refused_with_the_reason(guarded):
    guarded.cluster.guests[101]["lock"] = "backup"
    proposal = guarded.propose(build.plan())
    assert (proposal.status, proposal.decided_by) == (ProposalStatus.REFUSED, "preview")
    assert "lock is backup" in proposal.reason


def test_a_viewer_gets_nothing_put_forward(guarded):
    assert guarded.propose(build.plan(), by="viewer").verdict.rule == "nothing-permits-it"


@pytest.mark.parametrize(
    "plan",
    [
        build.plan(steps=()),
        build.plan(build.step(101, "s1"), build.step(102, "s1")),
        build.plan(cluster="other"),
        build.plan(*(build.step(101, f"s{n}") for n in range(1001))),
    ],
)
def test_what_is_no_plan_is_an_input_error(guarded, plan):
    with pytest.raises(InputError):
        guarded.propose(plan)
    with pytest.raises(InputError):
        guarded.executor.preview(plan)
    assert guarded.kinds() == []


def test_an_agent_proposes_and_a_person_approves(guarded):
    proposal = guarded.propose(build.plan(), by="agent", author="model:x")
    with pytest.raises(Denied, match="agent"):
        guarded.approve(proposal, by="agent")
    guarded.approve(proposal, by="anna")
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is RunStatus.DONE
    assert guarded.kinds()[:3] == ["proposal.made", "approval.refused", "proposal.approved"]


def test_red_needs_another_person_or_a_terminal(tmp_path):
    for index, (one_person, by, channel, good) in enumerate(
        [
            (False, "operator", "cli", False),
            (False, "anna", "card", True),
            (True, "operator", "card", False),
            (True, "operator", "cli", True),
        ]
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        guarded = Guarded(folder, options=Options(bulk_targets=2, one_person=one_person))
        proposal = guarded.propose(two())
        assert proposal.tier is Tier.RED
        if good:
            guarded.approve(proposal, by=by, channel=channel)
        else:
            with pytest.raises(Denied, match="destructive"):
                guarded.approve(proposal, by=by, channel=channel)


def test_an_approval_is_spent_once(guarded):
    proposal = guarded.propose(build.plan())
    approval = guarded.approval(proposal)
    guarded.approve(proposal, approval=approval)
    for _ in range(3):
        with pytest.raises(Used, match="approved already by operator"):
            guarded.approve(proposal, approval=approval)
    guarded.dispatcher.work()
    assert len(guarded.cluster.received) == 1


@pytest.mark.slow
def test_a_hundred_at_once_are_one(guarded):
    proposal = guarded.propose(build.plan())
    approval = guarded.approval(proposal)

    def attempt(_):
        try:
            guarded.approve(proposal, approval=approval)
        except Used:
            return 0
        return 1

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(100))) == 1
    guarded.dispatcher.work()
    assert len(guarded.cluster.received) == 1
    assert guarded.ledger.verify().ok


def test_forged_expired_and_late_approvals(guarded):
    proposal = guarded.propose(build.plan())
    with pytest.raises(Forged):
        guarded.approve(proposal, approval=guarded.approval(proposal, key="anna"))
    old = guarded.approval(proposal)
    guarded.cluster.clock.tick(200)
    with pytest.raises(Expired, match="too long ago"):
        guarded.approve(proposal, approval=old)
    guarded.cluster.clock.tick(1000)
    with pytest.raises(Expired):
        guarded.approve(proposal)
    assert guarded.executor.expire() == [proposal.id]
    assert guarded.executor.expire() == []
    assert guarded.executor.get(proposal.id).status is ProposalStatus.EXPIRED
    with pytest.raises(Expired):
        guarded.approve(proposal)
    assert guarded.cluster.received == []
    assert guarded.kinds().count("approval.refused") == 4


def test_setting_the_clock_back_revives_nothing(guarded):
    proposal = guarded.propose(build.plan())
    guarded.cluster.clock.tick(1000)
    guarded.executor.expire()
    guarded.cluster.clock.set_back(1000)
    with pytest.raises(Expired):
        guarded.approve(proposal)


def test_a_plan_edited_in_the_store_is_refused_and_closed(guarded, tmp_path):
    proposal = guarded.propose(build.plan())
    approval = guarded.approval(proposal)
    with sqlite3.connect(tmp_path / "store.sqlite") as db:
        (body,) = db.execute("select body from proposals").fetchone()
        db.execute("update proposals set body = ?", (body.replace("target=pve2", "x").replace('"pve2"', '"pve3"', 1),))
    with pytest.raises(Forged, match="digest"):
        guarded.approve(proposal, approval=approval)
    assert guarded.executor.get(proposal.id).status is ProposalStatus.REFUSED
    assert guarded.cluster.received == []


def test_a_plan_edited_after_approval_is_not_sent(guarded, tmp_path):
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    with sqlite3.connect(tmp_path / "store.sqlite") as db:
        (body,) = db.execute("select body from proposals").fetchone()
        data = json.loads(body)
        data["plan"]["steps"][0]["call"]["path"] = "/nodes/pve1/qemu/102/migrate"
        data["digest"] = build.plan().digest
        db.execute("update proposals set body = ?", (json.dumps(data),))
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is RunStatus.FAILED
    assert guarded.cluster.received == []


@pytest.mark.parametrize(("field", "value"), [("status", "stopped"), ("digest", "b" * 40), ("lock", "backup"), ("node", "pve3")])
def test_a_guest_that_changed_after_it_was_proposed(guarded, field, value):
    proposal = guarded.propose(build.plan())
    guarded.cluster.guests[101][field] = value
    with pytest.raises(Stale, match=f"guest/101.{field}"):
        guarded.approve(proposal)
    assert guarded.executor.get(proposal.id).status is ProposalStatus.REFUSED
    assert guarded.cluster.received == []


def test_a_guest_that_changed_after_it_was_approved(guarded):
    proposal = guarded.propose(two())
    guarded.approve(proposal)
    guarded.cluster.on_send = lambda call: guarded.cluster.guests[102].update(digest="b" * 40)
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, [step.phase for step in run.steps]) == (RunStatus.FAILED, [StepPhase.DONE, StepPhase.FAILED])
    assert "Nothing was sent" in run.reason
    assert len(guarded.cluster.received) == 1


@pytest.mark.parametrize("change", ["kill", "policy", "principal", "quorum", "frozen", "unreachable"])
def test_what_changes_between_approval_and_sending_stops_it(guarded, tmp_path, change):
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    if change == "kill":
        guarded.kill.turn(on=True, why="storm", by="anna")
    elif change == "policy":
        (tmp_path / "policy" / "homelab.cedar").write_text((tmp_path / "policy" / "homelab.cedar").read_text() + "\n// tightened\n")
    elif change == "principal":
        rows = json.loads((tmp_path / "principals.json").read_text())
        rows["principals"] = [row for row in rows["principals"] if row["name"] != "operator"]
        (tmp_path / "principals.json").write_text(json.dumps(rows))
    elif change == "quorum":
        guarded.cluster.quorate = False
    elif change == "frozen":
        guarded.cluster.guests[101]["tags"] = ("pveops-frozen",)
    else:
        guarded.cluster.broken["facts"] = Unreachable("no endpoint answers")
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert run.status is RunStatus.FAILED
    assert "Nothing was sent" in run.reason
    assert guarded.cluster.received == []


def test_the_kill_switch_stops_approvals_and_the_very_call(guarded):
    proposal = guarded.propose(build.plan())
    guarded.executor.kill(guarded.who("agent"), on=True, why="storm")
    with pytest.raises(Halted):
        guarded.approve(proposal)
    with pytest.raises(Denied):
        guarded.executor.kill(guarded.who("agent"), on=False, why="over")
    with pytest.raises(InputError, match="reason"):
        guarded.executor.kill(guarded.who("operator"), on=False, why=" ")
    guarded.executor.kill(guarded.who("operator"), on=False, why="over")
    guarded.approve(proposal)
    guarded.cluster.redeem = lambda grant, call: guarded.kill.turn(on=True, why="a moment too late", by="anna")
    guarded.dispatcher.work()
    assert guarded.kinds()[:5] == ["proposal.made", "kill.on", "approval.refused", "kill.refused", "kill.off"]


def test_without_a_ledger_nothing_happens(guarded, monkeypatch):
    proposal = guarded.propose(build.plan())

    def full(*_args, **_more):
        raise AuditError("disk full")

    monkeypatch.setattr(guarded.ledger, "append", full)
    with pytest.raises(AuditError):
        guarded.propose(build.plan())
    with pytest.raises(AuditError):
        guarded.approve(proposal)
    with pytest.raises(AuditError):
        guarded.executor.deny(guarded.who("operator"), proposal.id, "")
    monkeypatch.undo()
    assert guarded.executor.get(proposal.id).status is ProposalStatus.WAITING
    guarded.approve(proposal)
    monkeypatch.setattr(guarded.ledger, "append", full)
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is RunStatus.FAILED
    assert guarded.cluster.received == []


def test_a_ledger_that_breaks_midway_loses_no_outcome_and_stops_the_rest(guarded, monkeypatch):
    proposal = guarded.propose(two())
    guarded.approve(proposal)

    def full(*_args, **_more):
        raise AuditError("disk full")

    guarded.cluster.on_send = lambda call: monkeypatch.setattr(guarded.ledger, "append", full)
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert [step.phase for step in run.steps] == [StepPhase.DONE, StepPhase.FAILED]
    assert len(guarded.cluster.received) == 1


def test_saying_no_and_taking_back(guarded):
    first, second = guarded.propose(build.plan(), by="agent"), guarded.propose(build.plan(), by="agent")
    with pytest.raises(Denied):
        guarded.executor.deny(guarded.who("agent"), first.id, "")
    assert guarded.executor.deny(guarded.who("anna"), first.id, "freeze").status is ProposalStatus.DENIED
    with pytest.raises(Used):
        guarded.executor.deny(guarded.who("anna"), first.id, "again")
    assert guarded.executor.withdraw(guarded.who("agent"), second.id, "").status is ProposalStatus.WITHDRAWN
    with pytest.raises(UnknownName):
        guarded.executor.get("p-000000")
    with pytest.raises(InputError):
        guarded.executor.get("../etc")
    assert guarded.kinds()[2:] == ["decision.refused", "proposal.denied", "proposal.withdrawn"]


def test_two_changes_of_one_guest_do_not_meet(guarded):
    first, second = guarded.propose(build.plan()), guarded.propose(build.plan())
    guarded.approve(first)
    with pytest.raises(Stale, match="held by"):
        guarded.approve(second)
    assert guarded.propose(build.plan()).status is ProposalStatus.REFUSED
    guarded.dispatcher.work()
    assert guarded.propose(build.plan(build.step(102, "s1"))).status is ProposalStatus.WAITING


@pytest.mark.parametrize(
    ("error", "phase", "said"),
    [
        (Unreachable("pve1 gives no connection."), StepPhase.FAILED, "Nothing was sent"),
        (ApiError("x", details={"reason": "VM is locked (backup)", "status": 500}), StepPhase.FAILED, "locked"),
        (NodeUnreachable("x", details={"reason": "no route", "status": 595}), StepPhase.FAILED, "no route"),
    ],
)
def test_a_call_that_was_surely_not_done_is_a_failure(guarded, error, phase, said):
    guarded.cluster.broken["send_before"] = error
    run = guarded.go(build.plan())
    assert (run.status, run.steps[0].phase) == (RunStatus.FAILED, phase)
    assert said in run.reason


def test_a_lost_answer_is_found_in_the_task_list(guarded):
    guarded.cluster.broken["send_after"] = [NoAnswer("timed out")]
    run = guarded.go(build.plan())
    assert (run.status, run.steps[0].adopted, len(guarded.cluster.received)) == (RunStatus.DONE, True, 1)
    assert "step.adopted" in guarded.kinds()


def lost(guarded, *, arrives=False, plan=None):
    """A call whose answer is lost; ``arrives``: whether the cluster took it."""
    guarded.cluster.broken["send_after" if arrives else "send_before"] = [NoAnswer("pve1 took the request and timed out")]
    proposal = guarded.propose(plan or build.plan())
    guarded.approve(proposal)
    guarded.dispatcher.work()
    return proposal


def test_a_lost_call_that_nobody_knows_is_unknown_and_never_sent_again(guarded):
    proposal = lost(guarded)
    run = guarded.run_of(proposal)
    assert (run.status, run.steps[0].phase) == (RunStatus.UNKNOWN, StepPhase.UNKNOWN)
    assert "did not send it again" in run.reason
    assert guarded.cluster.received == []
    guarded.restart()
    guarded.executor.recover()
    guarded.dispatcher.work(delayed=True)
    assert guarded.run_of(proposal).status is RunStatus.UNKNOWN
    assert guarded.cluster.received == []
    assert "held by" in guarded.propose(build.plan()).reason


def test_two_tasks_that_fit_are_none(guarded):
    guarded.cluster.on_send = guarded.cluster.start_task
    proposal = lost(guarded, arrives=True)
    run = guarded.run_of(proposal)
    assert run.status is RunStatus.UNKNOWN
    assert "2 tasks" in run.reason


def test_somebody_elses_task_is_not_ours(guarded):
    guarded.cluster.broken["send_before"] = [NoAnswer("timed out")]
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    guarded.cluster.start_task(build.plan().steps[0].call, token="other")
    guarded.cluster.guests[101]["node"] = "pve1"
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is RunStatus.UNKNOWN


@pytest.mark.parametrize(
    ("what", "status", "calls"), [("happened", RunStatus.DONE, 1), ("not_happened", RunStatus.FAILED, 0), ("close", RunStatus.CLOSED, 0)]
)
def test_a_person_says_what_became_of_it(guarded, what, status, calls):
    proposal = lost(guarded, plan=two())
    with pytest.raises(Denied):
        guarded.executor.resolve(guarded.who("agent"), proposal.id, ResolveRequest(what=what))
    guarded.executor.resolve(guarded.who("anna"), proposal.id, ResolveRequest(what=what, reason="I looked"))
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, len(guarded.cluster.received)) == (status, calls)
    assert guarded.journal.open_runs() == []
    with pytest.raises(Used):
        guarded.executor.resolve(guarded.who("anna"), proposal.id, ResolveRequest(what=what))


def test_a_silent_node_is_asked_again_until_it_tells(guarded):
    guarded.cluster.broken.update(send_after=[NoAnswer("timed out")], node_tasks=NodeUnreachable("gone"), node_time_s=[])
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, run.steps[0].retry_look) == (RunStatus.UNKNOWN, True)
    guarded.cluster.broken["node_time_s"] = NodeUnreachable("still gone")
    before = len(guarded.journal.history(run.id))
    guarded.dispatcher.work(delayed=True)
    assert len(guarded.journal.history(run.id)) == before, "looking in vain does not fill the journal"
    guarded.cluster.broken.clear()
    guarded.dispatcher.work(delayed=True)
    assert guarded.run_of(proposal).status is RunStatus.DONE
    assert len(guarded.cluster.received) == 1


def test_a_task_that_cannot_be_asked_about_is_unknown(guarded):
    guarded.cluster.broken["task_outcome"] = NodeUnreachable("gone")
    run = guarded.go(build.plan())
    assert run.status is RunStatus.UNKNOWN
    assert "no longer tells" in run.reason
    guarded.cluster.broken.clear()
    guarded.dispatcher.work(delayed=True)
    assert guarded.runner.load(run.id, guarded.executor.get(run.proposal_id)).status is RunStatus.DONE


@pytest.mark.parametrize(
    ("exit_text", "status", "phase"),
    [("OK", RunStatus.DONE, StepPhase.DONE), ("WARNINGS: 2", RunStatus.WARNED, StepPhase.WARNED), ("migration aborted", RunStatus.FAILED, StepPhase.FAILED),
     ("unexpected status", RunStatus.UNKNOWN, StepPhase.UNKNOWN)],
)  # fmt: skip
def test_how_a_task_ends(guarded, exit_text, status, phase):
    guarded.cluster.next_exit, guarded.cluster.next_polls = exit_text, 2
    run = guarded.go(build.plan())
    assert (run.status, run.steps[0].phase, run.steps[0].exit_text) == (status, phase, exit_text)


def test_done_is_only_what_was_read_back(guarded):
    guarded.cluster.no_effect = True
    run = guarded.go(build.plan())
    assert run.status is RunStatus.FAILED
    assert "the task ended well, but" in run.reason


def test_an_effect_that_cannot_be_read_is_unknown(guarded):
    proposal = guarded.propose(build.plan(build.step(expects=(Fact(subject="guest/101", field="booted_s", op="restarted"),))))
    guarded.approve(proposal)
    guarded.cluster.on_send = lambda call: guarded.cluster.broken.update(facts=NodeUnreachable("gone"))
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is RunStatus.UNKNOWN


def test_a_stop_lets_the_step_end_and_starts_no_other(guarded):
    proposal = guarded.propose(two())
    guarded.approve(proposal)
    guarded.cluster.on_send = lambda call: guarded.executor.stop(guarded.who("operator"), proposal.id, "enough")
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert (run.status, [step.phase for step in run.steps]) == (RunStatus.STOPPED, [StepPhase.DONE, StepPhase.SKIPPED])
    with pytest.raises(Used, match="not running"):
        guarded.executor.stop(guarded.who("operator"), proposal.id, "")


class PowerCut(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_power_cut_around_the_call(guarded, where):
    def cut(_call):
        raise PowerCut

    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    if where == "before":
        guarded.cluster.redeem = lambda grant, call: cut(call)
    else:
        real_start = guarded.cluster.start_task
        guarded.cluster.on_send = lambda call: (real_start(call), cut(call))
    with pytest.raises(PowerCut):
        guarded.dispatcher.work()
    guarded.cluster.on_send = None
    guarded.cluster.clock.tick(1)
    guarded.restart()
    assert guarded.executor.recover() == [guarded.executor.get(proposal.id).run_id]
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    if where == "before":
        assert run.status is RunStatus.UNKNOWN
        assert guarded.cluster.received == []
    else:
        assert (run.status, run.steps[0].adopted) == (RunStatus.DONE, True)
        assert len(guarded.cluster.received) == 1


def test_a_synchronous_call_is_reconciled_by_its_effect(guarded):
    step = build.step(task_types=())
    guarded.cluster.broken["send_after"] = [NoAnswer("x"), NoAnswer("x")]
    assert guarded.go(build.plan(step)).status is RunStatus.DONE
    guarded.cluster.guests[101]["node"] = "pve1"
    guarded.cluster.no_effect = True
    run = guarded.go(build.plan(step))
    assert run.status is RunStatus.UNKNOWN
    guarded.executor.resolve(guarded.who("anna"), run.proposal_id, ResolveRequest(what="close"))
    guarded.dispatcher.work()
    guarded.cluster.broken["send_after"] = [NoAnswer("x")]
    proposal = guarded.propose(build.plan(step))
    guarded.approve(proposal)
    guarded.cluster.on_send = lambda call: guarded.cluster.broken.update(facts=NodeUnreachable("gone"))
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).steps[0].retry_look


def test_shutting_down_leaves_the_run_where_it_is(guarded):
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    guarded.cluster.next_polls = 10**6
    guarded.cluster.on_send = lambda call: guarded.runner.stopping.set()
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).steps[0].phase in (StepPhase.INTENDED, StepPhase.FOLLOWING)
    guarded.restart()
    for task in guarded.cluster.tasks.values():
        task.polls_left = 0
    guarded.executor.recover()
    guarded.dispatcher.work()
    assert guarded.run_of(proposal).status is RunStatus.DONE
    assert len(guarded.cluster.received) == 1


def test_a_grant_is_for_one_call_once(guarded):
    call = build.plan().steps[0].call
    for grant in (None, object(), "yes"):
        with pytest.raises(Forged):
            guarded.cluster.send(call, grant)
    assert guarded.cluster.received == []


def test_records_are_for_those_who_may_read_them(guarded, tmp_path):
    guarded.propose(build.plan())
    assert len(guarded.executor.records(guarded.who("viewer"), Query(limit=10))) == 1
    (tmp_path / "policy" / "homelab.cedar").unlink()
    with pytest.raises(Denied):
        guarded.executor.records(guarded.who("viewer"), Query(limit=10))
    guarded.executor.note_refusal("uid 7", "GET /v1/info", Denied("no"))
    assert guarded.kinds()[-1] == "access.refused"


def test_a_run_that_ended_is_not_advanced(guarded):
    run = guarded.go(build.plan())
    before = len(guarded.journal.history(run.id))
    guarded.runner.advance(run.id)
    assert len(guarded.journal.history(run.id)) == before
    with pytest.raises(Stale, match="has ended"):
        guarded.runner.note(run.id, RunEvent(kind="stop_asked", at=build.NOW))


def test_the_kill_switch_works_without_a_policy(guarded, tmp_path):
    (tmp_path / "policy" / "homelab.cedar").unlink()
    guarded.executor.kill(guarded.who("viewer"), on=True, why="storm")
    assert guarded.kill.state().on
    with pytest.raises(Denied):
        guarded.executor.kill(guarded.who("operator"), on=False, why="over")


def test_errors_carry_the_id_of_the_proposal(guarded):
    proposal = guarded.propose(build.plan())
    with pytest.raises(PveopsError) as refused:
        guarded.approve(replace(proposal, approval_id="a-" + "0" * 32))
    assert refused.value.correlation == proposal.correlation


def test_what_somebody_may_do_is_told_before_it_is_tried(tmp_path):
    guarded = Guarded(tmp_path, options=Options(bulk_targets=2))
    red, yellow = guarded.propose(two()), guarded.propose(build.plan(build.step(103, "s1")), by="agent")

    def may(who, proposal, channel="card"):
        return guarded.executor.view(proposal, guarded.who(who), channel=channel).may

    assert "destructive" in may("operator", red).approve
    assert may("operator", red, "cli").approve == ""
    assert may("anna", red).approve == ""
    assert may("operator", yellow).approve == ""
    assert "person" in may("agent", yellow).approve
    assert may("agent", yellow).deny
    assert may("agent", yellow).withdraw == ""
    assert may("viewer", yellow).withdraw
    (tmp_path / "policy" / "homelab.cedar").unlink()
    assert "no usable policy" in may("operator", yellow).approve


def test_what_cannot_be_said_of_a_run_now_is_refused(guarded):
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    with pytest.raises(Used, match="cannot be said now"):
        guarded.executor.resolve(guarded.who("anna"), proposal.id, ResolveRequest(what="happened"))
    assert "run.happened" not in guarded.kinds()
    assert "step.happened" not in guarded.kinds()


def test_what_is_under_way_is_told_for_the_cluster_that_was_stopped(guarded):
    guarded.executor._clusters["other"] = guarded.cluster
    guarded.cluster.next_polls = 10**9
    guarded.runner._carrier._follower._task_timeout_s = 1
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    told = []
    guarded.cluster.on_send = lambda call: told.extend(
        guarded.executor.kill(guarded.who("anna"), on=True, why="storm", cluster=cluster).running for cluster in ("other", "lab")
    )
    guarded.dispatcher.work()
    assert told[0] == ()
    assert told[1][0].startswith(f"{proposal.id}: Migrate 101")


def test_a_proposal_that_is_due_lapses_or_goes_on_waiting(guarded):
    proposal = guarded.propose(build.plan())
    guarded.dispatcher.due.clear()
    guarded.executor.advance(proposal.id)
    assert [name for _, name in guarded.dispatcher.due] == [proposal.id], "the dispatcher's clock is ahead of ours: asked again later"
    guarded.restart()
    assert guarded.executor.recover() == []
    assert [name for _, name in guarded.dispatcher.due] == [proposal.id], "and after a start"
    guarded.dispatcher.due.clear()
    guarded.cluster.clock.tick(guarded.options.approval_ttl_s + 1)
    guarded.executor.advance(proposal.id)
    assert guarded.executor.get(proposal.id).status is ProposalStatus.EXPIRED
    guarded.executor.advance(proposal.id)
    assert guarded.dispatcher.due == []
    assert guarded.kinds().count("proposal.expired") == 1
