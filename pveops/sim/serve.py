"""Starts and ends the process of a simulated cluster."""

from __future__ import annotations

import asyncio
import errno
import gc
import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from aiohttp import web

from pveops.base.errors import ConfigError, InputError, PveopsError
from pveops.base.files import OwnerLock, write_whole
from pveops.base.seed import read_seed
from pveops.sim import certs
from pveops.sim.clock import SimClock
from pveops.sim.control import Control
from pveops.sim.doors import Doors
from pveops.sim.faults import scenario
from pveops.sim.faults.engine import Faults
from pveops.sim.faults.spec import Stage
from pveops.sim.faults.weather import Weather
from pveops.sim.listen import listen
from pveops.sim.release import NINE, RELEASES
from pveops.sim.reqlog import RequestLog
from pveops.sim.seed.describe import describe
from pveops.sim.seed.people import LOGINS, TOKENS, people
from pveops.sim.server import Edge, canonical_url
from pveops.sim.telemetry.emission import Emission, Sinks
from pveops.sim.world import World

DEFAULT_SEED = 20_261
MOST_NODES = 100
MOST_GUESTS = 10_000
_MOST_SPEED = 100_000.0
_LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What a simulated cluster is to be.

    Args:
        info: the file that gets one JSON object when the cluster is ready.
        nodes: 1 to 100.
        guests: 3 to 10,000.
        port: 0 takes any free one.
        host: the address to listen on.
        speed: simulated seconds per real second.
        latency_ms: real milliseconds that every answer waits, after the effect of the request has happened.
        seed: chooses the cluster; the same seed gives the same one.
        request_log: a file that gets a line for every request received and answered.
        state_dir: a folder that keeps the certificate authority and the secrets from start to start.
        ha_guests: how many guests high availability manages.
        inventory: a JSON file that describes the cluster; then nodes and guests are taken from it.
        seed_file: a seed, as ``pveops twin look`` writes one; then nodes and guests are taken from it.
        start_s: the simulated time at the start, seconds since the epoch; when not given the real time, or that of the seed.
        scenario: a file that says which faults begin when.
        metrics_port: a port for scrapers (plain HTTP), 0 takes any free one; none when not given.
        sinks: where log lines go.
        pve: the version of Proxmox VE, ``9.2`` or ``8.4``.
        per_node: give each node an address of its own too; it closes when the node is away.
    """

    info: Path
    nodes: int = 3
    guests: int = 40
    port: int = 8006
    host: str = "127.0.0.1"
    speed: float = 1.0
    latency_ms: float = 0.0
    seed: int = DEFAULT_SEED
    request_log: Path | None = None
    state_dir: Path | None = None
    ha_guests: int = 0
    inventory: Path | None = None
    seed_file: Path | None = None
    start_s: float | None = None
    scenario: Path | None = None
    metrics_port: int | None = None
    sinks: Sinks = field(default_factory=Sinks)
    pve: str = NINE.name
    per_node: bool = False

    def check(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            InputError: which, and what is allowed.
        """
        limits: tuple[tuple[str, float, float, float], ...] = (
            ("--nodes", self.nodes, 1, MOST_NODES),
            ("--guests", self.guests, 3, MOST_GUESTS),
            ("--port", self.port, 0, 65535),
            ("--metrics-port", self.metrics_port or 0, 0, 65535),
            ("--speed", self.speed, 0.001, _MOST_SPEED),
            ("--latency-ms", self.latency_ms, 0, 600_000),
            ("--ha-guests", self.ha_guests, 0, self.guests),
        )
        if self.inventory is not None and self.seed_file is not None:
            raise InputError("A cluster comes from --inventory or from --seed-file, not from both.", hint="Leave one of them out.")
        if self.pve not in RELEASES:
            raise InputError(f"--pve is {self.pve!r} and must be one of {', '.join(RELEASES)}.", hint="Run with --help for what it means.")
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise InputError(f"{name} is {value:g} and must be from {low:g} to {high:g}.", hint="Run with --help for what it means.")
        self.sinks.check()


