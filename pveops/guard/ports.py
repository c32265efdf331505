"""What the guard needs from the outside. ``app.executor`` plugs the real parts in; tests plug in theirs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from pveops.guard.events import RunEvent
from pveops.model.facts import Facts
from pveops.model.messages import Said
from pveops.model.plan import WireCall
from pveops.model.proposal import Proposal
from pveops.model.refs import GuestRef
from pveops.model.resources import Answer, Backup, Node
from pveops.model.tasks import Outcome, Task, Upid


class Reader(Protocol):
    """Reads the cluster with the executor's own token. Every method may raise ``TransportError`` or ``ApiError``."""

    def simulated(self) -> bool:
        """Whether the simulated cluster answers."""
        ...

    def version(self) -> str:
        """The cluster's version text."""
        ...

    def facts(self, subjects: Iterable[str], *, at_most_old_s: float = 0.0) -> Facts:
        """The named facts about these subjects, fresh; or the last reading of them, if it is not older."""
        ...

    def nodes(self) -> Answer[Node]:
        """All nodes with their load."""
        ...

    def backups(self) -> Answer[Backup]:
        """All backups that can be read."""
        ...

    def node_time_s(self, node: str, *, at_most_old_s: float = 0.0) -> int:
        """A node's own clock, Unix seconds; carried on from an earlier reading, if that is not older."""
        ...

    def migrate_preconditions(self, ref: GuestRef, target: str) -> dict[str, Any]:
        """What the cluster says about moving a guest."""
        ...

    def can_snapshot(self, ref: GuestRef) -> bool:
        """Whether the guest's storages can take a snapshot."""
        ...

    def task_outcome(self, upid: Upid) -> Outcome:
        """How a task stands."""
        ...

    def task_log(self, upid: Upid, *, start: int = 0, limit: int = 500) -> tuple[tuple[str, ...], int]:
        """Lines of a task's log and their number in all."""
        ...

    def node_tasks(self, node: str, *, since_s: int) -> Sequence[Task]:
        """Tasks of one node, running and ended, that started at or after a time by that node's clock."""
        ...


class Answered(Protocol):
    """What a writer returns: the task, or none for a synchronous call."""

    @property
    def upid(self) -> Upid | None:
        """The task that was started."""
        ...


class Writer(Protocol):
    """Sends granted calls, each at most once."""

    @property
    def token_id(self) -> str:
        """``user@realm!name`` of the write token."""
        ...

    @property
    def timeout_s(self) -> float:
        """After this many seconds without an answer a call counts as unanswered."""
        ...

    def prepare(self) -> None:
        """A change is about to be sent; nothing leaves yet."""
        ...

    def send(self, call: WireCall, grant: object) -> Answered:
        """Send one call.

        Raises:
            Unreachable: surely not sent.
            NoAnswer: it may have been carried out.
            ApiError: refused; nothing was done.
        """
        ...


class Journal(Protocol):
    """Durable memory: what returns from a method is on disk."""

    def add_proposal(self, proposal: Proposal) -> None:
        """Store a new proposal. Raises ``Used`` if its id exists."""
        ...

    def save_proposal(self, proposal: Proposal) -> Proposal:
        """Store a changed proposal under the next version."""
        ...

    def proposal(self, proposal_id: str) -> Proposal:
        """One proposal. Raises ``UnknownName``."""
        ...

    def knows(self, an_id: str) -> bool:
        """Whether a proposal or run has this id."""
        ...

    def proposals(self, *, only_open: bool, limit: int) -> list[Proposal]:
        """Proposals, newest first."""
        ...

    def made_since(self, since: datetime) -> list[tuple[str, datetime]]:
        """Who has put forward what policy let through, and when, since a time."""
        ...

    def waiting(self) -> Iterator[Proposal]:
        """Proposals that nobody has decided yet."""
        ...

    def open_run(
        self, proposal: Proposal, run_id: str, approval_json: dict[str, Any], first: RunEvent, said: Said, *, worker: str = ""
    ) -> Proposal:
        """In one transaction: spend the approval, mark the proposal approved, start the run's journal. Raises ``Used``."""
        ...

    def approval(self, run_id: str) -> dict[str, Any]:
        """The approval that a run was opened with, as JSON."""
        ...

    def record(
        self, run_id: str, proposal_id: str, events: Sequence[RunEvent], *, seen: int, worker: str = "", said: Sequence[Said] = ()
    ) -> list[RunEvent]:
        """Add events to a run's journal, or return those that the writer has not seen. Raises ``Used`` if the run is another worker's."""
        ...

    def close_run(self, run_id: str, proposal_id: str, said: Said) -> None:
        """The run has ended and holds its guests no longer."""
        ...

    def history(self, run_id: str, *, after: int = 0) -> list[RunEvent]:
        """The events of a run, in order, without the first so many."""
        ...

    def open_runs(self) -> list[tuple[str, str]]:
        """(run id, proposal id) of runs that hold their guests."""
        ...

    def is_open(self, run_id: str) -> bool:
        """Whether a run holds its guests."""
        ...

    def claim(self, run_id: str, worker: str, *, dead: Collection[str] = ()) -> bool:
        """Take an open run, unless a worker holds it that is not dead."""
        ...

    def release(self, run_id: str, worker: str) -> None:
        """Give a run back."""
        ...

    def holds(self, run_id: str, worker: str) -> bool:
        """Whether a run is still this worker's."""
        ...

    def leases(self) -> dict[str, str]:
        """Worker by run."""
        ...

    def beat(self, worker: str, about: str) -> None:
        """The worker lives."""
        ...

    def beats(self) -> dict[str, int]:
        """How often each worker has said that it lives."""
        ...

    def leave(self, worker: str) -> None:
        """The worker ends; its runs are free."""
        ...

    def announce(self, kind: str, *, proposal_id: str = "", actor: str = "", text: str = "") -> None:
        """Add a line to the feed."""
        ...

    def feed(self, *, after: int, limit: int) -> list[dict[str, Any]]:
        """Lines of the feed after a sequence number."""
        ...


class Peers(Protocol):
    """The workers that share a journal."""

    @property
    def worker(self) -> str:
        """Our own name, never used before."""
        ...

    @property
    def alone(self) -> bool:
        """Whether nobody else can write to this journal."""
        ...

    def dead(self) -> Collection[str]:
        """Workers that hold runs and live no longer."""
        ...


class Dispatcher(Protocol):
    """Lets runs advance: in this process, or through a queue that several workers share."""

    def start(self, advance: Callable[[str], None]) -> None:
        """Begin to work; ``advance(run_id)`` carries a run as far as it goes."""
        ...

    def submit(self, run_id: str, *, after_s: float = 0.0) -> None:
        """Let a run advance, now or after a while."""
        ...

    def stop(self) -> None:
        """Begin no further work, and wait for what is between two steps."""
        ...


class Cluster(Protocol):
    """A cluster as the executor holds it."""

    @property
    def name(self) -> str:
        """The profile's name."""
        ...

    @property
    def reader(self) -> Reader:
        """Reads."""
        ...

    @property
    def writer(self) -> Writer:
        """Writes."""
        ...
