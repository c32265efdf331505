"""Notebooks, runbook, tour and wheel, each as a new user would run it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest

from pveops.base.errors import InputError
from pveops.runbooks import Outcome, outcome
from pveops.runbooks.engine import declared, run
from pveops.testing.stack import Stack, run_cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]


class Approver:
    """A person in a terminal: confirms whatever waits, in a process of its own."""

    def __init__(self, stack):
        self.stack, self.done, self.approved = stack, threading.Event(), []
        self.thread = threading.Thread(target=self.work)

    def work(self):
        while not self.done.wait(0.3):
            for view in self.stack.client("viewer").proposals(only_open=True):
                if view.proposal.status.value == "waiting":
                    ran = self.stack.cli("proposals", "approve", view.proposal.id, "--yes")
                    self.approved.append((view.proposal.id, ran.returncode))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("content"), guests=15, speed=20) as running:
        yield running


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run_from_top_to_bottom(stack, tmp_path, notebook):
    copy = shutil.copy(notebook, tmp_path)
    with Approver(stack) as person:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tmp_path), "-W", "ignore", str(copy)],
            env={**stack.env, "PVEOPS_PRINCIPAL": "runbook"}, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=240,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]
    changes = notebook.stem in ("01-tour", "02-change-with-approval")
    assert [code for _, code in person.approved] == ([0] if changes else []), "the others only read"


@pytest.mark.parametrize(
    "notebook", sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "runbooks").glob("*.ipynb")]), ids=lambda path: path.stem
)
def test_notebooks_hold_no_output_and_no_approval(notebook):
    book = nbformat.read(notebook, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert ".approve(" not in cell.source


def test_a_runbook_that_nobody_approves_changes_nothing(stack, tmp_path):
    before = len(stack.writes())
    ran = stack.cli(
        "runbook",
        "run",
        "guest-not-answering",
        "-p",
        "wait_s=2",
        "--output-notebook",
        str(tmp_path / "r.ipynb"),
        principal="runbook",
        timeout_s=120,
    )
    assert ran.returncode == 6, ran.stderr
    assert ran.stdout.startswith("not approved: Nobody decided")
    assert len(stack.writes()) == before
    assert stack.client().proposals(limit=1)[0].proposal.status.value == "withdrawn"


def test_a_runbook_that_is_approved_elsewhere_does_its_work(stack, tmp_path):
    before = len(stack.writes())
    with Approver(stack):
        ran = stack.cli(
            "runbook",
            "run",
            "guest-not-answering",
            "-p",
            "wait_s=60",
            "--output-notebook",
            str(tmp_path / "r.ipynb"),
            principal="runbook",
            timeout_s=200,
        )
    assert ran.returncode == 0, ran.stderr
    assert "runs again" in ran.stdout
    view = stack.client().proposals(limit=1)[0]
    assert (view.proposal.requester, view.proposal.author, view.proposal.decided_by) == (
        "runbook",
        "runbook:guest-not-answering",
        "operator",
    )
    assert [row["path"].rsplit("/", 1)[-1] for row in stack.writes()[before:]] == ["snapshot", "reboot"]


def test_parameters_that_are_not_declared_never_become_code(tmp_path):
    notebook = ROOT / "runbooks" / "guest-not-answering.ipynb"
    assert set(declared(notebook)) == {"guest", "wait_s", "reboot_timeout_s"}
    for name in ("z=0; import os #", "nosuch"):
        with pytest.raises(InputError, match="declares no parameter"):
            run(notebook, tmp_path / "r.ipynb", {name: "x"})
    with pytest.raises(InputError, match="must be"):
        run(notebook, tmp_path / "r.ipynb", {"guest": ["x"]})
    assert not (tmp_path / "r.ipynb").exists()


def test_a_runbook_whose_cell_raises_is_broken_and_not_done(tmp_path):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0"), nbformat.v4.new_code_cell("x = 1")])
    nbformat.write(book, tmp_path / "b.ipynb")
    ended = run(tmp_path / "b.ipynb", tmp_path / "r.ipynb", {})
    assert (ended.ending, ended.text) == ("broken", "ZeroDivisionError: division by zero")
    assert (tmp_path / "r.ipynb").exists()


def test_outcomes_are_one_of_a_few_words():
    assert outcome("done", "it runs").ending == "done"
    assert Outcome.of("denied", "x").ending == "not approved"
    assert Outcome.of("something new", "x").ending == "unknown"
    with pytest.raises(ValueError, match="no ending"):
        outcome("splendid", "x")


def test_the_tour_without_a_screen(tmp_path):
    env = {**{key: value for key, value in os.environ.items() if not key.startswith("PVEOPS_")}, "PVEOPS_HOME": str(tmp_path / "home")}
    ran = run_cli(["up", "--sim", "--headless", "--tour", "--speed", "10"], env=env, timeout_s=200)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "A second process confirms p-" in ran.stderr
    assert "The ledger is whole" in ran.stderr
    verified = run_cli(["audit", "verify", "-o", "json"], env=env)
    assert json.loads(verified.stdout)["ok"] is True


def test_a_second_up_on_the_same_home_is_refused_and_the_first_goes_on(tmp_path):
    env = {**{key: value for key, value in os.environ.items() if not key.startswith("PVEOPS_")}, "PVEOPS_HOME": str(tmp_path / "home")}
    first = subprocess.Popen(
        [sys.executable, "-m", "pveops", "up", "--sim", "--headless", "-o", "json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told = json.loads(first.stdout.readline())
        second = run_cli(["up", "--sim", "--headless"], env=env)
        assert second.returncode == 3
        assert "already runs" in second.stderr
        assert run_cli(["nodes", "ls"], env=env).returncode == 0
        os.kill(told["pids"]["executor"], signal.SIGKILL)
        deadline = time.monotonic() + 20
        while run_cli(["executor", "status"], env=env).returncode and time.monotonic() < deadline:
            time.sleep(0.3)
        assert run_cli(["executor", "status"], env=env).returncode == 0, "it was started again"
    finally:
        first.terminate()
        _, said = first.communicate(timeout=30)
    assert first.returncode == 0
    assert "started again" in said
    for pid in told["pids"].values():
        assert not Path(f"/proc/{pid}").exists() or "pveops" not in Path(f"/proc/{pid}/cmdline").read_text()


def test_the_wheel_works_elsewhere(tmp_path):
    """Built, installed without any extra into an empty environment, and used from another folder."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if uv is None:
        pytest.skip("uv is not installed")
    built = subprocess.run(
        [uv, "build", "-q", "--wheel", "--out-dir", str(tmp_path), str(ROOT)], capture_output=True, text=True, check=False
    )
    if built.returncode and "dns error" in built.stderr.lower():
        pytest.skip("no package index can be reached")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "-q", "--python", str(python), "-c", str(ROOT / "requirements.lock"), str(wheel)],
        check=True,
        env={**os.environ, "UV_REQUIRE_HASHES": "0"},
    )
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PVEOPS_HOME": str(tmp_path / "home")}
    pveops = str(tmp_path / "venv" / "bin" / "pveops")
    up = subprocess.Popen(
        [pveops, "up", "--sim", "--headless", "-o", "json"],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told = json.loads(up.stdout.readline() or "{}")
        assert "Executor" in told, up.stderr.read() if up.poll() is not None else told
        for words in (["nodes", "ls"], ["guests", "ls"], ["audit", "verify"], ["do", "guest.snapshot", "101", "from-the-wheel"]):
            ran = subprocess.run([pveops, *words], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stderr
        said = subprocess.run(
            [pveops, "up", "--sim"],
            env={**env, "PVEOPS_HOME": str(tmp_path / "other")},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 3
        assert "pip install 'pveops[all]'" in said.stderr
    finally:
        up.terminate()
        up.communicate(timeout=30)
    assert up.returncode == 0
    listing = subprocess.run([sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True).stdout
    for name in (
        "content/notebooks/01-tour.ipynb",
        "content/runbooks/guest-not-answering.ipynb",
        "content/dashboards/cluster.py",
        "policies/homelab.cedar",
        "schema.cedarschema",
        "static/card.js",
        "py.typed",
    ):
        assert name in listing, name
