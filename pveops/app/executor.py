"""Wires the executor: the only importer of the cluster writer, the only holder of the write token."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from pveops.app.audit import Seal, open_ledger, open_notary
from pveops.app.cluster import FactReader, open_wire
from pveops.app.notify import Notifier
from pveops.app.restrictions import restrictions
from pveops.base.clock import Clock, SystemClock
from pveops.base.errors import ConfigError, PveopsError
from pveops.base.files import OwnerLock, write_whole
from pveops.base.ids import is_id, new_id
from pveops.clients.cluster.write import Writer
from pveops.guard.accounts import Accounts
from pveops.guard.audit import Ledger
from pveops.guard.audit.changes import Changes
from pveops.guard.budget import Budget
from pveops.guard.dispatch import InProcess
from pveops.guard.dispatch_dbos import DbosDispatcher
from pveops.guard.events import RunEvent
from pveops.guard.executor import Executor
from pveops.guard.gate import Gate
from pveops.guard.glass import Glass
from pveops.guard.grants import Mint
from pveops.guard.killswitch import KillSwitch
from pveops.guard.options import Options
from pveops.guard.peers import BEAT_S, Peers
from pveops.guard.policy import Policy
from pveops.guard.ports import Dispatcher
from pveops.guard.principals import Principals
from pveops.guard.runner import Runner
from pveops.guard.sessions import Sessions
from pveops.model.proposal import Proposal
from pveops.observe.cost import SPENT
from pveops.settings.home import Home
from pveops.settings.profile import load_config, resolve
from pveops.store.engine import for_psycopg, open_engine, open_postgres
from pveops.store.journal import SqlJournal
from pveops.store.memory import SqlMemory

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
    glass: Glass
    sessions: Sessions
    accounts: Accounts
    notifier: Notifier
    socket_group: str
    callers: frozenset[int]
    """Users of this machine who may talk to it, besides its own and root."""
    helper: bool = False
    """A further worker: the executor itself seals the ledger."""

    def start(self) -> list[str]:
        """Begin to work; returns the runs that were found under way."""
        if not self.helper:
            self.seal.start()
            self.notifier.start()
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
        self.notifier.stop()
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
        SPENT.keep(target.home.costs, "executor")
        cluster = HeldCluster(target.name, FactReader(wire, clock=clock), Writer(wire, mint.redeem))
        clusters = {target.name: cluster}
        url = env.get("PVEOPS_STORE_URL") or config.executor.store_url
        if helper and not url:
            raise ConfigError(
                "A further worker needs PostgreSQL: SQLite has one writer.", hint="Set PVEOPS_STORE_URL, or executor.store_url."
            )
        engine = open_postgres(url) if url else open_engine(home.store)
        bells: list[Callable[[], None]] = [on_news] if on_news else []
        journal: SqlJournal[RunEvent] = SqlJournal(engine, RunEvent, clock=clock, on_news=lambda: _ring(bells))
        notifier = Notifier(config.notify, lambda after: journal.feed(after=after, limit=500), lambda name: told(journal.proposal(name)))
        bells.append(notifier.ring)
        kill, policy = KillSwitch(home.kill_switch, clock), Policy(home.policy, restrictions())
        ledger = open_ledger(home, clock)
        ledger.stamp = lambda: {"policy": policy.hash}
        principals = Principals(home.principals)
        dispatcher: Dispatcher = InProcess(workers=_WORKERS, clock=clock)
        if config.executor.dispatcher == "dbos":
            dispatcher = DbosDispatcher(
                url=for_psycopg(url) if url else f"sqlite:///{home.store.with_name('queue.sqlite')}", worker=worker, workers=_WORKERS
            )
        principals.all()
        callers = uids(config.executor.callers)
        options = Options(
            approval_ttl_s=config.executor.approval_ttl_s, bulk_targets=config.executor.bulk_targets, task_timeout_s=config.executor.task_timeout_s,
            one_person=config.set_up == "one-person", own_guests=config.executor.own_guests,
            own_nodes=config.executor.own_nodes,
        )  # fmt: skip
        memory = SqlMemory(engine)
        budget, glass = Budget(memory, clock), Glass(memory, clock)
        gate = Gate(
            kill=kill, policy=policy, principals=principals, options=options, budget=budget, clock=clock, journal=journal, glass=glass.broken,
        )  # fmt: skip
        peers = Peers(journal, worker, clock, alone=not url)
        runner = Runner(
            journal=journal, ledger=ledger, gate=gate, clusters=clusters, mint=mint, dispatcher=dispatcher, options=options, clock=clock, peers=peers
        )  # fmt: skip
        name = identity(home)
        sessions = Sessions(memory=memory, principals=principals, clock=clock, audience=name)
        accounts = Accounts(
            path=home.principals, principals=principals, sessions=sessions, glass=glass, memory=memory, policy=policy, ledger=ledger, clock=clock,
            audience=name,
        )  # fmt: skip
        executor = Executor(
            identity=name, accounts=accounts, journal=journal, ledger=ledger, kill=kill, policy=policy, gate=gate, budget=budget, glass=glass, runner=runner, dispatcher=dispatcher, clusters=clusters,
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
    return Parts(
        home,
        executor,
        runner,
        principals,
        ledger,
        kill,
        policy,
        journal,
        dispatcher,
        peers,
        clusters,
        lock,
        clock,
        seal,
        glass,
        sessions,
        accounts,
        notifier,
        config.executor.socket_group,
        callers,
        helper,
    )


def _ring(bells: Iterable[Callable[[], None]]) -> None:
    for bell in bells:
        bell()


def told(proposal: Proposal) -> dict[str, Any]:
    """What a notification says of a proposal: enough to decide whether to look, nothing to decide with."""
    return {
        "summary": proposal.plan.summary, "cluster": proposal.plan.cluster, "risk": proposal.tier.value, "asked_by": proposal.requester,
        "approvals_missing": proposal.missing, "expires": proposal.expires.isoformat(), "look": f"pveops proposals show {proposal.id}",
    }  # fmt: skip


def uids(names: Iterable[str]) -> frozenset[int]:
    """The users of this machine behind names and numbers.

    Raises:
        ConfigError: there is no such user.
    """
    found = set()
    for name in names:
        try:
            found.add(int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid)
        except KeyError as err:
            raise ConfigError(f"There is no user {name} on this machine.", hint="Mend `callers` in config.toml.") from err
    return frozenset(found)


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
