"""Users, roles, tokens, ACL as pveum changes them; tickets."""

import re

import pytest

from pveops.sim.errors import RefusedError
from pveops.sim.state.identity import Identities, Token, User, hash_password, password_fits
from pveops.sim.state.tickets import Gate, claimed_user


def gate(now=1_000_000.0):
    clock = [now]
    ids = Identities.fresh()
    ids.users["bob@pve"] = User("bob@pve", hash_password("secret"), tokens={"tk": Token("tk", "uuid")})
    return Gate(ids, b"key", lambda: clock[0]), ids, clock


def test_tickets_last_two_hours():
    door, _, clock = gate()
    ticket, csrf = door.issue("bob@pve")
    assert re.fullmatch(r"PVE:bob@pve:[0-9A-F]{8}::[A-Za-z0-9+/=]+", ticket)
    assert re.fullmatch(r"[0-9A-F]{8}:[A-Za-z0-9+/]+", csrf)
    clock[0] += 7200
    assert door.ticket_user(ticket) == "bob@pve"
    clock[0] += 1
    assert door.ticket_user(ticket) is None
    clock[0] -= 7200 + 302
    assert door.ticket_user(ticket) is None


@pytest.mark.parametrize(
    "change", [lambda t: t[:-5] + "AAAA=", lambda t: t.replace("bob", "eve"), lambda t: t.replace("PVE:", "PBS:"), lambda t: ""]
)
def test_changed_tickets_are_nothing(change):
    door, _, _ = gate()
    assert door.ticket_user(change(door.issue("bob@pve")[0])) is None


def refused(door, verb="GET", cookie="", authorization="", csrf=""):
    with pytest.raises(RefusedError) as caught:
        door.identify(verb, cookie, authorization, csrf)
    assert (caught.value.status, caught.value.empty) == (401, True)
    return caught.value.reason


def test_credentials():
    door, ids, _ = gate()
    ticket, csrf = door.issue("bob@pve")
    cookie = f"PVEAuthCookie={ticket.replace('/', '%2F').replace('+', '%2B').replace('=', '%3D')}"
    assert door.identify("GET", cookie, "", "").name == "bob@pve"
    assert door.identify("GET", "", f"PVEAuthCookie={ticket}", "").name == "bob@pve"
    assert door.identify("POST", cookie, "", csrf).name == "bob@pve"
    assert door.identify("GET", "", "PVEAPIToken=bob@pve!tk=uuid", "").name == "bob@pve!tk"
    assert door.identify("POST", "", "PVEAPIToken bob@pve!tk=uuid", "").name == "bob@pve!tk"
    assert refused(door) == "No ticket"
    assert refused(door, authorization="Basic abc") == "No ticket"
    assert refused(door, authorization="PVEAPIToken=") == "No ticket"
    assert refused(door, authorization="PVEAPIToken=bob@pve!tk:uuid") == "Authentication failed!"
    assert refused(door, authorization="PVEAPIToken=bob@pve!tk=wrong") == "Authentication failed!"
    assert refused(door, cookie="PVEAuthCookie=junk", authorization="PVEAPIToken=bob@pve!tk=uuid") == "Authentication failed!"
    assert refused(door, "POST", cookie=cookie) == "Permission denied - invalid csrf token"
    assert refused(door, "POST", cookie=cookie, csrf=door.issue("root@pam")[1]) == "Permission denied - invalid csrf token"
    ids.users["bob@pve"].enable = False
    assert refused(door, cookie=cookie) == "Authentication failed!"
    assert refused(door, authorization="PVEAPIToken=bob@pve!tk=uuid") == "Authentication failed!"


def test_expired_tokens_are_refused():
    door, ids, clock = gate()
    ids.users["bob@pve"].tokens["tk"].expire_s = int(clock[0]) - 1
    assert refused(door, authorization="PVEAPIToken=bob@pve!tk=uuid") == "Authentication failed!"


def test_who_a_request_claims_to_be():
    assert claimed_user("", "PVEAPIToken=bob@pve!tk=uuid") == "bob@pve!tk"
    assert claimed_user("PVEAuthCookie=PVE%3Abob@pve%3A6B017C03%3A%3Axyz", "") == "bob@pve"
    assert claimed_user("", "Bearer x") == ""


def test_passwords_are_hashed():
    stored = hash_password("secret")
    assert "secret" not in stored
    assert password_fits(stored, "secret")
    assert not password_fits(stored, "wrong")
    assert not password_fits("", "")


