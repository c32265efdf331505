import logging
import ssl

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import MaxRetryError, NameResolutionError, ProtocolError

from pveops.base.errors import (
    ApiError,
    AuthFailed,
    BadArguments,
    CertificateMismatch,
    Forbidden,
    InputError,
    Locked,
    NoAnswer,
    NodeUnreachable,
    NotAnswered,
    NotFound,
    Overloaded,
    Unreachable,
)
from pveops.base.secret import Secret
from pveops.clients.cluster.errors import error_of
from pveops.clients.cluster.wire import Endpoint, Wire, _transport_error, check_path
from pveops.clients.cluster.write import Writer
from pveops.model.plan import WireCall
from pveops.observe.logs import JsonFormatter, quiet_libraries


@pytest.mark.parametrize(
    "path", ["", "/", "nodes", "/a//b", "/a/../b", "/a/.", "/a/./b", "/a?b", "/a#b", "/a%2e", "/a b", "/a\n", "/ä", "/a/"]
)
def test_a_path_means_what_it_says_or_is_refused(path):
    with pytest.raises(InputError):
        check_path(path)


@given(st.text(max_size=40))
def test_no_text_slips_out_of_its_path(text):
    try:
        check_path(f"/nodes/{text}/qemu")
    except InputError:
        return
    sent = requests.Request("GET", f"https://h/api2/json/nodes/{text}/qemu").prepare().url
    assert sent == f"https://h/api2/json/nodes/{text}/qemu"


@pytest.mark.parametrize(
    ("status", "reason", "cls"),
    [
        (401, "Authentication failed!", AuthFailed),
        (403, "Permission check failed (/vms/100, VM.PowerMgmt)", Forbidden),
        (400, "Parameter verification failed.", BadArguments),
        (501, "Method 'GET /x' not implemented", NotAnswered),
        (503, "Service Unavailable", Overloaded),
        (595, "No route to host", NodeUnreachable),
        (596, "Broken pipe", NodeUnreachable),
        (500, "Configuration file 'nodes/pve1/qemu-server/9.conf' does not exist", NotFound),
        (500, "hostname lookup 'x' failed - failed to get address info", NotFound),
        (500, "VM is locked (backup)", Locked),
        (500, "can't lock file '/var/lock/x' - got timeout", Locked),
        (500, "cluster not ready - no quorum?", ApiError),
    ],
)
def test_what_a_status_means(status, reason, cls):
    err = error_of(status, reason, None, method="GET", path="/x", endpoint="https://h")
    assert type(err) is cls
    assert err.status == status
    assert err.details["reason"] == reason


def test_bad_parameters_are_named_and_secrets_cut_out():
    err = error_of(400, "Parameter verification failed.", {"errors": {"vmid": "too small\n"}}, method="POST", path="/x", endpoint="h")
    assert "vmid: too small" in err.message
    long = error_of(500, "password=hunter2 " + "x" * 500, None, method="GET", path="/x", endpoint="h")
    assert "hunter2" not in str(long)
    assert len(long.message) < 350
    assert (
        "VM.PowerMgmt on /vms/100"
        in error_of(403, "Permission check failed (/vms/100, VM.PowerMgmt)", None, method="G", path="/", endpoint="h").hint
    )
    old = error_of(500, "", {"message": "said in the body\n"}, method="G", path="/", endpoint="h")
    assert "said in the body" in old.message


def wrapped(inner):
    return requests.exceptions.ConnectionError(MaxRetryError(None, "/", inner))


@pytest.mark.parametrize(
    ("err", "reading", "writing"),
    [
        (wrapped(NameResolutionError("h", None, OSError("no"))), Unreachable, Unreachable),
        (requests.exceptions.ConnectTimeout("slow"), Unreachable, Unreachable),
        (requests.exceptions.ReadTimeout("slow"), NoAnswer, NoAnswer),
        (requests.exceptions.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))), NoAnswer, NoAnswer),
        (requests.exceptions.SSLError(MaxRetryError(None, "/", ssl.SSLError("wrong version number"))), Unreachable, NoAnswer),
        (
            requests.exceptions.SSLError(MaxRetryError(None, "/", ssl.SSLCertVerificationError("self-signed"))),
            CertificateMismatch,
            CertificateMismatch,
        ),
        (requests.exceptions.ChunkedEncodingError("cut"), NoAnswer, NoAnswer),
        (OSError("odd"), NoAnswer, NoAnswer),
    ],
)
def test_a_failure_is_sorted_by_whether_it_was_surely_not_sent(err, reading, writing):
    assert type(_transport_error(err, "https://h:8006", 3.0, reading=True)) is reading
    assert type(_transport_error(err, "https://h:8006", 3.0, reading=False)) is writing


def test_a_wire_needs_an_endpoint_and_tells_who_it_is():
    with pytest.raises(InputError):
        Wire([], Secret("a@b!c=d"))
    wire = Wire([Endpoint("https://h:8006")], Secret("a@b!c=d"))
    assert wire.token_id == "a@b!c"
    assert wire.endpoints[0].url == "https://h:8006"
    for bad in (lambda: wire.get("/a/../b"), lambda: wire.send_once("POST", "/a/../b")):
        with pytest.raises(InputError):
            bad()
    assert wire.sent == 0
    wire.close()


class Answers:
    """A wire that fails as it is told."""

    token_id, write_timeout_s = "a@b!c", 1.0

    def __init__(self, err):
        self.err = err

    def send_once(self, *_):
        raise self.err


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (500, ApiError),
        (595, NodeUnreachable),
        (596, NoAnswer),
        (597, NoAnswer),
        (599, NoAnswer),
        (502, NoAnswer),
        (503, NoAnswer),
        (504, NoAnswer),
    ],
)
def test_a_gateways_answer_tells_nothing_about_the_work(status, cls):
    writer = Writer(Answers(error_of(status, "x", None, method="POST", path="/x", endpoint="h")), lambda grant, call: None)
    with pytest.raises(cls) as said:
        writer.send(WireCall(method="POST", path="/x"), None)
    assert type(said.value) is cls


def test_proxmoxer_cannot_log_a_password(caplog):
    """proxmoxer writes POST bodies at INFO; however loud the root logger is, they do not appear."""
    logging.getLogger("proxmoxer.core").setLevel(logging.NOTSET)
    quiet_libraries()
    with caplog.at_level(logging.DEBUG):
        from proxmoxer.core import ProxmoxResource

        class Session:
            def request(self, *_, **__):
                raise RuntimeError("stop here")

        resource = ProxmoxResource(base_url="https://h/api2/json", session=Session(), serializer=None)
        with pytest.raises(RuntimeError):
            resource.access.users.post(userid="a@pve", password="hunter2")
        logging.getLogger("proxmoxer").warning("token a@b!c=01234567-89ab-cdef-0123-456789abcdef")
    assert "hunter2" not in caplog.text
    assert "01234567-89ab" not in caplog.text


def test_a_log_line_is_json_and_redacted():
    record = logging.LogRecord("pveops.x", logging.INFO, "f", 1, "password=%s", ("hunter2",), None)
    record.rows = {"token": "abc", "n": 1}
    line = JsonFormatter().format(record)
    assert "hunter2" not in line
    assert "abc" not in line
    assert '"logger": "pveops.x"' in line
