"""Attacks on policy, limits, principals and kill switch, from outside, on real processes: refused with the reason, written down, and the cluster gets no write."""

import json
import re
import sqlite3
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pveops.app.setup import shipped_policy
from pveops.base.clock import SystemClock, iso
from pveops.base.errors import Denied, Forged, GuardError, Halted, InputError, PveopsError, Used
from pveops.base.ids import new_id
from pveops.base.secret import Secret
from pveops.clients.executor import ExecutorClient, login
from pveops.guard.policy import shipped
from pveops.model.claims import claim_for, new_key, public_of, sign, sign_rule
from pveops.model.codec import encode
from pveops.model.messages import ApproveRequest, UserRequest
from pveops.model.plan import WireCall
from pveops.model.proposal import Origin
from pveops.model.standing import StandingRule
from pveops.settings.credentials import load_credential
from pveops.surfaces.daemon import routes
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("policy"), guests=16, speed=40) as running:
        yield running


def use(stack, name="homelab", limits="", extra=""):
    """Put a policy set into force; the executor reads it at the next question."""
    folder = stack.home.policy
    folder.chmod(0o700)
    for file in folder.iterdir():
        file.unlink()
    for file, text in ((f"{name}.cedar", shipped(name)), ("limits.toml", limits or shipped(f"{name}.toml")), ("extra.cedar", extra)):
        if text:
            (folder / file).write_text(text)
            (folder / file).chmod(0o600)


@pytest.fixture
def attack(stack):
    use(stack)
    before = len(stack.writes())
    yield stack
    use(stack)
    assert len(stack.writes()) == before, "a write got through"
    verified = stack.cli("audit", "verify")
    assert verified.returncode == 0, verified.stderr


def somebody(stack, name, **fields):
    """A person with a key and a token, known to the executor."""
    private, public = new_key()
    asked = UserRequest(**{"name": name, "roles": ("operator",), "public_key": public, "token": True, **fields})
    return ExecutorClient(stack.home.socket, name, stack.client().add_user(asked), private)


def running_guests(stack, count):
    table = stack.ops().guests()
    return [int(vmid) for vmid in table[(table["status"] == "running") & (table["kind"] == "qemu")]["vmid"].head(count)]


def waiting(stack, vmid=101, client=None):
    plan = stack.ops().draft("guest.snapshot", guest=str(vmid), name=f"s{time.monotonic_ns() % 10**9}").plan
    view = (client or stack.client()).propose(plan, author="person", origin=Origin(surface="test"))
    assert view.proposal.status.value == "waiting", view.proposal.reason
    return view


def calling(stack, call, subject):
    """A plan with one call of our choice."""
    plan = stack.ops().draft("guest.snapshot", guest="101", name="calling").plan
    return replace(plan, steps=(replace(plan.steps[0], call=call, subject=subject, assumes=(), expects=(), needs=()),))


def test_another_name_of_oneself_approves(attack):
    use(attack, "strict")
    alias = somebody(attack, "operator-phone", alias_of="operator")
    view = waiting(attack)
    with pytest.raises(Denied, match="Whoever asked"):
        alias.approve(view, channel="dashboard")
    mine = load_credential(attack.home, "operator").private_key
    with pytest.raises(InputError, match="has the key of operator"):
        attack.client().add_user(UserRequest(name="somebody-else", roles=("operator",), public_key=public_of(mine), token=True))


def test_two_names_of_one_person_are_not_two_people(stack):
    use(
        stack,
        "strict",
        extra='@id("two") @counts("2") @say("Two people.") forbid (principal, action == Pveops::Action::"execute", resource) when { context.approvals < 2 };',
    )
    anna, phone, ben = somebody(stack, "anna"), somebody(stack, "anna-phone", alias_of="anna"), somebody(stack, "ben")
    before = len(stack.writes())
    view = waiting(stack)
    assert view.proposal.needs == 2
    assert anna.approve(view, channel="dashboard").proposal.missing == 1
    with pytest.raises(Used, match="waits for another person"):
        phone.approve(view, channel="dashboard")
    time.sleep(0.5)
    assert len(stack.writes()) == before, "one approval of two is none"
    shown = stack.cli("proposals", "show", view.proposal.id)
    assert "1 of 2 approvals given, by anna; 1 more must approve" in shown.stdout
    ben.approve(view, channel="dashboard")
    assert stack.cli("proposals", "watch", view.proposal.id).returncode == 0
    assert len(stack.writes()) == before + 1
    use(stack)


