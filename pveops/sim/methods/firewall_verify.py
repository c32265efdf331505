"""Whether a firewall rule makes sense where it stands: one check after the other, each with the words of the real API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pveops.sim.errors import bad_parameter, failed
from pveops.sim.firewall_words import ICMP_TYPES, ICMPV6_TYPES, IS_ICMP, MACROS, PROTOCOLS_WITH_PORTS
from pveops.sim.state.firewall import Firewall, Rule, ip_version

TYPES = {
    "ct": ("in", "out", "group"),
    "vm": ("in", "out", "group"),
    "group": ("in", "out", "forward"),
    "cluster": ("in", "out", "forward", "group"),
    "host": ("in", "out", "forward", "group"),
    "vnet": ("forward", "group"),
}
_NO_INTERFACE = frozenset({"group", "vnet"})
_ALIAS = re.compile(r"(dc/|guest/)?([A-Za-z][A-Za-z0-9\-_]+)")
_SET = re.compile(r"\+(guest/|dc/|sdn/)?([A-Za-z][A-Za-z0-9\-_]+)")
_GROUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9\-_]+")

Complain = Callable[[str, str], object]
"""Takes the name of a parameter and what is wrong with it."""


class _Verifier:
    """Verifies one rule.

    Args:
        rule: what it says.
        shared: the configuration of the datacenter.
        own: the configuration of the scope.
        kind: of the scope.
        complain: is told what is wrong.
    """

    def __init__(self, rule: Rule, shared: Firewall, own: Firewall, kind: str, complain: Complain) -> None:
        self._rule = rule
        self._shared = shared
        self._own = own
        self._kind = kind
        self._complain = complain
        self.version = 0

    def run(self) -> None:
        """All checks."""
        self._type_and_action()
        self._interface()
        macro = self._macro()
        self._protocol()
        self._ports("dport")
        self._icmp()
        self._ports("sport")
        for name in ("source", "dest"):
            if self._rule.get(name):
                self._address(name)
        if macro:
            self._fits_macro(macro)

    def _settle(self, version: int) -> None:
        if version and self.version and version != self.version:
            raise failed("detected mixed ipv4/ipv6 addresses in rule")
        self.version = version or self.version

    def _type_and_action(self) -> None:
        kind, action = self._rule["type"], str(self._rule["action"])
        if kind not in TYPES[self._kind]:
            self._complain("type", f"invalid rule type '{kind}' for rule_env '{self._kind}'")
        if kind == "group":
            if not _GROUP_NAME.fullmatch(action):
                self._complain("action", "invalid characters in security group name")
            return
        if kind == "forward" and action == "REJECT":
            self._complain("action", "cannot define REJECT rules on forward chain")
        if action not in ("ACCEPT", "DROP", "REJECT"):
            self._complain("action", f"unknown action '{action}'")

    def _interface(self) -> None:
        name = self._rule.get("iface")
        if not name:
            return
        if self._kind in _NO_INTERFACE:
            self._complain("type", "parameter -i not allowed for this rule type")
        if self._kind in ("vm", "ct") and not re.fullmatch(r"net\d+", str(name)):
            self._complain("iface", "value does not match the regex pattern 'net\\d+'")

    def _macro(self) -> str:
        name = self._rule.get("macro")
        if not name:
            return ""
        found = MACROS.get(str(name).lower())
        if found is None:
            self._complain("macro", f"unknown macro '{name}'")
            return ""
        self._rule["macro"] = found.name
        return found.name

    def _protocol(self) -> None:
        proto = self._rule.get("proto")
        self._settle({"icmp": 4, "icmpv6": 6, "ipv6-icmp": 6}.get(str(proto), 0))

    def _ports(self, name: str) -> None:
        if not self._rule.get(name):
            return
        proto = str(self._rule.get("proto") or "")
        if not proto:
            self._complain("proto", f"missing property - '{name}' requires this property")
        elif proto not in PROTOCOLS_WITH_PORTS and not (name == "dport" and proto in IS_ICMP):
            self._complain(name, f"protocol '{proto}' does not support ports")

    def _icmp(self) -> None:
        wanted = self._rule.get("icmp-type")
        if not wanted:
            return
        proto = str(self._rule.get("proto") or "")
        if proto not in IS_ICMP:
            self._complain("proto", "missing property - 'icmp-type' requires this property")
        if self._rule.get("dport"):
            self._complain("icmp-type", "'icmp-type' cannot be specified together with 'dport'")
        known = {"icmp": ICMP_TYPES, "icmpv6": ICMPV6_TYPES, "ipv6-icmp": ICMPV6_TYPES}.get(proto)
        if known is not None and wanted not in known:
            self._complain("icmp-type", f"invalid icmp-type '{wanted}' for proto '{proto}'")

    def _address(self, name: str) -> None:
        text = str(self._rule[name])
        if text.startswith("+"):
            match = _SET.fullmatch(text)
            if match is None:
                self._complain(name, f"invalid ipset name '{text}'")
            elif match[2] not in self._shared.sets and match[2] not in self._own.sets:
                self._complain(name, f"no such ipset '{match[2]}'")
            return
        match = _ALIAS.fullmatch(text)
        if match is None:
            self._settle(ip_version(text.split(",", 1)[0]))
            return
        alias = match[2].lower()
        if alias not in self._shared.aliases and alias not in self._own.aliases:
            self._complain(name, f"no such alias '{text}'")
            return
        places = {"dc/": (self._shared,), "guest/": (self._own,)}.get(match[1] or "", (self._own, self._shared))
        found = next((place.aliases[alias] for place in places if alias in place.aliases), None)
        self._settle(found.version if found else 0)

    def _fits_macro(self, name: str) -> None:
        """What a macro sets cannot be set otherwise."""
        macro = MACROS[name.lower()]
        if macro.version and self.version and macro.version != self.version:
            return
        for fixed in macro.fixed:
            for key, value in fixed.items():
                given = self._rule.get(key)
                if given is not None and given != value:
                    self._complain(key, f"parameter '{key}' already define in macro (value = '{value}')")


def verify(rule: Rule, shared: Firewall, own: Firewall, kind: str) -> None:
    """Refuse a rule that makes no sense.

    Raises:
        RefusedError: 400 with the first parameter that is wrong.
    """

    def refuse(name: str, text: str) -> None:
        raise bad_parameter(name, text)

    _Verifier(rule, shared, own, kind, refuse).run()


def shown(rule: Rule, shared: Firewall, own: Firewall, kind: str) -> dict[str, Any]:
    """A rule as the API shows it: with its IP version, and with what has become wrong with it since it was made."""
    errors: dict[str, str] = {}
    verifier = _Verifier(dict(rule), shared, own, kind, errors.setdefault)
    verifier.run()
    row = {"enable": 0, **rule}
    if verifier.version:
        row["ipversion"] = verifier.version
    return row | ({"errors": errors} if errors else {})