def run(options: ServeOptions) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end, else the exit code of the error, which is told on stderr in one sentence."""
    try:
        options.check()
        _check_writable(options.info)
        asyncio.run(_serve(options))
    except PveopsError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code
    except KeyboardInterrupt:
        return 0
    return 0


def _check_writable(info: Path) -> None:
    """Refuse a place for the info file that cannot be written, before anything is started.

    Raises:
        ConfigError: which, and why.
    """
    try:
        info.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if info.is_dir() or not os.access(info.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as err:
        raise ConfigError(f"Cannot write {info}: {err.strerror}.", hint="Name a file in a folder that you may write.") from err


def _description(options: ServeOptions, start_s: float) -> dict[str, Any]:
    if options.seed_file is not None:
        return {**read_seed(options.seed_file), **people()}
    if options.inventory is None:
        return describe(nodes=options.nodes, guests=options.guests, seed=options.seed, start_s=start_s, ha_guests=options.ha_guests)
    try:
        found: dict[str, Any] = json.loads(options.inventory.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ConfigError(
            f"Cannot read the inventory {options.inventory}: {err}.", hint="It must be one JSON object that describes a cluster."
        ) from err
    return found


def _start_s(options: ServeOptions) -> float:
    """The simulated moment of the start: as asked for, else when the seed was taken, else now."""
    if options.start_s is not None:
        return options.start_s
    return float(read_seed(options.seed_file)["taken_s"]) if options.seed_file is not None else time.time()


def make_world(options: ServeOptions, start_s: float, secret: Callable[[str], str]) -> World:
    """The world at its start.

    Args:
        options: which cluster.
        start_s: simulated seconds since the epoch.
        secret: makes passwords and token secrets from names.

    Raises:
        ConfigError: the inventory cannot be read, or describes no cluster.
    """
    description = _description(options, start_s)
    try:
        return World(
            description, seed=options.seed, start_s=start_s, secrets=secret, ticket_key=os.urandom(32), release=RELEASES[options.pve]
        )
    except (KeyError, TypeError, ValueError) as err:
        file = f"inventory {options.inventory}" if options.inventory else f"seed {options.seed_file}"
        raise ConfigError(f"The {file} does not describe a cluster: {err!r}.", hint="See pveops/sim/seed/build.py.") from err


class _Home:
    """The folder for certificates and secrets: the one that was named, or a temporary one that vanishes at the end."""

    def __init__(self, folder: Path | None) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="pveops-sim-"))
        self._lock = OwnerLock(self.folder / "sim.lock", "A simulated cluster")

    def open(self) -> Callable[[str], str]:
        """Take the folder; the result makes secrets from names, the same ones as at the last start in this folder."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
            file = self.folder / "secret"
            if not file.exists():
                write_whole(file, secrets.token_hex(32).encode())
            base = file.read_bytes()
        except OSError as err:
            raise ConfigError(f"Cannot use the folder {self.folder}: {err.strerror}.", hint="Check its owner and mode.") from err
        return lambda name: str(uuid.UUID(bytes=sha256(base + name.encode()).digest()[:16], version=4))

    def close(self) -> None:
        """Give the folder back, or remove it."""
        self._lock.release()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


