"""Wires the executor: the only importer of the cluster writer, the only holder of the write token."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from pveops.app.audit import Seal, open_ledger, open_notary
from pveops.app.cluster import FactReader, open_wire
from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import ConfigError, PveopsError
from pveops.base.files import OwnerLock, write_whole
from pveops.base.ids import is_id, new_id
from pveops.clients.cluster.write import Writer
from pveops.guard.audit import Ledger
from pveops.guard.audit.changes import Changes
from pveops.guard.dispatch import InProcess
from pveops.guard.dispatch_dbos import DbosDispatcher
from pveops.guard.events import RunEvent
from pveops.guard.executor import Executor
from pveops.guard.gate import Gate
from pveops.guard.grants import Mint
from pveops.guard.killswitch import KillSwitch
from pveops.guard.options import Options
from pveops.guard.peers import BEAT_S, Peers
from pveops.guard.policy import Policy
from pveops.guard.ports import Dispatcher
from pveops.guard.principals import Principals
from pveops.guard.runner import Runner
from pveops.settings.home import Home
from pveops.settings.profile import load_config, resolve
from pveops.store.engine import for_psycopg, open_engine, open_postgres
from pveops.store.journal import SqlJournal

_LOG = logging.getLogger("pveops.executor")
_WORKERS = 8


@dataclass(frozen=True, slots=True)
class HeldCluster:
    """A cluster with both its tokens."""

    name: str
    reader: FactReader
    writer: Writer


@dataclass(frozen=True, slots=True)
class Parts:
    """A wired executor, before its socket."""

    home: Home
    executor: Executor
    runner: Runner
    principals: Principals
    ledger: Ledger
    kill: KillSwitch
    policy: Policy
    journal: SqlJournal[RunEvent]
    dispatcher: Dispatcher
    peers: Peers
    clusters: Mapping[str, HeldCluster]
    lock: OwnerLock
    clock: Clock
    seal: Seal
    helper: bool = False
    """A further worker: the executor itself seals the ledger."""

    def start(self) -> list[str]:
        """Begin to work; returns the runs that were found under way."""
        if not self.helper:
            self.seal.start()
        self.dispatcher.start(self.executor.advance)
        if not self.peers.alone:
            self.peers.beat(socket.gethostname())
            threading.Thread(target=self._keep_watch, name="peers", daemon=True).start()
        return self.executor.recover()

    def stop(self) -> None:
        """Begin nothing new, leave tasks of Proxmox VE alone, give the home back."""
        self.runner.stopping.set()
        self.dispatcher.stop()
        self.runner.close()
        if not self.helper:
            self.seal.stop()
        with contextlib.suppress(SQLAlchemyError):  # a database that is gone finds out by our beat that we are
            self.peers.leave()
        for cluster in self.clusters.values():
            cluster.reader.wire.close()
        self.journal.close()
        self.lock.release()

    def _keep_watch(self) -> None:
        """Say that we live, and go on with what dead workers left."""
        while not self.runner.stopping.wait(BEAT_S):
            try:
                self.peers.beat(socket.gethostname())
                for run_id in self.peers.orphans():
                    _LOG.warning("taking over a run", extra={"run": run_id})
                    self.dispatcher.submit(run_id)
            except SQLAlchemyError as err:
                _LOG.warning("the store does not answer", extra={"error": type(err).__name__})


def build(
    home: Home, profile: str | None, env: Mapping[str, str], *, on_news: Callable[[], None] | None = None, clock: Clock | None = None, helper: bool = False
) -> Parts:  # fmt: skip
    """Wire an executor for one profile of a home. Takes the home's lock first, so nothing of a running executor is touched.

    With ``helper``, a further worker of a home whose store is PostgreSQL: it carries runs and listens on no socket.

    Raises:
        ConfigError: another executor runs here, or settings, token, store or principals are not usable.
        AuditError: the ledger is not the one that was signed.
    """
    clock = clock or SystemClock()
    worker = new_id("w")
    lock = OwnerLock(home.make().executor_lock.with_name(f"{worker}.lock") if helper else home.executor_lock, "An executor")
    lock.acquire()
    try:
        config = load_config(home)
        target = resolve(profile, home, env)
        token = target.write_token()
        wire = open_wire(target, token)
        mint = Mint()
        cluster = HeldCluster(target.name, FactReader(wire, clock=clock), Writer(wire, mint.redeem))
        clusters = {target.name: cluster}
        url = env.get("PVEOPS_STORE_URL") or config.executor.store_url
        if helper and not url:
            raise ConfigError(
                "A further worker needs PostgreSQL: SQLite has one writer.", hint="Set PVEOPS_STORE_URL, or executor.store_url."
            )
        engine = open_postgres(url) if url else open_engine(home.store)
        journal: SqlJournal[RunEvent] = SqlJournal(engine, RunEvent, clock=clock, on_news=on_news)
        ledger, kill, policy = open_ledger(home, clock), KillSwitch(home.kill_switch, clock), Policy(home.policy)
        principals = Principals(home.principals)
        dispatcher: Dispatcher = InProcess(workers=_WORKERS, clock=clock)
        if config.executor.dispatcher == "dbos":
            dispatcher = DbosDispatcher(
                url=for_psycopg(url) if url else f"sqlite:///{home.store.with_name('queue.sqlite')}", worker=worker, workers=_WORKERS
            )
        principals.all()
        options = Options(
            approval_ttl_s=config.executor.approval_ttl_s, bulk_targets=config.executor.bulk_targets, task_timeout_s=config.executor.task_timeout_s,
            one_person=config.set_up == "one-person", own_guests=config.executor.own_guests,
        )  # fmt: skip
        gate = Gate(kill=kill, policy=policy, principals=principals, options=options)
        peers = Peers(journal, worker, clock, alone=not url)
        runner = Runner(
            journal=journal, ledger=ledger, gate=gate, clusters=clusters, mint=mint, dispatcher=dispatcher, options=options, clock=clock, peers=peers
        )  # fmt: skip
        executor = Executor(
            identity=identity(home), journal=journal, ledger=ledger, kill=kill, policy=policy, gate=gate, runner=runner, dispatcher=dispatcher, clusters=clusters,
            options=options, clock=clock,
        )  # fmt: skip
        seal = Seal(
            ledger,
            open_notary(home, ledger, config.audit, executor=executor.identity, clock=clock),
            Changes(ledger, policy, principals, kill),
            clock,
        )
        if not helper:
            seal.open()
    except PveopsError:
        lock.release()
        raise
    return Parts(home, executor, runner, principals, ledger, kill, policy, journal, dispatcher, peers, clusters, lock, clock, seal, helper)


def identity(home: Home) -> str:
    """The executor's lasting name, made at its first start.

    Raises:
        ConfigError: the file is damaged or writable by others.
    """
    path = home.executor_id
    try:
        text = path.read_text(encoding="ascii").strip()
        if stat.S_IMODE(path.stat().st_mode) & 0o022:
            raise ConfigError(f"Others may write to {path}.", hint=f"Run: chmod 600 {path}")
    except FileNotFoundError:
        text = new_id("x")
        write_whole(path, f"{text}\n".encode())
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"Cannot read {path}: {err}.") from err
    if not is_id(text, "x"):
        raise ConfigError(f"{path} is damaged.", hint="Approvals are bound to it; restore it from a backup, or remove it to start anew.")
    return text


def boundary(caller_uid: int) -> str:
    """What separates the executor from a caller, in one sentence."""
    if os.getuid() == caller_uid:
        return "The executor runs under your own user: that stops mistakes and models, not somebody with your account."
    return f"The executor runs as its own user (uid {os.getuid()}); you cannot read its token."
