"""What people get wrong, through the command line and on real processes: one paragraph that says what to do, an exit code, nothing half done."""

import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from pveops.app.ops import connect
from pveops.testing.stack import Stack, run_cli
from pveops.testing.tls import self_signed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("bad"), guests=12) as running:
        yield running


def paragraph(ran, code):
    """One paragraph on stderr with a correlation id, no data, no traceback."""
    assert ran.returncode == code, (ran.returncode, ran.stdout, ran.stderr)
    assert ran.stdout == ""
    said = ran.stderr.strip()
    assert said
    assert "Traceback" not in said
    assert "\n\n" not in said
    assert len(said.splitlines()) == 1
    return said


def dead_url():
    """An address that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"https://127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def silent_url():
    """An address that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


def env_of(stack, **changes):
    """The sim as a profile in the environment, to be bent."""
    from pathlib import Path

    token = stack.info["tokens"]["reader"]
    home = Path(stack.root) / f"home-{time.monotonic_ns()}"
    base = {
        "PATH": "/usr/bin:/bin",
        "PVEOPS_HOME": str(home),
        "PVEOPS_URLS": stack.info["url"],
        "PVEOPS_READ_TOKEN": token,
        "PVEOPS_CA": stack.info["ca"],
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["do", "guest.show", "nosuch"], 2, "There is no guest nosuch"),
        (["do", "guest.show", "web1"], 2, "Did you mean"),
        (["do", "guest.reboot", "99999"], 2, "There is no guest 99999"),
        (["do", "guest.reboot", "101/../../x"], 2, "neither the id nor the name"),
        (["do", "guest.reboot", "101%2f..%2f"], 2, "neither the id nor the name"),
        (["do", "guest.reboot", ""], 2, "No guest is named"),
        (["do", "guest.migrate", "101", "pve9"], 2, "There is no node called pve9"),
        (["do", "guest.migrate", "101", "pve1/../pve2"], 2, "cannot be the name of a node"),
        (["do", "guest.migrate", "101", "pve1"], 2, "is on pve1 already"),
        (["do", "guest.start", "101"], 2, "already; nothing to start"),
        (["do", "guest.start", "102"], 2, "is a template"),
        (["do", "guest.snapshot", "101", "current"], 2, "present state"),
        (["do", "guest.snapshot", "101"], 2, "guest.snapshot needs name"),
        (["do", "guest.explode", "101"], 2, "There is no tool called guest.explode"),
        (["do", "guest.reboot", "101", "--frce", "1"], 2, "has no argument frce"),
        (["do", "guest.reboot", "tag:nosuchtag"], 2, "No guest carries the tag"),
        (["do", "task.log", "UPID:x"], 2, "is no task id"),
        (["do", "guest.show", "101", "102"], 2, "does not take"),
        (["tasks", "ls", "--since", "yesterday"], 2, "is not a duration"),
        (["backups", "ls", "--storage", "nosuch"], 2, "There is no storage called nosuch"),
        (["guests", "ls", "--profile", "nosuch"], 3, "There is no profile called nosuch"),
        (["proposals", "show", "p-000000"], 2, "There is no proposal"),
        (["proposals", "approve", "xyz"], 2, "is no id of a proposal"),
        (["proposals", "resolve", "p-000000", "maybe"], 2, "cannot be said"),
        (["kill", "off", "--why", " "], 2, "wants a reason"),
        (["up", "--tour"], 3, "--tour needs --sim"),
        (["runbook", "run", "nosuch"], 2, "There is no runbook called nosuch"),
        (["runbook", "run", "nosuch.ipynb"], 2, "There is no notebook nosuch.ipynb"),
        (["guests", "ls", "--node", "nosuch"], 2, "There is no node called nosuch"),
        (["do", "guest.migrate", "101"], 2, "guest.migrate needs target"),
    ],
)
def test_wrong_words(stack, words, code, said):
    before = len(stack.writes())
    assert said in paragraph(stack.cli(*words), code)
    assert len(stack.writes()) == before


