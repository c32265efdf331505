"""A Proxmox VE 8.4 as others run it: two oddly named nodes, few optional keys, no message in error bodies. Not our simulation: 200 lines, no shared code."""

import json
import re
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "ops@pam!odd=11111111-2222-3333-4444-555555555555"
NODES = ("Rack2-Hyper-07", "n")


class State:
    """Two guests: one without a name, one with a name that needs care."""

    def __init__(self):
        self.guests = {
            100: {"type": "lxc", "node": NODES[1], "status": "stopped", "snapshots": [], "boot": 0},
            4294967: {
                "type": "qemu",
                "node": NODES[0],
                "status": "running",
                "name": "DB.Main-7",
                "snapshots": ["old"],
                "boot": time.time() - 5000,
            },
        }
        self.tasks = {}
        self.seen = []
        self.edits = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *args):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        params = {key: values[0] for key, values in parse_qs(parts.query or body).items()}
        path = parts.path.removeprefix("/api2/json")
        self.state.seen.append((self.command, path))
        if self.headers.get("Authorization") != f"PVEAPIToken={TOKEN}":
            return self.answer(401, "Authentication failed!", None)
        for method, pattern, work in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                try:
                    return self.answer(200, "OK", work(self.state, params, **match.groupdict()))
                except LookupError as err:
                    return self.answer(500, str(err.args[0]), None)
        return self.answer(501, f"Method '{self.command} {path}' not implemented", None)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def answer(self, status, reason, data):
        raw = json.dumps({"data": data}).encode()  # 8.4: the reason stands in the status line alone
        self.send_response(status, reason)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def resources(state, params):
    rows = [
        {"type": "node", "id": f"node/{NODES[0]}", "node": NODES[0], "status": "online", "maxmem": 68719476736, "mem": 1073741824},
        {"type": "node", "id": f"node/{NODES[1]}", "node": NODES[1], "status": "online"},
        {"type": "sdn", "id": "sdn/n/localnetwork", "node": "n", "sdn": "localnetwork", "status": "ok"},
        {"type": "storage", "id": "storage/n/nas.backup_1", "node": "n", "storage": "nas.backup_1", "shared": 1, "content": "backup,iso",
         "plugintype": "nfs", "status": "available", "disk": 5, "maxdisk": 10},
        {"type": "storage", "id": f"storage/{NODES[0]}/nas.backup_1", "node": NODES[0], "storage": "nas.backup_1", "shared": 1, "content": "iso,backup"},
        {"type": "storage", "id": "storage/n/Z", "node": "n", "storage": "Z0", "status": "unknown"},
    ]  # fmt: skip
    for vmid, guest in state.guests.items():
        row = {"type": guest["type"], "id": f"{guest['type']}/{vmid}", "vmid": vmid, "node": guest["node"], "status": guest["status"]}
        rows.append({**row, "name": guest["name"]} if "name" in guest else row)
    wanted = params.get("type")
    kinds = {"vm": ("qemu", "lxc"), None: ("node", "sdn", "storage", "qemu", "lxc")}.get(wanted, (wanted,))
    return [row for row in rows if row["type"] in kinds]


def guest_of(state, node, vmid):
    guest = state.guests.get(int(vmid))
    if guest is None or guest["node"] != node:
        raise LookupError(f"Configuration file 'nodes/{node}/qemu-server/{vmid}.conf' does not exist")
    return guest


def config(state, params, node, kind, vmid):
    guest = guest_of(state, node, vmid)
    return {"digest": f"{state.edits:040x}", **({"name": guest["name"]} if "name" in guest else {}), "scsi0": "Z0:vm-disk-0,size=4G"}


def current(state, params, node, kind, vmid):
    guest = guest_of(state, node, vmid)
    row = {"status": guest["status"], "vmid": int(vmid)}
    return {**row, "uptime": int(time.time() - guest["boot"])} if guest["status"] == "running" else row


