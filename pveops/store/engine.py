"""Opens the executor's database: SQLite in a file of the home, or PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from pveops.base.errors import ConfigError
from pveops.store.migrations import keep_copy, upgrade
from pveops.store.tables import SCHEMA_VERSION, Base, MetaRow

_POOL = 40
"""Connections: steps under way at once, and those who look."""


def open_engine(path: Path) -> Engine:
    """A SQLite database in WAL mode that syncs every commit.

    Raises:
        ConfigError: the file is no such database, cannot be opened, or was written by a newer pveops.
    """
    engine = sqlite_engine(path, synchronous="FULL", first=keep_copy, pool=_POOL)
    _prepare(engine, str(path), "Move it away and restore a backup, or check disk and owner.")
    path.chmod(0o600)
    return engine


def sqlite_engine(path: Path, *, synchronous: str, first: Callable[[Path], object] | None = None, pool: int = 5) -> Engine:
    """A SQLite file in WAL mode that is private to its owner; ``first`` looks at it before it is opened.

    Raises:
        ConfigError: the file cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600)  # the files that SQLite puts beside it take over its mode
        if first is not None:
            first(path)
    except (OSError, sqlite3.Error) as err:
        raise ConfigError(f"The store {path} cannot be opened: {err}.", hint="Check disk, owner and mode of its folder.") from err
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30}, pool_size=pool)

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.close()

    return engine


def open_postgres(url: str) -> Engine:
    """A PostgreSQL database; every commit waits for the disk.

    Raises:
        ConfigError: the URL is no such URL, nobody answers there, or it was written by a newer pveops. Passwords are never shown.
    """
    engine, shown = postgres_engine(
        url,
        # a process that stands still in the middle of a transaction must not hold back the others for longer
        ("SET synchronous_commit TO on", "SET idle_in_transaction_session_timeout TO '5s'"),
        pool=_POOL,
    )
    _prepare(engine, shown, "Is PostgreSQL up there, and may this user make tables?")
    return engine


def postgres_engine(url: str, settings: Sequence[str], *, pool: int = 5) -> tuple[Engine, str]:
    """A PostgreSQL database whose connections begin with these settings, and its URL without the password.

    Raises:
        ConfigError: the URL is no such URL, or the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as err:
        raise ConfigError("The store's URL cannot be read.", hint="Write postgresql://user@host:5432/database.") from err
    if parsed.get_backend_name() != "postgresql":
        raise ConfigError(f"The store cannot be {parsed.get_backend_name()}.", hint="It is SQLite in the home, or postgresql://….")
    shown = parsed.render_as_string(hide_password=True)
    try:
        engine = create_engine(_driver(parsed), pool_size=pool, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as err:
        raise ConfigError("PostgreSQL needs its driver.", hint="Install pveops[postgres].") from err

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(setting)
        cursor.close()
        connection.commit()

    return engine, shown


def _driver(url: URL) -> URL:
    """pg8000, and a folder in ``?host=`` as its Unix socket."""
    folder, port = url.query.get("host"), url.port or 5432
    bare = url.set(drivername="postgresql+pg8000").difference_update_query(["host"])
    if isinstance(folder, str) and folder.startswith("/"):
        return bare.update_query_dict({"unix_sock": f"{folder}/.s.PGSQL.{port}"})
    return bare


def for_psycopg(url: str) -> str:
    """The same database, as DBOS wants it named."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _prepare(engine: Engine, name: str, hint: str) -> None:
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(7318008000)"))  # two that start at once
            Base.metadata.create_all(connection)
        with Session(engine) as session, session.begin():
            found = session.get(MetaRow, "schema_version")
            if found is None:
                session.merge(MetaRow(key="schema_version", value=str(SCHEMA_VERSION)))
            elif int(found.value) > SCHEMA_VERSION:
                raise ConfigError(
                    f"{name} was written by a newer pveops (store version {found.value}, this one knows {SCHEMA_VERSION}).",
                    hint="Upgrade pveops.",
                )
            elif int(found.value) < SCHEMA_VERSION:
                upgrade(session.connection(), int(found.value))
    except ConfigError:
        engine.dispose()
        raise
    except DBAPIError as err:
        engine.dispose()
        raise ConfigError(f"The store {name} cannot be opened: {err.orig}.", hint=hint) from err