def test_an_ambiguous_name_is_refused_with_its_candidates(stack):
    import requests

    user, _, value = stack.info["tokens"]["admin"].partition("=")
    guests = stack.ops().guests().set_index("vmid")
    requests.put(
        f"{stack.info['url']}/api2/json/nodes/{guests.loc[103, 'node']}/qemu/103/config", data={"name": "web-1"}, verify=stack.info["ca"], timeout=10,
        headers={"Authorization": f"PVEAPIToken={user}={value}"},
    ).raise_for_status()  # fmt: skip
    deadline = time.monotonic() + 5
    while (stack.ops().guests()["name"] == "web-1").sum() < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    said = paragraph(stack.cli("do", "guest.reboot", "web-1"), 2)
    assert "2 guests are called web-1" in said
    assert "101 on" in said
    assert "103 on" in said
    assert stack.cli("do", "guest.show", "101").returncode == 0


def test_an_unreachable_cluster(stack):
    url = dead_url()
    said = paragraph(run_cli(["nodes", "ls"], env=env_of(stack, PVEOPS_URLS=url)), 4)
    assert "gives no connection (refused)" in said
    both = paragraph(run_cli(["nodes", "ls"], env=env_of(stack, PVEOPS_URLS=f"{url},{url.replace('127.0.0.1', 'localhost')}")), 4)
    assert "None of the 2 endpoints answers" in both


def test_a_dead_first_endpoint_is_passed_over(stack):
    url = f"{dead_url()},{stack.info['url']}"
    ran = run_cli(["nodes", "ls"], env=env_of(stack, PVEOPS_URLS=url))
    assert ran.returncode == 0, ran.stderr
    assert "pve1" in ran.stdout
    with silent_url() as silent:
        # a node that takes connections and says nothing costs the connection timeout once, then it is asked last
        ops = connect(env={**env_of(stack), "PVEOPS_URLS": f"{silent},{stack.info['url']}"}, check=False)
        started = time.monotonic()
        assert len(ops.nodes()) == 3
        first = time.monotonic() - started
        started = time.monotonic()
        ops.nodes()
        assert time.monotonic() - started < 1.0 < first


def test_a_wrong_token_is_refused_once_and_not_tried_again(stack):
    before = len(stack.requests())
    started = time.monotonic()
    said = paragraph(run_cli(["nodes", "ls"], env=env_of(stack, PVEOPS_READ_TOKEN="reader@pve!x=00000000-0000-4000-8000-000000000000")), 5)
    assert time.monotonic() - started > 2.9, "Proxmox VE answers a wrong token after 3 s"
    assert "refused the token (401" in said
    assert "Renew it" in said
    assert len(stack.requests()) == before + 1
    assert "00000000-0000" not in said


def test_a_token_of_the_wrong_form_is_not_sent(stack):
    before = len(stack.requests())
    assert "has not the form" in paragraph(run_cli(["nodes", "ls"], env=env_of(stack, PVEOPS_READ_TOKEN="hunter2")), 3)
    assert len(stack.requests()) == before


def test_a_wrong_certificate(stack, tmp_path):
    before = len(stack.requests())
    other = self_signed(tmp_path / "other.pem")
    for changes in ({"PVEOPS_FINGERPRINTS": other}, {"PVEOPS_CA": str(tmp_path / "other.pem")}, {"PVEOPS_CA": None}):
        said = paragraph(run_cli(["nodes", "ls"], env=env_of(stack, **changes)), 4)
        assert "not the one this profile trusts" in said
    assert len(stack.requests()) == before, "nothing was sent, the token least of all"
    good = run_cli(["nodes", "ls"], env=env_of(stack, PVEOPS_CA=None, PVEOPS_FINGERPRINTS=stack.info["fingerprint"]))
    assert good.returncode == 0, good.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PVEOPS_CA": "/nowhere/ca.pem"}, "is not there"),
        ({"PVEOPS_CA": None, "PVEOPS_FINGERPRINTS": "AA:BB"}, "is no SHA-256 fingerprint"),
        ({"PVEOPS_URLS": "http://127.0.0.1:8006"}, "is no address of a Proxmox VE node"),
        ({"PVEOPS_URLS": "https://user:pw@127.0.0.1"}, "is no address"),
        ({"PVEOPS_URLS": "https://127.0.0.1:99999"}, "has no usable port"),
        ({"PVEOPS_READ_TOKEN": None}, "has no read token"),
        ({"PVEOPS_URLS": None}, "No cluster is set up yet"),
        ({"PVEOPS_HOME": "/etc/hostname"}, "is no folder"),
    ],
)
def test_a_broken_environment(stack, changes, said):
    assert said in paragraph(run_cli(["nodes", "ls"], env=env_of(stack, **changes)), 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profiles.x", "is no valid TOML"),
        ("colour = 1", "colour: Extra inputs are not permitted"),
        ('[profiles.x]\nurls = "https://a"', "profiles.x.urls"),
        ("[profiles.x]\ntimeout_s = -1", "greater than 0"),
        ("[executor]\napproval_ttl_s = 1", "approval_ttl_s"),
    ],
)
def test_a_broken_config_file(stack, tmp_path, text, said):
    (tmp_path / "config.toml").write_text(text)
    assert said in paragraph(run_cli(["nodes", "ls"], env={"PVEOPS_HOME": str(tmp_path), "PATH": "/usr/bin"}), 3)
    assert (tmp_path / "config.toml").read_text() == text


