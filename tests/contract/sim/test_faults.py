"""Faults over HTTPS and through the command line: a real process, real connections."""

import json
import subprocess
import sys
import time

import pytest
import requests

from pveops.base.errors import InputError
from pveops.sim.faults.client import ControlClient
from pveops.surfaces.cli.main import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sick(start_sim, tmp_path_factory):
    """One cluster for tests that put right what they did."""
    running = start_sim(tmp_path_factory.mktemp("sick"), "--nodes", "3", "--guests", "12", "--seed", "5")
    yield running
    running.stop()


@pytest.fixture
def door(sick):
    client = ControlClient(sick.info)
    yield client
    if any(row["state"] in ("active", "planned") for row in client.faults()):
        client.clear("all")


def pveops(*words, **env):
    return subprocess.run([sys.executable, "-m", "pveops", *words], capture_output=True, text=True, timeout=60, check=False)


def fresh(sick, method, path, *, verify=None, **parameters):
    """A request on a connection of its own."""
    headers = {"Authorization": f"PVEAPIToken={sick.info['tokens']['admin']}", "Connection": "close"}
    with requests.Session() as session:
        session.trust_env = False
        body = {"params": parameters} if method == "GET" else {"data": parameters}
        return session.request(
            method, f"{sick.info['url']}/api2/json{path}", headers=headers, verify=verify or sick.info["ca"], timeout=20, **body
        )


def restart(sick, service, node="pve1"):
    sick.advance(2)
    for _ in range(40):
        try:
            answer = fresh(sick, "POST", f"/nodes/{node}/services/{service}/restart")
        except requests.exceptions.RequestException:
            continue
        if answer.status_code == 200:
            break
    sick.advance(3)


def state(door, ident):
    return next(row["state"] for row in door.faults() if row["id"] == ident)


def test_an_answer_breaks_off_in_its_middle_and_was_carried_out(sick, door):
    ident = door.add("cut-answers", {"node": "pve1", "fraction": 1, "path": "/nodes/pve1/services/cron"})["id"]
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        fresh(sick, "POST", "/nodes/pve1/services/cron/stop")
    sick.advance(2)
    assert sick.data("GET", "/nodes/pve1/services/pveproxy/state")["state"] == "running"
    door.clear(ident)
    assert sick.data("GET", "/nodes/pve1/services/cron/state")["state"] == "dead"
    sick.data("POST", "/nodes/pve1/services/cron/start")


@pytest.mark.parametrize(("status", "carried_out"), [("500", False), ("595", False), ("596", True)])
def test_errors_of_the_proxy_on_the_wire(sick, door, status, carried_out):
    door.add("api-errors", {"node": "pve1", "status": status, "fraction": 1, "path": "/pools"})
    answer = fresh(sick, "POST", "/pools", poolid=f"p{status}")
    assert answer.status_code == int(status)
    assert answer.content == b"" if status != "500" else answer.json()["message"] == "got timeout\n"
    door.clear("all")
    names = {row["poolid"] for row in sick.data("GET", "/pools")}
    assert (f"p{status}" in names) is carried_out


def test_a_slow_api_waits_in_real_time_and_is_restarted(sick, door):
    ident = door.add("slow-api", {"node": "pve1", "delay_ms": 700})["id"]
    began = time.monotonic()
    assert fresh(sick, "GET", "/version").status_code == 200
    assert time.monotonic() - began >= 0.7
    restart(sick, "pveproxy")
    assert state(door, ident) == "repaired"
    began = time.monotonic()
    fresh(sick, "GET", "/version")
    assert time.monotonic() - began < 0.7


def test_a_proxy_that_fails_half_of_the_time_is_restarted_by_whoever_tries_again(sick, door):
    ident = door.add("api-errors", {"node": "pve1", "status": "595", "fraction": 0.5})["id"]
    found = {fresh(sick, "GET", "/version").status_code for _ in range(20)}
    assert found == {200, 595}
    restart(sick, "pvedaemon")
    assert state(door, ident) == "repaired"