def snapshots(state, params, node, kind, vmid):
    return [{"name": name} for name in guest_of(state, node, vmid)["snapshots"]] + [{"name": "current", "description": "You are here!"}]


def task(state, node, kind, vmid):
    upid = f"UPID:{node}:{len(state.tasks) + 1:08X}:00001234:{int(time.time()):08X}:{kind}:{vmid}:ops@pam!odd:"
    state.tasks[upid] = {"upid": upid, "node": node, "type": kind, "id": str(vmid), "user": "ops@pam!odd", "starttime": int(time.time()), "status": "OK",
                         "endtime": int(time.time())}  # fmt: skip
    return upid


def snapshot(state, params, node, kind, vmid):
    guest_of(state, node, vmid)["snapshots"].append(params["snapname"])
    state.edits += 1
    return task(state, node, "qmsnapshot" if kind == "qemu" else "vzsnapshot", vmid)


def start(state, params, node, kind, vmid):
    guest_of(state, node, vmid).update(status="running", boot=time.time())
    return task(state, node, "qmstart" if kind == "qemu" else "vzstart", vmid)


def migrate(state, params, node, kind, vmid):
    guest_of(state, node, vmid)["node"] = params["target"]
    return task(state, node, "qmigrate" if kind == "qemu" else "vzmigrate", vmid)


def rrd(state, params, node, kind, vmid):
    now = int(time.time()) // 60 * 60
    return [{"time": now - 60 * back, **({"cpu": 0.25} if back % 2 else {})} for back in range(69, -1, -1)]


def task_status(state, params, node, upid):
    return {"status": "stopped", "exitstatus": state.tasks[upid]["status"], "upid": upid}


G = r"/nodes/(?P<node>[^/]+)/(?P<kind>qemu|lxc)/(?P<vmid>\d+)"
T = r"/nodes/(?P<node>[^/]+)/tasks/(?P<upid>[^/]+)"
ROUTES = (
    ("GET", "/version", lambda state, params: {"version": "8.4.14", "release": "8.4", "repoid": "b502d23c55afcba1"}),
    ("GET", "/access/permissions", lambda state, params: {"/": {"VM.Audit": 1, "Sys.Audit": 1, "Datastore.Audit": 1, "VM.Snapshot": 1}}),
    ("GET", "/cluster/status", lambda state, params: [{"type": "node", "name": name, "online": 1} for name in NODES]),
    ("GET", "/cluster/resources", resources),
    ("GET", "/cluster/tasks", lambda state, params: list(state.tasks.values())),
    ("GET", r"/nodes/(?P<node>[^/]+)/tasks", lambda state, params, node: [row for row in state.tasks.values() if row["node"] == node]),
    ("GET", r"/nodes/(?P<node>[^/]+)/time", lambda state, params, node: {"time": int(time.time())}),
    ("GET", r"/nodes/(?P<node>[^/]+)/storage/(?P<name>[^/]+)/content", lambda state, params, node, name: [
        {"volid": "nas.backup_1:backup/vzdump-lxc-100-2026_11_01-02_00_00.tar.zst", "content": "backup", "size": 7}, {"volid": "nas.backup_1:backup/odd"}]),
    ("GET", f"{G}/config", config), ("GET", f"{G}/status/current", current), ("GET", f"{G}/snapshot", snapshots), ("GET", f"{G}/rrddata", rrd),
    ("GET", f"{G}/feature", lambda state, params, node, kind, vmid: {"hasFeature": 1}),
    ("POST", f"{G}/snapshot", snapshot), ("POST", f"{G}/status/start", start), ("POST", f"{G}/migrate", migrate),
    ("GET", f"{T}/status", task_status), ("GET", f"{T}/log", lambda state, params, node, upid: [{"n": 1, "t": "TASK OK"}]),
)  # fmt: skip


def serve(certificate):
    """Start it on a free port; returns address and state, and a function that ends it."""
    handler = type("Odd", (Handler,), {"state": State()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    return f"https://127.0.0.1:{server.server_port}", handler.state, stop
