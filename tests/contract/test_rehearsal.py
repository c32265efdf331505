"""Twenty plans, rehearsed on a copy and then carried out on the cluster they were copied from: the same outcome, nearly the same time.

The source is a simulated cluster in its own process, whose seed the copy never learns; the executor is the real one, with its policy, signed
approvals and ledger. Only time is driven: the clock of the source jumps where the executor waits, so that figures do not depend on how busy
this machine is.
"""

import json
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from pveops.app import executor as wiring
from pveops.app.processes import Child
from pveops.app.rehearse import rehearse
from pveops.app.simulated import adopt, read_info
from pveops.app.stage import JumpingClock, PrivateStage
from pveops.base.errors import ConfigError, GuardError
from pveops.model.claims import claim_for, sign
from pveops.model.messages import ApproveRequest, ProposeRequest
from pveops.model.plan import Fact, Flow, Wave
from pveops.model.proposal import Origin, ProposalStatus
from pveops.settings.credentials import load_credential
from pveops.testing.stack import Stack
from pveops.tools.library import standard
from pveops.tools.ports import Ports
from pveops.twin.drive import drive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WITHIN = 0.25
CYCLES = 8
BETWEEN_S = 31.1387  # so that the runs of one guest begin at well spread fractions of a second
START_S = 1_795_262_400.3  # 2026-11-21 12:00 UTC: one start, one past, the same figures each time
PLANS = (
    ("guest.start", {"guest": "113"}),
    ("guest.start", {"guest": "109"}),
    ("guest.shutdown", {"guest": "104"}),
    ("guest.shutdown", {"guest": "110"}),
    ("guest.start", {"guest": "104,110"}),
    ("guest.reboot", {"guest": "105"}),
    ("guest.reboot", {"guest": "116"}),
    ("guest.snapshot", {"guest": "101", "name": "before-move"}),
    ("guest.snapshot", {"guest": "114", "name": "with-memory", "memory": True}),
    ("guest.snapshot", {"guest": "108", "name": "ct-state"}),
    ("guest.migrate", {"guest": "101", "target": "pve2"}),
    ("guest.migrate", {"guest": "105", "target": "pve2"}),
    ("guest.migrate", {"guest": "116", "target": "pve1"}),
    ("guest.shutdown", {"guest": "106", "timeout_s": 5}),
    ("guest.reboot", {"guest": "103", "timeout_s": 5}),
    ("guest.shutdown", {"guest": "110,106,113", "timeout_s": 5}),
    ("guest.shutdown", {"guest": "119"}),
    ("guest.migrate", {"guest": "119", "target": "pve1"}),
    ("guest.migrate", {"guest": "100", "target": "pve3"}),
    ("guest.reboot", {"guest": "117,118"}),
)
CYCLED = (100, 103, 104, 105, 106, 108, 109, 110, 113, 116, 117, 118, 119)


