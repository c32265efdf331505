"""The recorded transcript of a real host, replayed: status, reason, keys and types of the body."""

import json
from pathlib import Path

import pytest
import requests

DATA = Path(__file__).resolve().parents[2] / "data" / "pve"
ROWS = [json.loads(line) for line in (DATA / "transcript-9.2.11.jsonl").read_text().splitlines()]
TOKEN = "PVEAPIToken=admin@pve!t1=00000000-0000-4000-8000-000000000001"

BY_BOB = {32, 33, 34, 35, 36, 37, 38}
"""Rows of somebody without rights on nodes: bob@pve with a ticket. All others are of the token of admin@pve."""

WITHOUT_CSRF = {36}

STATE = {
    2: [("POST", "/nodes/pve1/qemu/101/status/start", {})],
    6: [("PUT", "/nodes/pve1/qemu/102/config", {"protection": 1})],
    13: [("POST", "/nodes/pve1/qemu/102/template", {})],
    59: [
        ("POST", "/cluster/ha/resources", {"sid": "vm:100", "state": "started"}),
        ("POST", "/nodes/pve1/qemu/100/status/stop", {}),
        ("DELETE", "/cluster/ha/resources/vm:100", {}),
    ],
    60: [("POST", "/nodes/pve1/qemu/100/status/start", {})],
    64: [("PUT", "/nodes/pve1/qemu/300/config", {"lock": "backup"})],
    71: [
        (
            "PUT",
            "/nodes/pve1/storage/local/content/local:backup/vzdump-qemu-300-2026_11_21-09_00_00.vma.zst",
            {"notes": "hello\nworld", "protected": 1},
        )
    ],
}
"""What happened on the host between two rows without being recorded: the state that the next row needs."""


class Host:
    def __init__(self, sim):
        self.sim = sim
        self.url = f"{sim.info['url']}/api2/json"
        self.verify = sim.info["ca"]
        self.tickets = {}

    def ask(self, verb, path, parameters, headers):
        body = {"params": parameters} if verb in ("GET", "DELETE") else {"data": parameters}
        return requests.request(verb, f"{self.url}{path}", headers=headers, verify=self.verify, timeout=30, **body)

    def by_ticket(self, userid, password, *, csrf=True):
        if userid not in self.tickets:
            answer = self.ask("POST", "/access/ticket", {"username": userid, "password": password}, {})
            self.tickets[userid] = answer.json()["data"]
        ticket = self.tickets[userid]
        headers = {"Cookie": f"PVEAuthCookie={ticket['ticket']}"}
        return headers | ({"CSRFPreventionToken": ticket["CSRFPreventionToken"]} if csrf else {})


@pytest.fixture(scope="module")
def host(tmp_path_factory, start_sim):
    running = start_sim(
        tmp_path_factory.mktemp("replay"), "--inventory", str(DATA / "recorded-host.json"), "--start-s", "1795254000", "--speed", "0.001"
    )
    yield Host(running)
    running.stop()


def shape(value):
    """Keys and types; a null says nothing about a type, and text that is a number counts as one (the real API mixes both)."""
    if value is None:
        return "?"
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, str) and value.isdigit():
        return "number"
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def agree(ours, theirs):
    """Whether two shapes are the same; each row of their list must have its like in ours."""
    if "?" in (ours, theirs):
        return True
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(agree(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return bool(ours) == bool(theirs) and all(any(agree(own, row) for own in ours) for row in theirs)
    return ours == theirs


def task_of(body):
    """What kind of task about what by whom, where the answer is a task id."""
    data = body["data"]
    return data.split(":")[5:] if isinstance(data, str) and data.startswith("UPID:") else None


def replay(host, number, row):
    for verb, path, parameters in STATE.get(number, ()):
        by_root = host.by_ticket("root@pam", "lab-password-1")
        assert host.ask(verb, path, parameters, by_root if "lock" in parameters else {"Authorization": TOKEN}).status_code == 200, path
        host.sim.advance(30)
    by_bob = number in BY_BOB
    headers = host.by_ticket("bob@pve", "secret123", csrf=number not in WITHOUT_CSRF) if by_bob else {"Authorization": TOKEN}
    answer = host.ask(row["m"], row["p"], row["d"], headers)
    host.sim.advance(30)
    wrong = []
    if (answer.status_code, answer.reason) != (row["status"], row["reason"]):
        wrong.append(f"{answer.status_code} {answer.reason}, expected {row['status']} {row['reason']}")
    elif row["body"]:
        ours, theirs = answer.json(), json.loads(row["body"])
        if row["status"] != 200 and ours != theirs:
            wrong.append(f"{ours}, expected {theirs}")
        elif not agree(shape(ours), shape(theirs)) or task_of(ours) != task_of(theirs):
            wrong.append(f"{shape(ours)}, expected {shape(theirs)}")
    elif answer.content:
        wrong.append(f"{answer.content!r}, expected no body")
    return wrong


@pytest.mark.slow
def test_every_recorded_row(host):
    """One sequence: state carries on from row to row, as it did on the recording host."""
    failed = {number: replay(host, number, row) for number, row in enumerate(ROWS)}
    wrong = {f"{number} {ROWS[number]['m']} {ROWS[number]['p']}": found for number, found in failed.items() if found}
    print(f"{len(failed) - len(wrong)} of {len(ROWS)} rows agree")
    assert wrong == {}