def test_single_changes_one_after_another(stack):
    """Fifty small proposals are one large one; a restart in between changes nothing."""
    use(stack, "homelab", limits="[blast]\nbulk_targets = 2\nwindow_s = 3600")
    before = len(stack.writes())
    dora = somebody(stack, "dora")  # nobody else's changes count as hers
    first, second, third = (waiting(stack, vmid, dora) for vmid in running_guests(stack, 3))
    dora.approve(first, channel="dashboard")
    assert stack.cli("proposals", "watch", first.proposal.id).returncode == 0
    for view in (second, third):
        with pytest.raises(Denied, match="reaches many guests"):
            dora.approve(view, channel="dashboard")
        assert stack.client().proposal(view.proposal.id).proposal.tier.value == "red"
    stack.executor.stop()
    stack.start_executor()
    with pytest.raises(Denied, match="reaches many guests"):
        dora.approve(second, channel="dashboard")
    assert len(stack.writes()) == before + 1
    use(stack)


@pytest.mark.parametrize(
    ("method", "path", "params", "subject"),
    [
        ("POST", "/nodes/pve1/stopall", (), "node/pve1"),
        ("POST", "/nodes/pve1/stopall", (("vms", "101"),), "guest/101"),
        ("POST", "/cluster/bulk-action/guest/shutdown", (("vms", "101"),), "cluster"),
        ("POST", "/nodes/pve1/vzdump", (("all", 1),), "guest/101"),
        ("POST", "/nodes/pve1/vzdump", (("vmid", "101,103"),), "guest/101"),
        ("DELETE", "/nodes/pve1/storage/local/prunebackups", (), "storage/pve1/local"),
        ("POST", "/nodes/pve1/qemu/*/status/stop", (), "guest/101"),
        ("POST", "/nodes/pve1/qemu/101,103/status/stop", (), "guest/101"),
        ("POST", "/nodes/pve1/execute", (("commands", "[]"),), "node/pve1"),
        ("PUT", "/access/acl", (("path", "/"),), "cluster"),
        ("POST", "/nodes/pve1/qemu/101/agent/exec", (("command", "rm"),), "guest/101"),
        ("POST", "/nodes/pve1/qemu/101/move_disk", (("disk", "scsi0"), ("target-vmid", 103)), "guest/101"),
    ],
)
def test_more_than_the_plan_names(attack, method, path, params, subject):
    plan = calling(attack, WireCall(method=method, path=path, params=params), subject)
    view = attack.client().propose(plan, author="person", origin=Origin(surface="test"))
    assert (view.proposal.status.value, view.proposal.tier.value) == ("refused", "black")
    assert "Why:" in view.proposal.reason


def test_a_node_with_the_last_votes(attack):
    steps = []
    plan = calling(attack, WireCall(method="POST", path="/nodes/pve2/status", params=(("command", "reboot"),)), "node/pve2")
    for number, node in enumerate(("pve1", "pve2", "pve3"), start=1):
        call = replace(plan.steps[0].call, path=f"/nodes/{node}/status")
        steps.append(replace(plan.steps[0], key=f"s{number}", call=call, subject=f"node/{node}"))
    view = attack.client().propose(replace(plan, steps=tuple(steps)), author="person", origin=Origin(surface="test"))
    assert view.proposal.tier.value == "black"
    assert "quorum takes 2" in view.proposal.reason