@dataclass
class Source:
    """The cluster that plans are for, with its executor on its clock."""

    stack: Stack
    clock: JumpingClock
    parts: wiring.Parts
    admin: httpx.Client

    @classmethod
    def start(cls, root: Path):
        stack = Stack(root, guests=20)
        info = root / "sim.json"
        command = [
            sys.executable, "-m", "pveops.sim", "serve", "--guests", "20", "--port", "0", "--speed", "0.001", "--start-s", str(START_S), "--info", str(info),
            "--request-log", str(stack.request_log),
        ]  # fmt: skip
        stack.sim = Child("The source", command, env=stack.env, log=root / "sim.log").start()
        stack.sim.wait_ready(lambda: read_info(info) is not None, seconds=30)
        stack.info = read_info(info)
        adopt(stack.home, stack.info)
        clock = JumpingClock(stack.info["control"], Path(stack.info["ca"]), START_S)
        parts = wiring.build(stack.home, None, stack.env, clock=clock)
        parts.start()
        admin = httpx.Client(verify=ssl.create_default_context(cafile=stack.info["ca"]), trust_env=False, timeout=30)
        return cls(stack, clock, parts, admin)

    def stop(self):
        self.parts.stop()
        self.clock.close()
        self.admin.close()
        self.stack.close()

    def ask(self, method, path, **params):
        headers = {"Authorization": f"PVEAPIToken={self.stack.info['tokens']['admin']}"}
        place = {"params": params} if method == "GET" else {"data": params}
        answer = self.admin.request(method, f"{self.stack.info['url']}/api2/json{path}", headers=headers, **place)
        assert answer.status_code == 200, (path, answer.status_code, answer.reason_phrase)
        return answer.json()["data"]

    def live_on(self):
        """Days of ordinary work: guests were shut down and started by people, and some were moved. Their tasks are what a twin can learn from."""
        rows = {row["vmid"]: row for row in self.ask("GET", "/cluster/resources", type="vm")}
        for _ in range(CYCLES):
            for vmid in CYCLED:
                row = rows[vmid]
                path, running = f"/nodes/{row['node']}/{row['type']}/{vmid}/status", row["status"] == "running"
                for verb in ("shutdown", "start") if running else ("start", "shutdown"):
                    self.ask("POST", f"{path}/{verb}")
                    self.clock.sleep_s(BETWEEN_S)
        for vmid, there in ((101, "pve2"), (105, "pve2")):
            for target in (there, rows[vmid]["node"]):
                at = next(row["node"] for row in self.ask("GET", "/cluster/resources", type="vm") if row["vmid"] == vmid)
                self.ask("POST", f"/nodes/{at}/qemu/{vmid}/migrate", target=target, online=1)
                self.clock.sleep_s(120.0)

    def carry_out(self, plan):
        """Through the real executor, approved by a person's signature in a terminal: together the plans reach many guests. Its run."""
        executor, clock = self.parts.executor, self.clock
        who = load_credential(self.stack.home, "operator")
        person = self.parts.principals.by_token(who.token)
        asked = ProposeRequest(plan=plan, author="person", origin=Origin(surface="test"), correlation="")
        proposal = executor.propose(person, asked, "cli")
        assert proposal.status is ProposalStatus.WAITING, proposal.reason
        approval = sign(claim_for(proposal, approver="operator", now=clock.now()), who.private_key)
        executor.approve(person, proposal.id, ApproveRequest(approval=approval, channel="cli"), "cli")
        deadline = time.monotonic() + 60
        while (view := executor.view(executor.get(proposal.id), person)).run is None or not view.run.status.ended:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return view.run


@pytest.fixture
def source(tmp_path):
    found = Source.start(tmp_path)
    try:
        yield found
    finally:
        found.stop()


def test_twenty_plans_go_as_they_were_rehearsed(source):
    source.live_on()
    ops = source.stack.ops()
    right, close, late = 0, 0, 0
    for tool, args in PLANS:
        plan = ops.draft(tool, **args).plan
        before = len(source.stack.requests())
        report = rehearse(plan, ops.reader, clock=source.clock)
        asked = source.stack.requests()[before:]
        assert len(asked) >= report.reads
        assert {row["method"] for row in asked} == {"GET"}
        assert {row["user"] for row in asked} == {"reader@pve!notebook"}
        run = source.carry_out(plan)
        took_s = (run.ended - run.started).total_seconds()
        phases = [step.phase for step in run.steps]
        agrees = report.outcome is run.status and [step.phase for step in report.steps] == phases
        off = abs(report.took_s - took_s) / took_s
        right, close, late = right + agrees, close + (off <= WITHIN), late + (run.status.value == "failed")
        print(f"{plan.summary:<40} {report.outcome.value:<7} {run.status.value:<7} {report.took_s:7.1f} {took_s:7.1f} s {off:6.1%}")
    assert (right, close) == (20, 20)
    assert late >= 3


def proc_count(folder):
    """Simulated clusters of rehearsals that still run, and folders that they left."""
    running = [line for path in Path("/proc").glob("[0-9]*/cmdline") if "pveops-twin-" in (line := said(path))]
    return running, list(Path(folder).glob("pveops-twin-*"))


