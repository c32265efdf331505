import json

import pytest

from pveops.base.errors import ConfigError, Denied, Halted
from pveops.guard.killswitch import KillSwitch
from pveops.guard.policy import MOST_APPROVALS, Circumstances, Policy, Restriction, Target, shipped
from pveops.guard.principals import Principal, Principals, new_token, save_principals, token_hash
from pveops.guard.targets import targets_of
from pveops.model.facts import Facts
from pveops.testing import build
from pveops.testing.fake import StepClock


def test_a_switch_that_was_never_set_is_on(tmp_path):
    switch = KillSwitch(tmp_path / "kill.json", StepClock())
    assert "missing" in switch.state().why
    with pytest.raises(Halted, match="missing"):
        switch.check("lab")


def test_turning_it_survives_and_tells_who_and_why(tmp_path):
    path = tmp_path / "kill.json"
    KillSwitch(path, StepClock()).turn(on=False, why="set up", by="anna")
    KillSwitch(path, StepClock()).check("lab")
    KillSwitch(path, StepClock()).turn(on=True, why="storm", by="anna")
    with pytest.raises(Halted, match="by anna: storm"):
        KillSwitch(path, StepClock()).check("lab")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '"off"', '{"state":"maybe"}', '{"state":"off"}', '{"state":"off","since":"yesterday"}', "\x00\xff"]
)
def test_whatever_is_wrong_with_its_file_means_on(tmp_path, content):
    path = tmp_path / "kill.json"
    path.write_bytes(content.encode("latin-1"))
    assert KillSwitch(path, StepClock()).state().on


def test_an_unreadable_file_means_on(tmp_path):
    (tmp_path / "kill.json").mkdir()
    assert KillSwitch(tmp_path / "kill.json", StepClock()).state().on


def principal(name="anna", kind="person", role="operator"):
    return Principal(name=name, kind=kind, roles=(role,), token_sha256="")


def how(**more):
    fields = {"tool": "guest.migrate", "tier": "yellow", "targets": 1, "author": "person", "by_requester": True, "channel": "card",
              "one_person": True, "simulated": True}  # fmt: skip
    return Circumstances(**{**fields, **more})


