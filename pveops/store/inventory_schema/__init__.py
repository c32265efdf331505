"""Brings the tables of the inventory to this release's form: Alembic steps in ``versions``, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from pveops.base.errors import ConfigError
from pveops.store.inventory_tables import HEAD

_FOLDER = Path(__file__).parent


def version_of(connection: Connection) -> str:
    """The step that the tables are at; empty for none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def upgrade(connection: Connection) -> None:
    """Carry out the steps that are missing, in the caller's transaction.

    Raises:
        ConfigError: a newer release wrote the tables.
    """
    found = version_of(connection)
    if found == HEAD:
        return
    # a large library, and only for the first start of a release
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from alembic.script.revision import ResolutionError  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    script = ScriptDirectory(str(_FOLDER))
    steps = EnvironmentContext(
        Config(), script, fn=lambda revision, _context: script._upgrade_revs("head", revision) # noqa: SLF001 - as Alembic's own commands do
    )  # fmt: skip
    with steps:
        steps.configure(connection=connection, render_as_batch=True)
        try:
            steps.run_migrations()
        except (CommandError, ResolutionError) as err:
            raise ConfigError(
                f"The inventory was written by a newer pveops (step {found}, this one knows {HEAD}).", hint="Upgrade pveops."
            ) from err
