"""Tables of thousands of guests, column by column.

The columns, dtypes and meanings are those of ``GUESTS``; a column whose values are all of the usual type is converted at once, any other
value by value with the rules of ``model.values``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pveops.frames.columns import GUESTS
from pveops.frames.frame import finish
from pveops.model.values import flag, fraction, whole, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pveops.model.resources import Columns

_KINDS = {"lxc": "lxc", "openvz": "lxc"}
_STATES = {state: state for state in ("running", "stopped", "paused", "suspended")}


def guests_frame(answer: Columns) -> pd.DataFrame:
    """All guests by id, the same frame as ``to_frame(GUESTS, …)`` makes from model objects."""
    raw = answer.columns
    vmid = _wholes(raw["vmid"])
    mem, maxmem = _wholes(raw["mem"]), _wholes(raw["maxmem"])
    columns = {
        "vmid": vmid,
        "name": _texts(raw["name"]),
        "kind": _mapped(raw["type"], lambda value: _KINDS.get(value, "qemu")),
        "node": _texts(raw["node"]),
        "status": _mapped(raw["status"], lambda value: _STATES.get(value, "unknown")),
        "cpu_fraction": _reals(raw["cpu"]),
        "cpus": _wholes(raw["maxcpu"]),
        "mem_fraction": _shares(mem, maxmem),
        "mem_bytes": mem,
        "maxmem_bytes": maxmem,
        "disk_bytes": _root_disks(raw["disk"], raw["type"]),
        "maxdisk_bytes": _wholes(raw["maxdisk"]),
        "uptime_s": _wholes(raw["uptime"]),
        "template": _flags(raw["template"]),
        "lock": _texts(raw["lock"]),
        "pool": _texts(raw["pool"]),
        "tags": _mapped(raw["tags"], lambda value: ";".join(words(value)) or None),
        "hastate": _texts(raw["hastate"]),
    }
    frame = pd.DataFrame(columns, columns=list(GUESTS.order), copy=False)
    if not frame["vmid"].is_monotonic_increasing:
        frame = frame.sort_values("vmid", kind="stable", ignore_index=True)
    return finish(frame, GUESTS, answer)


def _wholes(values: Sequence[Any]) -> Any:
    kinds = set(map(type, values))
    if kinds <= {int}:
        return pd.arrays.IntegerArray(np.array(values, dtype=np.int64), np.zeros(len(values), dtype=bool))
    if not kinds <= {int, type(None)}:
        values = [whole(value) for value in values]
    absent = np.array([value is None for value in values], dtype=bool)
    return pd.arrays.IntegerArray(np.array([value or 0 for value in values], dtype=np.int64), absent)


def _reals(values: Sequence[Any]) -> Any:
    numbers = [fraction(value) for value in values] if not set(map(type, values)) <= {int, float, type(None)} else values
    data = np.array(numbers, dtype=np.float64)
    absent = ~np.isfinite(data)
    data[absent] = 0.0
    return pd.arrays.FloatingArray(data, absent)


def _flags(values: Sequence[Any]) -> Any:
    if set(map(type, values)) <= {int}:
        return pd.arrays.BooleanArray(np.array(values, dtype=np.int64) == 1, np.zeros(len(values), dtype=bool))
    return pd.array(list(map(flag, values)), dtype="boolean")


def _shares(parts: Any, wholes: Any) -> Any:
    absent = parts._mask | wholes._mask | (wholes._data == 0)  # noqa: SLF001 - pandas has no other way to a mask without a copy
    with np.errstate(divide="ignore", invalid="ignore"):
        data = parts._data / wholes._data  # noqa: SLF001
    data[absent] = 0.0
    return pd.arrays.FloatingArray(data, absent)


def _root_disks(values: Sequence[Any], kinds: Sequence[Any]) -> Any:
    """What a virtual machine uses of its disk is not known to Proxmox VE: it says 0."""
    disks = _wholes(values)
    disks[np.array([kind == "qemu" for kind in kinds], dtype=bool) & (disks._data == 0)] = pd.NA  # noqa: SLF001
    return disks


def _texts(values: Sequence[Any]) -> Any:
    return pd.array([value or None for value in values], dtype="string")


def _mapped(values: Sequence[Any], change: Callable[[Any], Any]) -> Any:
    known = {value: change(value) for value in set(values)}
    return pd.array([known[value] for value in values], dtype="string")
