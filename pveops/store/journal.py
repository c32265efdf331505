"""The executor's journal in SQL. What returns from a method is on disk.

Several processes may share one on PostgreSQL: a run has one holder, whose name stands in its lease, and an event is taken only from a
writer who has seen all events before it. On SQLite the one process of the home writes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pveops.base.clock import Clock, SystemClock, iso
from pveops.base.errors import UnknownName, Used
from pveops.model.codec import decode, encode
from pveops.model.messages import Said
from pveops.model.proposal import Proposal, ProposalStatus
from pveops.store.tables import FeedRow, JournalRow, LeaseRow, ProposalRow, RunRow, WorkerRow

E = TypeVar("E")
_WAITING = ProposalRow.status == ProposalStatus.WAITING.value
_NEWS = (
    select(func.count())
    .select_from(JournalRow)
    .join(RunRow, RunRow.id == JournalRow.run_id)
    .where(RunRow.proposal_id == ProposalRow.id)
    .correlate(ProposalRow)
    .scalar_subquery()
)
_VERSION = (ProposalRow.version + _NEWS).label("version")
"""Every event of its run makes a proposal newer. It is counted where it is read: to write it down would write the whole plan each time."""


class SqlJournal(Generic[E]):
    """Proposals, runs and the feed.

    Args:
        engine: the database.
        event_type: the class of run events; this room does not know the guard's.
        on_news: called after every announcement.
    """

    def __init__(
        self, engine: Engine, event_type: type[E], *, clock: Clock | None = None, on_news: Callable[[], None] | None = None
    ) -> None:
        self._engine = engine
        self._event_type = event_type
        self._clock = clock or SystemClock()
        self._on_news = on_news or (lambda: None)
        self._lock = threading.Lock()
        """SQLite has one writer; waiting here is fairer than waiting in its busy handler."""
        self._postgres = engine.dialect.name == "postgresql"

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def add_proposal(self, proposal: Proposal) -> None:
        """Store a new proposal. Raises ``Used`` if its id exists."""
        with self._lock, Session(self._engine) as session:
            number = (session.scalar(select(func.max(ProposalRow.number))) or 0) + 1
            session.add(
                ProposalRow(id=proposal.id, number=number, status=proposal.status.value, version=proposal.version, body=encode(proposal))
            )
            try:
                session.commit()
            except IntegrityError as err:
                raise Used(f"There is a proposal {proposal.id} already.", hint="Try again.") from err

    def save_proposal(self, proposal: Proposal) -> Proposal:
        """Store a changed proposal under the next version."""
        with self._lock, Session(self._engine) as session, session.begin():
            return self._save(session, proposal)

    def proposal(self, proposal_id: str) -> Proposal:
        """One proposal. Raises ``UnknownName``."""
        with Session(self._engine) as session:
            row = session.execute(select(ProposalRow.body, _VERSION).where(ProposalRow.id == proposal_id)).one_or_none()
            if row is None:
                raise UnknownName(f"There is no proposal {proposal_id}.", hint="`pveops proposals ls` shows them.")
            return replace(decode(Proposal, row.body), version=row.version)

    def knows(self, an_id: str) -> bool:
        """Whether a proposal or run has this id."""
        with Session(self._engine) as session:
            return any(session.scalar(select(column).where(column == an_id)) is not None for column in (ProposalRow.id, RunRow.id))

    def proposals(self, *, only_open: bool, limit: int) -> list[Proposal]:
        """Proposals, newest first; ``only_open``: waiting ones and those whose run holds its guests."""
        query = select(ProposalRow.body, _VERSION).order_by(ProposalRow.number.desc()).limit(limit)
        if only_open:
            running = select(RunRow.proposal_id).where(RunRow.open)
            query = query.where(_WAITING | ProposalRow.id.in_(running))
        with Session(self._engine) as session:
            return [replace(decode(Proposal, body), version=version) for body, version in session.execute(query)]

    def made_since(self, since: datetime) -> list[tuple[str, datetime]]:
        """Who has put forward what policy let through, and when, since a time."""
        requester, created = ProposalRow.body["requester"].as_string(), ProposalRow.body["created"].as_string()
        denied = ProposalRow.body["verdict"]["decision"].as_string() == "deny"
        query = select(requester, created, denied).order_by(ProposalRow.number.desc()).execution_options(yield_per=100)
        found = []
        with Session(self._engine) as session:
            for who, text_at, refused in session.execute(query):
                at = datetime.fromisoformat(text_at)
                if at < since:
                    break
                if not refused:
                    found.append((who, at))
        return found

    def waiting(self) -> Iterator[Proposal]:
        """Proposals that nobody has decided yet, one by one: there may be thousands."""
        query = select(ProposalRow.body).where(_WAITING).order_by(ProposalRow.number)
        with Session(self._engine) as session:
            for body in session.scalars(query.execution_options(yield_per=100)):
                yield decode(Proposal, body)

    def count_waiting(self) -> int:
        """How many they are."""
        with Session(self._engine) as session:
            return session.scalar(select(func.count()).select_from(ProposalRow).where(_WAITING)) or 0

    def open_run(
        self, proposal: Proposal, run_id: str, approval_json: dict[str, Any], first: E, said: Said, *, worker: str = ""
    ) -> Proposal:
        """In one transaction: spend the approval, mark the proposal approved, start the run's journal. Raises ``Used``."""
        with self._lock, Session(self._engine) as session:
            self._in_turn(session)
            saved = self._save(session, proposal)
            session.add(RunRow(id=run_id, proposal_id=proposal.id, approval_id=proposal.approval_id, approval=approval_json, open=True))
            session.add(JournalRow(run_id=run_id, body=encode(first)))
            if worker:
                session.add(LeaseRow(run_id=run_id, worker=worker))
            self._feed(session, proposal.id, said)
            try:
                session.commit()
            except IntegrityError as err:
                raise Used(f"The approval of {proposal.id} is spent.", hint="Look at its record.") from err
        self._on_news()
        return saved

    def approval(self, run_id: str) -> dict[str, Any]:
        """The approval that a run was opened with, as JSON."""
        with Session(self._engine) as session:
            row = session.get(RunRow, run_id)
            if row is None:
                raise UnknownName(f"There is no run {run_id}.")
            return dict(row.approval)

    def record(
        self, run_id: str, proposal_id: str, events: Sequence[E], *, seen: int, worker: str = "", said: Sequence[Said] = ()
    ) -> list[E]:
        """Add events to a run's journal, in one transaction with the lines of the feed about them.

        Args:
            run_id: the run.
            proposal_id: its proposal.
            events: in order.
            seen: how many events of the run the writer knows.
            worker: who holds the run; empty for a person's word, which needs no lease.
            said: for the feed.

        Returns:
            Nothing, or the events that the writer did not know: then nothing was written.

        Raises:
            Used: another worker has taken the run over; nothing was written.
        """
        with self._lock, self._engine.begin() as connection:
            self._in_turn(connection)
            if worker:
                holder = connection.scalar(select(LeaseRow.worker).where(LeaseRow.run_id == run_id))
                if holder != worker:
                    raise Used(
                        f"{holder or 'Nobody'} carries the run {run_id} now, not {worker}.", hint="Nothing was written; it goes on there."
                    )
            count = connection.scalar(select(func.count()).select_from(JournalRow).where(JournalRow.run_id == run_id)) or 0
            if count != seen:
                return self._events(connection, run_id, seen)
            connection.execute(insert(JournalRow), [{"run_id": run_id, "body": encode(event)} for event in events])
            if said:
                connection.execute(insert(FeedRow), [self._line(proposal_id, line) for line in said])
        if said:
            self._on_news()
        return []

    def close_run(self, run_id: str, proposal_id: str, said: Said) -> None:
        """The run has ended and holds its guests no longer."""
        with self._lock, Session(self._engine) as session, session.begin():
            self._in_turn(session)
            session.execute(update(RunRow).where(RunRow.id == run_id).values(open=False))
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run_id))
            session.execute(update(ProposalRow).where(ProposalRow.id == proposal_id).values(version=ProposalRow.version + 1))
            self._feed(session, proposal_id, said)
        self._on_news()

    def is_open(self, run_id: str) -> bool:
        """Whether a run holds its guests."""
        with Session(self._engine) as session:
            return bool(session.scalar(select(RunRow.open).where(RunRow.id == run_id)))

    # -- who carries what -----------------------------------------------------------------------------------------------

    def claim(self, run_id: str, worker: str, *, dead: Collection[str] = ()) -> bool:
        """Take an open run, unless another worker holds it that is not known to be dead. Returns whether it is ours now."""
        with self._lock, Session(self._engine) as session, session.begin():
            self._in_turn(session)
            if not session.scalar(select(RunRow.open).where(RunRow.id == run_id)):
                return False
            lease = session.get(LeaseRow, run_id)
            if lease is None:
                session.add(LeaseRow(run_id=run_id, worker=worker))
            elif lease.worker == worker or lease.worker in dead:
                lease.worker = worker
            else:
                return False
            return True

    def release(self, run_id: str, worker: str) -> None:
        """Give a run back that is not ended: a person or a later look goes on with it."""
        with self._lock, Session(self._engine) as session, session.begin():
            session.execute(delete(LeaseRow).where(LeaseRow.run_id == run_id, LeaseRow.worker == worker))

    def holds(self, run_id: str, worker: str) -> bool:
        """Whether a run is still ours."""
        with Session(self._engine) as session:
            return session.scalar(select(LeaseRow.worker).where(LeaseRow.run_id == run_id)) == worker

    def leases(self) -> dict[str, str]:
        """Worker by run."""
        with Session(self._engine) as session:
            return {row.run_id: row.worker for row in session.execute(select(LeaseRow.run_id, LeaseRow.worker)).all()}

    def beat(self, worker: str, about: str) -> None:
        """We live."""
        with self._lock, Session(self._engine) as session, session.begin():
            row = session.get(WorkerRow, worker)
            if row is None:
                session.add(WorkerRow(id=worker, beat=1, about=about))
            else:
                row.beat += 1

    def beats(self) -> dict[str, int]:
        """How often each worker has said that it lives."""
        with Session(self._engine) as session:
            return {row.id: row.beat for row in session.execute(select(WorkerRow.id, WorkerRow.beat)).all()}

    def leave(self, worker: str) -> None:
        """We end: our runs are free."""
        with self._lock, Session(self._engine) as session, session.begin():
            session.execute(delete(LeaseRow).where(LeaseRow.worker == worker))
            session.execute(delete(WorkerRow).where(WorkerRow.id == worker))

    # -- reading --------------------------------------------------------------------------------------------------------

    def history(self, run_id: str, *, after: int = 0) -> list[E]:
        """The events of a run, in order, without the first so many."""
        with Session(self._engine) as session:
            return self._events(session, run_id, after)

    def open_runs(self) -> list[tuple[str, str]]:
        """(run id, proposal id) of runs that hold their guests."""
        with Session(self._engine) as session:
            return [(row.id, row.proposal_id) for row in session.execute(select(RunRow.id, RunRow.proposal_id).where(RunRow.open)).all()]

    def announce(self, kind: str, *, proposal_id: str = "", actor: str = "", text: str = "") -> None:
        """Add a line to the feed."""
        with self._lock, Session(self._engine) as session, session.begin():
            self._in_turn(session)
            self._feed(session, proposal_id, Said(kind, actor, text))
        self._on_news()

    def feed(self, *, after: int, limit: int) -> list[dict[str, Any]]:
        """Lines of the feed after a sequence number; a negative number means the last so many."""
        with Session(self._engine) as session:
            if after < 0:
                after = max(0, (session.scalar(select(func.max(FeedRow.seq))) or 0) + after)
            rows = session.scalars(select(FeedRow).where(FeedRow.seq > after).order_by(FeedRow.seq).limit(limit)).all()
            return [
                {"seq": row.seq, "at": row.at, "kind": row.kind, "proposal_id": row.proposal_id, "actor": row.actor, "text": row.text}
                for row in rows
            ]

    def _in_turn(self, session: Session | Connection) -> None:
        """One writer at a time, in every process: else a later number of the feed could be seen before an earlier one."""
        if self._postgres:
            session.execute(text("SELECT pg_advisory_xact_lock(7318008001)"))

    def _feed(self, session: Session, proposal_id: str, said: Said) -> None:
        session.add(FeedRow(**self._line(proposal_id, said)))

    def _line(self, proposal_id: str, said: Said) -> dict[str, Any]:
        return {"at": iso(self._clock.now()), "kind": said.kind, "proposal_id": proposal_id, "actor": said.actor, "text": said.text}

    def _events(self, session: Session | Connection, run_id: str, after: int) -> list[E]:
        query = select(JournalRow.body).where(JournalRow.run_id == run_id).order_by(JournalRow.seq).offset(after)
        return [decode(self._event_type, body) for body in session.scalars(query)]

    @staticmethod
    def _save(session: Session, proposal: Proposal) -> Proposal:
        row = session.get(ProposalRow, proposal.id)
        if row is None:
            raise UnknownName(f"There is no proposal {proposal.id}.")
        saved = replace(proposal, version=row.version + 1)
        row.status, row.version, row.body = saved.status.value, saved.version, encode(saved)
        return saved
