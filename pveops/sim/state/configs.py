"""Configuration of the cluster that no guest, storage or identity owns: one field per file that the real one keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pveops.sim.state.firewall import Firewall
from pveops.sim.state.sections import Row, Sections

STAGED = ("zones", "vnets", "subnets", "controllers")
"""Kinds of SDN objects whose changes wait until they are applied."""


@dataclass(slots=True)
class Sdn:
    """Software-defined networks: what is configured, what is in force, and the addresses that were given out."""

    config: dict[str, Sections] = field(default_factory=lambda: {kind: Sections() for kind in STAGED})
    applied: dict[str, dict[str, Row]] = field(default_factory=lambda: {kind: {} for kind in STAGED})
    ipams: Sections = field(default_factory=lambda: Sections({"pve": {"type": "pve"}}))
    dns: Sections = field(default_factory=Sections)
    addresses: dict[tuple[str, str], dict[str, Row]] = field(default_factory=dict)
    """By zone and network: address to what has it."""
    lock_token: str = ""
    applied_once: bool = False

    def running(self, kind: str) -> dict[str, Row]:
        """The objects of a kind that are in force."""
        return self.applied[kind]

    def apply(self) -> None:
        """What is configured comes into force."""
        self.applied = {kind: {name: dict(row) for name, row in self.config[kind].rows.items()} for kind in STAGED}
        self.applied_once = True

    def roll_back(self) -> None:
        """What is in force becomes what is configured again."""
        self.config = {kind: Sections(rows) for kind, rows in self.applied.items()}


@dataclass(slots=True)
class Configs:
    """All of it."""

    firewalls: dict[str, Firewall] = field(default_factory=dict)
    """By scope: ``cluster``, ``node/<name>``, ``vm/<id>``, ``vnet/<name>``."""
    sdn: Sdn = field(default_factory=Sdn)
    mapping: dict[str, Sections] = field(default_factory=lambda: {kind: Sections() for kind in ("dir", "pci", "usb")})
    metrics: Sections = field(default_factory=Sections)
    acme_plugins: Sections = field(default_factory=Sections)
    acme_accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    realm_sync: Sections = field(default_factory=Sections)
    cpu_models: Sections = field(default_factory=Sections)
    notifications: dict[str, Sections] = field(default_factory=dict)
    ha_rules: Sections = field(default_factory=Sections)
    ha_groups: Sections = field(default_factory=Sections)
    ceph: Any = None
    """Ceph (``state.ceph.Ceph``), once somebody asked for it."""
