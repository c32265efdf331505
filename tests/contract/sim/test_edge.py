"""Start, end, and the edge: TLS, credentials, statuses, headers, request log."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]


def test_answers_over_tls_and_says_it_is_simulated(sim):
    answer = sim.api("GET", "/version")
    assert answer.status_code == 200
    assert answer.json()["data"] == {"version": "9.2.11+sim", "release": "9.2", "repoid": "simulated"}
    assert answer.headers["X-Pveops-Simulated"] == "1"
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert answer.headers["Server"] == "pve-api-daemon/3.0"


def test_the_certificate_is_the_one_of_the_info_file(sim):
    import hashlib

    host, port = sim.info["url"].removeprefix("https://").split(":")
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))
    assert hashlib.sha256(der).hexdigest().upper() == sim.info["fingerprint"].replace(":", "")
    assert requests.get(f"https://localhost:{port}/api2/json/access/domains", verify=sim.info["ca"], timeout=5).status_code == 200
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{sim.info['url']}/api2/json/access/domains", timeout=5)


def test_message_is_reason_phrase_and_body(sim):
    answer = sim.api("GET", "/nodes/pve1/foo")
    assert (answer.status_code, answer.reason) == (501, "Method 'GET /nodes/pve1/foo' not implemented")
    assert answer.json() == {"data": None, "message": "Method 'GET /nodes/pve1/foo' not implemented\n"}
    answer = sim.api("GET", "/cluster/resources", type="bogus", x="1")
    assert (answer.status_code, answer.reason) == (400, "Parameter verification failed.")
    assert set(answer.json()["errors"]) == {"type", "x"}


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "No ticket"),
        ({"Authorization": "PVEAPIToken=admin@pve!sim=wrong"}, "Authentication failed!"),
        ({"Cookie": "PVEAuthCookie=junk"}, "Authentication failed!"),
    ],
)
def test_refused_logins_wait_three_seconds_and_have_no_body(sim, headers, reason):
    began = time.monotonic()
    answer = requests.get(f"{sim.info['url']}/api2/json/version", headers=headers, verify=sim.info["ca"], timeout=10)
    assert time.monotonic() - began >= 3.0
    assert (answer.status_code, answer.reason, answer.content) == (401, reason, b"")
    assert "Content-Type" not in answer.headers


def test_other_verbs_are_not_available_even_without_credentials(sim):
    began = time.monotonic()
    answer = requests.request("PATCH", f"{sim.info['url']}/api2/json/version", verify=sim.info["ca"], timeout=10)
    assert (answer.status_code, answer.reason, answer.content) == (501, "method 'PATCH' not available", b"")
    assert time.monotonic() - began < 2


def test_tickets_and_csrf(sim):
    login = {"username": "operator@pve", "password": sim.info["logins"]["operator@pve"]["password"]}
    ticket = sim.data("POST", "/access/ticket", None, **login)
    assert set(ticket) == {"username", "ticket", "CSRFPreventionToken", "cap", "clustername"}
    cookie = {"Cookie": f"PVEAuthCookie={ticket['ticket']}"}
    url = f"{sim.info['url']}/api2/json"
    assert requests.get(f"{url}/version", headers=cookie, verify=sim.info["ca"], timeout=5).status_code == 200
    refused = requests.post(f"{url}/nodes/pve1/qemu/101/status/start", headers=cookie, verify=sim.info["ca"], timeout=10)
    assert (refused.status_code, refused.reason, refused.content) == (401, "Permission denied - invalid csrf token", b"")
    both = cookie | {"CSRFPreventionToken": ticket["CSRFPreventionToken"]}
    assert requests.post(f"{url}/nodes/pve1/qemu/101/status/start", headers=both, verify=sim.info["ca"], timeout=5).status_code == 200
    bad = sim.api("POST", "/access/ticket", None, username="operator@pve", password="wrong")
    assert (bad.status_code, bad.json()) == (401, {"data": None, "message": "authentication failure\n"})


def test_renewal_with_the_ticket_as_password(sim):
    login = {"username": "root@pam", "password": sim.info["logins"]["root@pam"]["password"]}
    ticket = sim.data("POST", "/access/ticket", None, **login)["ticket"]
    assert sim.data("POST", "/access/ticket", None, username="root@pam", password=ticket)["username"] == "root@pam"


def test_bodies_may_be_forms_or_json(sim):
    url = f"{sim.info['url']}/api2/json/nodes/pve1/qemu/100/config"
    headers = {"Authorization": f"PVEAPIToken={sim.info['tokens']['admin']}"}
    assert requests.put(url, headers=headers, json={"onboot": True, "description": "j"}, verify=sim.info["ca"], timeout=5).json() == {
        "data": None
    }
    assert requests.put(url, headers=headers, data={"onboot": "yes"}, verify=sim.info["ca"], timeout=5).json()["errors"] == {
        "onboot": "type check ('boolean') failed - got 'yes'"
    }
    broken = requests.put(url, headers=headers | {"Content-Type": "application/json"}, data="{bad", verify=sim.info["ca"], timeout=5)
    assert broken.status_code == 500
    assert broken.reason.startswith("malformed JSON string")
    body = requests.delete(f"{url}", headers=headers, data={"a": 1}, verify=sim.info["ca"], timeout=5)
    assert (body.status_code, body.reason) == (501, "Unexpected content for method 'DELETE'")


def test_the_other_format_wraps_refusals(sim):
    answer = sim.api("GET", "/nodes/pve1/qemu/abc/config", fmt="extjs")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "data": None,
            "errors": {"vmid": "type check ('integer') failed - got 'abc'"},
            "message": "Parameter verification failed.\n",
            "status": "400",
            "success": 0,
        },
    )
    assert sim.api("GET", "/version", fmt="extjs").json()["success"] == 1
    assert sim.api("GET", "/version", fmt="text").status_code == 501
    outside = requests.get(f"{sim.info['url']}/nope", verify=sim.info["ca"], timeout=5)
    assert (outside.status_code, outside.reason) == (500, "no such file '/nope'")


def test_paths_that_try_to_climb_find_nothing(sim):
    host, port = sim.info["url"].removeprefix("https://").split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(cafile=sim.info["ca"]), timeout=5)
    path = "/api2/json/nodes/pve1/qemu/101/../../../pve2/qemu/105/status/current"
    connection.request("GET", path, headers={"Authorization": f"PVEAPIToken={sim.info['tokens']['admin']}"})
    answer = connection.getresponse()
    assert answer.status == 501
    connection.close()


def test_ends_cleanly_and_leaves_nothing(fresh_sim, tmp_path):
    running = fresh_sim("--guests", "5")
    ca = Path(running.info["ca"])
    assert ca.exists()
    assert running.stop(signal.SIGINT) == 0
    assert not (tmp_path / "info.json").exists()
    assert not ca.exists()
    assert "SIMULATED" in (tmp_path / "stderr").read_text()


def test_requests_are_logged_when_they_arrive_and_take_effect_before_the_wait(fresh_sim):
    """What fault tests rest on: the effect of a write is there although its client went away before the answer."""
    running = fresh_sim("--guests", "5", "--latency-ms", "1500")
    host, port = running.info["url"].removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=running.info["ca"])
    raw = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname="127.0.0.1")
    head = f"POST /api2/json/nodes/pve1/qemu/101/status/stop HTTP/1.1\r\nHost: x\r\nAuthorization: PVEAPIToken={running.info['tokens']['admin']}\r\nContent-Length: 0\r\n\r\n"
    raw.sendall(head.encode())
    until = time.monotonic() + 5
    while not (lines := running.log()) and time.monotonic() < until:
        time.sleep(0.01)
    raw.close()
    assert [line["phase"] for line in lines] == ["in"]
    assert lines[0] | {"t": ""} == {
        "seq": 1,
        "phase": "in",
        "t": "",
        "method": "POST",
        "path": "/nodes/pve1/qemu/101/status/stop",
        "params": {},
        "user": "admin@pve!sim",
    }
    time.sleep(1.0)
    tasks = running.data("GET", "/nodes/pve1/tasks", source="all", typefilter="qmstop", vmid=101, limit=1)
    assert tasks[0]["user"] == "admin@pve"
    outs = [line for line in running.log() if line["phase"] == "out"]
    assert outs[-1]["ms"] >= 1500
    assert sum(line["phase"] == "in" and line["method"] == "POST" for line in running.log()) == 1


def test_secrets_stay_out_of_the_request_log(sim):
    sim.data("POST", "/access/ticket", None, username="root@pam", password=sim.info["logins"]["root@pam"]["password"])
    assert sim.info["logins"]["root@pam"]["password"] not in sim.request_log.read_text()
    assert sim.info["tokens"]["admin"].split("=")[1] not in sim.request_log.read_text()


def test_the_control_door_needs_its_secret(sim):
    state = requests.get(sim.info["control"], verify=sim.info["ca"], timeout=5).json()
    assert state["coverage"]["total"] == 675
    assert requests.post(f"{sim.info['control']}/advance", json={"seconds": -1}, verify=sim.info["ca"], timeout=5).status_code == 400
    assert requests.get(f"{sim.info['url']}/_sim/wrong", verify=sim.info["ca"], timeout=5).status_code == 500


def refused_start(*arguments):
    command = [sys.executable, "-m", "pveops.sim", "serve", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=20, check=False
    )


def test_starts_that_are_refused_say_one_sentence(sim, tmp_path):
    info = str(tmp_path / "info.json")
    port = sim.info["url"].rsplit(":", 1)[1]
    (tmp_path / "file").write_text("x")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "empty.json").write_text("{}")
    for arguments, code, words in [
        (["--info", info, "--port", port], 3, f"Port {port} on 127.0.0.1 is taken."),
        (["--info", info, "--nodes", "0"], 2, "--nodes is 0 and must be from 1 to 100."),
        (["--info", info, "--speed", "-1"], 2, "--speed is -1 and must be from 0.001"),
        (["--info", str(tmp_path / "file" / "info.json"), "--port", "0"], 3, "Cannot write"),
        (["--info", info, "--port", "0", "--request-log", str(tmp_path / "file" / "log")], 3, "Cannot write the request log"),
        (["--info", info, "--port", "0", "--state-dir", str(tmp_path / "file" / "state")], 3, "Cannot use the folder"),
        (["--info", info, "--port", "0", "--inventory", str(tmp_path / "bad.json")], 3, "Cannot read the inventory"),
        (["--info", info, "--port", "0", "--inventory", str(tmp_path / "empty.json")], 3, "does not describe a cluster"),
    ]:
        done = refused_start(*arguments)
        assert (done.returncode, words in done.stderr) == (code, True), (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not Path(info).exists()


def test_a_state_folder_keeps_authority_and_secrets_and_has_one_owner(fresh_sim, tmp_path):
    state = tmp_path / "state"
    first = fresh_sim("--guests", "5", "--state-dir", str(state))
    second = refused_start("--info", str(tmp_path / "other.json"), "--port", "0", "--state-dir", str(state))
    assert (second.returncode, "already runs on" in second.stderr) == (3, True)
    ca = Path(first.info["ca"]).read_bytes()
    assert first.stop() == 0
    again = fresh_sim("--guests", "5", "--state-dir", str(state))
    assert Path(again.info["ca"]).read_bytes() == ca
    assert again.info["tokens"] == first.info["tokens"]
    assert again.info["logins"] == first.info["logins"]


def test_the_same_seed_and_time_give_the_same_answers(tmp_path, start_sim):
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        running = start_sim(tmp_path / name, "--speed", "0.001", "--start-s", "1795262400", "--seed", "77")
        paths = [
            "/cluster/resources",
            "/nodes/pve1/qemu/101/config",
            "/nodes/pve2/tasks",
            "/nodes/pve1/storage/pbs-01/content",
            "/nodes/pve1/rrddata?timeframe=hour",
        ]
        found.append([running.data("GET", path) for path in paths])
        running.stop()
    assert found[0] == found[1]


def test_info_tells_what_others_need(sim):
    assert set(sim.info) == {
        "url",
        "urls",
        "ca",
        "fingerprint",
        "nodes",
        "version",
        "pid",
        "speed",
        "seed",
        "control",
        "control_ca",
        "logins",
        "tokens",
    }
    assert set(sim.info["tokens"]) == {"admin", "operator", "reader", "auditor", "noperm"}
    assert sim.info["pid"] == sim.process.pid
    assert sim.info["nodes"] == ["pve1", "pve2", "pve3"]
    json.dumps(sim.info)


def test_a_file_is_uploaded_and_its_checksum_holds(sim):
    import hashlib

    url = f"{sim.info['url']}/api2/json/nodes/pve1/storage/local/upload"
    headers = {"Authorization": f"PVEAPIToken={sim.info['tokens']['admin']}"}
    data = b"not an image" * 100
    for name, digest, end in (("good.iso", hashlib.sha256(data).hexdigest(), "OK"), ("bad.iso", "0" * 64, "checksum mismatch")):
        fields = {"content": "iso", "checksum-algorithm": "sha256", "checksum": digest}
        answer = requests.post(url, headers=headers, data=fields, files={"filename": (name, data)}, verify=sim.info["ca"], timeout=5)
        assert sim.task_end(answer.json()["data"]).startswith(end)
    rows = {row["volid"]: row["size"] for row in sim.data("GET", "/nodes/pve1/storage/local/content", content="iso")}
    assert rows["local:iso/good.iso"] == len(data)
    assert "local:iso/bad.iso" not in rows


def test_a_log_can_be_had_as_text(sim):
    upid = sim.data("POST", "/nodes/pve1/qemu/100/snapshot", snapname="for-the-log")
    assert sim.task_end(upid) == "OK"
    answer = sim.api("GET", f"/nodes/pve1/tasks/{upid}/log", download=1)
    assert (answer.headers["Content-Type"], answer.text.splitlines()[-1]) == ("text/plain", "TASK OK")
