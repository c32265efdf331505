"""Runs the executor until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Mapping

import uvicorn

from pveops.app.executor import Parts, build
from pveops.base.errors import ConfigError, PveopsError
from pveops.base.files import short_socket_path
from pveops.observe.logs import set_up
from pveops.settings.home import Home
from pveops.surfaces.daemon.peer import PeerProtocol
from pveops.surfaces.daemon.routes import News, make_app

_LOG = logging.getLogger("pveops.executor")
_SWEEP_S = 1.0


def serve(home: Home, profile: str | None, env: Mapping[str, str]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code.

    Raises:
        ConfigError: it cannot start; nothing is left behind.
    """
    news = News()
    parts = build(home, profile, env, on_news=news.ring)
    try:
        set_up(home.log("executor"))
        listening = _listen(home, parts.socket_group)
        try:
            found = parts.start()
            say(parts, found)
            _run(parts, news, listening)
        finally:
            listening.close()
            home.socket.unlink(missing_ok=True)
    finally:
        parts.stop()
    return 0


def serve_helper(home: Home, profile: str | None, env: Mapping[str, str]) -> int:
    """Carry runs of a shared store until SIGTERM or SIGINT, without a socket; returns the exit code.

    Raises:
        ConfigError: it cannot start; nothing is left behind.
    """
    parts = build(home, profile, env, helper=True)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    try:
        set_up(home.log(f"worker-{parts.peers.worker}"))
        parts.start()
        sys.stderr.write(f"Worker {parts.peers.worker} carries runs of {next(iter(parts.clusters))}.\n")
        sys.stderr.flush()
        told.wait()
    finally:
        parts.stop()
    return 0


def say(parts: Parts, found: list[str]) -> None:
    """Tell on stderr who runs, for what, and what was found."""
    name = next(iter(parts.clusters))
    lines = [f"Executor {parts.executor.identity} holds the write token of {name}; it listens on {parts.home.socket}."]
    if found:
        lines.append(f"{len(found)} runs were under way and go on from their journal.")
    state = parts.kill.state()
    if state.on:
        lines.append(f"The kill switch is ON ({state.why or 'no reason given'}): nothing is written.")
    if parts.policy.fault:
        lines.append(f"There is no usable policy ({parts.policy.fault}): nothing is allowed.")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
    _LOG.info("started", extra={"executor": parts.executor.identity, "cluster": name, "runs_found": len(found)})


def _listen(home: Home, group: str) -> socket.socket:
    """The socket, for our own user only, or for one group too. A file that a dead executor left is replaced: we hold the lock."""
    home.socket.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(short_socket_path(home.socket))
        home.socket.chmod(0o600)
        if group:
            shutil.chown(home.socket, group=group)
            home.socket.chmod(0o660)
        listening.listen(256)
    except (OSError, LookupError) as err:
        listening.close()
        raise ConfigError(f"Cannot listen on {home.socket}: {err}.", hint="Check the folder, or set PVEOPS_HOME elsewhere.") from err
    return listening


def _run(parts: Parts, news: News, listening: socket.socket) -> None:
    config = uvicorn.Config(
        make_app(parts, news),
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    done = threading.Event()

    def sweep() -> None:
        while not done.wait(_SWEEP_S):
            try:
                parts.seal.tick()
            except PveopsError as err:
                _LOG.critical("the ledger could not be sealed", extra={"error": err.message})

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn gives the signal back once it has ended; we still have to sign and to let go
    sweeper = threading.Thread(target=sweep, name="sweep", daemon=True)
    sweeper.start()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        done.set()
        sweeper.join()
