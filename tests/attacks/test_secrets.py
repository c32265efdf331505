"""Canaries: every secret of a running stack is looked for wherever it must not be, on real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from pveops.model.proposal import Origin
from pveops.settings.credentials import load_credential
from pveops.testing.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("canary"), guests=6, nodes=2) as running:
        yield running


@pytest.fixture(scope="module")
def canaries(stack):
    """The part of each secret that nobody may see."""
    found = {f"token {name}": stack.info["tokens"][name].partition("=")[2] for name in ("reader", "operator")}
    for principal in ("operator", "agent", "runbook", "viewer"):
        credential = load_credential(stack.home, principal)
        found[f"credential {principal}"] = credential.token.reveal()
        if credential.private_key is not None:
            found[f"key {principal}"] = credential.private_key.reveal()
    found["key of the ledger"] = stack.home.ledger_key.read_text().strip()
    return found


def look(text, canaries, where):
    for name, value in canaries.items():
        assert value not in text, f"{name} is in {where}"


def test_logs_ledger_store_and_messages(stack, canaries):
    """Secrets are put into everything that a person or model can write; then everything that was kept is searched."""
    secret = stack.info["tokens"]["operator"]
    ops, client = stack.ops(), stack.client()
    plan = ops.draft("guest.snapshot", guest="101", name="canary").plan
    view = client.propose(plan, author="person", origin=Origin(surface="test", place=f"token={secret}"))
    client.deny(view.proposal.id, f"I would rather use {secret} and {canaries['credential operator']}")
    client.kill(on=True, why=f"password={canaries['credential agent']}")
    said = [
        stack.cli("kill", "off", "--why", f"Authorization: PVEAPIToken={secret}"),
        stack.cli("audit", "ls"),
        stack.cli("audit", "export"),
    ]
    said += [stack.cli("nodes", "ls", env={"PVEOPS_READ_TOKEN": secret.replace("@pve", "@nowhere")}), stack.cli("secrets", "ls")]
    said += [
        stack.cli("do", "guest.show", secret),
        stack.cli("state", "doctor"),
        stack.cli("nodes", "ls", env={"PVEOPS_READ_TOKEN": secret[:-1] + " x"}),
    ]
    for ran in said:
        look(ran.stdout + ran.stderr, canaries, " ".join(ran.args[3:]))
    for path in stack.home.root.rglob("*"):
        private = path.parent.name == "credentials" or path.suffix in (".token", ".key")
        if path.is_file() and not private:
            look(path.read_text(encoding="utf-8", errors="replace"), canaries, path)
    for log in (stack.root / "executor.log", stack.root / "sim.log"):
        look(log.read_text(errors="replace"), canaries, log)


def test_the_process_list_and_the_environment_of_those_who_only_read(stack, canaries):
    from pveops.surfaces.cli.services import child_env

    for pid in (stack.executor.pid, stack.sim.pid):
        look(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace"), canaries, f"the command line of {pid}")
    given = {"PVEOPS_WRITE_TOKEN": "w", "CREDENTIALS_DIRECTORY": "/run/credentials/x", "VAULT_TOKEN": "v"}
    code = (
        "import json, os; from pathlib import Path; from pveops.settings.home import Home; from pveops.surfaces.cli.services import child_env; "
        "print(json.dumps(child_env(Home(Path('x')), None)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], env={**os.environ, **given}, capture_output=True, text=True, check=True)
    assert not given.keys() & json.loads(ran.stdout).keys()
    assert child_env is not None


def test_tracebacks(stack, canaries):
    """An error that nobody caught, with every local variable printed."""
    code = """
import os, sys, traceback
from pveops.settings.home import Home
from pveops.settings.profile import resolve
from pveops.settings.credentials import load_credential
from pveops.clients.executor import ExecutorClient

def work():
    home = Home.find(os.environ)
    target = resolve(None, home, os.environ)
    token, credential = target.write_token(), load_credential(home, "operator")
    found = target.chain.get(target.wanted("write"))
    client = ExecutorClient(home.socket, credential.principal, credential.token, credential.private_key)
    text = f"{token} {token!r} {credential} {found} {client!r} {target.chain!r}"
    raise RuntimeError(text)

try:
    work()
except RuntimeError as err:
    print("".join(traceback.TracebackException.from_exception(err, capture_locals=True).format()))
"""
    ran = subprocess.run([sys.executable, "-c", code], env=stack.env, capture_output=True, text=True, check=True)
    assert "RuntimeError" in ran.stdout
    assert "Secret(…)" in ran.stdout
    look(ran.stdout + ran.stderr, canaries, "a traceback")


def test_notebooks(stack, canaries, tmp_path):
    """What a kernel shows of everything in reach, and the error of a failed cell."""
    cells = [
        "import pveops\nops = pveops.connect()\nops",
        "display(ops.nodes()); display(vars(ops)); print(ops.executors.client(), vars(ops.executors.client()))",
        "ops.guest(101).draft = None\nops.draft('guest.reboot', guest='101')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    before = dict(os.environ)
    os.environ.update(stack.env)
    try:
        NotebookClient(
            notebook, timeout=60, allow_errors=True, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    text = nbformat.writes(notebook)
    assert "pve1" in text, text[-3000:]
    look(text, canaries, "a notebook")
