"""Plug-ins that tighten the policy: entry points of the group ``pveops.policy``, each a function from a question to a reason against it, or nothing."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from pveops.base.errors import ConfigError
from pveops.guard.policy import Restriction

GROUP = "pveops.policy"


def restrictions() -> tuple[Restriction, ...]:
    """All that are installed, by name. Their distribution and version are part of the policy's hash.

    Raises:
        ConfigError: one cannot be loaded: an executor that lacks a restriction must not start.
    """
    return tuple(_load(point) for point in sorted(entry_points(group=GROUP), key=lambda point: point.name))


def _load(point: EntryPoint) -> Restriction:
    name = f"{point.name} ({point.dist.name} {point.dist.version})" if point.dist else point.name
    try:
        ask = point.load()
    except Exception as err:  # somebody else's code: whatever it raises, the executor does not start without it
        raise ConfigError(f"The policy plug-in {name} cannot be loaded: {err}.", hint="Mend or remove the package.") from err
    if not callable(ask):
        raise ConfigError(f"The policy plug-in {name} is no function.", hint="Mend or remove the package.")
    return Restriction(name, ask)
