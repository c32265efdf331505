"""All kinds of faults by name."""

from __future__ import annotations

from typing import Any

from pveops.base.errors import InputError
from pveops.sim.faults import backups, certificates, disks, guests, jobs, nodes, requests, storages
from pveops.sim.faults.spec import Fault, Parameter

_ROOMS = (nodes, storages, backups, guests, jobs, disks, requests, certificates)

KINDS: dict[str, type[Fault]] = {kind.name: kind for room in _ROOMS for kind in room.KINDS}


def find(name: str) -> type[Fault]:
    """The kind of that name.

    Raises:
        InputError: there is none.
    """
    if name not in KINDS:
        raise InputError(f"There is no fault {name!r}.", hint=f"There are: {', '.join(sorted(KINDS))}.")
    return KINDS[name]


def _allowed(parameter: Parameter) -> str:
    if parameter.what:
        return f"a {parameter.what}"
    if parameter.choices:
        return ", ".join(parameter.choices)
    if parameter.low is None:
        return "text"
    return f"{parameter.low:g} to {parameter.high:g}" if parameter.high is not None else f"{parameter.low:g} or more"


def described() -> list[dict[str, Any]]:
    """Every kind with its parameters, as data."""
    return [
        {
            "kind": kind.name,
            "doc": kind.doc(),
            "cause": kind.cause,
            "sees": kind.sees,
            "repair": kind.repair,
            "by": kind.by,
            "parameters": [
                {
                    "name": one.name,
                    "doc": one.doc,
                    "unit": one.unit,
                    "allowed": _allowed(one),
                    "default": "chosen by the seed" if one.pick is not None else one.default,
                }
                for one in kind.parameters
            ],
        }
        for kind in KINDS.values()
    ]