def test_what_pveum_makes_works_at_once(lab):
    """The commands that ``pveops init`` prints: role, user, ACL, token, ACL of the token."""
    lab.data("POST", "/access/roles", roleid="OpsTest", privs="VM.Audit,VM.PowerMgmt")
    lab.data("POST", "/access/users", userid="ops@pve", comment="made by a test")
    lab.data("PUT", "/access/acl", path="/vms", roles="OpsTest", users="ops@pve")
    made = lab.data("POST", "/access/users/ops@pve/token/t1", privsep="1")
    assert made["full-tokenid"] == "ops@pve!t1"
    assert lab.cluster.identities.token("ops@pve!t1").secret == made["value"]
    assert lab.data("GET", "/cluster/resources", "ops@pve!t1", type="vm") == []
    lab.data("PUT", "/access/acl", path="/vms", roles="OpsTest", tokens="ops@pve!t1")
    assert lab.run("POST", "/nodes/pve1/qemu/101/status/stop", "ops@pve!t1") == "OK"
    assert lab.data("GET", "/access/permissions", "ops@pve!t1", path="/vms/101") == {"/vms/101": {"VM.Audit": 1, "VM.PowerMgmt": 1}}
    assert "value" not in lab.data("GET", "/access/users/ops@pve/token/t1")
    lab.data("DELETE", "/access/roles/OpsTest")
    assert lab.ask("POST", "/nodes/pve1/qemu/101/status/start", "ops@pve!t1").status == 403


@pytest.mark.parametrize(
    ("verb", "path", "parameters", "status", "words"),
    [
        ("POST", "/access/users", {"userid": "admin@pve"}, 500, "create user failed: user 'admin@pve' already exists"),
        ("POST", "/access/users", {"userid": "x"}, 500, "user name 'x' is too short"),
        ("GET", "/access/users/ghost@pve", {}, 500, "no such user ('ghost@pve')"),
        (
            "POST",
            "/access/roles",
            {"roleid": "PVEx"},
            400,
            {"roleid": "cannot use role ID starting with the (case-insensitive) 'PVE' namespace"},
        ),
        ("PUT", "/access/roles/Administrator", {"privs": "VM.Audit"}, 500, "auto-generated role 'Administrator' cannot be modified"),
        ("PUT", "/access/acl", {"path": "/nope", "roles": "PVEVMUser", "users": "admin@pve"}, 400, {"path": "invalid ACL path '/nope'"}),
        (
            "PUT",
            "/access/acl",
            {"path": "/vms", "roles": "NoRole", "users": "admin@pve"},
            500,
            "ACL update failed: role 'NoRole' does not exist",
        ),
        ("POST", "/access/users/admin@pve/token/sim", {}, 400, {"tokenid": "Token already exists."}),
        ("POST", "/access/users/ghost@pve/token/t", {}, 403, "Permission check failed"),
        ("POST", "/pools", {"poolid": "bad pool"}, 403, "Permission check failed (, Pool.Allocate)"),
        ("DELETE", "/pools", {"poolid": "production"}, 500, "delete pool failed: pool 'production' is not empty (contains VM 101)"),
    ],
)
def test_refusals_of_the_access_tree(lab, verb, path, parameters, status, words):
    found = lab.ask(verb, path, **parameters)
    assert (found.status, found.errors if status == 400 else found.reason) == (status, words)


def test_root_only_is_for_root_in_person(lab):
    lab.cluster.identities.users["root@pam"].tokens["t"] = Token("t", "s", privsep=False)
    assert lab.ask("GET", "/cluster/backup-info", "root@pam!t").reason == "Permission check failed (user != root@pam)"
    assert lab.ask("GET", "/cluster/backup-info", "root@pam").status == 200


def test_tokens_are_refused_where_the_schema_wants_a_ticket(lab):
    found = lab.ask("PUT", "/access/password", userid="admin@pve", password="12345678")
    assert (found.status, found.reason) == (
        403,
        "Permission check failed (URI '/access/password' not available with API token, need proper ticket.",
    )


def test_one_cannot_give_more_than_one_has(lab):
    who = lab.principal("carol@pve", ("/vms/101", "PVEVMAdmin", True))
    assert lab.ask("PUT", "/access/acl", who, path="/vms/101", roles="PVEVMUser", users="auditor@pve").status == 200
    refused_answer = lab.ask("PUT", "/access/acl", who, path="/vms/101", roles="Administrator", users="auditor@pve")
    assert refused_answer.reason == "ACL update failed: 400 Parameter verification failed."