def said(path):
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_from_proposal_to_report_on_real_processes(tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Stack(tmp_path, guests=12, speed=20, extra_env={"TMPDIR": str(scratch)}) as stack:
        made = stack.cli("do", "guest.migrate", "web-1", "pve2", "-o", "json")
        assert made.returncode == 0, made.stderr
        proposal = json.loads(made.stdout)["proposal"]
        before = len(stack.requests())
        told = stack.cli("proposals", "rehearse", proposal["id"])
        assert told.returncode == 0, told.stderr
        assert "Rehearsed: 1 of 1 in the simulated copy" in told.stdout
        assert "not known: How fast 101 would move" in told.stdout
        by_reader = [row for row in stack.requests()[before:] if row["user"] == "reader@pve!notebook"]
        assert len(by_reader) > 15
        assert {row["method"] for row in stack.requests()[before:]} == {"GET"}
        assert stack.writes() == []
        shown = stack.cli("proposals", "show", proposal["id"])
        assert "Rehearsed by operator" in shown.stdout
        view = stack.client().proposal(proposal["id"])
        assert (view.proposal.digest, view.proposal.rehearsal.by) == (proposal["digest"], "operator")
        kinds = [row["kind"] for row in stack.client().audit(proposal=proposal["id"])]
        assert kinds == ["proposal.made", "proposal.rehearsed"]
        refused = stack.cli("proposals", "rehearse", proposal["id"], principal="viewer")
        assert refused.returncode == 6, refused.stderr
        again = stack.ops("runbook").proposal(proposal["id"])
        with pytest.raises(GuardError):
            again.rehearse()
        handle = stack.ops().proposal(proposal["id"])
        assert handle.rehearse().outcome.value == "done"
        assert stack.writes() == []
        assert proc_count(scratch) == ([], [])
        assert stack.cli("proposals", "approve", proposal["id"], "--yes").returncode == 0
        late = stack.cli("proposals", "rehearse", proposal["id"])
        assert (late.returncode, "decided already" in late.stderr) == (6, True), late.stderr
        look_and_serve(stack, tmp_path)


def look_and_serve(stack, folder):
    """A seed from the command line, and a cluster from it."""
    file = folder / "seed.json"
    looked = stack.cli("twin", "look", str(file), "-o", "json")
    assert looked.returncode == 0, looked.stderr
    assert json.loads(looked.stdout)["guests"] == 12
    assert "cipassword" not in file.read_text()
    info = folder / "copy.json"
    copy = Child("The copy", [sys.executable, "-m", "pveops", "sim", "serve", "--seed-file", str(file), "--info", str(info), "--port", "0"],
                 env=stack.env, log=folder / "copy.log").start()  # fmt: skip
    try:
        copy.wait_ready(lambda: read_info(info) is not None, seconds=30)
        found = read_info(info)
        with httpx.Client(verify=ssl.create_default_context(cafile=found["ca"]), trust_env=False, timeout=30) as client:
            headers = {"Authorization": f"PVEAPIToken={found['tokens']['reader']}"}
            rows = client.get(f"{found['url']}/api2/json/cluster/resources?type=vm", headers=headers).json()["data"]
        assert {row["vmid"]: row["name"] for row in rows} == stack.ops().guests().set_index("vmid")["name"].to_dict()
    finally:
        copy.stop()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "is no JSON"),
        ('{"format": "pveops-seed", "version": 9}', "is of version 9; this pveops reads version 1"),
        ('{"format": "pveops-seed", "version": 1, "taken_s": 5, "nodes": []}', "nodes is empty"),
        (
            '{"format": "pveops-seed", "version": 1, "taken_s": 5, "nodes": [{"name": "a"}], "guests": [{"vmid": 101}]}',
            "guests[0].type is missing",
        ),
    ],
)
def test_a_malformed_seed_is_one_clear_sentence(tmp_path, text, said):
    file = tmp_path / "seed.json"
    file.write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "pveops.sim", "serve", "--seed-file", str(file), "--info", str(tmp_path / "info.json"), "--port", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 3
    assert said in ran.stderr
    assert str(file) in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "info.json").exists()


