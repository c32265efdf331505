"""Named formats of parameters. Each rule takes the text and raises ``ValueError`` with what the API says about it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from pveops.sim.calendar import next_event
from pveops.sim.privileges import PRIVILEGES
from pveops.sim.props import split_list

Rule = Callable[[str], None]

NODE_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?")
CONFIG_ID = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]+")
USER_ID = re.compile(r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+")
VOLUME_ID = re.compile(r"([a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]):(.+)")
_DNS_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DNS = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
_MAC = re.compile(r"[a-fA-F0-9][02468aceACE](:[a-fA-F0-9]{2}){5}")
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_EMAIL = re.compile(r"[\w+.~-]+@[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*")
_STARTUP = re.compile(r"(order=)?\d+|up=\d+|down=\d+")
_CONTENT = frozenset({"images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"})
_HOTPLUG = frozenset({"network", "disk", "cpu", "memory", "usb", "cloudinit"})
_BOOT_DEVICE = re.compile(r"(ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5])|net([0-9]|[12][0-9]|3[01])|(usb|hostpci)\d+)")
_CPU_FAMILIES = (
    r"486|pentium[23]?|coreduo|core2duo|kvm(32|64)|qemu(32|64)|phenom|athlon|host|max|x86-64-v(2|2-AES|3|4)"
    r"|(Opteron_G[1-5]|EPYC|Conroe|Penryn|Nehalem|Westmere|SandyBridge|IvyBridge|Haswell|Broadwell|Skylake|Cascadelake|Cooperlake|Icelake"
    r"|KnightsMill|SapphireRapids|GraniteRapids|SierraForest)[A-Za-z0-9_-]*"
)
_CPU = re.compile(_CPU_FAMILIES)


def _pattern(pattern: str, text: str, flags: int = 0) -> Rule:
    compiled = re.compile(pattern, flags)

    def rule(value: str) -> None:
        if not compiled.fullmatch(value):
            raise ValueError(text.format(value))

    return rule


def _vmid(value: str) -> None:
    if not re.fullmatch(r"[1-9][0-9]{2,8}", value):
        raise ValueError("value does not look like a valid VM ID")


def verify_user(value: str) -> None:
    """A user id with realm; also used where the API checks it by hand."""
    if len(value) < 3:
        raise ValueError(f"user name '{value}' is too short")
    if len(value) > 64:
        raise ValueError(f"user name '{value}' is too long ({len(value)} > 64)")
    if not USER_ID.fullmatch(value):
        raise ValueError(f"value '{value}' does not look like a valid user name")


def _pool(value: str) -> None:
    levels = value.split("/")
    if len(levels) > 3:
        raise ValueError(f"pool name '{value}' nested too deeply (max levels = 3)")
    if not all(re.fullmatch(r"[A-Za-z0-9.\-_]+", level) for level in levels):
        raise ValueError(f"pool name '{value}' contains invalid characters")


def _address(kind: Callable[[str], object], name: str) -> Rule:
    def rule(value: str) -> None:
        try:
            kind(value)
        except ValueError as err:
            raise ValueError(f"value does not look like a valid {name}") from err

    return rule


def _cidr(version: int | None, name: str) -> Rule:
    def rule(value: str) -> None:
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError as err:
            raise ValueError(f"value does not look like a valid {name} network") from err
        if "/" not in value or (version and network.version != version):
            raise ValueError(f"value does not look like a valid {name} network")

    return rule


def _either(first: Rule, second: Rule) -> Rule:
    def rule(value: str) -> None:
        try:
            first(value)
        except ValueError:
            second(value)

    return rule


def _member(known: frozenset[str], text: str) -> Rule:
    def rule(value: str) -> None:
        if value not in known:
            raise ValueError(text.format(value))

    return rule


def _replication_job(value: str) -> None:
    match = re.fullmatch(r"(\d+)-(\d+)", value)
    if not match:
        raise ValueError(f"invalid replication job id '{value}'")
    if int(match[1]) < 100:
        raise ValueError(f"invalid replication job id '{value}' (guest IDs < 100 are reserved)")


def _startup(value: str) -> None:
    if not all(_STARTUP.fullmatch(part) for part in value.split(",")):
        raise ValueError("unable to parse startup options")


def _boot(value: str) -> None:
    if re.fullmatch(r"[acdn]{1,4}", value):
        return
    parts = dict(part.partition("=")[::2] for part in value.split(","))
    if set(parts) - {"order", "legacy"}:
        raise ValueError(
            "format error\n" + "".join(f"boot.{key}: property is not defined in schema\n" for key in sorted(set(parts) - {"order"}))
        )
    for device in split_list(parts.get("order", "")):
        if not _BOOT_DEVICE.fullmatch(device):
            raise ValueError(f"format error\nboot.order: invalid format - invalid boot device '{device}'\n")


def _cpu(value: str) -> None:
    name = value.split(",", 1)[0].removeprefix("cputype=")
    if not name.startswith("custom-") and not _CPU.fullmatch(name):
        raise ValueError(f"Built-in cputype '{name}' is not defined (missing 'custom-' prefix?)")


def _hotplug(value: str) -> None:
    for feature in split_list(value):
        if feature not in _HOTPLUG and value not in ("0", "1"):
            raise ValueError(f"invalid hotplug feature '{feature}'")


def _calendar(value: str) -> None:
    try:
        next_event(value, 0.0)
    except ValueError as err:
        raise ValueError(f"invalid calendar event '{value}' - {err}") from err


def _firewall_address(value: str) -> None:
    for part in value.split(","):
        if not re.fullmatch(r"\+?[\w./:-]+", part.strip()):
            raise ValueError(f"invalid IP address: Invalid chars in IP {part}")


def _firewall_port(value: str) -> None:
    for part in value.split(","):
        if not re.fullmatch(r"[a-zA-Z0-9-]+(:[a-zA-Z0-9-]+)?", part.strip()):
            raise ValueError(f"invalid port '{part}'")


_ip = _address(ipaddress.ip_address, "IP address")
_dns_name = _pattern(_DNS.pattern, "value does not look like a valid DNS name")
_any_cidr = _cidr(None, "CIDR")
_storage_id = _pattern(r"[a-z][a-z0-9\-_.]*[a-z0-9]", "storage ID '{}' contains illegal characters", re.IGNORECASE)

RULES: dict[str, Rule] = {
    "CIDR": _any_cidr,
    "CIDRv4": _cidr(4, "IPv4"),
    "CIDRv6": _cidr(6, "IPv6"),
    "IPorCIDR": _either(_ip, _any_cidr),
    "address": _either(_ip, _dns_name),
    "disk-size": _pattern(r"\d+(\.\d+)?[KMGT]?", "value does not look like a valid disk size: {}"),
    "dns-name": _dns_name,
    "email": _pattern(_EMAIL.pattern, "value does not look like a valid email address"),
    "email-or-username": _pattern(rf"{_EMAIL.pattern}|[\w.@-]+", "value does not look like a valid email address or user name"),
    "ip": _ip,
    "ipv4": _address(ipaddress.IPv4Address, "IPv4 address"),
    "ipv6": _address(ipaddress.IPv6Address, "IPv6 address"),
    "mac-addr": _pattern(_MAC.pattern, "value does not look like a valid unicast MAC address"),
    "mac-prefix": _pattern(r"[a-fA-F0-9][02468aceACE](:[a-fA-F0-9]{2}){0,2}:?", "value is not a valid unicast MAC address prefix"),
    "pve-bridge-id": _pattern(r"[-_.\w]+", "invalid bridge name '{}'"),
    "pve-calendar-event": _calendar,
    "pve-configid": _pattern(CONFIG_ID.pattern, "invalid configuration ID '{}'"),
    "pve-cpuset": _pattern(_CPUSET.pattern, "unable to parse cpuset option"),
    "pve-day-of-week": _member(frozenset({"mon", "tue", "wed", "thu", "fri", "sat", "sun"}), "invalid day '{}'"),
    "pve-fw-addr-spec": _firewall_address,
    "pve-fw-dport-spec": _firewall_port,
    "pve-fw-sport-spec": _firewall_port,
    "pve-groupid": _pattern(r"[A-Za-z0-9.\-_]+", "group name '{}' contains invalid characters"),
    "pve-hotplug-features": _hotplug,
    "pve-iface": _pattern(r"[a-zA-Z][a-zA-Z0-9_]{1,20}([:.]\d+)?", "invalid network interface name '{}'"),
    "pve-ipv4-config": _either(
        _pattern(r"dhcp|manual", "value does not look like a valid ipv4 network configuration"),
        _pattern(r"\d+\.\d+\.\d+\.\d+/\d+", "value does not look like a valid ipv4 network configuration"),
    ),
    "pve-node": _pattern(NODE_NAME.pattern, "value does not look like a valid node name"),
    "pve-poolid": _pool,
    "pve-priv": _member(PRIVILEGES, "invalid privilege '{}'"),
    "pve-qm-boot": _boot,
    "pve-realm": _pattern(r"[A-Za-z][A-Za-z0-9.\-_]+", "value does not look like a valid realm"),
    "pve-replication-job-id": _replication_job,
    "pve-roleid": _pattern(r"[A-Za-z0-9.\-_]+", "role name '{}' contains invalid characters"),
    "pve-startup-order": _startup,
    "pve-storage-content": _member(_CONTENT, "invalid content type '{}'"),
    "pve-storage-id": _storage_id,
    "pve-storage-path": _pattern(r"/.*", "value does not look like a valid absolute path"),
    "pve-storage-server": _either(_ip, _dns_name),
    "pve-storage-vgname": _pattern(r"[a-z][a-z0-9\-_.]*[a-z0-9]", "lvm name '{}' contains illegal characters", re.IGNORECASE),
    "pve-tag": _pattern(r"[a-z0-9_][a-z0-9_\-+.]*", "invalid characters in tag", re.IGNORECASE),
    "pve-task-status-type": _member(frozenset({"ok", "error", "warning", "unknown"}), "invalid status '{}'"),
    "pve-tokenid": _pattern(rf"{USER_ID.pattern}![A-Za-z][A-Za-z0-9.\-_]+", "value '{}' does not look like a valid token ID"),
    "pve-userid": verify_user,
    "pve-vm-cpu-conf": _cpu,
    "pve-vmid": _vmid,
    "pve-volume-id": _pattern(VOLUME_ID.pattern, "unable to parse volume ID '{}'"),
    "pve-volume-id-or-absolute-path": _pattern(rf"/.*|{VOLUME_ID.pattern}", "unable to parse volume ID '{}'"),
    "pve-volume-id-or-qm-path": _pattern(rf"none|cdrom|/.*|{VOLUME_ID.pattern}", "unable to parse volume ID '{}'"),
    "urlencoded": _pattern(r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string"),
}
"""Formats with a rule. A format that is not here accepts any text."""


def rule_for(name: str) -> Rule | None:
    """The rule of a format; ``…-list`` checks every item, ``…-opt`` also takes the empty text."""
    if name in RULES:
        return RULES[name]
    item = RULES.get(name.removesuffix("-list").removesuffix("-opt"))
    if item is None or not name.endswith(("-list", "-opt")):
        return None
    many = name.endswith("-list")

    def rule(value: str) -> None:
        for part in split_list(value) if many else [value] if value else []:
            item(part)

    return rule
