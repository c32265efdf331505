"""The expected diff, in words people read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pveops.base.units import fmt_bytes, fmt_pct
from pveops.model.plan import Change
from pveops.tools.library.look import Look
from pveops.tools.ports import Ports


def status_change(look: Look, after: str) -> Change:
    """A guest's state."""
    return Change(what=f"{look.guest.label}, state", before=look.status, after=after)


def memory_changes(ports: Ports, looks: Sequence[Look], *, grow: bool, target: str = "") -> list[Change]:
    """Memory of the nodes concerned: what running guests free where they are, and take on ``target`` (or take where they are: ``grow``)."""
    shift: dict[str, int] = defaultdict(int)
    for look in looks:
        guest = look.guest
        if grow:
            shift[guest.node] += guest.maxmem_bytes or 0
        elif look.status != "stopped":
            used = guest.mem_bytes or guest.maxmem_bytes or 0
            shift[guest.node] -= used
            if target:
                shift[target] += used
    nodes = {node.name: node for node in ports.reader.nodes().rows}
    found = []
    for name, by in shift.items():
        node = nodes.get(name)
        if node is None or node.mem_bytes is None or not node.maxmem_bytes or not by:
            continue
        after = max(0, node.mem_bytes + by)
        found.append(
            Change(
                what=f"{name} memory",
                before=fmt_pct(node.mem_bytes / node.maxmem_bytes),
                after=("at most " if grow else "") + fmt_pct(after / node.maxmem_bytes),
                by=fmt_bytes(by, signed=True),
            )
        )
    return found
