"""Notebooks: cards, tables and the ``%%ops`` cell in IPython and JupyterLab. Loads nothing heavy until something is shown."""

from __future__ import annotations

from typing import Any

__all__ = ["register"]


def register(shell: Any) -> None:
    """Teach an IPython shell to show what pveops gives. Doing it twice does no harm."""
    from pveops.surfaces.widgets import formatters, magic  # noqa: PLC0415 - lazy on purpose

    formatters.install(shell)
    magic.install(shell)
