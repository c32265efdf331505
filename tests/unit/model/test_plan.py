from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pveops.base.errors import Forged, InputError
from pveops.model.codec import decode, encode
from pveops.model.facts import Facts, compare, fingerprint, mismatches
from pveops.model.plan import Fact, Plan, WireCall, then
from pveops.model.proposal import Check, Preview, Proposal, Tier
from pveops.testing import build


def test_a_plan_survives_the_wire_with_its_digest():
    plan = build.plan(build.step(101, "s1"), build.step(102, "s2"))
    assert decode(Plan, encode(plan)) == plan
    assert decode(Plan, encode(plan)).digest == plan.digest
    assert plan.subjects == ("guest/101", "guest/102")


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif value is not None:
        yield path, value


PLAN = build.plan()
LEAVES = list(leaves(encode(PLAN)))


@given(st.sampled_from(LEAVES), st.integers(0, 200))
def test_no_byte_of_a_plan_can_change_without_its_digest(leaf, at):
    path, old = leaf
    data = encode(PLAN)
    place = data
    for key in path[:-1]:
        place = place[key]
    text = str(old)
    index = at % (len(text) + 1)
    place[path[-1]] = f"{text[:index]}x{text[index:]}" if isinstance(old, str) else (not old if isinstance(old, bool) else old + 1)
    try:
        changed = decode(Plan, data)
    except InputError:
        return
    assert changed.digest != PLAN.digest


def test_a_proposal_whose_plan_was_edited_says_so():
    good = build.proposal()
    assert good.intact() is good
    with pytest.raises(Forged, match="digest does not fit"):
        replace(good, plan=replace(good.plan, summary="Migrate 101 web-1 to pve3")).intact()


def test_unknown_fields_and_wrong_types_are_refused_by_name():
    for change, where in (({"extra": 1}, "extra"), ({"steps": "x"}, "steps"), ({"summary": None}, "summary")):
        with pytest.raises(InputError, match=where):
            decode(Plan, {**encode(PLAN), **change})


def test_a_call_reads_as_it_is_sent():
    assert WireCall(method="POST", path="/a", params=(("x", 1), ("y", "b"))).text == "POST /a  x=1 y=b"
    assert WireCall(method="DELETE", path="/a").text == "DELETE /a"


def test_joined_plans_do_not_assume_what_the_first_one_changes():
    first = build.plan(build.step(101, "s1", touches=("digest",)), undo_text="one")
    second = build.plan(build.step(101, "s1"), undo_text="two")
    both = then(first, second, summary="Both")
    assert [step.key for step in both.steps] == ["s1", "s2"]
    assert "guest/101.digest" in {fact.key for fact in both.steps[0].assumes}
    assert "guest/101.digest" not in {fact.key for fact in both.steps[1].assumes}
    assert "guest/101.lock" in {fact.key for fact in both.steps[1].assumes}
    assert (both.tool, both.undo_text, both.action) == ("guest.migrate+guest.migrate", "one; two", "2 steps")
    with pytest.raises(ValueError, match="one plan is for"):
        then(first, replace(second, cluster="other"), summary="x")


def test_assumed_facts_are_each_named_once_in_a_fixed_order():
    plan = build.plan(build.step(102, "s1"), build.step(101, "s2"), build.step(101, "s3"))
    keys = [fact.key for fact in plan.assumed]
    assert keys == sorted(keys)
    assert len(keys) == 8


def fact(op="is", value=None, field="status", subject="guest/101"):
    return Fact(subject=subject, field=field, op=op, value=value)


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        (fact(value="running"), True),
        (fact(value="stopped"), False),
        (fact(field="lock", value=None), True),
        (fact(field="template", value=False), True),
        (fact(field="template", value=0), False),
        (fact("has", "a", "snapshots"), True),
        (fact("has", "b", "snapshots"), False),
        (fact("lacks", "b", "snapshots"), True),
        (fact("lacks", "a", "snapshots"), False),
        (fact("has", "x", "name"), False),
        (fact(subject="cluster", field="quorate", value=True), True),
    ],
)
def test_facts_are_compared(wanted, holds):
    found = compare(wanted, build.facts(101, snapshots=("a",)))
    assert (found is None) == holds
    if found:
        assert found.text
        assert not found.unknown


def test_a_restart_is_told_by_the_nodes_clock():
    wanted = Fact(subject="guest/101", field="booted_s", op="restarted")
    facts = build.facts(101, booted_s=1000)
    assert compare(wanted, facts, intent_node_s=999) is None
    assert compare(wanted, facts, intent_node_s=1002) is None, "start times are whole seconds"
    assert "not restarted" in compare(wanted, facts, intent_node_s=1003).text
    assert compare(wanted, facts).unknown
    assert not compare(wanted, build.facts(101, booted_s=None), intent_node_s=1).unknown


def test_what_cannot_be_read_is_unknown_and_what_is_gone_is_not():
    facts = Facts(
        values={},
        unknown={"guest/101": "the node is silent", "guest/102.lock": "no right"},
        missing=frozenset({"guest/103"}),
        read_at=build.NOW,
    )
    assert compare(fact(value="running"), facts).unknown
    assert compare(fact(subject="guest/102", field="lock"), facts).unknown
    gone = compare(fact(subject="guest/103"), facts)
    assert "does not exist" in gone.text
    assert not gone.unknown
    assert len(mismatches((fact(value="x"), fact(subject="guest/103")), facts)) == 2


def test_the_fingerprint_follows_the_assumed_facts_only():
    one, two = build.plan(), build.plan(summary="other words")
    assert fingerprint(one.assumed) == fingerprint(two.assumed)
    other = build.plan(build.step(assumes=(fact(value="stopped"),)))
    assert fingerprint(other.assumed) != fingerprint(one.assumed)
    assert fingerprint((fact(value=("a", "b")),)) != fingerprint((fact(value=("a",)),))


def test_a_preview_is_ok_unless_something_fails():
    def seen(*results):
        return Preview(checks=tuple(Check(name="x", result=result, text="t") for result in results), read_at=build.NOW, by="reader")

    assert seen("ok", "warn", "unknown").ok
    assert not seen("ok", "fail").ok
    assert len(seen("fail", "fail", "ok").failed) == 2


def test_proposals_survive_the_wire():
    proposal = build.proposal()
    assert decode(Proposal, encode(proposal)) == proposal
    assert [tier.rank for tier in Tier] == [0, 1, 2, 3]