@pytest.fixture
def policy(tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir(mode=0o700)
    (folder / "homelab.cedar").write_text(shipped("homelab"))
    (folder / "homelab.cedar").chmod(0o600)
    return Policy(folder)


TARGET = Target(subject="guest/101", kind="qemu")


@pytest.mark.parametrize(
    ("who", "action", "given", "target", "rule"),
    [
        (principal(), "propose", how(), TARGET, ""),
        (principal(), "approve", how(), TARGET, ""),
        (principal(), "execute", how(), TARGET, ""),
        (principal(kind="agent", role="proposer"), "propose", how(), TARGET, ""),
        (principal(kind="agent", role="proposer"), "approve", how(), TARGET, "only-people-decide"),
        (principal(kind="agent", role="operator"), "approve", how(), TARGET, "only-people-decide"),
        (principal(kind="service", role="viewer"), "propose", how(), TARGET, "nothing-permits-it"),
        (principal(), "propose", how(tier="black"), TARGET, "black-is-never-done"),
        (principal(), "propose", how(tier="purple"), TARGET, "black-is-never-done"),
        (principal(), "approve", how(tier="red"), TARGET, "red-needs-a-second-look"),
        (principal(), "approve", how(tier="red", channel="cli"), TARGET, ""),
        (principal(), "approve", how(tier="red", channel="cli", one_person=False), TARGET, "red-needs-a-second-look"),
        (principal(), "approve", how(tier="red", by_requester=False), TARGET, ""),
        (principal(), "propose", how(), Target(subject="guest/1", kind="qemu", own=True), "own-guests-are-left-alone"),
        (principal(), "propose", how(), Target(subject="guest/1", kind="qemu", template=True), "templates-are-not-run"),
        (principal(), "execute", how(), Target(subject="guest/1", kind="qemu", tags=("pveops-frozen",)), "frozen-guests-are-left-alone"),
    ],
)
def test_the_homelab_set(policy, who, action, given, target, rule):
    verdict = policy.plan(action, who, [target], "lab", given)
    assert (verdict.decision == "deny") == bool(rule)
    assert verdict.rule == rule or not rule
    assert verdict.text


def test_one_denied_target_denies_all_and_no_target_is_no_question(policy):
    frozen = Target(subject="guest/102", kind="qemu", tags=("pveops-frozen",))
    assert policy.plan("propose", principal(), [TARGET, frozen], "lab", how()).decision == "deny"
    assert policy.plan("propose", principal(), [], "lab", how()).rule == "no-target"


def test_simple_questions(policy):
    agent = principal(kind="agent", role="proposer")
    assert policy.simple("kill_on", agent, "all").decision == "confirm"
    assert policy.simple("kill_off", agent, "all").decision == "deny"
    assert policy.simple("withdraw", agent, "lab", by_requester=True).decision == "confirm"
    assert policy.simple("withdraw", agent, "lab", by_requester=False).decision == "deny"
    assert policy.simple("read_audit", agent, "all").decision == "confirm"


FAULTS = {
    "gone": lambda folder: [file.unlink() for file in folder.glob("*")],
    "empty": lambda folder: (folder / "homelab.cedar").write_text("  \n"),
    "malformed": lambda folder: (folder / "homelab.cedar").write_text("permit (principal"),
    "unknown attribute": lambda folder: (folder / "homelab.cedar").write_text(
        "permit (principal, action, resource) when { context.nosuch == 1 };"
    ),
    "unknown action": lambda folder: (folder / "x.cedar").write_text('permit (principal, action == Pveops::Action::"destroy", resource);'),
    "writable by others": lambda folder: (folder / "homelab.cedar").chmod(0o666),
    "folder writable by others": lambda folder: folder.chmod(0o777),
    "no text": lambda folder: (folder / "x.cedar").write_bytes(b"\xff\xfe\x00"),
    "huge": lambda folder: (folder / "x.cedar").write_text("//" + "x" * (1 << 20)),
    "folder gone": lambda folder: folder.rename(folder.with_name("elsewhere")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_any_doubt_about_the_policy_is_a_no(policy, tmp_path, fault):
    assert policy.hash
    FAULTS[fault](tmp_path / "policy")
    verdict = policy.plan("approve", principal(), [TARGET], "lab", how())
    assert (verdict.decision, verdict.rule) == ("deny", "policy-unusable")
    assert policy.fault in verdict.text
    assert policy.hash == ""
    assert policy.name == "none usable"


def test_a_mended_policy_works_again_and_has_another_hash(policy, tmp_path):
    before = policy.hash
    extra = tmp_path / "policy" / "extra.cedar"
    extra.write_text("nonsense")
    assert policy.fault
    extra.write_text('@id("no-fridays") forbid (principal, action == Pveops::Action::"approve", resource);')
    extra.chmod(0o600)
    verdict = policy.plan("approve", principal(), [TARGET], "lab", how())
    assert verdict.rule == "no-fridays"
    assert "no-fridays" in verdict.text
    assert policy.hash not in (before, "")
    assert policy.name == "extra, homelab"


def test_a_rule_that_fails_to_evaluate_is_no_permission(policy, tmp_path):
    """Cedar skips a forbid whose condition errors; an answer with errors must never count as a yes."""
    (tmp_path / "policy" / "trap.cedar").write_text(
        '@id("trap") forbid (principal, action == Pveops::Action::"approve", resource) when { context.targets + 9223372036854775807 > 0 };'
    )
    verdict = policy.plan("approve", principal(), [TARGET], "lab", how(targets=1))
    assert (verdict.decision, verdict.rule) == ("deny", "policy-error")


def test_there_is_no_other_set():
    with pytest.raises(ConfigError, match="no policy set"):
        shipped("wildwest")


def test_principals_are_known_by_their_token_only(tmp_path):
    path, token = tmp_path / "principals.json", new_token()
    save_principals(path, [Principal(name="anna", kind="person", roles=("operator",), token_sha256=token_hash(token), public_key="aa")])
    register = Principals(path)
    assert register.by_token(token).name == "anna"
    assert register.get("bob") is None
    with pytest.raises(Denied, match="no principal"):
        register.by_token(new_token())
    save_principals(path, [])
    with pytest.raises(Denied):
        register.by_token(token)


def test_only_a_person_keeps_a_public_key(tmp_path):
    path = tmp_path / "principals.json"
    save_principals(path, [Principal(name="bot", kind="agent", roles=("proposer",), token_sha256="x", public_key="aa")])
    assert Principals(path).get("bot").public_key == ""


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"principals":[{}]}', json.dumps({"principals": [{"name": "a", "kind": "god", "roles": [], "token_sha256": ""}]}),
     json.dumps({"principals": [{"name": "a", "kind": "person", "roles": ["root"], "token_sha256": ""}]}),
     json.dumps({"principals": [{"name": "a", "kind": "person", "roles": [], "token_sha256": ""}] * 2})],
)  # fmt: skip
def test_a_damaged_register_is_an_error(tmp_path, content):
    path = tmp_path / "principals.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged"):
        Principals(path).all()


def test_a_register_that_is_gone_or_open_to_others_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read"):
        Principals(tmp_path / "none").all()
    path = tmp_path / "principals.json"
    save_principals(path, [])
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="Others may write"):
        Principals(path).all()


def test_a_guest_that_cannot_be_read_is_treated_as_our_own():
    plan = build.plan(build.step(101, "s1"), build.step(102, "s2"), build.step(103, "s3"), build.step(104, "s4"))
    known = build.facts(101, 104)
    facts = Facts(values=known.values, unknown={"guest/102": "silent"}, missing=frozenset({"guest/103"}), read_at=build.NOW)
    seen = {target.subject: target for target in targets_of(plan.subjects, facts, own_guests=(104,))}
    assert [seen[f"guest/{vmid}"].own for vmid in (101, 102, 103, 104)] == [False, True, True, True]
    assert seen["guest/101"].tags == ("prod",)