def test_tickets_end_and_a_login_brings_a_new_one(sick, door):
    login = {"username": "root@pam", "password": sick.info["logins"]["root@pam"]["password"]}
    url, ca = f"{sick.info['url']}/api2/json", sick.info["ca"]

    def log_in():
        return requests.post(f"{url}/access/ticket", data=login, verify=ca, timeout=20).json()["data"]["ticket"]

    def version(ticket):
        return requests.get(f"{url}/version", cookies={"PVEAuthCookie": ticket}, verify=ca, timeout=20).status_code

    ticket = log_in()
    assert version(ticket) == 200
    ident = door.add("tickets-expired", {})["id"]
    assert version(ticket) == 401
    assert version(log_in()) == 200
    assert version(ticket) == 401
    assert state(door, ident) == "repaired"


def test_a_strangers_certificate_stops_new_connections_until_it_is_removed(sick, door):
    ident = door.add("certificate-changed", {})["id"]
    with pytest.raises(requests.exceptions.SSLError):
        fresh(sick, "GET", "/version")
    trusted = sick.info["control_ca"]
    shown = fresh(sick, "GET", "/nodes/pve1/certificates/info", verify=trusted).json()["data"]
    assert [row["filename"] for row in shown] == ["pve-ssl.pem", "pveproxy-ssl.pem"]
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"PVEAPIToken={sick.info['tokens']['admin']}"}
        url = f"{sick.info['url']}/api2/json/nodes/pve1/certificates/custom"
        assert session.delete(url, headers=headers, verify=trusted, timeout=20).status_code == 200
    assert fresh(sick, "GET", "/version").status_code == 200
    assert state(door, ident) == "repaired"


def test_a_certificate_near_its_end_still_connects(sick, door):
    door.add("certificate-expiring", {"days": 2})
    (row,) = fresh(sick, "GET", "/nodes/pve2/certificates/info").json()["data"]
    assert row["notafter"] - time.time() < 2.1 * 86400 + 120
    door.clear("all")
    (row,) = fresh(sick, "GET", "/nodes/pve2/certificates/info").json()["data"]
    assert row["notafter"] - time.time() > 300 * 86400


def test_a_storage_that_hangs_makes_its_callers_wait(sick, door):
    door.add("storage-hanging", {"storage": "pbs-01", "wait_s": 1})
    began = time.monotonic()
    answer = fresh(sick, "GET", "/nodes/pve2/storage/pbs-01/content")
    assert (answer.status_code, answer.reason, answer.content) == (596, "Connection timed out", b"")
    assert time.monotonic() - began >= 1
    assert fresh(sick, "PUT", "/storage/pbs-01", disable=1).status_code == 200
    assert {row["state"] for row in door.faults() if row["kind"] == "storage-hanging"} == {"repaired"}
    assert fresh(sick, "PUT", "/storage/pbs-01", delete="disable").status_code == 200


def test_the_door_refuses_what_cannot_be(sick, door):
    with pytest.raises(InputError, match="There is no fault 'meteor'"):
        door.add("meteor", {})
    with pytest.raises(InputError, match="pve9"):
        door.add("node-down", {"node": "pve9"})
    url = f"{sick.info['control']}/faults"
    for body in (b"[1]", b"nonsense", b'{"kind": "node-down", "in_s": "x"}', b'{"kind": "node-down", "parameters": 7}', b'{"lasts_s": 1}'):
        answer = requests.post(url, data=body, verify=sick.info["ca"], timeout=20)
        assert answer.status_code == 400, body
        assert answer.json()["error"]
    assert requests.get(f"{url}/kinds", verify=sick.info["ca"], timeout=20).status_code == 200
    assert requests.get(f"{sick.info['url']}/_sim/wrong/faults", verify=sick.info["ca"], timeout=20).status_code == 500


