"""Faults on the way of requests, and credentials that end."""

import pytest
from cryptography.x509 import load_pem_x509_certificate

from pveops.base.errors import InputError
from pveops.sim.certs import Desk
from pveops.sim.faults.engine import Faults


def test_a_slow_node_is_made_quick_by_a_restart(ill):
    entry = ill.add("slow-api", node="pve2", delay_ms=250)
    assert ill.faults.over("GET", "/nodes/pve2/qemu").delay_s == 0.25
    assert ill.faults.over("GET", "/nodes/pve3/qemu") is None
    assert ill.faults.over("GET", "/cluster/resources") is None
    ill.restart("pve2", "pvedaemon")
    assert ill.state(entry) == "repaired"
    assert ill.faults.over("GET", "/nodes/pve2/qemu") is None


def test_the_node_that_clients_talk_to_is_part_of_every_request(ill):
    ill.add("slow-api", node="pve1", delay_ms=100)
    ill.add("slow-api", node="pve3", delay_ms=50)
    assert ill.faults.over("GET", "/cluster/resources").delay_s == pytest.approx(0.1)
    assert ill.faults.over("GET", "/nodes/pve3/status").delay_s == pytest.approx(0.15)


@pytest.mark.parametrize(("status", "done"), [("500", False), ("595", False), ("596", True)])
def test_errors_of_the_proxy(ill, status, done):
    entry = ill.add("api-errors", node="pve1", status=status, fraction=0.4, path="/nodes/[^/]+/qemu")
    found = [ill.faults.over("GET", "/nodes/pve1/qemu") for _ in range(400)]
    hit = [effect for effect in found if effect is not None]
    assert 120 < len(hit) < 200
    assert {(effect.status, effect.done, bool(effect.message)) for effect in hit} == {(int(status), done, status == "500")}
    assert ill.faults.over("GET", "/cluster/resources") is None
    ill.restart("pve1", "pveproxy")
    assert ill.state(entry) == "repaired"


def test_answers_break_off(ill):
    entry = ill.add("cut-answers", node="pve1", fraction=1)
    assert ill.faults.over("GET", "/version").cut
    ill.restart("pve1", "pveproxy")
    assert ill.state(entry) == "repaired"
    assert ill.faults.over("GET", "/version") is None


def test_which_requests_are_hit_follows_from_the_seed(make_ill):
    def hits():
        ill = make_ill()
        ill.add("api-errors", node="pve1", fraction=0.3)
        return [ill.faults.over("GET", "/version") is not None for _ in range(50)]

    assert hits() == hits()


def test_tickets_end_and_tokens_do_not(ill):
    gate = ill.lab.world.gate
    ticket, csrf = gate.issue("root@pam")
    assert gate.ticket_user(ticket) == "root@pam"
    entry = ill.add("tickets-expired")
    assert ill.lab.world.gate.ticket_user(ticket) is None
    assert not ill.lab.world.gate.csrf_fits(csrf, "root@pam")
    assert ill.lab.ask("GET", "/version").status == 200
    assert ill.state(entry) == "active"
    answer = ill.lab.data("POST", "/access/ticket", "", username="root@pam", password="secret-of-root@pam")
    assert ill.state(entry) == "repaired"
    assert ill.lab.world.gate.ticket_user(answer["ticket"]) == "root@pam"


def test_a_token_ends_and_is_lengthened(ill):
    entry = ill.add("token-expired", token="reader@pve!notebook")
    answer = ill.lab.ask("GET", "/version", "reader@pve!notebook")
    assert (answer.status, answer.reason) == (401, "Authentication failed!")
    shown = ill.lab.data("GET", "/access/users/reader@pve/token/notebook")
    assert 0 < shown["expire"] < ill.lab.world.gate.wall_s()
    ill.lab.data("PUT", "/access/users/reader@pve/token/notebook", expire=0)
    assert ill.state(entry) == "repaired"
    assert ill.lab.ask("GET", "/version", "reader@pve!notebook").status == 200


def test_nobody_is_locked_out_for_good(ill):
    with pytest.raises(InputError, match="no token"):
        ill.add("token-expired", token="admin@pve!sim")


def info(ill):
    return {row["filename"]: row for row in ill.lab.data("GET", "/nodes/pve1/certificates/info")}


def test_a_strangers_certificate_is_removed(ill):
    entry = ill.add("certificate-changed")
    own, custom = info(ill)["pve-ssl.pem"], info(ill)["pveproxy-ssl.pem"]
    assert own["fingerprint"] != custom["fingerprint"]
    known = load_pem_x509_certificate(ill.lab.world.desk.own.ca.read_bytes())
    with pytest.raises(ValueError, match="does not match certificate issuer"):
        load_pem_x509_certificate(custom["pem"].encode()).verify_directly_issued_by(known)
    ill.lab.data("DELETE", "/nodes/pve1/certificates/custom")
    assert ill.state(entry) == "repaired"
    assert set(info(ill)) == {"pve-ssl.pem"}


def test_a_certificate_near_its_end_gets_a_better_one(ill, tmp_path):
    entry = ill.add("certificate-expiring", days=4)
    left_s = info(ill)["pve-ssl.pem"]["notafter"] - ill.lab.world.gate.wall_s()
    assert 3.9 * 86400 < left_s < 4.1 * 86400
    folder = tmp_path / "other"
    folder.mkdir()
    fresh = Desk(folder, ["localhost"], ["127.0.0.1"]).own
    wrong = ill.lab.ask(
        "POST", "/nodes/pve1/certificates/custom", certificates=fresh.certificate.read_text(), key=ill.lab.world.desk.own.key.read_text()
    )
    assert wrong.status == 500
    assert "does not belong" in wrong.reason
    assert ill.state(entry) == "active"
    ill.lab.data("POST", "/nodes/pve1/certificates/custom", certificates=fresh.certificate.read_text(), key=fresh.key.read_text())
    ill.lab.cluster.now_s = max(ill.lab.cluster.now_s, ill.lab.world.gate.wall_s())
    assert ill.state(entry) == "repaired"
    assert info(ill)["pveproxy-ssl.pem"]["fingerprint"] == fresh.fingerprint


def test_certificates_need_a_server(lab):
    with pytest.raises(InputError, match="needs a server"):
        Faults(lab.world).add("certificate-changed")
