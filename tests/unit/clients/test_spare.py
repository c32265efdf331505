"""Connections that are opened before they are needed, against a TLS server that writes down what came over which."""

import socket
import ssl
import threading

import pytest

from pveops.base.errors import Unreachable
from pveops.base.secret import Secret
from pveops.clients.cluster.spare import _FRESH_S, _MOST
from pveops.clients.cluster.wire import Endpoint, Timeouts, Wire
from pveops.testing.fake import StepClock
from pveops.testing.tls import self_signed

TOKEN = Secret("a@b!c=11111111-2222-3333-4444-555555555555")
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"data":null}'


class Server:
    """Answers every request, and knows which connection carried it."""

    def __init__(self, pem):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pem)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.handles, self.carried, self.moved = [], [], threading.Condition()
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain):
        try:
            handle = self.context.wrap_socket(plain, server_side=True)
            with self.moved:
                number = len(self.handles)
                self.handles.append(handle)
                self.moved.notify_all()
            with handle, handle.makefile("rb") as file:
                while first := file.readline():
                    while file.readline().strip():
                        pass
                    with self.moved:
                        self.carried.append((number, first.decode().split()[0]))
                    handle.sendall(ANSWER)
        except OSError:
            plain.close()

    def connected(self, number):
        with self.moved:
            assert self.moved.wait_for(lambda: len(self.handles) >= number, 20), f"{len(self.handles)} of {number}"

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)  # a thread waits in accept, and would take one more
        self.listener.close()
        for handle in self.handles:
            handle.close()


@pytest.fixture
def server(tmp_path):
    fingerprint = self_signed(tmp_path / "server.pem")
    made = Server(tmp_path / "server.pem")
    made.pin, made.ca = Endpoint(made.url, fingerprint=fingerprint), Endpoint(made.url, ca=tmp_path / "server.pem")
    yield made
    made.close()


@pytest.fixture
def clock():
    return StepClock()


def wire_to(endpoint, clock):
    return Wire([endpoint], TOKEN, timeouts=Timeouts(4.0, 10.0, 10.0), clock=clock)


def ready(wire):
    """Every connection that was begun has been made, or has failed."""
    assert all(spare.ready.wait(20) for spare in wire._spares._spares)


@pytest.mark.parametrize("trust", ["pin", "ca"])
def test_a_change_leaves_over_the_connection_that_waits_for_it(server, clock, trust):
    wire = wire_to(getattr(server, trust), clock)
    wire.get("/version")
    wire.prepare()
    ready(wire)
    server.connected(2)
    assert server.carried == [(0, "GET")], "getting ready sends nothing"
    wire.send_once("POST", "/nodes/n/x")
    assert server.carried == [(0, "GET"), (1, "POST")]
    wire.send_once("POST", "/nodes/n/x")
    wire.get("/version")
    assert server.carried[2:] == [(2, "POST"), (0, "GET")], "each change has a connection of its own that nothing else uses"
    wire.close()


def test_a_connection_that_is_still_being_made_is_waited_for(server, clock):
    wire = wire_to(server.pin, clock)
    wire.prepare()
    wire.send_once("POST", "/nodes/n/x")
    assert (len(server.handles), server.carried) == (1, [(0, "POST")])
    wire.close()


def test_one_that_waited_too_long_or_was_closed_is_not_used(server, clock):
    wire = wire_to(server.pin, clock)
    wire.prepare()
    ready(wire)
    clock.tick(_FRESH_S + 0.1)
    wire.send_once("POST", "/nodes/n/x")
    assert server.carried == [(1, "POST")]
    wire.prepare()
    ready(wire)
    server.connected(3)
    server.handles[2].shutdown(socket.SHUT_RDWR)
    while wire._spares._spares[0].alive():
        threading.Event().wait(0.01)
    wire.send_once("POST", "/nodes/n/x")
    assert server.carried == [(1, "POST"), (3, "POST")]
    wire.close()


def test_words_that_nobody_asked_for_make_it_unusable(server, clock):
    wire = wire_to(server.pin, clock)
    wire.prepare()
    ready(wire)
    server.connected(1)
    server.handles[0].sendall(ANSWER)
    while wire._spares._spares[0].alive():
        threading.Event().wait(0.01)
    wire.send_once("POST", "/nodes/n/x")
    assert server.carried == [(1, "POST")]
    wire.close()


def test_there_are_never_many(server, clock):
    wire = wire_to(server.pin, clock)
    for _ in range(_MOST + 3):
        wire.prepare()
    ready(wire)
    assert len(wire._spares._spares) == _MOST
    clock.tick(_FRESH_S + 0.1)
    wire.prepare()
    assert len(wire._spares._spares) == 1, "what is old is closed"
    wire.close()
    ready(wire)
    wire.close()
    assert wire._spares._spares == []


def test_what_is_wrong_is_told_to_whoever_sends(server, clock):
    for endpoint, words in ((Endpoint(server.url, fingerprint="AA:" * 31 + "AA"), "certificate"), (server.ca, "gives no connection")):
        if endpoint is server.ca:
            server.close()
        wire = wire_to(endpoint, clock)
        wire.prepare()
        ready(wire)
        with pytest.raises(Unreachable, match=words):
            wire.send_once("POST", "/nodes/n/x")
        wire.close()
    assert server.carried == []
