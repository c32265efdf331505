"""The settings of a guest that plans may change: each with its key in Proxmox VE, whom it is for, and what holds where it is not set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pveops.model.plan import FieldValue
from pveops.model.refs import GuestKind
from pveops.model.values import flag, whole

_BOTH: tuple[GuestKind, ...] = ("qemu", "lxc")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Option:
    """One setting.

    Attributes:
        name: ours, with its unit: ``memory_mib``. The fact about it is called ``config.memory_mib``.
        key: Proxmox VE's: ``memory``.
        of: what its value is.
        unset: what holds for each kind where it is not set; a kind that is missing does not know the setting.
        restart: a running virtual machine takes it at its next start.
    """

    name: str
    key: str
    of: type[int] | type[bool] | type[str]
    unset: Mapping[GuestKind, FieldValue]
    restart: bool = False

    @property
    def field(self) -> str:
        """The name of the fact: ``config.cores``."""
        return f"config.{self.name}"

    def read(self, config: Mapping[str, Any], kind: GuestKind) -> FieldValue:
        """Its value in a configuration, or what holds where it is not set."""
        raw = config.get(self.key)
        if raw is None or raw == "":
            return self.unset[kind]
        if self.of is bool:
            return flag(raw)
        text = str(raw)
        return text.rstrip("\n") or None if self.of is str else whole(text.partition(",")[0].removeprefix("current="))

    def wire(self, value: FieldValue) -> str | int:
        """A value as Proxmox VE takes it."""
        return int(value) if isinstance(value, (bool, int)) else str(value)


OPTIONS: tuple[Option, ...] = (
    Option(name="cores", key="cores", of=int, unset={"qemu": 1, "lxc": None}, restart=True),
    Option(name="sockets", key="sockets", of=int, unset={"qemu": 1}, restart=True),
    Option(name="memory_mib", key="memory", of=int, unset={"qemu": 512, "lxc": 512}, restart=True),
    Option(name="swap_mib", key="swap", of=int, unset={"lxc": 512}),
    Option(name="onboot", key="onboot", of=bool, unset=dict.fromkeys(_BOTH, False)),
    Option(name="startup", key="startup", of=str, unset=dict.fromkeys(_BOTH)),
    Option(name="description", key="description", of=str, unset=dict.fromkeys(_BOTH)),
    Option(name="protection", key="protection", of=bool, unset=dict.fromkeys(_BOTH, False)),
)


def option_facts(config: Mapping[str, Any], kind: GuestKind) -> dict[str, FieldValue]:
    """The facts about a guest's settings, from its configuration."""
    return {option.field: option.read(config, kind) for option in OPTIONS if kind in option.unset}
