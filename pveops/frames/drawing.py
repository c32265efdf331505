"""How a table is drawn. Tables are made here, the look is made above: whoever wires the parts says who draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pveops.base.errors import ConfigError

Draw = Callable[..., Any]
_drawn_by: list[Draw] = []
"""At most one. pandas knows its accessors per process, so this cannot hang on anything smaller."""


def drawn_by(draw: Draw) -> None:
    """From now on tables are drawn by this."""
    _drawn_by[:] = [draw]


def draw(frame: Any, **options: Any) -> Any:
    """The table as a plot.

    Raises:
        ConfigError: nobody draws here.
    """
    if not _drawn_by:
        raise ConfigError("Nothing draws tables in this process.", hint="Plots come with pveops.connect().")
    return _drawn_by[0](frame, **options)
