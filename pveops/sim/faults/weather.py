"""What happens to requests on their way: they are slow, refused, carried out without an answer, or the answer breaks off."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pveops.sim.state import noise

_NODE = re.compile(r"/nodes/([^/]+)")


class Effect(NamedTuple):
    """What happens to one request. ``delay_s`` is real seconds.

    With a ``status`` the answer is that one, with an empty body unless there is a ``message``; ``done`` says whether the request is
    carried out all the same. With ``cut`` the answer breaks off in the middle of its body.
    """

    delay_s: float = 0.0
    status: int = 0
    reason: str = ""
    message: str = ""
    done: bool = True
    cut: bool = False


@dataclass(slots=True, kw_only=True)
class Rule:
    """Something that happens to a share of some requests. Which ones follows from the seed and their number.

    Args:
        effect: what happens.
        concerns: whether a request (verb, path without format) is meant.
        fraction: the share of those that it happens to.
        label: what chance is drawn for.
    """

    effect: Effect
    concerns: Callable[[str, str], bool]
    fraction: float = 1.0
    label: str = ""
    met: int = 0
    """How many requests were meant so far."""


def node_of(path: str) -> str:
    """The node that a path names; empty when it names none."""
    match = _NODE.match(path)
    return match[1] if match else ""


class Weather:
    """All rules in force.

    Args:
        seed: of the cluster.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.rules: list[Rule] = []

    def over(self, verb: str, path: str) -> Effect | None:
        """What happens to a request; the delays of all rules add up, of anything else the first rule counts."""
        found: Effect | None = None
        for rule in self.rules:
            if not rule.concerns(verb, path):
                continue
            rule.met += 1
            if noise.unit(self._seed, "weather", rule.label, rule.met) >= rule.fraction:
                continue
            delay_s = rule.effect.delay_s + (found.delay_s if found else 0.0)
            harder = found if found is not None and (found.status or found.cut) else rule.effect
            found = harder._replace(delay_s=delay_s)
        return found
