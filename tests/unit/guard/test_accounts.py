"""Logins, users, groups, standing rules, the glass: what operators change, and what is refused."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pveops.base.errors import AuditError, ConfigError, Denied, Forged, InputError, UnknownName
from pveops.base.ids import new_id
from pveops.base.secret import Secret
from pveops.guard import passwords
from pveops.guard.sessions import SESSION_S, SKEW_S
from pveops.model.claims import new_key, sign_login, sign_rule
from pveops.model.messages import UserRequest
from pveops.model.proposal import ProposalStatus
from pveops.model.standing import StandingRule
from pveops.testing import build
from pveops.testing.guarded import IDENTITY

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """The real hash takes 50 ms and 64 MiB on purpose; here its cost is not what is tested."""
    import argon2

    monkeypatch.setattr(passwords, "_HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def boss(guarded):
    return guarded.who("operator")


def add(guarded, name="ben", **fields):
    asked = UserRequest(**{"name": name, "kind": "person", "roles": ("operator",), "public_key": new_key()[1], **fields})
    return guarded.accounts.add(guarded.who("operator"), asked)


def last(guarded):
    return guarded.ledger.records()[-1]


def test_a_password_is_a_hash_and_not_short():
    kept = passwords.hash_password(Secret(PASSWORD))
    assert kept.startswith("$argon2id$")
    assert passwords.is_password(kept, Secret(PASSWORD))
    assert not passwords.is_password(kept, Secret("wrong horse battery"))
    assert not passwords.is_password("damaged", Secret(PASSWORD))
    with pytest.raises(InputError, match="at least"):
        passwords.hash_password(Secret("short"))


def test_a_login_by_password_gives_a_token_for_a_while(guarded):
    assert add(guarded, password=PASSWORD) is None
    session = guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)
    assert last(guarded)["kind"] == "login"
    assert guarded.sessions.by_token(session.token).name == "ben"
    guarded.restart()
    assert guarded.sessions.by_token(session.token).name == "ben"
    guarded.cluster.clock.tick(SESSION_S + 1)
    with pytest.raises(Denied, match="login is over"):
        guarded.sessions.by_token(session.token)
    again = guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)
    assert guarded.memory.note("session", "x") is None
    assert len(guarded.memory.notes("session")) == 1, "what is over is swept out"
    guarded.sessions.logout(again.token)
    with pytest.raises(Denied):
        guarded.sessions.by_token(again.token)
    assert guarded.sessions.by_token(guarded.tokens["operator"]).name == "operator"


def test_a_login_by_key_is_good_once_here_and_now(guarded):
    now_s = int(guarded.cluster.clock.now().timestamp())

    def attempt(signature, at_s=now_s, name="operator"):
        return guarded.accounts.login(name, password=None, signature=signature, at_s=at_s)

    good = sign_login("operator", IDENTITY, now_s, guarded.keys["operator"])
    assert attempt(good).token.reveal().startswith("pvo_")
    old = now_s - SKEW_S - 1
    for bad, at_s, name in (
        (good, now_s, "operator"),
        (sign_login("operator", "x-other", now_s, guarded.keys["operator"]), now_s, "operator"),
        (sign_login("operator", IDENTITY, old, guarded.keys["operator"]), old, "operator"),
        (sign_login("anna", IDENTITY, now_s, guarded.keys["operator"]), now_s, "anna"),
        ("no signature", now_s, "agent"),
    ):
        with pytest.raises(Denied, match="do not fit"):
            attempt(bad, at_s, name)
    assert last(guarded)["kind"] == "login.refused"
    guarded.cluster.clock.tick(1000)
    later_s = int(guarded.cluster.clock.now().timestamp())
    attempt(sign_login("operator", IDENTITY, later_s, guarded.keys["operator"]), later_s)
    assert len(guarded.memory.notes("login")) == 1


def test_guessing_is_slowed_down_and_says_nothing(guarded):
    add(guarded, password=PASSWORD)
    said = set()
    for name in ("ben", "nobody", "anna"):
        with pytest.raises(Denied) as refused:
            guarded.accounts.login(name, password=Secret("a guess that fails"), signature="", at_s=0)
        said.add(refused.value.message)
    assert len(said) == 1
    for _ in range(4):
        with pytest.raises(Denied):
            guarded.accounts.login("ben", password=None, signature="", at_s=0)
    with pytest.raises(Denied, match="5 times within a minute"):
        guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)
    guarded.cluster.clock.tick(61)
    guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)


def test_a_session_ends_with_its_user(guarded, boss):
    add(guarded, password=PASSWORD)
    session = guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)
    guarded.accounts.remove(boss, "ben")
    with pytest.raises(Denied):
        guarded.sessions.by_token(session.token)
    guarded.memory.keep("session", "stray", {"principal": "ben", "until": "2099-01-01T00:00:00Z"})
    assert guarded.kinds()[-2:] == ["user.removed", "logout"]


def test_users_are_made_changed_and_shown(guarded, boss):
    token = add(guarded, "nightly", kind="runbook", roles=("proposer",), public_key="", token=True)
    assert guarded.sessions.by_token(token).kind == "runbook"
    add(guarded, alias_of="anna", groups=("dba",))
    before = guarded.principals.get("ben")
    guarded.accounts.group(boss, "ben", "web", member=True)
    guarded.accounts.group(boss, "ben", "dba", member=False)
    guarded.accounts.add(boss, UserRequest(name="ben", roles=("viewer",), alias_of="anna"))
    now = guarded.principals.get("ben")
    assert (now.public_key, now.roles, now.groups, now.person) == (before.public_key, ("viewer",), (), "anna")
    assert [one.kind for one in guarded.accounts.people()][:3] == ["person"] * 3
    guarded.accounts.remove(boss, "anna")
    assert guarded.principals.get("ben") is None, "another name goes with its person"


def test_what_cannot_be_made(guarded, boss):
    with pytest.raises(InputError, match="Kinds are"):
        add(guarded, roles=("root",))
    with pytest.raises(InputError, match="no person called carl"):
        add(guarded, alias_of="carl")
    with pytest.raises(InputError, match="has the key of anna"):
        add(guarded, public_key=guarded.principals.get("anna").public_key)
    with pytest.raises(UnknownName):
        guarded.accounts.remove(boss, "carl")
    with pytest.raises(UnknownName):
        guarded.accounts.group(boss, "carl", "web", member=True)
    guarded.accounts.remove(boss, "anna")
    with pytest.raises(Denied, match="last operator"):
        guarded.accounts.remove(boss, "operator")


@pytest.mark.parametrize("name", ["agent", "viewer"])
def test_only_operators_manage(guarded, name):
    who = guarded.who(name)
    for attempt in (
        lambda: guarded.accounts.add(who, UserRequest(name="me", roles=("operator",))),
        lambda: guarded.accounts.remove(who, "anna"),
        lambda: guarded.accounts.group(who, name, "operators", member=True),
        lambda: guarded.accounts.set_glass(who, Secret(PASSWORD)),
        lambda: guarded.accounts.break_glass(who, Secret(PASSWORD), "please", 600),
        lambda: guarded.accounts.add_rule(who, rule_of(guarded, owner=name)),
    ):
        with pytest.raises(Denied):
            attempt()
        assert last(guarded)["kind"] == "access.refused"


def test_a_register_with_an_alias_of_nobody_is_damaged(guarded):
    from pveops.guard.principals import save_principals

    known = list(guarded.principals.all())
    save_principals(guarded.root / "principals.json", [*known, replace(known[1], name="x", alias_of="agent")])
    with pytest.raises(ConfigError, match="no person of this register"):
        guarded.principals.get("x")


def test_breaking_the_glass_is_written_down_or_does_not_happen(guarded, boss, monkeypatch):
    guarded.accounts.set_glass(boss, Secret(PASSWORD))
    with pytest.raises(Denied, match="not the passphrase"):
        guarded.accounts.break_glass(boss, Secret("something else"), "storm", 600)
    assert last(guarded)["kind"] == "glass.refused"
    guarded.accounts.break_glass(boss, Secret(PASSWORD), "storm", 600)
    assert last(guarded)["kind"] == "glass.broken"
    guarded.accounts.mend_glass(boss)
    assert guarded.glass.all() == ()
    real = guarded.ledger.append

    def full(kind, **more):
        if kind == "glass.broken":
            raise AuditError("full")
        return real(kind, **more)

    monkeypatch.setattr(guarded.ledger, "append", full)
    with pytest.raises(AuditError):
        guarded.accounts.break_glass(boss, Secret(PASSWORD), "storm", 600)
    assert guarded.glass.all() == ()


def rule_of(guarded, owner="operator", key="operator", **changes):
    now = guarded.cluster.clock.now()
    fields = {"id": new_id("s"), "owner": owner, "audience": IDENTITY, "cluster": "lab", "principals": ("nightly",), "tools": ("guest.migrate",),
              "subjects": ("guest/101", "guest/102", "guest/103"), "per_hour": 2, "per_day": 9, "issued": now, "expires": now + timedelta(days=1),
              "why": "nightly"}  # fmt: skip
    return sign_rule(StandingRule(**{**fields, **changes}), guarded.keys[key])


@pytest.fixture
def nightly(guarded):
    guarded.tokens["nightly"] = add(guarded, "nightly", kind="runbook", roles=("proposer",), public_key="", token=True)


def test_a_standing_rule_approves_what_it_is_about_within_its_budget(guarded, boss, nightly):
    signed = rule_of(guarded)
    guarded.accounts.add_rule(boss, signed)
    for vmid in (101, 102):
        proposal = guarded.propose(build.plan(build.step(vmid)), by="nightly", author="runbook:nightly")
        assert (proposal.status, proposal.standing) == (ProposalStatus.APPROVED, signed.rule.id)
    guarded.dispatcher.work()
    assert len(guarded.cluster.received) == 2
    third = guarded.propose(build.plan(build.step(103)), by="nightly", author="runbook:nightly")
    assert third.status is ProposalStatus.WAITING, "the budget is spent, so a person is asked"
    guarded.restart()
    assert guarded.propose(build.plan(build.step(103, target="pve3")), by="nightly").status is ProposalStatus.WAITING
    guarded.cluster.clock.tick(3601)
    assert guarded.propose(build.plan(build.step(103)), by="nightly").status is ProposalStatus.APPROVED


def test_a_standing_rule_approves_nothing_else(guarded, boss, nightly):
    guarded.accounts.add_rule(boss, rule_of(guarded, subjects=("guest/101",)))
    assert guarded.propose(build.plan(build.step(102)), by="nightly").status is ProposalStatus.WAITING
    assert guarded.propose(build.plan(), by="agent").status is ProposalStatus.WAITING
    assert guarded.propose(build.plan(), by="nightly", author="model:x").status is ProposalStatus.WAITING
    guarded.executor.kill(boss, on=True, why="storm")
    assert guarded.propose(build.plan(), by="nightly").status is ProposalStatus.WAITING
    assert "approval.refused" in guarded.kinds()


def test_a_standing_rule_dies_with_its_owner_its_revocation_and_a_forged_word(guarded, boss, nightly):
    signed = rule_of(guarded, owner="anna", key="anna")
    guarded.accounts.add_rule(guarded.who("anna"), signed)
    waiting = guarded.propose(build.plan(), by="nightly")
    guarded.accounts.revoke_rule(boss, signed.rule.id)
    guarded.dispatcher.work()
    assert waiting.status is ProposalStatus.APPROVED
    with pytest.raises(UnknownName):
        guarded.accounts.revoke_rule(boss, signed.rule.id)
    mine = rule_of(guarded, owner="anna", key="anna")
    guarded.accounts.add_rule(guarded.who("anna"), mine)
    guarded.accounts.remove(boss, "anna")
    assert guarded.propose(build.plan(build.step(102)), by="nightly").status is ProposalStatus.WAITING
    forged = guarded.memory.note("rule", mine.rule.id)
    forged["rule"]["owner"] = "operator"
    guarded.memory.keep("rule", mine.rule.id, forged)
    assert guarded.propose(build.plan(build.step(102)), by="nightly").status is ProposalStatus.WAITING
    assert [record["data"]["error"] for record in guarded.ledger.records() if record["kind"] == "approval.refused"] == ["Denied", "Forged"]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"owner": "anna"}, Denied, "made by its owner"),
        ({"key": "anna"}, Forged, "signature"),
        ({"id": "s-1"}, InputError, "no new id"),
        ({"audience": "x-other"}, InputError, "names this executor"),
        ({"tools": ()}, InputError, "names this executor"),
        ({"subjects": ()}, InputError, "names this executor"),
        ({"why": " "}, InputError, "a reason"),
        ({"principals": ("agent",)}, InputError, "cannot use a standing rule"),
        ({"principals": ("carl",)}, InputError, "cannot use a standing rule"),
        ({"principals": ()}, InputError, "for somebody"),
        ({"per_hour": 10, "per_day": 9}, InputError, "a budget"),
    ],
)
def test_what_is_no_standing_rule(guarded, boss, nightly, changes, error, said):
    with pytest.raises(error, match=said):
        guarded.accounts.add_rule(boss, rule_of(guarded, **changes))


def test_a_standing_rule_ends_within_ninety_days(guarded, boss, nightly):
    with pytest.raises(InputError, match="90 days"):
        guarded.accounts.add_rule(boss, rule_of(guarded, expires=guarded.cluster.clock.now() + timedelta(days=91)))


def test_why_somebody_may_not(guarded, boss):
    proposal = guarded.propose(build.plan())
    explain = guarded.executor.explain
    assert explain(boss, proposal.id, "approve", channel="card").decision == "confirm"
    assert "only a person decides" in explain(guarded.who("agent"), proposal.id, "approve", channel="card").text
    assert "only a person decides" in explain(guarded.who("agent"), proposal.id, "deny", channel="card").text
    with pytest.raises(InputError, match="nothing that can be done"):
        explain(boss, proposal.id, "fly", channel="card")


def test_a_rule_is_dropped_by_its_owner_who_may_make_none_any_more(guarded, boss, nightly):
    signed = rule_of(guarded, owner="anna", key="anna")
    guarded.accounts.add_rule(guarded.who("anna"), signed)
    public = guarded.who("anna").public_key
    guarded.accounts.add(boss, UserRequest(name="anna", kind="person", roles=("viewer",), public_key=public))
    guarded.accounts.revoke_rule(guarded.who("anna"), signed.rule.id)
    assert guarded.accounts.rules() == {}


def test_a_changed_user_leaves_the_logins_of_others_alone(guarded, boss):
    for name in ("ben", "carl"):
        add(guarded, name, password=PASSWORD)
    ben, carl = (guarded.accounts.login(name, password=Secret(PASSWORD), signature="", at_s=0) for name in ("ben", "carl"))
    add(guarded, "ben", password=PASSWORD + "!")
    with pytest.raises(Denied):
        guarded.sessions.by_token(ben.token)
    assert guarded.sessions.by_token(carl.token).name == "carl"


def test_a_standing_rule_does_not_approve_what_several_must(guarded, boss, nightly):
    guarded.accounts.add_rule(boss, rule_of(guarded))
    asked = []
    guarded.executor._gate.approve = lambda *_args, **more: asked.append(more["channel"]) or 1
    waiting = guarded.propose(build.plan(), by="nightly")
    del guarded.executor._gate.approve
    assert (asked, waiting.status, waiting.run_id) == (["standing"], ProposalStatus.WAITING, "")
    assert "approval.refused" not in guarded.kinds()


def test_a_standing_rule_that_comes_second_waits_for_a_person(guarded, boss, nightly):
    guarded.accounts.add_rule(boss, rule_of(guarded))
    first = guarded.propose(build.plan(build.step(101, target="pve3")))
    real = guarded.executor._gate.sending

    def sending(cluster):
        del guarded.executor._gate.sending
        guarded.approve(first)
        real(cluster)

    guarded.executor._gate.sending = sending
    second = guarded.propose(build.plan(), by="nightly")
    assert second.status is ProposalStatus.WAITING
    refused = last(guarded)
    assert (refused["kind"], refused["data"]["error"]) == ("approval.refused", "Stale")
    assert f"held by {first.id}" in refused["data"]["reason"]


def test_a_logout_ends_the_login_and_is_written_down(guarded, boss, monkeypatch):
    add(guarded, password=PASSWORD)
    ben = guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)
    other = guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)
    assert guarded.accounts.logout(guarded.sessions.by_token(ben.token), ben.token)
    assert (last(guarded)["kind"], last(guarded)["actor"]) == ("logout", "ben")
    with pytest.raises(Denied):
        guarded.sessions.by_token(ben.token)
    assert guarded.sessions.by_token(other.token).name == "ben"
    count = len(guarded.ledger.records())
    assert not guarded.accounts.logout(boss, guarded.tokens["operator"]), "a lasting token is no login"
    assert guarded.who("operator") == boss
    assert len(guarded.ledger.records()) == count
    monkeypatch.setattr(guarded.ledger, "append", lambda *_args, **_more: (_ for _ in ()).throw(AuditError("the disk is full")))
    with pytest.raises(AuditError):
        guarded.accounts.logout(guarded.sessions.by_token(other.token), other.token)
    assert guarded.sessions.by_token(other.token).name == "ben", "no record, no logout"


def test_logins_that_end_with_their_user_are_written_down(guarded, boss):
    add(guarded, password=PASSWORD)
    add(guarded, "ben-phone", alias_of="ben", password=PASSWORD)
    phone = guarded.accounts.login("ben-phone", password=Secret(PASSWORD), signature="", at_s=0)
    guarded.accounts.login("ben", password=Secret(PASSWORD), signature="", at_s=0)
    guarded.accounts.remove(boss, "ben")
    ended = [record["data"] for record in guarded.ledger.records() if record["kind"] == "logout"]
    assert ended == [{"what": "1 of ben", "why": "it was removed"}, {"what": "1 of ben-phone", "why": "it was removed"}]
    with pytest.raises(Denied):
        guarded.sessions.by_token(phone.token)
