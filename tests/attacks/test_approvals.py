"""Attacks on the approval, from outside, on real processes. Each is refused with its reason, written down, and the cluster gets no write."""

import json
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pveops.base.errors import Denied, Expired, Forged, GuardError, Halted, InputError, Stale, Used
from pveops.clients.executor import ExecutorClient
from pveops.model.claims import claim_for, new_key, sign
from pveops.model.codec import encode
from pveops.model.messages import ApproveRequest, ProposeRequest
from pveops.model.proposal import Approval, Origin
from pveops.settings.credentials import load_credential
from pveops.testing.stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("attacks"), guests=12, options={"approval_ttl_s": 30}) as running:
        yield running


@pytest.fixture
def attack(stack):
    """No write may have reached the cluster, and the ledger must be whole, after each attack."""
    before = len(stack.writes())
    yield stack
    assert len(stack.writes()) == before, "a write got through"
    verified = stack.cli("audit", "verify")
    assert verified.returncode == 0, verified.stderr


def waiting(stack, tool="guest.snapshot", **args):
    plan = stack.ops().draft(tool, **(args or {"guest": "101", "name": f"s{time.monotonic_ns() % 10**9}"})).plan
    view = stack.client().propose(plan, author="person", origin=Origin(surface="test"))
    assert view.proposal.status.value == "waiting", view.proposal.reason
    return view


def post(stack, path, body, *, principal="operator"):
    """A request as an attacker would write it, past our own client's manners."""
    credential = load_credential(stack.home, principal)
    client = ExecutorClient(stack.home.socket, principal, credential.token)
    return client._call("POST", path, body)


def claim(stack, view, *, approver="operator", **changes):
    made = claim_for(view.proposal, approver=approver, now=stack.client()._clock.now())
    return replace(made, **changes)


def key_of(stack, principal="operator"):
    return load_credential(stack.home, principal).private_key


def send(stack, view, approval, *, principal="operator"):
    return post(
        stack, f"/v1/proposals/{view.proposal.id}/approve", encode(ApproveRequest(approval=approval, channel="cli")), principal=principal
    )


def last_refusal(stack, view):
    records = [record for record in stack.client().audit(proposal=view.proposal.id) if record["kind"] == "approval.refused"]
    return records[-1]["data"]


@pytest.mark.parametrize("principal", ["agent", "runbook", "viewer"])
def test_what_is_no_person_calls_approve(attack, principal):
    view = waiting(attack)
    for approval in (
        Approval(claim=claim(attack, view, approver=principal), signature=""),
        sign(claim(attack, view, approver=principal), new_key()[0]),
        sign(claim(attack, view), key_of(attack)),  # even with the operator's own signature in its hands
    ):
        with pytest.raises(Denied, match="cannot approve"):
            send(attack, view, approval, principal=principal)
    assert last_refusal(attack, view)["rule"] == "only-people-decide"


def test_forged_signatures(attack):
    view = waiting(attack)
    good = sign(claim(attack, view), key_of(attack))
    forged = [
        Approval(claim=good.claim, signature="00" * 64),
        Approval(claim=good.claim, signature=""),
        sign(good.claim, new_key()[0]),
        replace(good, claim=replace(good.claim, plan_digest="0" * 64)),
        sign(claim(attack, view, plan_digest="0" * 64), key_of(attack)),
        sign(claim(attack, view, state_fingerprint="0" * 64), key_of(attack)),
        sign(claim(attack, view, audience="x-0000000000000000"), key_of(attack)),
        sign(claim(attack, view, approval_id="a-" + "0" * 32), key_of(attack)),
        sign(claim(attack, view, approver="anna"), key_of(attack)),
    ]
    for approval in forged:
        with pytest.raises(Forged):
            send(attack, view, approval)
    assert last_refusal(attack, view)["error"] == "Forged"


def test_an_approval_of_another_proposal(attack):
    one, other = waiting(attack), waiting(attack)
    with pytest.raises(Forged, match="another"):
        send(attack, other, sign(claim(attack, one), key_of(attack)))


def test_a_claim_from_another_policy_or_another_time(attack):
    view = waiting(attack)
    now = attack.client()._clock.now()
    with pytest.raises(Stale, match="policy"):
        send(attack, view, sign(claim(attack, view, policy_hash="0" * 64), key_of(attack)))
    old = sign(claim(attack, view, issued=now.replace(year=2020), expires=view.proposal.expires), key_of(attack))
    with pytest.raises(Expired):
        send(attack, view, old)
    early = sign(claim(attack, view, issued=now.replace(year=2030)), key_of(attack))
    with pytest.raises(Forged, match="future"):
        send(attack, view, early)


