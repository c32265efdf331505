"""Approvals by several people, limits, freezes, the broken glass, standing rules: the gate and the executor together, over a cluster in memory."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pveops.base.errors import Denied, Forged, Halted, InputError, Stale, Used
from pveops.base.secret import Secret
from pveops.guard.policy import shipped
from pveops.guard.principals import save_principals
from pveops.guard.standing import Approved, check_votes, misfit, read_approved, write_approved
from pveops.guard.targets import targets_of
from pveops.guard.watch import SLACK_S
from pveops.model.claims import sign_rule
from pveops.model.codec import encode
from pveops.model.plan import WireCall
from pveops.model.proposal import ProposalStatus, Tier
from pveops.model.run import RunStatus
from pveops.model.standing import StandingRule
from pveops.testing import build


def stop(vmid=101, key="s1"):
    call = WireCall(method="POST", path=f"/nodes/pve1/qemu/{vmid}/status/stop")
    return build.step(vmid, key, call=call, expects=(), task_types=("qmstop",), undo=None)


def use(guarded, name, limits=""):
    folder = guarded.root / "policy"
    for file in folder.iterdir():
        file.unlink()
    for file, text in ((f"{name}.cedar", shipped(name)), ("limits.toml", limits or shipped(f"{name}.toml"))):
        (folder / file).write_text(text, encoding="utf-8")
        (folder / file).chmod(0o600)


def add(guarded, *more):
    save_principals(guarded.root / "principals.json", [*guarded.principals.all(), *more])


def person(guarded, name, **fields):
    """One more person, with a key and a token."""
    from pveops.guard.principals import Principal, token_hash
    from pveops.model.claims import new_key

    private, public = new_key()
    guarded.keys[name], guarded.tokens[name] = private, Secret(f"pvo_{name}-{'x' * 32}")
    add(
        guarded,
        Principal(
            name=name, kind="person", roles=("operator",), token_sha256=token_hash(guarded.tokens[name]), public_key=public, **fields
        ),
    )


def test_two_must_approve_and_nothing_runs_before_the_second(guarded):
    use(guarded, "strict")
    person(guarded, "ben")
    proposal = guarded.propose(build.plan(stop()))
    assert (proposal.needs, proposal.missing, proposal.tier) == (2, 2, Tier.RED)
    assert "Needs 2 approvals" in proposal.verdict.text
    with pytest.raises(Denied, match="Whoever asked"):
        guarded.approve(proposal)
    first = guarded.approve(proposal, by="anna")
    assert (first.status, first.missing) == (ProposalStatus.WAITING, 1)
    guarded.dispatcher.work()
    assert guarded.cluster.received == []
    with pytest.raises(Used, match="waits for another person"):
        guarded.approve(proposal, by="anna")
    assert "another person" in guarded.executor.view(first, guarded.who("anna")).may.approve
    assert guarded.approve(proposal, by="ben").status is ProposalStatus.APPROVED
    guarded.dispatcher.work()
    assert len(guarded.cluster.received) == 1
    assert guarded.kinds()[:4] == ["proposal.made", "approval.refused", "proposal.vote", "approval.refused"]


def test_another_name_of_the_same_person_is_the_same_person(guarded):
    use(guarded, "strict")
    person(guarded, "anna-phone", alias_of="anna")
    person(guarded, "operator-phone", alias_of="operator")
    proposal = guarded.propose(build.plan(stop()))
    with pytest.raises(Denied, match="Whoever asked"):
        guarded.approve(proposal, by="operator-phone")
    guarded.approve(proposal, by="anna")
    with pytest.raises(Used, match="as anna"):
        guarded.approve(proposal, by="anna-phone")
    assert guarded.executor.get(proposal.id).missing == 1


def test_who_is_no_longer_known_no_longer_counts(guarded):
    use(guarded, "strict")
    person(guarded, "ben")
    proposal = guarded.propose(build.plan(stop()))
    guarded.approve(proposal, by="anna")
    guarded.approve(proposal, by="ben")
    save_principals(guarded.root / "principals.json", [one for one in guarded.principals.all() if one.name != "anna"])
    guarded.dispatcher.work()
    assert guarded.cluster.received == []
    assert "anna is not known as a person any more" in guarded.run_of(proposal).reason


def test_ten_single_changes_in_a_minute_are_one_bulk_change(guarded):
    use(guarded, "homelab", "[blast]\nbulk_targets = 3\nwindow_s = 60")
    proposals = [guarded.propose(build.plan(build.step(vmid))) for vmid in (101, 102, 103)]
    assert [one.tier for one in proposals] == [Tier.YELLOW] * 3
    for proposal in proposals[:2]:
        guarded.approve(proposal)
    with pytest.raises(Denied, match="reaches many guests"):
        guarded.approve(proposals[2])
    assert guarded.executor.get(proposals[2].id).tier is Tier.RED
    guarded.restart()
    with pytest.raises(Denied):
        guarded.approve(proposals[2])
    later = guarded.propose(build.plan(build.step(103, target="pve3")))
    assert later.tier is Tier.RED


def test_limits_are_in_the_verdict(guarded):
    use(guarded, "homelab", "[rate]\nproposals_per_minute = 1\nchanges_per_hour = 1")
    first = guarded.propose(build.plan())
    second = guarded.propose(build.plan(build.step(102)))
    assert (second.status, second.verdict.rule) == (ProposalStatus.REFUSED, "limit-proposals")
    guarded.approve(first)
    guarded.cluster.clock.tick(70)
    third = guarded.propose(build.plan(build.step(103)))
    with pytest.raises(Denied, match="the limit is 1"):
        guarded.approve(third)


def test_a_freeze_and_a_closed_window(guarded):
    frozen = "[[freeze]]\nfrom=2026-11-21T00:00:00Z\nto=2026-11-22T00:00:00Z"
    use(guarded, "homelab", frozen)
    proposal = guarded.propose(build.plan())
    with pytest.raises(Denied, match="frozen"):
        guarded.approve(proposal)
    use(guarded, "homelab", '[[window]]\nfrom="01:00"\nto="02:00"')
    red = guarded.propose(build.plan(stop()))
    with pytest.raises(Denied, match="no change window"):
        guarded.approve(red, channel="cli")
    guarded.approve(guarded.propose(build.plan(build.step(102))))


def test_a_freeze_that_begins_stops_what_waits_to_run(guarded):
    use(guarded, "homelab", "[[freeze]]\nfrom=2026-11-21T14:33:00Z\nto=2026-11-22T00:00:00Z")
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    guarded.cluster.clock.tick(120)
    guarded.dispatcher.work()
    assert guarded.cluster.received == []
    assert "frozen" in guarded.run_of(proposal).reason


def test_the_broken_glass_lifts_red_and_never_black(guarded):
    use(guarded, "team")
    red, black = (
        guarded.propose(build.plan(stop())),
        build.plan(build.step(call=WireCall(method="PUT", path="/access/acl"), subject="cluster")),
    )
    with pytest.raises(Denied, match="another person"):
        guarded.approve(red)
    guarded.glass.set_passphrase(Secret("in case of fire"))
    with pytest.raises(Denied, match="not the passphrase"):
        guarded.glass.break_it("operator", Secret("in case of flood"), "storm")
    guarded.glass.break_it("operator", Secret("in case of fire"), "storm", 60)
    assert guarded.propose(black).status is ProposalStatus.REFUSED
    guarded.approve(red)
    guarded.cluster.clock.tick(61)
    assert not guarded.glass.broken("operator")
    guarded.dispatcher.work()
    assert len(guarded.cluster.received) == 1


def test_the_glass_asks_for_a_reason_a_passphrase_and_a_short_time(guarded):
    with pytest.raises(Denied, match="was ever set"):
        guarded.glass.break_it("operator", Secret("x" * 12), "storm")
    with pytest.raises(InputError, match="at least"):
        guarded.glass.set_passphrase(Secret("short"))
    guarded.glass.set_passphrase(Secret("x" * 12))
    with pytest.raises(InputError, match="wants a reason"):
        guarded.glass.break_it("operator", Secret("x" * 12), " ")
    with pytest.raises(InputError, match="1 to 60 minutes"):
        guarded.glass.break_it("operator", Secret("x" * 12), "storm", 7200)
    guarded.glass.break_it("operator", Secret("x" * 12), "storm")
    assert guarded.glass.all()[0].why == "storm"
    guarded.glass.mend("operator")
    guarded.memory.keep("glass", "by operator", {"until": "soon"})
    assert guarded.glass.all() == ()
    guarded.memory.keep("glass", "by operator", {"until": "2099-01-01T00:00:00Z"})
    assert not guarded.glass.broken("operator"), "longer than anybody can break it for"


@pytest.mark.slow
def test_a_clock_that_goes_back_stops_everything_until_an_operator_says_so(guarded):
    proposal = guarded.propose(build.plan())
    guarded.cluster.clock.tick(100)
    with pytest.raises(Used):
        guarded.approve(guarded.approve(proposal))
    guarded.dispatcher.work()
    waiting = guarded.propose(build.plan(build.step(102)))
    guarded.cluster.clock.tick(300)
    guarded.approve(guarded.propose(build.plan(build.step(103))))
    guarded.cluster.clock.set_back(SLACK_S - 20)
    guarded.cluster.clock.set_back(300)
    with pytest.raises(Halted, match="went back by"):
        guarded.approve(waiting)
    assert guarded.kill.state().on
    with pytest.raises(Halted):
        guarded.approve(waiting)
    guarded.executor.kill(guarded.who("operator"), on=False, why="the clock is right now")
    guarded.approve(waiting)


def test_a_damaged_note_of_the_time_is_written_anew(guarded):
    guarded.memory.keep("clock", "latest", {"at": "soon"})
    guarded.approve(guarded.propose(build.plan()))
    assert guarded.memory.note("clock", "latest")["at"].startswith("2026")


def rule_for(guarded, **changes):
    now = guarded.cluster.clock.now()
    fields = {"id": "s-00000001", "owner": "operator", "audience": "x-0000000000000001", "cluster": "lab", "principals": ("viewer", "agent"),
              "tools": ("guest.migrate",), "subjects": ("guest/101",), "issued": now, "expires": now + timedelta(days=1), "why": "nightly"}  # fmt: skip
    return sign_rule(StandingRule(**{**fields, **changes}), guarded.keys["operator"])


@pytest.mark.parametrize(
    ("changes", "proposed", "said"),
    [
        ({}, {}, ""),
        ({"subjects": (), "tag": "prod"}, {}, ""),
        ({"principals": ("runbook",)}, {}, "not for viewer"),
        ({"cluster": "other"}, {}, "another cluster"),
        ({"audience": "x-other"}, {}, "another cluster or executor"),
        ({"tools": ("guest.start",)}, {}, "not for guest.migrate"),
        ({"subjects": ("guest/102",)}, {}, "not in its scope"),
        ({"subjects": (), "tag": "other"}, {}, "not in its scope"),
        ({}, {"tier": Tier.RED}, "nothing destructive"),
        ({}, {"needs": 2}, "several people"),
        ({}, {"tainted": True}, "a model wrote"),
    ],
)
def test_what_a_standing_rule_is_about(guarded, changes, proposed, said):
    signed = rule_for(guarded, **changes)
    proposal = build.proposal(requester="viewer", **proposed)
    targets = targets_of(("guest/101",), build.facts(101), ())
    now = guarded.cluster.clock.now()
    found = misfit(signed, proposal, targets, audience="x-0000000000000001", now=now)
    assert said in found
    assert bool(found) == bool(said)
    assert misfit(signed, proposal, targets, audience="x-0000000000000001", now=now + timedelta(days=2))


def test_what_a_run_was_opened_with_is_verified_again(guarded):
    proposal = guarded.propose(build.plan())
    saved = guarded.approve(proposal)
    now = guarded.cluster.clock.now()
    by = read_approved(write_approved(saved))
    assert [one.name for one in check_votes(by, saved, guarded.principals, now=now)] == ["operator"]
    old = read_approved(encode(saved.votes[0].approval))
    assert check_votes(old, saved, guarded.principals, now=now)
    with pytest.raises(Denied, match="Nobody has approved"):
        check_votes(replace(by, approvals=()), saved, guarded.principals, now=now)
    with pytest.raises(Forged, match="something else"):
        check_votes(replace(by, policy_hash="0" * 64), saved, guarded.principals, now=now)
    signed = rule_for(guarded)
    standing = Approved(policy_hash=saved.policy_hash, rule=signed)
    assert check_votes(standing, saved, guarded.principals, now=now)
    with pytest.raises(Denied, match="is over"):
        check_votes(standing, saved, guarded.principals, now=now + timedelta(days=2))
    forged = replace(standing, rule=replace(signed, rule=replace(signed.rule, per_day=10_000)))
    with pytest.raises(Forged, match="does not carry the signature"):
        check_votes(forged, saved, guarded.principals, now=now)
    with pytest.raises(Denied, match="agent is not known as a person"):
        check_votes(replace(standing, rule=rule_for(guarded, owner="agent")), saved, guarded.principals, now=now)


def node_plan(node="pve2"):
    call = WireCall(method="POST", path=f"/nodes/{node}/status", params=(("command", "reboot"),))
    return build.plan(build.step(call=call, subject=f"node/{node}", assumes=(), expects=(), task_types=(), undo=None))


def test_the_last_vote_is_looked_at_again_before_the_step(guarded):
    proposal = guarded.propose(node_plan())
    assert (proposal.status, proposal.tier, proposal.targets) == (ProposalStatus.WAITING, Tier.RED, 1)
    guarded.approve(proposal, channel="cli")
    guarded.cluster.nodes_status["pve3"] = "offline"
    guarded.dispatcher.work()
    run = guarded.run_of(proposal)
    assert run.status is RunStatus.FAILED
    assert "quorum takes 2" in run.reason
    assert guarded.cluster.received == []


def test_two_runs_together_do_not_take_the_last_vote(guarded):
    first, second = guarded.propose(node_plan("pve2")), guarded.propose(node_plan("pve3"))
    guarded.approve(first, channel="cli")
    with pytest.raises(Denied, match="quorum takes 2"):
        guarded.approve(second, channel="cli")


def test_kill_for_one_cluster_tells_what_is_under_way(guarded):
    guarded.cluster.next_polls = 10**6
    proposal = guarded.propose(build.plan())
    guarded.approve(proposal)
    guarded.runner.stopping.set()
    state = guarded.executor.kill(guarded.who("agent"), on=True, why="storm", cluster="lab")
    assert (state.on, state.cluster, state.running) == (True, "lab", ())
    with pytest.raises(Halted, match="for lab by agent: storm"):
        guarded.approve(guarded.propose(build.plan(build.step(102))))
    with pytest.raises(InputError, match="no cluster called moon"):
        guarded.executor.kill(guarded.who("operator"), on=True, why="x", cluster="moon")
    guarded.executor.kill(guarded.who("operator"), on=False, why="over", cluster="lab")
    guarded.approve(guarded.propose(build.plan(build.step(103))))


def test_the_forecast_of_a_step_that_needs_the_same_state(guarded):
    proposal = guarded.propose(build.plan())
    guarded.cluster.guests[101]["digest"] = "b" * 40
    with pytest.raises(Stale, match="has changed since"):
        guarded.approve(proposal)
