"""Cloud-init of virtual machines, and the interfaces of containers as they see them themselves."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from pveops.sim.errors import failed
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import read_props, split_list
from pveops.sim.state.config import NET
from pveops.sim.state.guest import Guest
from pveops.sim.tasks.power import refuse_lock

api = Table()

_KEYS = re.compile(r"ci(custom|password|type|upgrade|user)|ipconfig\d+|nameserver|searchdomain|sshkeys")
_SECRET = "**********"  # noqa: S105 - what is shown instead of a password


def _shown(key: str, value: object) -> str:
    return _SECRET if key == "cipassword" else str(value)


@api.reads("GET /nodes/{node}/qemu/{vmid}/cloudinit")
def values(call: Call) -> list[dict[str, Any]]:
    """The options of cloud-init with what they are and what they will be."""
    guest = call.guest("qemu")
    rows = []
    for key in dict.fromkeys(key for key in (*guest.config, *guest.pending) if _KEYS.fullmatch(key)):
        row: dict[str, Any] = {"key": key}
        if key in guest.config:
            row["value"] = _shown(key, guest.config[key])
        if key in guest.pending:
            coming = guest.pending[key]
            row |= {"delete": 1} if coming is None else {"pending": _shown(key, coming)}
        rows.append(row)
    return rows


@api.behaves("PUT /nodes/{node}/qemu/{vmid}/cloudinit")
def regenerate(call: Call) -> None:
    """Write the drive anew: what waited for the next start is in it now."""
    guest = call.guest("qemu")
    refuse_lock(guest)
    ready = [key for key in guest.pending if _KEYS.fullmatch(key)]
    if not ready:
        return
    call.cluster.before_change(guest)
    for key in ready:
        value = guest.pending.pop(key)
        if value is None:
            guest.config.pop(key, None)
        else:
            guest.config[key] = value
    guest.touch()


def _user(guest: Guest) -> str:
    config = guest.with_pending()
    lines = ["#cloud-config", f"hostname: {guest.name}", "manage_etc_hosts: true"]
    if "ciuser" in config:
        lines.append(f"user: {config['ciuser']}")
    keys = [line for line in unquote(str(config.get("sshkeys", ""))).splitlines() if line.strip()]
    lines += ["ssh_authorized_keys:", *(f"  - {line}" for line in keys)] if keys else []
    lines += ["chpasswd:", "  expire: False", "users:", "  - default", f"package_upgrade: {str(bool(config.get('ciupgrade', 1))).lower()}"]
    return "\n".join(lines) + "\n"


def _network(guest: Guest) -> str:
    config = guest.with_pending()
    lines = ["version: 1", "config:"]
    for key in (key for key in config if NET.fullmatch(key)):
        number, mac = key.removeprefix("net"), str(config[key]).split(",", 1)[0].partition("=")[2]
        lines += ["    - type: physical", f"      name: eth{number}", f"      mac_address: '{mac.lower()}'", "      subnets:"]
        props = read_props(str(config.get(f"ipconfig{number}", "")))
        address = props.get("ip", "dhcp")
        if address == "dhcp":
            lines.append("      - type: dhcp4")
            continue
        lines += ["      - type: static", f"        address: '{address}'"]
        lines += [f"        gateway: '{props['gw']}'"] if "gw" in props else []
    servers, domains = (split_list(str(config.get(key, ""))) for key in ("nameserver", "searchdomain"))
    lines += ["    - type: nameserver", "      address:", *(f"      - '{one}'" for one in servers)] if servers else []
    lines += ["      search:", *(f"      - '{one}'" for one in domains)] if servers and domains else []
    return "\n".join(lines) + "\n"


@api.reads("GET /nodes/{node}/qemu/{vmid}/cloudinit/dump")
def dump(call: Call) -> str:
    """What stands on the drive: for the user, the network or the instance."""
    guest, kind = call.guest("qemu"), call.p["type"]
    if kind == "meta":
        return f"instance-id: {guest.digest}\n"
    if not any("cloudinit" in str(value) for value in guest.config.values()) and not any(_KEYS.fullmatch(key) for key in guest.config):
        raise failed("no cloudinit drive configured")
    return _user(guest) if kind == "user" else _network(guest)


@api.reads("GET /nodes/{node}/lxc/{vmid}/interfaces")
def interfaces(call: Call) -> list[dict[str, Any]] | None:
    """The interfaces of a container that runs; nothing of one that does not."""
    guest = call.guest("lxc")
    if not guest.running:
        return None
    loopback = {"ip-address": "127.0.0.1", "ip-address-type": "inet", "prefix": 8}
    nothing = "00:00:00:00:00:00"
    rows: list[dict[str, Any]] = [
        {"name": "lo", "hwaddr": nothing, "hardware-address": nothing, "inet": "127.0.0.1/8", "ip-addresses": [loopback]}
    ]
    for key in guest.keys(NET):
        props = read_props(str(guest.config[key]))
        mac = props.get("hwaddr", "").lower()
        given = props.get("ip", "dhcp")
        address = given if "/" in given else f"198.18.{guest.vmid // 250 % 250}.{guest.vmid % 250 + 1}/16"
        plain, _, prefix = address.partition("/")
        one = {"ip-address": plain, "ip-address-type": "inet", "prefix": int(prefix)}
        rows.append({"name": props.get("name", "eth0"), "hwaddr": mac, "hardware-address": mac, "inet": address, "ip-addresses": [one]})
    return rows
