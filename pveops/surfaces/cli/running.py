"""The processes that ``pveops up`` holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from pveops.app.processes import Child


@dataclass(slots=True)
class Running:
    """What is up: processes by name in the order they were started, and what to tell people."""

    children: dict[str, Child] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    """What processes that start later are given."""
    restarts: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    def stop(self) -> None:
        """End everything, last started first."""
        for child in reversed(list(self.children.values())):
            child.stop()
