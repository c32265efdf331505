from datetime import UTC, datetime

import pytest

from pveops.base.errors import ConfigError, Denied
from pveops.guard.budget import Budget
from pveops.guard.limits import Limits, parse_limits
from pveops.guard.policy import SETS, shipped
from pveops.model.plan import WireCall
from pveops.model.proposal import ProposalStatus
from pveops.store.engine import open_engine
from pveops.store.memory import SqlMemory
from pveops.testing import build
from pveops.testing.fake import StepClock


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def limits(text):
    return parse_limits(text, "limits.toml")


def test_nothing_set_means_the_usual_values_and_always_open():
    assert limits("") == Limits()
    assert Limits().in_window(at("2026-11-21T03:00"))
    assert Limits().frozen(at("2026-11-21T03:00")) is None
    assert limits(shipped("homelab.toml")) == Limits()


@pytest.mark.parametrize("name", SETS)
def test_the_shipped_limits_are_sound(name):
    assert limits(shipped(f"{name}.toml")).blast.bulk_targets >= 2


def test_a_window_opens_and_closes_over_midnight_and_in_its_zone():
    night = limits('[[window]]\ndays=["fri"]\nfrom="22:00"\nto="06:00"\nzone="Europe/Berlin"')
    assert night.in_window(at("2026-11-20T21:30"))  # Friday 22:30 there
    assert night.in_window(at("2026-11-21T04:30"))  # Saturday 05:30 there
    assert not night.in_window(at("2026-11-21T05:30"))
    assert not night.in_window(at("2026-11-20T20:30"))
    assert not night.in_window(at("2026-11-21T21:30"))
    day = limits('[[window]]\ndays=["mon"]\nfrom="08:00"\nto="18:00"')
    assert day.in_window(at("2026-11-23T08:00"))
    assert not day.in_window(at("2026-11-23T18:00"))
    assert not day.in_window(at("2026-11-24T09:00"))


def test_a_freeze_and_a_maintenance():
    both = limits(
        '[[freeze]]\nfrom=2026-12-20T00:00:00Z\nto=2026-12-27T00:00:00Z\nwhy="holidays"\n'
        '[[maintenance]]\nnodes=["pve3"]\nfrom=2026-12-20T00:00:00+01:00\nto=2026-12-27T00:00:00Z'
    )
    assert both.frozen(at("2026-12-24T00:00")).why == "holidays"
    assert both.frozen(at("2026-12-27T00:00")) is None
    assert both.under_maintenance(at("2026-12-19T23:30")) == {"pve3"}
    assert both.under_maintenance(at("2026-12-28T00:00")) == frozenset()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[blast", "no valid TOML"),
        ("[blast]\nbulk = 3", "blast.bulk"),
        ("[nosuch]\nx = 1", "nosuch"),
        ("[rate]\nchanges_per_hour = 0", "changes_per_hour"),
        ('[[window]]\nfrom="08:00"\nto="09:00"\nzone="Middle/Earth"', "no time zone"),
        ("[[freeze]]\nfrom=2026-12-20T00:00:00\nto=2026-12-27T00:00:00Z", "without a zone"),
    ],
)
def test_doubtful_limits_are_named(text, said):
    with pytest.raises(ConfigError, match=said):
        limits(text)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return open_engine(tmp_path_factory.mktemp("budget") / "store.sqlite")


@pytest.fixture
def budget(engine):
    from sqlalchemy import text

    with engine.begin() as db:
        db.execute(text("delete from usage"))
    return Budget(SqlMemory(engine), StepClock())


def spend(budget, plan, limits, **more):
    given = {
        "proposal_id": "p-000001",
        "requester": "anna",
        "approver": "ben",
        "standing": "",
        "targets": plan.subjects,
        "limits": limits,
        "running": (),
    }
    budget.spend(plan, **{**given, **more})


def test_what_was_touched_lately_adds_up_over_restarts_and_a_clock_that_went_back(budget, engine):
    for vmid in (101, 102, 102):
        spend(budget, build.plan(build.step(vmid)), Limits())
    again = Budget(SqlMemory(engine), budget._clock)
    assert again.recent("lab", ["anna"], Limits()) == {"guest/101", "guest/102"}
    assert again.recent("lab", ["ben"], Limits()) == {"guest/101", "guest/102"}
    assert again.recent("lab", ["carl"], Limits()) == set()
    assert again.recent("other", ["anna"], Limits()) == set()
    budget._clock.set_back(7200)
    assert len(again.recent("lab", ["anna"], Limits())) == 2
    budget._clock.tick(7200 + 61)
    assert again.recent("lab", ["anna"], Limits()) == set()