def test_a_plan_edited_by_one_byte_in_the_store(attack):
    view = waiting(attack)
    approval = sign(claim(attack, view), key_of(attack))
    with sqlite3.connect(attack.home.store) as db:
        (body,) = db.execute("select body from proposals where id = ?", (view.proposal.id,)).fetchone()
        data = json.loads(body)
        data["plan"]["steps"][0]["call"]["path"] = data["plan"]["steps"][0]["call"]["path"].replace("/101/", "/103/")
        db.execute("update proposals set body = ? where id = ?", (json.dumps(data), view.proposal.id))
    with pytest.raises(Forged, match="digest does not fit"):
        send(attack, view, approval)
    assert attack.client().proposal(view.proposal.id).proposal.status.value == "refused"


def test_a_plan_edited_before_it_is_proposed_is_another_plan(attack):
    plan = attack.ops().draft("guest.snapshot", guest="101", name="honest").plan
    step = plan.steps[0]
    for path in (
        "/nodes/pve1/qemu/103/snapshot",
        "/nodes/pve1/qemu/101/../103/snapshot",
        "/access/users",
        "/nodes/pve1/qemu/101/status/stop",
    ):
        edited = replace(plan, steps=(replace(step, call=replace(step.call, path=path)),))
        view = attack.client().propose(edited, author="person", origin=Origin(surface="test"))
        assert (view.proposal.status.value, view.proposal.tier.value) == ("refused", "black")
        with pytest.raises(Used):
            send(attack, view, sign(claim(attack, view), key_of(attack)))


def test_an_expired_proposal(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("expired"), guests=5, options={"approval_ttl_s": 5}) as stack:
        view = waiting(stack)
        approval = sign(claim(stack, view), key_of(stack))
        time.sleep(5.2)
        with pytest.raises(Expired):
            send(stack, view, approval)
        time.sleep(1.2)
        assert stack.client().proposal(view.proposal.id).proposal.status.value == "expired"
        with pytest.raises(Expired):
            send(stack, view, approval)
        kinds = [record["kind"] for record in stack.client().audit(proposal=view.proposal.id)]
        assert kinds.count("approval.refused") == 2
        assert "proposal.expired" in kinds
        assert stack.writes() == []


def test_a_guest_that_changed_after_it_was_proposed(attack):
    view = waiting(attack)
    change(attack, 101, description=f"changed by somebody else {time.monotonic_ns()}")
    before = len(attack.writes())
    with pytest.raises(Stale, match=r"guest/101\.digest"):
        send(attack, view, sign(claim(attack, view), key_of(attack)))
    assert attack.client().proposal(view.proposal.id).proposal.status.value == "refused"
    assert len(attack.writes()) == before
    attack.request_log.write_text("")  # our own change was a write, and not the executor's