def test_missing_privileges_are_named(stack):
    noperm = env_of(stack, PVEOPS_READ_TOKEN=stack.info["tokens"]["noperm"])
    guests = run_cli(["guests", "ls"], env=noperm)
    assert guests.returncode == 0
    assert "VM.Audit" in guests.stderr or "token may not see all" in guests.stderr
    assert "Not seen" in guests.stderr
    said = paragraph(run_cli(["do", "guest.show", "101"], env=noperm), 2)
    assert "that this token may see" in said
    listed = run_cli(["guests", "ls", "-o", "json"], env=noperm)
    assert '"status": "partial"' in listed.stdout or '"status":"partial"' in listed.stdout
    checked = run_cli(["init", "--check", "--profile", "sim"], env={**noperm, "PVEOPS_HOME": str(stack.home.root)})
    assert checked.returncode == 5
    assert "missing  VM.Audit on /vms" in checked.stderr


def test_a_port_that_is_taken(stack, tmp_path):
    port = stack.info["url"].rpartition(":")[2]
    env = {"PVEOPS_HOME": str(tmp_path / "h"), "PATH": "/usr/bin"}
    ran = run_cli(["up", "--sim", "--headless", "--sim-port", port], env=env)
    assert f"Port {port} is taken" in paragraph(ran, 3)
    served = run_cli(["sim", "serve", "--port", port, "--info", str(tmp_path / "info.json")], env=env)
    assert served.returncode == 3
    assert "Traceback" not in served.stderr
    assert not (tmp_path / "info.json").exists()


def test_a_second_executor_on_the_same_home(stack):
    said = run_cli(["executor", "run"], env=stack.env)
    assert said.returncode == 3
    assert f"An executor already runs on {stack.home.root / 'executor'} (pid {stack.executor.pid})" in said.stderr
    assert "Traceback" not in said.stderr
    assert stack.client().info().pid == stack.executor.pid


def test_no_executor(tmp_path, stack):
    stack.executor.stop()
    try:
        said = paragraph(stack.cli("proposals", "ls"), 7)
        assert "pveops executor run" in said
        assert stack.cli("nodes", "ls").returncode == 0, "reading works without it"
        killed = stack.cli("kill", "on", "--why", "no executor here")
        assert killed.returncode == 0, "stopping works without it"
        assert stack.cli("kill", "status").returncode == 6
    finally:
        stack.start_executor()
    assert stack.cli("kill", "off", "--why", "back again").returncode == 0
    assert stack.cli("audit", "verify").returncode == 0


def test_a_credential_that_is_missing_or_open_to_others(stack):
    assert "Cannot read the credential" in paragraph(stack.cli("proposals", "ls", principal="nobody"), 3)
    assert "cannot be the name of a principal" in paragraph(stack.cli("proposals", "ls", principal="../../etc/passwd"), 3)
    path = stack.home.credential("viewer")
    path.chmod(0o644)
    try:
        assert "others may read it" in paragraph(stack.cli("proposals", "ls", principal="viewer"), 3)
    finally:
        path.chmod(0o600)


def test_an_unknown_command_is_a_usage_error(stack):
    ran = stack.cli("nods", "ls")
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr


def test_importing_costs_nothing():
    code = "import time;t=time.perf_counter();import pveops;print(time.perf_counter()-t)"
    best = min(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) for _ in range(3))
    assert best < 0.3
