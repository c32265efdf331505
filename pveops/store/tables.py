"""The tables."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 2


class Base(DeclarativeBase):
    """All tables of the executor's store."""


class MetaRow(Base):
    """Facts about the store itself."""

    __tablename__ = "meta"
    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class ProposalRow(Base):
    """A proposal as JSON, with what is searched by."""

    __tablename__ = "proposals"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, index=True)
    status: Mapped[str] = mapped_column(String(16), index=True)
    version: Mapped[int] = mapped_column(Integer)
    body: Mapped[dict] = mapped_column(JSON)  # type: ignore[type-arg]


class RunRow(Base):
    """A run; the approval it was opened with can be spent once."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    proposal_id: Mapped[str] = mapped_column(String(16), unique=True)
    approval_id: Mapped[str] = mapped_column(String(40), unique=True)
    approval: Mapped[dict] = mapped_column(JSON)  # type: ignore[type-arg]
    open: Mapped[bool] = mapped_column(Boolean, index=True)


class JournalRow(Base):
    """One event of a run."""

    __tablename__ = "journal"
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(String(16), index=True)
    body: Mapped[dict] = mapped_column(JSON)  # type: ignore[type-arg]


class FeedRow(Base):
    """One line of news."""

    __tablename__ = "feed"
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(40))
    proposal_id: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(40))
    text: Mapped[str] = mapped_column(Text)


class WorkerRow(Base):
    """A process that carries runs; ``beat`` grows as long as it lives."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    beat: Mapped[int] = mapped_column(Integer)
    about: Mapped[str] = mapped_column(Text)


class LeaseRow(Base):
    """Who carries a run at the moment. Only the holder's events are taken."""

    __tablename__ = "leases"
    run_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    worker: Mapped[str] = mapped_column(String(40), index=True)


class UsageRow(Base):
    """One target of a run that was let go: what limits count. Times are Unix seconds."""

    __tablename__ = "usage"
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at_s: Mapped[int] = mapped_column(Integer, index=True)
    cluster: Mapped[str] = mapped_column(String(80), index=True)
    requester: Mapped[str] = mapped_column(String(40))
    approver: Mapped[str] = mapped_column(String(40))
    standing: Mapped[str] = mapped_column(String(40))
    proposal_id: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(200))
    steps: Mapped[int] = mapped_column(Integer)


class NoteRow(Base):
    """Small things that the guard must remember: sessions, standing rules, a broken glass, the latest time it saw."""

    __tablename__ = "notes"
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    body: Mapped[dict] = mapped_column(JSON)  # type: ignore[type-arg]
