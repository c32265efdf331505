"""What the twin needs from the outside. ``app`` plugs the real parts in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pveops.base.clock import Clock
from pveops.guard.ports import Cluster
from pveops.model.plan import WireCall
from pveops.model.tasks import Upid


class Live(Protocol):
    """The live cluster. There is no way to write through this port."""

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The data of one GET. Raises ``TransportError`` or ``ApiError``."""
        ...


class Stage(Protocol):
    """A private simulated cluster with a clock that jumps: waiting takes no time."""

    @property
    def cluster(self) -> Cluster:
        """The cluster for those who follow tasks and read back."""
        ...

    @property
    def clock(self) -> Clock:
        """Its time; ``wait_s`` moves it forward."""
        ...

    @property
    def asked(self) -> int:
        """How many requests it has got so far."""
        ...

    def used_bytes(self) -> Mapping[tuple[str, str], int]:
        """What lies on each storage, by its name and node; the node is empty for a shared one."""
        ...

    def send(self, call: WireCall) -> Upid | None:
        """Carry out one call; the task, or none for a synchronous call. Raises ``ApiError`` when it is refused."""
        ...