def switch_of(path):
    return KillSwitch(path, StepClock())


def test_one_cluster_can_be_stopped_on_its_own(tmp_path):
    path = tmp_path / "kill.json"
    switch_of(path).turn(on=False, why="set up", by="anna")
    switch_of(path).turn(on=True, why="storm", by="anna", cluster="lab")
    with pytest.raises(Halted, match="for lab by anna: storm"):
        switch_of(path).check("lab")
    switch_of(path).check("other")
    assert [state.cluster for state in switch_of(path).clusters()] == ["lab"]
    switch_of(path).turn(on=False, why="over", by="anna", cluster="lab")
    switch_of(path).check("lab")
    assert switch_of(path).clusters() == ()
    switch_of(path).turn(on=True, why="all", by="anna")
    with pytest.raises(Halted, match="by anna: all"):
        switch_of(path).check("lab")


def test_a_damaged_file_stops_all_and_is_not_lifted_for_one(tmp_path):
    path = tmp_path / "kill.json"
    for content in (
        "{",
        '{"state":"off","since":"2026-11-21T00:00:00Z","clusters":[]}',
        '{"state":"off","since":"2026-11-21T00:00:00Z","clusters":{"lab":1}}',
    ):
        path.write_text(content)
        assert switch_of(path).state("lab").on
        assert switch_of(path).clusters() == ()
    path.write_text("{")
    with pytest.raises(ConfigError, match="missing or damaged"):
        switch_of(path).turn(on=False, why="lift", by="anna", cluster="lab")
    switch_of(path).turn(on=True, why="storm", by="anna", cluster="lab")
    assert switch_of(path).state("other").on, "nobody can tell what the file said, so all of it stops"


def test_plug_ins_only_restrict(tmp_path, policy):
    asked = []

    def never_at_night(question):
        asked.append(question)
        return "Not at night." if question.action == "approve" else None

    def broken(_question):
        raise RuntimeError

    folder = tmp_path / "policy"
    strict = Policy(folder, (Restriction("night 1.0", never_at_night),))
    assert strict.hash not in ("", policy.hash)
    assert strict.name == "homelab, night 1.0"
    verdict = strict.plan("approve", principal(), [TARGET], "lab", how())
    assert (verdict.decision, verdict.rule, verdict.text) == ("deny", "plugin:night 1.0", "Not at night.")
    assert strict.plan("propose", principal(), [TARGET], "lab", how()).decision == "confirm"
    assert strict.plan("approve", principal(kind="agent"), [TARGET], "lab", how()).rule == "only-people-decide"
    assert len(asked) == 2, "what the policy denies is not asked about: a plug-in cannot turn it round"
    failing = Policy(folder, (Restriction("broken", broken),))
    assert "failed (RuntimeError)" in failing.plan("propose", principal(), [TARGET], "lab", how()).text
    assert failing.simple("manage", principal(), "all").rule == "plugin:broken"
    for safe in ("kill_on", "deny", "stop", "withdraw"):
        mine = {} if safe == "kill_on" else {"by_requester": True}
        assert failing.simple(safe, principal(), "lab", **mine).decision == "confirm", "what makes the world safer is nobody's to restrict"


def test_more_approvals_than_anybody_may_ask_for(tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir(mode=0o700)
    (folder / "x.cedar").write_text(
        'permit (principal, action, resource); @id("many") @counts("9") @say("Nine people.") '
        'forbid (principal, action == Pveops::Action::"execute", resource) when { context.approvals < 9 };'
    )
    assert Policy(folder).approvals(principal(), [TARGET], "lab", how()) == (MOST_APPROVALS + 1, "Nine people.")


def test_any_other_no_is_told_before_one_that_more_approvals_lift(tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir(mode=0o700)
    (folder / "a.cedar").write_text(
        'permit (principal, action, resource); @id("a-counts") @counts("2") @say("Two people.") '
        'forbid (principal, action == Pveops::Action::"execute", resource) when { context.approvals < 2 };'
        '@id("b-frozen") @say("Frozen.") forbid (principal, action == Pveops::Action::"execute", resource) when { resource.tags.contains("x") };'
    )
    frozen = Target(subject="guest/102", kind="qemu", tags=("x",))
    policy = Policy(folder)
    assert policy.fault == ""
    assert policy.plan("execute", principal(), [TARGET, frozen], "lab", how()).rule == "b-frozen"
    assert policy.plan("execute", principal(), [TARGET], "lab", how()).rule == "a-counts"
    assert Policy(tmp_path / "nowhere").limits.blast.bulk_targets == 10
    assert Policy(tmp_path / "nowhere").rules == {}


def test_what_the_library_chokes_on_is_a_no(policy, monkeypatch):
    monkeypatch.setattr("pveops.guard.policy.json.loads", lambda text: int("no number"))
    verdict = policy.plan("propose", principal(), [TARGET], "lab", how())
    assert (verdict.decision, verdict.rule) == ("deny", "policy-unusable")
    assert "are malformed (invalid literal" in verdict.text