def change(stack, vmid, **params):
    import requests

    user, _, value = stack.info["tokens"]["admin"].partition("=")
    node = stack.ops().guests().set_index("vmid").loc[vmid, "node"]
    answer = requests.put(
        f"{stack.info['url']}/api2/json/nodes/{node}/qemu/{vmid}/config", data=params, verify=stack.info["ca"], timeout=10,
        headers={"Authorization": f"PVEAPIToken={user}={value}"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.reason


def test_a_guest_that_changed_after_it_was_approved(tmp_path_factory):
    """Two steps: while the first runs somebody edits the guest of the second. It is not touched."""
    with Stack(tmp_path_factory.mktemp("changed"), guests=8, speed=1) as stack:
        view = waiting(stack, "guest.migrate", guest="101,103", target="pve2")
        stack.client().approve(view, channel="cli")
        while not stack.writes():
            time.sleep(0.02)
        change(stack, 103, description="changed meanwhile")
        stack.cli("proposals", "watch", view.proposal.id)
        run = stack.client().proposal(view.proposal.id).run
        assert (run.status.value, [step.phase.value for step in run.steps]) == ("failed", ["done", "failed"])
        assert "Nothing was sent" in run.reason
        posts = [row["path"] for row in stack.requests(method="POST")]
        assert posts == ["/nodes/pve1/qemu/101/migrate"]


def test_the_kill_switch(attack):
    view = waiting(attack)
    assert attack.cli("kill", "on", "--why", "storm", principal="agent").returncode == 0
    with pytest.raises(Halted, match="storm"):
        send(attack, view, sign(claim(attack, view), key_of(attack)))
    assert last_refusal(attack, view)["error"] == "Halted"
    assert attack.cli("kill", "off", "--why", "I like storms", principal="agent").returncode == 6
    assert attack.cli("kill", "status").returncode == 6
    attack.home.kill_switch.write_text("{corrupt")
    with pytest.raises(Halted, match="cannot be read"):
        send(attack, view, sign(claim(attack, view), key_of(attack)))
    attack.home.kill_switch.unlink()
    with pytest.raises(Halted, match="missing"):
        send(attack, view, sign(claim(attack, view), key_of(attack)))
    assert attack.cli("kill", "off", "--why", "the storm is over").returncode == 0


def test_replay_and_a_hundred_at_once(stack):
    before = len(stack.writes())
    view = waiting(stack)
    approval = sign(claim(stack, view), key_of(stack))

    def attempt(_):
        try:
            send(stack, view, approval)
        except GuardError as err:
            return err.kind
        return "accepted"

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(attempt, range(100)))
    assert outcomes.count("accepted") == 1
    assert set(outcomes) == {"accepted", "Used"}
    assert stack.cli("proposals", "watch", view.proposal.id).returncode == 0
    with pytest.raises(Used, match="approved already by operator"):
        send(stack, view, approval)
    assert len(stack.writes()) == before + 1


@pytest.mark.parametrize("token", ["x", "pvo_wrong", "Bearer"])
def test_nobodys_token(attack, token):
    from pveops.base.secret import Secret

    with pytest.raises(Denied):
        ExecutorClient(attack.home.socket, "operator", Secret(token)).info()
    records = attack.client().audit(limit=5)
    assert records[-1]["kind"] == "access.refused"


def test_an_agents_token_on_every_way_to_change_something(attack):
    view = waiting(attack)
    one = f"/v1/proposals/{view.proposal.id}"
    for path, body in (
        (f"{one}/deny", {"reason": ""}), (f"{one}/stop", {"reason": ""}), (f"{one}/withdraw", {"reason": ""}),
        (f"{one}/resolve", {"what": "happened", "reason": ""}), ("/v1/kill", {"on": False, "why": "let me"}),
    ):  # fmt: skip
        with pytest.raises(Denied):
            post(attack, path, body, principal="agent")
    assert attack.client().proposal(view.proposal.id).proposal.status.value == "waiting"


def test_a_viewer_can_put_nothing_forward(attack):
    plan = attack.ops().draft("guest.reboot", guest="101").plan
    request = ProposeRequest(plan=plan, author="person", origin=Origin(surface="test"), correlation="c-00000000")
    answer = post(attack, "/v1/proposals", encode(request), principal="viewer")
    assert answer["proposal"]["status"] == "refused"


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "x",
        {"approval": {}},
        {"plan": {}},
        {"approval": {"claim": {}, "signature": "x"}, "channel": "cli", "override_args": {"target": "pve3"}},
    ],
)
def test_malformed_requests_are_answered_in_one_sentence(attack, body):
    view = waiting(attack)
    for path in (
        f"/v1/proposals/{view.proposal.id}/approve",
        "/v1/proposals",
        "/v1/preview",
        "/v1/kill",
        "/v1/proposals/..%2f..%2fx/approve",
        "/v1/proposals/p-zzzzzz/deny",
    ):
        with pytest.raises((InputError, GuardError)) as refused:
            post(attack, path, body)
        assert "Traceback" not in str(refused.value)


def test_garbage_on_the_socket_does_not_stop_the_executor(attack):
    for junk in (
        b"\x00" * 4096,
        b"GET / HTTP/1.1\r\n" + b"a: " + b"x" * 100_000,
        b"POST /v1/kill HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n{",
    ):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(attack.home.socket))
            raw.settimeout(1)
            try:
                raw.sendall(junk)
                raw.recv(1000)
            except OSError:
                pass
    assert attack.client().info().pid == attack.executor.pid


def test_the_write_token_is_nowhere_but_in_its_file_and_process(attack):
    value = attack.info["tokens"]["operator"].partition("=")[2]
    waiting(attack)
    for path in attack.home.root.rglob("*"):
        if path.is_file() and path.name != "sim-act.token":
            assert value.encode() not in path.read_bytes(), path
    assert (attack.home.root / "executor" / "sim-act.token").stat().st_mode & 0o077 == 0
    for process in ("sim", "executor"):
        pid = getattr(attack, process).pid
        assert value.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
