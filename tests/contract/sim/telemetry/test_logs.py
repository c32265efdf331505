"""Log lines of a running cluster: they arrive, once and whole, also after the receiver was away."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
MESSAGE = re.compile(r"<\d+>1 \S+ (\S+) (\S+) \S+ - - (.*)", re.DOTALL)
pytestmark = pytest.mark.slow


class TcpReceiver:
    """Takes messages with their length before them."""

    def __init__(self, port=0):
        self.messages = []
        self._server = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self._server.settimeout(0.2)
        self.port = self._server.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(0.2)
                self._read(connection)

    def _read(self, connection):
        data = b""
        while not self._stop.is_set():
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                continue
            if not piece:
                return
            data += piece
            while (space := data.find(b" ")) > 0 and len(data) > space + int(data[:space]):
                end = space + 1 + int(data[:space])
                self.messages.append(data[space + 1 : end].decode())
                data = data[end:]

    def close(self):
        self._stop.set()
        self._thread.join()
        self._server.close()


class BulkReceiver:
    """Does what the bulk interface does: creates what is not there yet, says 409 for what is, and can be busy."""

    def __init__(self):
        self.documents, self.requests, self.busy, self.headers = {}, 0, False, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
                outer.requests += 1
                outer.headers.append(dict(self.headers) | {"path": self.path})
                items = []
                for action, document in zip(body[::2], body[1::2], strict=True):
                    create = json.loads(action)["create"]
                    fresh = create["_id"] not in outer.documents
                    if not outer.busy:
                        outer.documents.setdefault(create["_id"], json.loads(document))
                    items.append({"create": {"_id": create["_id"], "status": 429 if outer.busy else 201 if fresh else 409}})
                text = json.dumps({"errors": any(item["create"]["status"] != 201 for item in items), "items": items}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def wait_for(condition, what, most_s=20):
    until = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < until, f"{what} did not happen within {most_s} s"
        time.sleep(0.05)


def journal(sim, node):
    return [re.sub(r"^.{15} \S+ \S+?\[\d+\]: ", "", line) for line in sim.data("GET", f"/nodes/{node}/journal")[1:-1]]


def test_all_outlets_get_the_lines_of_the_journal(start_sim, tmp_path):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    udp.settimeout(0.5)
    tcp, bulk, file, secret = TcpReceiver(), BulkReceiver(), tmp_path / "logs.jsonl", tmp_path / "auth"
    secret.write_text("writer:pass")
    secret.chmod(0o600)
    (tmp_path / "sim").mkdir()
    addresses = ["--syslog", f"udp://127.0.0.1:{udp.getsockname()[1]}", "--syslog", f"tcp://127.0.0.1:{tcp.port}"]
    sim = start_sim(
        tmp_path / "sim",
        *addresses,
        "--log-file",
        str(file),
        "--elasticsearch",
        bulk.url,
        "--elasticsearch-auth",
        str(secret),
        "--speed",
        "20",
    )
    try:
        upid = sim.data("POST", "/nodes/pve1/qemu/101/snapshot", snapname="one")
        assert sim.task_end(upid) == "OK"
        sim.advance(600)
        ended = f"end task {upid} OK"
        wait_for(lambda: any(ended in message for message in tcp.messages), "the line about the task")
        wait_for(lambda: any(ended in document["message"] for document in bulk.documents.values()), "its document")
        told = {node: journal(sim, node) for node in sim.info["nodes"]}
    finally:
        sim.stop()
    datagrams = []
    while True:
        try:
            datagrams.append(udp.recv(65536).decode())
        except TimeoutError:
            break
    written = [json.loads(line) for line in file.read_text().splitlines()]
    wait_for(lambda: len(tcp.messages) == len(written), "the last line")
    udp.close()
    tcp.close()
    bulk.close()
    assert datagrams == tcp.messages
    assert [MESSAGE.fullmatch(message).groups() for message in tcp.messages] == [
        (row["host"]["name"], row["process"]["name"], row["message"]) for row in written
    ]
    assert sorted(row["message"] for row in bulk.documents.values()) == sorted(row["message"] for row in written)
    for node, messages in told.items():
        mine = [row["message"] for row in written if row["host"]["name"] == node]
        assert len(mine) > 15
        assert set(messages[-10:]) <= set(mine)
    assert {head["Authorization"] for head in bulk.headers} == {"Basic d3JpdGVyOnBhc3M="}
    assert {head["path"] for head in bulk.headers} == {"/_bulk"}


def test_lines_wait_for_a_receiver_that_is_away_or_busy(start_sim, tmp_path):
    first, bulk = TcpReceiver(), BulkReceiver()
    (tmp_path / "sim").mkdir()
    file = tmp_path / "logs.jsonl"
    sim = start_sim(
        tmp_path / "sim",
        "--syslog",
        f"tcp://127.0.0.1:{first.port}",
        "--elasticsearch",
        bulk.url,
        "--log-file",
        str(file),
        "--speed",
        "120",
    )
    try:
        wait_for(lambda: first.messages and bulk.documents, "the first lines")
        first.close()
        bulk.busy = True
        before = bulk.requests
        sim.advance(3600)
        wait_for(lambda: bulk.requests > before + 1, "a second try")
        bulk.busy = False
        second = TcpReceiver(first.port)
        wait_for(lambda: len(second.messages) > 100, "the lines that waited")
        wait_for(lambda: len(bulk.documents) >= len(file.read_text().splitlines()) - 200, "the documents that waited")
    finally:
        sim.stop()
    written = [json.loads(line) for line in file.read_text().splitlines()]
    wait_for(lambda: written[-1]["message"] in second.messages[-1], "the last line")
    second.close()
    bulk.close()
    assert len(bulk.documents) == len(written)
    got = [MESSAGE.fullmatch(message).groups()[2] for message in [*first.messages, *second.messages]]
    lost = len(written) - len(got)
    assert lost <= 60  # what was on its way when the connection broke
    assert got[-50:] == [row["message"] for row in written][-50:]
    said = (tmp_path / "sim" / "stderr").read_text()
    assert "does not take log lines" in said
    assert "takes log lines again; 0 were dropped" in said


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--syslog", "127.0.0.1:514"], 2, "--syslog is '127.0.0.1:514' and must be udp://HOST:PORT or tcp://HOST:PORT."),
        (["--log-file", "/proc/nowhere/logs"], 3, "Cannot write the log file /proc/nowhere/logs"),
        (["--elasticsearch", "http://127.0.0.1:1", "--elasticsearch-auth", "/nowhere"], 3, "Cannot read the credentials of Elasticsearch"),
    ],
)
def test_what_cannot_be_is_a_clear_error(tmp_path, arguments, code, text):
    command = [sys.executable, "-m", "pveops.sim", "serve", "--port", "0", "--info", str(tmp_path / "i.json"), *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, 1), ended.stderr
    assert ended.stderr.startswith(text)
