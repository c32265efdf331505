"""Named places where a fault test stops the executor, to kill it there. Without ``PVEOPS_CRASH_POINTS`` in the environment they do nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

Point = Literal["before_send", "after_send", "after_intent_record"]
"""Between two writes. Beside these, ``wrote_<kind of event>`` is right after that event is on disk."""


def crash_point(name: Point | str) -> None:
    """Where ``$PVEOPS_CRASH_POINTS/<name>.hold`` exists: leave ``<name>.reached`` beside it and stay here until the hold is gone."""
    folder = os.environ.get("PVEOPS_CRASH_POINTS")
    if not folder:
        return
    hold = Path(folder) / f"{name}.hold"
    if hold.exists():
        (Path(folder) / f"{name}.reached").touch()
        while hold.exists():
            time.sleep(0.01)
