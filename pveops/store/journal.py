"""The executor's journal in SQL. What returns from a method is on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from pveops.base.clock import Clock, SystemClock, iso
from pveops.base.errors import ConfigError, UnknownName, Used
from pveops.model.codec import decode, encode
from pveops.model.proposal import Proposal, ProposalStatus
from pveops.store.tables import SCHEMA_VERSION, Base, FeedRow, JournalRow, MetaRow, ProposalRow, RunRow

E = TypeVar("E")


def open_engine(path: Path) -> Engine:
    """A SQLite database in WAL mode that syncs every commit.

    Raises:
        ConfigError: the file is no such database, cannot be opened, or was written by a newer pveops.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    try:
        Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            found = session.get(MetaRow, "schema_version")
            if found is None:
                session.add(MetaRow(key="schema_version", value=str(SCHEMA_VERSION)))
            elif int(found.value) > SCHEMA_VERSION:
                raise ConfigError(
                    f"{path} was written by a newer pveops (store version {found.value}, this one knows {SCHEMA_VERSION}).",
                    hint="Upgrade pveops.",
                )
    except DBAPIError as err:
        raise ConfigError(
            f"The store {path} cannot be opened: {err.orig}.", hint="Move it away and restore a backup, or check disk and owner."
        ) from err
    path.chmod(0o600)
    return engine


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
            row = session.get(ProposalRow, proposal_id)
            if row is None:
                raise UnknownName(f"There is no proposal {proposal_id}.", hint="`pveops proposals ls` shows them.")
            return decode(Proposal, row.body)

    def proposals(self, *, only_open: bool, limit: int) -> list[Proposal]:
        """Proposals, newest first; ``only_open``: waiting ones and those whose run holds its guests."""
        query = select(ProposalRow.body).order_by(ProposalRow.number.desc()).limit(limit)
        if only_open:
            running = select(RunRow.proposal_id).where(RunRow.open)
            query = query.where((ProposalRow.status == ProposalStatus.WAITING.value) | ProposalRow.id.in_(running))
        with Session(self._engine) as session:
            return [decode(Proposal, body) for body in session.scalars(query)]

    def waiting(self) -> list[Proposal]:
        """Proposals that nobody has decided yet."""
        query = select(ProposalRow.body).where(ProposalRow.status == ProposalStatus.WAITING.value)
        with Session(self._engine) as session:
            return [decode(Proposal, body) for body in session.scalars(query)]

    def open_run(self, proposal: Proposal, run_id: str, approval_json: dict[str, Any], first: E) -> Proposal:
        """In one transaction: spend the approval, mark the proposal approved, start the run's journal. Raises ``Used``."""
        with self._lock, Session(self._engine) as session:
            saved = self._save(session, proposal)
            session.add(RunRow(id=run_id, proposal_id=proposal.id, approval_id=proposal.approval_id, approval=approval_json, open=True))
            session.add(JournalRow(run_id=run_id, body=encode(first)))
            try:
                session.commit()
            except IntegrityError as err:
                raise Used(f"The approval of {proposal.id} is spent.", hint="Look at its record.") from err
            return saved

    def approval(self, run_id: str) -> dict[str, Any]:
        """The approval that a run was opened with, as JSON."""
        with Session(self._engine) as session:
            row = session.get(RunRow, run_id)
            if row is None:
                raise UnknownName(f"There is no run {run_id}.")
            return dict(row.approval)

    def append(self, run_id: str, event: E) -> None:
        """Add an event to a run's journal."""
        with self._lock, Session(self._engine) as session, session.begin():
            session.add(JournalRow(run_id=run_id, body=encode(event)))

    def close_run(self, run_id: str) -> None:
        """The run has ended and holds its guests no longer."""
        with self._lock, Session(self._engine) as session, session.begin():
            row = session.get(RunRow, run_id)
            if row is not None:
                row.open = False

    def history(self, run_id: str) -> list[E]:
        """All events of a run, in order."""
        query = select(JournalRow.body).where(JournalRow.run_id == run_id).order_by(JournalRow.seq)
        with Session(self._engine) as session:
            return [decode(self._event_type, body) for body in session.scalars(query)]

    def open_runs(self) -> list[tuple[str, str]]:
        """(run id, proposal id) of runs that hold their guests."""
        with Session(self._engine) as session:
            return [(row.id, row.proposal_id) for row in session.execute(select(RunRow.id, RunRow.proposal_id).where(RunRow.open)).all()]

    def announce(self, kind: str, *, proposal_id: str = "", actor: str = "", text: str = "") -> int:
        """Add a line to the feed; returns its sequence number."""
        with self._lock, Session(self._engine) as session:
            row = FeedRow(at=iso(self._clock.now()), kind=kind, proposal_id=proposal_id, actor=actor, text=text)
            session.add(row)
            session.commit()
            seq = row.seq
        self._on_news()
        return seq

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

    @staticmethod
    def _save(session: Session, proposal: Proposal) -> Proposal:
        row = session.get(ProposalRow, proposal.id)
        if row is None:
            raise UnknownName(f"There is no proposal {proposal.id}.")
        saved = replace(proposal, version=row.version + 1)
        row.status, row.version, row.body = saved.status.value, saved.version, encode(saved)
        return saved