TRAP = '@id("trap") forbid (principal, action, resource is Pveops::Guest) when { context.targets + 9223372036854775807 > 0 };'
FAULTS = {
    "missing": lambda folder: [file.unlink() for file in folder.iterdir()],
    "empty": lambda folder: (folder / "homelab.cedar").write_text(" \n"),
    "malformed": lambda folder: (folder / "homelab.cedar").write_text("permit (principal"),
    "unknown attribute": lambda folder: (folder / "extra.cedar").write_text(
        "permit (principal, action, resource) when { context.nosuch };"
    ),
    "unknown key": lambda folder: (folder / "limits.toml").write_text("[blast]\nradius = 3\n"),
    "group-writable": lambda folder: (folder / "homelab.cedar").chmod(0o660),
    "limits writable by others": lambda folder: (folder / "limits.toml").chmod(0o606),
    "folder writable by others": lambda folder: folder.chmod(0o777),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_the_policy(attack, fault):
    view = waiting(attack)
    FAULTS[fault](attack.home.policy)
    with pytest.raises(GuardError) as refused:
        attack.client().approve(view, channel="dashboard")
    assert refused.value.kind in ("Denied", "Stale")
    drafted = attack.ops().draft("guest.snapshot", guest="101", name="later").plan
    later = attack.client().propose(drafted, author="person", origin=Origin(surface="test")).proposal
    assert (later.status.value, later.verdict.rule) == ("refused", "policy-unusable")
    assert "no usable policy" in later.reason
    assert attack.client().info().policy_name != "homelab"


def test_a_rule_that_cannot_be_evaluated(attack):
    view = waiting(attack)
    use(attack, extra=TRAP)
    later = attack.client().propose(view.proposal.plan, author="person", origin=Origin(surface="test")).proposal
    assert (later.status.value, later.verdict.rule) == ("refused", "policy-error")


def test_the_command_line_tells_about_a_bad_policy(attack):
    assert attack.cli("policy", "check").returncode == 0
    FAULTS["unknown key"](attack.home.policy)
    told = attack.cli("policy", "check")
    assert told.returncode == 3
    assert "blast.radius" in told.stderr
    use(attack)
    view = waiting(attack)
    explained = attack.cli("policy", "explain", view.proposal.id, principal="agent")
    assert explained.returncode == 6
    assert "only a person decides" in explained.stdout


def test_a_clock_that_was_set_back(attack):
    """The store says that it is an hour later already: for the executor the clock went back."""
    view = waiting(attack)
    with sqlite3.connect(attack.home.store) as db:
        later = json.dumps({"at": iso(SystemClock().now() + timedelta(hours=1))})
        db.execute("insert or replace into notes (kind, name, body) values ('clock', 'latest', ?)", (later,))
    with pytest.raises(Halted, match="went back by"):
        attack.client().approve(view, channel="dashboard")
    state = attack.cli("kill", "status")
    assert state.returncode == 6
    assert "clock" in state.stdout
    assert attack.cli("kill", "off", "--why", "let me", principal="agent").returncode == 6
    assert attack.cli("kill", "off", "--why", "the clock is right").returncode == 0


def test_an_agents_token_on_every_route_that_changes_something(attack):
    view = waiting(attack)
    credential = load_credential(attack.home, "agent")
    agent = ExecutorClient(attack.home.socket, "agent", credential.token)
    approval = sign(claim_for(view.proposal, approver="agent", now=SystemClock().now()), new_key()[0])
    now = SystemClock().now()
    rule = StandingRule(id=new_id("s"), owner="agent", audience=view.proposal.audience, cluster="sim", principals=("runbook",), tools=("guest.snapshot",),
                        tag="prod", issued=now, expires=now + timedelta(days=1), why="please")  # fmt: skip
    bodies = {
        "approve": encode(ApproveRequest(approval=approval, channel="cli")), "resolve": {"what": "happened", "reason": "x"},
        "kill": {"on": False, "why": "let me"}, "users": encode(UserRequest(name="me", roles=("operator",), token=True)),
        "users/remove": {"name": "operator"}, "groups": {"name": "agent", "group": "admins", "member": True},
        "rules": encode(sign_rule(rule, new_key()[0])), "rules/revoke": {"name": "s-00000000"},
        "glass": {"what": "break", "passphrase": "x" * 12, "why": "please", "seconds": 600}, "login": {"principal": "operator", "password": "guess"},
    }  # fmt: skip
    free = {
        "proposals",
        "preview",
        "rehearsal",
        "logout",
    }  # putting forward, looking, trying on a copy, ending its own login: what an agent is for
    source = Path(routes.__file__).read_text(encoding="utf-8")
    posts = set(re.findall(r'route\((?:f"\{one\}/|"/v1/)([a-z_/]+)", "POST"', source)) | {"login"}
    assert len(posts) >= 14
    before = [one.name for one in attack.client().users()]
    for name in sorted(posts - free):
        own = f'"/v1/{name}"' in source
        path = f"/v1/{name}" if own else f"/v1/proposals/{view.proposal.id}/{name}"
        with pytest.raises(PveopsError) as refused:
            agent.call("POST", path, bodies.get(name, {"reason": "x"}))
        assert refused.value.kind in ("Denied", "Forged", "UnknownName", "Used"), (name, refused.value)
    assert attack.client().proposal(view.proposal.id).proposal.status.value == "waiting"
    assert [one.name for one in attack.client().users()] == before
    assert attack.client().rules() == []


def test_guessing_a_password(attack):
    attack.client().add_user(UserRequest(name="carl", roles=("viewer",), public_key=new_key()[1], password="a sentence of carl"))
    for _ in range(5):
        with pytest.raises(Denied, match="do not fit"):
            login(attack.home.socket, "carl", password=Secret("guess"))
    with pytest.raises(Denied, match="5 times within a minute"):
        login(attack.home.socket, "carl", password=Secret("a sentence of carl"))
    with pytest.raises(Denied, match="do not fit"):
        login(attack.home.socket, "operator", key=new_key()[0])
    kinds = [record["kind"] for record in attack.client().audit(limit=10)]
    assert kinds.count("login.refused") >= 6
    good = login(attack.home.socket, "operator", key=load_credential(attack.home, "operator").private_key)
    assert ExecutorClient(attack.home.socket, "operator", Secret(good.token)).info().principal == "operator"


def test_breaking_the_glass_from_a_kernel(attack):
    """No terminal, no broken glass: whatever runs in a notebook has none."""
    with pytest.raises(Denied, match="terminal"):
        attack.client().glass("set", passphrase=Secret("x" * 12))
    with pytest.raises(Denied, match="terminal"):
        attack.client().glass("break", passphrase=Secret("x" * 12), why="storm")


def test_a_standing_rule_that_was_forged_or_is_spent(stack):
    use(stack)
    runbook = stack.client("runbook")
    now, info = SystemClock().now(), stack.client().info()
    rule = StandingRule(id=new_id("s"), owner="operator", audience=info.executor, cluster=info.cluster, principals=("runbook",), tools=("guest.snapshot",),
                        subjects=("guest/101",), per_hour=1, per_day=1, issued=now, expires=now + timedelta(days=1), why="nightly")  # fmt: skip
    with pytest.raises(Forged):
        stack.client().call("POST", "/v1/rules", encode(sign_rule(rule, new_key()[0])))
    stack.client().add_rule(rule)
    before = len(stack.writes())
    plans = [stack.ops().draft("guest.snapshot", guest=vmid, name=f"n{time.monotonic_ns() % 10**9}").plan for vmid in ("101", "101", "103")]
    first = runbook.propose(plans[0], author="runbook:nightly", origin=Origin(surface="runbook"))
    assert (first.proposal.status.value, first.proposal.standing) == ("approved", rule.id)
    assert stack.cli("proposals", "watch", first.proposal.id).returncode == 0
    second, third = (runbook.propose(plan, author="runbook:nightly", origin=Origin(surface="runbook")).proposal for plan in plans[1:])
    assert second.status.value in ("waiting", "refused"), "the budget is one, and the state has changed"
    assert third.status.value == "waiting"
    with sqlite3.connect(stack.home.store) as db:
        (body,) = db.execute("select body from notes where kind = 'rule' and name = ?", (rule.id,)).fetchone()
        db.execute(
            "update notes set body = ? where kind = 'rule'",
            (body.replace('"per_hour": 1', '"per_hour": 99').replace('"per_day": 1', '"per_day": 99'),),
        )
    plan = stack.ops().draft("guest.snapshot", guest="101", name=f"n{time.monotonic_ns() % 10**9}").plan
    assert runbook.propose(plan, author="runbook:nightly", origin=Origin(surface="runbook")).proposal.status.value == "waiting"
    assert len(stack.writes()) == before + 1
    with sqlite3.connect(stack.home.store) as db:
        db.execute("delete from notes where kind = 'rule'")


@pytest.mark.timeout(240)
def test_the_kill_switch_in_the_middle_of_a_batch(tmp_path_factory):
    """Within a second no further request starts; what is under way is told; a restart changes nothing; corrupt is on."""
    with Stack(tmp_path_factory.mktemp("batch"), guests=20, speed=4) as stack:
        vmids = running_guests(stack, 6)
        plan = stack.ops().draft("guest.reboot", guest=",".join(map(str, vmids))).plan
        view = stack.client().propose(plan, author="person", origin=Origin(surface="test"))
        stack.client().approve(view, channel="dashboard")
        while not stack.writes():
            time.sleep(0.02)
        told = stack.client("agent").kill(on=True, why="storm")
        assert view.proposal.id in told.running[0], "what is under way is told"
        time.sleep(1.0)
        sent = len(stack.writes())
        assert sent < len(vmids)
        time.sleep(2.0)
        assert len(stack.writes()) == sent, "a request started more than a second later"
        assert stack.cli("proposals", "watch", view.proposal.id).returncode in (5, 6)
        stack.executor.stop()
        stack.start_executor()
        assert stack.client().kill_state().on
        with pytest.raises(Denied, match="only a person decides"):
            stack.client("agent").kill(on=False, why="no storm")
        stack.client().kill(on=False, why="the storm is over")
        stack.client().kill(on=True, why="only this one", cluster="sim")
        plan = stack.ops().draft("guest.snapshot", guest=str(vmids[0]), name="later").plan
        later = stack.client().propose(plan, author="person", origin=Origin(surface="test"))
        with pytest.raises(Halted, match="for sim by operator: only this one"):
            stack.client().approve(later, channel="dashboard")
        assert len(stack.writes()) == sent


def test_the_shipped_sets_answer_on_the_command_line(attack):
    for name in ("homelab", "team", "strict"):
        assert shipped_policy(name).fault == ""
        assert attack.cli("policy", "test", "--set", name).returncode == 0
    rows = json.loads(attack.cli("policy", "matrix", "--set", "strict", "-o", "json").stdout)
    assert next(row["approvals"] for row in rows if row["who"].startswith("person") and row["tier"] == "red") == 2
