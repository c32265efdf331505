"""``pveops up``: executor, pages and notebooks as supervised processes; with ``--sim`` a simulated cluster too."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from pveops.base.errors import ConfigError
from pveops.surfaces.cli.context import Output, command, out, print_json, say
from pveops.surfaces.cli.reads import OUTPUT
from pveops.surfaces.cli.running import Running

if TYPE_CHECKING:
    from types import FrameType

_TICK_S = 0.5
_MOST_RESTARTS = 5


def up(
    sim: bool = typer.Option(False, "--sim", help="Start a simulated cluster and use it."),
    headless: bool = typer.Option(False, "--headless", help="No JupyterLab and no pages: the executor (and the simulated cluster) only."),
    tour: bool = typer.Option(
        False, "--tour", help="With --sim: run the tour notebook, let a second process confirm its proposal, verify the audit, leave."
    ),
    profile: str = typer.Option(None, "--profile", "-p", help="Profile of config.toml; with --sim always sim."),
    lab_port: int = typer.Option(0, show_default=False, help="Port of JupyterLab; 8888 or the next free one if not given."),
    dash_port: int = typer.Option(0, show_default=False, help="Port of the pages; 5006 or the next free one if not given."),
    sim_port: int = typer.Option(0, show_default=False, help="Port of the simulated cluster; 8006 or the next free one if not given."),
    measure: bool = typer.Option(True, help="Run exporter and Prometheus where they are installed, so that measurements have a history."),
    nodes: int = typer.Option(3, help="Nodes of the simulated cluster."),
    guests: int = typer.Option(40, help="Guests of the simulated cluster."),
    speed: float = typer.Option(1.0, help="Simulated seconds per second."),
    output: Output = OUTPUT,
) -> None:
    """Start everything and keep it running until Ctrl-C."""
    from pveops.base.files import OwnerLock
    from pveops.settings.profile import resolve
    from pveops.surfaces.cli import services
    from pveops.surfaces.cli.measuring import start_measuring

    with command("up"):
        if tour and not sim:
            raise ConfigError("--tour needs --sim: it changes a guest.", hint="Run `pveops up --sim --headless --tour`.")
        home = services.choose_home(os.environ, sim=sim)
        lock = OwnerLock(home.make().root / "up.lock", "`pveops up`")
        lock.acquire()
        running = Running()
        _on_signal(running)
        try:
            if sim:
                profile = services.start_sim(running, home, port=sim_port, nodes=nodes, guests=guests, speed=speed)
            services.start_executor(running, home, profile)
            if not headless:
                dash_port = services.pick_port(dash_port, 5006)
                if measure:
                    services.page_token(home)
                    start_measuring(running, home, resolve(profile, home, os.environ), pages_port=dash_port)
                services.start_pages(running, home, profile, lab_port=lab_port, dash_port=dash_port)
            if tour:
                code = services.run_tour(home, profile)
                raise typer.Exit(code)
            _tell(running, output, home=str(home.root))
            _supervise(running)
        finally:
            running.stop()
            lock.release()


def _on_signal(running: Running) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        running.stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, stop)  # the terminal was closed


def _tell(running: Running, output: Output, *, home: str) -> None:
    facts: dict[str, Any] = {"PVEOPS_HOME": home, **running.told, "pids": {name: child.pid for name, child in running.children.items()}}
    if output is Output.JSON:
        print_json(facts)
    else:
        console = out()
        for name, text in running.told.items():
            console.print(f"{name:<18} {text}", markup=False)
        console.print(f"{'PVEOPS_HOME':<18} {home}", markup=False)
        say(
            "Up. Ctrl-C ends all of it; closing a page or notebook ends nothing." if "JupyterLab" in running.told else "Up. Ctrl-C ends it."
        )
    sys.stdout.flush()


def _supervise(running: Running) -> None:
    """Until told to stop: restart what dies, give up on what keeps dying."""
    while not running.stopped:
        for name, child in running.children.items():
            if child.code is None:
                continue
            running.restarts[name] = running.restarts.get(name, 0) + 1
            if running.restarts[name] > _MOST_RESTARTS:
                raise ConfigError(f"{child.name} ended {_MOST_RESTARTS} times (code {child.code}): {child.said[-500:]}")
            say(f"{child.name} ended (code {child.code}) and is started again.", "yellow")
            child.start()
        time.sleep(_TICK_S)
    say("Stopping.")
