"""Named formats of parameters. Each rule takes the text and raises ``ValueError`` with what the API says about it."""

from __future__ import annotations

import re

from pveops.sim.calendar import next_event
from pveops.sim.contract.formats_net import DNS, NET_RULES, Rule, either, id_pair, pattern_rule
from pveops.sim.privileges import OLD_PRIVILEGES, PRIVILEGES
from pveops.sim.props import split_list

NODE_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?")
CONFIG_ID = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]+")
USER_ID = re.compile(r"[^\s:/]+@[A-Za-z][A-Za-z0-9.\-_]+")
VOLUME_ID = re.compile(r"([a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]):(.+)")
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_EMAIL = re.compile(r"[\w+.~-]+@[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*")
_STARTUP = re.compile(r"(order=)?\d+|up=\d+|down=\d+")
_CONTENT = frozenset({"images", "rootdir", "vztmpl", "iso", "backup", "snippets", "import", "none"})
_HOTPLUG = frozenset({"network", "disk", "cpu", "memory", "usb", "cloudinit"})
_DRIVE = r"ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5])|efidisk0|tpmstate0"
_BOOT_DEVICE = re.compile(r"(ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5])|net([0-9]|[12][0-9]|3[01])|(usb|hostpci)\d+)")
_CPU_FAMILIES = (
    r"486|pentium[23]?|coreduo|core2duo|kvm(32|64)|qemu(32|64)|phenom|athlon|host|max|x86-64-v(2|2-AES|3|4)"
    r"|(Opteron_G[1-5]|EPYC|Conroe|Penryn|Nehalem|Westmere|SandyBridge|IvyBridge|Haswell|Broadwell|Skylake|Cascadelake|Cooperlake|Icelake"
    r"|KnightsMill|SapphireRapids|GraniteRapids|SierraForest)[A-Za-z0-9_-]*"
)
_CPU = re.compile(_CPU_FAMILIES)


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


def _storage_id(value: str) -> None:
    if len(value) < 2:
        raise ValueError(f"storage ID '{value}' cannot be shorter than 2 characters")
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9\-_.]*[a-zA-Z0-9]", value):
        raise ValueError(f"storage ID '{value}' contains illegal characters")


def _blocksize(value: str) -> None:
    match = re.fullmatch(r"([1-9]\d*)([kKmM]?)", value)
    if not match:
        raise ValueError(
            f"invalid ZFS blocksize format '{value}'. Use a positive number (no leading zeros) with an optional 'k' or 'm' suffix."
        )
    size = int(match[1]) * {"": 1, "k": 1024, "m": 1024**2}[match[2].lower()]
    if not 512 <= size <= 16 * 1024**2 or size & (size - 1):
        text = "Must be a power of 2 between 512B and 16MiB (e.g., 4k, 8k, 16k, 64k, 1m)."
        raise ValueError(f"value '{value}' is not a valid ZFS blocksize. {text}")


def _pem(label: str) -> Rule:
    block = rf"-----BEGIN {label}-----[A-Za-z0-9+/=\s]+-----END {label}-----"

    def rule(value: str) -> None:
        begin = value.find("-----BEGIN")
        if begin < 0 or not re.fullmatch(rf"({block}\s*)+", value[begin:]):
            raise ValueError("not a valid PEM-formatted string.")

    return rule


