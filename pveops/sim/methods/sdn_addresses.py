"""Who gives out addresses and names in virtual networks, and which are given out."""

from __future__ import annotations

import ipaddress
from typing import Any

from pveops.sim.errors import died, failed, inside
from pveops.sim.methods.sdn_kinds import locked, subnet_facts, subnets_of
from pveops.sim.methods.table import Call, Table
from pveops.sim.props import split_list
from pveops.sim.state.sections import Options, Row, Sections

api = Table()

_VIEWS = ("SDN.Audit", "SDN.Allocate")
_META = frozenset({"lock-token", "digest", "delete", "ipam", "dns", "type"})
_OPTIONS = {
    "ipams": {
        "pve": Options(),
        "netbox": Options("url token", "fingerprint"),
        "phpipam": Options("url token section", "fingerprint"),
    },
    "dns": {"powerdns": Options("url key", "ttl reversemaskv6 reversev6mask fingerprint")},
}
_IPS = "/cluster/sdn/vnets/{vnet}/ips"


def _kind(call: Call) -> tuple[str, str, Sections]:
    """The list that a request is about: its name, the key of its rows, its sections."""
    sdn = call.cluster.configs.sdn
    return ("ipams", "ipam", sdn.ipams) if "/ipams" in call.path else ("dns", "dns", sdn.dns)


@api.reads("GET /cluster/sdn/ipams", "GET /cluster/sdn/dns")
def listing(call: Call) -> list[dict[str, Any]]:
    """What the caller may see."""
    kind, key, sections = _kind(call)
    wanted = call.p.get("type")
    return [
        {**row, key: name, "digest": sections.digest}
        for name, row in sorted(sections.rows.items())
        if wanted in (None, row["type"]) and call.may_any(f"/sdn/{kind}/{name}", *_VIEWS)
    ]


def _find(call: Call) -> tuple[Sections, str, Row]:
    _, key, sections = _kind(call)
    name = call.p[key]
    row = sections.get(name)
    if row is None:
        raise failed(f"sdn '{name}' does not exist")
    return sections, name, row


@api.reads("GET /cluster/sdn/ipams/{ipam}", "GET /cluster/sdn/dns/{dns}")
def one(call: Call) -> dict[str, Any]:
    """One of them."""
    sections, name, row = _find(call)
    return {**row, _kind(call)[1]: name, "digest": sections.digest}


def _given(call: Call) -> Row:
    return {key: value for key, value in call.p.items() if key not in _META}


@api.behaves("POST /cluster/sdn/ipams", "POST /cluster/sdn/dns")
def create(call: Call) -> None:
    """A new one. Nobody answers at its address in a simulation; the real API would look."""
    kind, key, sections = _kind(call)
    given, name = _given(call), call.p[key]
    _OPTIONS[kind][call.p["type"]].check(given, create=True)
    with locked(call, f"create sdn {key} object failed"):
        if name in sections:
            raise failed(f"sdn {key} object ID '{name}' already defined")
        sections.rows[name] = {"type": call.p["type"], **given}


@api.behaves("PUT /cluster/sdn/ipams/{ipam}", "PUT /cluster/sdn/dns/{dns}")
def update(call: Call) -> None:
    """Change one."""
    kind, key, sections = _kind(call)
    with locked(call, f"update sdn {key} object failed"):
        sections.check_digest(call.p.get("digest"))
        _, name, row = _find(call)
        options, given = _OPTIONS[kind][row["type"]], _given(call)
        options.check(given, create=False)
        changed = dict(row)
        options.delete(changed, given, split_list(call.p.get("delete", "")))
        sections.rows[name] = changed | given


@api.behaves("DELETE /cluster/sdn/ipams/{ipam}", "DELETE /cluster/sdn/dns/{dns}")
def delete(call: Call) -> None:
    """Remove one; that of Proxmox VE itself comes back at once."""
    kind, _, sections = _kind(call)
    with locked(call, f"delete sdn {'zone' if kind == 'ipams' else 'dns'} object failed"):
        _, name, row = _find(call)
        if row["type"] != "pve":
            del sections.rows[name]


@api.reads("GET /cluster/sdn/ipams/{ipam}/status")
def addresses(call: Call) -> list[dict[str, Any]]:
    """The addresses that are given out in zones in force that have DHCP."""
    if call.p["ipam"] != "pve":
        raise died("Currently only PVE IPAM is supported!", "API2/Network/SDN/Ipams.pm", 319)
    sdn = call.cluster.configs.sdn
    found = []
    for (zone, cidr), taken in sdn.addresses.items():
        row = sdn.running("zones").get(zone)
        vnet = next((one["vnet"] for name, one in sdn.config["subnets"].rows.items() if subnet_facts(name)["cidr"] == cidr), None)
        if not row or row.get("ipam") != "pve" or not row.get("dhcp") or not vnet:
            continue
        if call.may_any(f"/sdn/zones/{zone}/{vnet}", *_VIEWS):
            found += [{**facts, "zone": zone, "subnet": cidr, "ip": ip, "vnet": vnet} for ip, facts in taken.items()]
    return found


def _place(call: Call) -> dict[str, Row]:
    """The addresses of the subnet that an address lies in."""
    sdn, ip = call.cluster.configs.sdn, call.p["ip"]
    for name in subnets_of(sdn, call.p["vnet"]):
        facts = subnet_facts(name)
        if ipaddress.ip_address(ip) in ipaddress.ip_network(facts["cidr"], strict=False):
            return sdn.addresses.setdefault((facts["zone"], facts["cidr"]), {})
    raise died(f"can't find any subnet for ip {ip}", "Network/SDN/Subnets.pm", 115)


def _add(call: Call, taken: dict[str, Row]) -> None:
    if call.p["ip"] in taken:
        raise failed(f"IP '{call.p['ip']}' already exist")
    taken[call.p["ip"]] = {key: call.p[key] for key in ("mac", "vmid") if key in call.p}


@api.behaves(f"POST {_IPS}")
def add(call: Call) -> None:
    """Give an address to a network card."""
    _add(call, _place(call))


@api.behaves(f"PUT {_IPS}")
def change(call: Call) -> None:
    """Give a network card another address."""
    taken = _place(call)
    old = next((ip for ip, row in taken.items() if row.get("mac") == call.p.get("mac")), None)
    kept = taken.pop(old) if old else None
    try:
        _add(call, taken)
    except BaseException:
        if old and kept is not None:
            taken[old] = kept
        raise


@api.behaves(f"DELETE {_IPS}")
def remove(call: Call) -> None:
    """Take an address back."""
    with inside(""):
        taken = _place(call)
        if call.p["ip"] not in taken:
            raise failed(f"IP '{call.p['ip']}' does not exist in IPAM DB")
        del taken[call.p["ip"]]
