"""The table of changes as data: reads ``tables/tiers-9.2.txt`` (what each change can do) and ``tables/params-9.2.txt`` (what it takes)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

from pveops.model.plan import WireCall
from pveops.model.proposal import Tier

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@!:+-]*"
_SEGMENTS = {
    "node": r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    "vmid": r"[1-9][0-9]{2,8}",
    "snapname": r"[A-Za-z][A-Za-z0-9_-]{1,39}",
    "storage": r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]",
    "volume": rf"{_NAME}(?:/{_NAME})*",
    "cidr": r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?",
}
_ROW = re.compile(r"(?P<tier>yellow|red|black) (?P<methods>[A-Z,]+) (?P<path>/\S+) \| (?P<does>[^|]+?)(?: \| (?P<options>.+))?")


@dataclass(frozen=True, slots=True)
class Rule:
    """One change: its tier, what it does, and what its parameters make of it.

    Attributes:
        template: the path as Proxmox VE documents it, ``/nodes/{node}/qemu/{vmid}/status/start``.
        knows: parameters that Proxmox VE knows for it; ``net[n]`` stands for a number behind the name.
        takes: those that do not change the tier; none means all that it knows.
        rest: the tier of those that it knows and does not take.
        raises: those that raise it, with the value that does (none: any but 0 and empty).
    """

    method: str
    template: str
    tier: Tier
    does: str
    knows: frozenset[str]
    takes: frozenset[str] | None = None
    rest: Tier = Tier.BLACK
    raises: Mapping[str, tuple[Tier, str | None]] = field(default_factory=dict)
    path: re.Pattern[str] = field(default=re.compile(""), compare=False)

    @property
    def name(self) -> str:
        """``POST /nodes/{node}/qemu/{vmid}/status/start``: what policies call it."""
        return f"{self.method} {self.template}"

    def match(self, call: WireCall) -> bool:
        """Whether the rule is about this call."""
        return call.method == self.method and self.path.fullmatch(call.path) is not None

    def of_parameter(self, name: str, value: str | int) -> Tier | None:
        """The tier that a parameter asks for; none where it asks for nothing. Raises ``KeyError`` where Proxmox VE does not know it."""
        plain = _plain(name)
        if not {name, plain} & self.knows:
            raise KeyError(name)
        if name == "delete" and self.template.endswith("/{vmid}/config"):
            return self._of_dropped(str(value))
        raised = self.raises.get(name) or self.raises.get(plain)
        if raised is not None:
            tier, only = raised
            return tier if (str(value) == only if only is not None else value not in (0, "0", "")) else None
        return None if self.takes is None or {name, plain} & self.takes else self.rest

    def _of_dropped(self, names: str) -> Tier | None:
        """The tier that dropping settings asks for: that of the highest of them. Raises ``KeyError`` where Proxmox VE does not know one."""
        found: list[Tier] = []
        for name in filter(None, re.split(r"[;,\s]+", names)):
            keys = {name, _plain(name)}
            if not keys & self.knows:
                raise KeyError(name)
            found += [self.raises[key][0] for key in keys if key in self.raises]
            if self.takes is not None and not keys & self.takes:
                found.append(self.rest)
        return max(found, key=lambda tier: tier.rank, default=None)


def _plain(name: str) -> str:
    """``net[n]`` for ``net0``."""
    stem = name.rstrip("0123456789")
    return f"{stem}[n]" if stem != name else name


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{([^}]+)\}", template)
    text = [re.escape(part) if index % 2 == 0 else f"({_SEGMENTS.get(part, _NAME)})" for index, part in enumerate(parts)]
    return re.compile("".join(text))


def _text(name: str) -> Iterator[str]:
    for line in resources.files("pveops.guard").joinpath("tables", name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def _known() -> dict[str, frozenset[str]]:
    rows = (line.partition(":") for line in _text("params-9.2.txt"))
    return {name: frozenset(names.split()) for name, _, names in rows}


def _paths(text: str) -> Iterator[str]:
    """Every path that a row means: ``qemu|lxc`` is a choice."""
    yield from ("/".join(parts) for parts in itertools.product(*(segment.split("|") for segment in text.split("/"))))


def _options(text: str) -> tuple[frozenset[str] | None, Tier, dict[str, tuple[Tier, str | None]]]:
    takes: frozenset[str] | None = None
    rest, raises = Tier.BLACK, {}
    for option in filter(None, text.split(";")):
        word, *names = option.split()
        if word == "takes":
            takes = frozenset(names)
        elif word == "rest":
            rest = Tier(names[0])
        else:
            for name in names:
                key, _, value = name.partition("=")
                raises[key] = (Tier(word), value or None)
    return takes, rest, raises


def rows() -> Iterator[Rule]:
    """All rules, in the order of the table.

    Raises:
        ValueError: the table is malformed (a fault of ours).
    """
    known, never = _known(), dict[str, tuple[Tier, str | None]]()
    for line in _text("tiers-9.2.txt"):
        if line.startswith("never "):
            never = dict.fromkeys(line.split()[1:], (Tier.BLACK, None))
            continue
        row = _ROW.fullmatch(line)
        if row is None:
            raise ValueError(f"the table of changes has a malformed row: {line[:80]}")
        takes, rest, raises = _options(row["options"] or "")
        for method, path in itertools.product(row["methods"].split(","), _paths(row["path"])):
            knows = known.get(f"{method} {path}", frozenset())
            yield Rule(method, path, Tier(row["tier"]), row["does"], knows, takes, rest, never | raises, _pattern(path))


TABLE: tuple[Rule, ...] = tuple(rows())
_BY_METHOD: dict[str, list[Rule]] = {method: [rule for rule in TABLE if rule.method == method] for method in ("POST", "PUT", "DELETE")}


@lru_cache(maxsize=8192)
def rule_of(call: WireCall) -> Rule | None:
    """The rule about a call; none where the table has none."""
    return next((rule for rule in _BY_METHOD[call.method] if rule.match(call)), None)