RULES: dict[str, Rule] = NET_RULES | {
    "disk-size": pattern_rule(r"\d+(\.\d+)?[KMGT]?", "value does not look like a valid disk size: {}"),
    "email": pattern_rule(_EMAIL.pattern, "value does not look like a valid email address"),
    "email-or-username": pattern_rule(rf"{_EMAIL.pattern}|[\w.@-]+", "value does not look like a valid email address or user name"),
    "graphite-path": pattern_rule(DNS.pattern, "value does not look like a valid graphite path"),
    "ldap-simple-attr": pattern_rule(r"[a-zA-Z0-9]+", "value '{}' does not look like a simple ldap attribute name"),
    "pem-certificate-chain": _pem("CERTIFICATE"),
    "pem-string": _pem("[A-Z ]+"),
    "pve-acme-alias": pattern_rule(r"\w[\w-]*(\.\w[\w-]*)+", "value '{}' does not look like a valid alias name!"),
    "pve-acme-domain": pattern_rule(r"[a-zA-Z0-9][\w-]*(\.[a-zA-Z0-9][\w-]*)+", "value '{}' does not look like a valid domain name!"),
    "pve-calendar-event": _calendar,
    "pve-configid": pattern_rule(CONFIG_ID.pattern, "invalid configuration ID '{}'"),
    "pve-cpuset": pattern_rule(_CPUSET.pattern, "unable to parse cpuset option"),
    "pve-ct-timezone": either(
        pattern_rule("host|UTC", ""), pattern_rule(r"[A-Z][A-Za-z_+-]+(/[A-Z][A-Za-z_+-]+){1,2}", ""), "invalid time zone '{}'"
    ),
    "pve-day-of-week": _member(frozenset({"mon", "tue", "wed", "thu", "fri", "sat", "sun"}), "invalid day '{}'"),
    "pve-dir-override": pattern_rule(rf"({'|'.join(sorted(_CONTENT))})=.*", "invalid override '{}'"),
    "pve-groupid": pattern_rule(r"[A-Za-z0-9.\-_]+", "group name '{}' contains invalid characters"),
    "pve-ha-node": pattern_rule(rf"{NODE_NAME.pattern}(:\d+)?", "value does not look like a valid ha node"),
    "pve-ha-resource-id": pattern_rule(r"[a-z]+:\S+", "value does not look like a valid ha resource id"),
    "pve-ha-resource-or-vm-id": pattern_rule(r"[a-z]+:\S+|\d+", "value does not look like a valid ha resource id"),
    "pve-hotplug-features": _hotplug,
    "pve-lxc-dev-string": pattern_rule(r"/dev/(?!\.\.?(/|$))(?!.*/\.\.?(/|$)).*", "{} is not a valid device path"),
    "pve-lxc-mp-string": pattern_rule(r"(?!\.\./)(?!.*/\.\.?(/|$)).*", "{} contains illegal character sequences"),
    "pve-node": pattern_rule(NODE_NAME.pattern, "value does not look like a valid node name"),
    "pve-old-priv": _member(OLD_PRIVILEGES, "invalid privilege '{}'"),
    "pve-phys-bits": pattern_rule(r"host|[89]|[1-5]\d|6[0-4]", "value must be an integer between 8 and 64 or 'host'"),
    "pve-poolid": _pool,
    "pve-priv": _member(PRIVILEGES, "invalid privilege '{}'"),
    "pve-qm-boot": _boot,
    "pve-qm-bootdisk": pattern_rule(_DRIVE, "invalid boot disk '{}'"),
    "pve-realm": pattern_rule(r"[A-Za-z][A-Za-z0-9.\-_]+", "value does not look like a valid realm"),
    "pve-replication-job-id": _replication_job,
    "pve-roleid": pattern_rule(r"[A-Za-z0-9.\-_]+", "role name '{}' contains invalid characters"),
    "pve-startup-order": _startup,
    "pve-storage-content": _member(_CONTENT, "invalid content type '{}'"),
    "pve-storage-id": _storage_id,
    "pve-storage-options": pattern_rule(r"\S+", "invalid options '{}'"),
    "pve-storage-path": pattern_rule(r"/.*", "value does not look like a valid absolute path"),
    "pve-storage-path-in-property-string": pattern_rule(
        r"/[^;,=()]+", "Value does not look like a valid absolute path. These symbols are currently not allowed in path: ;,=()"
    ),
    "pve-storage-vgname": pattern_rule(r"[a-z0-9][a-z0-9\-_.]*[a-z0-9]", "lvm name '{}' contains illegal characters", re.IGNORECASE),
    "pve-storage-zfs-blocksize": _blocksize,
    "pve-tag": pattern_rule(r"[a-z0-9_][a-z0-9_\-+.]*", "invalid characters in tag", re.IGNORECASE),
    "pve-task-status-type": _member(frozenset({"ok", "error", "warning", "unknown"}), "invalid status '{}'"),
    "pve-tokenid": pattern_rule(rf"{USER_ID.pattern}![A-Za-z][A-Za-z0-9.\-_]+", "value '{}' does not look like a valid token ID"),
    "pve-userid": verify_user,
    "pve-vm-cpu-conf": _cpu,
    "pve-vmid": _vmid,
    "pve-volume-id": pattern_rule(VOLUME_ID.pattern, "unable to parse volume ID '{}'"),
    "pve-volume-id-or-absolute-path": pattern_rule(rf"/.*|{VOLUME_ID.pattern}", "unable to parse volume ID '{}'"),
    "pve-volume-id-or-qm-path": pattern_rule(rf"none|cdrom|/.*|{VOLUME_ID.pattern}", "unable to parse volume ID '{}'"),
    "storage-pair": id_pair(_storage_id),
    "urlencoded": pattern_rule(r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {}"),
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