def test_the_rate_of_one_person(budget):
    few = limits("[rate]\nchanges_per_hour = 2")
    spend(budget, build.plan(), few)
    with pytest.raises(Denied, match="1 times within an hour") as refused:
        spend(budget, build.plan(build.step(101, "s1"), build.step(102, "s2")), few)
    assert refused.value.details["rule"] == "limit-rate"
    spend(budget, build.plan(), few, requester="carl")
    spend(budget, build.plan(), few)
    budget._clock.tick(3601)
    spend(budget, build.plan(), few)


def test_the_budget_of_standing_rules(budget):
    usual = limits("[autopilot]\nchanges_per_hour = 3\nchanges_per_day = 4")
    for _ in range(2):
        spend(budget, build.plan(), usual, standing="s-1", most_standing=(2, 9))
    with pytest.raises(Denied, match="its budget is 2"):
        spend(budget, build.plan(), usual, standing="s-1", most_standing=(2, 9))
    spend(budget, build.plan(), usual, standing="s-2", most_standing=(9, 9))
    with pytest.raises(Denied, match="the limit is 3"):
        spend(budget, build.plan(), usual, standing="s-3", most_standing=(9, 9))
    budget._clock.tick(3601)
    spend(budget, build.plan(), usual, standing="s-1", most_standing=(2, 9))
    with pytest.raises(Denied, match="within a day"):
        spend(budget, build.plan(), usual, standing="s-2", most_standing=(9, 9))
    with pytest.raises(Denied, match="its budget is 0"):
        spend(budget, build.plan(), usual, standing="s-9")


def test_how_many_runs_a_node_and_a_storage_bear(budget):
    one = limits("[concurrency]\nper_node = 1\nper_storage = 1")
    with pytest.raises(Denied, match="on node pve2") as refused:
        spend(budget, build.plan(), one, running=[build.plan(build.step(102, node="pve3"))])
    assert refused.value.details["rule"] == "limit-node"
    volume = WireCall(method="DELETE", path="/nodes/pve9/storage/nfs/content/x")
    with pytest.raises(Denied, match="on storage nfs"):
        spend(
            budget, build.plan(build.step(call=volume)), one,
            running=[build.plan(build.step(call=WireCall(method="POST", path="/nodes/pve1/qemu/102/clone", params=(("storage", "nfs"),))))],
        )  # fmt: skip
    spend(budget, build.plan(), one, running=[build.plan(build.step(call=WireCall(method="PUT", path="/cluster/options")))])
    assert build.step().nodes == ("pve1", "pve2")
    assert build.step().storages == ()


def test_proposals_per_minute(budget):
    two = limits("[rate]\nproposals_per_minute = 2")
    assert [budget.ask("agent", two) for _ in range(2)] == ["", ""]
    assert "2 proposals within a minute" in budget.ask("agent", two)
    assert budget.ask("anna", two) == ""
    budget._clock.tick(61)
    assert budget.ask("agent", two) == ""


def test_notes_are_kept_changed_and_dropped(budget):
    memory = budget.memory
    memory.keep("k", "a", {"n": 1})
    memory.keep("k", "a", {"n": 2})
    memory.keep("k", "b", None)
    assert memory.notes("k") == {"a": {"n": 2}}
    memory.keep("k", "a", None)
    assert memory.note("k", "a") is None


def test_what_was_put_forward_before_a_restart_counts(guarded):
    use = guarded.root / "policy" / "limits.toml"
    use.write_text("[rate]\nproposals_per_minute = 2", encoding="utf-8")
    use.chmod(0o600)
    assert guarded.propose(build.plan(build.step(101)), by="viewer").verdict.rule == "nothing-permits-it"
    first, second = (guarded.propose(build.plan(build.step(vmid)), by="agent") for vmid in (101, 102))
    guarded.restart()
    guarded.executor.recover()
    third = guarded.propose(build.plan(build.step(103)), by="agent")
    assert (third.status, third.verdict.rule) == (ProposalStatus.REFUSED, "limit-proposals")
    assert guarded.propose(build.plan(build.step(103)), by="anna").status is ProposalStatus.WAITING, "each has a minute of their own"
    assert guarded.journal.made_since(first.created) == [("anna", third.created), ("agent", second.created), ("agent", first.created)]
    guarded.cluster.clock.set_back(3600)
    guarded.restart()
    guarded.executor.recover()
    assert guarded.budget.ask("agent", guarded.policy.limits), "a time to come counts as now"
    guarded.cluster.clock.tick(3600 + 61)
    guarded.restart()
    guarded.executor.recover()
    assert guarded.budget.ask("agent", guarded.policy.limits) == ""