def test_a_copy_that_cannot_start_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seed = {"format": "pveops-seed", "version": 1, "taken_s": 5.0, "nodes": [{"name": "pve1"}],
            "guests": [{"vmid": 101, "type": "qemu", "node": "pve1", "config": {"memory": "much"}}]}  # fmt: skip
    with pytest.raises(ConfigError, match="does not describe a cluster"), PrivateStage(seed, "lab"):
        pass
    assert proc_count(tmp_path) == ([], [])


SMALL = {
    "format": "pveops-seed", "version": 1, "taken_s": START_S, "nodes": [{"name": "pve1"}, {"name": "pve2"}],
    "storages": [{"storage": "ceph", "type": "rbd", "total": 1 << 40}],
    "guests": [
        {"vmid": vmid, "type": "qemu", "node": "pve1", "running": True, "uptime_s": 9000, "digest": f"{vmid}", "paces": {"shutdown_s": pace, "start_s": 2.0},
         "config": {"name": f"web-{vmid}", "memory": "2048", "cores": 2, "scsi0": f"ceph:vm-{vmid}-disk-0,size=8G"}}
        for vmid, pace in ((101, 20.0), (102, 30.0), (103, 25.0), (104, 90.0))
    ],
}  # fmt: skip


def shut_down(stage, vmids, **flow):
    ports = Ports("lab", stage.cluster.reader, stage.clock)
    plan = standard().plan("guest.shutdown", {"guest": ",".join(vmids), "timeout_s": 60}, ports)
    return replace(plan, flow=Flow(**flow)) if flow else plan


def test_waves_go_on_at_once_and_what_fails_is_taken_back():
    with PrivateStage(SMALL, "lab") as stage:
        one_by_one = drive(shut_down(stage, ["101", "102"]), stage)
        assert one_by_one.status.value == "done"
        assert 50 <= (one_by_one.ended - one_by_one.started).total_seconds() <= 56
    with PrivateStage(SMALL, "lab") as stage:
        together = drive(
            shut_down(stage, ["101", "102", "103"], waves=(Wave(name="", steps=("s1", "s2", "s3")),), at_once=3, per_node=3), stage
        )
        assert together.status.value == "done"
        assert 30 <= (together.ended - together.started).total_seconds() <= 35
    with PrivateStage(SMALL, "lab") as stage:
        waves = (Wave(name="canary", steps=("s1",)), Wave(name="rest", steps=("s2", "s3")))
        run = drive(shut_down(stage, ["101", "103", "104"], waves=waves, at_once=2, per_node=2, take_back=True), stage)
        assert run.status.value == "failed"
        assert [step.phase.value for step in run.steps] == ["done", "done", "failed"]
        assert [step.phase.value for step in run.undo] == ["done", "done"]
        assert "2 of 2 steps were taken back" in run.reason
        stage.clock.sleep_s(20)
        rows = {guest.vmid: guest.status for guest in stage.cluster.reader.guests().rows}
        assert set(rows.values()) == {"running"}


def test_what_must_hold_before_and_after_is_looked_at():
    here = Fact(subject="guest/101", field="node", value="pve2")
    with PrivateStage(SMALL, "lab") as stage:
        run = drive(shut_down(stage, ["101"], waves=(Wave(name="", steps=("s1",)),), before=(here,)), stage)
        assert (run.status.value, run.steps[0].phase.value) == ("failed", "skipped")
        assert "Before the next wave, guest/101.node is pve1, not pve2" in run.reason
        run = drive(shut_down(stage, ["101"], waves=(Wave(name="", steps=("s1",)),), after=(here,)), stage)
        assert (run.status.value, run.steps[0].phase.value) == ("failed", "done")
        assert "All steps are done, but" in run.reason
