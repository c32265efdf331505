"""Names of things, checked once: only these ever become part of a URL path."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from pveops.base.errors import InputError

GuestKind = Literal["qemu", "lxc"]

_NODE = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")
_STORAGE = re.compile(r"^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$")
_SPELT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})
_SNAPSHOT = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{1,39}$")

MIN_VMID = 100
MAX_VMID = 999_999_999


def check_node(name: str) -> str:
    """The node name, if it can be one (a DNS label: letters, digits, hyphens inside).

    Raises:
        InputError: it cannot.
    """
    if not _NODE.fullmatch(name):
        raise InputError(f"{name!r} cannot be the name of a node.", hint="Node names hold letters, digits and hyphens, for example pve1.")
    return name


def check_storage(name: str) -> str:
    """The storage id, if it can be one. Proxmox VE allows dots inside; a slash, ``#``, ``?`` or ``..`` at the start is never one.

    Raises:
        InputError: it cannot.
    """
    if not _STORAGE.fullmatch(name) or ".." in name:
        raise InputError(f"{name!r} cannot be the id of a storage.", hint="Storage ids start with a letter, for example local-lvm.")
    return name


def check_snapshot(name: str) -> str:
    """The snapshot name, if Proxmox VE takes it (2 to 40 characters, starts with a letter, no blanks).

    Raises:
        InputError: it does not; the hint offers a name that would do.
    """
    if name == "current":
        raise InputError(
            "A snapshot cannot be called 'current': Proxmox VE uses that word for the present state.", hint="Choose another name."
        )
    if not _SNAPSHOT.fullmatch(name):
        better = re.sub(r"[^A-Za-z0-9_-]+", "-", _ascii(name)).strip("-_")[:40]
        better = better if _SNAPSHOT.fullmatch(better) else f"s-{better}"[:40].rstrip("-") if better else "before-upgrade"
        raise InputError(
            f"{name!r} cannot be the name of a snapshot.",
            hint=f"Letters, digits, - and _, starting with a letter, 2 to 40 of them. Try {better}.",
        )
    return name


def _ascii(name: str) -> str:
    """Letters without their marks: ``größe`` is ``groesse``, ``été`` is ``ete``."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", name).translate(_SPELT))
    return plain.encode("ascii", "ignore").decode() or name


def check_vmid(vmid: int) -> int:
    """The guest id, if it can be one (100 to 999 999 999).

    Raises:
        InputError: it cannot.
    """
    if isinstance(vmid, bool) or not MIN_VMID <= vmid <= MAX_VMID:
        raise InputError(f"{vmid} cannot be the id of a guest.", hint="Guest ids are whole numbers from 100 up.")
    return vmid


@dataclass(frozen=True, slots=True, order=True)
class NodeRef:
    """A node by name."""

    name: str

    def __post_init__(self) -> None:
        check_node(self.name)

    @property
    def path(self) -> str:
        """The API path of the node."""
        return f"/nodes/{self.name}"

    @property
    def subject(self) -> str:
        """How plans and records name it."""
        return f"node/{self.name}"

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class GuestRef:
    """A guest by id, kind (``qemu`` or ``lxc``) and the node it is on."""

    vmid: int
    kind: GuestKind
    node: str

    def __post_init__(self) -> None:
        check_vmid(self.vmid)
        check_node(self.node)
        if self.kind not in ("qemu", "lxc"):
            raise InputError(f"{self.kind!r} is no kind of guest.", hint="There are qemu (virtual machines) and lxc (containers).")

    @property
    def path(self) -> str:
        """The API path of the guest."""
        return f"/nodes/{self.node}/{self.kind}/{self.vmid}"

    @property
    def subject(self) -> str:
        """How plans and records name it; the node is a fact about it, not part of its name."""
        return f"guest/{self.vmid}"

    def on(self, node: str) -> GuestRef:
        """The same guest on another node."""
        return GuestRef(self.vmid, self.kind, node)

    def __str__(self) -> str:
        return str(self.vmid)


@dataclass(frozen=True, slots=True, order=True)
class StorageRef:
    """A storage as one node sees it."""

    node: str
    name: str

    def __post_init__(self) -> None:
        check_node(self.node)
        check_storage(self.name)

    @property
    def path(self) -> str:
        """The API path of the storage on its node."""
        return f"/nodes/{self.node}/storage/{self.name}"

    @property
    def subject(self) -> str:
        """How plans and records name it."""
        return f"storage/{self.node}/{self.name}"

    def __str__(self) -> str:
        return f"{self.name} on {self.node}"
