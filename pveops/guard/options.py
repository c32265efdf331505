"""How the executor works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the executor works. Times in seconds."""

    approval_ttl_s: int = 900
    bulk_targets: int = 10
    task_timeout_s: int = 86_400
    lost_after_s: float = 120.0
    look_again_s: float = 15.0
    hesitate_s: float = 5.0
    """A request that could not leave so soon after its intent does not leave."""
    one_person: bool = True
    own_guests: tuple[int, ...] = ()
    own_nodes: tuple[str, ...] = ()
