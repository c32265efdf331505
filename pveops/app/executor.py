"""Wires the executor: the only importer of the cluster writer, the only holder of the write token."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
from pveops.guard.events import RunEvent
from pveops.guard.executor import Executor
from pveops.guard.gate import Gate
from pveops.guard.grants import Mint
from pveops.guard.killswitch import KillSwitch
from pveops.guard.options import Options
from pveops.guard.peers import Peers
from pveops.guard.policy import Policy
from pveops.guard.principals import Principals
from pveops.guard.runner import Runner
from pveops.settings.home import Home
from pveops.settings.profile import load_config, resolve
from pveops.store.engine import open_engine
from pveops.store.journal import SqlJournal

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
    dispatcher: InProcess
    clusters: Mapping[str, HeldCluster]
    lock: OwnerLock
    clock: Clock
    seal: Seal

    def start(self) -> list[str]:
        """Begin to work; returns the runs that were found under way."""
        self.seal.start()
        self.dispatcher.start(self.executor.advance)
        return self.executor.recover()

    def stop(self) -> None:
        """Begin nothing new, leave tasks of Proxmox VE alone, give the home back."""
        self.runner.stopping.set()
        self.dispatcher.stop()
        self.runner.close()
        self.seal.stop()
        for cluster in self.clusters.values():
            cluster.reader.wire.close()
        self.lock.release()


def build(
    home: Home, profile: str | None, env: Mapping[str, str], *, on_news: Callable[[], None] | None = None, clock: Clock | None = None
) -> Parts:
    """Wire an executor for one profile of a home. Takes the home's lock first, so nothing of a running executor is touched.

    Raises:
        ConfigError: another executor runs here, or settings, token, store or principals are not usable.
        AuditError: the ledger is not the one that was signed.
    """
    clock = clock or SystemClock()
    lock = OwnerLock(home.make().executor_lock, "An executor")
    lock.acquire()
    try:
        config = load_config(home)
        target = resolve(profile, home, env)
        token = target.write_token()
        wire = open_wire(target, token)
        mint = Mint()
        cluster = HeldCluster(target.name, FactReader(wire, clock=clock), Writer(wire, mint.redeem))
        clusters = {target.name: cluster}
        journal: SqlJournal[RunEvent] = SqlJournal(open_engine(home.store), RunEvent, clock=clock, on_news=on_news)
        ledger, kill, policy = open_ledger(home, clock), KillSwitch(home.kill_switch, clock), Policy(home.policy)
        principals, dispatcher = Principals(home.principals), InProcess(workers=_WORKERS, clock=clock)
        principals.all()
        options = Options(
            approval_ttl_s=config.executor.approval_ttl_s, bulk_targets=config.executor.bulk_targets, task_timeout_s=config.executor.task_timeout_s,
            one_person=config.set_up == "one-person", own_guests=config.executor.own_guests,
        )  # fmt: skip
        gate = Gate(kill=kill, policy=policy, principals=principals, options=options)
        peers = Peers(journal, new_id("w"), clock, alone=True)
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
        seal.open()
    except PveopsError:
        lock.release()
        raise
    return Parts(home, executor, runner, principals, ledger, kill, policy, journal, dispatcher, clusters, lock, clock, seal)


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
