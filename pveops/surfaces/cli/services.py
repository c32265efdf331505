"""The processes of ``pveops up``: how each is started, when it is ready, and what people are told about it."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

import httpx

from pveops.app.content import copy_missing, folder
from pveops.app.processes import Child
from pveops.app.simulated import PROFILE, adopt, read_info
from pveops.base.errors import ConfigError, ExecutorUnavailable, PveopsError
from pveops.base.files import write_whole
from pveops.present.lab import LAB_SETTINGS
from pveops.settings.home import Home
from pveops.settings.profile import load_config, resolve
from pveops.surfaces.cli.context import say
from pveops.surfaces.cli.running import Running

_SECRETS = ("PVEOPS_WRITE_TOKEN", "CREDENTIALS_DIRECTORY", "VAULT_TOKEN")


def choose_home(env: Mapping[str, str], *, sim: bool) -> Home:
    """The home to use. A simulation never moves into the home of a real cluster: then it gets one of its own beside it.

    Raises:
        ConfigError: the home's settings cannot be read.
    """
    home = Home.find(env)
    if not sim or env.get("PVEOPS_HOME") or not set(load_config(home).profiles) - {PROFILE}:
        return home
    beside = Home(home.root.with_name(f"{home.root.name}-sim"))
    say(f"Your home {home.root} holds real clusters, so the simulation uses {beside.root}. Set PVEOPS_HOME to it for other commands.")
    return beside


def child_env(home: Home, profile: str | None, **more: str) -> dict[str, str]:
    """The environment of a process that may only read and propose: without the write token."""
    env = {key: value for key, value in os.environ.items() if key not in _SECRETS}
    return {**env, "PVEOPS_HOME": str(home.root), **({"PVEOPS_PROFILE": profile} if profile else {}), **more}


def start_sim(running: Running, home: Home, *, port: int, nodes: int, guests: int, speed: float) -> str:
    """Start the simulated cluster; returns its profile.

    Raises:
        ConfigError: it does not start; with what it said.
    """
    chosen = pick_port(port, 8006)
    info = home.root / "sim" / "info.json"
    info.parent.mkdir(mode=0o700, exist_ok=True)
    info.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "pveops", "sim", "serve", "--nodes", str(nodes), "--guests", str(guests), "--port", str(chosen), "--speed", str(speed),
        "--info", str(info), "--request-log", str(home.root / "sim" / "requests.jsonl"), "--state-dir", str(home.root / "sim" / "state"),
        "--metrics-port", "0",
    ]  # fmt: skip
    child = Child("The simulated cluster", command, env=child_env(home, None), log=home.root / "logs" / "sim.out").start()
    running.children["sim"] = child
    child.wait_ready(lambda: read_info(info) is not None, seconds=30)
    found = read_info(info) or {}
    adopt(home, found)
    running.told["Simulated cluster"] = f"{found['url']} ({nodes} nodes, {guests} guests; nothing of it is real)"
    return PROFILE


def start_executor(running: Running, home: Home, profile: str | None) -> None:
    """Start the executor, unless one of this home already answers.

    Raises:
        ConfigError: it does not start; with what it said.
    """
    target = resolve(profile, home, os.environ)
    if _executor_answers(home):
        running.told["Executor"] = f"already running on {home.socket}"
        return
    env = {**os.environ, "PVEOPS_HOME": str(home.root)}
    command = [sys.executable, "-m", "pveops", "executor", "run", "--profile", target.name]
    child = Child("The executor", command, env=env, log=home.root / "logs" / "executor.out").start()
    running.children["executor"] = child
    child.wait_ready(lambda: _executor_answers(home), seconds=30)
    running.told["Executor"] = f"{home.socket} (holds the write token of {target.name})"


def _executor_answers(home: Home) -> bool:
    from pveops.clients.executor import ExecutorClient
    from pveops.settings.credentials import load_credential

    try:
        credential = load_credential(home, "viewer")
        ExecutorClient(home.socket, credential.principal, credential.token).info()
    except (ExecutorUnavailable, ConfigError):
        return False
    except PveopsError:
        return True
    return True


def start_pages(running: Running, home: Home, profile: str | None, *, lab_port: int, dash_port: int) -> None:
    """Start JupyterLab and the pages at the same time, then wait for both.

    Raises:
        ConfigError: an extra is not installed, a port is taken, or one does not start.
    """
    missing = [name for name in ("jupyterlab", "panel", "anywidget") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"{', '.join(missing)} is not installed.", hint="Run `pip install 'pveops[all]'`, or start with --headless.")
    token = page_token(home)
    lab, lab_url, lab_ready = _lab(home, profile, pick_port(lab_port, 8888), token, running.env)
    dash, dash_url, dash_ready = _dash(home, profile, dash_port, token, running.env)
    running.children["lab"] = lab.start()
    running.children["dash"] = dash.start()
    lab.wait_ready(lambda: http_ok(lab_ready), seconds=60)
    dash.wait_ready(lambda: http_ok(dash_ready), seconds=60)
    running.told["JupyterLab"] = lab_url
    running.told["Dashboard"] = dash_url


def _lab(home: Home, profile: str | None, port: int, token: str, more: Mapping[str, str]) -> tuple[Child, str, str]:
    root = home.root / "lab"
    copy_missing("notebooks", root)
    copy_missing("runbooks", root / "runbooks")
    settings = home.root / "jupyter" / "labconfig" / "default_setting_overrides.json"
    write_whole(settings, json.dumps(LAB_SETTINGS, indent=1).encode(), mode=0o644)
    options = [
        "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}",
        "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.extension_manager=readonly",
        "--LabApp.expose_app_in_browser=True", *(("--allow-root",) if os.getuid() == 0 else ()),
    ]  # fmt: skip
    # the token travels in the environment: a command line is visible to every user of the machine
    env = child_env(home, profile, JUPYTER_TOKEN=token, JUPYTER_CONFIG_DIR=str(home.root / "jupyter"), JUPYTER_PREFER_ENV_PATH="1", **more)
    child = Child("JupyterLab", [sys.executable, "-m", "jupyterlab", *options], env=env, log=home.root / "logs" / "lab.out", cwd=root)
    return child, f"http://127.0.0.1:{port}/lab/tree/01-tour.ipynb?token={token}", f"http://127.0.0.1:{port}/api?token={token}"


def _dash(home: Home, profile: str | None, port: int, token: str, more: Mapping[str, str]) -> tuple[Child, str, str]:
    command = [sys.executable, "-m", "pveops.surfaces.dash", "--port", str(port), *(("--profile", profile) if profile else ())]
    env = child_env(home, profile, PVEOPS_PAGE_TOKEN=token, **more)
    child = Child("The dashboard", command, env=env, log=home.root / "logs" / "dash.out", cwd=folder("dashboards"))
    return child, f"http://127.0.0.1:{port}/cluster?token={token}", f"http://127.0.0.1:{port}/cluster?token={token}"


def page_token(home: Home) -> str:
    """The token of pages and notebooks; it lasts, so that a bookmark survives a restart."""
    path = home.root / "page.token"
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(24)
        write_whole(path, f"{token}\n".encode())
        return token


def pick_port(given: int, usual: int) -> int:
    """The given port, else the usual one or the next that is free.

    Raises:
        ConfigError: the given one is taken, or none is free.
    """
    if given:
        if not _free(given):
            raise ConfigError(f"Port {given} is taken.", hint="Choose another, or leave the option away: then the next free one is used.")
        return given
    for port in range(usual, usual + 50):
        if _free(port):
            if port != usual:
                say(f"Port {usual} is taken, so {port} is used.", "dim")
            return port
    raise ConfigError(f"No port from {usual} to {usual + 49} is free.", hint="End something, or name a port.")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def http_ok(url: str) -> bool:
    """Whether this address answers with 200 now."""
    try:
        return httpx.get(url, timeout=5.0, follow_redirects=True, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def run_tour(home: Home, profile: str | None) -> int:
    """Run the tour under the runbook's name, let a second process confirm its proposal, verify the ledger; returns the exit code.

    Raises:
        ConfigError: what runs notebooks is not installed.
    """
    if importlib.util.find_spec("papermill") is None:
        raise ConfigError("papermill is not installed.", hint="Run `pip install 'pveops[runbooks]'`.")
    notebook, result = folder("notebooks") / "01-tour.ipynb", home.root / "lab" / "01-tour.result.ipynb"
    result.parent.mkdir(parents=True, exist_ok=True)
    say(f"Running {notebook.name} as principal runbook, which may propose and cannot approve.")
    runner = [sys.executable, "-m", "pveops", "runbook", "run", str(notebook), "--output-notebook", str(result)]
    tour = Child("The tour", runner, env=child_env(home, profile, PVEOPS_PRINCIPAL="runbook"), log=home.root / "logs" / "tour.out").start()
    decided = _confirm_first(home, profile, tour)
    while tour.code is None:
        time.sleep(0.2)
    sys.stderr.write(tour.said + "\n")
    checked = subprocess.run([sys.executable, "-m", "pveops", "audit", "verify"], env=child_env(home, profile), check=False)
    if tour.code or decided or checked.returncode:
        say(
            f"The tour did not go well: notebook {tour.code}, approval {decided}, audit {checked.returncode}. See {home.root / 'logs'}.",
            "bold red",
        )
        return int(tour.code or decided or checked.returncode or 1)
    say(f"The tour went well. Its notebook with all results: {result}")
    return 0


def _confirm_first(home: Home, profile: str | None, tour: Child) -> int:
    """Wait for the tour's proposal, then confirm it from a process of its own, as a person in a terminal would."""
    env = child_env(home, profile, PVEOPS_PRINCIPAL=load_config(home).operator)
    while tour.code is None:
        listed = subprocess.run(
            [sys.executable, "-m", "pveops", "proposals", "ls", "--open", "-o", "json"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        waiting = (
            [row["proposal"]["id"] for row in json.loads(listed.stdout or "[]") if row["proposal"]["status"] == "waiting"]
            if listed.returncode == 0
            else []
        )
        if waiting:
            say(f"A second process confirms {waiting[0]}:")
            return subprocess.run(
                [sys.executable, "-m", "pveops", "proposals", "approve", waiting[0], "--yes"], env=env, check=False
            ).returncode
        time.sleep(0.3)
    return 1
