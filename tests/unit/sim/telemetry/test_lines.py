"""Log lines in the forms in which they travel."""

import json
import re
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import InputError
from pveops.sim.state.journal import ERROR, INFO, Event
from pveops.sim.telemetry import lines
from pveops.sim.telemetry.outlets import TcpSyslog, UdpSyslog, bulk_url, syslog
from pveops.sim.telemetry.tap import Tap

EVENT = Event(1_795_262_400.25, "pve1", "pvedaemon", 1234, INFO, "<root@pam> starting task UPID:pve1:000004D2::")
RFC5424 = re.compile(rb"<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\S{1,128}) - - (.*)", re.DOTALL)


def test_a_line_as_syslog():
    assert lines.rfc5424(EVENT) == (
        b"<30>1 2026-11-21T12:00:00.250000Z pve1 pvedaemon 1234 - - <root@pam> starting task UPID:pve1:000004D2::"
    )
    kernel = EVENT._replace(tag="kernel", severity=ERROR, pid=0, message="oops\nmore")
    assert lines.rfc5424(kernel) == b"<3>1 2026-11-21T12:00:00.250000Z pve1 kernel - - - oops more"


@settings(max_examples=40)
@given(
    st.text(max_size=200),
    st.sampled_from(["kernel", "CRON", "postfix/qmgr", "x" * 80, "pvestatd"]),
    st.integers(0, 7),
    st.integers(0, 4_000_000),
)
def test_whatever_is_said_stays_one_message(text, tag, severity, pid):
    message = lines.rfc5424(Event(1_795_262_400.0, "pve1", tag, pid, severity, text))
    found = RFC5424.fullmatch(message)
    assert found
    assert int(found[1]) % 8 == severity
    assert b"\n" not in message.replace(b"\x85".decode("latin-1").encode(), b"")


def test_a_line_as_a_document():
    found = json.loads(lines.json_lines([EVENT], "lab"))
    assert datetime.fromisoformat(found["@timestamp"]).timestamp() == EVENT.time_s
    assert (found["host"]["name"], found["process"]["name"], found["process"]["pid"]) == ("pve1", "pvedaemon", 1234)
    assert found["message"] == EVENT.message
    assert found["log"]["syslog"]["priority"] == 30
    assert found["log"]["level"] == "info"
    assert found["labels"] == {"cluster": "lab", "simulated": "true"}


def test_a_bulk_request_names_each_line_the_same_each_time():
    first, second = (lines.bulk([EVENT, EVENT._replace(pid=2)], "lab", "logs").splitlines() for _ in range(2))
    assert first == second
    actions = [json.loads(line)["create"] for line in first[::2]]
    assert [action["_index"] for action in actions] == ["logs", "logs"]
    assert actions[0]["_id"] != actions[1]["_id"]
    assert json.loads(first[1])["message"] == EVENT.message


def test_addresses_of_syslog_are_checked():
    assert isinstance(syslog("udp://127.0.0.1:514"), UdpSyslog)
    assert isinstance(syslog("tcp://[::1]:514"), TcpSyslog)
    for text in ("", "127.0.0.1:514", "udp://127.0.0.1", "tls://127.0.0.1:1", "udp://:514", "tcp://127.0.0.1:port"):
        with pytest.raises(InputError, match="must be udp://HOST:PORT"):
            syslog(text)
    with pytest.raises(InputError, match="--elasticsearch"):
        bulk_url("http://me:secret@127.0.0.1:9200")


def test_the_tap_gives_each_line_once_and_those_of_a_cut_off_node_later(lab):
    tap, nodes, began_s = Tap(lab.world), lab.cluster.nodes, lab.cluster.now_s
    found = []
    for step in range(40):
        lab.wait(30)
        nodes["pve3"].reachable = not 10 <= step < 20
        if step == 5:
            lab.data("POST", "/nodes/pve1/qemu/101/snapshot", snapname="one")
        lines_now = tap.read()
        assert not any(event.node == "pve3" for event in lines_now) or nodes["pve3"].reachable
        found += lines_now
    lab.wait(0.01)
    found += tap.read()
    for name, node in nodes.items():
        told = lab.world.chronicle.events(node, began_s, lab.cluster.now_s - 0.001)
        assert [event for event in found if event.node == name] == told
        assert len(told) > 30
    assert sum("qmsnapshot" in event.message for event in found) == 2
