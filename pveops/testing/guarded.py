"""A whole guard in one process over the fake cluster, on a folder of its own: everything real but the cluster and the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pveops.base.ids import new_id
from pveops.base.secret import Secret
from pveops.guard.accounts import Accounts
from pveops.guard.audit import Ledger
from pveops.guard.budget import Budget
from pveops.guard.events import RunEvent
from pveops.guard.executor import Executor
from pveops.guard.gate import Gate
from pveops.guard.glass import Glass
from pveops.guard.grants import Mint
from pveops.guard.killswitch import KillSwitch
from pveops.guard.options import Options
from pveops.guard.peers import Peers
from pveops.guard.policy import Policy, shipped
from pveops.guard.principals import Principal, Principals, Role, save_principals, token_hash
from pveops.guard.runner import Runner
from pveops.guard.sessions import Sessions
from pveops.model.claims import claim_for, new_key, sign
from pveops.model.messages import ApproveRequest, ProposeRequest
from pveops.model.plan import Plan
from pveops.model.proposal import Approval, Origin, PrincipalKind, Proposal
from pveops.model.run import Run
from pveops.store.engine import open_engine, open_postgres
from pveops.store.journal import SqlJournal
from pveops.store.memory import SqlMemory
from pveops.testing.fake import FakeCluster

IDENTITY = "x-0000000000000001"


class ByHand:
    """A dispatcher that advances runs only when the test says so."""

    def __init__(self) -> None:
        self.due: list[tuple[float, str]] = []
        self._advance: Callable[[str], None] = lambda _run_id: None

    def start(self, advance: Callable[[str], None]) -> None:
        """Begin."""
        self._advance = advance

    def submit(self, run_id: str, *, after_s: float = 0.0) -> None:
        """Remember."""
        self.due.append((after_s, run_id))

    def stop(self) -> None:
        """End."""
        self.due.clear()

    def work(self, *, delayed: bool = False) -> None:
        """Advance what is due now, until nothing more is; with ``delayed`` also what is due later, once."""
        while self.due:
            now = [run_id for after_s, run_id in self.due if after_s == 0 or delayed]
            later = [item for item in self.due if item[0] and not delayed]
            self.due = later
            if not now:
                return
            delayed = False
            for run_id in dict.fromkeys(now):
                self._advance(run_id)


@dataclass(slots=True)
class Guarded:
    """The parts. ``restart`` makes them anew on the same files, as after a crash."""

    root: Path
    cluster: FakeCluster = field(default_factory=FakeCluster)
    options: Options = field(default_factory=lambda: Options(lost_after_s=0.05, look_again_s=1.0, hesitate_s=1e6))
    url: str = ""
    """A PostgreSQL database for the store, instead of SQLite."""
    keys: dict[str, Secret] = field(default_factory=dict)
    tokens: dict[str, Secret] = field(default_factory=dict)

    journal: SqlJournal[RunEvent] = field(init=False)
    ledger: Ledger = field(init=False)
    kill: KillSwitch = field(init=False)
    memory: SqlMemory = field(init=False)
    budget: Budget = field(init=False)
    glass: Glass = field(init=False)
    sessions: Sessions = field(init=False)
    accounts: Accounts = field(init=False)
    policy: Policy = field(init=False)
    principals: Principals = field(init=False)
    dispatcher: ByHand = field(init=False)
    peers: Peers = field(init=False)
    runner: Runner = field(init=False)
    executor: Executor = field(init=False)

    def __post_init__(self) -> None:
        self._people()
        policy = self.root / "policy"
        policy.mkdir(mode=0o700)
        (policy / "homelab.cedar").write_text(shipped("homelab"), encoding="utf-8")
        (policy / "homelab.cedar").chmod(0o600)
        self.restart()
        self.kill.turn(on=False, why="test", by="test")

    def _people(self) -> None:
        known = []
        wanted: tuple[tuple[str, PrincipalKind, Role], ...] = (
            ("operator", "person", "operator"),
            ("anna", "person", "operator"),
            ("agent", "agent", "proposer"),
            ("viewer", "service", "viewer"),
        )
        for name, kind, role in wanted:
            private, public = new_key()
            self.keys[name], self.tokens[name] = private, Secret(f"pvo_{name}-{'x' * 32}")
            known.append(
                Principal(
                    name=name,
                    kind=kind,
                    roles=(role,),
                    token_sha256=token_hash(self.tokens[name]),
                    public_key=public if kind == "person" else "",
                )
            )
        save_principals(self.root / "principals.json", known)

    def restart(self) -> None:
        """Everything anew on the same files."""
        clock = self.cluster.clock
        mint = Mint()
        self.cluster.redeem = mint.redeem
        if hasattr(self, "journal"):
            self.journal.close()
        engine = open_postgres(self.url) if self.url else open_engine(self.root / "store.sqlite")
        self.journal = SqlJournal(engine, RunEvent, clock=clock)
        self.ledger, self.kill, self.policy = (
            Ledger(self.root / "ledger.jsonl", clock),
            KillSwitch(self.root / "kill.json", clock),
            Policy(self.root / "policy"),
        )
        self.principals, self.dispatcher = Principals(self.root / "principals.json"), ByHand()
        clusters: dict[str, Any] = {"lab": self.cluster}
        self.memory = SqlMemory(engine)
        self.budget, self.glass = Budget(self.memory, clock), Glass(self.memory, clock)
        gate = Gate(
            kill=self.kill, policy=self.policy, principals=self.principals, options=self.options, budget=self.budget, clock=clock,
            journal=self.journal, glass=self.glass.broken,
        )  # fmt: skip
        common: dict[str, Any] = {
            "journal": self.journal, "ledger": self.ledger, "gate": gate, "clusters": clusters, "dispatcher": self.dispatcher,
            "options": self.options, "clock": clock,
        }  # fmt: skip
        self.peers = Peers(self.journal, new_id("w"), clock, alone=True)
        self.runner = Runner(**common, mint=mint, peers=self.peers)
        self.sessions = Sessions(memory=self.memory, principals=self.principals, clock=clock, audience=IDENTITY)
        self.accounts = Accounts(
            path=self.root / "principals.json", principals=self.principals, sessions=self.sessions, glass=self.glass, memory=self.memory,
            policy=self.policy, ledger=self.ledger, clock=clock, audience=IDENTITY,
        )  # fmt: skip
        self.executor = Executor(
            **common, accounts=self.accounts, kill=self.kill, policy=self.policy, budget=self.budget, glass=self.glass, identity=IDENTITY,
            runner=self.runner,
        )  # fmt: skip
        self.dispatcher.start(self.executor.advance)

    def close(self) -> None:
        """End its threads and connections."""
        self.runner.close()
        self.journal.close()

    def who(self, name: str) -> Principal:
        """A principal."""
        return self.principals.by_token(self.tokens[name])

    def propose(self, plan: Plan, *, by: str = "operator", author: str = "person") -> Proposal:
        """Put a plan forward."""
        request = ProposeRequest(plan=plan, author=author, origin=Origin(surface="test"), correlation="c-51f09a2e")
        return self.executor.propose(self.who(by), request, "card")

    def approval(self, proposal: Proposal, *, by: str = "operator", key: str = "") -> Approval:
        """A signed approval."""
        return sign(claim_for(proposal, approver=by, now=self.cluster.clock.now()), self.keys[key or by])

    def approve(self, proposal: Proposal, *, by: str = "operator", approval: Approval | None = None, channel: str = "card") -> Proposal:
        """Approve."""
        request = ApproveRequest(approval=approval or self.approval(proposal, by=by), channel=channel)
        return self.executor.approve(self.who(by), proposal.id, request, channel)

    def run_of(self, proposal: Proposal) -> Run:
        """The run of a proposal, from its journal."""
        current = self.executor.get(proposal.id)
        return self.runner.load(current.run_id, current)

    def go(self, plan: Plan, **options: Any) -> Run:
        """Propose, approve and run to wherever it goes."""
        proposal = self.propose(plan)
        self.approve(proposal, **options)
        self.dispatcher.work()
        return self.run_of(proposal)

    def kinds(self) -> list[str]:
        """Kinds of all audit records, in order."""
        return [record["kind"] for record in self.ledger.records()]
