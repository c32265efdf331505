"""The firewall as configuration: rules, options, aliases, address sets and groups of one scope (datacenter, node, guest, virtual network)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

Rule = dict[str, Any]


@dataclass(slots=True)
class Alias:
    """A name for an address or network."""

    name: str
    cidr: str
    comment: str = ""

    @property
    def version(self) -> int:
        """4 or 6."""
        return ip_version(self.cidr)


@dataclass(slots=True)
class AddressSet:
    """A named set of addresses. ``entries`` by address: its options."""

    name: str
    comment: str = ""
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class RuleGroup:
    """A named list of rules that rules of other scopes refer to."""

    name: str
    comment: str = ""
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class Firewall:
    """The configuration of one scope. Aliases are known by their name in lower case."""

    rules: list[Rule] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    sets: dict[str, AddressSet] = field(default_factory=dict)
    groups: dict[str, RuleGroup] = field(default_factory=dict)


def ip_version(text: str) -> int:
    """The IP version of an address, network or range of addresses; 0 for anything else."""
    try:
        return ipaddress.ip_network(text.partition("-")[0], strict=False).version
    except ValueError:
        return 0


def clean_cidr(text: str) -> str:
    """An address as it is stored: a network of one address loses its length."""
    return text.removesuffix("/32") if ip_version(text) == 4 else text.removesuffix("/128")


def network_of(text: str) -> str:
    """An address or network without the bits behind its length, as sets store it."""
    return clean_cidr(str(ipaddress.ip_network(text, strict=False))) if "/" in text else text
