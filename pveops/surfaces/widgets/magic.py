"""``%%ops``: a cell in plain words. What reads is answered; what changes becomes a proposal, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pveops.agent.loop import Turn
    from pveops.app.ops import Ops


def install(shell: Any) -> None:
    """Register ``%ops`` and ``%%ops`` with a shell."""

    def ops(line: str, cell: str | None = None) -> Turn:
        """Ask in words: ``%ops show failed tasks``, or a whole cell with ``%%ops``.

        Uses the variable ``ops`` where there is one; else it connects, to the profile named after ``%%ops`` or the usual one.
        """
        words, profile = (line, None) if cell is None else (cell, line.strip() or None)
        return _connected(shell, profile).chat(words.strip())

    shell.register_magic_function(ops, "line_cell", "ops")


def _connected(shell: Any, profile: str | None) -> Ops:
    import pveops  # noqa: PLC0415 - the package root is lazy
    from pveops.app.ops import Ops as Opened  # noqa: PLC0415 - loaded when the first cell asks

    held = shell.user_ns.get("ops")
    if isinstance(held, Opened) and profile in (None, held.name):
        return held
    opened = pveops.connect(profile)
    shell.user_ns["ops"] = opened
    return opened
