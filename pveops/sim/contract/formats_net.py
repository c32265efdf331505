"""Formats of network parameters: addresses, networks, names, VLANs, and what firewall rules are made of."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from pveops.sim.firewall_words import HELPERS, ICMP_TYPES, ICMPV6_TYPES, PROTOCOLS, SERVICES
from pveops.sim.props import split_list

Rule = Callable[[str], None]
"""Takes the text and raises ``ValueError`` with what the API says about it."""

_DNS_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
DNS = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
IFACE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{1,20}([:.]\d+)?")
_ALIAS = re.compile(r"(dc/|guest/)?[A-Za-z][A-Za-z0-9\-_]+")
_IP_CHARS = re.compile(r"[0-9a-fA-F:./\s+-]+")
_MASK_BITS = {str(ipaddress.ip_network(f"0.0.0.0/{bits}").netmask): bits for bits in range(33)}
_LONGEST_NAME = 64
_MOST_PORTS = 15
_MOST_ASN = 4_294_967_295


def pattern_rule(pattern: str, text: str, flags: int = 0) -> Rule:
    """A rule of one pattern; ``{}`` in the text stands for the value."""
    compiled = re.compile(pattern, flags | re.ASCII)

    def rule(value: str) -> None:
        if not compiled.fullmatch(value):
            raise ValueError(text.format(value))

    return rule


def either(first: Rule, second: Rule, text: str = "") -> Rule:
    """A rule that one of two must let pass; ``text`` is said when none does, else what the second says."""

    def rule(value: str) -> None:
        try:
            first(value)
        except ValueError:
            try:
                second(value)
            except ValueError as err:
                raise ValueError(text.format(value) if text else str(err)) from err

    return rule


def _address(kind: Callable[[str], object], name: str) -> Rule:
    def rule(value: str) -> None:
        try:
            kind(value)
        except ValueError as err:
            raise ValueError(f"value does not look like a valid {name}") from err

    return rule


def _cidr(versions: tuple[int, ...], name: str) -> Rule:
    """A network with a length of 8 bits or more."""

    def rule(value: str) -> None:
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError as err:
            raise ValueError(f"value does not look like a valid {name}") from err
        if "/" not in value or network.version not in versions or network.prefixlen < 8:
            raise ValueError(f"value does not look like a valid {name}")

    return rule


def _address_or_network(value: str) -> None:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError as err:
        raise ValueError("value does not look like a valid IP address or CIDR network") from err


def _alias_or_network(value: str) -> None:
    if not _ALIAS.fullmatch(value):
        _address_or_network(value)


def _one_address(text: str) -> int:
    """The IP version of an address, network or range."""
    if not _IP_CHARS.fullmatch(text):
        raise ValueError(f"invalid IP address: Invalid chars in IP {text}")
    first, dash, last = text.partition("-")
    try:
        version = ipaddress.ip_network(first.strip(), strict=not dash).version
        if dash:
            ipaddress.ip_address(last.strip())
    except ValueError as err:
        if "has host bits set" in str(err):
            raise ValueError(f"invalid IP address: Invalid prefix {text}") from err
        raise ValueError(f"invalid IP address: Invalid IP address {text}") from err
    return version


def _firewall_address(value: str) -> None:
    if re.fullmatch(r"\+\S+", value):
        if len(value) > _LONGEST_NAME + 1:
            raise ValueError("ipset name too long")
        return
    if _ALIAS.fullmatch(value):
        if len(value) > _LONGEST_NAME:
            raise ValueError("alias name too long")
        return
    parts = value.split(",")
    if not parts[-1]:
        raise ValueError("extraneous commas in list")
    versions = {_one_address(part) for part in parts}
    if len(versions) > 1:
        raise ValueError(f"detected mixed ipv4/ipv6 addresses in address list '{value}'")
    if "-" in value and len(parts) > 1:
        raise ValueError("you can't use a range in a list")


def _one_port(text: str) -> int:
    """How many ports an item counts for."""
    match = re.fullmatch(r"(\d+):(\d+)", text)
    numbers = [match[1], match[2]] if match else [text] if text.isdigit() else []
    for number in numbers:
        if int(number) > 65535:
            raise ValueError(f"invalid port '{number}'")
    if match and int(match[1]) > int(match[2]):
        raise ValueError(f"backwards range '{match[1]}:{match[2]}' not allowed, did you mean '{match[2]}:{match[1]}'?")
    if not numbers and text not in SERVICES:
        raise ValueError(f"invalid port '{text}'")
    return len(numbers)


def _firewall_ports(*, icmp: bool) -> Rule:
    def rule(value: str) -> None:
        parts = value.split(",")
        if not parts[-1]:
            raise ValueError("extraneous commas in list")
        count = sum(_one_port(part) for part in parts if not (icmp and part in ICMP_TYPES | ICMPV6_TYPES))
        if count > _MOST_PORTS:
            raise ValueError("too many entries in port list (> 15 numbers)")

    return rule


def _member(known: frozenset[str], text: str) -> Rule:
    def rule(value: str) -> None:
        if value and value not in known:
            raise ValueError(text.format(value))

    return rule


def _helpers(value: str) -> None:
    for name in value.split(","):
        if name not in HELPERS:
            raise ValueError(f"unknown helper {name}")


def _vlans(value: str) -> None:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
    if not match:
        raise ValueError(f"invalid VLAN configuration '{value}'")
    for tag in match.groups():
        if tag is not None and not 2 <= int(tag) <= 4094:
            raise ValueError(f"invalid VLAN tag '{tag}'")
    if match[2] and int(match[1]) >= int(match[2]):
        raise ValueError(f"VLAN range must go from lower to higher tag '{value}'")


def _subnet(value: str) -> None:
    parts = value.split("-")
    text = value if "/" in value else "/".join(parts[1:3])
    try:
        cidr(text)
    except ValueError as err:
        raise ValueError("value does not look like a valid CIDR network") from err


def _route_target(value: str) -> None:
    parts = value.split(":")
    if len(parts) != 2 or not all(part.isdigit() and int(part) <= _MOST_ASN for part in parts):
        raise ValueError("value does not look like a valid bgp route-target")


def _portal(value: str) -> None:
    host = re.sub(r"(?<!:):\d+$", "", value)
    try:
        address(host.removeprefix("[").removesuffix("]"))
    except ValueError as err:
        raise ValueError("value does not look like a valid portal address") from err


def id_pair(item: Rule) -> Rule:
    """Items of a map such as ``local:ceph``: from one id to another, or one for all, or ``1`` for the same."""

    def rule(value: str) -> None:
        for entry in split_list(value):
            if entry == "1":
                continue
            for part in entry.split(":"):
                try:
                    item(part)
                except ValueError as err:
                    raise ValueError(f"entry '{entry}' contains invalid ID - invalid format - {err}\n\n") from err

    return rule


ip = _address(ipaddress.ip_address, "IP address")
dns_name = pattern_rule(DNS.pattern, "value does not look like a valid DNS name")
address = either(ip, dns_name, "value does not look like a valid address: {}")
cidr = _cidr((4, 6), "CIDR network")
_bridge = pattern_rule(r"[-_.\w]+", "invalid bridge ID '{}'")
_mac = r"[a-fA-F0-9][02468aceACE](:[a-fA-F0-9]{2}){5}"
_v4_config = "value does not look like a valid ipv4 network configuration"
_v6_config = "value does not look like a valid ipv6 network configuration"

NET_RULES: dict[str, Rule] = {
    "CIDR": cidr,
    "CIDRv4": _cidr((4,), "IPv4 CIDR network"),
    "CIDRv6": _cidr((6,), "IPv6 CIDR network"),
    "FullRangeCIDR": _address_or_network,
    "IPorCIDR": _address_or_network,
    "IPorCIDRorAlias": _alias_or_network,
    "address": address,
    "bridge-pair": id_pair(_bridge),
    "dns-name": dns_name,
    "ip": ip,
    "ipv4": _address(ipaddress.IPv4Address, "IPv4 address"),
    "ipv4mask": _member(frozenset(_MASK_BITS), "value does not look like a valid IP netmask"),
    "ipv6": _address(ipaddress.IPv6Address, "IPv6 address"),
    "lxc-ip-with-ll-iface": either(ip, pattern_rule(rf"fe80:[^%]+%{IFACE.pattern}", ""), "value does not look like a valid IP address"),
    "mac-addr": pattern_rule(_mac, "value does not look like a valid unicast MAC address"),
    "mac-prefix": pattern_rule(r"[a-fA-F0-9][02468aceACE](:[a-fA-F0-9]{2}){0,2}:?", "value is not a valid unicast MAC address prefix"),
    "pve-bridge-id": _bridge,
    "pve-fw-addr-spec": _firewall_address,
    "pve-fw-conntrack-helper": _helpers,
    "pve-fw-dport-spec": _firewall_ports(icmp=True),
    "pve-fw-icmp-type-spec": _member(ICMP_TYPES | ICMPV6_TYPES, "invalid icmp-type value '{}'"),
    "pve-fw-protocol-spec": _member(PROTOCOLS, "unknown protocol '{}'"),
    "pve-fw-sport-spec": _firewall_ports(icmp=False),
    "pve-iface": pattern_rule(IFACE.pattern, "invalid network interface name '{}'"),
    "pve-ipv4-config": either(pattern_rule(r"dhcp|manual", ""), _cidr((4,), ""), _v4_config),
    "pve-ipv6-config": either(pattern_rule(r"auto|dhcp|manual", ""), _cidr((6,), ""), _v6_config),
    "pve-sdn-bgp-rt": _route_target,
    "pve-sdn-fabric-id": pattern_rule(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,6}[a-zA-Z0-9]?", "Fabric ID '{}' contains illegal characters"),
    "pve-sdn-isis-net": pattern_rule(r"[a-fA-F0-9]{2}(\.[a-fA-F0-9]{4}){3,9}\.[a-fA-F0-9]{2}", "value does not look like a valid isis net"),
    "pve-sdn-subnet-id": _subnet,
    "pve-storage-portal-dns": _portal,
    "pve-storage-server": either(ip, dns_name, "value does not look like a valid server name or IP address"),
    "pve-vlan-id-or-range": _vlans,
}
"""Formats about networks, by name."""
