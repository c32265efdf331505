"""Rows of guests in views of the cluster, as JSON.

They are made ten thousand at a time: what changes with every broadcast is printed column by column, what does not is kept with the guest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any

import orjson

from pveops.sim.physics.broadcast import Broadcast
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.guest import Guest
from pveops.sim.state.node import Cast

_NAMES = (b"cpu", b"mem", b"memhost", b"disk", b"netin", b"netout", b"diskread", b"diskwrite", b"uptime")
"""The values that change with every broadcast, in the order of a sample."""

_RUNNING = b',"status":"running",' + b",".join(b'"%b":%%b' % name for name in _NAMES) + b"},"
_STILL = b',"status":"stopped","uptime":0,' + b",".join(b'"%b":0' % name for name in _NAMES[:-1]) + b"},"
_UNKNOWN = b',"status":"unknown"},'
_DIGITS = 12


def _printed(cast: Broadcast) -> list[tuple[bytes, ...]]:
    """The values of all running guests as text, one tuple per guest; kept with the broadcast."""
    found: list[tuple[bytes, ...]] | None = cast.__dict__.get("printed")
    if found is None:
        columns = [cast.values.cpu.round(_DIGITS), *cast.values[1:]]
        texts = [orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") for column in columns]
        found = cast.__dict__["printed"] = list(zip(*texts, strict=True)) if cast.on_air.guests else []
    return found


class GuestPrinter:
    """Prints rows of guests for one answer. What is configuration is of now, what nodes measure is of the last broadcast.

    Args:
        cluster: the state.
        cast: the last broadcast.
        extras: keys that belong to guests but are not their own, by id, as JSON with a leading comma.
    """

    def __init__(self, cluster: Cluster, cast: Broadcast, extras: Mapping[int, bytes]) -> None:
        self._cluster = cluster
        self._cast = cast
        self._extras = extras

    def everybody(self, key: object) -> bytes:
        """The rows of all guests, with commas between them; ``key`` stands for what the extra keys depend on."""
        cast, guests = self._cast, self._cluster.guests.values()
        if not cast.as_it_is(self._cluster):
            return self.some(guests)
        kept = cast.on_air.kept
        if key not in kept:
            kept.clear()
            kept[key] = self._template(list(guests), [guest.head or self._keep(guest) for guest in guests])
        return kept[key] % tuple(chain.from_iterable(_printed(cast)))

    def some(self, guests: Iterable[Guest]) -> bytes:
        """The rows of some guests, with commas between them."""
        chosen = list(guests)
        found = self._template(chosen, [self._head(guest) for guest in chosen])
        position = self._cast.position
        order = [position[guest.vmid] for guest in chosen if guest.vmid in position]
        return found % tuple(chain.from_iterable(self._rows(order)))

    def _template(self, guests: list[Guest], heads: list[bytes | None]) -> bytes:
        """The rows with room for the values of those who run."""
        extras, position = self._extras, self._cast.position
        parts: list[bytes] = []
        for guest, head in zip(guests, heads, strict=True):
            vmid = guest.vmid
            parts.append(head or self._written(guest, None))
            if vmid in extras:
                parts.append(extras[vmid])
            parts.append(_RUNNING if vmid in position else _STILL if head else _UNKNOWN)
        return b"".join(parts)[:-1]

    def _rows(self, order: list[int]) -> Iterable[tuple[bytes, ...]]:
        rows = _printed(self._cast)
        if not order:
            return ()
        if order == list(range(len(rows))):
            return rows
        picked = itemgetter(*order)(rows)
        return picked if len(order) > 1 else (picked,)

    def one(self, guest: Guest) -> dict[str, Any]:
        """The row of one guest as an object."""
        found: dict[str, Any] = orjson.loads(self.some([guest]))
        return found

    def _head(self, guest: Guest) -> bytes | None:
        """What does not change with time; nothing for a guest that no broadcast has told of."""
        shown = self._cast.shown(self._cluster, guest)
        if shown is None:
            return None
        return (guest.head or self._keep(guest)) if shown is guest else self._written(guest, shown)

    def _keep(self, guest: Guest) -> bytes:
        guest.head = self._written(guest, guest)
        return guest.head

    def _written(self, guest: Guest, shown: Guest | Cast | None) -> bytes:
        """The beginning of a row as a template, still open at its end; without measured sizes when no broadcast has told of them."""
        head: dict[str, Any] = {"id": guest.ident, "type": guest.kind, "vmid": guest.vmid, "node": guest.node}
        head |= {key: value for key, value in (("tags", guest.tags), ("lock", guest.lock)) if value}
        if shown is not None:
            maxcpu = shown.cpus or self._cluster.nodes[guest.node].cpus
            head |= {"name": shown.name, "template": shown.template, "maxcpu": maxcpu, "maxmem": shown.maxmem, "maxdisk": shown.maxdisk}
        return orjson.dumps(head)[:-1].replace(b"%", b"%%")
