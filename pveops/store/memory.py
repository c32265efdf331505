"""What the guard must remember across restarts: how much was done lately, and small notes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Engine, delete, func, or_, select, update
from sqlalchemy.orm import Session

from pveops.store.tables import MetaRow, NoteRow, UsageRow


class SqlMemory:
    """Usage and notes in SQL. What returns from a method is on disk."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()

    def targets(self, cluster: str, people: Iterable[str], *, since_s: int) -> set[str]:
        """What these people asked for or approved on a cluster since a time (Unix seconds), times to come included."""
        with Session(self._engine) as session:
            return _targets(session, cluster, tuple(people), since_s)

    def steps(self, cluster: str, *, since_s: int, requester: str | None = None, standing: str | None = None) -> int:
        """Steps since a time: of one requester, of one standing rule, or (``standing=""``) of all of them."""
        with Session(self._engine) as session:
            return _steps(session, cluster, since_s, requester, standing)

    def spend(self, rows: Iterable[dict[str, Any]], check: Callable[[], None], *, forget_before_s: int) -> None:
        """Write usage down if ``check`` lets it (nobody else spends in between, in this process or another), and drop what is older.

        Raises:
            Whatever ``check`` raises; nothing is written then.
        """
        with self._lock, Session(self._engine) as session, session.begin():
            # taking the row's lock first keeps others out until we are through
            session.execute(update(MetaRow).where(MetaRow.key == "schema_version").values(value=MetaRow.value))
            check()
            session.execute(delete(UsageRow).where(UsageRow.at_s < forget_before_s))
            session.add_all(UsageRow(**row) for row in rows)

    def note(self, kind: str, name: str) -> dict[str, Any] | None:
        """A note."""
        with Session(self._engine) as session:
            row = session.get(NoteRow, (kind, name))
            return dict(row.body) if row is not None else None

    def notes(self, kind: str) -> dict[str, dict[str, Any]]:
        """All notes of a kind by name."""
        with Session(self._engine) as session:
            return {row.name: dict(row.body) for row in session.scalars(select(NoteRow).where(NoteRow.kind == kind).order_by(NoteRow.name))}

    def keep(self, kind: str, name: str, body: dict[str, Any] | None) -> None:
        """Write a note, or with none drop it."""
        with self._lock, Session(self._engine) as session, session.begin():
            row = session.get(NoteRow, (kind, name))
            if body is None:
                if row is not None:
                    session.delete(row)
            elif row is None:
                session.add(NoteRow(kind=kind, name=name, body=body))
            else:
                row.body = body


def _targets(session: Session, cluster: str, people: tuple[str, ...], since_s: int) -> set[str]:
    whose = or_(UsageRow.requester.in_(people), UsageRow.approver.in_(people))
    query = select(UsageRow.target).where(UsageRow.cluster == cluster, UsageRow.at_s >= since_s, whose).distinct()
    return set(session.scalars(query))


def _steps(session: Session, cluster: str, since_s: int, requester: str | None, standing: str | None) -> int:
    query = select(func.coalesce(func.sum(UsageRow.steps), 0)).where(UsageRow.cluster == cluster, UsageRow.at_s >= since_s)
    if requester is not None:
        query = query.where(UsageRow.requester == requester)
    if standing is not None:
        query = query.where(UsageRow.standing == standing if standing else UsageRow.standing != "")
    return int(session.scalar(query) or 0)