async def _serve(options: ServeOptions) -> None:
    stop = _prepare_loop()
    steps = scenario.read(options.scenario) if options.scenario is not None else []
    listener = listen(options.host, options.port)
    home = _Home(options.state_dir)
    log = runner = doors = watching = emission = None
    try:
        secret = home.open()
        log = RequestLog(options.request_log)
        start_s = _start_s(options)
        world = make_world(options, start_s, secret)
        names = ["localhost", *world.cluster.nodes]
        addresses = dict.fromkeys([*_LOOPBACK, *([options.host] if options.host[0].isdigit() else [])])
        desk = certs.Desk(home.folder, names, addresses, shift_s=start_s - time.time())
        world.desk = desk
        world.certificates = dict.fromkeys(world.cluster.nodes, desk.own.facts)
        gc.freeze()  # what exists now stays: collections need not look at thousands of guests again and again
        for node in world.cluster.nodes.values():
            node.fingerprint = desk.own.fingerprint
        clock = SimClock(start_s, options.speed)
        faults = Faults(world, Stage(world, Weather(options.seed), desk))
        faults.play(steps)
        control = Control(world, clock, faults, secrets.token_hex(8))
        doors = Doors(world, options.host, _ports(options, list(world.cluster.nodes)))
        edge = Edge(world, clock.now_s, control, faults, log, options.latency_ms / 1000, doors.names)
        runner = web.ServerRunner(web.Server(edge.handle, access_log=None), shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=desk.context()).start()
        await doors.sync(runner, desk.context())
        urls = _urls(options, listener, doors)
        emission = Emission(world, clock.now_s)
        told = await _emit(options, emission)
        _tell(options, world, edge, desk, secret, urls, {"control": f"{urls[0]}{control.root}", **told})
        if options.per_node:
            watching = asyncio.create_task(doors.watch(runner, desk.context(), clock.now_s))
        await asyncio.to_thread(importlib.import_module, "pveops.sim.physics.load")
        await stop.wait()
        options.info.unlink(missing_ok=True)
    finally:
        if watching is not None:
            watching.cancel()
        if doors is not None:
            doors.close()
        if emission is not None:
            await emission.close()
        if runner is not None:
            await runner.cleanup()
        listener.close()
        if log is not None:
            log.close()
        home.close()


async def _emit(options: ServeOptions, emission: Emission) -> dict[str, str]:
    """Start telemetry; the result is what the info file says about it."""
    told = {}
    emission.logs(options.sinks)
    if options.metrics_port is not None:
        listener = listen(options.host, options.metrics_port, "--metrics-port")
        await emission.metrics(listener)
        told["metrics"] = canonical_url(options.host, listener.getsockname()[1], "http")
    return told


def _tell(
    options: ServeOptions,
    world: World,
    edge: Edge,
    desk: certs.Desk,
    secret: Callable[[str], str],
    urls: list[str],
    more: dict[str, str],
) -> None:
    """Write the info file, and say on stderr what runs where; the first address is that of the whole cluster."""
    url = urls[0]
    ids = world.cluster.identities
    tokens = {short: f"{name}={found.secret}" for short, name in TOKENS.items() if (found := ids.token(name))}
    logins = {name: {"password": secret(name)} for name in LOGINS if name in ids.users}
    facts = {
        "url": url,
        "urls": urls[1:],
        "ca": str(desk.own.ca),
        "fingerprint": desk.own.fingerprint,
        "nodes": list(world.cluster.nodes),
        "version": world.release.version,
        "pid": os.getpid(),
        "speed": options.speed,
        "seed": options.seed,
        "control_ca": str(desk.trusted),
        "logins": logins,
        "tokens": tokens,
        **more,
    }
    write_whole(options.info, json.dumps(facts, indent=2).encode())
    answered, total = edge.counts
    sys.stderr.write(
        f"This is a SIMULATED Proxmox VE {world.release.name} cluster ({len(world.cluster.nodes)} nodes, {len(world.cluster.guests)} guests): "
        f"it answers {answered} of {total} methods at {url}\n"
    )
    sys.stderr.flush()


def _urls(options: ServeOptions, listener: socket.socket, doors: Doors) -> list[str]:
    """The address of the cluster, then those that clients may use: of the nodes where they have some."""
    ports = [int(listener.getsockname()[1]), *doors.ports.values()]
    found = [canonical_url(options.host, port) for port in ports]
    return found if len(found) > 1 else found * 2


def _ports(options: ServeOptions, names: list[str]) -> dict[str, int]:
    """The ports of the nodes: those after the port of the cluster, or any free ones."""
    if not options.per_node:
        return {}
    return {name: options.port + number if options.port else 0 for number, name in enumerate(names, 1)}


def _prepare_loop() -> asyncio.Event:
    """One thread for what takes long, as each keeps the memory in which it once printed a page; the event is set when the process is told to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(max_workers=1, thread_name_prefix="sim"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
