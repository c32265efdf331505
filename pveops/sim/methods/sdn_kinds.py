"""Zones, virtual networks, subnets and controllers: which options each type has, and what must fit together."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pveops.sim.errors import bad_parameter, bad_parameters, died, inside
from pveops.sim.methods.table import Call
from pveops.sim.props import read_props
from pveops.sim.state import noise
from pveops.sim.state.configs import Sdn
from pveops.sim.state.sections import Options, Row

_ZONE = "nodes mtu dns reversedns dnszone ipam"
ZONES = {
    "simple": Options("", f"{_ZONE} dhcp"),
    "vlan": Options("bridge", f"{_ZONE} bridge-disable-mac-learning"),
    "qinq": Options("tag bridge", f"{_ZONE} bridge-disable-mac-learning vlan-protocol"),
    "vxlan": Options("", f"{_ZONE} peers vxlan-port fabric"),
    "evpn": Options(
        "vrf-vxlan controller",
        f"{_ZONE} exitnodes exitnodes-local-routing exitnodes-primary advertise-subnets disable-arp-nd-suppression "
        "bridge-disable-mac-learning rt-import vxlan-port mac secondary-controllers dp-id",
    ),
    "faucet": Options("dp-id", "nodes controller"),
}
CONTROLLERS = {
    "bgp": Options(
        "node asn peers", "bgp-multipath-as-path-relax ebgp ebgp-multihop loopback route-map-in route-map-out bgp-mode peer-group-name"
    ),
    "evpn": Options("asn", "peers fabric route-map-in route-map-out bgp-mode peer-group-name nodes ebgp ebgp-multihop loopback"),
    "isis": Options("isis-domain isis-net isis-ifaces node", "loopback"),
    "faucet": Options(),
}
VNETS = {"vnet": Options("zone", "tag alias vlanaware isolate-ports")}
SUBNETS = {"subnet": Options("vnet", "gateway snat dnszoneprefix dhcp-range dhcp-dns-server")}
OPTIONS = {"zones": ZONES, "controllers": CONTROLLERS, "vnets": VNETS, "subnets": SUBNETS}

WORDS = {"zones": "zone", "controllers": "controller", "vnets": "vnet", "subnets": "subnet"}
_MISSING = {"zones": "sdn '{}' does not exist", "controllers": "sdn '{}' does not exist"}
_VXLAN = frozenset({"vxlan", "evpn"})


def missing_text(kind: str, name: str) -> str:
    """What is said about an object that is not there."""
    return _MISSING.get(kind, f"sdn {WORDS[kind]} '{{}}' does not exist").format(name)


@contextmanager
def locked(call: Call, what: str) -> Iterator[None]:
    """A change under the lock of all SDN configuration; somebody who holds it for longer must be the caller."""
    with inside(what):
        token = call.cluster.configs.sdn.lock_token
        if token and call.p.get("lock-token") != token:
            raise died("invalid lock token provided!", "Network/SDN.pm", 291)
        yield


def check_zone(call: Call, sdn: Sdn, name: str, given: Row) -> None:
    """A zone after a change."""
    row = sdn.config["zones"].rows[name]
    for key in ("dns", "reversedns"):
        if given.get(key) and given[key] not in sdn.dns:
            raise bad_parameter(key, f"{given[key]} don't exist")
    if given.get("dnszone") and not given.get("dns"):
        raise bad_parameter("dnszone", "missing dns server")
    if given.get("ipam") and given["ipam"] not in sdn.ipams:
        raise bad_parameter("ipam", f"{given['ipam']} not existing")
    if row["type"] == "vxlan" and bool(row.get("peers")) == bool(row.get("fabric")):
        raise bad_parameters(dict.fromkeys(("fabric", "peers"), "must have exactly one of peers / fabric defined"))
    if row["type"] == "evpn":
        _check_evpn(call, sdn, name, row)


def _check_evpn(call: Call, sdn: Sdn, name: str, row: Row) -> None:
    controller = sdn.config["controllers"].get(str(row.get("controller")))
    file = "Network/SDN/Zones/EvpnPlugin.pm"
    if controller is None:
        raise died(f"controller {row.get('controller')} don't exist", file, 354)
    if controller["type"] != "evpn":
        raise died(f"{row['controller']} is not a evpn controller type", file, 356)
    for other, found in sdn.config["zones"].rows.items():
        if other != name and found.get("vrf-vxlan") is not None and found["vrf-vxlan"] == row.get("vrf-vxlan"):
            raise died(f"vrf-vxlan {row['vrf-vxlan']} is already declared in {other}", file, 366)
    row.setdefault("mac", noise.mac_text(call.cluster.seed, "zone", name))


def check_controller(sdn: Sdn, name: str) -> None:
    """A controller after a change: there is one EVPN controller for all."""
    rows = sdn.config["controllers"].rows
    if rows[name]["type"] != "evpn":
        return
    file = "Network/SDN/Controllers/EvpnPlugin.pm"
    if any(row["type"] == "evpn" for other, row in rows.items() if other != name):
        raise died("only 1 global evpn controller can be defined", file, 491)
    if bool(rows[name].get("peers")) == bool(rows[name].get("fabric")):
        raise died("must have exactly one of peers / fabric defined", file, 496)


def check_vnet(sdn: Sdn, name: str, *, line: int) -> None:
    """A virtual network after a change: its tag must fit its zone."""
    vnets, zones = sdn.config["vnets"].rows, sdn.config["zones"].rows
    vnet = vnets[name]
    zone = zones.get(str(vnet["zone"]))
    if zone is None:
        raise died("cannot lookup undefined type!", "API2/Network/SDN/Vnets.pm", line)
    kind, tag = zone["type"], vnet.get("tag")
    if kind == "simple" and tag is not None:
        raise bad_parameter("tag", "vlan tag is not allowed on simple zone")
    if kind in ("vlan", "vxlan", "evpn") and tag is None:
        raise bad_parameter("tag", f"missing {'vlan' if kind == 'vlan' else 'vxlan'} tag")
    if kind == "vlan" and int(tag or 0) > 4096:
        raise bad_parameter("tag", "vlan tag max value is 4096")
    if kind == "qinq" and tag and tag > 4096:
        raise bad_parameter("tag", "VLAN tag maximal value is 4096")
    if kind == "evpn" and vnet.get("vlanaware"):
        raise bad_parameter("vlan-aware", "vlan-aware option can't be enabled with evpn")
    for other in sorted(vnets):
        if other != name:
            _check_tags(sdn, kind, vnet, other, tag)
    if vnet.get("vlanaware") and subnets_of(sdn, name):
        raise bad_parameter("vlanaware", "vlanaware vnet is not compatible with subnets")


def _check_tags(sdn: Sdn, kind: str, vnet: Row, other: str, tag: int | None) -> None:
    found = sdn.config["vnets"].rows[other]
    same = tag is not None and found.get("tag") == tag
    if kind == "vlan" and same and found["zone"] == vnet["zone"]:
        raise bad_parameter("tag", f"tag {tag} already exist in vnet {other}")
    if kind == "qinq" and found["zone"] == vnet["zone"]:
        if same:
            raise bad_parameter("tag", f"tag {tag} already exist in zone {vnet['zone']} vnet {other}")
        if not tag and not found.get("tag"):
            raise bad_parameter("tag", f"tag-less vnet already exists in zone {vnet['zone']} vnet {other}")
    zone = sdn.config["zones"].get(str(found["zone"])) or {}
    if kind in _VXLAN and zone.get("type") in _VXLAN and same:
        raise bad_parameter("tag", f"vxlan tag {tag} already exist in vnet {other} in zone {found['zone']} ")


def subnets_of(sdn: Sdn, vnet: str) -> list[str]:
    """The subnets of a virtual network, by their ids."""
    return [name for name, row in sdn.config["subnets"].rows.items() if row.get("vnet") == vnet]


def subnet_facts(name: str) -> dict[str, Any]:
    """What the id of a subnet says: ``<zone>-<address>-<length>``."""
    zone, network, mask = ([*name.split("-", 2), "", ""])[:3]
    return {"id": name, "subnet": name, "zone": zone, "network": network, "mask": mask, "cidr": f"{network}/{mask}"}


def check_subnet(sdn: Sdn, name: str) -> None:
    """A subnet after a change: gateway and DHCP ranges must lie in it."""
    row = sdn.config["subnets"].rows[name]
    cidr = subnet_facts(name)["cidr"]
    network = ipaddress.ip_network(cidr, strict=False)
    vnet = sdn.config["vnets"].get(str(row["vnet"]))
    if vnet is None:
        raise bad_parameter("vnet", f"{row['vnet']} don't exist")
    if vnet.get("vlanaware"):
        raise bad_parameter("vnet", "you can't add a subnet on a vlanaware vnet")
    gateway = row.get("gateway")
    if gateway and ipaddress.ip_address(gateway) not in network and not (network.version == 4 and network.prefixlen == 32):
        raise bad_parameter("gateway", f"{gateway} is not in subnet {cidr}")
    taken: list[tuple[Any, Any]] = []
    for text in row.get("dhcp-range", ()):
        taken.append(_range(text, network, cidr, taken))


def _range(text: str, network: Any, cidr: str, taken: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    props = read_props(text)
    ends = []
    for key in ("start-address", "end-address"):
        try:
            ends.append(ipaddress.ip_address(props.get(key, "")))
        except ValueError as err:
            raise bad_parameter("dhcp-range", f"{key} is not a valid IP {props.get(key, '')}") from err
    first, last = ends
    if first.version != last.version or int(first) > int(last):
        raise bad_parameter("dhcp-range", f"start-address {first} must be smaller than end-address {last}")
    for key, end in (("start-address", first), ("end-address", last)):
        if end not in network:
            raise bad_parameter("dhcp-range", f"{key} {end} is not in subnet {cidr}")
    if any(int(first) <= int(other[1]) and int(other[0]) <= int(last) for other in taken):
        raise bad_parameter("dhcp-range", "dhcp ranges must not overlap")
    return first, last
