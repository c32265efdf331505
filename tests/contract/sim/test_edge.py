"""Start, end, and the edge: TLS, credentials, statuses, headers, request log."""

import signal


def test_answers_over_tls_and_says_it_is_simulated(sim):
    answer = sim.api("GET", "/version")
    assert answer.status_code == 200
    assert answer.json()["data"] == {"version": "9.2.11+sim", "release": "9.2", "repoid": "simulated"}
    assert answer.headers["X-Pveops-Simulated"] == "1"
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert answer.headers["Server"] == "pve-api-daemon/3.0"


def test_message_is_reason_phrase_and_body(sim):
    answer = sim.api("GET", "/nodes/pve1/foo")
    assert (answer.status_code, answer.reason) == (501, "Method 'GET /nodes/pve1/foo' not implemented")
    assert answer.json() == {"data": None, "message": "Method 'GET /nodes/pve1/foo' not implemented\n"}


def test_ends_cleanly_and_leaves_nothing(fresh_sim, tmp_path):
    running = fresh_sim("--guests", "5")
    assert running.stop(signal.SIGINT) == 0
    assert not (tmp_path / "info.json").exists()
