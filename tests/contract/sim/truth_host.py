"""The host of the wider recordings: a simulated cluster in the state that they began with, and everybody who asks it."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import requests

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data" / "pve"
START_S = "1795259000"
PASSWORD = "lab-password-1"
SECRET = "00000000-0000-4000-8000-000000000001"
TOKENS = {
    "admin_token": "admin@pve!t1",
    "auditor_token": "ro@pve!t1",
    "noperm_token": "nop@pve!n1",
    "pooluser_privsep_token": "bob@pve!tk",
    "root_token": "root@pam!rt",
    "expired_token": "bob@pve!exp",
}
TICKETS = {
    "root_ticket": "root@pam",
    "admin_ticket": "admin@pve",
    "auditor_ticket": "ro@pve",
    "noperm_ticket": "nop@pve",
    "pooluser_ticket": "bob@pve",
    "vmadmin_ticket": "carol@pve",
}
_UPID = re.compile(r"UPID:[^:]+:[0-9A-Fa-f]+:[0-9A-Fa-f]+:([0-9A-Fa-f]+):([^:]*:[^:]*:[^:]+):")
_LONGEST_TASK_S = 400
_FILE = re.compile(r"\(multipart file (.*), (\d+) bytes\)")


@dataclass
class Host:
    """One start of the simulated cluster; ``url`` is the address of its JSON API."""

    process: subprocess.Popen
    info: dict
    folder: tempfile.TemporaryDirectory
    session: requests.Session = field(default_factory=requests.Session)
    secrets: dict = field(default_factory=lambda: {"admin@pve!t1": SECRET, "ro@pve!t1": SECRET})
    tickets: dict = field(default_factory=dict)
    upids: dict = field(default_factory=dict)
    crowd: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(60))
    base_failures: list = field(default_factory=list)
    said: str = ""

    @classmethod
    def start(cls) -> "Host":
        """Start it and make the calls that made the base state."""
        folder = tempfile.TemporaryDirectory()
        info = Path(folder.name) / "info.json"
        command = [
            sys.executable,
            "-m",
            "pveops.sim",
            "serve",
            "--port",
            "0",
            "--info",
            str(info),
            "--start-s",
            START_S,
            "--speed",
            "0.001",
        ]
        command += ["--inventory", str(DATA / "recorded-base.json")]
        stderr = Path(folder.name) / "stderr"
        with stderr.open("wb") as target:
            process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=target)
        until = time.monotonic() + 30
        while not info.exists():
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise SystemExit(f"the simulated cluster did not start: {stderr.read_text()}")
            time.sleep(0.02)
        host = cls(process, json.loads(info.read_text()), folder)
        host.session.trust_env = False
        host.session.verify = host.info["ca"]
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=64)
        host.session.mount("https://", adapter)
        host.make_base()
        return host

    def stop(self) -> None:
        self.crowd.shutdown()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=10)
        self.said = (Path(self.folder.name) / "stderr").read_text()
        self.session.close()
        self.folder.cleanup()

    def make_base(self) -> None:
        """The recorded calls; what they need is done by the administrator, and by root where only root may."""
        for call in json.loads((DATA / "fixtures-9.2.11.json").read_text())["base_calls"]:
            if "shell" in call:
                continue
            answer = self.send(call["m"], call["p"], call["d"], self.headers("admin_token"))
            if answer.status_code != call["status"]:
                answer = self.send(call["m"], call["p"], call["d"], self.headers("root_ticket"))
            if answer.status_code != call["status"]:
                self.base_failures.append(f"{call['m']} {call['p']}: {answer.status_code} {answer.reason}")
                continue
            data = answer.json()["data"]
            if isinstance(data, dict) and "full-tokenid" in data:
                self.secrets[data["full-tokenid"]] = data["value"]
            if isinstance(data, str) and data.startswith("UPID:"):
                self.finish(data)
        self.advance(11)

    def make(self, call: dict) -> None:
        """A call that has to go well."""
        answer = self.send(call["m"], call["p"], call["d"], self.headers(call.get("as", "admin_token")))
        assert answer.status_code == 200, f"{call['m']} {call['p']}: {answer.status_code} {answer.text}"
        self.advance(0.2)

    def advance(self, seconds: float) -> None:
        answer = self.session.post(f"{self.info['control']}/advance", json={"seconds": seconds}, timeout=30)
        assert answer.status_code == 200, answer.text

    def finish(self, upid: str) -> None:
        """Let time pass until a task has ended."""
        path = f"/nodes/{upid.split(':')[1]}/tasks/{quote(upid)}/status"
        for step_s in (0.5, 2, *[5] * (_LONGEST_TASK_S // 5)):
            self.advance(step_s)
            answer = self.send("GET", path, {}, self.headers("root_ticket"))
            if answer.status_code != 200 or answer.json()["data"]["status"] == "stopped":
                return

    def login(self, userid: str) -> dict:
        """Ticket and CSRF token; asked for once."""
        if userid not in self.tickets:
            answer = self.send("POST", "/access/ticket", {"username": userid, "password": PASSWORD}, {})
            self.tickets[userid] = answer.json()["data"] or {"ticket": "none", "CSRFPreventionToken": "none"}
        return self.tickets[userid]

    def token(self, name: str) -> str:
        return f"{name}={self.secrets.get(name, SECRET)}"

    def headers(self, who: str, note: str = "") -> dict:
        """The credentials of an identity of the recordings."""
        if who in TOKENS:
            return {"Authorization": f"PVEAPIToken={self.token(TOKENS[who])}"}
        if who in TICKETS:
            found = self.login(TICKETS[who])
            return {"Cookie": f"PVEAuthCookie={quote(found['ticket'], safe='')}", "CSRFPreventionToken": found["CSRFPreventionToken"]}
        return self.odd_headers(note) if who == "custom header" else {}

    def odd_headers(self, note: str) -> dict:
        """Credentials that the recordings describe in words."""
        admin = self.login("admin@pve")
        ticket, csrf = admin["ticket"], admin["CSRFPreventionToken"]
        cookie = f"PVEAuthCookie={quote(ticket, safe='')}"
        token = self.token("admin@pve!t1")
        stamp = ticket.split(":")[2]
        moved = {name: ticket.replace(stamp, f"{int(stamp, 16) + by_s:08X}") for name, by_s in (("old", -90_000), ("new", 400))}
        broken = ticket[:-6] + ("AAAA==" if not ticket.endswith("AAAA==") else "BBBB==")
        table = {
            "ticket, read": {"Cookie": cookie},
            "ticket, write without CSRF": {"Cookie": cookie},
            "ticket, bad CSRF": {"Cookie": cookie, "CSRFPreventionToken": "6B000000:abc"},
            "ticket with CSRF token of another user": {
                "Cookie": cookie,
                "CSRFPreventionToken": self.login("ro@pve")["CSRFPreventionToken"],
            },
            "DELETE without CSRF": {"Cookie": cookie},
            "GET with a bad CSRF header": {"Cookie": cookie, "CSRFPreventionToken": "bad"},
            "cookie not urlencoded": {"Cookie": f"PVEAuthCookie={ticket}"},
            "ticket with changed signature": {"Cookie": f"PVEAuthCookie={quote(broken, safe='')}"},
            "ticket text as bearer": {"Authorization": f"Bearer {ticket}"},
            "other cookie": {"Cookie": f"OtherCookie={quote(ticket, safe='')}"},
            "ticket of another product name": {"Cookie": f"PVEAuthCookie={quote(ticket.replace('PVE:', 'PBS:', 1), safe='')}"},
            "PBSAuthCookie name": {"Cookie": f"PBSAuthCookie={quote(ticket, safe='')}"},
            "__Host- cookie name": {"Cookie": f"__Host-PVEAuthCookie={quote(ticket, safe='')}"},
            "ticket in Authorization PVEAuthCookie=": {"Authorization": f"PVEAuthCookie={quote(ticket, safe='')}"},
            "ticket 25 h old": {"Cookie": f"PVEAuthCookie={quote(moved['old'], safe='')}"},
            "ticket 400 s from the future": {"Cookie": f"PVEAuthCookie={quote(moved['new'], safe='')}"},
            "token": {"Authorization": f"PVEAPIToken={token}"},
            "token with space instead of =": {"Authorization": f"PVEAPIToken {token}"},
            "token with colon separator": {"Authorization": f"PVEAPIToken={token.replace('=', ':')}"},
            "wrong secret": {"Authorization": "PVEAPIToken=admin@pve!t1=00000000-0000-4000-8000-00000000dead"},
            "secret not a uuid": {"Authorization": "PVEAPIToken=admin@pve!t1=secret"},
            "unknown token id": {"Authorization": f"PVEAPIToken=admin@pve!nosuch={SECRET}"},
            "unknown realm": {"Authorization": f"PVEAPIToken=admin@nosuch!t1={SECRET}"},
            "empty value": {"Authorization": "PVEAPIToken="},
            "basic auth": {"Authorization": f"Basic {base64.b64encode(b'admin@pve:lab-password-1').decode()}"},
            "PBS scheme": {"Authorization": f"PBSAPIToken={token}"},
            "good cookie and bad token together": {"Cookie": cookie, "Authorization": "PVEAPIToken=admin@pve!t1=wrong"},
            "bad cookie and good token together": {"Cookie": "PVEAuthCookie=junk", "Authorization": f"PVEAPIToken={token}"},
        }
        return table.get(note, {"Cookie": cookie, "CSRFPreventionToken": csrf})

    def ours(self, text: str) -> str:
        """A text of the recordings with our task ids in place of theirs."""

        def swap(match: re.Match) -> str:
            return self.upids.get(match[0]) or self.find_task(match[0], match[2]) or match[0]

        return _UPID.sub(swap, text)

    def find_task(self, theirs: str, about: str) -> str:
        """Our task of the same kind about the same, by the same: for tasks that were made before the first row."""
        if int(theirs.split(":")[4], 16) < int(START_S):
            return ""
        rows = self.send("GET", "/nodes/pve1/tasks", {"limit": 500, "source": "all"}, self.headers("root_ticket")).json()["data"]
        return next((row["upid"] for row in rows if row["upid"].endswith(f":{about}:")), "")

    def send(self, verb: str, path: str, parameters, headers: dict, **how) -> requests.Response:
        """One request; ``how`` may hold ``enc``, ``qs`` and ``base`` (an address to use instead of that of the JSON API)."""
        url = how.get("base") or f"{self.info['url']}/api2/json"
        body = {"params": parameters} if verb in ("GET", "DELETE") else {"data": parameters, "params": how.get("qs")}
        if how.get("enc") == "json" and parameters is None:
            body = {"data": b""}
            headers = {**headers, "Content-Type": "application/json"}
        elif how.get("enc") == "json":
            text = parameters if isinstance(parameters, str) else json.dumps(parameters) if parameters or verb == "DELETE" else ""
            body = {"data": text.encode()}
            headers = {**headers, "Content-Type": "application/json"}
        elif how.get("enc") == "multipart":
            name, size = _FILE.fullmatch(parameters["filename"]).groups()
            fields = {key: value for key, value in parameters.items() if key != "filename"}
            body = {"data": fields, "files": {"filename": (name, b"\0" * int(size))}}
        elif how.get("enc") == "text":
            body = {"data": str(parameters).encode()}
            headers = {**headers, "Content-Type": "text/plain"}
        return self.session.request(verb, f"{url}{path}", headers=headers, timeout=60, **body)

    def ask(self, row: dict) -> "Future[requests.Response]":
        """Make the request of a row. Refused logins are answered late: nobody waits for them."""
        path, base = self.ours(row["p"]), None
        if path.startswith("(absolute)") or row["p"].startswith("/api2/"):
            path, base = path.removeprefix("(absolute)").strip(), self.info["url"]
        parameters = json.loads(self.ours(json.dumps(row["d"])), object_hook=self.real_secrets)
        headers = self.headers(row["as"], row["note"])
        how = {"enc": row.get("enc"), "qs": row.get("qs"), "base": base}
        if row["note"] == "json content type, empty body":
            parameters, how["enc"] = None, "json"
        future = self.crowd.submit(self.send, row["m"], path, parameters, headers, **how)
        if row["status"] == 401:
            time.sleep(0.05)
        else:
            future.result()
        return future

    def real_secrets(self, found: dict) -> dict:
        """Tickets that stand in parameters were replaced in the recordings: ours for theirs."""
        text = found.get("password")
        if isinstance(text, str) and text.startswith("PVE:"):
            found["password"] = self.login(text.split(":")[1])["ticket"]
        return found