def test_the_command_line_adds_lists_and_clears(sick, door, tmp_path):
    info = tmp_path / "info.json"
    info.write_text(json.dumps(sick.info), encoding="utf-8")
    added = pveops("sim", "fault", "add", "wrong-dns", "node=pve2", "--info", str(info), "-o", "json")
    assert added.returncode == 0, added.stderr
    (row,) = json.loads(added.stdout)
    assert row["component"] == "node/pve2"
    listed = pveops("sim", "fault", "ls", "--info", str(info))
    assert row["id"] in listed.stdout
    assert "PUT /nodes/{node}/dns" in listed.stdout
    cleared = pveops("sim", "fault", "clear", row["id"], "--info", str(info), "-o", "json")
    assert json.loads(cleared.stdout)[0]["state"] == "cleared"
    again = pveops("sim", "fault", "clear", row["id"], "--info", str(info))
    assert again.returncode == 2
    assert "is over" in again.stderr


def test_the_command_line_plays_a_scenario(sick, door, tmp_path):
    info, file = tmp_path / "info.json", tmp_path / "night.toml"
    info.write_text(json.dumps(sick.info), encoding="utf-8")
    file.write_text('[[fault]]\nkind = "node-down"\nnode = "pve3"\nat = "5min"\nfor = "5min"\n', encoding="utf-8")
    played = pveops("sim", "fault", "add", "--scenario", str(file), "--info", str(info))
    assert played.returncode == 0, played.stderr
    sick.advance(310)
    assert fresh(sick, "GET", "/nodes/pve3/status").status_code == 595
    sick.advance(600)
    assert fresh(sick, "GET", "/nodes/pve3/status").status_code == 200


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["add"], 2, "Name a kind of fault"),
        (["add", "node-down", "pve2"], 2, "'pve2' is no parameter"),
        (["add", "node-down", "--in", "soon"], 2, "no span of time"),
        (["kinds", "meteor"], 2, "There is no fault 'meteor'"),
        (["ls", "--info", "/nonexistent/info.json"], 3, "Cannot read /nonexistent/info.json"),
        (["add", "--scenario", "/nonexistent.toml"], 3, "Cannot read the scenario"),
    ],
)
def test_the_command_line_says_what_is_wrong(monkeypatch, tmp_path, capsys, words, code, says):
    monkeypatch.setenv("PVEOPS_HOME", str(tmp_path))
    assert run(["sim", "fault", *words]) == code
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


def test_the_kinds_are_told_with_their_parameters(capsys):
    assert run(["sim", "fault", "kinds"]) == 0
    assert "node-down" in capsys.readouterr().out
    assert run(["sim", "fault", "kinds", "memory-leak"]) == 0
    told = capsys.readouterr()
    assert "MiB per hour" in told.out
    assert "cause:" in told.err


def test_a_cluster_starts_with_a_scenario(fresh_sim, tmp_path):
    file = tmp_path / "start.toml"
    file.write_text('[[fault]]\nkind = "storage-offline"\nstorage = "pbs-01"\n', encoding="utf-8")
    sim = fresh_sim("--guests", "6", "--scenario", str(file))
    assert sim.data("GET", "/nodes/pve1/storage/pbs-01/status")["active"] == 0
    assert [row["component"] for row in ControlClient(sim.info).faults()] == ["storage/pbs-01"]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("[[fault]]\nkind = 'meteor'", 2, "There is no fault 'meteor'"),
        ("[[fault]]\nkind = 'node-down'\nnode = 'pve9'", 2, "pve9"),
        ("[[fault", 3, "is no TOML"),
        ("x = 1", 2, "unknown key 'x'"),
    ],
)
def test_a_bad_scenario_stops_the_start_with_one_sentence(tmp_path, text, code, says):
    file = tmp_path / "bad.toml"
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pveops.sim", "serve", "--port", "0", "--info", str(tmp_path / "i.json"), "--scenario", str(file)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode == code
    assert says in found.stderr
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "i.json").exists()
